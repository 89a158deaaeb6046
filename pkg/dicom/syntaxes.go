package dicom

// TransferSyntaxes lists the transfer syntaxes that Open reads; files in others are refused with CodeTransferSyntax.
func TransferSyntaxes() []string {
	return []string{
		ImplicitLittleEndian, ExplicitLittleEndian, DeflatedLittleEndian, ExplicitBigEndian, RLELossless,
		JPEGBaseline, jpegExtended, jpegProgressive, jpegLossless, jpegLosslessSV1, jpegLSLossless, jpegLSNear,
		jpeg2000, jpeg2000Lossy, htj2kLossless, htj2kRPCL, htj2k,
	}
}

// StorageClasses lists the SOP classes that fundus cameras send and that a door should take: those that Describe accepts, to be
// analysed or archived alone, and Ophthalmic Photography 16 Bit, which it refuses, so that such a picture is seen in quarantine.
func StorageClasses() []string {
	return []string{
		ClassOphthalmic8Bit, classOphthalmic16Bit, classPhotographic, classSecondaryCapture, classMultiFrameSC,
		classTomography, classWideStereo, classWide3D, classPDF,
	}
}
