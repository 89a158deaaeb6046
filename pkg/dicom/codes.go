package dicom

import (
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Codes of files that are refused.
const (
	CodeNotDICOM             = "not-dicom"                     // no Part 10 header
	CodeTruncated            = "file-truncated"                // ends before its structure does
	CodeMalformed            = "structure-malformed"           // breaks the encoding rules of PS3.5
	CodeTooDeep              = "structure-too-deep"            // sequences nest deeper than Limits.MaxDepth
	CodeTooMany              = "structure-too-large"           // more elements than Limits.MaxElements
	CodeInflated             = "inflated-too-large"            // a compressed file that grows beyond Limits.MaxInflatedBytes
	CodeRepeated             = "element-repeated"              // the same attribute twice: which one counts?
	CodeTransferSyntax       = "transfer-syntax-unsupported"   // an encoding that is not read here
	CodeCharacterSet         = "character-set-unsupported"     // names cannot be read with certainty
	CodeValue                = "attribute-malformed"           // an attribute that matters has the wrong type or size
	CodeSOPClass             = "sop-class-unsupported"         // not a fundus photograph
	CodeModality             = "modality-unsupported"          // a secondary capture of something that is not an eye
	CodeObfuscated           = "zeiss-obfuscated"              // FORUM export with scrambled pixels
	CodeStudyUID             = "study-uid-missing"             // StudyInstanceUID missing or malformed
	CodeSOPUID               = "sop-uid-missing"               // SOPInstanceUID missing or malformed
	CodePatientID            = "patient-id-missing"            // PatientID missing
	CodePatientIDInvalid     = "patient-id-invalid"            // PatientID with characters or a length that it must not have
	CodeLateralityMissing    = "laterality-missing"            // not said, or both eyes
	CodeLateralityConflict   = "laterality-conflict"           // said twice, differently
	CodeGeometry             = "geometry-invalid"              // rows, columns, frames, samples or bits that cannot be
	CodePixelLength          = "pixel-length-wrong"            // pixel data longer or shorter than the geometry says
	CodePixelMissing         = "pixel-data-missing"            // no picture in the file
	CodePixelFormat          = pixel.CodeFormat                // a sound picture of a kind that is not decoded
	CodePalette              = pixel.CodePalette               // the colours of a PALETTE COLOR picture are missing or malformed
	CodeEncapsulation        = "encapsulation-malformed"       // fragments of compressed pixels that do not fit together
	CodeFramesUnclear        = "frames-unclear"                // fragments cannot be assigned to frames
	CodePictureConflict      = "picture-conflicts-with-header" // the compressed picture has another size or depth than the header says
	CodeUnreadable           = "file-unreadable"               // Noctua's own disk failed
	CodeNoteColour           = "image-not-colour"              // fluorescein, ICG, red-free, autofluorescence
	CodeNoteMontage          = "image-montage"                 // several photographs in one
	CodeNoteExternal         = "image-external-eye"            // the front of the eye
	CodeNoteWide             = "field-of-view-too-wide"        // over 90 degrees
	CodeNoteTomography       = "tomography"                    // OCT volume
	CodeNoteDocument         = "document"                      // PDF
	CodeNoteStereo           = "stereo-relationship"           // which photographs make a pair
	CodeNotePreamble         = "preamble-not-empty"            // may hide a program
	CodeNoteMeta             = "file-header-differs"           // group 2 names another instance or class
	CodeNoteText             = "text-replaced"                 // bytes that are no text in the declared character set
	CodeNoteDate             = "date-ignored"                  // a date that is no date
	CodeNoteSpacing          = "pixel-spacing-ignored"         // implausible on a retina
	CodeNoteFrames           = "first-frame-only"              // more than one frame
	CodeNotePhotometric      = "colour-model-differs"          // the stream and the header disagree
	CodeNoteDepth            = "sample-depth-differs"          // the stream has fewer bits than the header says
	CodeNotePatientAttribute = "attribute-ignored"             // sex, device or the like unreadable
)

func invalid(code, format string, args ...any) error {
	return fault.New(fault.Invalid, code, format, args...)
}

func unsupported(code, format string, args ...any) error {
	return fault.New(fault.Unsupported, code, format, args...)
}
