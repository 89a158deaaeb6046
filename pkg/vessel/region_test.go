package vessel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/noctua-screening/noctua/pkg/raster"
)

const eyeSize = 768

// eyeGeometry has a disc to the right of the middle, as in a right eye, with all of zone C in the field.
func eyeGeometry() Geometry {
	return Geometry{FOVDiameterPx: eyeSize, Disc: &Circle{500, 384, 80}, Eye: RightEye}
}

func TestRegionsHoldWhatWasDrawnInThem(t *testing.T) {
	t.Parallel()
	fov, g := disc(eyeSize), eyeGeometry()
	circleAbout := func(x, y, radius float64) *raster.Mask {
		return draw(eyeSize, eyeSize, func(px, py int) bool {
			return math.Abs(math.Hypot(float64(px)+.5-x, float64(py)+.5-y)-radius) <= 3
		})
	}
	const c = eyeSize / 2.
	r := c
	for _, tc := range []struct {
		name   string
		mask   *raster.Mask
		length map[string]float64 // px; regions that are not listed have none
	}{
		{"middle ring", circleAbout(c, c, r/2), map[string]float64{
			RegionMiddleRing: math.Pi * r, RegionUpperLeft: math.Pi * r / 4, RegionUpperRight: math.Pi * r / 4,
			RegionLowerLeft: math.Pi * r / 4, RegionLowerRight: math.Pi * r / 4,
		}},
		{"zone A", circleAbout(500, 384, .75*80), map[string]float64{
			RegionZoneA: 1.5 * math.Pi * 80, RegionSupNasal: 1.5 * math.Pi * 20, RegionSupTemporal: 1.5 * math.Pi * 20,
			RegionInfNasal: 1.5 * math.Pi * 20, RegionInfTemporal: 1.5 * math.Pi * 20,
		}},
		{"zone B and C", circleAbout(500, 384, 1.25*80), map[string]float64{RegionZoneB: 2.5 * math.Pi * 80, RegionZoneC: 2.5 * math.Pi * 80}},
		{"zone C alone", circleAbout(500, 384, 2*80), map[string]float64{RegionZoneB: 0, RegionZoneC: 4 * math.Pi * 80}},
		{"nasal, below the disc", draw(eyeSize, eyeSize, func(x, y int) bool { return x >= 510 && x < 610 && y >= 500 && y < 506 }), map[string]float64{
			RegionInfNasal: 100, RegionSupNasal: 0, RegionInfTemporal: 0, RegionSupTemporal: 0, RegionUpperRight: 0, RegionLowerRight: 100, RegionLowerLeft: 0,
		}},
	} {
		for region, want := range tc.length {
			got := measureIn(t, region, tc.mask, fov, g)
			area := 0.
			for y := range eyeSize {
				for x := range eyeSize {
					if fov.On(x, y) && holds(region, g, float64(x)+.5, float64(y)+.5) {
						area++
					}
				}
			}
			near(t, tc.name+": length in "+region, got[LengthDensity].Value*area/g.FOVDiameterPx, want, .015*want)
			near(t, tc.name+": area in "+region, got[AreaDensity].Value*area, 6*want, .03*6*want)
			if want > 0 {
				near(t, tc.name+": width in "+region, got[WidthMean].Value*g.FOVDiameterPx/100, 6, .2)
			} else if got[WidthMean].Absent == nil || got[WidthMean].Absent.Code != ReasonNoVessels {
				t.Errorf("%s: a width in %s: %+v", tc.name, region, got[WidthMean])
			}
		}
	}
}

// holds says by the definitions' words, not by the program, whether a place is in a region.
func holds(region string, g Geometry, x, y float64) bool {
	const c = eyeSize / 2.
	fromCenter := math.Hypot(x-c, y-c) / c
	fromDisc := math.Hypot(x-g.Disc.X, y-g.Disc.Y)/g.Disc.DiameterPx - .5 // from its edge, in diameters
	near, nasal, superior := fromDisc >= 0 && fromDisc < 2, x >= g.Disc.X == (g.Eye == RightEye), y < g.Disc.Y
	return map[string]bool{
		RegionUpperLeft: x < c && y < c, RegionUpperRight: x >= c && y < c, RegionLowerLeft: x < c && y >= c, RegionLowerRight: x >= c && y >= c,
		RegionInnerRing: fromCenter < 1./3, RegionMiddleRing: fromCenter >= 1./3 && fromCenter < 2./3, RegionOuterRing: fromCenter >= 2./3,
		RegionZoneA: fromDisc >= 0 && fromDisc < .5, RegionZoneB: fromDisc >= .5 && fromDisc < 1, RegionZoneC: fromDisc >= .5 && fromDisc < 2,
		RegionSupTemporal: near && superior && !nasal, RegionSupNasal: near && superior && nasal,
		RegionInfTemporal: near && !superior && !nasal, RegionInfNasal: near && !superior && nasal,
	}[region]
}

// TestRegionsAddUp: quadrants and rings part the field, so that their lengths, areas and counts are those of the whole.
func TestRegionsAddUp(t *testing.T) {
	t.Parallel()
	g := Geometry{FOVDiameterPx: eyeSize}
	random := rand.New(rand.NewPCG(1, 2))
	fov := disc(eyeSize)
	shape := randomTree(random, 1)
	got, err := Measure(shape, fov, g)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]map[string]float64{"quadrant": {}, "ring": {}, "": {}}
	values := got.Values
	for _, r := range got.Regions {
		values = append(values, r.Values...)
	}
	for _, v := range values {
		set := ""
		switch v.Region {
		case RegionUpperLeft, RegionUpperRight, RegionLowerLeft, RegionLowerRight:
			set = "quadrant"
		case RegionInnerRing, RegionMiddleRing, RegionOuterRing:
			set = "ring"
		case RegionField:
		default:
			t.Errorf("%s in %s without a disc: %+v", v.Name, v.Region, v)
		}
		switch v.Name {
		case SegmentCount, BranchPointCount, EndPointCount:
			sums[set][v.Name] += v.Value
		case AreaDensity, LengthDensity:
			area := 0.
			for i, on := range fov.Pix {
				if on != 0 && (v.Region == RegionField || holds(v.Region, eyeGeometry(), float64(i%eyeSize)+.5, float64(i/eyeSize)+.5)) {
					area++
				}
			}
			sums[set][v.Name] += v.Value * area
		}
	}
	for name, want := range sums[""] {
		if want == 0 {
			t.Errorf("%s is 0: the shape tests nothing", name)
		}
		near(t, name+" of the quadrants", sums["quadrant"][name], want, 1e-6*want)
		near(t, name+" of the rings", sums["ring"][name], want, 1e-6*want)
	}
}

// A left eye is the mirror image of a right one.
func TestNasalAndTemporal(t *testing.T) {
	t.Parallel()
	fov, right := disc(eyeSize), eyeGeometry()
	left := Geometry{FOVDiameterPx: eyeSize, Disc: &Circle{eyeSize - right.Disc.X, right.Disc.Y, right.Disc.DiameterPx}, Eye: LeftEye}
	shape := randomTree(rand.New(rand.NewPCG(3, 4)), 1)
	for _, region := range []string{RegionSupNasal, RegionSupTemporal, RegionInfNasal, RegionInfTemporal, RegionZoneB} {
		a, b := measureIn(t, region, shape, fov, right), measureIn(t, region, turned(shape, 0, true), fov, left)
		if a[AreaDensity].Value == 0 || a[AreaDensity].Absent != nil {
			t.Errorf("%s holds nothing: the shape tests nothing", region)
		}
		near(t, "area density in "+region, b[AreaDensity].Value, a[AreaDensity].Value, 1e-12)
	}
	if u, l := measureIn(t, RegionUpperLeft, shape, fov, right), measureIn(t, RegionUpperRight, turned(shape, 0, true), fov, left); u[AreaDensity].Value != l[AreaDensity].Value {
		t.Error("quadrants of the field are the photograph's, and mirrored with it")
	}
}

func TestRegionsWithoutValues(t *testing.T) {
	t.Parallel()
	fov, shape := disc(eyeSize), randomTree(rand.New(rand.NewPCG(5, 6)), 1)
	for _, tc := range []struct {
		name, region, code string
		geometry           Geometry
	}{
		{"no disc", RegionZoneB, ReasonNoDisc, Geometry{FOVDiameterPx: eyeSize, Eye: LeftEye}},
		{"no disc", RegionInfNasal, ReasonNoDisc, Geometry{FOVDiameterPx: eyeSize, Eye: LeftEye}},
		{"no eye", RegionInfNasal, ReasonEyeUnknown, Geometry{FOVDiameterPx: eyeSize, Disc: &Circle{384, 384, 90}}},
		{"a disc at the edge", RegionZoneC, ReasonRegionCut, Geometry{FOVDiameterPx: eyeSize, Disc: &Circle{740, 384, 90}, Eye: RightEye}},
		{"a disc at the edge", RegionSupNasal, ReasonRegionCut, Geometry{FOVDiameterPx: eyeSize, Disc: &Circle{740, 384, 90}, Eye: RightEye}},
		{"a disc at the edge", RegionSupTemporal, "", Geometry{FOVDiameterPx: eyeSize, Disc: &Circle{740, 384, 90}, Eye: RightEye}},
		{"no eye", RegionZoneB, "", Geometry{FOVDiameterPx: eyeSize, Disc: &Circle{384, 384, 90}}},
	} {
		got := measureIn(t, tc.region, shape, fov, tc.geometry)[AreaDensity]
		switch {
		case tc.code == "" && got.Absent != nil:
			t.Errorf("%s: %s is absent: %s", tc.name, tc.region, got.Absent.Code)
		case tc.code != "" && (got.Absent == nil || got.Absent.Code != tc.code || got.Absent.Sentence == "" || got.Value != 0):
			t.Errorf("%s: %s = %+v, want absent because %s", tc.name, tc.region, got, tc.code)
		}
	}
	// The upper half of a field that is cut off below its middle.
	half := draw(eyeSize, eyeSize, func(x, y int) bool { return fov.On(x, y) && y < 400 })
	if v := measureIn(t, RegionLowerLeft, shape, half, Geometry{FOVDiameterPx: eyeSize})[AreaDensity]; v.Absent == nil || v.Absent.Code != ReasonRegionCut {
		t.Errorf("a quadrant that was cut off: %+v", v)
	}
	for _, d := range []Circle{{1, 1, 0}, {1, 1, math.NaN()}, {math.NaN(), 1, 1}, {1, 1, math.Inf(1)}} {
		if _, err := Measure(shape, fov, Geometry{FOVDiameterPx: eyeSize, Disc: &d}); err == nil {
			t.Errorf("the disc %v was accepted", d)
		}
	}
}

func TestScales(t *testing.T) {
	t.Parallel()
	fov := full(400, 400)
	bar := draw(400, 400, func(_, y int) bool { return y >= 200 && y < 208 })
	g := Geometry{FOVDiameterPx: 400, Disc: &Circle{200, 200, 50}, MillimetresPerPx: .0125, DegreesPerPx: .05}
	got := measureIn(t, RegionField, bar, fov, g)
	for name, want := range map[string]float64{
		WidthMean: 2, WidthMicrometres: 100, WidthDegrees: .4, WidthDiscs: 16,
		// One line across a square of 400 px, 5 mm, 20°, 8 discs.
		LengthDensity: 1, LengthPerMillimetre: 1. / 5, LengthPerDegree: 1. / 20, LengthPerDisc: 1. / 8,
	} {
		near(t, name, got[name].Value, want, .01*want)
	}
	for name, code := range map[string]string{
		WidthMicrometres: ReasonNoSpacing, LengthPerMillimetre: ReasonNoSpacing, WidthDegrees: ReasonNoAngle, LengthPerDegree: ReasonNoAngle,
		WidthDiscs: ReasonNoDisc, LengthPerDisc: ReasonNoDisc,
	} {
		if v := measure(t, bar, fov, 400)[name]; v.Absent == nil || v.Absent.Code != code {
			t.Errorf("%s without a scale: %+v, want absent because %s", name, v, code)
		}
	}
}

// randomTree draws vessels that branch, in a field eyeSize·scale wide: what is drawn is the same at every scale.
func randomTree(random *rand.Rand, scale float64) *raster.Mask {
	type stroke struct {
		a, b Point
		half float64
	}
	var strokes []stroke
	var grow func(at Point, angle, half float64, left int)
	grow = func(at Point, angle, half float64, left int) {
		for range 12 {
			next := at.plus(Point{math.Cos(angle), math.Sin(angle)}, 8)
			strokes = append(strokes, stroke{at, next, half})
			at = next
			angle += .12 * (random.Float64() - .5)
		}
		if left > 0 {
			turn := .5 + .3*random.Float64()
			grow(at, angle-turn, .85*half, left-1)
			grow(at, angle+turn, .8*half, left-1)
		}
	}
	for i := range 4 {
		grow(Point{eyeSize / 2, eyeSize / 2}, float64(i)*math.Pi/2+.7+.3*random.Float64(), 4+2*random.Float64(), 2)
	}
	size := int(eyeSize * scale)
	m := raster.NewMask(size, size)
	for _, s := range strokes {
		way := s.b.minus(s.a)
		length := way.length()
		for y := max(0, int((min(s.a.Y, s.b.Y)-s.half-1)*scale)); y < min(size, int((max(s.a.Y, s.b.Y)+s.half+1)*scale)); y++ {
			for x := max(0, int((min(s.a.X, s.b.X)-s.half-1)*scale)); x < min(size, int((max(s.a.X, s.b.X)+s.half+1)*scale)); x++ {
				p := Point{(float64(x) + .5) / scale, (float64(y) + .5) / scale}.minus(s.a)
				along := max(0, min(length, (p.X*way.X+p.Y*way.Y)/length))
				if p.minus(Point{way.X * along / length, way.Y * along / length}).length() <= s.half {
					m.Pix[y*size+x] = raster.Foreground
				}
			}
		}
	}
	return m
}

// FuzzScaleAndTurns: a tree drawn on a grid twice as fine, turned by a quarter, or mirrored has the same measures.
func FuzzScaleAndTurns(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		tree := randomTree(rand.New(rand.NewPCG(seed, 0)), 1)
		base := measure(t, tree, disc(eyeSize), eyeSize)
		compare := func(what string, got map[string]Value, tolerances map[string]float64) {
			t.Helper()
			for name, tolerance := range tolerances {
				near(t, fmt.Sprintf("seed %d, %s: %s", seed, what, name), got[name].Value, base[name].Value, tolerance*math.Abs(base[name].Value))
			}
		}
		twice := measure(t, randomTree(rand.New(rand.NewPCG(seed, 0)), 2), disc(2*eyeSize), 2*eyeSize)
		compare("twice as fine", twice, map[string]float64{AreaDensity: .02, LengthDensity: .02, WidthMean: .02, Tortuosity: .02, WidthP90: .08}) // a single width comes in steps of the grid: a pixel is a ninth of it
		for position := 1; position < 8; position++ {
			mirror := position >= 4
			got := measure(t, turned(tree, position%4, mirror), disc(eyeSize), eyeSize)
			same := map[string]float64{}
			for name, v := range base {
				switch name {
				case FractalDimension, FractalDimensionOpen, FractalFit:
					continue // boxes are anchored at a corner of the grid, and the largest are cut at the opposite edges
				}
				same[name] = 1e-9
				if (v.Absent == nil) != (got[name].Absent == nil) {
					t.Errorf("%s is absent in one position", name)
				}
			}
			compare(fmt.Sprintf("turned %d times, mirrored %v", position%4, mirror), got, same)
		}
	})
}
