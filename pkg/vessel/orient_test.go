package vessel

import "testing"

// TestOrientationIsBroughtBack: whatever the position, a pixel's centre comes back to where it was.
func TestOrientationIsBroughtBack(t *testing.T) {
	t.Parallel()
	for position := range 8 {
		o := orientation{mirrorX: position&1 != 0, mirrorY: position&2 != 0, transpose: position&4 != 0, width: 7, height: 5}
		m := o.mask(draw(7, 5, func(x, y int) bool { return x == 2 && y == 4 }))
		for i, on := range m.Pix {
			if at := o.back(centre(int32(i), m.Width)); on != 0 && at != (Point{2.5, 4.5}) {
				t.Errorf("position %d: the pixel comes back at %v", position, at)
			}
		}
		if m.Count() != 1 {
			t.Errorf("position %d: %d pixels", position, m.Count())
		}
	}
}

// TestMasksThatStopShortOfTheEdge: a mask that ends 5 px before the edge of the field is cut off by it, one that ends 20 px before is not.
func TestMasksThatStopShortOfTheEdge(t *testing.T) {
	t.Parallel()
	for gap, want := range map[int]float64{5: 0, 20: 2} {
		bar := draw(400, 400, func(x, y int) bool { return y >= 197 && y < 203 && x >= gap && x < 400-gap })
		near(t, "end points", measure(t, bar, full(400, 400), 400)[EndPointCount].Value, want, 0)
	}
}
