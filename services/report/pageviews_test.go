package report

import (
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
)

// TestValuesEndWhereTheirErrorsEnd shows no digit of a value beyond the last digit of its error.
func TestValuesEndWhereTheirErrorsEnd(t *testing.T) {
	t.Parallel()
	number := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		value, err         *float64
		text, brief, error string
	}{
		{number(.083333), number(.02149), "0.083", "0.083", "0.021"},
		{number(25.3271), number(11.42), "25", "25", "11"},
		{number(1.4432), number(.0601), "1.443", "1.443", "0.060"},
		{number(.083333), nil, "0.08333", "0.0833", ""},
		{number(.083333), number(0), "0.08333", "0.0833", "0"},
	} {
		got := valuesOf([]record.Measure{{Name: "vessel-area-density", Unit: "1", Value: c.value, Error: c.err}})[0]
		if got.Text != c.text || got.Brief != c.brief || got.Error != c.error {
			t.Errorf("want %q ± %q: reads %q, %q at a glance, ± %q", c.text, c.error, got.Text, got.Brief, got.Error)
		}
	}
}
