// Package dicom reads and writes the DICOM files that fundus cameras make.
//
// Reading is bounded, since clinics' files are not to be trusted: Open goes through the structure of a Part 10 file from an
// io.ReaderAt without loading values (a deflated file is inflated into memory first), and refuses what nests too deeply, has
// too many elements, lies about a length, repeats an element, or ends early. Describe reads the attributes that Noctua uses
// and says whether the picture can be analysed; Decode gives the pixels of the first frame as RGB. Memory is bounded by Limits
// and not by what the file claims. docs/dicom-conformance.md lists the transfer syntaxes and pixel formats.
//
// Whatever is refused carries a stable code (the Code… constants). github.com/suyashkumar/dicom is used for its dictionary
// and its writer, and never parses what came from outside: a file of 60 KB can make it take gigabytes.
//
// It imports pkg/fault, pkg/raster, pkg/record and dicom/pixel.
package dicom
