package report

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
)

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		span span
		want string
	}{{span{.07, .13}, "0.08 0.10 0.12"}, {span{0, 10}, "0 2 4 6 8 10"}, {span{-12, 31}, "-10 0 10 20 30"}, {span{1.381, 1.467}, "1.40 1.42 1.44 1.46"}, {span{1e-9, 5e-9}, "0.000000001 0.000000002 0.000000003 0.000000004 0.000000005"}} {
		var got []string
		for _, k := range ticks(test.span, chartTicks) {
			got = append(got, k.text)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%v: %v, want %s", test.span, got, test.want)
		}
	}
}

// TestChart: points stand by their dates, bands are as wide as the errors, nothing is joined across what cannot be compared, and both eyes share a scale.
func TestChart(t *testing.T) {
	t.Parallel()
	point := func(date string, value, half float64, absent string) record.SeriesPoint {
		p := record.SeriesPoint{ReportID: shaOf(date)[:32], StudyDate: date, Value: &value, Error: &half}
		if absent != "" {
			p.AbsentReason = &record.Note{Code: absent, Text: "The pictures were measured by different models."}
		}
		return p
	}
	gap := record.SeriesPoint{ReportID: shaOf("gap")[:32], StudyDate: "2025-11-22"}
	doc := &record.Report{Patient: record.PatientIdentity{Key: shaOf("patient")}, Series: []record.ReportSeries{
		{Laterality: "R", Name: "vessel-area-density", Display: "Vessel area density", Unit: "1", Text: "Words.", Points: []record.SeriesPoint{
			point("2022-11-22", .08, .02, otherModelCode), point("2023-11-22", .09, .02, otherModelCode), point("2024-11-22", .10, .02, ""), point("2026-11-22", .12, .01, "")}},
		{Laterality: "L", Name: "vessel-area-density", Display: "Vessel area density", Unit: "1", Text: "Others.", Points: []record.SeriesPoint{
			point("2024-11-22", .2, .02, ""), gap, point("2026-11-21", .21, .02, ""), point("2026-11-22", .22, .02, "")}},
	}}
	all := trends(doc)
	if len(all) != 1 || len(all[0].Charts) != 2 || all[0].Unit != "" {
		t.Fatalf("%+v", all)
	}
	od, os := all[0].Charts[0], all[0].Charts[1]
	if od.Eye != "OD" || os.Eye != "OS" || od.Text != "Words." || !slices.Equal(od.Ticks, os.Ticks) {
		t.Errorf("%s and %s, %v and %v", od.Eye, os.Eye, od.Ticks, os.Ticks)
	}
	if x := od.Points; x[2].X-x[1].X < x[1].X-x[0].X-1 || x[3].X-x[2].X < 1.9*(x[1].X-x[0].X) {
		t.Errorf("two years are not twice one: %v", x)
	}
	for n, p := range od.Points {
		half := []float64{.02, .02, .02, .01}[n]
		perUnit := (od.Points[0].Low - od.Points[0].High) / .04
		if d := (p.Low - p.High) - 2*half*perUnit; d > .3 || d < -.3 || p.Low < p.Y || p.High > p.Y {
			t.Errorf("point %d reaches from %v to %v about %v", n, p.Low, p.High, p.Y)
		}
		if p.Hollow != (n < 2) || p.This != (n == 3) {
			t.Errorf("point %d: %+v", n, p)
		}
	}
	if len(od.Bands) != 2 || len(od.Lines) != 2 || strings.Contains(od.Lines[1], strconv.FormatFloat(od.Points[1].X, 'g', -1, 64)+",") {
		t.Errorf("lines %q", od.Lines)
	}
	if len(od.Breaks) != 1 || od.Breaks[0].Text != "other model" || od.Breaks[0].X < od.Points[1].X || od.Breaks[0].X > od.Points[2].X {
		t.Errorf("%+v", od.Breaks)
	}
	if len(os.Lines) != 1 || os.Points[1].Drawn || os.Rows[1].Text != "not measured" || os.Rows[0].Text != "0.200 ± 0.020" || os.Rows[0].Link == "" || os.Rows[3].Link != "" {
		t.Errorf("%+v", os)
	}
	if os.Points[2].Dated || !os.Points[3].Dated || os.Points[3].Date != "22 Nov 2026" {
		t.Errorf("dates lie over each other: %+v", os.Points)
	}
	if trends(&record.Report{}) != nil {
		t.Error("trends of nothing")
	}
}

func TestIntervals(t *testing.T) {
	t.Parallel()
	a, b := density(.1, .02), density(.2, .04)
	doc := studyOf("2026-11-22", eyeImage("R", "1.1", a), eyeImage("L", "1.2", b))
	all := spans(doc)
	i, j := intervalOf(a, all), intervalOf(b, all)
	if i == nil || j == nil || i.From != j.From || i.To != j.To || !(i.Low < i.Value && i.Value < i.High && i.High < j.Low) || i.Low < intervalMargin || j.High > intervalWidth-intervalMargin {
		t.Errorf("%+v and %+v", i, j)
	}
	a.Error = nil
	if intervalOf(a, all) != nil {
		t.Error("an interval without an error")
	}
	zero := density(0, 0)
	if i := intervalOf(zero, spans(studyOf("2026-11-22", eyeImage("R", "1.1", zero)))); i == nil || !(i.Value > 0 && i.Value < intervalWidth) {
		t.Errorf("of nothing: %+v", i)
	}
}
