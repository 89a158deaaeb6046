package report

import (
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

func TestShownLeavesOutUnitsWithoutAScale(t *testing.T) {
	t.Parallel()
	none := &record.Note{Code: vessel.ReasonNoSpacing, Text: "None."}
	value := 1.
	got := shown([]record.Measure{{Name: vessel.WidthMean, AbsentReason: none}, {Name: vessel.WidthMicrometres, AbsentReason: none}, {Name: vessel.WidthDegrees, Value: &value}})
	if len(got) != 2 || got[0].Name != vessel.WidthMean || got[1].Name != vessel.WidthDegrees {
		t.Errorf("%+v", got)
	}
}
