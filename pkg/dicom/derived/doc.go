// Package derived writes what Noctua found as DICOM objects that other systems open: the masks as a Segmentation (SEG), the measures
// as a structured report (Comprehensive SR, TID 1500).
//
// Both belong to the patient and study of the instance that they are made of (dicom.Source), in a series of their own, and name
// the algorithm. Same input, same bytes: no clock is read, dates and times are those of the acquisition, and UIDs are made of the
// content, so that two objects of one UID are one object. Text is UTF-8. docs/dicom-conformance.md lists what is written.
//
// It is pure, and imports pkg/dicom, pkg/fault, pkg/raster and pkg/record.
package derived
