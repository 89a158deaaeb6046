package fundus_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// scene is a drawn photograph with a known field of view.
type scene struct {
	width, height          int
	cx, cy, r              float64
	left, top, right, bott float64 // cuts; right and bott 0: none
	surround               [3]float64
	noise                  float64 // deviation, grey levels
	vignette               float64 // share of the light that is lost at the rim
	gain                   float64 // of the retina; 0: 1
	decorate               func(p *raster.RGB)
}

func (s scene) fov() fundus.FOV {
	f := fundus.FOV{CenterX: s.cx, CenterY: s.cy, Radius: s.r, Left: s.left, Top: s.top, Right: s.right, Bottom: s.bott, Width: s.width, Height: s.height}
	if f.Right == 0 {
		f.Right = float64(s.width)
	}
	if f.Bottom == 0 {
		f.Bottom = float64(s.height)
	}
	return f
}

// draw paints retina with a disc and radial vessels, antialiased at the rim, over the surround.
func (s scene) draw() *raster.RGB {
	p := raster.NewRGB(s.width, s.height)
	random := rand.New(rand.NewPCG(7, 7))
	fov := s.fov()
	gain := s.gain
	if gain == 0 {
		gain = 1
	}
	for y := range s.height {
		for x := range s.width {
			fx, fy := float64(x)+.5, float64(y)+.5
			d := math.Hypot(fx-s.cx, fy-s.cy)
			inside := math.Min(1, math.Max(0, s.r-d+.5))
			if fx < fov.Left || fx >= fov.Right || fy < fov.Top || fy >= fov.Bottom {
				inside = 0
			}
			light := gain * (1 - s.vignette*(d/s.r)*(d/s.r))
			angle := math.Atan2(fy-s.cy, fx-s.cx)
			if math.Abs(math.Sin(4*angle))*d < s.r*.012 {
				light *= .7 // vessels
			}
			retina := [3]float64{190 * light, 95 * light, 45 * light}
			if d < s.r*.15 {
				retina = [3]float64{240 * light, 200 * light, 140 * light}
			}
			for ch := range 3 {
				v := inside*retina[ch] + (1-inside)*s.surround[ch] + s.noise*random.NormFloat64()
				p.Pix[3*(y*s.width+x)+ch] = uint8(math.Round(math.Min(255, math.Max(0, v))))
			}
		}
	}
	if s.decorate != nil {
		s.decorate(p)
	}
	return p
}

// block paints a rectangle.
func block(p *raster.RGB, x0, y0, x1, y1 int, c [3]uint8) {
	for y := max(0, y0); y < min(p.Height, y1); y++ {
		for x := max(0, x0); x < min(p.Width, x1); x++ {
			copy(p.Pix[3*(y*p.Width+x):], c[:])
		}
	}
}

// text paints strokes that look like letters of the given size.
func text(p *raster.RGB, x, y, size, letters int, c [3]uint8) {
	stroke := max(1, size/7)
	for i := range letters {
		lx := x + i*size
		block(p, lx, y, lx+stroke, y+size, c)
		block(p, lx, y, lx+size*2/3, y+stroke, c)
		if i%2 == 0 {
			block(p, lx+size/2, y, lx+size/2+stroke, y+size, c)
		} else {
			block(p, lx, y+size/2, lx+size/2, y+size/2+stroke, c)
		}
	}
}

func scenes() map[string]scene {
	white := [3]uint8{255, 255, 255}
	base := scene{width: 900, height: 800, cx: 447.3, cy: 402.8, r: 371.6, noise: 2, vignette: .3}
	with := func(change func(s *scene)) scene {
		s := base
		change(&s)
		return s
	}
	return map[string]scene{
		"plain":                base,
		"small":                {width: 320, height: 280, cx: 158.2, cy: 141.7, r: 128.4, noise: 2},
		"large":                {width: 4000, height: 3000, cx: 1990.4, cy: 1502.2, r: 1440.8, noise: 3, vignette: .4},
		"without any noise":    with(func(s *scene) { s.noise = 0 }),
		"noisy surround":       with(func(s *scene) { s.noise = 6; s.surround = [3]float64{14, 12, 13} }),
		"dark":                 with(func(s *scene) { s.gain = .35 }),
		"dark rim":             with(func(s *scene) { s.vignette = .75 }),
		"off centre":           with(func(s *scene) { s.cx, s.cy, s.r = 360.2, 430.1, 330 }),
		"cut top and bottom":   with(func(s *scene) { s.top, s.bott = 110, 690 }),
		"cut top":              with(func(s *scene) { s.top = 90 }),
		"cut left and right":   with(func(s *scene) { s.left, s.right = 160, 740 }),
		"cut on all sides":     with(func(s *scene) { s.left, s.right, s.top, s.bott = 140, 755, 100, 705 }),
		"cut by the frame":     {width: 900, height: 560, cx: 450.5, cy: 280.2, r: 400.4, noise: 2, vignette: .2},
		"only corners visible": {width: 900, height: 800, cx: 449, cy: 401, r: 520, noise: 2, vignette: .2},
		"white surround":       with(func(s *scene) { s.surround = [3]float64{255, 255, 255} }),
		"white, cut":           with(func(s *scene) { s.surround = [3]float64{250, 250, 250}; s.top, s.bott = 110, 690 }),
		"grey surround":        with(func(s *scene) { s.surround = [3]float64{128, 128, 128}; s.vignette = .1 }),
		"text in the margin": with(func(s *scene) {
			s.decorate = func(p *raster.RGB) { text(p, 8, 8, 26, 9, white); text(p, 610, 762, 24, 11, white) }
		}),
		"text over the rim": with(func(s *scene) {
			s.decorate = func(p *raster.RGB) { text(p, 60, 100, 44, 5, white); text(p, 560, 700, 40, 8, white) }
		}),
		"band of text below": with(func(s *scene) {
			s.decorate = func(p *raster.RGB) { block(p, 0, 780, 900, 800, white); text(p, 10, 782, 16, 20, [3]uint8{}) }
		}),
		"tab on the rim": with(func(s *scene) {
			s.decorate = func(p *raster.RGB) { block(p, 795, 370, 850, 430, [3]uint8{150, 70, 30}) }
		}),
		"notch in the rim":      with(func(s *scene) { s.decorate = func(p *raster.RGB) { block(p, 400, 20, 450, 70, [3]uint8{}) } }),
		"black frame round all": with(func(s *scene) { s.r = 300 }),
		"shadow of a lid": with(func(s *scene) {
			s.decorate = func(p *raster.RGB) {
				for y := range 150 { // dark above, not straight: no cut
					for x := range p.Width {
						if float64(y) < 100+40*math.Sin(float64(x)/90) {
							i := 3 * (y*p.Width + x)
							p.Pix[i], p.Pix[i+1], p.Pix[i+2] = p.Pix[i]/9, p.Pix[i+1]/9, p.Pix[i+2]/9
						}
					}
				}
			}
		}),
	}
}

func TestFindFOVOnScenes(t *testing.T) {
	t.Parallel()
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := fundus.FindFOV(s.draw())
			if err != nil {
				t.Fatal(err)
			}
			want := s.fov()
			d := dice(got.Mask(), want.Mask())
			line := fmt.Sprintf("Dice %.4f, radius off by %.2f %%, centre by %.2f px, box %g %g %g %g (fills frame: %v)", d, 100*math.Abs(got.Radius-want.Radius)/want.Radius, math.Hypot(got.CenterX-want.CenterX, got.CenterY-want.CenterY), got.Left, got.Top, got.Right, got.Bottom, got.FillsFrame)
			// The radius sets the scale of everything that is measured.
			if d < .99 || math.Abs(got.Radius-want.Radius) > .01*want.Radius || got.FillsFrame {
				t.Error(line)
			} else {
				t.Log(line)
			}
		})
	}
}

// TestFindFOVTurnsWithThePicture flips and turns a picture that is cut on one side: the geometry must follow.
func TestFindFOVTurnsWithThePicture(t *testing.T) {
	t.Parallel()
	s := scene{width: 900, height: 800, cx: 440.3, cy: 410.8, r: 360, top: 130, noise: 2, vignette: .3}
	p := s.draw()
	base, err := fundus.FindFOV(p)
	if err != nil {
		t.Fatal(err)
	}
	flipped := raster.NewRGB(p.Width, p.Height)
	turned := raster.NewRGB(p.Height, p.Width)
	for y := range p.Height {
		for x := range p.Width {
			from := p.Pix[3*(y*p.Width+x):][:3]
			copy(flipped.Pix[3*((p.Height-1-y)*p.Width+x):], from)
			copy(turned.Pix[3*(x*p.Height+y):], from)
		}
	}
	const near = .5 // pixels
	check := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > near {
			t.Errorf("%s: %.2f, expected %.2f", name, got, want)
		}
	}
	f, err := fundus.FindFOV(flipped)
	if err != nil {
		t.Fatal(err)
	}
	check("flipped centre", f.CenterY, 800-base.CenterY)
	check("flipped radius", f.Radius, base.Radius)
	check("flipped cut", f.Bottom, 800-base.Top)
	f, err = fundus.FindFOV(turned)
	if err != nil {
		t.Fatal(err)
	}
	check("turned centre", f.CenterX, base.CenterY)
	check("turned cut", f.Left, base.Top)
	if again, _ := fundus.FindFOV(p); again != base {
		t.Errorf("the same picture gave %+v and %+v", base, again)
	}
}

func TestFindFOVWhereTheRetinaFillsTheFrame(t *testing.T) {
	t.Parallel()
	inner := scene{width: 700, height: 500, cx: 350, cy: 250, r: 600, noise: 3, vignette: .2}
	boxed := raster.NewRGB(900, 620)
	p := inner.draw()
	for y := range p.Height {
		copy(boxed.Pix[3*((y+60)*900+100):][:3*700], p.Pix[3*y*700:])
	}
	for name, c := range map[string]struct {
		p               *raster.RGB
		left, top, r, b float64
	}{
		"whole frame":       {p, 0, 0, 700, 500},
		"box in a surround": {boxed, 100, 60, 800, 560},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := fundus.FindFOV(c.p)
			if err != nil {
				t.Fatal(err)
			}
			if !f.FillsFrame || math.Abs(f.Left-c.left) > 3 || math.Abs(f.Top-c.top) > 3 || math.Abs(f.Right-c.r) > 3 || math.Abs(f.Bottom-c.b) > 3 {
				t.Errorf("got %+v", f)
			}
			if want := math.Hypot(700, 500) / 2; math.Abs(f.Radius-want) > 4 {
				t.Errorf("radius %.1f, expected %.1f", f.Radius, want)
			}
		})
	}
}

func TestFindFOVRefuses(t *testing.T) {
	t.Parallel()
	flat := func(w, h int, c [3]uint8) *raster.RGB {
		p := raster.NewRGB(w, h)
		block(p, 0, 0, w, h, c)
		return p
	}
	noise := flat(400, 300, [3]uint8{})
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(random.IntN(256))
	}
	monochrome := scene{width: 600, height: 500, cx: 300, cy: 250, r: 220, noise: 0}.draw()
	for i := 0; i < len(monochrome.Pix); i += 3 {
		monochrome.Pix[i+1], monochrome.Pix[i+2] = monochrome.Pix[i], monochrome.Pix[i]
	}
	blue := scene{width: 600, height: 500, cx: 300, cy: 250, r: 220, noise: 0}.draw()
	for i := 0; i < len(blue.Pix); i += 3 {
		blue.Pix[i], blue.Pix[i+2] = blue.Pix[i+2], blue.Pix[i]
	}
	page := flat(500, 700, [3]uint8{255, 255, 255})
	for row := range 20 {
		text(page, 40, 40+row*30, 18, 20, [3]uint8{20, 20, 20})
	}
	square := flat(600, 500, [3]uint8{})
	block(square, 200, 150, 380, 300, [3]uint8{190, 90, 40})
	landscape := flat(600, 400, [3]uint8{90, 140, 220})
	block(landscape, 0, 200, 600, 400, [3]uint8{60, 130, 50})
	dark := flat(500, 400, [3]uint8{2, 2, 2})
	text(dark, 10, 10, 20, 8, [3]uint8{255, 255, 255})
	for name, p := range map[string]*raster.RGB{
		"black": flat(500, 400, [3]uint8{}), "white": flat(500, 400, [3]uint8{255, 255, 255}), "red": flat(500, 400, [3]uint8{180, 80, 40}),
		"one pixel": flat(1, 1, [3]uint8{200, 90, 40}), "a line": flat(5000, 2, [3]uint8{200, 90, 40}),
		"noise": noise, "monochrome": monochrome, "blue": blue, "a page of text": page, "a small square": square, "a landscape": landscape,
		"black with a label": dark,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := fundus.FindFOV(p)
			want := fundus.CodeNotFound
			switch name {
			case "noise", "monochrome", "blue", "a landscape": // something that could be a field of view, but no retina
				want = fundus.CodeNotFundus
			}
			if fault.CodeOf(err) != want || !fault.Is(err, fault.Invalid) || !fundus.Refused(err) {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
	if _, err := fundus.FindFOV(&raster.RGB{Width: 100, Height: 100}); !fault.Is(err, fault.Internal) {
		t.Errorf("a picture without pixels: %v", err)
	}
}

// FuzzFindFOV feeds arbitrary pixels: no panic, and what is found is usable.
func FuzzFindFOV(f *testing.F) {
	f.Add(uint16(80), uint16(70), []byte{0, 0, 0, 200, 90, 40, 255, 255, 255})
	f.Add(uint16(64), uint16(200), []byte{1})
	f.Fuzz(func(t *testing.T, w, h uint16, seed []byte) {
		p := raster.NewRGB(1+int(w)%400, 1+int(h)%400)
		for i := range p.Pix {
			if len(seed) > 0 {
				p.Pix[i] = seed[i/97%len(seed)] ^ seed[i%len(seed)]
			}
		}
		fov, err := fundus.FindFOV(p)
		if err != nil {
			if !fundus.Refused(err) {
				t.Fatal(err)
			}
			return
		}
		if err := fov.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}
