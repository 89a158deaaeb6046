package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/web"
)

// comparisonView makes the table of what differs: a row a measure that has a verdict, a column a comparison. What is withheld is said below
// it, each reason once. nil: the report compares nothing.
func comparisonView(doc *record.Report) *web.Comparison {
	if len(doc.Comparisons) == 0 {
		return nil
	}
	v := &web.Comparison{Remarks: whichCounts(doc)}
	var shown []record.ReportComparison
	withheld := map[string][]string{} // names of measures by reason
	for _, c := range doc.Comparisons {
		if c.AbsentReason != nil {
			v.Remarks = addOnce(v.Remarks, c.AbsentReason.Text)
		}
		for _, m := range c.Measures {
			if m.AbsentReason != nil {
				withheld[m.AbsentReason.Text] = addOnce(withheld[m.AbsentReason.Text], m.Display)
			}
		}
		if slices.ContainsFunc(c.Measures, func(m record.ComparedMeasure) bool { return m.Verdict != "" }) {
			shown = append(shown, c)
		}
		for _, w := range c.Warnings {
			v.Warnings = addOnce(v.Warnings, w.Text)
		}
	}
	for _, c := range shown {
		v.Headings = append(v.Headings, comparisonHeading(c))
		for _, m := range c.Measures {
			if m.Verdict != "" && !slices.ContainsFunc(v.Rows, func(r web.ComparisonRow) bool { return r.Display == m.Display }) {
				v.Rows = append(v.Rows, web.ComparisonRow{Display: m.Display, Cells: make([]web.ComparisonCell, len(shown))})
			}
		}
	}
	for n, c := range shown {
		for _, m := range c.Measures {
			for _, row := range v.Rows {
				if row.Display == m.Display {
					row.Cells[n] = web.ComparisonCell{Text: m.Text, Beyond: m.Verdict == record.Lower || m.Verdict == record.Higher}
				}
			}
		}
	}
	for text, names := range withheld {
		v.Withheld = append(v.Withheld, web.Fact{Name: strings.Join(names, ", "), Value: text})
	}
	slices.SortFunc(v.Withheld, func(a, b web.Fact) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value)) })
	return v
}

// whichCounts names the picture that stands for an eye that has several.
func whichCounts(doc *record.Report) (remarks []string) {
	for _, side := range []record.Laterality{record.RightEye, record.LeftEye} {
		measured := 0
		for _, img := range doc.Images {
			if img.Laterality == side && img.Status == record.ImageMeasured && !isSuperseded(img) {
				measured++
			}
		}
		if img := standing(doc, side); img != nil && measured > 1 {
			remarks = append(remarks, fmt.Sprintf("Of the %s eye the photograph of %s is compared: of %d it has the best quality.",
				eyeName(side), strings.Replace(cmp.Or(img.AcquiredAt, "unknown time"), "T", " ", 1), measured))
		}
	}
	return remarks
}

func comparisonHeading(c record.ReportComparison) string {
	switch {
	case c.Kind == record.Asymmetry:
		return "Right eye beside left eye"
	case c.Image.Laterality == record.RightEye:
		return "Right eye since " + c.Reference.StudyDate
	}
	return "Left eye since " + c.Reference.StudyDate
}

func addOnce(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}
