package fundus

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

func TestTriangleWeightsByHand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		centre, reach float64
		source        int
		first         int
		want          []float32
	}{
		// Centre on pixel 2's own centre: that pixel alone.
		"on a pixel": {2.5, 1, 6, 2, []float32{1}},
		// A quarter to the right: ¾ and ¼, which is linear interpolation.
		"between pixels": {2.75, 1, 6, 2, []float32{.75, .25}},
		// Half size: reach 2, distances 1.5, .5, .5, 1.5 give ¼, ¾, ¾, ¼, sum 2.
		"shrunk by two": {3, 2, 6, 1, []float32{.125, .375, .375, .125}},
		// At the border the rest is normalised: pixel 0 is .5 away, weight 1 − ½; its left neighbour does not exist.
		"at the border": {0, 1, 6, 0, []float32{1}},
		// Reach 2 at the border: ¾ and ¼ of what is left.
		"shrunk at the border": {0, 2, 6, 0, []float32{.75, .25}},
		"out of reach":         {-1, 1, 6, 0, nil},
		"beyond the end":       {7.6, 1, 6, 0, nil},
		// Enlarging never narrows the filter below one pixel.
		"enlarged": {2.6, .25, 6, 2, []float32{.9, .1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTriangleWeights([]float64{c.centre}, c.reach, c.source)
			got := w.weight[w.offset[0]:][:w.count[0]]
			if len(got) != len(c.want) || (len(got) > 0 && w.first[0] != c.first) {
				t.Fatalf("first %d, weights %v; expected %d, %v", w.first[0], got, c.first, c.want)
			}
			for i := range got {
				if math.Abs(float64(got[i]-c.want[i])) > 1e-6 {
					t.Errorf("weights %v, expected %v", got, c.want)
				}
			}
		})
	}
}

// smooth is a picture whose red is linear in x, green linear in y, and blue flat.
func smooth(w, h int) *raster.RGB {
	p := raster.NewRGB(w, h)
	for y := range h {
		for x := range w {
			i := 3 * (y*w + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8(x*250/w), uint8(y*250/h), 77
		}
	}
	return p
}

func testFOV(w, h int) FOV {
	return FOV{CenterX: .48 * float64(w), CenterY: .53 * float64(h), Radius: .45 * float64(min(w, h)), Right: float64(w), Bottom: float64(h), Width: w, Height: h}
}

func TestCanvasKeepsCoordinates(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{400, 300}, {999, 960}, {2600, 1800}} {
		w, h := size[0], size[1]
		c, err := NewCanvas(testFOV(w, h), 800, 640, 600)
		if err != nil {
			t.Fatal(err)
		}
		img, err := c.ToCanvas(smooth(w, h))
		if err != nil {
			t.Fatal(err)
		}
		mask := c.Mask()
		for y := 0; y < c.Height; y += 13 {
			for x := 0; x < c.Width; x += 11 {
				if !mask.On(x, y) {
					continue
				}
				sx, sy := c.ToSource(float64(x)+.5, float64(y)+.5)
				if bx, by := c.FromSource(sx, sy); math.Abs(bx-float64(x)-.5) > 1e-9 || math.Abs(by-float64(y)-.5) > 1e-9 {
					t.Fatalf("canvas %d, %d came back as %g, %g", x, y, bx, by)
				}
				at := func(ch int) float64 { return float64(img.Pix[ch*c.Width*c.Height+y*c.Width+x]) }
				// The source is rounded down to whole grey levels: half a level below the ramp on average.
				if red := (sx-.5)*250/float64(w) - .5; math.Abs(at(0)-red) > 1 {
					t.Fatalf("%v: red at %d, %d is %.2f, expected about %.2f", size, x, y, at(0), red)
				}
				if green := (sy-.5)*250/float64(h) - .5; math.Abs(at(1)-green) > 1 {
					t.Fatalf("%v: green at %d, %d is %.2f, expected about %.2f", size, x, y, at(1), green)
				}
				if math.Abs(at(2)-77) > 1e-3 {
					t.Fatalf("%v: flat blue is %g", size, at(2))
				}
			}
		}
	}
}

func TestCanvasMaskIsTheCircle(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]FOV{
		"whole": {CenterX: 500, CenterY: 500, Radius: 400, Right: 1000, Bottom: 1000, Width: 1000, Height: 1000},
		"cut":   {CenterX: 500, CenterY: 500, Radius: 400, Top: 200, Right: 1000, Bottom: 1000, Width: 1000, Height: 1000},
	} {
		c, err := NewCanvas(f, 800, 800, 768)
		if err != nil {
			t.Fatal(err)
		}
		want := math.Pi * 384 * 384
		if name == "cut" { // less the segment above 300 source pixels from the centre, which is 288 on the canvas
			a := math.Acos(288. / 384)
			want -= 384 * 384 * (a - math.Sin(a)*math.Cos(a))
		}
		if got := float64(c.Mask().Count()); math.Abs(got-want) > .001*want {
			t.Errorf("%s: %g pixels, expected %g", name, got, want)
		}
		// On the source grid the same share of the disc is visible.
		if got, want := float64(f.Area()), want*(400.*400)/(384*384); math.Abs(got-want) > .001*want {
			t.Errorf("%s: area %g, expected %g", name, got, want)
		}
	}
}

func TestMaskSpanAndContainsAgree(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		f := FOV{
			CenterX: random.Float64() * 60, CenterY: random.Float64() * 50, Radius: 5 + random.Float64()*40,
			Left: random.Float64() * 20, Top: random.Float64() * 20, Right: 30 + random.Float64()*40, Bottom: 30 + random.Float64()*40, Width: 60, Height: 50,
		}
		m := f.Mask()
		if m.Count() != f.Area() {
			t.Fatalf("mask of %d pixels, area %d", m.Count(), f.Area())
		}
		for y := range f.Height {
			for x := range f.Width {
				if m.On(x, y) != f.Contains(float64(x)+.5, float64(y)+.5) {
					t.Fatalf("%+v: pixel %d, %d", f, x, y)
				}
			}
		}
	}
}

// blob is a smooth map on the canvas.
func blob(c Canvas) *raster.Plane {
	p := raster.NewPlane(c.Width, c.Height)
	for y := range c.Height {
		for x := range c.Width {
			p.Pix[y*c.Width+x] = float32(.5 + .5*math.Sin(float64(x)/23)*math.Cos(float64(y)/31))
		}
	}
	return p
}

func TestRoundTripKeepsSmoothMaps(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{500, 400}, {999, 960}, {2600, 1800}} {
		f := testFOV(size[0], size[1])
		c, err := NewCanvas(f, 800, 800, 768)
		if err != nil {
			t.Fatal(err)
		}
		plane := blob(c)
		back, err := c.FromCanvas(plane)
		if err != nil {
			t.Fatal(err)
		}
		for y := 0; y < f.Height; y += 7 {
			for x := 0; x < f.Width; x += 7 {
				got := float64(back.Pix[y*f.Width+x])
				if !f.Contains(float64(x)+.5, float64(y)+.5) {
					if got != 0 {
						t.Fatalf("outside the field of view the map is %g", got)
					}
					continue
				}
				cx, cy := c.FromSource(float64(x)+.5, float64(y)+.5)
				want := .5 + .5*math.Sin((cx-.5)/23)*math.Cos((cy-.5)/31)
				if math.Abs(got-want) > .01 {
					t.Fatalf("%v: %d, %d is %.4f, expected %.4f", size, x, y, got, want)
				}
			}
		}
		mask, err := c.MaskFromCanvas(plane, .6)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(mask.Pix, Threshold(back, .6).Pix) {
			t.Error("MaskFromCanvas is not the threshold of FromCanvas")
		}
	}
}

func TestFlipsCommute(t *testing.T) {
	t.Parallel()
	const w, h = 620, 480
	p := raster.NewRGB(w, h)
	random := rand.New(rand.NewPCG(5, 6))
	for i := range p.Pix {
		p.Pix[i] = uint8(random.IntN(256))
	}
	flipped := raster.NewRGB(w, h)
	for y := range h {
		for x := range w {
			copy(flipped.Pix[3*(y*w+w-1-x):][:3], p.Pix[3*(y*w+x):][:3])
		}
	}
	f := testFOV(w, h)
	mirrored := f
	mirrored.CenterX = w - f.CenterX
	canvasOf := func(f FOV, p *raster.RGB) *Image {
		c, err := NewCanvas(f, 320, 320, 300)
		if err != nil {
			t.Fatal(err)
		}
		img, err := c.ToCanvas(p)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	a, b := canvasOf(f, p), canvasOf(mirrored, flipped)
	for i, v := range a.Pix {
		row, x := i/320, i%320
		if d := math.Abs(float64(v - b.Pix[row*320+319-x])); d > .01 {
			t.Fatalf("value %d differs by %g", i, d)
		}
	}
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	c, err := NewCanvas(testFOV(300, 300), 160, 160, 150)
	if err != nil {
		t.Fatal(err)
	}
	img, err := c.ToCanvas(smooth(300, 300))
	if err != nil {
		t.Fatal(err)
	}
	mask := c.Mask()
	n, err := Normalise(img, mask)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(n.Mean[2]-77) > 1e-3 || n.Std[2] > 1e-3 {
		t.Errorf("the flat channel has mean %g and deviation %g", n.Mean[2], n.Std[2])
	}
	for ch := range 3 {
		var sum, squares float64
		for i, v := range img.Pix[ch*160*160:][:160*160] {
			if mask.Pix[i] == 0 {
				if v != 0 {
					t.Fatal("a pixel outside the field of view is not 0")
				}
				continue
			}
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		count := float64(mask.Count())
		if mean := sum / count; math.Abs(mean) > 1e-4 {
			t.Errorf("channel %d: mean %g", ch, mean)
		}
		want := 1.0
		if ch == 2 {
			want = 0 // no signal: not blown up
		}
		if std := math.Sqrt(squares / count); math.Abs(std-want) > 1e-3 {
			t.Errorf("channel %d: deviation %g", ch, std)
		}
	}
	if _, err := Normalise(img, raster.NewMask(160, 160)); fault.CodeOf(err) != CodeNotFound {
		t.Errorf("an empty mask: %v", err)
	}
}

// TestSameBitsOnAnyNumberOfProcessors is not parallel, since it changes GOMAXPROCS.
func TestSameBitsOnAnyNumberOfProcessors(t *testing.T) {
	const w, h = 1400, 1100
	p := smooth(w, h)
	c, err := NewCanvas(testFOV(w, h), 800, 800, 768)
	if err != nil {
		t.Fatal(err)
	}
	run := func(processors int) ([]float32, []float32) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		img, err := c.ToCanvas(p)
		if err != nil {
			t.Fatal(err)
		}
		back, err := c.FromCanvas(blob(c))
		if err != nil {
			t.Fatal(err)
		}
		return img.Pix, back.Pix
	}
	one, oneBack := run(1)
	many, manyBack := run(7)
	if !slices.Equal(one, many) || !slices.Equal(oneBack, manyBack) {
		t.Error("the bits depend on the number of processors")
	}
}

func TestCanvasRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	f := testFOV(300, 300)
	if _, err := NewCanvas(FOV{}, 800, 800, 768); !fault.Is(err, fault.Internal) {
		t.Errorf("an empty field of view: %v", err)
	}
	if _, err := NewCanvas(f, 0, 800, 768); !fault.Is(err, fault.Internal) {
		t.Errorf("an empty canvas: %v", err)
	}
	c, err := NewCanvas(f, 160, 160, 150)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ToCanvas(raster.NewRGB(301, 300)); !fault.Is(err, fault.Internal) {
		t.Errorf("another picture: %v", err)
	}
	if _, err := c.FromCanvas(raster.NewPlane(161, 160)); !fault.Is(err, fault.Internal) {
		t.Errorf("another map: %v", err)
	}
}

// Benchmarks run on a picture of the size of HRF's, 8.2 million pixels.
func benchmarkScene(b *testing.B) (*raster.RGB, Canvas) {
	const w, h = 3504, 2336
	p := raster.NewRGB(w, h)
	f := FOV{CenterX: 1760.2, CenterY: 1165.4, Radius: 1630.5, Right: w, Bottom: h, Width: w, Height: h}
	for y := range h {
		first, end := f.Span(y)
		for x := first; x < end; x++ {
			i := 3 * (y*w + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8(170+x%17), uint8(80+y%13), 40
		}
	}
	c, err := NewCanvas(f, 800, 800, 768)
	if err != nil {
		b.Fatal(err)
	}
	return p, c
}

func BenchmarkFindFOV(b *testing.B) {
	p, _ := benchmarkScene(b)
	for b.Loop() {
		if _, err := FindFOV(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToCanvas(b *testing.B) {
	p, c := benchmarkScene(b)
	for b.Loop() {
		if _, err := c.ToCanvas(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMaskFromCanvas(b *testing.B) {
	_, c := benchmarkScene(b)
	plane := blob(c)
	for b.Loop() {
		if _, err := c.MaskFromCanvas(plane, .5); err != nil {
			b.Fatal(err)
		}
	}
}
