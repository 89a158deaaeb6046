// Package dicomweb is the requesting side of DICOMweb's STOW-RS (PS3.18, 10.5): it sends whole DICOM files and reads what became of them.
//
// It decides nothing about failure reasons: they are handed to the caller. What is read of an answer is bounded, redirects are not
// followed, since credentials and patients' data would go with them, and no error holds anything of an answer's text.
//
// It imports pkg/fault alone.
package dicomweb
