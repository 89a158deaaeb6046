package vesselmap

import (
	"fmt"
	"image"
	"math"

	"golang.org/x/image/draw"

	"github.com/noctua-screening/noctua/pkg/drawing"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// MeasurePx is the width and height of the picture of a measure or a region.
const MeasurePx = 420

const (
	// boxPx is the side of the boxes that are shown of box counting: one of those that are counted.
	boxPx = 32
	// calliperEvery is how many points of a centre line lie between two widths that are shown.
	calliperEvery = 12
	// rayPx is how long the sides of a branching angle are drawn.
	rayPx = 38
)

// Measure draws what a measure of the whole field is made of, MeasurePx wide. The error is a name that is no measure.
func Measure(s Subject, name string) (*image.RGBA, error) {
	c, err := s.backdrop(0)
	if err != nil {
		return nil, err
	}
	switch name {
	case vessel.AreaDensity, vessel.AreaDensityFrame:
		s.paint(c, accent, func(x, y int) bool { return s.Vessels.On(x, y) && s.FOV.On(x, y) })
		if x, y, r := s.middle(); name == vessel.AreaDensity {
			c.Circle(x, y, r-2, 4, ink)
		} else {
			w, h := float64(s.FOV.Width), float64(s.FOV.Height)
			c.Polyline([][2]float64{{2, 2}, {w - 2, 2}, {w - 2, h - 2}, {2, h - 2}, {2, 2}}, 4, ink)
		}
	case vessel.LengthDensity, vessel.LengthPerMillimetre, vessel.LengthPerDegree, vessel.LengthPerDisc:
		s.drawWidths(c, func(float64) (drawing.Colour, bool) { return accent, true })
		s.drawScale(c, name == vessel.LengthPerDisc)
	case vessel.FractalDimension, vessel.FractalDimensionOpen, vessel.FractalFit:
		s.drawBoxes(c, name == vessel.FractalDimensionOpen)
		s.paint(c, accent, func(x, y int) bool { return s.Vessels.On(x, y) && s.FOV.On(x, y) })
	case vessel.WidthMean, vessel.WidthMicrometres, vessel.WidthDegrees, vessel.WidthDiscs:
		s.drawCallipers(c)
		s.drawScale(c, name == vessel.WidthDiscs)
	case vessel.WidthP10, vessel.WidthMedian, vessel.WidthP90:
		share := map[string]float64{vessel.WidthP10: .1, vessel.WidthMedian: .5, vessel.WidthP90: .9}[name]
		if all := s.widths(); len(all) > 0 {
			limit := all[int(share*float64(len(all)-1))]
			s.drawWidths(c, func(percent float64) (drawing.Colour, bool) {
				if percent <= limit {
					return cold, true
				}
				return warm, true
			})
		}
	case vessel.SegmentCount:
		s.drawSegments(c, func(i int, _ *vessel.Segment) drawing.Colour { return shade(float64(i*7%16) / 15) })
		s.drawNodes(c, true, true)
	case vessel.BranchPointCount:
		s.drawSegments(c, func(int, *vessel.Segment) drawing.Colour { return accent })
		s.drawNodes(c, true, false)
	case vessel.EndPointCount:
		s.drawSegments(c, func(int, *vessel.Segment) drawing.Colour { return accent })
		s.drawNodes(c, false, true)
	case vessel.BranchingAngle:
		s.drawSegments(c, func(int, *vessel.Segment) drawing.Colour { return accent })
		s.drawAngles(c)
	case vessel.Tortuosity:
		s.drawChords(c)
	case vessel.Curvature:
		s.drawSegments(c, func(_ int, seg *vessel.Segment) drawing.Colour {
			if !seg.IsLong(s.Geometry) {
				return faint
			}
			const most = 20 // radians per field diameter: what is beyond is as red
			return shade(seg.Turning / seg.LengthPx * s.Geometry.FOVDiameterPx / most)
		})
	default:
		return nil, fmt.Errorf("drawing a measure: %q is none", name)
	}
	return reduced(c.RGBA), nil
}

// Region draws a part of the field, MeasurePx wide. The error is a name that is no region.
func Region(s Subject, name string) (*image.RGBA, error) {
	c, err := s.backdrop(0)
	if err != nil {
		return nil, err
	}
	any := false
	w, h := s.FOV.Width, s.FOV.Height
	s.paint(c, cold, func(x, y int) bool {
		in := s.FOV.On(x, y) && s.Geometry.InRegion(name, float64(x)+.5, float64(y)+.5, w, h)
		any = any || in
		return in && (x+y)%8 < 3
	})
	if !any {
		return nil, fmt.Errorf("drawing a region: nothing of %q is in this field", name)
	}
	s.paint(c, accent, func(x, y int) bool {
		return s.Vessels.On(x, y) && s.FOV.On(x, y) && s.Geometry.InRegion(name, float64(x)+.5, float64(y)+.5, w, h)
	})
	s.drawDisc(c)
	return reduced(c.RGBA), nil
}

func reduced(full *image.RGBA) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, MeasurePx, MeasurePx*full.Bounds().Dy()/full.Bounds().Dx()))
	draw.CatmullRom.Scale(out, out.Bounds(), full, full.Bounds(), draw.Src, nil)
	return out
}

// paint fills pixels of the grid.
func (s *Subject) paint(c *drawing.Canvas, k drawing.Colour, on func(x, y int) bool) {
	for y := range s.FOV.Height {
		for x := range s.FOV.Width {
			if on(x, y) {
				c.Set(x, y, k)
			}
		}
	}
}

func (s *Subject) drawSegments(c *drawing.Canvas, colour func(int, *vessel.Segment) drawing.Colour) {
	for i := range s.Measured.Graph.Segments {
		seg := &s.Measured.Graph.Segments[i]
		c.Polyline(xy(seg.Points), 2*linePx, colour(i, seg))
	}
}

func xy(points []vessel.Point) [][2]float64 {
	out := make([][2]float64, len(points))
	for i, p := range points {
		out[i] = [2]float64{p.X, p.Y}
	}
	return out
}

// drawBoxes marks the boxes of one size that count.
func (s *Subject) drawBoxes(c *drawing.Canvas, open bool) {
	for top := 0; top < s.FOV.Height; top += boxPx {
		for left := 0; left < s.FOV.Width; left += boxPx {
			n, all := 0, 0
			for y := top; y < min(top+boxPx, s.FOV.Height); y++ {
				for x := left; x < min(left+boxPx, s.FOV.Width); x++ {
					all++
					if s.Vessels.On(x, y) && s.FOV.On(x, y) {
						n++
					}
				}
			}
			if n > 0 && !(open && n == all) {
				c.Fill(left, top, min(left+boxPx, s.FOV.Width)-2, min(top+boxPx, s.FOV.Height)-2, 0x2f5d7c)
			}
		}
	}
}

// drawCallipers draws every few points the line across the vessel that its width is.
func (s *Subject) drawCallipers(c *drawing.Canvas) {
	for i := range s.Measured.Graph.Segments {
		seg := &s.Measured.Graph.Segments[i]
		c.Polyline(xy(seg.Points), thinPx, accent)
		for j := calliperEvery / 2; j < len(seg.Points)-1; j += calliperEvery {
			w := seg.WidthsPx[j]
			a, b := seg.Points[j-1], seg.Points[j+1]
			dx, dy := b.X-a.X, b.Y-a.Y
			if length := math.Hypot(dx, dy); !math.IsNaN(w) && length > 0 {
				nx, ny := -dy/length*w/2, dx/length*w/2
				p := seg.Points[j]
				c.Line(p.X-nx, p.Y-ny, p.X+nx, p.Y+ny, linePx, ink)
			}
		}
	}
}

// drawScale draws what a length is compared with: the diameter of the field, or of the disc.
func (s *Subject) drawScale(c *drawing.Canvas, byDisc bool) {
	x, y, r := s.middle()
	if d := s.Geometry.Disc; byDisc && d != nil {
		x, y, r = d.X, d.Y, d.DiameterPx/2
	}
	c.Circle(x, y, r-2, 4, ink)
	c.Line(x-r, y, x+r, y, linePx, ink)
}

// drawAngles draws the branching angle of each branch point of three segments.
func (s *Subject) drawAngles(c *drawing.Canvas) {
	for n := range s.Measured.Graph.Nodes {
		_, sides, ok := s.Measured.Graph.BranchingAngle(n)
		if !ok {
			continue
		}
		at := s.Measured.Graph.Nodes[n].At
		for _, side := range sides {
			length := math.Hypot(side.X, side.Y)
			c.Line(at.X, at.Y, at.X+side.X/length*rayPx, at.Y+side.Y/length*rayPx, 2*linePx, warm)
		}
	}
}

// drawChords draws each segment that is long enough with the straight way between its ends.
func (s *Subject) drawChords(c *drawing.Canvas) {
	for i := range s.Measured.Graph.Segments {
		seg := &s.Measured.Graph.Segments[i]
		if !seg.IsLong(s.Geometry) {
			c.Polyline(xy(seg.Points), linePx, faint)
			continue
		}
		a, b := seg.Points[0], seg.Points[len(seg.Points)-1]
		c.Polyline(xy(seg.Points), 2*linePx, accent)
		c.Line(a.X, a.Y, b.X, b.Y, linePx, warm)
	}
}
