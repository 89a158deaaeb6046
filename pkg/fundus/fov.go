package fundus

import (
	"fmt"
	"math"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// FOV is a field of view in source pixels: a circle, cut by four lines and by the picture's border.
type FOV struct {
	CenterX, CenterY float64 // centre of the circle, source pixels; may lie outside the cut lines
	Radius           float64 // of the full circle, source pixels, > 0
	// Cut lines, source pixels: inside is [Left, Right) × [Top, Bottom). Without a cut they are the picture's border.
	Left, Top, Right, Bottom float64
	Width, Height            int // size of the picture, pixels
	// FillsFrame says that no circular edge is visible: the circle is the one around the frame (or around the box within
	// a surround), so that Radius is a lower bound and the scale of the canvas is a guess.
	FillsFrame bool
}

// Validate tells whether the geometry is usable.
func (f FOV) Validate() error {
	for _, v := range []float64{f.CenterX, f.CenterY, f.Radius, f.Left, f.Top, f.Right, f.Bottom} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("the field of view holds a value that is not a number: %+v", f)
		}
	}
	if f.Width < 1 || f.Height < 1 || f.Radius <= 0 || f.Left >= f.Right || f.Top >= f.Bottom {
		return fmt.Errorf("the field of view is empty: %+v", f)
	}
	return nil
}

// Contains tells whether the point (x, y), in source pixels, lies inside the visible FOV.
func (f FOV) Contains(x, y float64) bool {
	dx, dy := x-f.CenterX, y-f.CenterY
	return dx*dx+dy*dy <= f.Radius*f.Radius &&
		x >= math.Max(f.Left, 0) && x < math.Min(f.Right, float64(f.Width)) &&
		y >= math.Max(f.Top, 0) && y < math.Min(f.Bottom, float64(f.Height))
}

// Span returns the columns [first, end) of row y whose pixel centres lie inside the FOV; first == end if there are none.
func (f FOV) Span(y int) (first, end int) {
	cy := float64(y) + 0.5
	dy := cy - f.CenterY
	square := f.Radius*f.Radius - dy*dy
	if y < 0 || y >= f.Height || square < 0 {
		return 0, 0
	}
	half := math.Sqrt(square)
	first = max(0, int(math.Ceil(math.Max(f.CenterX-half, f.Left)-0.5))-1)
	end = min(f.Width, int(math.Floor(math.Min(f.CenterX+half, f.Right)-0.5))+2)
	// The square root rounds: the ends are settled by Contains itself, so that Span and Contains never disagree.
	for first < end && !f.Contains(float64(first)+0.5, cy) {
		first++
	}
	for end > first && !f.Contains(float64(end-1)+0.5, cy) {
		end--
	}
	if end <= first {
		return 0, 0
	}
	return first, end
}

// Mask returns the FOV on the source grid: foreground where the pixel centre lies inside.
func (f FOV) Mask() *raster.Mask {
	m := raster.NewMask(f.Width, f.Height)
	for y := range f.Height {
		first, end := f.Span(y)
		row := m.Pix[y*f.Width : (y+1)*f.Width]
		for x := first; x < end; x++ {
			row[x] = raster.Foreground
		}
	}
	return m
}

// BlankOutside makes black what lies outside the FOV, where cameras write names and dates. p has the size of the FOV's picture.
func (f FOV) BlankOutside(p *raster.RGB) {
	for y := range p.Height {
		first, end := f.Span(y)
		row := p.Pix[3*y*p.Width:][:3*p.Width]
		clear(row[:3*first])
		clear(row[3*end:])
	}
}

// Area returns the number of source pixels inside the FOV.
func (f FOV) Area() int {
	n := 0
	for y := range f.Height {
		first, end := f.Span(y)
		n += end - first
	}
	return n
}

// Coverage returns the share of the frame that lies inside the FOV, 0 to 1.
func (f FOV) Coverage() float64 { return float64(f.Area()) / (float64(f.Width) * float64(f.Height)) }
