package dicom

// ReadsTransferSyntax tells whether Open reads files in this transfer syntax; others are refused with CodeTransferSyntax.
func ReadsTransferSyntax(uid string) bool {
	_, known := syntaxOf(uid)
	return known
}

// StorageClasses lists the SOP classes that fundus cameras send and that a door should take: those that Describe accepts, to be
// analysed or archived alone, and Ophthalmic Photography 16 Bit, which it refuses, so that such a picture is seen in quarantine.
func StorageClasses() []string {
	return []string{
		ClassOphthalmic8Bit, classOphthalmic16Bit, classPhotographic, classSecondaryCapture, classMultiFrameSC,
		classTomography, classWideStereo, classWide3D, classPDF,
	}
}
