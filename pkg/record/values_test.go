package record

import "testing"

func TestEverywhere(t *testing.T) {
	t.Parallel()
	one, half := 1., .5
	r := Result{
		Measures: []Measure{
			{Name: "area", Display: "Area", Definition: "Pixels.", Unit: "1", Region: "field", Source: "Counting", Value: &one, Error: &half},
			{Name: "width", Display: "Width", Unit: "%", Region: "field", Value: &half, Error: &half},
		},
		Regions: []Region{
			{Name: "ring", Measures: []RegionalMeasure{{Name: "area", Unit: "1", Value: &half}, {Name: "width", Unit: "%", AbsentReason: &Note{Code: "none", Text: "None."}}}},
			{Name: "zone", AbsentReason: &Note{Code: "cut", Text: "Cut off."}},
		},
	}
	got := r.Everywhere()
	if len(got) != 5 {
		t.Fatalf("%d measures, want 5: %+v", len(got), got)
	}
	if m := got[2]; m.Name != "area" || m.Region != "ring" || m.Definition != "Pixels." || m.Source != "Counting" || *m.Value != .5 || m.Error != nil || m.ErrorAbsentReason == nil {
		t.Errorf("area of the ring: %+v", m)
	}
	if m := got[3]; m.Display != "Width" || m.Value != nil || m.AbsentReason.Code != "none" || m.Error != nil || m.ErrorAbsentReason != nil {
		t.Errorf("width of the ring: %+v", m)
	}
	if m := got[4]; m.Name != "area" || m.Region != "zone" || m.Value != nil || m.AbsentReason.Code != "cut" {
		t.Errorf("the zone without values: %+v", m)
	}
	if *r.Measures[0].Error != .5 || r.Measures[0].Region != "field" {
		t.Error("the result itself was changed")
	}
}
