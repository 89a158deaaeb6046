// Package fhir turns Noctua's canonical reports into FHIR R4 resources (4.0.1). It is pure: the same report gives the same
// resources with the same ids, byte for byte. It knows no HTTP, no clock and no index; it imports only
// pkg/record, and pkg/vessel for the table of measures.
//
// Codes: there is no LOINC code for vessel density, fractal dimension and the like, so measures have a code system of
// Noctua's own (MeasuresSystem), served as a CodeSystem resource. No diabetic-retinopathy grade is ever stated.
package fhir
