package segment

import (
	"strings"
	"unicode"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// geometry is what the measures are taken with: the scale of the canvas, and what is known of the eye.
func geometry(canvas fundus.Canvas, disc fundus.Disc, subject Subject) vessel.Geometry {
	g := vessel.Geometry{FOVDiameterPx: canvas.DiameterPx}
	if disc.Confidence >= fundus.DiscConfidence {
		g.Disc = &vessel.Circle{X: disc.CenterX, Y: disc.CenterY, DiameterPx: disc.DiameterPx}
	}
	switch subject.Laterality {
	case record.RightEye:
		g.Eye = vessel.RightEye
	case record.LeftEye:
		g.Eye = vessel.LeftEye
	}
	if mm := subject.PixelSpacingMm; mm != nil {
		g.MillimetresPerPx = *mm / canvas.Scale()
	}
	// A field that fills the frame shows no width that the angle could belong to.
	if deg, f := subject.HorizontalFOVDeg, canvas.FOV; deg != nil && !f.FillsFrame {
		seen := min(f.Right, f.CenterX+f.Radius) - max(f.Left, f.CenterX-f.Radius)
		g.DegreesPerPx = *deg / (seen * canvas.Scale())
	}
	return g
}

// measures writes values as they appear in documents. gridPx is the diameter of the field of view on the measured grid.
func measures(values []vessel.Value, gridPx float64) []record.Measure {
	out := make([]record.Measure, 0, len(values))
	for _, v := range values {
		m := measure(v.Definition, gridPx)
		m.Value, m.AbsentReason = valueOf(v)
		out = append(out, m)
	}
	return out
}

// regions writes the values of parts of the field as they appear in documents; the unsteady ones only where asked.
func regions(list []vessel.RegionalValues, unsteady bool) []record.Region {
	var out []record.Region
	for _, r := range list {
		region := record.Region{Name: r.Name, Display: r.Display, Definition: r.Text, AbsentReason: noteOf(r.Absent)}
		for _, v := range r.Values {
			m := record.RegionalMeasure{Name: v.Name, Unit: v.Unit}
			if m.Value, m.AbsentReason = valueOf(v); m.Value != nil && !unsteady && !vessel.Repeatable(v.Name, r.Name) {
				m.Value, m.AbsentReason = nil, &record.Note{Code: vessel.ReasonUnsteady, Text: "Between photographs of the same eye this measure moves by more than 15 % in this part of the field, so that it is withheld."}
			}
			region.Measures = append(region.Measures, m)
		}
		out = append(out, region)
	}
	return out
}

func valueOf(v vessel.Value) (*float64, *record.Note) {
	if v.Absent != nil {
		return nil, noteOf(v.Absent)
	}
	return &v.Value, nil
}

func noteOf(a *vessel.Absence) *record.Note {
	if a == nil {
		return nil
	}
	return &record.Note{Code: a.Code, Text: a.Sentence}
}

// quality writes the quality as it appears in documents.
func (a *Analyser) quality(q fundus.Quality) *record.Quality {
	out := &record.Quality{Score: q.Score, Limit: a.minQuality, Reasons: []record.Note{}, Figures: []record.QualityFigure{}}
	reasons := q.Reasons
	if len(reasons) == 0 && q.Score < a.minQuality {
		reasons = []fundus.Reason{q.Worst} // nothing to complain of, but not good enough for this limit
	}
	for _, r := range reasons {
		out.Reasons = append(out.Reasons, record.Note{Code: r.Code, Text: sentenceOf(r.Sentence)})
	}
	if q.Found {
		for _, f := range q.Figures.List() {
			out.Figures = append(out.Figures, record.QualityFigure{Name: f.Name, Definition: f.Definition, Unit: f.Unit, Value: f.Value})
		}
	}
	return out
}

// withheld writes every measure without a value, with the reason.
func withheld(gridPx float64, reason record.Note) []record.Measure {
	out := []record.Measure{}
	for _, d := range vessel.Definitions() {
		m := measure(d, gridPx)
		m.AbsentReason = &reason
		out = append(out, m)
	}
	return out
}

func measure(d vessel.Definition, gridPx float64) record.Measure {
	return record.Measure{Name: d.Name, Display: d.Display, Definition: d.Text, Unit: d.Unit, Region: d.Region, Source: d.Source, GridFOVPx: &gridPx}
}

// sentence makes a sentence for documents out of an error's: upper case in front, full stop behind.
func sentence(err error) string { return sentenceOf(fault.SentenceOf(err)) }

func sentenceOf(text string) string {
	s := []rune(strings.TrimSpace(text))
	if len(s) == 0 {
		return "Unknown reason."
	}
	s[0] = unicode.ToUpper(s[0])
	if last := s[len(s)-1]; last != '.' && last != '!' && last != '?' {
		s = append(s, '.')
	}
	return string(s)
}

// codeOf returns the stable code of an error, a general one where it has none.
func codeOf(err error) string {
	if code := fault.CodeOf(err); code != "" {
		return code
	}
	return "analysis-failed"
}
