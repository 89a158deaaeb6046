package vessel

import (
	"fmt"
	"math"
	"testing"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// The middle of the shapes lies at no pixel's edge or centre.
const shapeSize, offX, offY = 512, .31, .17

// turnedAbout turns a point about the middle of the grid, so that shapes are drawn at any angle.
func turnedAbout(x, y int, degrees float64) (u, v float64) {
	a := degrees * math.Pi / 180
	dx, dy := float64(x)+.5-shapeSize/2-offX, float64(y)+.5-shapeSize/2-offY
	return dx*math.Cos(a) + dy*math.Sin(a), -dx*math.Sin(a) + dy*math.Cos(a)
}

// shape draws what on says of coordinates about the middle, turned by degrees.
func shape(degrees float64, on func(u, v float64) bool) *raster.Mask {
	return draw(shapeSize, shapeSize, func(x, y int) bool { u, v := turnedAbout(x, y, degrees); return on(u, v) })
}

// ray is the distance from a ray that leaves the middle at an angle, so long.
func ray(u, v, degrees, length float64) float64 {
	a := degrees * math.Pi / 180
	along, across := u*math.Cos(a)+v*math.Sin(a), -u*math.Sin(a)+v*math.Cos(a)
	return math.Hypot(across, max(0, -along, along-length))
}

// angles are those at which shapes are drawn; fewer in a short run, which is slow under the race detector and has nothing to race.
func angles() []float64 {
	if testing.Short() {
		return []float64{0, 30}
	}
	return []float64{0, 22.5, 30, 60, 75, 90}
}

func branchesOf(g *Graph) int { return countNodes(g, (*Node).IsBranch) }
func endsOf(g *Graph) int     { return countNodes(g, (*Node).IsEnd) }

func countNodes(g *Graph, is func(*Node) bool) int {
	n := 0
	for i := range g.Nodes {
		if is(&g.Nodes[i]) {
			n++
		}
	}
	return n
}

func graphOf(m *raster.Mask) *Graph { return NewGraph(m, full(m.Width, m.Height), Skeleton(m)) }

// TestGraphOfShapes: numbers of nodes are exact at every angle and width, lengths and widths close.
func TestGraphOfShapes(t *testing.T) {
	t.Parallel()
	arms := func(half float64, directions ...float64) func(u, v float64) bool {
		return func(u, v float64) bool {
			for _, d := range directions {
				if ray(u, v, d, 150) <= half {
					return true
				}
			}
			return false
		}
	}
	for _, half := range []float64{1.5, 3, 7} {
		for _, tc := range []struct {
			name                     string
			on                       func(u, v float64) bool
			branches, ends, segments int
			length                   float64 // of all segments, without round ends
		}{
			{"bar", func(u, v float64) bool { return math.Abs(u) <= 150 && math.Abs(v) <= half }, 0, 2, 1, 300},
			{"round bar", arms(half, 0, 180), 0, 2, 1, 300},
			{"Y", arms(half, 90, 210, 330), 1, 3, 3, 450},
			{"T", arms(half, 0, 180, 90), 1, 3, 3, 450},
			{"X", arms(half, 0, 180, 60, 240), 1, 4, 4, 600},
			{"+", arms(half, 0, 90, 180, 270), 1, 4, 4, 600},
			{"ring", func(u, v float64) bool { return math.Abs(math.Hypot(u, v)-100) <= half }, 0, 0, 1, 2 * math.Pi * 100},
		} {
			for _, degrees := range angles() {
				name := fmt.Sprintf("%s, half width %g, at %g°", tc.name, half, degrees)
				m := shape(degrees, tc.on)
				g := graphOf(m)
				if b, e, s := branchesOf(g), endsOf(g), len(g.Segments); b != tc.branches || e != tc.ends || s != tc.segments {
					t.Errorf("%s: %d branch points, %d end points, %d segments, want %d, %d, %d", name, b, e, s, tc.branches, tc.ends, tc.segments)
					continue
				}
				length, weighted := 0.0, 0.0
				for i := range g.Segments {
					length += g.Segments[i].LengthPx
					weighted += g.Segments[i].LengthPx * g.Segments[i].WidthPx()
				}
				want := tc.length
				if tc.name != "bar" {
					want += float64(tc.ends) * half
				}
				near(t, name+": length", length, want, .01*want)
				if tc.name == "bar" {
					// Against the pixels that were drawn: at 45° they come in steps of √½.
					drawn := float64(m.Count()) / tc.length
					near(t, name+": width", weighted/length, drawn, .03*drawn)
				}
			}
		}
	}
}

func TestTortuosityOfShapes(t *testing.T) {
	t.Parallel()
	for _, degrees := range angles() {
		bar := graphOf(shape(degrees, func(u, v float64) bool { return math.Abs(u) <= 150 && math.Abs(v) <= 3 })).Segments[0]
		near(t, fmt.Sprintf("τ₁ of a bar at %g°", degrees), bar.LengthPx/bar.ChordPx(), 1, .004)
		near(t, fmt.Sprintf("turning of a bar at %g°", degrees), bar.Turning, 0, .4)

		// Half a circle.
		const radius, theta = 120., math.Pi
		arc := graphOf(shape(degrees, func(u, v float64) bool {
			a := math.Atan2(v, u)
			return math.Abs(math.Hypot(u, v)-radius) <= 3 && a >= 0
		})).Segments[0]
		near(t, fmt.Sprintf("τ₁ of an arc at %g°", degrees), arc.LengthPx/arc.ChordPx(), theta/2, .01*theta/2)
		near(t, fmt.Sprintf("turning of an arc at %g°", degrees), arc.Turning, theta, .06*theta)
	}
}

// TestMeasuresOfShapes: what is drawn comes out at every angle, and no measure moves by more than 2 % between angles.
func TestMeasuresOfShapes(t *testing.T) {
	t.Parallel()
	fov := disc(shapeSize)
	anyOf := func(half float64, arms ...[2]float64) func(u, v float64) bool {
		return func(u, v float64) bool {
			for _, a := range arms {
				if ray(u, v, a[0], a[1]) <= half {
					return true
				}
			}
			return false
		}
	}
	for _, tc := range []struct {
		name string
		on   func(u, v float64) bool
		want map[string]float64
	}{
		{"Y", anyOf(4, [2]float64{90, 180}, [2]float64{230, 150}, [2]float64{310, 150}), map[string]float64{
			BranchPointCount: 1, EndPointCount: 3, SegmentCount: 3, BranchingAngle: 80, Tortuosity: 1,
			WidthMean: 100 * 8. / shapeSize, WidthMedian: 100 * 8. / shapeSize,
		}},
		{"T", anyOf(3, [2]float64{0, 150}, [2]float64{180, 150}, [2]float64{270, 120}), map[string]float64{
			BranchPointCount: 1, EndPointCount: 3, SegmentCount: 3, BranchingAngle: 90, Tortuosity: 1, WidthMean: 100 * 6. / shapeSize,
		}},
		{"spiral", func(u, v float64) bool {
			// r = 20 + 12·θ over three turns, the distance from it measured along the radius and brought onto the normal.
			r, a := math.Hypot(u, v), math.Atan2(v, u)
			for turn := range 4 {
				theta := a + 2*math.Pi*float64(turn)
				if r > 10 && theta >= 0 && theta <= 6*math.Pi && math.Abs(r-20-10*theta)*r/math.Hypot(r, 10) <= 3 {
					return true
				}
			}
			return false
		}, map[string]float64{BranchPointCount: 0, EndPointCount: 2, SegmentCount: 1, WidthMean: 100 * 6. / shapeSize}},
	} {
		first := map[string]float64{}
		for _, degrees := range angles() {
			got := measure(t, shape(degrees, tc.on), fov, shapeSize)
			for name, want := range tc.want {
				near(t, fmt.Sprintf("%s at %g°: %s", tc.name, degrees, name), got[name].Value, want, .03*want)
			}
			for name, v := range got {
				// Dimensions depend on where the boxes lie, the curvature of straight vessels is the pixel grid's, and on thin vessels
				// a single width comes in steps of it.
				spread := .02
				switch name {
				case FractalDimension, FractalDimensionOpen, FractalFit, Curvature, WidthP10, WidthP90:
					continue
				case WidthMedian, BranchingAngle:
					spread = .05
				}
				if v.Absent != nil {
					continue
				}
				if _, seen := first[name]; !seen {
					first[name] = v.Value
				}
				near(t, fmt.Sprintf("%s at %g°: %s", tc.name, degrees, name), v.Value, first[name], spread*first[name])
			}
		}
	}
}

func TestVesselsCutByTheFieldHaveNoEnds(t *testing.T) {
	t.Parallel()
	for _, degrees := range angles() {
		m := shape(degrees, func(_, v float64) bool { return math.Abs(v-20) <= 3 })
		got := measure(t, m, disc(shapeSize), shapeSize)
		near(t, fmt.Sprintf("end points of a vessel across the field at %g°", degrees), got[EndPointCount].Value, 0, 0)
		near(t, "segments", got[SegmentCount].Value, 1, 0)
	}
}

func TestSpecksAndHoles(t *testing.T) {
	t.Parallel()
	// Lone pixels, a block that thinning eats, a line of six pixels, and a ring with a speck in it.
	g := graphOf(draw(64, 64, func(x, y int) bool {
		return x == 5 && y == 5 || y == 60 && x >= 5 && x <= 10 || x/2 == 10 && y/2 == 10 || x == 40 && y == 40 || math.Abs(math.Hypot(float64(x-40), float64(y-40))-15) <= 1
	}))
	if len(g.Segments) != 1 || g.Segments[0].From != -1 || len(g.Nodes) != 0 {
		t.Errorf("%d segments and %d nodes, want one ring and no nodes", len(g.Segments), len(g.Nodes))
	}
	// A vessel with a pixel missing is one vessel.
	g = graphOf(draw(200, 64, func(x, y int) bool {
		return x >= 20 && x < 180 && y >= 27 && y < 36 && (x != 100 || y != 31)
	}))
	if len(g.Segments) != 1 || branchesOf(g) != 0 || endsOf(g) != 2 {
		t.Errorf("a vessel with a hole: %d segments, %d branch points, %d end points, want 1, 0, 2", len(g.Segments), branchesOf(g), endsOf(g))
	}
}

// FuzzGraph: whatever the mask, the graph is sound.
func FuzzGraph(f *testing.F) {
	f.Add([]byte{0xff, 0x81, 0xff})
	f.Add([]byte{0x18, 0x18, 0xff, 0xff, 0x18, 0x18, 0x18, 0x24, 0x42, 0x81})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := fromBytes(data)
		g := graphOf(m)
		ends := 0
		for i, s := range g.Segments {
			if (s.From < 0) != (s.To < 0) || len(s.Points) < 2 || math.IsNaN(s.LengthPx) || math.IsNaN(s.Turning) || s.LengthPx < 0 {
				t.Fatalf("segment %d is %+v", i, s)
			}
			if len(s.WidthsPx) != len(s.Points) {
				t.Fatalf("segment %d has %d widths at %d points", i, len(s.WidthsPx), len(s.Points))
			}
			for _, w := range s.WidthsPx {
				if w <= 0 {
					t.Fatalf("segment %d has a width of %v", i, w)
				}
			}
			if s.From >= 0 {
				ends += 2
			}
		}
		for i, n := range g.Nodes {
			ends -= len(n.Segments)
			for _, s := range n.Segments {
				if g.Segments[s].From != i && g.Segments[s].To != i {
					t.Fatalf("node %d lists segment %d, which is not there", i, s)
				}
			}
		}
		if ends != 0 {
			t.Fatalf("%d ends of segments are at no node", ends)
		}
		geometry := Geometry{FOVDiameterPx: 24, Disc: &Circle{8, 9, 5}, Eye: LeftEye, MillimetresPerPx: .01, DegreesPerPx: .04}
		if m.Height == 0 {
			return
		}
		got, err := Measure(m, full(m.Width, m.Height), geometry)
		if err != nil {
			t.Fatal(err)
		}
		values := got.Values
		for _, r := range got.Regions {
			values = append(values, r.Values...)
		}
		for _, v := range values {
			if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
				t.Fatalf("%s is %v", v.Name, v.Value)
			}
		}
	})
}
