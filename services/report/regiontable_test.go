package report

import (
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

func TestRegionTable(t *testing.T) {
	t.Parallel()
	if regionTable(nil, nil) != nil {
		t.Error("a table of nothing")
	}
	value := .12345
	table := regionTable([]record.Region{
		{Name: vessel.RegionZoneB, Display: "zone B", Definition: "There.", Measures: []record.RegionalMeasure{
			{Name: vessel.AreaDensity, Unit: "1", Value: &value},
			{Name: vessel.WidthMean, Unit: "%", AbsentReason: &record.Note{Code: "no-vessels", Text: "None here."}},
		}},
		{Name: vessel.RegionZoneC, Display: "zone C", AbsentReason: &record.Note{Code: "cut", Text: "Cut off."}},
	}, []record.Measure{{Name: vessel.AreaDensity, Display: "Area", Unit: "1"}, {Name: vessel.LengthDensity, Display: "Length", Unit: "1"}, {Name: vessel.WidthMean, Display: "Width", Unit: "%"}})
	if len(table.Columns) != 3 || table.Columns[0] != "Area" || table.Columns[2] != "Width (%)" || len(table.Rows) != 2 {
		t.Fatalf("%+v", table)
	}
	b, c := table.Rows[0], table.Rows[1]
	if b.Name != "zone B" || len(b.Values) != 3 || b.Values[0].Text != "0.123" || b.Values[1].Text != "" || b.Values[2].Why != "None here." {
		t.Errorf("zone B: %+v", b)
	}
	if c.Why != "Cut off." || len(c.Values) != 0 {
		t.Errorf("zone C: %+v", c)
	}
}
