package vesselmap

import (
	"image"
	"math"
	"testing"

	"github.com/noctua-screening/noctua/pkg/drawing"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

const size = 512

// drawn is a thin and a broad vessel, a Y, on a white photograph.
func drawn(t *testing.T, disc *vessel.Circle) Subject {
	t.Helper()
	s := Subject{Photo: raster.NewRGB(size, size), Vessels: raster.NewMask(size, size), FOV: raster.NewMask(size, size),
		Geometry: vessel.Geometry{FOVDiameterPx: size - 20, Disc: disc, Eye: vessel.RightEye}}
	for i := range s.Photo.Pix {
		s.Photo.Pix[i] = 255
	}
	for y := range size {
		for x := range size {
			on := y >= 100 && y < 103 || y >= 400 && y < 414 || x >= 250 && x < 258 && y > 100 && y < 330
			if math.Hypot(float64(x)+.5-size/2, float64(y)+.5-size/2) < size/2-10 {
				s.FOV.Pix[y*size+x] = raster.Foreground
			}
			if on {
				s.Vessels.Pix[y*size+x] = raster.Foreground
			}
		}
	}
	var err error
	if s.Measured, err = vessel.Measure(s.Vessels, s.FOV, s.Geometry); err != nil {
		t.Fatal(err)
	}
	return s
}

func at(p *image.RGBA, x, y int) drawing.Colour {
	c := p.RGBAAt(x, y)
	return drawing.Colour(c.R)<<16 | drawing.Colour(c.G)<<8 | drawing.Colour(c.B)
}

func TestOverview(t *testing.T) {
	t.Parallel()
	disc := &vessel.Circle{X: 330, Y: 256, DiameterPx: 60}
	s := drawn(t, disc)
	p, err := Overview(s)
	if err != nil {
		t.Fatal(err)
	}
	widest := s.widestPercent()
	for _, tc := range []struct {
		what string
		x, y int
		want drawing.Colour
	}{
		{"outside the field", 3, 3, 0},
		{"the photograph, dark", 200, 300, backdropGrey * 0x10101},
		{"a thin vessel", 350, 101, shade(3. / 492 * 100 / widest)},
		{"a broad vessel", 350, 407, shade(14. / 492 * 100 / widest)},
		{"a branch point", 254, 101, ink},
		{"the edge of the disc", 330, 226, ink},
		{"a quadrant's border, between two rows", 120, 256, mixed(backdropGrey*0x10101, faint, .6)},
	} {
		got := at(p, tc.x, tc.y)
		for shift := 0; shift < 24; shift += 8 {
			if d := int(got>>shift&255) - int(tc.want>>shift&255); d < -24 || d > 24 {
				t.Errorf("%s is %06x, want about %06x", tc.what, uint32(got), uint32(tc.want))
				break
			}
		}
	}
	without, err := Overview(drawn(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if at(without, 330, 226) == ink {
		t.Error("a disc that was not found is drawn")
	}
}

// TestEveryMeasureHasItsPicture: each differs from the bare photograph, and from those of other kinds.
func TestEveryMeasureHasItsPicture(t *testing.T) {
	t.Parallel()
	s := drawn(t, &vessel.Circle{X: 256, Y: 256, DiameterPx: 60})
	c, err := s.backdrop(0)
	if err != nil {
		t.Fatal(err)
	}
	bare := string(reduced(c.RGBA).Pix)
	seen := map[string]string{bare: "the bare photograph"}
	// These look at the same pixels, by another scale or line.
	same := map[string]bool{vessel.FractalFit: true, vessel.LengthPerMillimetre: true, vessel.LengthPerDegree: true, vessel.WidthMicrometres: true, vessel.WidthDegrees: true,
		vessel.FractalDimensionOpen: true} // no box of 32 px is full here
	for _, d := range vessel.Definitions() {
		p, err := Measure(s, d.Name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Bounds().Dx() != MeasurePx {
			t.Errorf("%s is %d px wide", d.Name, p.Bounds().Dx())
		}
		if other, known := seen[string(p.Pix)]; known && !same[d.Name] {
			t.Errorf("%s looks like %s", d.Name, other)
		}
		seen[string(p.Pix)] = d.Name
	}
	for _, r := range vessel.Regions() {
		p, err := Region(s, r.Name)
		if err != nil {
			t.Fatal(err)
		}
		if other, known := seen[string(p.Pix)]; known {
			t.Errorf("%s looks like %s", r.Name, other)
		}
		seen[string(p.Pix)] = r.Name
	}
	if _, err := Measure(s, "beauty"); err == nil {
		t.Error("a picture of no measure was drawn")
	}
	s.Geometry.Disc = nil
	if _, err := Region(s, vessel.RegionZoneB); err == nil {
		t.Error("a zone about no disc was drawn")
	}
	s.Photo = raster.NewRGB(2, 2)
	if _, err := Overview(s); err == nil {
		t.Error("a photograph of another size was drawn")
	}
}
