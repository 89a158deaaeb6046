package vesselmap

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/noctua-screening/noctua/pkg/drawing"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// Subject is a measured picture, all of it on the grid that was measured on.
type Subject struct {
	Photo        *raster.RGB // what lies outside FOV is not shown
	Vessels, FOV *raster.Mask
	Geometry     vessel.Geometry
	Measured     *vessel.Measurement
}

// Look of the drawings. The photograph is grey and dark, so that colours are those of the drawing alone.
const (
	backdropGrey = 62 // mean of the photograph inside the field, of 255
	mostGain     = 4.
	ink          = drawing.Colour(0xffffff)
	faint        = drawing.Colour(0x9aa3ad)
	accent       = drawing.Colour(0x00ffaa) // the overlay's
	warm         = drawing.Colour(0xffb000)
	cold         = drawing.Colour(0x4cc9f0)
	fontPx       = 20.
	legendPx     = 72 // height of the strip below the map
	linePx       = 2.5
	thinPx       = 1.2
	dotPx        = 9.
)

// widthColours go from thin to wide; they also grow warmer for readers who do not tell the ends of the rainbow apart.
var widthColours = [...]drawing.Colour{0x4cc9f0, 0x80ed99, 0xffd166, 0xf77f00, 0xef233c}

// WidthColours are the colours of widths, from thin to wide, at even steps of the scale.
func WidthColours() []drawing.Colour { return slices.Clone(widthColours[:]) }

// shade is the colour of a share of the scale, 0 to 1.
func shade(share float64) drawing.Colour {
	at := max(0, min(1, share)) * float64(len(widthColours)-1)
	i := min(int(at), len(widthColours)-2)
	return mixed(widthColours[i], widthColours[i+1], at-float64(i))
}

func mixed(a, b drawing.Colour, t float64) drawing.Colour {
	var out drawing.Colour
	for shift := 0; shift < 24; shift += 8 {
		x, y := float64(a>>shift&255), float64(b>>shift&255)
		out |= drawing.Colour(x+t*(y-x)+.5) << shift
	}
	return out
}

// Overview draws the centre lines coloured by local width, branch points and ends, the quadrants and rings of the field, and the optic
// disc with its zones where it was found, with a legend below.
func Overview(s Subject) (*image.RGBA, error) {
	c, err := s.backdrop(legendPx)
	if err != nil {
		return nil, err
	}
	s.drawField(c)
	s.drawDisc(c)
	widest := s.widestPercent()
	s.drawWidths(c, func(percent float64) (drawing.Colour, bool) { return shade(percent / widest), true })
	s.drawNodes(c, true, true)
	s.drawLegend(c, widest)
	return c.RGBA, nil
}

// backdrop is the photograph, dark and grey, inside the field of view, with room below.
func (s *Subject) backdrop(below int) (*drawing.Canvas, error) {
	w, h := s.FOV.Width, s.FOV.Height
	if s.Photo.Width != w || s.Photo.Height != h || s.Vessels.Width != w || s.Vessels.Height != h || s.Measured == nil {
		return nil, fmt.Errorf("drawing a map: photograph, mask and field of view must lie on one grid of %d × %d pixels, and be measured", w, h)
	}
	c, err := drawing.New(w, h+below, fontPx)
	if err != nil {
		return nil, err
	}
	c.Fill(0, 0, w, h+below, 0)
	var sum, n float64
	for i, on := range s.FOV.Pix {
		if on != 0 {
			sum += float64(s.Photo.Pix[3*i+1])
			n++
		}
	}
	gain := min(mostGain, backdropGrey*n/max(1, sum))
	for i, on := range s.FOV.Pix {
		if on == 0 {
			continue
		}
		// Green shows vessels best.
		v := uint8(min(255, gain*float64(s.Photo.Pix[3*i+1])))
		pix := c.Pix[i/w*c.Stride+4*(i%w):]
		pix[0], pix[1], pix[2] = v, v, v
	}
	return c, nil
}

func (s *Subject) middle() (x, y, radius float64) {
	return float64(s.FOV.Width) / 2, float64(s.FOV.Height) / 2, s.Geometry.FOVDiameterPx / 2
}

// drawField draws the borders of quadrants and rings.
func (s *Subject) drawField(c *drawing.Canvas) {
	x, y, r := s.middle()
	c.Line(x-r, y, x+r, y, thinPx, faint)
	c.Line(x, y-r, x, y+r, thinPx, faint)
	for _, share := range vessel.Rings() {
		c.Circle(x, y, share*r, thinPx, faint)
	}
}

// drawDisc draws the optic disc and the borders of its zones.
func (s *Subject) drawDisc(c *drawing.Canvas) {
	d := s.Geometry.Disc
	if d == nil {
		return
	}
	zones := vessel.Zones()
	for i, at := range zones {
		width := thinPx
		if i == 0 {
			width = linePx
		}
		c.Circle(d.X, d.Y, at*d.DiameterPx, width, ink)
		if i > 0 {
			x, away := d.X, (at+zones[i-1])/2*d.DiameterPx
			if x+away < float64(s.FOV.Width)-fontPx {
				x += away
			} else {
				x -= away
			}
			c.Text(int(x), int(d.Y+fontPx/3), drawing.Centre, ink, string(rune('A'+i-1)))
		}
	}
}

// drawWidths draws the centre lines; colour says how, and whether, a width in percent of the field's diameter is drawn.
func (s *Subject) drawWidths(c *drawing.Canvas, colour func(percent float64) (drawing.Colour, bool)) {
	for i := range s.Measured.Graph.Segments {
		seg := &s.Measured.Graph.Segments[i]
		for j := 1; j < len(seg.Points); j++ {
			a, b := seg.Points[j-1], seg.Points[j]
			k, shown := faint, true // inside a branching there is no width
			if w := seg.WidthsPx[j]; !math.IsNaN(w) {
				k, shown = colour(100 * w / s.Geometry.FOVDiameterPx)
			}
			if shown {
				c.Line(a.X, a.Y, b.X, b.Y, linePx, k)
			}
		}
	}
}

// drawNodes marks branch points with dots and ends with rings.
func (s *Subject) drawNodes(c *drawing.Canvas, branches, ends bool) {
	for i := range s.Measured.Graph.Nodes {
		switch n := &s.Measured.Graph.Nodes[i]; {
		case branches && n.IsBranch():
			c.Dot(n.At.X, n.At.Y, dotPx, ink)
		case ends && n.IsEnd():
			c.Circle(n.At.X, n.At.Y, dotPx/2, linePx-.5, ink)
		}
	}
}

// widths are all local widths, percent of the field's diameter, sorted.
func (s *Subject) widths() []float64 {
	var out []float64
	for i := range s.Measured.Graph.Segments {
		for _, w := range s.Measured.Graph.Segments[i].WidthsPx {
			if !math.IsNaN(w) {
				out = append(out, 100*w/s.Geometry.FOVDiameterPx)
			}
		}
	}
	slices.Sort(out)
	return out
}

// widestPercent is the end of the scale: what one in fifty widths exceeds, rounded up to a fifth of a percent.
func (s *Subject) widestPercent() float64 {
	all := s.widths()
	if len(all) == 0 {
		return 1
	}
	return math.Ceil(all[len(all)*49/50]*5) / 5
}

// drawLegend draws the scale of widths and what the marks mean.
func (s *Subject) drawLegend(c *drawing.Canvas, widest float64) {
	top := s.FOV.Height
	const left, barHeight = 24, 16
	length := s.FOV.Width / 3
	for x := range length {
		c.Fill(left+x, top+14, left+x+1, top+14+barHeight, shade(float64(x)/float64(length)))
	}
	baseline := top + 14 + barHeight + 26
	c.Text(left, baseline, drawing.Left, ink, "0")
	c.Text(left+length, baseline, drawing.Right, ink, fmt.Sprintf("%.1f", widest))
	c.Text(left+length/2, baseline, drawing.Centre, ink, "width, % of the field")
	x := float64(left + length + 60)
	y := float64(top + 14 + barHeight/2)
	c.Dot(x, y, dotPx, ink)
	c.Text(int(x)+16, int(y)+7, drawing.Left, ink, "branch point")
	c.Circle(x, y+30, dotPx/2, linePx-.5, ink)
	c.Text(int(x)+16, int(y)+37, drawing.Left, ink, "end")
	x += 200
	if d := s.Geometry.Disc; d != nil {
		c.Circle(x, y, dotPx/2+1, linePx, ink)
		c.Text(int(x)+18, int(y)+7, drawing.Left, ink, "optic disc; zones A, B, C about it")
		text := "C goes on from B's inner edge"
		if mm := s.Geometry.MillimetresPerPx; mm > 0 {
			text = fmt.Sprintf("its diameter: %.2f mm", mm*d.DiameterPx)
		}
		c.Text(int(x)+18, int(y)+37, drawing.Left, faint, text)
	} else {
		c.Text(int(x), int(y)+7, drawing.Left, faint, "optic disc not found with confidence")
	}
}
