package dicom

import "strings"

// Transfer syntaxes by their UID (PS3.6 table A-1).
const (
	ImplicitLittleEndian = "1.2.840.10008.1.2"
	ExplicitLittleEndian = "1.2.840.10008.1.2.1"
	DeflatedLittleEndian = "1.2.840.10008.1.2.1.99"
	ExplicitBigEndian    = "1.2.840.10008.1.2.2"
	JPEGBaseline         = "1.2.840.10008.1.2.4.50"
	RLELossless          = "1.2.840.10008.1.2.5"

	uidRoot         = "1.2.840.10008.1.2."
	jpegExtended    = uidRoot + "4.51"
	jpegProgressive = uidRoot + "4.55"
	jpegLossless    = uidRoot + "4.57"
	jpegLosslessSV1 = uidRoot + "4.70"
	jpegLSLossless  = uidRoot + "4.80"
	jpegLSNear      = uidRoot + "4.81"
	jpeg2000        = uidRoot + "4.90"
	jpeg2000Lossy   = uidRoot + "4.91"
	htj2kLossless   = uidRoot + "4.201"
	htj2kRPCL       = uidRoot + "4.202"
	htj2k           = uidRoot + "4.203"
)

// codec is how pixel data is compressed.
type codec int

const (
	codecNone codec = iota
	codecRLE
	codecJPEG // DCT, lossless or JPEG-LS: the stream's own header says which
	codecJPEG2000
)

// syntax is what a transfer syntax means.
type syntax struct {
	implicit, bigEndian, deflated bool
	codec                         codec
}

// syntaxOf returns the meaning of the transfer syntaxes that are read.
func syntaxOf(uid string) (s syntax, ok bool) {
	switch uid {
	case ImplicitLittleEndian:
		return syntax{implicit: true}, true
	case ExplicitLittleEndian:
		return syntax{}, true
	case DeflatedLittleEndian:
		return syntax{deflated: true}, true
	case ExplicitBigEndian:
		return syntax{bigEndian: true}, true
	case RLELossless:
		return syntax{codec: codecRLE}, true
	case JPEGBaseline, jpegExtended, jpegProgressive, jpegLossless, jpegLosslessSV1, jpegLSLossless, jpegLSNear:
		return syntax{codec: codecJPEG}, true
	case jpeg2000, jpeg2000Lossy, htj2kLossless, htj2kRPCL, htj2k:
		return syntax{codec: codecJPEG2000}, true
	}
	return syntax{}, false
}

// refusal says what an encoding is that is not read.
func refusal(uid string) string {
	switch number, _ := strings.CutPrefix(uid, uidRoot+"4."); {
	case number == "110" || number == "111" || number == "112":
		return "JPEG XL, which Noctua does not decode"
	case len(number) == 3 && number >= "100" && number <= "108":
		return "video, which is not a photograph"
	}
	return "an encoding that Noctua does not read"
}
