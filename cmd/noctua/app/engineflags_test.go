package app

import (
	"reflect"
	"strconv"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fundus"
)

// TestMinQualityFlag keeps the flag's default, which stands in a tag, equal to the documented one.
func TestMinQualityFlag(t *testing.T) {
	t.Parallel()
	field, ok := reflect.TypeFor[runtimeFlags]().FieldByName("MinQuality")
	if !ok {
		t.Fatal("there is no flag")
	}
	if got, err := strconv.ParseFloat(field.Tag.Get("default"), 64); err != nil || got != fundus.DefaultMinScore {
		t.Errorf("the default is %v (%v), expected %v", got, err, fundus.DefaultMinScore)
	}
	if got := field.Tag.Get("env"); got != "NOCTUA_MIN_QUALITY" {
		t.Errorf("the variable is %s", got)
	}
	if limit := (runtimeFlags{MinQuality: .4}).judgement().MinQuality; limit == nil || *limit != .4 {
		t.Errorf("the limit is %v", limit)
	}
	if _, err := (engineFlags{runtimeFlags: runtimeFlags{MinQuality: 2}}).open(t.Context(), nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a limit of 2: %v", err)
	}
}
