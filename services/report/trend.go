package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/web"
)

// Size of a chart, in its own units, which the page scales.
const (
	chartWidth, chartHeight          = 560., 230.
	chartLeft, chartRight            = 58., 24.
	chartTop, chartBottom            = 26., 34.
	dateLabelWidth                   = 82.
	chartTicks                       = 4
	intervalWidth, intervalMargin    = 180., 8.
	intervalPadding, chartValueRange = .15, .12
)

// span is a range of values.
type span struct{ low, high float64 }

func (s *span) add(low, high float64) {
	if s.low > s.high { // nothing yet
		s.low, s.high = low, high
	}
	s.low, s.high = min(s.low, low), max(s.high, high)
}

// noSpan is the span before anything was added.
func noSpan() span { return span{1, 0} }

// padded is the span with a share of itself to each side, so that nothing lies on the border. A single value gets room about it.
func (s span) padded(share float64) span {
	room := (s.high - s.low) * share
	if room == 0 {
		room = max(math.Abs(s.high)*share, 1e-9)
	}
	return span{s.low - room, s.high + room}
}

// at is where a value lies on an axis.
func (s span) at(v, from, to float64) float64 { return from + (v-s.low)/(s.high-s.low)*(to-from) }

// spans are the values of each measure whose error is known, errors included, over both eyes and all visits: one scale for all that is
// shown of a measure, so that what looks alike is alike.
func spans(doc *record.Report) map[string]span {
	all := map[string]span{}
	add := func(name string, value, half *float64) {
		if value == nil || half == nil {
			return
		}
		s, known := all[name]
		if !known {
			s = noSpan()
		}
		s.add(*value-*half, *value+*half)
		all[name] = s
	}
	for _, img := range doc.Images {
		for _, m := range img.Measures {
			add(m.Name, m.Value, m.Error)
		}
	}
	for _, s := range doc.Series {
		for _, p := range s.Points {
			add(s.Name, p.Value, p.Error)
		}
	}
	return all
}

// intervalOf draws a value and its error against the scale of its measure; nil where no error is known.
func intervalOf(m record.Measure, all map[string]span) *web.Interval {
	s, known := all[m.Name]
	if !known || m.Value == nil || m.Error == nil {
		return nil
	}
	s = s.padded(intervalPadding)
	at := func(v float64) float64 { return rounded(s.at(v, intervalMargin, intervalWidth-intervalMargin), 1) }
	_, fraction, _ := strings.Cut(valuesOf([]record.Measure{m})[0].Text, ".")
	end := func(v float64) string { return strconv.FormatFloat(v, 'f', len(fraction), 64) }
	return &web.Interval{Low: at(*m.Value - *m.Error), Value: at(*m.Value), High: at(*m.Value + *m.Error), From: end(s.low), To: end(s.high)}
}

// trends draws the series of a report: a measure a row, the right eye left. nil: there are none.
func trends(doc *record.Report) (out []web.Trend) {
	all := spans(doc)
	index := map[string]int{}
	for _, s := range doc.Series {
		n, known := index[s.Name]
		if !known {
			n = len(out)
			index[s.Name] = n
			t := web.Trend{Display: s.Display, Unit: unitText(s.Unit)}
			for _, img := range doc.Images {
				for _, m := range img.Measures {
					if m.Name == s.Name {
						t.Definition = m.Definition
					}
				}
			}
			out = append(out, t)
		}
		out[n].Charts = append(out[n].Charts, chart(doc, s, all[s.Name].padded(chartValueRange)))
	}
	return out
}

func unitText(unit string) string {
	if unit == "1" {
		return ""
	}
	return unit
}

// chart draws one series. Points stand where their dates are. Lines and bands join visits that can be compared with each other; between others
// stands a mark that says why not.
func chart(doc *record.Report, s record.ReportSeries, values span) web.Chart {
	c := web.Chart{Width: chartWidth, Height: chartHeight, Left: chartLeft, Right: chartWidth - chartRight, Top: chartTop, Bottom: chartHeight - chartBottom,
		Eye: "OS", Text: s.Text}
	if s.Laterality == record.RightEye {
		c.Eye = "OD"
	}
	y := func(v float64) float64 { return rounded(values.at(v, c.Bottom, c.Top), 1) }
	for _, v := range ticks(values, chartTicks) {
		c.Ticks = append(c.Ticks, web.Tick{At: y(v.value), Text: v.text})
	}
	x := dateAxis(s.Points, c.Left+12, c.Right-12)
	free := math.Inf(-1) // to the right of which a date has room
	last := len(s.Points) - 1
	for n, p := range s.Points {
		point := web.ChartPoint{X: rounded(x[n], 1), Date: dateText(p.StudyDate), Hollow: p.AbsentReason != nil, This: n == last}
		row := web.TrendRow{Date: point.Date, This: n == last, Verdict: verdictText(p.Verdict)}
		if n != last {
			row.Link = studyLink(doc.Patient.Key, p.ReportID)
		}
		if p.AbsentReason != nil {
			row.Verdict = p.AbsentReason.Text
		}
		if p.Value != nil {
			v := valuesOf([]record.Measure{{Name: s.Name, Unit: s.Unit, Value: p.Value, Error: p.Error}})[0]
			row.Text = v.Text
			if v.Error != "" {
				row.Text += " ± " + v.Error
			}
			half := 0.
			if p.Error != nil {
				half = *p.Error
			}
			point.Y, point.Low, point.High, point.Drawn = y(*p.Value), y(*p.Value-half), y(*p.Value+half), true
			point.Text = row.Text
		} else {
			row.Text = "not measured"
		}
		// The last date is that of this visit, and always written; those before where there is room for both.
		if n == last || x[n] >= free && x[n] <= x[last]-dateLabelWidth {
			point.Dated = true
			free = x[n] + dateLabelWidth
		}
		c.Points, c.Rows = append(c.Points, point), append(c.Rows, row)
		if n > 0 && reasonOf(s.Points[n-1]) != reasonOf(p) {
			why := "not comparable"
			for _, r := range []*record.Note{p.AbsentReason, s.Points[n-1].AbsentReason} {
				if r != nil {
					why = r.Text
				}
			}
			c.Breaks = append(c.Breaks, web.ChartBreak{X: rounded((x[n-1]+x[n])/2, 1), Text: breakText(p, s.Points[n-1]), Why: why})
		}
	}
	c.Bands, c.Lines = joined(c.Points, s.Points)
	return c
}

func reasonOf(p record.SeriesPoint) string {
	if p.AbsentReason == nil {
		return ""
	}
	return p.AbsentReason.Code
}

// breakText is a few words for the mark between two visits that cannot be compared.
func breakText(points ...record.SeriesPoint) string {
	for _, p := range points {
		switch reasonOf(p) {
		case otherModelCode:
			return "other model"
		case otherCameraCode:
			return "other camera"
		case otherFieldCode:
			return "other field angle"
		case otherGridCode:
			return "other grid"
		}
	}
	return "not comparable"
}

// joined makes the outlines of error bands and the lines, each through visits in a row that can be compared with each other.
func joined(points []web.ChartPoint, of []record.SeriesPoint) (bands, lines []string) {
	flush := func(run []web.ChartPoint) {
		if len(run) < 2 {
			return
		}
		var line, upper, lower string
		for n, p := range run {
			line += fmt.Sprintf("%g,%g ", p.X, p.Y)
			upper += fmt.Sprintf("%g,%g ", p.X, p.High)
			back := run[len(run)-1-n]
			lower += fmt.Sprintf("%g,%g ", back.X, back.Low)
		}
		bands, lines = append(bands, upper+lower), append(lines, line)
	}
	var run []web.ChartPoint
	for n, p := range points {
		if n > 0 && reasonOf(of[n-1]) != reasonOf(of[n]) || !p.Drawn {
			flush(run)
			run = nil
		}
		if p.Drawn {
			run = append(run, p)
		}
	}
	flush(run)
	return bands, lines
}

// dateAxis is where visits lie by their dates; evenly where the dates do not say.
func dateAxis(points []record.SeriesPoint, from, to float64) []float64 {
	days := make([]float64, len(points))
	for n, p := range points {
		day, err := time.Parse(time.DateOnly, p.StudyDate)
		if err != nil {
			days = nil
			break
		}
		days[n] = float64(day.Unix())
	}
	out := make([]float64, len(points))
	for n := range points {
		share := float64(n) / max(1, float64(len(points)-1))
		if len(days) > 0 && days[len(days)-1] > days[0] {
			share = (days[n] - days[0]) / (days[len(days)-1] - days[0])
		}
		out[n] = from + share*(to-from)
	}
	return out
}

type tick struct {
	value float64
	text  string
}

// ticks are round values within a span, about as many as asked for.
func ticks(s span, about int) (out []tick) {
	step := math.Pow(10, math.Floor(math.Log10((s.high-s.low)/float64(about))))
	for _, k := range []float64{5, 2} {
		if (s.high-s.low)/(step*k) >= float64(about)-1 {
			step *= k
			break
		}
	}
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	for v := math.Ceil(s.low/step) * step; v <= s.high; v += step {
		out = append(out, tick{v, strconv.FormatFloat(v, 'f', digits, 64)})
	}
	return out
}

func verdictText(v record.Verdict) string {
	switch v {
	case record.WithinError:
		return "this visit is within the error"
	case record.Lower:
		return "this visit is lower"
	case record.Higher:
		return "this visit is higher"
	}
	return ""
}

// dateText is a date that nobody reads in another order.
func dateText(date string) string {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return day.Format("2 Jan 2006")
}

func studyLink(patientKey, report string) string {
	return "/patients/" + fhir.PatientID(patientKey) + "?study=" + report
}
