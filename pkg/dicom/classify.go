package dicom

import (
	"slices"
	"strings"
)

// SOP classes that fundus cameras send.
const (
	ClassOphthalmic8Bit  = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
	ClassOphthalmic16Bit = "1.2.840.10008.5.1.4.1.1.77.1.5.2"

	classPhotographic     = "1.2.840.10008.5.1.4.1.1.77.1.4"
	classSecondaryCapture = "1.2.840.10008.5.1.4.1.1.7"
	classMultiFrameSC     = "1.2.840.10008.5.1.4.1.1.7.4"
	classStereometric     = "1.2.840.10008.5.1.4.1.1.77.1.5.3"
	classTomography       = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
	classWideStereo       = "1.2.840.10008.5.1.4.1.1.77.1.5.5"
	classWide3D           = "1.2.840.10008.5.1.4.1.1.77.1.5.6"
	classPDF              = "1.2.840.10008.5.1.4.1.1.104.1"
)

const textWide = "The picture shows more than 90 degrees; vessels are measured on fundus photographs of up to 90 degrees only."

// judgeClass decides by SOP class.
func (d *description) judgeClass() error {
	switch d.out.SOPClassUID {
	case ClassOphthalmic8Bit, ClassOphthalmic16Bit:
		return nil
	case classPhotographic, classSecondaryCapture, classMultiFrameSC:
		// These classes hold anything. OP and XC are eyes and photographs, OT and SC are what simple exporters write.
		if !slices.Contains([]string{"OP", "XC", "OT", "SC", ""}, d.out.Modality) {
			return unsupported(CodeModality, "the file is a photograph or screen capture of modality %s, but fundus photographs are OP or XC", Printable(d.out.Modality))
		}
		return nil
	case classStereometric:
		d.onlyArchive(CodeNoteStereo, "This says which photographs make a stereo pair, and is no photograph itself; it is kept but not analysed.")
		return nil
	case classTomography:
		d.onlyArchive(CodeNoteTomography, "This is an optical coherence tomography, not a fundus photograph; it is kept but not analysed.")
		return nil
	case classPDF:
		d.onlyArchive(CodeNoteDocument, "This is a document, not a fundus photograph; it is kept but not analysed.")
		return nil
	case classWideStereo, classWide3D:
		d.onlyArchive(CodeNoteWide, textWide)
		return nil
	}
	return unsupported(CodeSOPClass, "the file has SOP class %s, which is not a fundus photograph", d.out.SOPClassUID)
}

// codes of devices and regions (SNOMED CT) that mean the front of the eye.
// A constant in all but name: Go has no constant arrays.
var externalEyeCodes = [...]string{
	"409903006", "R-1021D", // external camera
	"397247004", "R-1021C", // slit lamp
	"31636006", "28726007", "41296002", "80243003", "29445007", "78076003", "18619003", // anterior chamber, cornea, iris, eyelid, conjunctiva, lens, sclera
}

// kind decides what of a photograph can be analysed, by image type, device, region and field of view.
func (d *description) kind() error {
	f := d.file
	imageType, err := f.ascii(f.Data, tagImageType)
	if err != nil {
		return err
	}
	values := strings.Split(imageType, `\`)
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	photometric, err := f.ascii(f.Data, tagPhotometric)
	if err != nil {
		return err
	}
	// A grey picture is no colour photograph, whatever its type says.
	colour := !strings.HasPrefix(photometric, "MONOCHROME") && (len(values) < 4 || values[3] == "" || values[3] == "COLOR")
	if slices.Contains(values, "MONTAGE") {
		d.onlyArchive(CodeNoteMontage, "The picture is a montage of several photographs; vessels are measured on single photographs only.")
	}
	if !colour && d.out.Analyse {
		d.onlyArchive(CodeNoteColour, "The picture is not a colour photograph (angiography, red-free, autofluorescence or grey); it is kept but not analysed.")
	}
	for _, t := range []Tag{tagDeviceType, tagRegion} {
		external, err := f.hasCode(t)
		if err != nil {
			return err
		}
		if external {
			d.onlyArchive(CodeNoteExternal, "The picture shows the front of the eye, not the retina; it is kept but not analysed.")
		}
	}
	degrees, ok, err := f.float(f.Data, tagHorizontalFOV)
	if err != nil {
		return err
	}
	if ok && degrees > 0 && degrees <= 360 {
		d.out.HorizontalFOVDeg = &degrees
		if degrees > maxFieldDeg {
			d.onlyArchive(CodeNoteWide, textWide)
		}
	}
	if d.out.Analyse && d.out.Laterality == "" {
		return invalid(CodeLateralityMissing, "the file does not say which eye it shows: ImageLaterality %s or Laterality %s must be R or L", tagImageLat, tagLaterality)
	}
	return nil
}

// hasCode tells whether the first item of a code sequence names the front of the eye.
func (f *File) hasCode(t Tag) (bool, error) {
	e := f.Data.Find(t)
	if e == nil || len(e.Items) == 0 {
		return false, nil
	}
	value, err := f.ascii(e.Items[0], tagCodeValue)
	return slices.Contains(externalEyeCodes[:], value), err
}
