package vessel

import (
	"math"
	mathbits "math/bits"
	"slices"
)

// Names of the regions: stable, kebab-case. RegionField is the whole field of view; in every other one those measures are taken
// for which Definition.Regional is true.
const (
	RegionField = "field-of-view"

	RegionUpperLeft   = "upper-left-quadrant"
	RegionUpperRight  = "upper-right-quadrant"
	RegionLowerLeft   = "lower-left-quadrant"
	RegionLowerRight  = "lower-right-quadrant"
	RegionInnerRing   = "inner-ring"
	RegionMiddleRing  = "middle-ring"
	RegionOuterRing   = "outer-ring"
	RegionZoneA       = "disc-zone-a"
	RegionZoneB       = "disc-zone-b"
	RegionZoneC       = "disc-zone-c"
	RegionSupTemporal = "disc-superior-temporal"
	RegionSupNasal    = "disc-superior-nasal"
	RegionInfTemporal = "disc-inferior-temporal"
	RegionInfNasal    = "disc-inferior-nasal"
)

// Rings about the centre of the field of view end at these distances from it, in its radii.
const innerRingTo, middleRingTo = 1. / 3, 2. / 3

// Zones about the optic disc, in disc diameters from its centre; the disc's edge is at one half. A and B are those of the
// Atherosclerosis Risk in Communities study (Hubbard et al. 1999: B is ½ to 1 diameter from the edge), C is that of Cheung et al. 2010
// (½ to 2 diameters from the edge), which holds B.
const (
	zoneAFrom, zoneATo = .5, 1.
	zoneBFrom, zoneBTo = 1., 1.5
	zoneCFrom, zoneCTo = 1., 2.5
)

// leastOfRegion is the share of a region that must lie in the field of view. With less, what was seen says little of the whole.
const leastOfRegion = .5

// Eye tells on which side of the optic disc the nose is.
type Eye int

const (
	// UnknownEye leaves the quadrants about the disc without values.
	UnknownEye Eye = iota
	// RightEye has its nose to the right of the disc in the photograph.
	RightEye
	// LeftEye has it to the left.
	LeftEye
)

// Circle lies on the grid that is measured on; pixels. The centre of the first pixel is (.5, .5).
type Circle struct{ X, Y, DiameterPx float64 }

// Region is a part of the picture in which measures are taken.
type Region struct {
	Name    string // stable, kebab-case
	Display string // for people, within a sentence
	Text    string // where it is
}

// Regions lists the regions beside the whole field of view.
func Regions() []Region {
	var out []Region
	for _, r := range regionTable() {
		out = append(out, r.Region)
	}
	return out
}

// regionRow is a region with what it needs.
type regionRow struct {
	Region
	needsDisc, needsEye bool
	fullPx              float64 // area of the whole region, seen or not, in circles: of the field of view, or of the disc where needsDisc
}

// Bits of the regions, in the order of regionTable.
const (
	inUpperLeft uint16 = 1 << iota
	inUpperRight
	inLowerLeft
	inLowerRight
	inInnerRing
	inMiddleRing
	inOuterRing
	inZoneA
	inZoneB
	inZoneC
	inSupTemporal
	inSupNasal
	inInfTemporal
	inInfNasal
	regionBits = iota
)

// regionTable lists the regions beside the whole field of view.
func regionTable() []regionRow {
	quadrant := func(name, display string) regionRow {
		return regionRow{Region{name, display, "The " + display + " of the field of view, about its centre, as the photograph shows it."}, false, false, .25}
	}
	ring := func(name, display, text string, from, to float64) regionRow {
		return regionRow{Region{name, display, text}, false, false, to*to - from*from}
	}
	zone := func(name, display, text string, from, to float64) regionRow {
		return regionRow{Region{name, display, text}, true, false, 4 * (to*to - from*from)}
	}
	about := func(name, display string) regionRow {
		return regionRow{
			Region{name, display + " of the disc", "The " + display + " about the optic disc, from its edge to 2 disc diameters away from it."},
			true, true, zoneCTo*zoneCTo - zoneAFrom*zoneAFrom,
		}
	}
	return []regionRow{
		quadrant(RegionUpperLeft, "upper left quadrant"),
		quadrant(RegionUpperRight, "upper right quadrant"),
		quadrant(RegionLowerLeft, "lower left quadrant"),
		quadrant(RegionLowerRight, "lower right quadrant"),
		ring(RegionInnerRing, "inner ring", "Within a third of the field of view's radius of its centre.", 0, innerRingTo),
		ring(RegionMiddleRing, "middle ring", "From one to two thirds of the field of view's radius from its centre.", innerRingTo, middleRingTo),
		ring(RegionOuterRing, "outer ring", "Beyond two thirds of the field of view's radius from its centre.", middleRingTo, 1),
		zone(RegionZoneA, "zone A", "From the edge of the optic disc to ½ disc diameter away from it.", zoneAFrom, zoneATo),
		zone(RegionZoneB, "zone B", "Between ½ and 1 disc diameter from the edge of the optic disc (Hubbard et al. 1999).", zoneBFrom, zoneBTo),
		zone(RegionZoneC, "zone C", "Between ½ and 2 disc diameters from the edge of the optic disc (Cheung et al. 2010); it holds zone B.", zoneCFrom, zoneCTo),
		about(RegionSupTemporal, "superior temporal quadrant"),
		about(RegionSupNasal, "superior nasal quadrant"),
		about(RegionInfTemporal, "inferior temporal quadrant"),
		about(RegionInfNasal, "inferior nasal quadrant"),
	}
}

// regionsAt returns the bits of the regions that hold a point of a grid. The field of view's circle is in the middle of the grid.
func (g *Geometry) regionsAt(x, y float64, width, height int) uint16 {
	dx, dy := x-float64(width)/2, y-float64(height)/2
	var bits uint16
	switch left, upper := dx < 0, dy < 0; {
	case left && upper:
		bits = inUpperLeft
	case upper:
		bits = inUpperRight
	case left:
		bits = inLowerLeft
	default:
		bits = inLowerRight
	}
	radius2 := g.FOVDiameterPx * g.FOVDiameterPx / 4
	switch d := dx*dx + dy*dy; {
	case d < innerRingTo*innerRingTo*radius2:
		bits |= inInnerRing
	case d < middleRingTo*middleRingTo*radius2:
		bits |= inMiddleRing
	default:
		bits |= inOuterRing
	}
	if g.Disc == nil {
		return bits
	}
	dx, dy = (x-g.Disc.X)/g.Disc.DiameterPx, (y-g.Disc.Y)/g.Disc.DiameterPx
	d := dx*dx + dy*dy
	if d < zoneAFrom*zoneAFrom || d >= zoneCTo*zoneCTo {
		return bits
	}
	if d < zoneATo*zoneATo {
		bits |= inZoneA
	} else {
		bits |= inZoneC
		if d < zoneBTo*zoneBTo {
			bits |= inZoneB
		}
	}
	if g.Eye == UnknownEye {
		return bits
	}
	switch nasal, superior := (dx >= 0) == (g.Eye == RightEye), dy < 0; {
	case superior && nasal:
		bits |= inSupNasal
	case superior:
		bits |= inSupTemporal
	case nasal:
		bits |= inInfNasal
	default:
		bits |= inInfTemporal
	}
	return bits
}

func circlePx(diameter float64) float64 { return math.Pi / 4 * diameter * diameter }

// InRegion tells whether a point of a grid lies in the region of that name, whatever of it is in the field of view.
func (g *Geometry) InRegion(name string, x, y float64, width, height int) bool {
	bits := g.regionsAt(x, y, width, height)
	for i, r := range regionTable() {
		if r.Name == name {
			return bits&(1<<i) != 0
		}
	}
	return name == RegionField
}

// Rings are the radii about the centre of the field, in its radii, at which the rings end.
func Rings() []float64 { return []float64{innerRingTo, middleRingTo, 1} }

// Zones are the radii about the middle of the disc, in disc diameters, at which the zones A, B and C begin and end.
func Zones() []float64 { return []float64{zoneAFrom, zoneATo, zoneBTo, zoneCTo} }

// absent says why nothing can be measured in a region, before it is looked at.
func (r *regionRow) absent(g Geometry) *Absence {
	switch {
	case r.needsDisc && g.Disc == nil:
		return noDisc()
	case r.needsEye && g.Eye == UnknownEye:
		return &Absence{ReasonEyeUnknown, "Which eye this is is not stated, so that the sides of the nose and of the temple are not known."}
	}
	return nil
}

func noDisc() *Absence {
	return &Absence{ReasonNoDisc, "The optic disc was not found with enough confidence to measure from it."}
}

// part is what is seen of a region, or of the whole field.
type part struct {
	absent          *Absence
	vesselPx, fovPx float64
	lengthPx        float64    // of centre lines
	widths          []float64  // px, sorted
	segments        []*Segment // of which the middle lies inside
	branches, ends  int
	angles          []float64 // of branchings, radians
}

// parts measures the whole field and each region once. Index 0 is the whole field; the others follow regionTable.
func (m *material) parts() []part {
	regions := regionTable()
	parts := make([]part, 1+len(regions))
	m.countPixels(parts)
	w, h := m.inside.Width, m.inside.Height
	// into adds to the whole field and to the regions that hold a point.
	into := func(at Point, add func(*part)) {
		add(&parts[0])
		for bits := m.geometry.regionsAt(at.X, at.Y, w, h); bits != 0; bits &= bits - 1 {
			add(&parts[1+mathbits.TrailingZeros16(bits)])
		}
	}
	for i := range m.graph.Segments {
		s := &m.graph.Segments[i]
		for j, p := range s.Points {
			if j > 0 {
				step := p.minus(s.Points[j-1])
				into(s.Points[j-1].plus(step, .5), func(q *part) { q.lengthPx += step.length() })
			}
			if width := s.WidthsPx[j]; !math.IsNaN(width) {
				into(p, func(q *part) { q.widths = append(q.widths, width) })
			}
		}
		into(s.Points[len(s.Points)/2], func(q *part) { q.segments = append(q.segments, s) })
	}
	for n := range m.graph.Nodes {
		node := &m.graph.Nodes[n]
		into(node.At, func(q *part) {
			if node.IsBranch() {
				q.branches++
			}
			if node.IsEnd() {
				q.ends++
			}
		})
		if angle, _, ok := m.graph.BranchingAngle(n); ok {
			into(node.At, func(q *part) { q.angles = append(q.angles, angle) })
		}
	}
	for i := range parts {
		slices.Sort(parts[i].widths)
	}
	for i, r := range regions {
		p := &parts[i+1]
		full := r.fullPx * circlePx(m.geometry.FOVDiameterPx)
		if p.absent = r.absent(m.geometry); p.absent == nil && r.needsDisc {
			full = r.fullPx * circlePx(m.geometry.Disc.DiameterPx)
		}
		if p.absent == nil && p.fovPx < leastOfRegion*full {
			p.absent = &Absence{ReasonRegionCut, "Less than half of this region lies in the field of view."}
		}
	}
	return parts
}

// countPixels counts the pixels of the field and of the vessels, by the regions that hold them.
func (m *material) countPixels(parts []part) {
	w, h := m.fov.Width, m.fov.Height
	counts := make([][2]int, 1<<regionBits)
	for y := range h {
		for x := range w {
			i := y*w + x
			if m.fov.Pix[i] == 0 {
				continue
			}
			c := &counts[m.geometry.regionsAt(float64(x)+.5, float64(y)+.5, w, h)]
			c[0]++
			if m.inside.Pix[i] != 0 {
				c[1]++
			}
		}
	}
	for bits, c := range counts {
		parts[0].fovPx += float64(c[0])
		parts[0].vesselPx += float64(c[1])
		for b := uint16(bits); b != 0; b &= b - 1 {
			p := &parts[1+mathbits.TrailingZeros16(b)]
			p.fovPx += float64(c[0])
			p.vesselPx += float64(c[1])
		}
	}
}
