package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/services/report/web"
)

// photoWidthPx is the width of a photograph on the page: sharp in half of a large screen, and a tenth of the original.
const photoWidthPx = 1200

var statusTexts = map[string]string{
	string(record.Preliminary): "preliminary", string(record.Final): "final", string(record.Amended): "amended",
	string(record.ImagePending): "pending", string(record.ImageMeasured): "measured", string(record.ImageUngradable): "ungradable",
	string(record.ImageNotAnalysed): "not analysed", string(record.ImageFailed): "failed",
}

// personName writes a DICOM name for people: the first group, and others in brackets.
func personName(dicom string) string {
	names := fhir.ConvertPatient(record.PatientIdentity{Name: dicom}, "", time.Time{}).Name
	var first string
	var more []string
	for n, name := range names {
		if n == 0 {
			first = name.Text
		} else {
			more = append(more, name.Text)
		}
	}
	if len(more) > 0 {
		first += " (" + strings.Join(more, ", ") + ")"
	}
	return first
}

func sexText(sex record.Sex) string {
	return map[record.Sex]string{"F": "female", "M": "male", "O": "other"}[sex]
}

func isSuperseded(img record.ReportImage) bool {
	for _, n := range img.Notes {
		if n.Code == supersededCode {
			return true
		}
	}
	return false
}

// Digits that people see: programs read more of them over FHIR.
const (
	pageDigits   = 4
	glanceDigits = 3
	errorDigits  = 2
)

// shortName is a measure's name where there is little room: the word that tells it apart.
func shortName(m record.Measure) string {
	words := strings.Split(m.Name, "-")
	if len(words) > 1 && words[0] == "vessel" {
		words = words[1:]
	}
	return words[0]
}

func valuesOf(measures []record.Measure) []web.Value {
	var out []web.Value
	for _, m := range measures {
		v := web.Value{Short: shortName(m), Name: m.Name, Display: m.Display, Definition: m.Definition, Source: m.Source, Unit: m.Unit}
		if m.Unit == "1" {
			v.Unit = ""
		}
		switch {
		case m.Value != nil:
			v.Text, v.Brief = string(fhir.RoundDecimal(*m.Value, pageDigits)), string(fhir.RoundDecimal(*m.Value, glanceDigits))
		case m.AbsentReason != nil:
			v.Why = m.AbsentReason.Text
		default:
			v.Why = "not measured"
		}
		if m.Error != nil {
			v.Error = string(fhir.RoundDecimal(*m.Error, errorDigits))
		} else if m.ErrorAbsentReason != nil {
			v.NoError = m.ErrorAbsentReason.Text
		}
		if m.Value != nil && m.Error != nil && *m.Error > 0 { // a value is written to the last place of its error (GUM 7.2.6)
			_, fraction, _ := strings.Cut(v.Error, ".")
			v.Text = strconv.FormatFloat(*m.Value, 'f', len(fraction), 64)
			v.Brief = v.Text
		}
		out = append(out, v)
	}
	return out
}

// shown leaves out what is a measure again in a unit that this photograph has no scale for: the same is there in the unit that every
// photograph has.
func shown(measures []record.Measure) []record.Measure {
	return slices.DeleteFunc(slices.Clone(measures), func(m record.Measure) bool {
		if m.AbsentReason == nil {
			return false
		}
		switch m.Name {
		case vessel.WidthMicrometres, vessel.LengthPerMillimetre, vessel.WidthDegrees, vessel.LengthPerDegree, vessel.WidthDiscs, vessel.LengthPerDisc:
			return true
		}
		return false
	})
}

// regionTable shows the parts of the field of view by the measures that a reader compares them by; all of them are in the report.
func regionTable(regions []record.Region, measures []record.Measure) *web.RegionTable {
	if len(regions) == 0 {
		return nil
	}
	t := &web.RegionTable{}
	var names []string
	for _, name := range []string{vessel.AreaDensity, vessel.LengthDensity, vessel.WidthMean, vessel.Tortuosity, vessel.BranchPointCount} {
		for _, m := range measures {
			if m.Name == name {
				names = append(names, name)
				t.Columns = append(t.Columns, strings.TrimSuffix(m.Display+" ("+m.Unit+")", " (1)"))
			}
		}
	}
	for _, r := range regions {
		row := web.RegionRow{Name: r.Display, Definition: r.Definition}
		if r.AbsentReason != nil {
			row.Why = r.AbsentReason.Text
		} else {
			for _, name := range names {
				var cell web.Cell
				for _, m := range r.Measures {
					switch {
					case m.Name != name:
					case m.Value != nil:
						cell.Text = string(fhir.RoundDecimal(*m.Value, glanceDigits))
					case m.AbsentReason != nil:
						cell.Why = m.AbsentReason.Text
					}
				}
				row.Values = append(row.Values, cell)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// headline are the measures that a list has room for.
func headline(measures []record.Measure) []record.Measure {
	var out []record.Measure
	for _, m := range measures {
		switch m.Name {
		case vessel.AreaDensity, vessel.LengthDensity, vessel.FractalDimension:
			out = append(out, m)
		}
	}
	return out
}

// glance sums an eye up: the headline measures of its first measured image, or why there are none.
func glance(doc *record.Report, side record.Laterality) web.EyeSummary {
	var eye web.EyeSummary
	state := ""
	for _, img := range doc.Images {
		if img.Laterality != side || isSuperseded(img) {
			continue
		}
		eye.Images++
		if img.Status == record.ImageMeasured && eye.Values == nil {
			eye.Values = valuesOf(headline(img.Measures))
		}
		if state == "" {
			state = statusTexts[string(img.Status)]
		}
	}
	eye.State = state
	if eye.Images == 0 {
		eye.State = "no photograph"
	}
	return eye
}

func patientLine(doc *record.Report, updated time.Time) web.PatientLine {
	line := web.PatientLine{
		Link: "/patients/" + fhir.PatientID(doc.Patient.Key) + "?study=" + doc.ReportID,
		Name: personName(doc.Patient.Name), ID: doc.Patient.ID, Issuer: doc.Patient.Issuer, Clinic: doc.Clinic,
		BirthDate: doc.Patient.BirthDate, Sex: sexText(doc.Patient.Sex), StudyDate: doc.StudyDate,
		Status: string(doc.Status), StatusText: statusTexts[string(doc.Status)], UpdatedAt: updated,
		Right: glance(doc, record.RightEye), Left: glance(doc, record.LeftEye),
	}
	for _, remark := range []struct {
		n    int
		text string
	}{{doc.Counts.Pending, "pending"}, {doc.Counts.Ungradable, "ungradable"}, {doc.Counts.Failed, "failed"}, {doc.Counts.Rejected, "in quarantine"}, {len(doc.Missing), "not as announced"}, {doc.Counts.NotAnalysed, "not analysed"}} {
		if remark.n > 0 {
			line.Remarks = append(line.Remarks, fmt.Sprintf("%d %s", remark.n, remark.text))
		}
	}
	return line
}

func patientView(doc *record.Report) web.PatientView {
	v := web.PatientView{
		Name: personName(doc.Patient.Name), ID: doc.Patient.ID, Issuer: doc.Patient.Issuer, Clinic: doc.Clinic,
		BirthDate: doc.Patient.BirthDate, Sex: sexText(doc.Patient.Sex), StudyDate: doc.StudyDate, StudyUID: doc.StudyUID,
		Accession: doc.AccessionNumber, Status: string(doc.Status), StatusText: statusTexts[string(doc.Status)], Version: doc.Version,
		IssuedAt: doc.IssuedAt, FirstIssuedAt: doc.FirstIssuedAt, Summary: summary(doc), Notice: doc.Notice,
		Eyes:      eyeViews(doc),
		Downloads: downloads(doc),
		Trends:    trends(doc),
	}
	for n, img := range doc.Images {
		if img.Laterality != record.RightEye && img.Laterality != record.LeftEye {
			view := imageView(img)
			view.ID, view.Eye, view.Chosen = fmt.Sprintf("other-%d", n+1), "picture without an eye", true
			v.Others = append(v.Others, view)
		}
	}
	for _, task := range doc.NeedsPerson {
		if task.Code != taskQuarantine && task.Code != taskMissing { // of these each file and picture is listed
			v.Tasks = append(v.Tasks, task.Text)
		}
	}
	v.Comparison = comparisonView(doc)
	for _, m := range doc.Missing {
		line := web.Missing{Problem: web.Problem{Code: m.Code, Reason: m.Reason}, SOPUID: m.SOPUID}
		if m.Code == awaitedCode {
			v.Awaited = append(v.Awaited, line)
		} else {
			v.Missing = append(v.Missing, line)
		}
	}
	for _, r := range doc.Rejected {
		v.Problems = append(v.Problems, web.Problem{Code: r.Code, Reason: r.Reason})
	}
	return v
}

func summary(doc *record.Report) string {
	c := doc.Counts
	text := fmt.Sprintf("%d %s: %d measured", c.Images, choose(c.Images, "picture", "pictures"), c.Measured)
	for _, part := range []struct {
		n    int
		text string
	}{{c.Ungradable, "ungradable"}, {c.NotAnalysed, "not analysed"}, {c.Failed, "failed"}, {c.Pending, "pending"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.text)
		}
	}
	if earlier := len(doc.Images) - c.Images; earlier > 0 {
		text += fmt.Sprintf("; %d earlier %s", earlier, choose(earlier, "version", "versions"))
	}
	return text + "."
}

// qualityView leaves out the reasons that are said already, as the image's reason or as a warning.
func qualityView(q record.Quality, img record.ReportImage) *web.Quality {
	const percent = 100
	view := &web.Quality{Percent: int(math.Round(percent * q.Score)), Low: q.Score < q.Limit}
	for _, r := range q.Reasons {
		if (img.Reason == nil || r != *img.Reason) && !slices.Contains(img.Warnings, r) {
			view.Reasons = append(view.Reasons, r.Text)
		}
	}
	for _, f := range q.Figures {
		view.Figures = append(view.Figures, web.Value{Display: strings.ReplaceAll(f.Name, "-", " "), Definition: f.Definition, Text: string(fhir.RoundDecimal(f.Value, glanceDigits))})
	}
	if q.Limit > 0 {
		view.Limit = strconv.Itoa(int(math.Round(percent * q.Limit)))
	}
	return view
}

func imageView(img record.ReportImage) web.ImageView {
	const shaDigits = 16
	at := "/api/images/" + img.SOPUID + "/" + img.Sha256[:shaDigits] + "/"
	v := web.ImageView{
		At: at, Thumb: fmt.Sprintf("%sphoto.jpg?width=%d", at, widthStep),
		Photo: fmt.Sprintf("%sphoto.jpg?width=%d", at, photoWidthPx), PhotoFull: at + "photo.jpg",
		Title: "Photograph", AcquiredAt: strings.Replace(img.AcquiredAt, "T", " ", 1),
		Status: string(img.Status), StatusText: statusTexts[string(img.Status)], Values: valuesOf(shown(img.Measures)), Regions: regionTable(img.Regions, img.Measures), Superseded: isSuperseded(img),
	}
	if img.Rows != nil && img.Columns != nil {
		v.Width, v.Height = *img.Columns, *img.Rows
	}
	if img.MaskKey != "" {
		v.Mask, v.MaskFull = fmt.Sprintf("%smask.png?width=%d", at, photoWidthPx), at+"mask.png"
	}
	if img.OverlayKey != "" {
		v.OverlayFull = at + "overlay.jpg"
	}
	if img.VesselMapKey != "" {
		v.VesselMap = at + "vessels.jpg"
	}
	if img.SegmentsKey != "" {
		v.Segments = at + "segments.csv"
	}
	if img.SegKey != "" {
		v.SEG = at + "seg.dcm"
	}
	if img.SrKey != "" {
		v.SR = at + "sr.dcm"
	}
	if img.Reason != nil {
		v.Reason = img.Reason.Text
		for n := range v.Values { // said once above the measures, not beside each of them
			if v.Values[n].Why == v.Reason {
				v.Values[n].Why = "not measured"
			}
		}
	}
	for _, w := range img.Warnings {
		if img.Reason == nil || w != *img.Reason {
			v.Warnings = append(v.Warnings, w.Text)
		}
	}
	if q := img.Quality; q != nil {
		v.Quality = qualityView(*q, img)
	}
	for _, n := range img.Notes {
		v.Notes = append(v.Notes, n.Text)
	}
	if p := img.Provenance; p != nil {
		v.Provenance = []web.Fact{
			{Name: "Model", Value: p.Model.String()}, {Name: "Model SHA-256", Value: p.Model.Sha256}, {Name: "Picture SHA-256", Value: p.InputSha256},
			{Name: "Threshold", Value: string(fhir.NewDecimal(p.Threshold))},
			{Name: "Canvas", Value: fmt.Sprintf("%d × %d px, field of view %s px", p.CanvasWidthPx, p.CanvasHeightPx, fhir.NewDecimal(p.CanvasFOVDiameterPx))},
			{Name: "Preprocessing", Value: p.Resampling + ", " + p.Normalisation}, {Name: "Decoder", Value: p.Decoder},
			{Name: "ONNX Runtime", Value: p.OnnxruntimeVersion + " on " + p.ExecutionProvider},
			{Name: "Noctua", Value: p.CodeVersion}, {Name: "Measured", Value: p.FinishedAt.UTC().Format(time.RFC3339)},
		}
		if d := img.Device; d != nil {
			v.Provenance = append(v.Provenance, web.Fact{Name: "Camera", Value: strings.TrimSpace(d.Manufacturer + " " + d.Model)})
		}
	}
	return v
}
