package drawing

import (
	"math"
	"testing"
)

func blank(t *testing.T, w, h int) *Canvas {
	t.Helper()
	c, err := New(w, h, 13)
	if err != nil {
		t.Fatal(err)
	}
	c.Fill(0, 0, w, h, 0)
	return c
}

// light sums the red of all pixels, in pixels.
func light(c *Canvas) float64 {
	sum := 0.
	for i := 0; i < len(c.Pix); i += 4 {
		sum += float64(c.Pix[i]) / 255
	}
	return sum
}

func TestLinesCoverWhatTheyShould(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		draw func(*Canvas)
		want float64 // pixels covered
	}{
		// Pieces of a curve cover their ends twice, which makes a thin circle a sixth bolder.
		{"level line", func(c *Canvas) { c.Line(20, 50, 80, 50, 4, 0xffffff) }, 60*4 + math.Pi*4},
		{"slanting line", func(c *Canvas) { c.Line(20, 20, 80, 65, 3, 0xffffff) }, 75*3 + math.Pi*2.25},
		{"dot", func(c *Canvas) { c.Dot(50, 50, 20, 0xffffff) }, math.Pi * 100},
		{"circle", func(c *Canvas) { c.Circle(50, 50, 30, 2, 0xffffff) }, 2.32 * math.Pi * 30 * 2},
		{"rectangle", func(c *Canvas) { c.Fill(10, 10, 30, 20, 0xffffff) }, 200},
		{"what lies outside", func(c *Canvas) { c.Line(-50, -50, -20, 140, 9, 0xffffff) }, 0},
	} {
		c := blank(t, 100, 100)
		tc.draw(c)
		if got := light(c); math.Abs(got-tc.want) > .06*tc.want {
			t.Errorf("%s covers %.1f px, want %.1f", tc.name, got, tc.want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	c := blank(t, 200, 40)
	const long = "a name that is longer than its column"
	if c.Fitted(long, 1000) != long {
		t.Error("a text that fits was cut")
	}
	short := c.Fitted(long, 90)
	if c.Width(short) > 90 || short == "" || c.Fitted("名前名前名前名前名前名前", 20) == "名前名前名前名前名前名前" {
		t.Errorf("%q is %d px wide, want at most 90", short, c.Width(short))
	}
	// Written to the left of its place, in the middle of it, and to the right.
	for a, want := range map[Anchor]float64{Left: 100 + float64(c.Width("mm"))/2, Centre: 100, Right: 100 - float64(c.Width("mm"))/2} {
		c := blank(t, 200, 40)
		c.Text(100, 25, a, 0xffffff, "mm")
		sum, weight := 0., 0.
		for x := range 200 {
			for y := range 40 {
				v := float64(c.RGBAAt(x, y).R)
				sum += v * (float64(x) + .5)
				weight += v
			}
		}
		if weight == 0 || math.Abs(sum/weight-want) > 1.5 {
			t.Errorf("anchor %d: the text's middle is at %.1f, want %.1f", a, sum/weight, want)
		}
	}
}
