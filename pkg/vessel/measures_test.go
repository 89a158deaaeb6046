package vessel

import (
	"encoding/json"
	"flag"
	"fmt"
	"image"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/test/shared"
)

// draw makes a mask of the pixels for which on says true.
func draw(w, h int, on func(x, y int) bool) *raster.Mask {
	m := raster.NewMask(w, h)
	for y := range h {
		for x := range w {
			if on(x, y) {
				m.Pix[y*w+x] = raster.Foreground
			}
		}
	}
	return m
}

func full(w, h int) *raster.Mask { return draw(w, h, func(int, int) bool { return true }) }

// disc is the round field of view that touches the grid's edges.
func disc(size int) *raster.Mask {
	r := float64(size) / 2
	return draw(size, size, func(x, y int) bool { return math.Hypot(float64(x)+.5-r, float64(y)+.5-r) <= r })
}

// measure returns the values of the whole field by name.
func measure(t testing.TB, vessels, fov *raster.Mask, diameter float64) map[string]Value {
	t.Helper()
	return measureIn(t, RegionField, vessels, fov, Geometry{FOVDiameterPx: diameter})
}

// measureIn returns the values of a region by name.
func measureIn(t testing.TB, region string, vessels, fov *raster.Mask, geometry Geometry) map[string]Value {
	t.Helper()
	got, err := Measure(vessels, fov, geometry)
	if err != nil {
		t.Fatal(err)
	}
	values := got.Values
	for i, r := range Regions() {
		if got.Regions[i].Region != r {
			t.Fatalf("region %d is %q, want %q", i, got.Regions[i].Name, r.Name)
		}
		if r.Name == region {
			values = got.Regions[i].Values
			if absent := got.Regions[i].Absent; absent != nil {
				if len(values) > 0 {
					t.Fatalf("%s is absent and has values", region)
				}
				for _, d := range Definitions() {
					values = append(values, Value{Definition: d, Absent: absent})
				}
				return valuesByName(values)
			}
		}
	}
	for _, d := range Definitions() {
		if region != RegionField && !d.Regional {
			continue
		}
		d.Region = region
		if i := len(values); i == 0 || !slices.ContainsFunc(values, func(v Value) bool { return v.Definition == d }) {
			t.Fatalf("%s is not measured in %s", d.Name, region)
		}
	}
	return valuesByName(values)
}

func valuesByName(values []Value) map[string]Value {
	byName := map[string]Value{}
	for _, v := range values {
		byName[v.Name] = v
	}
	return byName
}

func near(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.9g, want %.9g ± %g", what, got, want, tolerance)
	}
}

func TestDefinitionsAreComplete(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, d := range Definitions() {
		if d.Name == "" || d.Display == "" || d.Text == "" || d.Unit == "" || d.Region == "" || d.Source == "" {
			t.Errorf("the definition of %q has an empty field: %+v", d.Name, d)
		}
		if seen[d.Name] {
			t.Errorf("%q is defined twice", d.Name)
		}
		seen[d.Name] = true
	}
}

// TestRepeatable: what is withheld is there to be withheld, and nothing of the whole field is.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, d := range Definitions() {
		if !Repeatable(d.Name, RegionField) {
			t.Errorf("%s is withheld in the whole field", d.Name)
		}
		for _, r := range Regions() {
			if d.Regional {
				known[d.Name+" "+r.Name] = true
			}
		}
	}
	for name := range unrepeatable() {
		if !known[name] {
			t.Errorf("%q is withheld and not measured", name)
		}
	}
}

var update = flag.Bool("update", false, "write the table of docs/measures.md")

// TestDocument: the document's table is the program's.
func TestDocument(t *testing.T) {
	t.Parallel()
	const path, start, end = "../../docs/measures.md", "<!-- table: written by go test ./pkg/vessel -update -->\n", "<!-- end of table -->"
	var table strings.Builder
	picture := func(name string) string {
		if _, err := os.Stat(filepath.Join("../../docs/images/measures", name+".jpg")); err != nil {
			t.Errorf("%s has no picture: run go run ./test/measurepictures", name)
		}
		return `<img src="images/measures/` + name + `.jpg" width="170" alt="">`
	}
	table.WriteString("\n| | name | measure | unit | definition | source |\n|---|---|---|---|---|---|\n")
	for _, d := range Definitions() {
		regional := ""
		if d.Regional {
			regional = " ◫"
		}
		fmt.Fprintf(&table, "| %s | `%s`%s | %s | %s | %s | %s |\n", picture(d.Name), d.Name, regional, d.Display, d.Unit, d.Text, d.Source)
	}
	table.WriteString("\n◫: also taken in each of these regions.\n\n| | region | where |\n|---|---|---|\n")
	for _, r := range Regions() {
		fmt.Fprintf(&table, "| %s | `%s` | %s |\n", picture(r.Name), r.Name, r.Text)
	}
	table.WriteByte('\n')
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), start)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + start + table.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(data) {
		t.Errorf("the table in %s is not that of the program: run go test ./pkg/vessel -update", path)
	}
}

func TestBarGrid(t *testing.T) {
	t.Parallel()
	// Vertical bars 3 px wide every 16 px: density 3/16; each skeleton is one straight line.
	const size, pitch, width = 512, 16, 3
	bars := draw(size, size, func(x, _ int) bool { return x%pitch >= 6 && x%pitch < 6+width })
	got := measure(t, bars, full(size, size), size)
	near(t, "area density", got[AreaDensity].Value, width/float64(pitch), 0)
	// Thinning eats about a pixel at each end of a bar: 32 bars of 512 ± 3.
	lengthDensity := float64(size/pitch) * size * size / (size * size)
	near(t, "length density", got[LengthDensity].Value, lengthDensity, .01*lengthDensity)

	// A bar three pixels wide every 16: no dimension is expected, but 4-pixel boxes see one or two of four columns.
	near(t, "area density in half the field", measure(t, bars, draw(size, size, func(_, y int) bool { return y < size/2 }), size)[AreaDensity].Value, width/float64(pitch), 0)
}

func TestVesselsOutsideTheFieldCountForNothing(t *testing.T) {
	t.Parallel()
	fov := disc(256)
	inside := draw(256, 256, func(x, y int) bool { return y >= 100 && y < 104 && fov.On(x, y) })
	outside := draw(256, 256, func(x, y int) bool { return inside.On(x, y) || !fov.On(x, y) })
	a, b := measure(t, inside, fov, 256), measure(t, outside, fov, 256)
	for name := range a {
		if a[name].Value != b[name].Value {
			t.Errorf("%s is %v, but %v with vessels outside the field of view", name, a[name].Value, b[name].Value)
		}
	}
}

func TestDimensionOfShapes(t *testing.T) {
	t.Parallel()
	const size = 512
	for _, tc := range []struct {
		name            string
		mask            *raster.Mask
		want, tolerance float64
	}{
		{"filled square", full(size, size), 2, .02},
		{"filled quarter", draw(size, size, func(x, y int) bool { return x < size/2 && y < size/2 }), 12. / 7, .2},
		{"horizontal line", draw(size, size, func(_, y int) bool { return y == 200 }), 1, 1e-9},
		{"vertical line", draw(size, size, func(x, _ int) bool { return x == 200 }), 1, 1e-9},
		{"diagonal line", draw(size, size, func(x, y int) bool { return x == y }), 1, 1e-9},
		{"other diagonal", draw(size, size, func(x, y int) bool { return x == size-1-y }), 1, 1e-9},
		// Sierpinski's carpet of bits has dimension log 3 / log 2 at every scale.
		{"Sierpinski triangle", draw(size, size, func(x, y int) bool { return x&y == 0 }), math.Log2(3), 1e-9},
		// Four thirds as long at each third of the scale, three sides of a hexagon's star high.
		{"Koch curve", koch(size, 7), math.Log(4) / math.Log(3), .05},
		{"one pixel", draw(size, size, func(x, y int) bool { return x == 9 && y == 9 }), 0, 1e-12},
	} {
		got, absent := BoxDimension(tc.mask, FullBoxesCount)
		if absent != nil {
			t.Errorf("%s: absent: %s", tc.name, absent.Sentence)
		}
		near(t, tc.name, got, tc.want, tc.tolerance)
	}
	if _, absent := BoxDimension(full(size, size), FullBoxesLeftOut); absent == nil {
		t.Error("a filled square without full boxes has no box to count, but a dimension was fitted")
	}
}

// chainLength returns the length of a skeleton in pixels: 1 for each pair of pixels that share a side, √2 for each pair
// that share only a corner. A diagonal pair with a common side neighbour in the skeleton is not counted, because the way
// through that neighbour is. A lone pixel has length 0.
func chainLength(skeleton *raster.Mask) float64 {
	w, h := skeleton.Width, skeleton.Height
	straight, diagonal := 0, 0
	on := func(x, y int) bool { return x >= 0 && x < w && y >= 0 && y < h && skeleton.Pix[y*w+x] != 0 }
	for y := range h {
		for x, v := range skeleton.Pix[y*w : (y+1)*w] {
			if v == 0 {
				continue
			}
			east, south, west := on(x+1, y), on(x, y+1), on(x-1, y)
			if east {
				straight++
			}
			if south {
				straight++
			}
			if !south && !east && on(x+1, y+1) {
				diagonal++
			}
			if !south && !west && on(x-1, y+1) {
				diagonal++
			}
		}
	}
	return float64(straight) + math.Sqrt2*float64(diagonal)
}

// koch draws a Koch curve over the width of a square grid.
func koch(size, depth int) *raster.Mask {
	m := raster.NewMask(size, size)
	var line func(a, b Point, depth int)
	line = func(a, b Point, depth int) {
		way := b.minus(a)
		if depth == 0 {
			for _, p := range between(a, b) {
				m.Pix[int(p.Y)*size+int(p.X)] = raster.Foreground
			}
			return
		}
		p, q := a.plus(way, 1./3), a.plus(way, 2./3)
		tip := a.plus(way, .5).plus(Point{way.Y, -way.X}, math.Sqrt(3)/6)
		line(a, p, depth-1)
		line(p, tip, depth-1)
		line(tip, q, depth-1)
		line(q, b, depth-1)
	}
	line(Point{.5, float64(size) * .6}, Point{float64(size) - .6, float64(size) * .6}, depth)
	return m
}

func TestChainLengthOfLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		mask *raster.Mask
		want float64
	}{
		{"straight", draw(64, 64, func(x, y int) bool { return y == 9 && x >= 10 && x <= 50 }), 40},
		{"diagonal", draw(64, 64, func(x, y int) bool { return x == y && x >= 10 && x <= 50 }), 40 * math.Sqrt2},
		{"corner counted once", draw(8, 8, func(x, y int) bool { return x == 2 && y >= 2 || y == 2 && x >= 2 }), 10},
		{"lone pixel", draw(8, 8, func(x, y int) bool { return x == 3 && y == 3 }), 0},
		{"at the edges", draw(8, 8, func(x, y int) bool { return x == 7-y }), 7 * math.Sqrt2},
	} {
		near(t, tc.name, chainLength(tc.mask), tc.want, 1e-9)
	}
}

func TestSkeletonOfThickLineKeepsItsLength(t *testing.T) {
	t.Parallel()
	for _, width := range []int{3, 5, 9} {
		bar := draw(300, 60, func(x, y int) bool { return x >= 20 && x < 280 && y >= 20 && y < 20+width })
		s := Skeleton(bar)
		for i, v := range s.Pix {
			if v != 0 && bar.Pix[i] == 0 {
				t.Fatal("the skeleton leaves the shape")
			}
		}
		// A bar's skeleton ends about half a width before each end.
		near(t, "length", chainLength(s), float64(260-width), 3)
	}
	ring := draw(200, 200, func(x, y int) bool {
		r := math.Hypot(float64(x)-100, float64(y)-100)
		return r > 57 && r < 63
	})
	s := Skeleton(ring)
	// A chain of straight and diagonal steps is up to 8 % longer than the circle: 8(√2−1)/π − 1 = 5.5 % on average over directions.
	got := chainLength(s) / (2 * math.Pi * 60)
	if got < 1 || got > 1.08 {
		t.Errorf("the skeleton of a ring has %.3f of the circle's length, want 1 to 1.08", got)
	}
}

func TestAbsentValuesSayWhy(t *testing.T) {
	t.Parallel()
	got := measure(t, raster.NewMask(64, 64), disc(64), 64)
	near(t, "area density without vessels", got[AreaDensity].Value, 0, 0)
	near(t, "length density without vessels", got[LengthDensity].Value, 0, 0)
	if a := got[FractalDimension].Absent; a == nil || a.Code != ReasonNoVessels || a.Sentence == "" {
		t.Errorf("fractal dimension without vessels: absent = %+v, want %s", a, ReasonNoVessels)
	}
	for name, v := range measure(t, full(64, 64), raster.NewMask(64, 64), 64) {
		if v.Absent == nil || v.Absent.Code != ReasonEmptyField || v.Value != 0 {
			t.Errorf("%s in an empty field of view: %+v, want absent because %s", name, v, ReasonEmptyField)
		}
	}
	if a := measure(t, full(7, 100), full(7, 100), 7)[FractalDimension].Absent; a == nil || a.Code != ReasonGridTooSmall {
		t.Errorf("fractal dimension of a 7-pixel grid: absent = %+v, want %s", a, ReasonGridTooSmall)
	}
}

func TestArgumentsThatDoNotFitAreErrors(t *testing.T) {
	t.Parallel()
	if _, err := Measure(full(8, 8), full(8, 9), Geometry{FOVDiameterPx: 8}); err == nil {
		t.Error("masks of two sizes were accepted")
	}
	for _, d := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := Measure(full(8, 8), full(8, 8), Geometry{FOVDiameterPx: d}); err == nil {
			t.Errorf("a field of view of diameter %v was accepted", d)
		}
	}
}

// turned returns the mask turned by a quarter and then, where asked, mirrored.
func turned(m *raster.Mask, quarters int, mirror bool) *raster.Mask {
	for range quarters {
		src := m
		m = draw(src.Height, src.Width, func(x, y int) bool { return src.On(y, src.Height-1-x) })
	}
	if mirror {
		src := m
		m = draw(src.Width, src.Height, func(x, y int) bool { return src.On(src.Width-1-x, y) })
	}
	return m
}

func TestFlipsAndQuarterTurns(t *testing.T) {
	t.Parallel()
	// 512 is a multiple of every box side, so that the dimension must not move by more than rounding.
	const size = 512
	fov := disc(size)
	tree := draw(size, size, func(x, y int) bool {
		a := float64(y) - 90 - 70*math.Sin(float64(x)/60)
		b := float64(x) - 150 - float64(y)*.4
		return math.Abs(a) < 4 || math.Abs(b) < 2.5
	})
	base := measure(t, tree, fov, size)
	for _, mirror := range []bool{false, true} {
		for quarters := range 4 {
			got := measure(t, turned(tree, quarters, mirror), turned(fov, quarters, mirror), size)
			near(t, "area density", got[AreaDensity].Value, base[AreaDensity].Value, 0)
			near(t, "fractal dimension", got[FractalDimension].Value, base[FractalDimension].Value, 1e-12)
			near(t, "branch points", got[BranchPointCount].Value, base[BranchPointCount].Value, 0)
			near(t, "end points", got[EndPointCount].Value, base[EndPointCount].Value, 0)
			for _, name := range []string{LengthDensity, WidthMean, WidthMedian, WidthP10, WidthP90, Tortuosity, Curvature, BranchingAngle} {
				near(t, name, got[name].Value, base[name].Value, 1e-9*base[name].Value)
			}
		}
	}
}

// The length density is a pure number: the same picture on a grid twice as fine gives nearly the same.
func TestLengthDensityKnowsNoPixels(t *testing.T) {
	t.Parallel()
	shape := func(scale int) Value {
		size := 300 * scale
		fov := disc(size)
		m := draw(size, size, func(x, y int) bool { return math.Abs(float64(y)/float64(scale)-150) < 3 && fov.On(x, y) })
		return measure(t, m, fov, float64(size))[LengthDensity]
	}
	// A line through the middle of a disc: 1 diameter of length in π/4 squared diameters.
	near(t, "length density at 300 px", shape(1).Value, 4/math.Pi, .03)
	near(t, "length density at 600 px", shape(2).Value, 4/math.Pi, .03)
}

func readMask(t testing.TB, path string) *raster.Mask {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, _, err := image.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	b := picture.Bounds()
	return draw(b.Dx(), b.Dy(), func(x, y int) bool {
		r, g, bl, _ := picture.At(b.Min.X+x, b.Min.Y+y).RGBA()
		return (299*r+587*g+114*bl)/1000>>8 > 127
	})
}

// TestOracle compares with scikit-image's numbers for real masks: counts and densities exactly, dimensions to 1e-6,
// skeleton size and length to 1 %, the length by a count made in numpy of scikit-image's skeletons.
func TestOracle(t *testing.T) {
	t.Parallel()
	type reference struct {
		VesselPx  int     `json:"vessel_px"`
		FOVPx     int     `json:"fov_px"`
		Skeleton  int     `json:"skeleton_px"`
		Density   float64 `json:"area_density_fov"`
		Dimension float64 `json:"box_dimension"`
		LeftOut   float64 `json:"box_dimension_without_full_boxes"`
		Frame     float64 `json:"area_density_frame"`
		Width     float64 `json:"mean_width_px"` // area by pixels of the skeleton
	}
	oracle := map[string]reference{}
	lengths := map[string]float64{}
	for path, into := range map[string]any{
		shared.Dir(t, "oracle", "chase-measures.json"): &oracle,
		"testdata/chase_skeleton_length.json":          &lengths,
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	set := shared.Dir(t, "data", "CHASE_DB1")
	if len(oracle) != 28 || len(lengths) != 28 {
		t.Fatalf("the oracle holds %d pictures and the lengths %d, want 28", len(oracle), len(lengths))
	}
	for name, want := range oracle {
		fov := readMask(t, filepath.Join(set, "fov", name+".png"))
		label := readMask(t, filepath.Join(set, "manual1", name+"_1stHO.png"))
		const diameter = 900
		got := measure(t, label, fov, diameter)
		if got[AreaDensity].Value != want.Density {
			t.Errorf("%s: area density %v, want exactly %v", name, got[AreaDensity].Value, want.Density)
		}
		near(t, name+": dimension", got[FractalDimension].Value, want.Dimension, 1e-6)
		chain := chainLength(Skeleton(draw(label.Width, label.Height, func(x, y int) bool { return label.On(x, y) && fov.On(x, y) })))
		near(t, name+": length of the chain", chain, lengths[name], .01*lengths[name])
		// Over all directions a chain of steps is 5.5 % longer than its line (Kulpa 1977).
		near(t, name+": length by that of the chain", got[LengthDensity].Value*float64(want.FOVPx)/diameter/(.9481*lengths[name]), 1, .02)

		inside := draw(label.Width, label.Height, func(x, y int) bool { return label.On(x, y) && fov.On(x, y) })
		if inside.Count() != want.VesselPx || fov.Count() != want.FOVPx {
			t.Errorf("%s: %d vessel pixels of %d, want %d of %d", name, inside.Count(), fov.Count(), want.VesselPx, want.FOVPx)
		}
		near(t, name+": skeleton size", float64(Skeleton(inside).Count()), float64(want.Skeleton), .01*float64(want.Skeleton))
		near(t, name+": dimension without full boxes", got[FractalDimensionOpen].Value, want.LeftOut, 1e-6)
		near(t, name+": density of the frame", got[AreaDensityFrame].Value, want.Frame, 1e-12)
		quarters, mirror := 1+len(name)%3, name[len(name)-1] == 'L'
		for other, v := range measure(t, turned(label, quarters, mirror), turned(fov, quarters, mirror), diameter) {
			switch other { // box counting is anchored at a corner, as its oracle's is
			case FractalDimension, FractalDimensionOpen, FractalFit:
			default:
				near(t, fmt.Sprintf("%s, turned %d times, mirrored %v: %s", name, quarters, mirror, other), v.Value, got[other].Value, 1e-9*math.Abs(got[other].Value))
			}
		}
		// A chain of pixels is shorter than its line by up to a fifth, since a diagonal step counts one, and the oracle divides by it.
		if w := got[WidthMean].Value * diameter / 100; w < .75*want.Width || w > 1.05*want.Width {
			t.Errorf("%s: mean width %.2f px, but %.2f by area and size of the skeleton", name, w, want.Width)
		}
	}
}

// thinPlainly is the algorithm as the papers of 1984 and 1986 state it, to compare the fast one with.
func thinPlainly(mask *raster.Mask) *raster.Mask {
	m := draw(mask.Width, mask.Height, mask.On)
	on := func(x, y int) int {
		if x < 0 || y < 0 || x >= m.Width || y >= m.Height || !m.On(x, y) {
			return 0
		}
		return 1
	}
	for changed := true; changed; {
		changed = false
		for sub := range 2 {
			var gone []int
			for y := range m.Height {
				for x := range m.Width {
					if !m.On(x, y) {
						continue
					}
					p := [9]int{on(x, y-1), on(x+1, y-1), on(x+1, y), on(x+1, y+1), on(x, y+1), on(x-1, y+1), on(x-1, y), on(x-1, y-1), on(x, y-1)}
					a, b := 0, 0
					for i := range 8 {
						b += p[i]
						if p[i] == 0 && p[i+1] == 1 {
							a++
						}
					}
					north, east, south, west := p[0], p[2], p[4], p[6]
					c, d := north*east*south, east*south*west
					if sub == 1 {
						c, d = north*east*west, north*south*west
					}
					if a == 1 && b >= 3 && b <= 6 && c == 0 && d == 0 {
						gone = append(gone, y*m.Width+x)
					}
				}
			}
			for _, i := range gone {
				m.Pix[i] = 0
				changed = true
			}
		}
	}
	return m
}

func fromBytes(data []byte) *raster.Mask {
	const w = 24
	h := min((8*len(data)+w-1)/w, 64)
	return draw(w, h, func(x, y int) bool {
		i := y*w + x
		return i/8 < len(data) && data[i/8]>>(i%8)&1 == 1
	})
}

// parts counts the 8-connected parts of a mask.
func parts(m *raster.Mask) int {
	seen := make([]bool, len(m.Pix))
	n := 0
	for start, v := range m.Pix {
		if v == 0 || seen[start] {
			continue
		}
		n++
		seen[start] = true
		for todo := []int{start}; len(todo) > 0; {
			p := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					x, y := p%m.Width+dx, p/m.Width+dy
					if x < 0 || y < 0 || x >= m.Width || y >= m.Height {
						continue
					}
					if q := y*m.Width + x; m.Pix[q] != 0 && !seen[q] {
						seen[q] = true
						todo = append(todo, q)
					}
				}
			}
		}
	}
	return n
}

// FuzzSkeleton compares the first step with the plain algorithm, and checks that the second step keeps what is connected.
func FuzzSkeleton(f *testing.F) {
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x18, 0x3c, 0x7e, 0xff, 0x7e, 0x3c, 0x18, 0x81, 0x42, 0x24, 0xee, 0xbb})
	f.Add(slices.Repeat([]byte{0xf7, 0xff, 0x7f}, 24))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := fromBytes(data)
		thinning := newThinning(m)
		thinning.thin()
		thick := thinning.mask(m.Width, m.Height)
		if want := thinPlainly(m); !slices.Equal(thick.Pix, want.Pix) {
			t.Fatalf("the fast thinning of %x has %d pixels, the plain one %d, or they differ in place", data, thick.Count(), want.Count())
		}
		got := Skeleton(m)
		for i, v := range got.Pix {
			if v != 0 && thick.Pix[i] == 0 {
				t.Fatal("cutting corners has added a pixel")
			}
		}
		if before, after := parts(thick), parts(got); before != after {
			t.Fatalf("cutting corners has made %d parts of %d", after, before)
		}
		if before, after := parts(m), parts(got); after > before {
			t.Fatalf("thinning has broken %d parts into %d", before, after)
		}
	})
}

// FuzzMoreVesselsNeverLowerDensity adds pixels to a mask: the area density must not fall, and all values stay in range.
func FuzzMoreVesselsNeverLowerDensity(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, []byte{0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0})
	f.Add(slices.Repeat([]byte{0x11}, 90), slices.Repeat([]byte{0x3c}, 90))
	f.Fuzz(func(t *testing.T, some, added []byte) {
		if len(added) > len(some) {
			added = added[:len(some)]
		}
		less, extra := fromBytes(some), fromBytes(added)
		if less.Height == 0 {
			return
		}
		more := draw(less.Width, less.Height, func(x, y int) bool { return less.On(x, y) || y < extra.Height && extra.On(x, y) })
		fov := full(less.Width, less.Height)
		before, after := measure(t, less, fov, 24), measure(t, more, fov, 24)
		if before[AreaDensity].Value > after[AreaDensity].Value {
			t.Fatalf("density fell from %v to %v", before[AreaDensity].Value, after[AreaDensity].Value)
		}
		for _, values := range []map[string]Value{before, after} {
			if d := values[AreaDensity].Value; d < 0 || d > 1 {
				t.Errorf("area density %v", d)
			}
			if d := values[FractalDimension]; d.Absent == nil && !(d.Value >= -1e-9 && d.Value <= 2+1e-9) {
				t.Errorf("dimension %v", d.Value)
			}
			if d := values[LengthDensity].Value; !(d >= 0) {
				t.Errorf("length density %v", d)
			}
		}
	})
}

// BenchmarkMeasure takes all measures of a 1024² canvas with a tree of realistic density (12 %).
func BenchmarkMeasure(b *testing.B) {
	const size = 1024
	fov := disc(size)
	tree := draw(size, size, func(x, y int) bool {
		fx, fy := float64(x), float64(y)
		for i := range 9 {
			if math.Abs(fy-float64(i)*120-40*math.Sin(fx/70+float64(i))) < 5.5 {
				return true
			}
		}
		return math.Abs(math.Mod(fx+fy*.3, 140)-70) < 2.2
	})
	b.ReportMetric(float64(tree.Count())/size/size, "density")
	b.ReportAllocs()
	for b.Loop() {
		measure(b, tree, fov, size)
	}
}

func BenchmarkMeasureFilled(b *testing.B) {
	const size = 1024
	fov, all := disc(size), full(size, size)
	for b.Loop() {
		measure(b, all, fov, size)
	}
}

// BenchmarkMeasureMesh is what noise might come to at worst: thousands of bridges, all to be merged.
func BenchmarkMeasureMesh(b *testing.B) {
	const size = 1024
	fov := disc(size)
	mesh := draw(size, size, func(x, y int) bool { return x%9 < 2 || y%40 < 2 || y%40 >= 4 && y%40 < 6 })
	for b.Loop() {
		measure(b, mesh, fov, size)
	}
}
