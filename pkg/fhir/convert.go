package fhir

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// Set is a report as FHIR resources.
type Set struct {
	Report       DiagnosticReport
	Patient      Patient
	Study        ImagingStudy
	Observations []Observation
	Devices      []Device
}

// supersededCode marks images of which a later revision counts: they make no observations.
const supersededCode = "superseded-revision"

// Convert makes the resources of a report. updated is when this version was indexed. base is the address of the service
// without a slash at the end, for the link to the canonical report; "" leaves the link out.
func Convert(r *record.Report, updated time.Time, base string) Set {
	meta := versionMeta(r, updated)
	subject := Reference{Reference: "Patient/" + PatientID(r.Patient.Key), Type: "Patient"}
	study := Reference{Reference: "ImagingStudy/" + r.ReportID, Type: "ImagingStudy"}
	performer := []Reference{{Identifier: &Identifier{System: ClinicSystem, Value: r.Clinic}, Display: r.Clinic}}
	set := Set{Patient: ConvertPatient(r.Patient, r.Clinic, updated)}
	seen := map[string]bool{}
	var results []Reference
	for _, img := range r.Images {
		if superseded(img) || img.Provenance == nil {
			continue
		}
		if model := img.Provenance.Model; !seen[model.Sha256] {
			seen[model.Sha256] = true
			set.Devices = append(set.Devices, ConvertDevice(model))
		}
		for _, m := range img.Measures {
			o := observation(r, img, m, meta)
			o.Subject, o.Performer = subject, performer
			o.DerivedFrom = []Reference{study}
			o.DerivedFrom[0].Extension = []Extension{{URL: instanceURL, ValueURI: "urn:oid:" + img.SOPUID}}
			set.Observations = append(set.Observations, o)
			results = append(results, Reference{Reference: "Observation/" + o.ID, Type: "Observation", Display: o.Code.Text + ", " + eye(img.Laterality)})
		}
	}
	for _, o := range comparisons(r, meta) {
		o.Subject, o.Performer = subject, performer
		o.DerivedFrom = append(o.DerivedFrom, study)
		set.Observations = append(set.Observations, o)
		results = append(results, Reference{Reference: "Observation/" + o.ID, Type: "Observation", Display: o.Code.Text})
	}
	set.Report = DiagnosticReport{
		ResourceType: "DiagnosticReport", ID: r.ReportID, Meta: meta, Identifier: reportIdentifiers(r), Status: ReportStatus(r),
		Category: ReportCategories(), Code: concept(MeasuresSystem, ReportCode, reportDisplay),
		Subject: subject, EffectiveDateTime: r.StudyDate, Issued: Instant(r.IssuedAt), Performer: performer,
		Result: results, ImagingStudy: []Reference{study}, Conclusion: conclusion(r),
	}
	if base != "" {
		form := func(contentType, title, file string) Attachment {
			return Attachment{ContentType: contentType, Title: title, URL: fmt.Sprintf("%s/api/reports/%s%s?version=%d", base, r.ReportID, file, r.Version), Creation: Instant(r.IssuedAt)}
		}
		set.Report.PresentedForm = []Attachment{form("application/pdf", "Report for people", "/report.pdf"), form("application/json", "Canonical report", "")}
	}
	set.Study = ConvertStudy(r, updated)
	return set
}

func versionMeta(r *record.Report, updated time.Time) Meta {
	return Meta{VersionID: strconv.Itoa(r.Version), LastUpdated: Instant(updated)}
}

func superseded(img record.ReportImage) bool {
	for _, n := range img.Notes {
		if n.Code == supersededCode {
			return true
		}
	}
	return false
}

func eye(l record.Laterality) string {
	switch l {
	case record.RightEye:
		return "right eye"
	case record.LeftEye:
		return "left eye"
	}
	return "eye not stated"
}

func reportIdentifiers(r *record.Report) []Identifier {
	ids := []Identifier{{System: ReportSystem, Value: r.ReportID}, {System: dicomSystem, Value: "urn:oid:" + r.StudyUID}}
	if r.AccessionNumber != "" {
		ids = append(ids, accession(r.AccessionNumber))
	}
	return ids
}

func accession(number string) Identifier {
	kind := concept(identifierSystem, "ACSN", "Accession ID")
	return Identifier{Type: &kind, Value: number}
}

// conclusion says in words what was and what was not measured.
func conclusion(r *record.Report) string {
	c := r.Counts
	parts := []string{fmt.Sprintf("%d images: %d measured", c.Images, c.Measured)}
	if c.Images == 1 {
		parts[0] = fmt.Sprintf("1 image: %d measured", c.Measured)
	}
	for _, part := range []struct {
		n    int
		text string
	}{{c.Ungradable, "ungradable"}, {c.NotAnalysed, "not analysed"}, {c.Failed, "failed"}, {c.Pending, "pending"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	text := strings.Join(parts, ", ") + "."
	for _, img := range r.Images {
		if img.Reason != nil {
			side, status := eye(img.Laterality), strings.ReplaceAll(string(img.Status), "-", " ")
			text += fmt.Sprintf(" %s, %s: %s", strings.ToUpper(side[:1])+side[1:], status, sentence(img.Reason.Text))
		}
	}
	if c.Rejected > 0 {
		text += fmt.Sprintf(" Files of this study in quarantine: %d.", c.Rejected)
	}
	if n := len(r.Missing); n > 0 {
		text += fmt.Sprintf(" Announced images that are not here as announced: %d.", n)
	}
	return text + beyondError(r) + " " + r.Notice
}

func sentence(text string) string { return strings.TrimRight(strings.TrimSpace(text), ".") + "." }

func observation(r *record.Report, img record.ReportImage, m record.Measure, meta Meta) Observation {
	o := Observation{
		ResourceType: "Observation", ID: ObservationID(r.ReportID, img, m), Meta: meta, Status: observationStatus(r),
		Category: ObservationCategories(), Code: concept(MeasuresSystem, m.Name, m.Display),
		EffectiveDateTime: r.StudyDate, Issued: Instant(r.IssuedAt),
		BodySite: &Concept{Coding: []Coding{{System: snomedSystem, Code: "5665001", Display: "Retinal structure"}}, Text: eyeText(img.Laterality)},
		Method:   &Concept{Text: m.Definition},
		Device:   device(img),
	}
	if m.Value != nil {
		o.ValueQuantity = quantity(*m.Value, m.Unit)
	} else {
		o.DataAbsentReason = absent(m.AbsentReason)
	}
	if side := laterality(img.Laterality); side != nil {
		o.Component = append(o.Component, Component{Code: concept(snomedSystem, "272741003", "Laterality"), ValueCodeableConcept: side})
	}
	region := concept(MeasuresSystem, m.Region, regionDisplay(m.Region))
	o.Component = append(o.Component, Component{Code: concept(MeasuresSystem, regionCode, "Region measured"), ValueCodeableConcept: &region})
	switch interval := concept(MeasuresSystem, errorCode, errorDisplay); {
	case m.Error != nil:
		o.Component = append(o.Component, Component{Code: interval, ValueQuantity: quantity(*m.Error, m.Unit)})
	case m.ErrorAbsentReason != nil:
		o.Component = append(o.Component, Component{Code: interval, DataAbsentReason: unknown(m.ErrorAbsentReason)})
	}
	if m.GridFOVPx != nil {
		q := quantity(*m.GridFOVPx, "1")
		q.Unit = "pixels"
		o.Component = append(o.Component, Component{Code: concept(MeasuresSystem, gridCode, gridDisplay), ValueQuantity: q})
	}
	if img.Quality != nil {
		o.Component = append(o.Component, Component{Code: concept(MeasuresSystem, qualityCode, "Image quality score"), ValueQuantity: quantity(img.Quality.Score, "1")})
	}
	o.Component = append(o.Component, regional(img.Regions, m)...)
	for _, w := range img.Warnings {
		o.Note = append(o.Note, Annotation{Text: w.Text})
	}
	return o
}

// regional are the values of a measure in the parts of the field of view, as components under the code of the region. A part without
// values is said of area density alone, not of every measure again.
func regional(regions []record.Region, m record.Measure) []Component {
	var out []Component
	for _, r := range regions {
		c := Component{Code: concept(MeasuresSystem, r.Name, r.Display)}
		if r.AbsentReason != nil && m.Name == vessel.AreaDensity {
			c.DataAbsentReason = absent(r.AbsentReason)
			out = append(out, c)
		}
		for _, v := range r.Measures {
			if v.Name != m.Name {
				continue
			}
			if v.Value != nil {
				c.ValueQuantity = quantity(*v.Value, v.Unit)
			} else {
				c.DataAbsentReason = absent(v.AbsentReason)
			}
			out = append(out, c)
		}
	}
	return out
}

func device(img record.ReportImage) *Reference {
	model := img.Provenance.Model
	return &Reference{Reference: "Device/" + DeviceID(model.Sha256), Type: "Device", Display: model.String()}
}

func quantity(v float64, unit string) *Quantity {
	q := &Quantity{Value: NewDecimal(v), Unit: unit, System: ucumSystem, Code: unit}
	if unit == "1" {
		q.Unit = ""
	}
	return q
}

// unknown says why a number that should be there is not known.
func unknown(reason *record.Note) *Concept {
	return &Concept{
		Coding: []Coding{{System: absentReasonSystem, Code: "unknown", Display: "Unknown"}, {System: ReasonsSystem, Code: reason.Code}},
		Text:   reason.Text,
	}
}

// absent says why there is no value: FHIR's code, which knows no "ungradable", beside Noctua's own.
func absent(reason *record.Note) *Concept {
	c := &Concept{Coding: []Coding{{System: absentReasonSystem, Code: "not-performed", Display: "Not Performed"}}, Text: "Not measured."}
	if reason != nil {
		c.Coding = append(c.Coding, Coding{System: ReasonsSystem, Code: reason.Code})
		c.Text = reason.Text
	}
	return c
}

// ConvertDevice makes the Device that stands for a model.
func ConvertDevice(m record.ModelReference) Device {
	return Device{
		ResourceType: "Device", ID: DeviceID(m.Sha256), Meta: Meta{VersionID: "1"}, Identifier: []Identifier{{System: ModelSystem, Value: m.Sha256}}, Status: "active",
		DeviceName: []DeviceName{{Name: m.Name, Type: "model-name"}}, Type: Concept{Text: "Segmentation model of Noctua"},
		Version: []DeviceVersion{{Value: m.Version}},
	}
}

// ConvertPatient makes the Patient of an identity at a clinic.
func ConvertPatient(p record.PatientIdentity, clinic string, updated time.Time) Patient {
	id := Identifier{Use: "usual", System: IssuerSystem(clinic, p.Issuer), Value: p.ID}
	mr := concept(identifierSystem, "MR", "Medical record number")
	id.Type = &mr
	if p.Issuer != "" {
		id.Assigner = &Reference{Display: p.Issuer}
	}
	out := Patient{ResourceType: "Patient", ID: PatientID(p.Key), Meta: Meta{VersionID: strconv.FormatInt(updated.UnixMilli(), 10), LastUpdated: Instant(updated)},
		Identifier: []Identifier{id}, Name: names(p.Name), BirthDate: p.BirthDate}
	switch p.Sex {
	case "M":
		out.Gender = "male"
	case "F":
		out.Gender = "female"
	case "O":
		out.Gender = "other"
	}
	return out
}

// names reads a DICOM person name: up to three groups (alphabetic=ideographic=phonetic) of components
// family^given^middle^prefix^suffix (PS3.5 6.2.1).
func names(dicom string) []HumanName {
	var out []HumanName
	representation := []string{"ABC", "IDE", "SYL"}
	groups := strings.Split(dicom, "=")
	for n, group := range groups {
		if n >= len(representation) {
			break
		}
		c := strings.Split(group, "^")
		for len(c) < 5 {
			c = append(c, "")
		}
		name := HumanName{Family: strings.TrimSpace(c[0]), Given: words(c[1], c[2]), Prefix: words(c[3]), Suffix: words(c[4])}
		if n == 0 {
			name.Use = "official"
		}
		if len(groups) > 1 {
			name.Extension = []Extension{{URL: nameURL, ValueCode: representation[n]}}
		}
		var text []string
		for _, part := range [][]string{name.Prefix, {name.Family}, name.Given, name.Suffix} {
			text = append(text, part...)
		}
		name.Text = strings.Join(strings.Fields(strings.Join(text, " ")), " ")
		if name.Text != "" {
			out = append(out, name)
		}
	}
	return out
}

func words(texts ...string) []string {
	var out []string
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			out = append(out, t)
		}
	}
	return out
}
