package ingest

import (
	"strings"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
)

// Codes of refusals that are ingest's own; the others are those of pkg/dicom and dicom/pixel.
const (
	CodeClinicMissing     = "clinic-missing"
	CodeClinicInvalid     = "clinic-invalid"
	CodeObjectTooLarge    = "object-too-large"
	CodeIdentity          = "identity-conflict"
	CodeOtherClinic       = "clinic-conflict"
	CodeProcessing        = "processing-failed"
	CodeArchiveDamaged    = "archive-damaged"
	CodeArchiveEmpty      = "archive-empty"
	CodeArchiveEncrypted  = "archive-encrypted"
	CodeArchiveTooLarge   = "archive-too-large"
	CodeArchiveBomb       = "archive-bomb"
	CodeArchiveNested     = "archive-nested"
	CodeArchiveSplit      = "archive-split"
	CodeArchiveIncomplete = "archive-incomplete"
	CodeMemberDamaged     = "archive-member-damaged"
	CodeMemberOverlap     = "archive-member-overlap"
	CodeMemberEncrypted   = "archive-member-encrypted"
	CodeMemberBomb        = "archive-member-bomb"
	CodeMemberMethod      = "archive-member-method"
	CodeManifestInvalid   = "manifest-invalid"
	CodeManifestUnmet     = "manifest-unmet"
	CodeBytesMissing      = "quarantine-bytes-missing"
)

// reason is what the people at a clinic read.
type reason struct {
	sentence string // what is wrong
	action   string // what to do
}

// withDetail adds what only an engineer can use.
func (r reason) withDetail(detail string) string {
	if detail == "" {
		return r.sentence
	}
	return r.sentence + " (For support: " + strings.TrimSuffix(detail, ".") + ".)"
}

const (
	sendAgain    = "Send the file again. If it happens again, export it again from the camera."
	exportAgain  = "Export the picture again from the camera as DICOM and send it. If it happens again, tell the camera's support."
	askSupport   = "Tell the support of Noctua; the file is kept."
	checkPatient = "Find out whose picture it is, set the patient's ID here and release it, or correct the patient's entry at the camera or archive and send the picture again."
	exportSyntax = "Export the picture uncompressed or as JPEG (transfer syntax Explicit VR Little Endian or JPEG Baseline) and send it again."
	exportUTF8   = "Set the camera or archive to export text as UTF-8 (ISO_IR 192) and send the picture again."
	sendUnzipped = "Send the pictures themselves, or a plain ZIP of them without password."
	useFolder    = "Say which clinic it is from, and release it. Next time put files into the folder of your clinic in the inbox: letters, digits, - and _ only, for example north-clinic/…"
	sendFundus   = "Send colour fundus photographs only. If this is one, set the camera's export to Ophthalmic Photography."
)

// reasonOf is the one table of refusals. known is false for a code that is none.
func reasonOf(code string) (r reason, known bool) {
	switch code {
	case CodeClinicMissing:
		return reason{"The file does not lie in a clinic's folder, so nobody knows where it comes from.", useFolder}, true
	case CodeClinicInvalid:
		return reason{"The file lies in a folder whose name cannot be a clinic's.", useFolder}, true
	case CodeObjectTooLarge:
		return reason{"The file is too large for a fundus photograph or a night's ZIP.", "Send the pictures one by one, or in several ZIPs."}, true
	case CodeIdentity:
		return reason{"Another picture or another study has the same number (SOPInstanceUID); one of the two may belong to someone else.",
			"Find out which of the two pictures is right, have the other one exported anew with its own number, and send it again."}, true
	case CodeOtherClinic:
		return reason{"This picture has come from another clinic before, with another header; one of the two has the wrong clinic.",
			"Find out which clinic the picture belongs to. If it is the other one, discard this file and send it to that clinic's folder; if it is this one, tell whoever looks after Noctua."}, true
	case CodeProcessing:
		return reason{"Noctua failed on this file.", askSupport}, true
	case CodeBytesMissing:
		return reason{"The file that was to be released is not in the quarantine bucket any more, or is another one.",
			"Send the file again. Tell whoever looks after the storage: Noctua never removes files from quarantine."}, true
	case CodeManifestInvalid:
		return reason{"This file is called manifest.json, but is not a manifest that Noctua can read.",
			"Correct it as docs/operations.md describes it, or leave it out, and send it again. The pictures of its study are not affected."}, true
	case CodeManifestUnmet:
		return reason{"This manifest announces a study, but none of its pictures came.",
			"Find out at the camera or archive why the study was not sent, and send it. If it is not to come any more, discard this entry."}, true

	case CodeArchiveDamaged:
		return reason{"The ZIP is damaged or incomplete.", sendAgain}, true
	case CodeArchiveEmpty:
		return reason{"The ZIP holds no pictures.", "Check what was packed and send it again."}, true
	case CodeArchiveEncrypted:
		return reason{"The ZIP is protected by a password.", sendUnzipped}, true
	case CodeArchiveTooLarge:
		return reason{"The ZIP holds too many files, or files that are too large together. None of them was taken.", "Split it into several ZIPs."}, true
	case CodeArchiveBomb:
		return reason{"The ZIP would grow to a size that pictures never have.", sendUnzipped}, true
	case CodeArchiveNested:
		return reason{"The ZIP holds another ZIP.", "Unpack the inner ZIP and send its pictures."}, true
	case CodeArchiveSplit:
		return reason{"This is one part of a ZIP that was packed in several parts.", "Pack the pictures into one ZIP, or into several that are each complete, and send them again."}, true
	case CodeArchiveIncomplete:
		return reason{"The ZIP is damaged or cut off. The files in it that could be found were taken; others may be missing.",
			"Pack the pictures again and send the new ZIP. Pictures that were taken already do no harm."}, true
	case CodeMemberDamaged:
		return reason{"This file inside the ZIP is damaged; the other files of the ZIP are not affected.", "Send this file again."}, true
	case CodeMemberOverlap:
		return reason{"This file inside the ZIP lies on top of another one, as no packing program leaves it; the ZIP may be damaged, or meant to do harm.", sendUnzipped}, true
	case CodeMemberEncrypted:
		return reason{"This file inside the ZIP is protected by a password; the files without one are not affected.", sendUnzipped}, true
	case CodeMemberBomb:
		return reason{"This file inside the ZIP would grow to a size that pictures never have; the other files of the ZIP are not affected.", "If it is a picture, send it by itself, without a ZIP."}, true
	case CodeMemberMethod:
		return reason{"This file inside the ZIP is packed in a way that Noctua does not read; the other files of the ZIP are not affected.",
			"Send this file by itself, or pack it as a plain ZIP (method Deflate)."}, true

	case dicom.CodeNotDICOM:
		return reason{"This is not a DICOM file.", "Export the picture as DICOM and send it again. If it is no picture, nothing needs to be done."}, true
	case dicom.CodeTruncated:
		return reason{"The file is incomplete: it was cut off on its way.", sendAgain}, true
	case dicom.CodeMalformed, dicom.CodeEncapsulation, dicom.CodeValue, dicom.CodeRepeated, dicom.CodePalette:
		return reason{"The file breaks the rules of DICOM, so it cannot be read with certainty.", exportAgain}, true
	case dicom.CodeTooDeep, dicom.CodeTooMany, dicom.CodeInflated:
		return reason{"The file is built in a way that no camera builds it, and may be meant to do harm.", "Do not open it. Tell whoever looks after the camera's computer."}, true
	case dicom.CodeTransferSyntax:
		return reason{"The picture is compressed in a way that Noctua does not read.", exportSyntax}, true
	case dicom.CodeCharacterSet:
		return reason{"The patient's name is written in a way that Noctua cannot read with certainty.", exportUTF8}, true
	case dicom.CodeSOPClass, dicom.CodeModality:
		return reason{"This is not a fundus photograph.", sendFundus}, true
	case dicom.CodeObfuscated:
		return reason{"The picture was exported scrambled by Zeiss FORUM.", "Export it unobfuscated from FORUM and send it again."}, true
	case dicom.CodeStudyUID, dicom.CodeSOPUID:
		return reason{"The picture or its study has no valid number (UID), so it cannot be filed.", exportAgain}, true
	case dicom.CodePatientID:
		return reason{"The patient's ID is missing.", checkPatient}, true
	case dicom.CodePatientIDInvalid:
		return reason{"The patient's ID holds characters that cannot be read with certainty, or is too long.", checkPatient}, true
	case dicom.CodeLateralityMissing:
		return reason{"The file does not say which one eye it shows.",
			"Find out which eye it is, set it here and release the picture, or set it at the camera or archive and send the picture again."}, true
	case dicom.CodeLateralityConflict:
		return reason{"The file says both right and left eye.",
			"Find out which eye it is, set it here and release the picture, or correct it at the camera or archive and send the picture again."}, true
	case dicom.CodeCorrection:
		return reason{"This file is stored in a way that Noctua cannot correct.", "Correct it at the camera or archive and send the picture again."}, true
	case isolated.CodeLimit:
		return reason{"Reading the file takes more memory or time than any photograph does; it may be damaged, or meant to do harm.",
			"Do not open it. Export the picture again from the camera and send it. If it happens again, tell the support of Noctua."}, true
	case dicom.CodePixelMissing:
		return reason{"The file holds no picture.", sendAgain}, true
	case dicom.CodeGeometry, dicom.CodePixelLength, dicom.CodePictureConflict, dicom.CodeFramesUnclear:
		return reason{"The picture does not fit its own description, so it cannot be read with certainty.", exportAgain}, true
	case dicom.CodePixelFormat, pixel.CodeUnsupported:
		return reason{"The picture is stored in a way that Noctua does not read.", exportSyntax}, true
	case pixel.CodeCorrupt:
		return reason{"The picture is damaged or incomplete.", sendAgain}, true
	case pixel.CodeTooLarge:
		return reason{"The picture is larger than fundus photographs are.", "Send single photographs of at most 16,384 pixels a side and 64 million pixels."}, true
	}
	return reason{}, false
}
