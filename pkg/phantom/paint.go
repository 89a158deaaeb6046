package phantom

import (
	"math"
	"math/rand/v2"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// colour is a red, green and blue amount: light on 0 … 255, or a factor.
type colour [3]float64

func mix(a, b colour, t float64) colour {
	for i := range a {
		a[i] += t * (b[i] - a[i])
	}
	return a
}

// vessels is the tree on the pixel grid.
type vessels struct {
	depth    [2][]float32 // by kind: how much blood the light passes, 0 to about 1
	reflex   []float32    // light that a wide artery throws back from its middle
	on       [2][]bool    // by kind: the truth
	strength func(halfDeg float64) float64
}

// draw paints a vessel's segment.
func (t *vessels) draw(s segment, v view, width, height int) {
	ax, ay := v.pixel(s.a)
	bx, by := v.pixel(s.b)
	// Vessels finer than a pixel do not vanish; they become pale, which strength sees to.
	ra, rb := math.Max(s.ra*v.pxPerDegree, .5), math.Max(s.rb*v.pxPerDegree, .5)
	reach := math.Max(ra, rb) + 1
	x0, x1 := max(0, int(math.Min(ax, bx)-reach)), min(width-1, int(math.Max(ax, bx)+reach))
	y0, y1 := max(0, int(math.Min(ay, by)-reach)), min(height-1, int(math.Max(ay, by)+reach))
	dx, dy := bx-ax, by-ay
	square := dx*dx + dy*dy
	strength := t.strength((s.ra + s.rb) / 2)
	for y := y0; y <= y1; y++ {
		for x := x0; x <= x1; x++ {
			px, py := float64(x)+.5-ax, float64(y)+.5-ay
			along := 0.0
			if square > 0 {
				along = math.Min(math.Max((px*dx+py*dy)/square, 0), 1)
			}
			d := math.Hypot(px-along*dx, py-along*dy)
			r := ra + along*(rb-ra)
			if d > r+.5 {
				continue
			}
			i := y*width + x
			if d <= r {
				t.on[s.kind][i] = true
			}
			// A round tube is deepest in its middle; the half pixel at its edge softens the step.
			u := d / (r + .5)
			depth := float32(strength * math.Sqrt(math.Max(0, 1-u*u)))
			if depth > t.depth[s.kind][i] {
				t.depth[s.kind][i] = depth
			}
			if s.kind == artery && r > 2 {
				u := d / (.28 * r)
				if glint := float32(strength * math.Exp(-u*u)); glint > t.reflex[i] {
					t.reflex[i] = glint
				}
			}
		}
	}
}

// scene is everything that the light of one photograph depends on.
type scene struct {
	retina, disc, cup    colour
	artery, vein         colour // factors at full depth
	tilt                 point  // relative gain of light per degree
	falloff              float64
	mottle               [4]*smoothNoise
	amplitude            [4]float64
	choroid              *smoothNoise
	choroidal            float64 // how much the vessels of the choroid show
	discAngle, discShape float64
	exposure             float64
}

func newScene(eye, camera *rand.Rand) scene {
	between := func(r *rand.Rand, a, b float64) float64 { return a + (b-a)*r.Float64() }
	s := scene{
		retina: mix(colour{168, 84, 38}, colour{214, 82, 46}, eye.Float64()),
		disc:   colour{242, between(eye, 165, 190), between(eye, 80, 115)},
		cup:    colour{252, between(eye, 212, 235), between(eye, 135, 180)},
		artery: colour{.93, between(eye, .60, .68), between(eye, .68, .78)}, vein: colour{.80, between(eye, .44, .52), between(eye, .56, .66)},
		tilt: point{between(camera, -.010, .010), between(camera, -.006, .006)}, falloff: between(camera, .18, .42),
		amplitude: [4]float64{.10, .06, .035, .025}, choroidal: between(eye, 0, .10),
		discAngle: between(eye, -.5, .5), discShape: between(eye, .86, .98),
		exposure: between(camera, .88, 1.08),
	}
	for i, cell := range [4]float64{14, 5, 1.6, .45} {
		s.mottle[i] = newSmoothNoise(eye, cell)
	}
	s.choroid = newSmoothNoise(eye, 2.2)
	return s
}

// light returns the colour of the retina at a point, without vessels.
func (s *scene) light(p point) colour {
	tone := 1.0
	for i, n := range s.mottle {
		tone += s.amplitude[i] * n.at(p)
	}
	// The choroid's vessels are pale bands between pigment: ridges of smooth noise, drawn out along one direction.
	ridge := 1 - math.Min(1, 3*math.Abs(s.choroid.at(point{p.x + .5*p.y, p.y * .6})))
	macula := p.x*p.x + p.y*p.y
	dark := .20*math.Exp(-macula/(2*2.6*2.6)) + .17*math.Exp(-macula/(2*.55*.55))
	c := s.retina
	// Pigment takes more of green and blue than of red.
	c[0] *= tone * (1 + .5*s.choroidal*ridge) * (1 - .7*dark)
	c[1] *= tone * tone * (1 + s.choroidal*ridge) * (1 - 1.2*dark)
	c[2] *= tone * (1 + s.choroidal*ridge) * (1 - dark)

	// The disc: an ellipse with a sharp rim, a pale cup in its temporal half, and a glow around it.
	dx, dy := p.x-discXDeg, p.y-discYDeg
	sin, cos := math.Sincos(s.discAngle)
	ex, ey := (dx*cos+dy*sin)/(discRadiusDeg*s.discShape), (dy*cos-dx*sin)/discRadiusDeg
	rho := math.Hypot(ex, ey)
	c = mix(c, mix(c, s.disc, .4), .35*math.Exp(-math.Max(0, rho-1)/.35))
	c = mix(c, s.disc, .82/(1+math.Exp((rho-1)/.045)))
	cup := math.Hypot(dx+.35, dy+.05) / (discRadiusDeg * .48)
	return mix(c, s.cup, .8/(1+math.Exp((cup-1)/.10)))
}

// paint makes the photograph.
func paint(o Options, v view, tree []segment, eye, camera *rand.Rand) *Photograph {
	n := o.Width * o.Height
	t := &vessels{
		depth:  [2][]float32{make([]float32, n), make([]float32, n)},
		reflex: make([]float32, n),
		on:     [2][]bool{make([]bool, n), make([]bool, n)},
		strength: func(half float64) float64 {
			return math.Min(1.05, math.Max(.30, math.Sqrt(half/.13))) * math.Min(1, .35+.65*half*v.pxPerDegree)
		},
	}
	for _, s := range tree {
		t.draw(s, v, o.Width, o.Height)
	}
	s := newScene(eye, camera)
	out := &Photograph{
		Picture: raster.NewRGB(o.Width, o.Height),
		Vessels: raster.NewMask(o.Width, o.Height), Arteries: raster.NewMask(o.Width, o.Height), Veins: raster.NewMask(o.Width, o.Height),
		FOV:     raster.NewMask(o.Width, o.Height),
		CenterX: v.cx, CenterY: v.cy, Radius: v.r, PxPerDegree: v.pxPerDegree, DiscRadiusPx: discRadiusDeg * v.pxPerDegree,
	}
	out.DiscX, out.DiscY = v.pixel(point{discXDeg, discYDeg})
	out.FoveaX, out.FoveaY = v.pixel(point{})

	pix := make([]float32, 3*n)
	for y := range o.Height {
		for x := range o.Width {
			i := y*o.Width + x
			fx, fy := float64(x)+.5, float64(y)+.5
			fromCentre := math.Hypot(fx-v.cx, fy-v.cy)
			if fromCentre <= v.r {
				out.FOV.Pix[i] = raster.Foreground
				out.mark(i, t.on[artery][i], t.on[vein][i])
			}
			if fromCentre > v.r+2 {
				continue
			}
			p := v.degrees(fx, fy)
			c := s.light(p)
			rho := fromCentre / v.r
			gain := s.exposure * (1 - s.falloff*rho*rho) * (1 + s.tilt.x*(p.x-v.centre.x) + s.tilt.y*(p.y-v.centre.y))
			a, b, glint := float64(t.depth[artery][i]), float64(t.depth[vein][i]), float64(t.reflex[i])
			for k := range c {
				// Light that passes blood twice loses a factor for each depth (Lambert and Beer).
				c[k] *= gain * math.Pow(s.artery[k], a) * math.Pow(s.vein[k], b) * (1 + .10*glint)
				pix[3*i+k] = float32(c[k])
			}
		}
	}
	if o.Flare {
		flare(o, v, pix)
	}
	if o.Lashes {
		lashes(o, v, pix)
	}
	expose(o, v, camera, pix)
	for i, value := range pix {
		out.Picture.Pix[i] = uint8(math.Min(255, math.Max(0, math.Round(float64(value)))))
	}
	if o.Caption != "" {
		caption(o, v, out.Picture)
	}
	return out
}

func (p *Photograph) mark(i int, isArtery, isVein bool) {
	if isArtery {
		p.Arteries.Pix[i] = raster.Foreground
	}
	if isVein {
		p.Veins.Pix[i] = raster.Foreground
	}
	if isArtery || isVein {
		p.Vessels.Pix[i] = raster.Foreground
	}
}

// Blur and noise of the camera.
const (
	opticsDeg  = .028 // standard deviation of a sharp picture's blur
	defocusDeg = .75  // and of an unsharp one's
	readNoise  = 1.1  // of 255, everywhere
	shotNoise  = .17  // of 255, times the root of the light
)

// expose does what the camera does to the light: blur, the edge of the field of view, noise.
func expose(o Options, v view, camera *rand.Rand, pix []float32) {
	sigma, brightness, haze := opticsDeg, 1.0, 0.0
	switch o.Defect {
	case NoDefect:
	case Dark:
		brightness = .045
	case Blurred:
		sigma, haze = defocusDeg, .35
	}
	blur(pix, o.Width, o.Height, math.Max(.6, sigma*v.pxPerDegree))
	for y := range o.Height {
		for x := range o.Width {
			i := 3 * (y*o.Width + x)
			// The field stop lies in the camera and is sharp whatever the eye does.
			inside := math.Min(1, math.Max(0, v.r+.5-math.Hypot(float64(x)+.5-v.cx, float64(y)+.5-v.cy)))
			for k := range 3 {
				value := float64(pix[i+k])
				value = inside * brightness * (value + haze*([3]float64{170, 110, 70}[k]-value))
				value += camera.NormFloat64() * math.Hypot(readNoise, shotNoise*math.Sqrt(value))
				pix[i+k] = float32(value + 1.5*(1-inside))
			}
		}
	}
	if o.Defect == NoDefect {
		// Cameras smooth their noise a little when they make colours of a sensor's mosaic.
		blur(pix, o.Width, o.Height, .45)
	}
}
