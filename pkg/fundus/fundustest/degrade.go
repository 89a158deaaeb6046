// Package fundustest degrades photographs in the ways in which cameras and exports do, step by step, for tests.
package fundustest

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Shrunk averages squares of k × k pixels.
func Shrunk(p *raster.RGB, k int) *raster.RGB {
	out := raster.NewRGB(p.Width/k, p.Height/k)
	for y := range out.Height {
		for x := range out.Width {
			var sum [3]int
			for sy := y * k; sy < (y+1)*k; sy++ {
				for sx := x * k; sx < (x+1)*k; sx++ {
					for c := range 3 {
						sum[c] += int(p.Pix[3*(sy*p.Width+sx)+c])
					}
				}
			}
			for c := range 3 {
				out.Pix[3*(y*out.Width+x)+c] = uint8((sum[c] + k*k/2) / (k * k))
			}
		}
	}
	return out
}

// Photograph is a picture with its field of view, from which degraded ones are made.
type Photograph struct {
	*raster.RGB
	FOV  fundus.FOV
	Mask *raster.Mask // of FOV
	Mean [3]float64   // of red, green and blue inside it, grey levels
}

// Open finds the field of view of a picture that is to be degraded.
func Open(p *raster.RGB) (Photograph, error) {
	fov, err := fundus.FindFOV(p)
	if err != nil {
		return Photograph{}, err
	}
	out := Photograph{RGB: p, FOV: fov, Mask: fov.Mask()}
	area := float64(fov.Area())
	for i, m := range out.Mask.Pix {
		if m != 0 {
			for c := range 3 {
				out.Mean[c] += float64(p.Pix[3*i+c]) / area
			}
		}
	}
	return out, nil
}

// Each changes the values inside the field of view, or everywhere.
func (p Photograph) Each(everywhere bool, change func(v float64, channel int) float64) *raster.RGB {
	out := raster.NewRGB(p.Width, p.Height)
	copy(out.Pix, p.Pix)
	for i, v := range p.Pix {
		if everywhere || p.Mask.Pix[i/3] != 0 {
			out.Pix[i] = uint8(math.Round(min(255, max(0, change(float64(v), i%3)))))
		}
	}
	return out
}

// Blurred is p through three box filters, which are nearly a Gaussian of deviation sigma (pixels). inside: the retina is out of
// focus and the edge of the field of view is not, as in a camera, whose mask lies in another plane.
func (p Photograph) Blurred(sigma float64, inside bool) *raster.RGB {
	radius := int(math.Round((math.Sqrt(4*sigma*sigma+1) - 1) / 2)) // variance of three boxes: ((2r+1)² − 1)/4
	const channels = 4                                              // and the weight
	w, h := p.Width, p.Height
	pix := make([]float64, channels*w*h)
	for i := range w * h {
		if inside && p.Mask.Pix[i] == 0 {
			continue
		}
		for c := range 3 {
			pix[channels*i+c] = float64(p.Pix[3*i+c])
		}
		pix[channels*i+3] = 1
	}
	line := make([]float64, max(w, h))
	box := func(start, stride, n int) {
		for range 3 {
			sum := 0.0
			for i := -radius; i < n; i++ {
				if j := i + radius; j < n {
					sum += pix[start+j*stride]
				}
				if i < 0 {
					continue
				}
				line[i] = sum
				if j := i - radius; j >= 0 {
					sum -= pix[start+j*stride]
				}
			}
			for i := range n {
				pix[start+i*stride] = line[i]
			}
		}
	}
	for y := range h {
		for c := range channels {
			box(channels*y*w+c, channels, w)
		}
	}
	for x := range w {
		for c := range channels {
			box(channels*x+c, channels*w, h)
		}
	}
	out := raster.NewRGB(w, h)
	copy(out.Pix, p.Pix)
	for i := range w * h {
		if weight := pix[channels*i+3]; weight > 0 && (!inside || p.Mask.Pix[i] != 0) {
			for c := range 3 {
				out.Pix[3*i+c] = uint8(min(255, pix[channels*i+c]/weight+.5))
			}
		}
	}
	return out
}

// Covered blackens the upper share of the field of view's diameter.
func (p Photograph) Covered(share float64) *raster.RGB {
	out := raster.NewRGB(p.Width, p.Height)
	copy(out.Pix, p.Pix)
	top := max(0, p.FOV.Top, p.FOV.CenterY-p.FOV.Radius)
	bottom := min(float64(p.Height), p.FOV.CenterY+p.FOV.Radius)
	clear(out.Pix[:3*p.Width*int(top+share*(bottom-top))])
	return out
}

// Cropped cuts the right share of the field of view's diameter off the frame.
func (p Photograph) Cropped(share float64) *raster.RGB {
	out := raster.NewRGB(int(p.FOV.CenterX+p.FOV.Radius-share*2*p.FOV.Radius), p.Height)
	for y := range out.Height {
		copy(out.Pix[3*y*out.Width:][:3*out.Width], p.Pix[3*y*p.Width:])
	}
	return out
}
