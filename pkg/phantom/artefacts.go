package phantom

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// What stands in front of the retina. Each artefact has random numbers of its own, so that it changes nothing else in the picture.

// flare adds light of the flash that never reached the retina: a pale crescent at the edge of the field of view, which a camera off
// the pupil's axis gives, and two ghosts of its lenses about the middle.
func flare(o Options, v view, pix []float32) {
	random := rand.New(rand.NewPCG(o.Seed, 4))
	between := func(a, b float64) float64 { return a + (b-a)*random.Float64() }
	towards, spread := between(-math.Pi, math.Pi), between(.35, .7) // radians
	depth, strength := between(.10, .2), between(70, 120)           // of the radius; of 255
	crescent := colour{.80, .88, 1}
	type ghost struct{ x, y, r, strength float64 }
	var ghosts []ghost
	for _, side := range []float64{1, -1} {
		away := side * between(.08, .3) * v.r
		ghosts = append(ghosts, ghost{v.cx + away*math.Cos(towards), v.cy + away*math.Sin(towards), between(.03, .07) * v.r, between(18, 45)})
	}
	warm := colour{1, .8, .55}
	for y := range o.Height {
		for x := range o.Width {
			fx, fy := float64(x)+.5, float64(y)+.5
			dx, dy := fx-v.cx, fy-v.cy
			fromCentre := math.Hypot(dx, dy)
			if fromCentre > v.r+2 {
				continue
			}
			turn := math.Remainder(math.Atan2(dy, dx)-towards, 2*math.Pi) / spread
			inwards := (1 - fromCentre/v.r) / depth
			light := strength * math.Exp(-turn*turn-inwards*inwards)
			i := 3 * (y*o.Width + x)
			for k := range 3 {
				pix[i+k] += float32(crescent[k] * light)
			}
			for _, g := range ghosts {
				// Ghosts are pictures of a diaphragm: flat discs with a soft rim.
				rim := (math.Hypot(fx-g.x, fy-g.y) - g.r) / (.45 * g.r)
				light := g.strength / (1 + math.Exp(3*rim))
				for k := range 3 {
					pix[i+k] += float32(warm[k] * light)
				}
			}
		}
	}
}

// lashes lets eyelashes hang into the light, from above or from below: curved shadows that are far out of focus, under a haze that their
// skin throws back.
func lashes(o Options, v view, pix []float32) {
	random := rand.New(rand.NewPCG(o.Seed, 5))
	between := func(a, b float64) float64 { return a + (b-a)*random.Float64() }
	from := 1.0 // below
	if random.IntN(3) == 0 {
		from = -1
	}
	type lash struct{ x, y, lean, bend, length, half, shade float64 }
	hairs := make([]lash, 5+random.IntN(6))
	middle := between(-.3, .3)
	for i := range hairs {
		at := middle + .55*(2*(float64(i)+between(-.3, .3))/float64(len(hairs))-1) // of the radius, along the edge
		hairs[i] = lash{
			x: at, y: math.Sqrt(math.Max(0, 1-at*at)) + .05, lean: .6*at + between(-.15, .15), bend: between(-.5, .5),
			length: between(.15, .5), half: between(.018, .038), shade: between(.18, .4),
		}
	}
	reach, haze := between(.25, .4), between(14, 34)
	skin := colour{1, .8, .62}
	for y := range o.Height {
		for x := range o.Width {
			// In radii from the middle, the lashes' side below.
			ux, uy := (float64(x)+.5-v.cx)/v.r, from*(float64(y)+.5-v.cy)/v.r
			if ux*ux+uy*uy > 1.01 || uy < .25 {
				continue
			}
			pass := 1.0
			for _, h := range hairs {
				// Distance to the hair at this height; hairs are steep, so that it is measured across.
				along := (h.y - uy) / h.length
				if along < 0 || along > 1.2 {
					continue
				}
				centre := h.x + h.lean*(h.y-uy) + h.bend*(h.y-uy)*(h.y-uy)
				thin := h.half * (1.15 - .6*math.Min(1, along))
				d := (ux - centre) / thin
				tip := fade(math.Min(1, math.Max(0, (1.2-along)*2)))
				pass *= 1 - h.shade*tip*math.Exp(-d*d)
			}
			inwards, aside := (1-uy)/reach, (ux-middle)/.8
			glow := haze * math.Exp(-inwards*inwards-aside*aside)
			i := 3 * (y*o.Width + x)
			for k, tint := range skin {
				pix[i+k] = float32(pass*float64(pix[i+k]) + tint*glow)
			}
		}
	}
}

// captionLine is the share of the picture's height that a line of a caption takes.
const captionLine = 1. / 45

// caption burns a text into the margin, as cameras do, in the upper left corner. What would lie on the retina is left out.
func caption(o Options, v view, picture *raster.RGB) {
	face := basicfont.Face7x13
	scale := max(1, int(math.Round(captionLine*float64(o.Height)/float64(face.Height))))
	line := image.NewAlpha(image.Rect(0, 0, face.Advance*len([]rune(o.Caption)), face.Height))
	drawer := font.Drawer{Dst: line, Src: image.NewUniform(color.Opaque), Face: face, Dot: fixed.P(0, face.Ascent)}
	drawer.DrawString(o.Caption)
	margin := face.Height * scale / 2
	for y := range line.Rect.Dy() * scale {
		for x := range line.Rect.Dx() * scale {
			px, py := margin+x, margin+y
			if px >= o.Width || py >= o.Height || line.AlphaAt(x/scale, y/scale).A == 0 {
				continue
			}
			if math.Hypot(float64(px)+.5-v.cx, float64(py)+.5-v.cy) > v.r+2 {
				copy(picture.Pix[3*(py*o.Width+px):], []uint8{235, 235, 215})
			}
		}
	}
}
