package dicom

import (
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Plausible distance between pixels on a retina, in mm (a field of 45 degrees is about 13 mm wide).
const (
	minSpacingMm = 0.003
	maxSpacingMm = 0.03
	// mmPerDegree is the length on the retina of one degree of visual angle in a standard eye (Drasdo and Fowler, 1974).
	mmPerDegree = 0.29
	// spacingTolerance is how far width × spacing may be from what the field of view makes likely, as a factor: ametropia and
	// cropping explain less; a picture that was resized without its spacing is further off.
	spacingTolerance = 1.7
	// minFieldDeg is the narrowest field of view that fundus cameras offer. With maxFieldDeg it bounds how wide a picture can be on
	// the retina where the file does not say its field of view.
	minFieldDeg = 15
	// maxFieldDeg is the widest field of view that the vessel model was made for.
	maxFieldDeg = 90
	// maxPatientIDRunes is DICOM's limit of the LO type.
	maxPatientIDRunes = 64
)

// description is what Describe gathers.
type description struct {
	file  *File
	set   characterSet
	out   record.Instance
	notes map[string]bool // codes already noted
}

// Describe reads the attributes of the instance and judges it. The result has everything that the file itself tells; the
// caller adds what it knows (clinic, receipt, keys, hashes). Analyse false comes with NotAnalysed: valid, but to be archived
// only.
//
// A file that must not be accepted is a fault with one of the Code… constants; the result then holds what could be read, with
// valid UIDs and patient or none, so that the refusal can be shown beside the patient's other pictures.
func (f *File) Describe() (record.Instance, error) {
	d := &description{file: f, notes: map[string]bool{}}
	d.out = record.Instance{Schema: record.InstanceSchema, TransferSyntaxUID: f.TransferSyntax, SizeBytes: int(f.size), Analyse: true}
	err := d.read()
	if err != nil {
		d.out.Analyse = false
	}
	return d.out, err
}

func (d *description) read() error {
	// First, so that also what is refused is shown without the names that are written into it.
	value, err := d.file.ascii(d.file.Data, tagBurnedIn)
	if err != nil {
		return err
	}
	d.out.BurnedIn = value == "YES"
	if value, err = d.file.ascii(d.file.Data, tagCharacterSet); err != nil {
		return err
	}
	if d.set, err = readCharacterSet(value); err != nil {
		return err
	}
	// The identity is read first, so that a refusal can name the patient, but what the file is counts before whose it is.
	identityErr := d.identity()
	if identityErr != nil && fault.CodeOf(identityErr) == CodeUnreadable {
		return identityErr
	}
	if err := d.class(); err != nil {
		return err
	}
	if identityErr != nil {
		return identityErr
	}
	for _, step := range []func() error{d.laterality, d.kind, d.geometry, d.circumstances} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// note adds a note once.
func (d *description) note(code, text string) {
	if !d.notes[code] {
		d.notes[code] = true
		d.out.Notes = append(d.out.Notes, record.Note{Code: code, Text: text})
	}
}

// onlyArchive makes the image one that is archived and not analysed; the first reason counts.
func (d *description) onlyArchive(code, text string) {
	d.out.Analyse = false
	if d.out.NotAnalysed == nil {
		d.out.NotAnalysed = &record.Note{Code: code, Text: text}
	}
}

// text reads an attribute in the file's character set; what is unreadable is replaced and noted.
func (d *description) text(t Tag) (string, error) {
	raw, err := d.file.raw(d.file.Data, t)
	if err != nil {
		return "", err
	}
	text, clean := d.set.decode(raw)
	if !clean {
		d.note(CodeNoteText, "Some text of the file is not in the character set that it names; what could not be read is shown as \uFFFD.")
	}
	return strings.Trim(text, " "), nil
}

// identity reads who and what: UIDs and patient.
func (d *description) identity() error {
	f := d.file
	study, err := f.ascii(f.Data, tagStudyUID)
	if err != nil {
		return err
	}
	sop, err := f.ascii(f.Data, tagSOPUID)
	if err != nil {
		return err
	}
	series, err := f.ascii(f.Data, tagSeriesUID)
	if err != nil {
		return err
	}
	if validUID(study) {
		d.out.StudyUID = study
	}
	if validUID(sop) {
		d.out.SOPUID = sop
	}
	if validUID(series) {
		d.out.SeriesUID = series
	}
	patientErr := d.patient()
	switch {
	case d.out.StudyUID == "":
		return invalid(CodeStudyUID, "StudyInstanceUID %s is missing or malformed", tagStudyUID)
	case d.out.SOPUID == "":
		return invalid(CodeSOPUID, "SOPInstanceUID %s is missing or malformed", tagSOPUID)
	}
	return patientErr
}

// patient reads the patient. An identifier with unreadable characters is refused and not repaired: two patients could
// become one.
func (d *description) patient() error {
	var p record.PatientIdentity
	id, idErr := d.identifier(tagPatientID)
	issuer, issuerErr := d.identifier(tagIssuer)
	name, err := d.text(tagPatientName)
	if err != nil {
		return err
	}
	p.ID, p.Issuer, p.Name = id, issuer, strings.TrimRight(name, "^= ")
	birth, err := d.file.ascii(d.file.Data, tagBirthDate)
	if err != nil {
		return err
	}
	day, ok := date(birth)
	if p.BirthDate = day; !ok {
		d.note(CodeNoteDate, "A date of the file is not a date and was left out.")
	}
	sex, err := d.file.ascii(d.file.Data, tagSex)
	if err != nil {
		return err
	}
	switch sex {
	case "M", "F", "O":
		p.Sex = record.Sex(sex)
	case "":
	default:
		d.note(CodeNotePatientAttribute, "The patient's sex is written in an unknown way and was left out.")
	}
	switch {
	case idErr != nil:
		return idErr
	case issuerErr != nil:
		return issuerErr
	case id == "":
		return invalid(CodePatientID, "PatientID %s is missing", tagPatientID)
	}
	d.out.Patient = p
	return nil
}

// identifier reads PatientID or its issuer.
func (d *description) identifier(t Tag) (string, error) {
	raw, err := d.file.raw(d.file.Data, t)
	if err != nil {
		return "", err
	}
	text, clean := d.set.decode(raw)
	text = strings.Trim(text, " ")
	if !clean || strings.Contains(text, `\`) || len([]rune(text)) > maxPatientIDRunes {
		return "", invalid(CodePatientIDInvalid, "the identifier %s holds characters that it must not hold, or more than %d", t, maxPatientIDRunes)
	}
	return text, nil
}

// class reads the SOP class and modality and refuses what is no photograph of an eye.
func (d *description) class() error {
	f := d.file
	class, err := f.ascii(f.Data, tagSOPClass)
	if err != nil {
		return err
	}
	if d.out.Modality, err = f.ascii(f.Data, tagModality); err != nil {
		return err
	}
	metaClass, err := f.ascii(f.Meta, tagMetaClass)
	if err != nil {
		return err
	}
	metaInstance, err := f.ascii(f.Meta, tagMetaInstance)
	if err != nil {
		return err
	}
	if metaClass != class || metaInstance != d.out.SOPUID {
		d.note(CodeNoteMeta, "The file's header names another instance or class than its data set; the data set counts.")
	}
	if f.PreambleUsed {
		d.note(CodeNotePreamble, "The first 128 bytes of the file are in use; they may hide a program. Noctua does not run or pass them on.")
	}
	// Before the class is judged, so that the hint reaches those who can act on it.
	if pixels := f.Data.Find(tagPixelData); (pixels == nil || pixels.Length == 0) && (f.Data.Find(tagZeissData) != nil || f.Data.Find(tagZeissData2) != nil) {
		return invalid(CodeObfuscated, "the file is an obfuscated Zeiss export without regular pixel data; export it unobfuscated from FORUM")
	}
	if !validUID(class) {
		return invalid(CodeSOPClass, "SOPClassUID %s is missing or malformed", tagSOPClass)
	}
	d.out.SOPClassUID = class
	return d.judgeClass()
}

// laterality reads the eye: ImageLaterality, else Laterality. Only a picture that is not analysed may do without.
func (d *description) laterality() error {
	f := d.file
	image, err := f.ascii(f.Data, tagImageLat)
	if err != nil {
		return err
	}
	series, err := f.ascii(f.Data, tagLaterality)
	if err != nil {
		return err
	}
	eye := image
	if eye == "" {
		eye = series
	}
	isEye := func(s string) bool { return s == string(record.RightEye) || s == string(record.LeftEye) }
	if isEye(image) && isEye(series) && image != series {
		return invalid(CodeLateralityConflict, "ImageLaterality says %s, but Laterality says %s", image, series)
	}
	if isEye(eye) {
		d.out.Laterality = record.Laterality(eye)
	}
	return nil
}

// geometry reads rows, columns and frames, if the class is one of pictures.
func (d *description) geometry() error {
	if d.out.SOPClassUID == classPDF || d.out.SOPClassUID == classStereometric {
		return nil
	}
	g, err := d.file.geometry()
	if err != nil {
		return err
	}
	d.out.Rows, d.out.Columns, d.out.Frames, d.out.Photometric = g.rows, g.columns, g.frames, g.photometric
	// Where frames are stereo pairs, the odd ones are the left pictures (PS3.3 C.7.6.6.1.3).
	stereo, err := d.file.ascii(d.file.Data, tagStereoPairs)
	if err != nil {
		return err
	}
	switch {
	case stereo == "YES" && g.frames == 1:
		d.onlyArchive(CodeNoteMontage, "The file says that it holds a stereo pair, but it holds one picture, in which both may lie side by side; vessels are measured on single photographs only.")
	case stereo == "YES" && d.out.Analyse:
		d.note(CodeNoteFrames, "The file holds "+strconv.Itoa(g.frames)+" pictures in stereo pairs; only the left one of the first pair is analysed, and all are archived.")
	case g.frames > 1 && d.out.Analyse:
		d.note(CodeNoteFrames, "The file holds "+strconv.Itoa(g.frames)+" pictures; only the first is analysed, and all are archived.")
	}
	return nil
}

// circumstances reads when, with what and how the picture was taken. Nothing here is a reason to refuse it.
func (d *description) circumstances() error {
	texts := map[Tag]string{}
	for _, t := range []Tag{tagAccession, tagManufacturer, tagModel, tagSerial, tagSoftware} {
		text, err := d.text(t)
		if err != nil {
			return err
		}
		texts[t] = strings.ReplaceAll(text, `\`, ", ") // several software versions
	}
	d.out.AccessionNumber = texts[tagAccession]
	device := record.AcquisitionDevice{Manufacturer: texts[tagManufacturer], Model: texts[tagModel], Serial: texts[tagSerial], Software: texts[tagSoftware]}
	if device != (record.AcquisitionDevice{}) {
		d.out.Device = &device
	}
	codes := map[Tag]string{}
	for _, t := range []Tag{tagStudyDate, tagAcquired, tagAcquiredDate, tagAcquiredTime, tagContentDate, tagContentTime, tagSpacing} {
		text, err := d.file.ascii(d.file.Data, t)
		if err != nil {
			return err
		}
		codes[t] = text
	}
	d.dates(codes)
	d.spacing(codes[tagSpacing])
	return nil
}

func (d *description) dates(codes map[Tag]string) {
	dateTime := codes[tagAcquired]
	if i := strings.IndexAny(dateTime, "+-"); i >= 0 {
		dateTime = dateTime[:i] // the zone: times are kept as the camera wrote them
	}
	day, ok := date(codes[tagStudyDate])
	d.out.StudyDate = day
	for _, c := range [][2]string{
		{dateTime[:min(8, len(dateTime))], dateTime[min(8, len(dateTime)):]},
		{codes[tagAcquiredDate], codes[tagAcquiredTime]},
		{codes[tagContentDate], codes[tagContentTime]},
	} {
		at, valid := moment(c[0], c[1])
		ok = ok && valid
		if at != "" {
			d.out.AcquiredAt = at
			break
		}
	}
	if !ok {
		d.note(CodeNoteDate, "A date of the file is not a date and was left out.")
	}
}

// spacing takes PixelSpacing where it can be a distance on the retina.
func (d *description) spacing(value string) {
	if value == "" {
		return
	}
	mm := decimals(value)
	plausible := len(mm) == 2 && mm[0] >= minSpacingMm && mm[0] <= maxSpacingMm && mm[1] >= mm[0]*0.99 && mm[1] <= mm[0]*1.01
	if plausible {
		narrowest, widest := float64(minFieldDeg), float64(maxFieldDeg)
		if d.out.HorizontalFOVDeg != nil {
			narrowest, widest = *d.out.HorizontalFOVDeg, *d.out.HorizontalFOVDeg
		}
		width := mm[1] * float64(d.out.Columns)
		plausible = width < widest*mmPerDegree*spacingTolerance && width > narrowest*mmPerDegree/spacingTolerance
	}
	if !plausible || d.out.NotAnalysed != nil && d.out.NotAnalysed.Code == CodeNoteWide {
		d.note(CodeNoteSpacing, "The distance between pixels that the file gives cannot be a distance on this retina and was left out.")
		return
	}
	d.out.PixelSpacingMm = &mm[0]
}
