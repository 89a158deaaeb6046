package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// series follows the measures of each eye over the visits, for measures whose error is known. earlier are the newest versions of the reports
// on the visits before, the latest first: those that store.Earlier returns. It is pure.
func series(r *record.Report, earlier []*record.Report) (out []record.ReportSeries) {
	if r.StudyDate == "" || len(earlier) == 0 {
		return nil
	}
	for _, side := range []record.Laterality{record.RightEye, record.LeftEye} {
		img := standing(r, side)
		if img == nil {
			continue
		}
		for _, m := range img.Measures {
			if m.Region == vessel.RegionField && m.Value != nil && m.Error != nil {
				if s := oneSeries(r, img, m, earlier); len(s.Points) > 1 {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// oneSeries is one measure of the eye that img stands for. A visit without a measured picture of the eye has no point.
func oneSeries(r *record.Report, img *record.ReportImage, m record.Measure, earlier []*record.Report) record.ReportSeries {
	s := record.ReportSeries{Laterality: img.Laterality, Name: m.Name, Display: m.Display, Unit: m.Unit}
	// The words are about what can be compared, from the visit that is farthest back.
	compared, first := 0, ""
	var changed *record.SeriesPoint
	var changedText string
	for n := len(earlier) - 1; n >= 0; n-- {
		before := earlier[n]
		reference := standing(before, img.Laterality)
		if reference == nil {
			continue
		}
		p := pointOf(before, reference, measureOf(reference.Measures, m))
		c := record.ReportComparison{Kind: record.Change}
		fill(&c, img, reference, func(verdict record.Verdict, by, bound string) string {
			return fmt.Sprintf("%s by %s than on %s, beyond the measurement error of %s.", upper(string(verdict)), by, before.StudyDate, bound)
		})
		verdict, text, absent := verdictOn(c, m)
		if p.Verdict, p.AbsentReason = verdict, absent; absent == nil {
			if compared++; first == "" {
				first = before.StudyDate
			}
			if verdict != record.WithinError && changed == nil {
				changed, changedText = &p, text
			}
		}
		s.Points = append(s.Points, p)
	}
	s.Points = append(s.Points, pointOf(r, img, &m))
	switch {
	case compared == 0:
		s.Text = "No earlier visit can be compared with this one."
	case changed != nil:
		s.Text = changedText
	default:
		s.Text = fmt.Sprintf("No change beyond measurement error over %d visits since %s.", compared+1, first)
	}
	return s
}

func pointOf(r *record.Report, img *record.ReportImage, m *record.Measure) record.SeriesPoint {
	p := record.SeriesPoint{ReportID: r.ReportID, StudyDate: r.StudyDate, SOPUID: img.SOPUID, Sha256: img.Sha256}
	if m != nil {
		p.Value, p.Error = m.Value, m.Error
	}
	return p
}

// verdictOn is what a comparison says of a measure, or why it says nothing.
func verdictOn(c record.ReportComparison, m record.Measure) (record.Verdict, string, *record.Note) {
	if c.AbsentReason != nil {
		return "", "", c.AbsentReason
	}
	for _, other := range c.Measures {
		if other.Name == m.Name && other.Region == m.Region {
			return other.Verdict, other.Text, other.AbsentReason
		}
	}
	return "", "", &record.Note{Code: measureMissingCode, Text: "The other picture has no such measure."}
}

func trimPoint(text string) string { return strings.TrimSuffix(strings.TrimSpace(text), ".") }

func lowerFirst(text string) string {
	c, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(c)) + text[size:]
}
