package hl7

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Scheme names Noctua's own codes (HL7 table 0396: 99 and letters are local); they are those of the FHIR code systems and of the DICOM SR.
const Scheme = "99NOCTUA"

// Codes of Noctua's own besides those of the measures.
const (
	ReportCode     = fhir.ReportCode
	ErrorCode      = "error-bound"
	QualityCode    = "image-quality"
	StatusCode     = "image-status"
	InstanceCode   = "sop-instance-uid"
	StudyCode      = "study-instance-uid"
	DocumentCode   = "report-document"
	lateralityCode = "272741003"
	snomedScheme   = "SCT"
	ucumScheme     = "UCUM"
)

// Party is an application at a facility: MSH-3 and 4, or 5 and 6.
type Party struct{ Application, Facility string }

// Header says who writes to whom.
type Header struct {
	// Sender's application; "" means NOCTUA. Without a facility it is the report's clinic.
	Sender Party
	// Receiver may be empty.
	Receiver Party
}

// controlDigits is the length of MSH-10, which has 20 characters in 2.5.1: 80 bits of a hash.
const controlDigits = 20

// ControlID is MSH-10 of a version of a report: the same each time that it is sent, so that a receiver may know it again.
func ControlID(reportID string, version int) string {
	sum := sha256.Sum256([]byte(reportID + "\n" + strconv.Itoa(version)))
	return strings.ToUpper(hex.EncodeToString(sum[:]))[:controlDigits]
}

// Write makes the message of a version of a report, without a frame. document is the report for people as a PDF; none: there is none.
func Write(r *record.Report, h Header, document []byte) []byte {
	var w writer
	w.r, w.status = r, statusOf(r.Status)
	w.header(h)
	w.patient()
	w.order()
	w.notes(summary(r)...)
	w.text(StudyCode, "Study Instance UID", "", r.StudyUID)
	ordinals := map[record.Laterality]int{}
	for i := range r.Images {
		if img := &r.Images[i]; !img.Superseded() {
			ordinals[img.Laterality]++
			w.image(img, eyeLetter(img.Laterality)+strconv.Itoa(ordinals[img.Laterality]))
		}
	}
	if len(document) > 0 {
		w.document(document)
	}
	return []byte(w.out.String())
}

// writer writes one message.
type writer struct {
	out    strings.Builder
	r      *record.Report
	status string // OBR-25, and OBX-11 of what is known
	obx    int
	method string // OBX-17 and 18 of the image at hand
	model  string
}

// statusOf is a status of HL7 tables 0123 and 0085: P preliminary, F final, C a correction of what was final.
func statusOf(s record.ReportStatus) string {
	switch s {
	case record.Final:
		return "F"
	case record.Amended:
		return "C"
	case record.Preliminary:
	}
	return "P"
}

// eyeLetter begins the sub-ids of an image: R or L as in DICOM, U where the eye is not stated.
func eyeLetter(l record.Laterality) string {
	if l == record.RightEye || l == record.LeftEye {
		return string(l)
	}
	return "U"
}

// instant is a TS in milliseconds, UTC.
func instant(t time.Time) string { return t.UTC().Format("20060102150405.000") + "+0000" }

// digits is a date or time without its punctuation: yyyy-mm-dd becomes yyyymmdd.
func digits(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, text)
}

func code(id, display string) string { return components(id, display, Scheme) }

func (w *writer) header(h Header) {
	application, facility := h.Sender.Application, h.Sender.Facility
	if application == "" {
		application = "NOCTUA"
	}
	if facility == "" {
		facility = w.r.Clinic
	}
	s := segment{name: "MSH"}
	s.set(1, encoding) // MSH-1 is the separator before it, so that numbers are one less from here on
	for number, field := range map[int]string{
		3: designator(componentMark, application), 4: designator(componentMark, facility), 5: designator(componentMark, h.Receiver.Application),
		6: designator(componentMark, h.Receiver.Facility), 7: instant(w.r.IssuedAt),
		9: components("ORU", "R01", "ORU_R01"), 10: ControlID(w.r.ReportID, w.r.Version), 11: "P", 12: "2.5.1", 18: "UNICODE UTF-8",
	} {
		s.set(number-1, field)
	}
	s.write(&w.out)
}

func (w *writer) patient() {
	p := w.r.Patient
	s := segment{name: "PID"}
	s.set(1, "1")
	s.set(3, trimJoin(componentMark, []string{escape(p.ID), "", "", authority(w.r.Clinic, p.Issuer), "PI", designator(subcomponentMark, w.r.Clinic)}))
	s.set(5, names(p.Name))
	s.set(7, digits(p.BirthDate))
	s.set(8, string(p.Sex))
	s.write(&w.out)
}

// authority is the assigning authority of a patient identifier (HD): the issuer, as an OID or URI where it is one, and the clinic where none is
// named.
func authority(clinic, issuer string) string {
	system := fhir.IssuerSystem(clinic, issuer)
	oid, isOID := strings.CutPrefix(system, "urn:oid:")
	switch {
	case issuer == "":
		return designator(subcomponentMark, clinic)
	case isOID:
		return join(subcomponentMark, []string{"", oid, "ISO"})
	case system == issuer:
		return join(subcomponentMark, []string{"", issuer, "URI"})
	}
	return designator(subcomponentMark, issuer)
}

// namespaceLength is the longest namespace of a designator (IS in HL7 2.5.1, 2.A.33), as it is encoded.
const namespaceLength = 20

// designator is a local name as a HD: a namespace, or, where it is too long for one, a universal id of the local type L.
func designator(mark, name string) string {
	if encoded := escape(name); len(encoded) <= namespaceLength {
		return encoded
	}
	return join(mark, []string{"", name, "L"})
}

func (w *writer) order() {
	r := w.r
	state := "IP" // HL7 table 0038: in process
	if r.Status != record.Preliminary {
		state = "CM" // completed
	}
	placer, filler := escape(r.AccessionNumber), components(r.ReportID, "NOCTUA")
	orc := segment{name: "ORC"}
	orc.set(1, "RE")
	orc.set(2, placer)
	orc.set(3, filler)
	orc.set(5, state)
	orc.write(&w.out)
	obr := segment{name: "OBR"}
	obr.set(1, "1")
	obr.set(2, placer)
	obr.set(3, filler)
	obr.set(4, code(ReportCode, "Retinal vessel screening report"))
	obr.set(7, digits(r.StudyDate))
	obr.set(18, placer) // where IHE looks for the accession number
	obr.set(22, instant(r.IssuedAt))
	obr.set(25, w.status)
	obr.write(&w.out)
}

// noteRunes bounds the text of one NTE: longer ones go on in the next. Receivers' buffers for a segment are often 32 KB.
const noteRunes = 4000

// notes writes a NTE for each text, one once.
func (w *writer) notes(texts ...string) {
	n := 0
	for i, text := range texts {
		if slices.Contains(texts[:i], text) {
			continue
		}
		for runes := []rune(text); len(runes) > 0; {
			head := runes[:min(len(runes), noteRunes)]
			runes = runes[len(head):]
			n++
			s := segment{name: "NTE"}
			s.set(1, strconv.Itoa(n))
			s.set(2, "L") // from the filler
			s.set(3, escape(string(head)))
			s.write(&w.out)
		}
	}
}

// observation writes an OBX. kind is its data type, value the encoded field.
func (w *writer) observation(kind, id, subID, value, unit, status string) {
	w.obx++
	s := segment{name: "OBX"}
	s.set(1, strconv.Itoa(w.obx))
	s.set(2, kind)
	s.set(3, id)
	s.set(4, subID)
	s.set(5, value)
	s.set(6, unit)
	s.set(11, status)
	s.set(14, digits(w.r.StudyDate))
	s.set(17, w.method)
	s.set(18, w.model)
	s.write(&w.out)
}

func (w *writer) text(id, display, subID, value string) {
	w.observation("ST", code(id, display), subID, escape(value), "", w.status)
}

// image writes the group of one image: what it is, and its measures. Its sub-id is that of the eye and its ordinal; each measure and its error
// have one of their own below it.
func (w *writer) image(img *record.ReportImage, group string) {
	w.method, w.model = "", ""
	if p := img.Provenance; p != nil {
		w.method = components("", p.Model.String())
		w.model = components(p.Model.Sha256, "SHA-256")
	}
	switch img.Laterality {
	case record.RightEye:
		w.observation("CWE", components(lateralityCode, "Laterality", snomedScheme), group, components("24028007", "Right", snomedScheme), "", w.status)
	case record.LeftEye:
		w.observation("CWE", components(lateralityCode, "Laterality", snomedScheme), group, components("7771000", "Left", snomedScheme), "", w.status)
	}
	w.text(InstanceCode, "SOP Instance UID", group, img.SOPUID)
	status := w.status
	if img.Status == record.ImagePending {
		status = "P"
	}
	w.observation("CWE", code(StatusCode, "Status of the image"), group, code(string(img.Status), strings.ReplaceAll(string(img.Status), "-", " ")), "", status)
	var remarks []string
	if img.Reason != nil {
		remarks = append(remarks, img.Reason.Text)
	}
	for _, warning := range img.Warnings {
		remarks = append(remarks, warning.Text)
	}
	w.notes(remarks...)
	if img.Quality != nil {
		w.observation("NM", code(QualityCode, "Image quality score"), group, number(img.Quality.Score), unit("1"), w.status)
	}
	for i, m := range img.Measures {
		w.measure(m, group+"."+strconv.Itoa(i+1))
	}
	w.method, w.model = "", ""
}

// measure writes a measure, and its error as an observation of its own under the same sub-id, since no field of an OBX of 2.5.1 means that. A value
// that is absent has the status X (cannot be obtained) and the reason below it.
func (w *writer) measure(m record.Measure, subID string) {
	if m.Value == nil {
		w.observation("NM", code(m.Name, m.Display), subID, "", unit(m.Unit), "X")
		if m.AbsentReason != nil {
			w.notes(m.AbsentReason.Text)
		}
		return
	}
	w.observation("NM", code(m.Name, m.Display), subID, number(*m.Value), unit(m.Unit), w.status)
	id := code(ErrorCode, "Half width of the 90 % interval")
	switch {
	case m.Error != nil:
		w.observation("NM", id, subID, number(*m.Error), unit(m.Unit), w.status)
	case m.ErrorAbsentReason != nil:
		w.observation("NM", id, subID, "", unit(m.Unit), "X")
		w.notes(m.ErrorAbsentReason.Text)
	}
}

// number is a NM, which knows no exponents, with the digits that FHIR shows.
func number(v float64) string { return string(fhir.NewDecimal(v)) }

func unit(ucum string) string { return components(ucum, ucum, ucumScheme) }

// document writes the report for people (HL7 2.5.1, 2.A.24: source, type, subtype, encoding, data).
func (w *writer) document(pdf []byte) {
	value := strings.Join([]string{"", "AP", "PDF", "Base64", base64.StdEncoding.EncodeToString(pdf)}, componentMark)
	w.observation("ED", code(DocumentCode, "Report for people"), "", value, "", w.status)
}

// summary says in words what was and what was not measured, which differences are beyond their error, and what the report is.
func summary(r *record.Report) []string {
	c := r.Counts
	text := fmt.Sprintf("Images: %d; measured: %d", c.Images, c.Measured)
	for _, part := range []struct {
		n    int
		name string
	}{{c.Ungradable, "ungradable"}, {c.NotAnalysed, "not analysed"}, {c.Failed, "failed"}, {c.Pending, "pending"}, {c.Rejected, "files of the study in quarantine"},
		{len(r.Missing), "announced images that are not here as announced"}} {
		if part.n > 0 {
			text += fmt.Sprintf("; %s: %d", part.name, part.n)
		}
	}
	all := []string{text + "."}
	for _, comparison := range r.Comparisons {
		for _, m := range comparison.Measures {
			if m.Verdict != record.Lower && m.Verdict != record.Higher {
				continue
			}
			name := m.Display
			if comparison.Kind == record.Change && comparison.Image != nil {
				name += map[record.Laterality]string{record.RightEye: ", right eye", record.LeftEye: ", left eye"}[comparison.Image.Laterality]
			}
			all = append(all, name+": "+m.Text)
		}
	}
	return append(all, r.Notice)
}
