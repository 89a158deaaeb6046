package report

import (
	"net/http"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// TestQualityReachesPageAndFHIR follows the quality of three images from their results: a good one, one that could be better
// but is measured, and one that is ungradable and has a warning of the decoder besides.
func TestQualityReachesPageAndFHIR(t *testing.T) {
	t.Parallel()
	blur := record.Note{Code: "blur", Text: "The photograph is blurred: clean the lens, refocus and take it again."}
	faint := record.Note{Code: "low-contrast", Text: "The photograph has too little contrast: check for a cloudy eye."}
	soft := record.Note{Code: "blur", Text: "This one is a little soft: refocus."}
	quality := func(score float64, reasons ...record.Note) *record.Quality {
		return &record.Quality{Score: score, Limit: .3, Reasons: append([]record.Note{}, reasons...), Figures: []record.QualityFigure{
			{Name: "contrast-to-noise", Definition: "Contrast over noise.", Unit: "1", Value: 2.3456}}}
	}
	k := newKit(t)
	for n := 1; n <= 3; n++ {
		k.tell(k.accept(picture{1, n}))
	}
	k.tell(
		k.segment(picture{1, 1}, func(r *record.Result) { r.Quality = quality(.87) }),
		k.segment(picture{1, 2}, func(r *record.Result) { r.Quality = quality(.55, soft) }),
		k.segment(picture{1, 3}, func(r *record.Result) {
			r.Status, r.Files, r.Quality = record.Ungradable, record.ResultFiles{}, quality(.21, blur, faint)
			r.Warnings = []record.Note{{Code: "lossy", Text: "Decoded with a loss."}, blur, faint}
			for n := range r.Measures {
				r.Measures[n].Value, r.Measures[n].AbsentReason = nil, &blur
			}
		}))
	k.quiet()
	doc := k.wantReport(picture{1, 1}, 1, record.Final, record.ReportCounts{Images: 3, Measured: 2, Ungradable: 1})
	for _, i := range doc.Images {
		if i.Quality == nil || len(i.Quality.Figures) != 1 {
			t.Errorf("%s: quality %+v", i.SOPUID, i.Quality)
		}
		if i.Status == record.ImageUngradable && (i.Reason == nil || *i.Reason != blur) {
			t.Errorf("the reason is %+v, not what withheld the measures", i.Reason)
		}
	}

	page := k.get("/patients/"+fhir.PatientID(shaOf("patient", 1)), "Accept", "text/html").Body.String()
	for _, want := range []string{"Image quality 87 of 100", "Image quality 55 of 100", "Image quality 21 of 100", "contrast to noise", "2.35", "Below 30 of 100", "Decoded with a loss."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, once := range []string{blur.Text, faint.Text, soft.Text} {
		if n := strings.Count(page, once); n != 1 {
			t.Errorf("%q stands %d times on the page", once, n)
		}
	}

	w := k.get("/fhir/Observation?patient=" + fhir.PatientID(shaOf("patient", 1)))
	body := w.Body.String()
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, body)
	}
	const measures = 2
	for want, n := range map[string]int{`"image-quality"`: 3 * measures, `"dataAbsentReason"`: measures, `"value":0.87000`: measures, `"value":0.21000`: measures, `"text":"` + faint.Text: measures} {
		if got := strings.Count(strings.ReplaceAll(body, ": ", ":"), strings.ReplaceAll(want, ": ", ":")); got != n {
			t.Errorf("%s stands %d times in the observations, expected %d", want, got, n)
		}
	}
}
