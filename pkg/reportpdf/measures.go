package reportpdf

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/pdf"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// shownMeasures are those of the whole field that have a row, in this order, as far as a report has them; with a shorter name where the measure's own
// is a sentence. The ones in units of the retina have one only where the picture has a scale.
var shownMeasures = []struct {
	name, display string
	scaled        bool
}{
	{vessel.AreaDensity, "", false}, {vessel.LengthDensity, "", false}, {vessel.FractalDimension, "Fractal dimension (boxes)", false},
	{vessel.WidthMean, "", false}, {vessel.WidthMicrometres, "", true}, {vessel.Tortuosity, "", false}, {vessel.BranchingAngle, "", false},
	{vessel.BranchPointCount, "", false}, {vessel.LengthPerMillimetre, "", true}, {vessel.WidthP90, "", false},
}

// Digits that people see: programs read more of them over FHIR.
const (
	valueDigits = 4
	errorDigits = 2
)

// row is a measure of both eyes.
type row struct {
	name, display, unit string
	eyes                map[record.Laterality]*record.Measure
}

func measureOf(img *record.ReportImage, name string) *record.Measure {
	if img == nil || img.Status != record.ImageMeasured {
		return nil
	}
	for n := range img.Measures {
		if m := &img.Measures[n]; m.Name == name && m.Region == vessel.RegionField {
			return m
		}
	}
	return nil
}

// rows are the measures to show, and how many more the pictures have.
func (s *sheet) rows() (rows []row, more int) {
	total := map[string]bool{}
	for _, side := range sides {
		if img := Shown(s.Report, side); img != nil && img.Status == record.ImageMeasured {
			for _, m := range img.Measures {
				if m.Region == vessel.RegionField {
					total[m.Name] = true
				}
			}
		}
	}
	for _, shown := range shownMeasures {
		r := row{name: shown.name, eyes: map[record.Laterality]*record.Measure{}}
		valued := false
		for _, side := range sides {
			m := measureOf(Shown(s.Report, side), shown.name)
			if m == nil {
				continue
			}
			r.eyes[side], r.display, r.unit = m, m.Display, m.Unit
			valued = valued || m.Value != nil
		}
		if shown.display != "" {
			r.display = shown.display
		}
		if len(r.eyes) > 0 && (valued || !shown.scaled) && len(rows) < s.budget.rows {
			rows = append(rows, r)
		}
	}
	return rows, len(total) - len(rows)
}

// unitText is a UCUM unit as people write it.
func unitText(ucum string) string {
	switch ucum {
	case "1":
		return ""
	case "deg":
		return "°"
	case "um":
		return "µm"
	}
	return strings.NewReplacer("um", "µm", "deg", "°").Replace(ucum)
}

// valueText writes a value to the last place of its error (GUM 7.2.6), and that.
func valueText(m *record.Measure) string {
	switch {
	case m == nil || m.Value == nil:
		return "–"
	case m.Error == nil || *m.Error <= 0:
		return string(fhir.RoundDecimal(*m.Value, valueDigits))
	}
	bound := string(fhir.RoundDecimal(*m.Error, errorDigits))
	_, fraction, _ := strings.Cut(bound, ".")
	return strconv.FormatFloat(*m.Value, 'f', len(fraction), 64) + " ± " + bound
}

// judged is a comparison that has a column.
type judged struct {
	title string
	of    *record.ReportComparison
}

func (s *sheet) comparisons() (columns []judged, withheld, warned []string) {
	for n := range s.Report.Comparisons {
		c := &s.Report.Comparisons[n]
		title, subject := "OD beside OS", "Between the eyes"
		if c.Kind == record.Change && c.Image != nil {
			short, long := abbreviation(c.Image.Laterality)
			title, subject = short+" since the last visit", "Since the last visit, "+long
			if c.Reference != nil {
				title = short + " since " + c.Reference.StudyDate
			}
		}
		if c.AbsentReason != nil {
			withheld = append(withheld, subject+": "+c.AbsentReason.Text)
			continue
		}
		columns = append(columns, judged{title, c})
		for _, w := range c.Warnings {
			warned = append(warned, subject+": "+w.Text)
		}
	}
	return columns, withheld, warned
}

// verdict is what a comparison says of a measure, in the few words of a cell.
func (j judged) verdict(name string) (text string, beyond bool) {
	for _, m := range j.of.Measures {
		if m.Name != name || m.Region != vessel.RegionField {
			continue
		}
		switch m.Verdict {
		case record.WithinError:
			return "within error", false
		case record.Lower, record.Higher:
			if m.Difference == nil || m.Error == nil {
				return string(m.Verdict), true
			}
			bound := string(fhir.RoundDecimal(*m.Error, errorDigits))
			_, fraction, _ := strings.Cut(bound, ".")
			return fmt.Sprintf("%s by %s", m.Verdict, strconv.FormatFloat(math.Abs(*m.Difference), 'f', len(fraction), 64)), true
		}
		return "not compared", false
	}
	return "–", false
}

// mostVerdicts is how many columns of comparisons there are: between the eyes, and of each eye since the visit before.
const mostVerdicts = 3

// measures is the table.
func (s *sheet) measures() block {
	rows, more := s.rows()
	columns, withheld, warned := s.comparisons()
	const size, nameWide, valueWide = 8.0, 140.0, 74.0
	verdictWide := (contentWide - nameWide - 2*valueWide) / mostVerdicts
	heading := pdf.Style{Size: 7.4, Leading: 1.35, Bold: true}
	style, bold, soft := pdf.Style{Size: size, Leading: 1.3}, pdf.Style{Size: size, Leading: 1.3, Bold: true}, pdf.Style{Size: size, Leading: 1.3, Grey: softGrey}
	type cell struct {
		text  pdf.Text
		x     float64
		width float64
	}
	var table [][]cell
	line := func(name pdf.Text, cells ...cell) {
		table = append(table, append([]cell{{name, margin, nameWide}}, cells...))
	}
	valueAt := func(n int) float64 { return margin + nameWide + float64(n)*valueWide }
	verdictAt := func(n int) float64 { return valueAt(2) + float64(n)*verdictWide }
	if len(rows) > 0 {
		var head []cell
		for n, side := range sides {
			short, long := abbreviation(side)
			head = append(head, cell{s.page.Set(short+" "+long, heading, valueWide-4, 1), valueAt(n), valueWide})
		}
		for n, c := range columns {
			if n < mostVerdicts {
				head = append(head, cell{s.page.Set(c.title, heading, verdictWide-4, 1), verdictAt(n), verdictWide})
			}
		}
		line(s.page.Set("Measure of the whole field", heading, nameWide-4, 1), head...)
	}
	var reasons []string
	for _, r := range rows {
		name := r.display
		if unit := unitText(r.unit); unit != "" {
			name += ", " + unit
		}
		var cells []cell
		for n, side := range sides {
			m := r.eyes[side]
			cells = append(cells, cell{s.page.Set(valueText(m), style, valueWide-4, 1), valueAt(n), valueWide})
			if m != nil && m.Value == nil && m.AbsentReason != nil {
				reasons = append(reasons, r.display+": "+m.AbsentReason.Text)
			} else if m != nil && m.Value != nil && m.Error == nil && m.ErrorAbsentReason != nil {
				reasons = append(reasons, "Without an error: "+m.ErrorAbsentReason.Text)
			}
		}
		for n, c := range columns {
			if n < mostVerdicts {
				text, beyond := c.verdict(r.name)
				look := soft
				if beyond {
					look = bold
				}
				cells = append(cells, cell{s.page.Set(text, look, verdictWide-4, 1), verdictAt(n), verdictWide})
			}
		}
		line(s.page.Set(name, style, nameWide-4, 1), cells...)
	}
	var notes []string
	if len(rows) > 0 {
		notes = append(notes, "± is half the width of the interval that holds 90 % of the errors against people's drawings. Within error: the difference is no greater than the errors of both values together.")
	}
	notes = append(notes, warned...)
	notes = append(notes, withheld...)
	slices.Sort(reasons)
	notes = append(notes, slices.Compact(reasons)...)
	if len(rows) > 0 && more > 0 {
		notes = append(notes, fmt.Sprintf("Definitions, %d more %s and those of regions: see the report.", more, plural(more, "measure", "measures")))
	}
	below, _ := s.lines(notes, pdf.Style{Size: 7, Grey: softGrey}, contentWide, s.budget.notes, 2)
	const lineHigh = size*1.3 + 1
	high := float64(len(table))*lineHigh + height(below)
	if len(below) > 0 {
		high += 2
	}
	return block{height: high, draw: func(y float64) error {
		for n, cells := range table {
			if n > 0 && n%2 == 1 {
				s.page.Rectangle(margin-3, y, contentWide+6, lineHigh, pdf.Colour{0.96, 0.96, 0.96})
			}
			for _, c := range cells {
				s.page.Text(c.text, c.x, y+0.5, c.width, pdf.Left)
			}
			y += lineHigh
			if n == 0 {
				s.page.Line([]pdf.Point{{X: margin - 3, Y: y}, {X: margin + contentWide + 3, Y: y}}, 0.5, ruleGrey, 0)
			}
		}
		s.stack(below, margin, y+2, contentWide)
		return nil
	}}
}
