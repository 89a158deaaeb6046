package dicom

// ReadsTransferSyntax tells whether Open reads files in this transfer syntax; others are refused with CodeTransferSyntax.
func ReadsTransferSyntax(uid string) bool {
	_, known := syntaxOf(uid)
	return known
}

// StorageClasses lists the SOP classes that fundus cameras send and that a door should take: those that Describe accepts, to be
// analysed or archived alone.
func StorageClasses() []string {
	return []string{
		ClassOphthalmic8Bit, ClassOphthalmic16Bit, classPhotographic, classSecondaryCapture, classMultiFrameSC,
		classStereometric, classTomography, classWideStereo, classWide3D, classPDF,
	}
}
