// Package reportpdf writes a version of a report as one A4 page for people: whose it is, both eyes with their vessels, the measures with
// their errors, how they went over the visits, what was not measured and why, and what made it.
//
// It guarantees: the same report, pictures and time zone give the same bytes. It is one page whatever the report holds; what has no room is counted,
// and the reader is sent to the report. Names are shown in every group and script that the file has. What stands on the page can be searched
// and copied.
//
// Pure: no clock, no files, no network. It imports record, fhir (names, rounding), vessel (names of measures) and pdf.
package reportpdf
