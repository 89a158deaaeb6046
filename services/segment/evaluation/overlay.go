package evaluation

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"github.com/noctua-screening/noctua/pkg/drawing"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Sizes of overlays, pixels.
const (
	overlaySidePx = 1600 // longest side of one that is kept, caption included
	sheetSidePx   = 410  // longest side of one in the figure
	minOverlayPx  = 700  // a small picture is enlarged, so that its caption fits: columns at least
)

// Colours of what was found, by Okabe and Ito's palette for readers who do not tell red from green; they also differ in brightness, and
// the photograph below them is grey, so that they cannot be taken for the retina's own colours.
const (
	hitColour   rgb = 0xf5f1dc // in label and mask: near white
	missColour  rgb = 0xff9100 // in the label only: orange
	falseColour rgb = 0x38a8ff // in the mask only: sky blue
)

// Brightness of the photograph below the colours, in and out of the field of view, once its brightest parts are stretched to white.
const (
	groundShare   = .6
	outsideShare  = .2
	brightestRank = .995 // share of the field of view that is darker than what becomes white
)

// lineGain widens what little of a thin vessel remains in a pixel of a reduced picture.
const lineGain = 1.6

// overlayOf draws a photograph in grey with hits, misses and false vessels in colour, reduced so that its longest side is at most
// sidePx. The masks are already cut to fov, which may be nil.
func overlayOf(picture *raster.RGB, mask, label, fov *raster.Mask, sidePx int) *image.RGBA {
	w, h := scaledTo(picture.Width, picture.Height, sidePx)
	stretch := stretchOf(picture, fov)
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		y0, y1 := span(y, h, picture.Height)
		for x := range w {
			x0, x1 := span(x, w, picture.Width)
			out.SetRGBA(x, y, overlayPixel(picture, mask, label, fov, stretch, x0, y0, x1, y1))
		}
	}
	return out
}

// stretchOf is the factor that makes the bright parts of the field of view white: photographs of dark fundi would be black otherwise.
func stretchOf(picture *raster.RGB, fov *raster.Mask) float64 {
	var counts [256]int
	all := 0
	for i := range picture.Width * picture.Height {
		if fov == nil || fov.Pix[i] != 0 {
			counts[picture.Pix[3*i+1]]++
			all++
		}
	}
	below := 0
	for level, n := range counts {
		if below += n; level > 0 && float64(below) >= brightestRank*float64(all) {
			return 255 / float64(level)
		}
	}
	return 1
}

// span is the part of n source pixels under pixel i of m: at least one.
func span(i, m, n int) (first, end int) {
	first = i * n / m
	return first, max(first+1, (i+1)*n/m)
}

// scaledTo reduces a size so that its longest side is at most sidePx.
func scaledTo(width, height, sidePx int) (int, int) {
	longest := max(width, height)
	if longest <= sidePx {
		return width, height
	}
	return max(1, width*sidePx/longest), max(1, height*sidePx/longest)
}

// overlayPixel mixes the pixels of a box.
func overlayPixel(picture *raster.RGB, mask, label, fov *raster.Mask, stretch float64, x0, y0, x1, y1 int) color.RGBA {
	var grey, inFOV, hits, misses, falses float64
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			i := y*picture.Width + x
			// Green shows the vessels best.
			grey += float64(picture.Pix[3*i+1])
			if fov == nil || fov.Pix[i] != 0 {
				inFOV++
			}
			switch m, l := mask.Pix[i] != 0, label.Pix[i] != 0; {
			case m && l:
				hits++
			case l:
				misses++
			case m:
				falses++
			}
		}
	}
	n := float64((x1 - x0) * (y1 - y0))
	ground := min(255, stretch*grey/n) * (outsideShare + (groundShare-outsideShare)*inFOV/n)
	marked := hits + misses + falses
	if marked == 0 {
		v := uint8(ground)
		return color.RGBA{v, v, v, 255}
	}
	cover := 1.0
	if n > 1 {
		cover = min(1, lineGain*marked/n)
	}
	mix := func(shift uint) uint8 {
		channel := func(c rgb) float64 { return float64(uint8(c >> shift)) }
		over := (hits*channel(hitColour) + misses*channel(missColour) + falses*channel(falseColour)) / marked
		return uint8(ground + cover*(over-ground) + .5)
	}
	return color.RGBA{mix(16), mix(8), mix(0), 255}
}

// captioned puts a picture's figures above its overlay and a legend below.
func captioned(p Picture, overlay *image.RGBA) (*image.RGBA, error) {
	scale := 1
	if overlay.Bounds().Dx() < minOverlayPx {
		scale = (minOverlayPx + overlay.Bounds().Dx() - 1) / overlay.Bounds().Dx()
	}
	w, h := overlay.Bounds().Dx()*scale, overlay.Bounds().Dy()*scale
	size := max(fontSizePx, w/75)
	line := 2 * size
	w, h = scaledTo(w, h, overlaySidePx-2*line)
	drawn, err := drawing.New(w, h+2*line, float64(size))
	if err != nil {
		return nil, err
	}
	c := canvas{drawn}
	draw.Draw(c.RGBA, c.Bounds(), image.NewUniform(ink), image.Point{}, draw.Src)
	c.place(overlay, image.Rect(0, line, w, line+h))
	baseline := line/2 + size*2/5
	title := fmt.Sprintf("%s   Dice %s   AUC %s   clDice %s", p.Name, p.Dice, p.AUC, p.ClDice)
	switch {
	case p.Refused != "":
		title += "   refused"
	case p.Ungradable != "":
		title += "   ungradable"
	}
	c.Text(size, baseline, left, paper, c.Fitted(title, w-2*size))
	c.legend(size, line+h+baseline, size, paper)
	return c.RGBA, nil
}

// legend explains the colours of overlays in one line whose baseline is at y.
func (c canvas) legend(x, y, size int, textColour rgb) {
	for _, entry := range []struct {
		colour rgb
		text   string
	}{{hitColour, "vessel, found"}, {missColour, "vessel, missed"}, {falseColour, "false vessel"}} {
		c.Fill(x-1, y-size*4/5-1, x+size+1, y+size/5+1, ink) // an edge, for near white on white
		c.Fill(x, y-size*4/5, x+size, y+size/5, entry.colour)
		c.Text(x+size*3/2, y, left, textColour, entry.text)
		x += size*3/2 + c.Width(entry.text) + size*3/2
	}
}

// place draws a picture into a rectangle: by the mean of what lies under a pixel.
func (c canvas) place(from *image.RGBA, to image.Rectangle) {
	for y := range to.Dy() {
		y0, y1 := span(y, to.Dy(), from.Bounds().Dy())
		for x := range to.Dx() {
			x0, x1 := span(x, to.Dx(), from.Bounds().Dx())
			var r, g, b, n int
			for j := y0; j < y1; j++ {
				for i := x0; i < x1; i++ {
					p := from.RGBAAt(i, j)
					r, g, b, n = r+int(p.R), g+int(p.G), b+int(p.B), n+1
				}
			}
			c.SetRGBA(to.Min.X+x, to.Min.Y+y, color.RGBA{uint8(r / n), uint8(g / n), uint8(b / n), 255})
		}
	}
}
