package phantom

import (
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// TestArtefacts: each artefact changes what it should, and neither the truth nor anything else.
func TestArtefacts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		plain := drawn(t, small(seed, Right, 45, NoDefect))
		for name, test := range map[string]struct {
			set                      func(*Options)
			inside, outside          bool    // it changes pixels of the field of view, of the margin
			leastBrighter, leastDark float64 // shares of the field of view by more than 10 of 255, in green
			most                     float64
		}{
			"flare":   {func(o *Options) { o.Flare = true }, true, false, .01, 0, .35},
			"lashes":  {func(o *Options) { o.Lashes = true }, true, false, 0, .001, .3},
			"caption": {func(o *Options) { o.Caption = "OD 45" }, false, true, 0, 0, 0},
		} {
			o := small(seed, Right, 45, NoDefect)
			test.set(&o)
			got := drawn(t, o)
			if !slices.Equal(got.Vessels.Pix, plain.Vessels.Pix) || !slices.Equal(got.FOV.Pix, plain.FOV.Pix) {
				t.Errorf("%s, seed %d: the truth is another one", name, seed)
			}
			if again := drawn(t, o); !slices.Equal(again.Picture.Pix, got.Picture.Pix) {
				t.Errorf("%s, seed %d: the same options gave two pictures", name, seed)
			}
			var inside, outside, brighter, darker int
			for i, in := range plain.FOV.Pix {
				before, after := int(plain.Picture.Pix[3*i+1]), int(got.Picture.Pix[3*i+1])
				x, y := i%o.Width, i/o.Width
				edge := in != 0 && x > 2 && y > 2 && x < o.Width-3 && y < o.Height-3
				switch {
				case in == 0 && after-before > 60: // less is the light of the field of view, blurred
					outside++
				case edge && after-before > 10:
					brighter++
				case edge && before-after > 10:
					darker++
				}
				if edge && before != after {
					inside++
				}
			}
			field := float64(plain.FOV.Count())
			b, d := float64(brighter)/field, float64(darker)/field
			if (inside > 0) != test.inside || (outside > 0) != test.outside || b < test.leastBrighter || d < test.leastDark || b+d > test.most {
				t.Errorf("%s, seed %d: %d pixels inside and %d outside differ; %.4f of the field brighter, %.4f darker", name, seed, inside, outside, b, d)
			}
		}
	}
	_, err := Draw(Options{Caption: strings.Repeat("x", maxCaption+1)})
	if fault.CodeOf(err) != "phantom-options" {
		t.Errorf("a caption that is too long: %v", err)
	}
}
