package segment

import (
	"testing"

	"github.com/noctua-screening/noctua/pkg/vessel"
)

func TestUnsteadyMeasuresOnlyWhereAsked(t *testing.T) {
	t.Parallel()
	list := []vessel.RegionalValues{{Region: vessel.Region{Name: vessel.RegionZoneB}, Values: []vessel.Value{{Definition: vessel.Definition{Name: vessel.EndPointCount}, Value: 3}}}}
	if m := regions(list, false)[0].Measures[0]; m.Value != nil || m.AbsentReason == nil || m.AbsentReason.Code != vessel.ReasonUnsteady {
		t.Errorf("withheld by default: %+v", m)
	}
	if m := regions(list, true)[0].Measures[0]; m.Value == nil || *m.Value != 3 || m.AbsentReason != nil {
		t.Errorf("asked for: %+v", m)
	}
}
