package report

import (
	"fmt"
	"slices"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/services/report/web"
)

// eyeViews are the columns of the patient page, the right eye first, as the examiner faces the patient. Of each eye the picture that
// stands for it is chosen; where none was measured, the first one that counts.
func eyeViews(doc *record.Report) []web.EyeView {
	all := spans(doc)
	out := []web.EyeView{{Code: "OD", Name: "right eye"}, {Code: "OS", Name: "left eye"}}
	for n, side := range []record.Laterality{record.RightEye, record.LeftEye} {
		view := &out[n]
		view.Text = eye(doc, side).Text
		for _, e := range doc.Eyes {
			if e.Laterality == side {
				view.Text = e.Text
			}
		}
		stands, chosen := standing(doc, side), -1
		for i := range doc.Images {
			img := &doc.Images[i]
			if img.Laterality != side {
				continue
			}
			v := imageView(*img)
			v.ID, v.Eye = fmt.Sprintf("%s-%d", sideParam[side], len(view.Images)+1), view.Name
			withIntervals(&v, img.Measures, all)
			if stands == img || stands == nil && chosen < 0 && !isSuperseded(*img) {
				chosen = len(view.Images)
			}
			view.Images = append(view.Images, v)
		}
		if len(view.Images) > 0 {
			view.Images[max(0, chosen)].Chosen = true
		}
	}
	return out
}

// sideParam is the parameter of the page that chooses a picture of an eye, by its place from 1.
var sideParam = map[record.Laterality]string{record.RightEye: "od", record.LeftEye: "os"}

// withIntervals draws the errors of measures, and puts those first that a reader looks at first: those whose error is known, and those
// that lists show.
func withIntervals(v *web.ImageView, measures []record.Measure, all map[string]span) {
	var first, further []web.Value
	head := headline(measures)
	for _, value := range v.Values {
		at := slices.IndexFunc(measures, func(m record.Measure) bool { return m.Name == value.Name && m.Region == vessel.RegionField })
		if at >= 0 {
			value.Interval = intervalOf(measures[at], all)
		}
		if value.Interval != nil || slices.ContainsFunc(head, func(m record.Measure) bool { return m.Name == value.Name }) {
			first = append(first, value)
		} else {
			further = append(further, value)
		}
	}
	v.Values, v.Further = first, further
}

// downloads are what there is of a version of a report for other programs, and to print.
func downloads(doc *record.Report) []web.Choice {
	return []web.Choice{
		{Text: "PDF, one page", Link: fmt.Sprintf("/api/reports/%s/report.pdf?version=%d", doc.ReportID, doc.Version)},
		{Text: "report.json", Link: fmt.Sprintf("/api/reports/%s?version=%d", doc.ReportID, doc.Version)},
		{Text: "FHIR DiagnosticReport", Link: fmt.Sprintf("/fhir/DiagnosticReport/%s/_history/%d", doc.ReportID, doc.Version)},
		{Text: "FHIR Observations of the patient", Link: "/fhir/Observation?patient=" + fhir.PatientID(doc.Patient.Key)},
	}
}
