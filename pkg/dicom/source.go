package dicom

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Source is what objects that are made of an instance (a segmentation, a structured report) must say of it: the patient, study and
// frame of reference that they share with it, as the file has them, and what they refer to. Texts are UTF-8, whatever the file's
// character set is; dates and times are as DICOM writes them (DA, TM). What is missing, is no value of its type, or is longer than
// maxSourceRunes, is empty.
type Source struct {
	SOPClassUID        string `json:"sop_class_uid"`
	SOPUID             string `json:"sop_uid"`
	StudyUID           string `json:"study_uid"`
	SeriesUID          string `json:"series_uid"`
	FrameOfReference   string `json:"frame_of_reference,omitempty"`
	PositionReference  string `json:"position_reference,omitempty"`
	Frames             int    `json:"frames"` // 1 or more
	PatientID          string `json:"patient_id,omitempty"`
	Issuer             string `json:"issuer,omitempty"`
	PatientName        string `json:"patient_name,omitempty"`
	BirthDate          string `json:"birth_date,omitempty"`
	Sex                string `json:"sex,omitempty"`
	StudyDate          string `json:"study_date,omitempty"`
	StudyTime          string `json:"study_time,omitempty"`
	StudyID            string `json:"study_id,omitempty"`
	StudyDescription   string `json:"study_description,omitempty"`
	AccessionNumber    string `json:"accession_number,omitempty"`
	ReferringPhysician string `json:"referring_physician,omitempty"`
	// AcquiredDate and AcquiredTime are those of the acquisition, else of the content, else of the study.
	AcquiredDate string `json:"acquired_date,omitempty"`
	AcquiredTime string `json:"acquired_time,omitempty"`
	Timezone     string `json:"timezone,omitempty"` // TimezoneOffsetFromUTC
	// Lossy tells whether the pixels were ever compressed with loss, by the file's own word or its transfer syntax; the ratios
	// and methods are those of each time, as far as they are known.
	Lossy        bool     `json:"lossy,omitempty"`
	LossyRatios  []string `json:"lossy_ratios,omitempty"`
	LossyMethods []string `json:"lossy_methods,omitempty"`
	// PixelSpacingMm is the distance between pixels on the retina, 0 where the file gives none that can be.
	PixelSpacingMm float64 `json:"pixel_spacing_mm,omitempty"`
	// Laterality is as of Describe.
	Laterality record.Laterality `json:"laterality,omitempty"`
}

// CodeNoteReference is the code of files that no other object can refer to.
const CodeNoteReference = "reference-missing"

// Referable tells why no other object can refer to the instance, or nil. Intake takes a file without a series, which archives
// do not.
func (s *Source) Referable() error {
	for _, uid := range []struct{ name, value string }{
		{"SOPClassUID", s.SOPClassUID}, {"SOPInstanceUID", s.SOPUID}, {"StudyInstanceUID", s.StudyUID}, {"SeriesInstanceUID", s.SeriesUID},
	} {
		if !validUID(uid.value) {
			return invalid(CodeNoteReference, "the file has no valid %s, so that no DICOM segmentation or structured report can refer to it", uid.name)
		}
	}
	return nil
}

// maxSourceRunes bounds a text that is copied. The longest that the standard allows is a name of three groups of 64.
const maxSourceRunes = 256

// The attributes that only Source reads.
const (
	tagStudyTime         Tag = 0x00080030
	tagReferring         Tag = 0x00080090
	tagTimezone          Tag = 0x00080201
	tagStudyDescription  Tag = 0x00081030
	tagStudyID           Tag = 0x00200010
	tagFrameOfReference  Tag = 0x00200052
	tagPositionReference Tag = 0x00201040
	tagLossy             Tag = 0x00282110
	tagLossyRatio        Tag = 0x00282112
	tagLossyMethod       Tag = 0x00282114
)

// Source reads what objects made of this instance say of it. instance is what Describe said, refused or not.
//
// Faults: Transient if the file cannot be read.
func (f *File) Source(instance *record.Instance) (Source, error) {
	r := sourceReader{file: f}
	if value, err := f.ascii(f.Data, tagCharacterSet); err == nil {
		if set, err := readCharacterSet(value); err == nil {
			r.set = set // else the default repertoire: what is not ASCII is unreadable
		}
	}
	s := Source{
		SOPClassUID: r.uid(tagSOPClass), SOPUID: r.uid(tagSOPUID), StudyUID: r.uid(tagStudyUID), SeriesUID: r.uid(tagSeriesUID),
		FrameOfReference: r.uid(tagFrameOfReference), PositionReference: r.text(tagPositionReference),
		PatientID: r.text(tagPatientID), Issuer: r.text(tagIssuer), PatientName: r.text(tagPatientName), BirthDate: r.date(tagBirthDate),
		StudyDate: r.date(tagStudyDate), StudyTime: r.time(tagStudyTime), StudyID: r.text(tagStudyID), StudyDescription: r.text(tagStudyDescription),
		AccessionNumber: r.text(tagAccession), ReferringPhysician: r.text(tagReferring),
		Timezone: r.match(tagTimezone, timezonePattern), Frames: max(1, instance.Frames), Laterality: instance.Laterality,
	}
	if sex := r.code(tagSex); sex == "M" || sex == "F" || sex == "O" {
		s.Sex = sex
	}
	if instance.PixelSpacingMm != nil {
		s.PixelSpacingMm = *instance.PixelSpacingMm
	}
	s.AcquiredDate, s.AcquiredTime = r.acquired(&s)
	r.compression(&s, instance)
	return s, r.err
}

// sourceReader reads attributes one by one; one that is malformed is empty, since it is not what the file is judged by.
type sourceReader struct {
	file *File
	set  characterSet
	err  error // that the file cannot be read at all
}

func (r *sourceReader) raw(t Tag) []byte {
	raw, err := r.file.raw(r.file.Data, t)
	if err != nil {
		if fault.CodeOf(err) == CodeUnreadable {
			r.err = err
		}
		return nil
	}
	return raw
}

// text reads one value of text. The value separator cannot be part of one in UTF-8.
func (r *sourceReader) text(t Tag) string {
	text, _ := r.set.decode(r.raw(t))
	text = strings.ReplaceAll(strings.Trim(text, " "), `\`, "\uFFFD")
	if len([]rune(text)) > maxSourceRunes {
		return ""
	}
	return text
}

func (r *sourceReader) code(t Tag) string {
	text, _ := characterSet{}.decode(r.raw(t))
	return strings.Trim(text, " ")
}

func (r *sourceReader) match(t Tag, pattern *regexp.Regexp) string {
	if value := r.code(t); pattern.MatchString(value) {
		return value
	}
	return ""
}

func (r *sourceReader) uid(t Tag) string {
	if value := r.code(t); validUID(value) {
		return value
	}
	return ""
}

var (
	timezonePattern = regexp.MustCompile(`^[+-][0-9]{4}$`)
	timePattern     = regexp.MustCompile(`^[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?$`)
)

func (r *sourceReader) date(t Tag) string { return asDA(r.code(t)) }
func (r *sourceReader) time(t Tag) string { return asTM(r.code(t)) }

// asDA is a date as it is written now; ACR-NEMA wrote points. A placeholder stays, since it is what the study has.
func asDA(value string) string {
	value = strings.ReplaceAll(value, ".", "")
	if _, ok := date(value); !ok {
		return ""
	}
	return value
}

func asTM(value string) string {
	value = strings.ReplaceAll(value, ":", "")
	if !timePattern.MatchString(value) || clock(value) == "" {
		return ""
	}
	return value
}

// acquired takes the first date that is one and no placeholder, with its time of day.
func (r *sourceReader) acquired(s *Source) (day, at string) {
	dateTime := r.code(tagAcquired)
	if i := strings.IndexAny(dateTime, "+-"); i >= 0 {
		dateTime = dateTime[:i]
	}
	for _, c := range [][2]string{
		{asDA(dateTime[:min(8, len(dateTime))]), asTM(dateTime[min(8, len(dateTime)):])},
		{r.date(tagAcquiredDate), r.time(tagAcquiredTime)},
		{r.date(tagContentDate), r.time(tagContentTime)},
		{s.StudyDate, s.StudyTime},
	} {
		if iso, _ := date(c[0]); iso != "" {
			return c[0], c[1]
		}
	}
	return "", ""
}

// lossyMethods are the defined terms (PS3.3 C.7.6.1.1.5.1) of transfer syntaxes that lose.
var lossyMethods = map[string]string{
	JPEGBaseline:              "ISO_10918_1",
	"1.2.840.10008.1.2.4.51":  "ISO_10918_1",
	"1.2.840.10008.1.2.4.55":  "ISO_10918_1",
	"1.2.840.10008.1.2.4.81":  "ISO_14495_1",
	"1.2.840.10008.1.2.4.91":  "ISO_15444_1",
	"1.2.840.10008.1.2.4.203": "ISO_15444_15",
}

// Values of lossy ratios and methods that are copied; a file was hardly ever compressed more often.
const maxLossySteps = 16

var (
	ratioPattern  = regexp.MustCompile(`^[0-9.eE+-]{1,16}$`)
	methodPattern = regexp.MustCompile(`^[A-Z0-9_ ]{1,16}$`)
)

// compression reads the lossy flags; where the file keeps silent about its own transfer syntax they are made of that.
func (r *sourceReader) compression(s *Source, instance *record.Instance) {
	all := func(t Tag, pattern *regexp.Regexp) []string {
		values := strings.Split(r.code(t), `\`)
		for i := range values {
			values[i] = strings.Trim(values[i], " ")
			if !pattern.MatchString(values[i]) {
				return nil
			}
		}
		return values[:min(len(values), maxLossySteps)]
	}
	method, lossySyntax := lossyMethods[r.file.TransferSyntax]
	s.Lossy = r.code(tagLossy) == "01" || lossySyntax
	if !s.Lossy {
		return
	}
	s.LossyRatios, s.LossyMethods = all(tagLossyRatio, ratioPattern), all(tagLossyMethod, methodPattern)
	if s.LossyMethods == nil && lossySyntax {
		s.LossyMethods = []string{method}
	}
	pixels := r.file.Data.Find(tagPixelData)
	if s.LossyRatios == nil && lossySyntax && pixels != nil && pixels.Length > 0 {
		samples, bits := 3, 8
		if n, ok, err := r.file.uint16At(r.file.Data, tagSamples); err == nil && ok {
			samples = n
		}
		if n, ok, err := r.file.uint16At(r.file.Data, tagBitsAllocated); err == nil && ok {
			bits = n
		}
		uncompressed := float64(instance.Rows) * float64(instance.Columns) * float64(s.Frames) * float64(samples) * float64(bits) / 8
		s.LossyRatios = []string{strconv.FormatFloat(uncompressed/float64(pixels.Length), 'f', 2, 64)}
	}
}
