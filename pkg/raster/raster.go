// Package raster holds the plain pixel types that Noctua's packages hand to each other. It imports nothing of Noctua.
package raster

import "fmt"

// RGB is an 8-bit colour picture: 3 bytes a pixel (red, green, blue), rows from the top, no padding.
type RGB struct {
	Width, Height int
	Pix           []uint8 // len = 3·Width·Height
}

// NewRGB returns a black picture.
func NewRGB(width, height int) *RGB {
	return &RGB{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
}

// NewRGBIn returns a picture that lies in buffer, whatever that holds, or in new memory where buffer is too small for it. It is for
// decoders, which set every pixel.
func NewRGBIn(buffer []byte, width, height int) *RGB {
	n := 3 * width * height
	if len(buffer) < n {
		return NewRGB(width, height)
	}
	return &RGB{Width: width, Height: height, Pix: buffer[:n]}
}

// Check tells whether the picture's length fits its size.
func (p *RGB) Check() error {
	if p.Width < 1 || p.Height < 1 || len(p.Pix) != 3*p.Width*p.Height {
		return fmt.Errorf("an RGB picture of %d × %d pixels should hold %d bytes, but holds %d", p.Width, p.Height, 3*p.Width*p.Height, len(p.Pix))
	}
	return nil
}

// At returns the pixel at column x and row y.
func (p *RGB) At(x, y int) (r, g, b uint8) {
	i := 3 * (y*p.Width + x)
	return p.Pix[i], p.Pix[i+1], p.Pix[i+2]
}

// Mask is a binary picture: 0 background, 255 foreground, one byte a pixel, rows from the top.
type Mask struct {
	Width, Height int
	Pix           []uint8 // len = Width·Height
}

// Foreground and background of a Mask, the convention of the U-Net paper.
const (
	Background uint8 = 0
	Foreground uint8 = 255
)

// NewMask returns an empty mask.
func NewMask(width, height int) *Mask {
	return &Mask{Width: width, Height: height, Pix: make([]uint8, width*height)}
}

// On tells whether the pixel at column x and row y is foreground.
func (m *Mask) On(x, y int) bool { return m.Pix[y*m.Width+x] != 0 }

// Count returns the number of foreground pixels.
func (m *Mask) Count() int {
	n := 0
	for _, v := range m.Pix {
		if v != 0 {
			n++
		}
	}
	return n
}

// Plane is a float32 picture, e.g. a probability map in [0, 1], rows from the top.
type Plane struct {
	Width, Height int
	Pix           []float32 // len = Width·Height
}

// NewPlane returns a zero plane.
func NewPlane(width, height int) *Plane {
	return &Plane{Width: width, Height: height, Pix: make([]float32, width*height)}
}
