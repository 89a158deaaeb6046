package evaluation

import (
	"testing"

	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// rectangles draws filled ones: x, y, width, height.
func rectangles(boxes ...[4]int) *raster.Mask {
	m := raster.NewMask(100, 60)
	for _, b := range boxes {
		for y := b[1]; y < b[1]+b[3]; y++ {
			for x := b[0]; x < b[0]+b[2]; x++ {
				m.Pix[y*m.Width+x] = raster.Foreground
			}
		}
	}
	return m
}

// TestClDiceByHand uses lines of one pixel's width, whose skeletons they are themselves.
func TestClDiceByHand(t *testing.T) {
	t.Parallel()
	line := rectangles([4]int{10, 20, 80, 1})
	both := rectangles([4]int{10, 20, 80, 1}, [4]int{10, 40, 20, 1})
	for _, tc := range []struct {
		name        string
		mask, label *raster.Mask
		want        Score
	}{
		{"the same", line, line, 1},
		{"half of it", rectangles([4]int{10, 20, 40, 1}), line, 2 * 1 * .5 / 1.5}, // precision 1, sensitivity 40/80
		{"the half of it is label", line, rectangles([4]int{10, 20, 40, 1}), 2 * .5 / 1.5},
		{"a branch of 20 beside 80 is missed", line, both, 2 * .8 / 1.8},
		{"a false branch", both, line, 2 * .8 / 1.8},
		{"one row beside", rectangles([4]int{10, 21, 80, 1}), line, 0},
		{"nothing found", rectangles(), line, 0},
		{"nothing there", line, rectangles(), 0},
	} {
		near(t, tc.name, clDice(tc.mask, tc.label), float64(tc.want), 1e-12)
	}
	if s := clDice(rectangles(), rectangles()); s.Defined() {
		t.Errorf("of two empty masks: %v, want none", s)
	}
}

// TestClDiceCountsLengthNotArea: a thin vessel of half the length is half the loss, a wide one's width costs nothing.
func TestClDiceCountsLengthNotArea(t *testing.T) {
	t.Parallel()
	wide, thin := [4]int{10, 10, 80, 9}, [4]int{10, 40, 80, 1}
	label := rectangles(wide, thin)
	narrower := rectangles([4]int{10, 12, 80, 5}, thin)
	withoutThin := rectangles(wide)
	if s := clDice(narrower, label); s < .98 {
		t.Errorf("clDice %v of a mask that is only narrower, want about 1", s)
	}
	// The label's skeleton: 80 of the thin one, 80 − 9 or so of the wide one; all of the mask's lies on the label.
	skeleton := float64(vessel.Skeleton(label).Count())
	want := 2 * (skeleton - 80) / (2*skeleton - 80)
	near(t, "clDice without the thin vessel", clDice(withoutThin, label), want, 1e-9)
	if dice := maskDice(withoutThin, label); dice < .94 {
		t.Errorf("Dice %v: the test should show a vessel that Dice hardly sees", dice)
	}
}

func TestOnlyTheFieldOfViewCounts(t *testing.T) {
	t.Parallel()
	fov := rectangles([4]int{0, 0, 50, 60})
	label := rectangles([4]int{10, 20, 80, 1})
	near(t, "clDice inside the field of view",
		clDice(inside(rectangles([4]int{10, 20, 40, 1}), fov, 100, 60), inside(label, fov, 100, 60)), 1, 0)
	if n := inside(nil, fov, 100, 60).Count(); n != 0 {
		t.Errorf("no mask has %d pixels of foreground", n)
	}
}

// BenchmarkClDiceHRF is of pictures as large as those of HRF: the skeletons are taken at native resolution.
func BenchmarkClDiceHRF(b *testing.B) {
	p, err := phantom.Draw(phantom.Options{Seed: 1, Width: 3504, Height: 2336})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		near(b, "clDice", clDice(p.Vessels, p.Vessels), 1, 0)
	}
}
