package fundus

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Canvas is the canonical grid of a model for one picture: a frame of Width × Height pixels with the picture's FOV circle,
// DiameterPx wide, in its middle. Make one with NewCanvas.
type Canvas struct {
	FOV           FOV
	Width, Height int     // pixels
	DiameterPx    float64 // diameter of the FOV circle on the canvas, pixels
}

// Image is a float32 colour picture on the canvas, planar: all of red, then green, then blue, each Width·Height values in
// rows from the top. It is what a network takes as NCHW with N = 1.
type Image struct {
	Width, Height int
	Pix           []float32 // len = 3·Width·Height
}

// channels of an Image.
const channels = 3

// NewCanvas lays a canvas over the field of view.
func NewCanvas(fov FOV, width, height int, diameterPx float64) (Canvas, error) {
	if err := fov.Validate(); err != nil {
		return Canvas{}, fault.Wrap(fault.Internal, "canvas-geometry", err, "a canvas needs a field of view")
	}
	if width < 1 || height < 1 || !(diameterPx > 0) {
		return Canvas{}, fault.New(fault.Internal, "canvas-geometry", "a canvas of %d × %d pixels with a field of view of %g pixels is empty", width, height, diameterPx)
	}
	return Canvas{FOV: fov, Width: width, Height: height, DiameterPx: diameterPx}, nil
}

// Scale returns canvas pixels per source pixel.
func (c Canvas) Scale() float64 { return c.DiameterPx / (2 * c.FOV.Radius) }

// ToSource returns the point of the picture, in source pixels, that lies under the point (x, y) of the canvas.
func (c Canvas) ToSource(x, y float64) (float64, float64) {
	s := c.Scale()
	return c.FOV.CenterX + (x-float64(c.Width)/2)/s, c.FOV.CenterY + (y-float64(c.Height)/2)/s
}

// FromSource is the inverse of ToSource.
func (c Canvas) FromSource(x, y float64) (float64, float64) {
	s := c.Scale()
	return float64(c.Width)/2 + (x-c.FOV.CenterX)*s, float64(c.Height)/2 + (y-c.FOV.CenterY)*s
}

// Mask returns the FOV on the canvas: foreground where the centre of the canvas pixel lies inside the visible FOV.
func (c Canvas) Mask() *raster.Mask {
	m := raster.NewMask(c.Width, c.Height)
	for y := range c.Height {
		for x := range c.Width {
			if c.FOV.Contains(c.ToSource(float64(x)+0.5, float64(y)+0.5)) {
				m.Pix[y*c.Width+x] = raster.Foreground
			}
		}
	}
	return m
}

// canvasWeights are the filters that bring the picture to the canvas.
func (c Canvas) canvasWeights() (columns, rows *triangleWeights) {
	s := c.Scale()
	axis := func(n int, centre float64, sourcePx int) *triangleWeights {
		at := make([]float64, n)
		for i := range at {
			at[i] = centre + (float64(i)+0.5-float64(n)/2)/s
		}
		return newTriangleWeights(at, 1/s, sourcePx)
	}
	return axis(c.Width, c.FOV.CenterX, c.FOV.Width), axis(c.Height, c.FOV.CenterY, c.FOV.Height)
}

// sourceWeights are the filters that bring a canvas map back to the picture.
func (c Canvas) sourceWeights() (columns, rows *triangleWeights) {
	s := c.Scale()
	axis := func(n int, centre float64, canvasPx int) *triangleWeights {
		at := make([]float64, n)
		for i := range at {
			at[i] = float64(canvasPx)/2 + (float64(i)+0.5-centre)*s
		}
		return newTriangleWeights(at, s, canvasPx)
	}
	return axis(c.FOV.Width, c.FOV.CenterX, c.Width), axis(c.FOV.Height, c.FOV.CenterY, c.Height)
}

// ToCanvas brings the picture to the canvas. Values stay 0..255; what lies outside the picture is 0.
func (c Canvas) ToCanvas(p *raster.RGB) (*Image, error) {
	if err := p.Check(); err != nil {
		return nil, fault.Wrap(fault.Internal, "canvas-picture", err, "bringing a picture to the canvas")
	}
	if p.Width != c.FOV.Width || p.Height != c.FOV.Height {
		return nil, fault.New(fault.Internal, "canvas-picture", "the picture has %d × %d pixels, but its field of view was found on %d × %d", p.Width, p.Height, c.FOV.Width, c.FOV.Height)
	}
	columns, rows := c.canvasWeights()
	out := &Image{Width: c.Width, Height: c.Height, Pix: make([]float32, channels*c.Width*c.Height)}
	plane := c.Width * c.Height
	horizontal := func(j int, half []float32) {
		source := p.Pix[channels*j*p.Width:][:channels*p.Width]
		for i := range c.Width {
			var r, g, b float32
			taps := columns.weight[columns.offset[i]:][:columns.count[i]]
			pixels := source[channels*columns.first[i]:]
			for k, w := range taps {
				r += float32(w * float32(pixels[channels*k]))
				g += float32(w * float32(pixels[channels*k+1]))
				b += float32(w * float32(pixels[channels*k+2]))
			}
			half[i], half[c.Width+i], half[2*c.Width+i] = r, g, b
		}
	}
	separable(rows, c.Width, channels, horizontal, func(i int, row []float32) {
		for ch := range channels {
			copy(out.Pix[ch*plane+i*c.Width:][:c.Width], row[ch*c.Width:])
		}
	})
	return out, nil
}

// fromCanvas resamples a canvas plane to source pixels and hands over finished rows, in any order and concurrently; columns
// outside [first, end) of a row lie outside the FOV and are to be taken as 0.
func (c Canvas) fromCanvas(plane *raster.Plane, emit func(y, first, end int, row []float32)) error {
	if plane.Width != c.Width || plane.Height != c.Height || len(plane.Pix) != c.Width*c.Height {
		return fault.New(fault.Internal, "canvas-plane", "the map has %d × %d pixels, but the canvas %d × %d", plane.Width, plane.Height, c.Width, c.Height)
	}
	columns, rows := c.sourceWeights()
	horizontal := func(j int, half []float32) {
		source := plane.Pix[j*c.Width:][:c.Width]
		for i := range half {
			var v float32
			pixels := source[columns.first[i]:]
			for k, w := range columns.weight[columns.offset[i]:][:columns.count[i]] {
				v += float32(w * pixels[k])
			}
			half[i] = v
		}
	}
	separable(rows, c.FOV.Width, 1, horizontal, func(y int, row []float32) {
		first, end := c.FOV.Span(y)
		emit(y, first, end, row)
	})
	return nil
}

// FromCanvas brings a map on the canvas, e.g. a probability, back to the picture's own pixels; outside the FOV it is 0.
func (c Canvas) FromCanvas(plane *raster.Plane) (*raster.Plane, error) {
	out := raster.NewPlane(c.FOV.Width, c.FOV.Height)
	err := c.fromCanvas(plane, func(y, first, end int, row []float32) {
		copy(out.Pix[y*out.Width+first:y*out.Width+end], row[first:end])
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// MaskFromCanvas is Threshold of FromCanvas, without keeping the map of the whole picture in memory.
func (c Canvas) MaskFromCanvas(plane *raster.Plane, threshold float64) (*raster.Mask, error) {
	out := raster.NewMask(c.FOV.Width, c.FOV.Height)
	limit := float32(threshold)
	err := c.fromCanvas(plane, func(y, first, end int, row []float32) {
		for x := first; x < end; x++ {
			if row[x] >= limit {
				out.Pix[y*out.Width+x] = raster.Foreground
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Threshold returns where the map is at least threshold.
func Threshold(plane *raster.Plane, threshold float64) *raster.Mask {
	out := raster.NewMask(plane.Width, plane.Height)
	limit := float32(threshold)
	for i, v := range plane.Pix {
		if v >= limit {
			out.Pix[i] = raster.Foreground
		}
	}
	return out
}

// And keeps the foreground of m that is also foreground of other, in place; both have the same size.
func And(m, other *raster.Mask) {
	for i, v := range other.Pix {
		if v == 0 {
			m.Pix[i] = raster.Background
		}
	}
}

// Normalisation is what Normalise subtracted and divided by.
type Normalisation struct {
	Mean [channels]float64 // of red, green and blue inside the FOV, grey levels 0..255
	Std  [channels]float64 // population standard deviation, grey levels, as measured (the divisor is at least MinStd)
}

// MinStd is the smallest divisor of Normalise, grey levels: a channel below it carries no signal, only noise.
const MinStd = 1.0

// Normalise brings every channel to mean 0 and deviation 1 over the pixels inside mask, in place, and sets the others to 0:
// (v − mean) / max(std, MinStd).
func Normalise(img *Image, mask *raster.Mask) (Normalisation, error) {
	var n Normalisation
	if mask.Width != img.Width || mask.Height != img.Height {
		return n, fault.New(fault.Internal, "canvas-mask", "the mask has %d × %d pixels, but the canvas %d × %d", mask.Width, mask.Height, img.Width, img.Height)
	}
	count := mask.Count()
	if count == 0 {
		return n, fault.New(fault.Invalid, CodeNotFound, "the field of view holds no pixel: use a photograph that shows the retina")
	}
	plane := img.Width * img.Height
	for ch := range channels {
		pix := img.Pix[ch*plane:][:plane]
		var sum float64
		for i, v := range pix {
			if mask.Pix[i] != 0 {
				sum += float64(v)
			}
		}
		mean := sum / float64(count)
		var squares float64
		for i, v := range pix {
			if mask.Pix[i] != 0 {
				d := float64(v) - mean
				squares += d * d
			}
		}
		std := math.Sqrt(squares / float64(count))
		n.Mean[ch], n.Std[ch] = mean, std
		m, s := float32(mean), float32(math.Max(std, MinStd))
		for i, v := range pix {
			if mask.Pix[i] == 0 {
				pix[i] = 0
				continue
			}
			pix[i] = (v - m) / s
		}
	}
	return n, nil
}
