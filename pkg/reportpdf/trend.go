package reportpdf

import (
	"math"
	"slices"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/pdf"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// trendMeasures have a diagram, as far as the budget goes.
var trendMeasures = []string{vessel.AreaDensity, vessel.LengthDensity, vessel.FractalDimension}

// dot is a visit with a value.
type dot struct {
	at           time.Time
	value, bound float64
	comparable   bool // with this visit's value
}

func dotsOf(series *record.ReportSeries) (all []dot) {
	for _, p := range series.Points {
		at, err := time.Parse(time.DateOnly, p.StudyDate)
		if err != nil || p.Value == nil {
			continue // it has no place in a diagram; the report lists it with its reason
		}
		d := dot{at: at, value: *p.Value, comparable: p.AbsentReason == nil}
		if p.Error != nil {
			d.bound = *p.Error
		}
		all = append(all, d)
	}
	return all
}

// extent is the range of a diagram, the same for both eyes.
type extent struct{ from, to, low, high float64 } // days since 1970, and values

func (e *extent) add(d dot) {
	day := float64(d.at.Unix()) / (24 * 60 * 60)
	e.from, e.to = min(e.from, day), max(e.to, day)
	e.low, e.high = min(e.low, d.value-d.bound), max(e.high, d.value+d.bound)
}

// trends draws how measures went over the visits.
func (s *sheet) trends() block {
	if len(s.Report.Series) == 0 {
		return block{}
	}
	of := map[record.Laterality]map[string]*record.ReportSeries{record.RightEye: {}, record.LeftEye: {}}
	for n := range s.Report.Series {
		one := &s.Report.Series[n]
		if of[one.Laterality] != nil {
			of[one.Laterality][one.Name] = one
		}
	}
	names := trendMeasures[:min(len(trendMeasures), s.budget.trends)]
	title := s.page.Set("Over the visits, with errors", pdf.Style{Size: 9, Bold: true}, contentWide, 1)
	legend := s.page.Set("grey: cannot be compared with this visit", pdf.Style{Size: 7, Grey: softGrey}, contentWide/2, 1)
	const labelHigh, dateHigh = 9.0, 8.5
	chartHigh := s.budget.chart
	high := title.Height()
	if len(names) > 0 {
		high += chartHigh + labelHigh + dateHigh
	}
	words := map[record.Laterality][]pdf.Text{}
	wordsHigh := 0.0
	for _, side := range sides {
		var sentences []string
		short, _ := abbreviation(side)
		for _, name := range trendMeasures {
			if one := of[side][name]; one != nil {
				sentences = append(sentences, short+" "+lowerFirst(shortDisplay(one))+": "+one.Text)
			}
		}
		words[side], _ = s.lines(sentences, pdf.Style{Size: 7}, columnWide, s.budget.words, 2)
		wordsHigh = max(wordsHigh, height(words[side]))
	}
	return block{height: high + wordsHigh, draw: func(y float64) error {
		s.page.Text(title, margin, y, contentWide, pdf.Left)
		if len(names) > 0 && s.greyed() {
			s.page.Text(legend, margin+title.Width()+6, y+1.5, contentWide/2, pdf.Left)
		}
		y += title.Height()
		for n, side := range sides {
			left := margin + float64(n)*(columnWide+gutter)
			const gap = 6.0
			wide := (columnWide - gap*float64(len(trendMeasures)-1)) / float64(len(trendMeasures))
			for i, name := range names {
				one := of[side][name]
				if one == nil {
					continue
				}
				e := extent{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
				for _, both := range sides {
					if other := of[both][name]; other != nil {
						for _, d := range dotsOf(other) {
							e.add(d)
						}
					}
				}
				s.chart(one, e, left+float64(i)*(wide+gap), y, wide, labelHigh, chartHigh, dateHigh)
			}
			s.stack(words[side], left, y+high-title.Height(), columnWide)
		}
		return nil
	}}
}

// chart draws one measure of one eye: the band of errors, the values joined by lines, and what cannot be compared with this visit in grey.
func (s *sheet) chart(series *record.ReportSeries, e extent, x, y, wide, labelHigh, high, dateHigh float64) {
	const pad, labelWide = 4.0, 20.0 // the values stand at the right of the diagram
	plot := wide - labelWide
	s.page.Text(s.page.Set(shortDisplay(series), pdf.Style{Size: 6.5}, wide, 1), x, y, wide, pdf.Left)
	y += labelHigh
	s.page.Rectangle(x, y, plot, high, pdf.Colour{0.965, 0.965, 0.965})
	if e.to < e.from {
		return
	}
	span, days := max(e.high-e.low, 1e-9), max(e.to-e.from, 1)
	place := func(d dot, value float64) pdf.Point {
		day := float64(d.at.Unix()) / (24 * 60 * 60)
		return pdf.Point{X: x + pad + (day-e.from)/days*(plot-2*pad), Y: y + pad + (e.high-value)/span*(high-2*pad)}
	}
	band, line, grey := pdf.Colour{0.78, 0.86, 0.95}, pdf.Colour{0.10, 0.32, 0.60}, pdf.Colour{0.55, 0.55, 0.55}
	var upper, lower, middle []pdf.Point
	dots := dotsOf(series)
	for _, d := range dots {
		if d.comparable {
			upper, lower, middle = append(upper, place(d, d.value+d.bound)), append(lower, place(d, d.value-d.bound)), append(middle, place(d, d.value))
		}
	}
	outline := append([]pdf.Point(nil), upper...)
	for n := len(lower) - 1; n >= 0; n-- {
		outline = append(outline, lower[n])
	}
	s.page.Area(outline, band)
	s.page.Line(middle, 0.9, line, 0)
	const half = 1.3
	for _, d := range dots {
		colour, p := line, place(d, d.value)
		if !d.comparable {
			colour = grey
			s.page.Line([]pdf.Point{place(d, d.value-d.bound), place(d, d.value+d.bound)}, 0.6, grey, 1)
		}
		s.page.Rectangle(p.X-half, p.Y-half, 2*half, 2*half, colour)
	}
	tiny := pdf.Style{Size: 6, Grey: softGrey}
	s.page.Text(s.page.Set(string(fhir.RoundDecimal(e.high, 3)), tiny, labelWide, 1), x, y-0.5, wide, pdf.Right)
	s.page.Text(s.page.Set(string(fhir.RoundDecimal(e.low, 3)), tiny, labelWide, 1), x, y+high-7.5, wide, pdf.Right)
	if len(dots) > 0 {
		day := func(days float64) string { return time.Unix(int64(days)*24*60*60, 0).UTC().Format(time.DateOnly) }
		s.page.Text(s.page.Set(day(e.from), tiny, wide, 1), x, y+high, wide, pdf.Left)
		if e.to > e.from {
			s.page.Text(s.page.Set(day(e.to), tiny, wide, 1), x, y+high, wide, pdf.Right)
		}
	}
}

func shortDisplay(series *record.ReportSeries) string {
	for _, m := range shownMeasures {
		if m.name == series.Name && m.display != "" {
			return m.display
		}
	}
	return series.Display
}

// greyed tells whether any value that has a diagram cannot be compared with this visit's.
func (s *sheet) greyed() bool {
	for n := range s.Report.Series {
		if slices.Contains(trendMeasures, s.Report.Series[n].Name) && slices.ContainsFunc(dotsOf(&s.Report.Series[n]), func(d dot) bool { return !d.comparable }) {
			return true
		}
	}
	return false
}
