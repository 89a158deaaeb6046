package drawing

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Colour is opaque, 0xRRGGBB.
type Colour uint32

// RGBA makes a Colour a color.Color.
func (c Colour) RGBA() (r, g, b, a uint32) {
	return color.RGBA{uint8(c >> 16), uint8(c >> 8), uint8(c), 255}.RGBA()
}

func newFace(sizePx float64) (font.Face, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(parsed, &opentype.FaceOptions{Size: sizePx, DPI: 72, Hinting: font.HintingFull})
}

// Canvas is a picture with a font for what is written on it.
type Canvas struct {
	*image.RGBA
	face font.Face
}

// New makes a black canvas on which text is fontPx high.
func New(width, height int, fontPx float64) (*Canvas, error) {
	face, err := newFace(fontPx)
	if err != nil {
		return nil, fmt.Errorf("opening the font of a drawing: %w", err)
	}
	return &Canvas{image.NewRGBA(image.Rect(0, 0, width, height)), face}, nil
}

// Anchor is the part of a text that its place is about.
type Anchor int

// Anchors.
const (
	Left Anchor = iota
	Centre
	Right
)

// Text writes a line whose baseline is at y and whose anchor is at x.
func (c *Canvas) Text(x, y int, a Anchor, ink Colour, s string) {
	d := font.Drawer{Dst: c.RGBA, Src: image.NewUniform(ink), Face: c.face}
	width := d.MeasureString(s).Ceil()
	d.Dot = fixed.P(x-[...]int{0, width / 2, width}[a], y)
	d.DrawString(s)
}

// Width of a text, pixels.
func (c *Canvas) Width(s string) int {
	d := font.Drawer{Face: c.face}
	return d.MeasureString(s).Ceil()
}

// Fitted cuts a name to a width, so that it does not run out of its column.
func (c *Canvas) Fitted(s string, widthPx int) string {
	if c.Width(s) <= widthPx {
		return s
	}
	runes := []rune(s)
	for len(runes) > 0 && c.Width(string(runes)+"…") > widthPx {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// Fill paints a rectangle, without its right and lower edge.
func (c *Canvas) Fill(x0, y0, x1, y1 int, ink Colour) {
	draw.Draw(c.RGBA, image.Rect(x0, y0, x1, y1), image.NewUniform(ink), image.Point{}, draw.Src)
}

// Line draws a straight line of a width by covering pixels in part, so that curves look smooth.
func (c *Canvas) Line(x0, y0, x1, y1, width float64, ink Colour) {
	reach := width/2 + 1
	b := image.Rect(int(math.Floor(min(x0, x1)-reach)), int(math.Floor(min(y0, y1)-reach)), int(math.Ceil(max(x0, x1)+reach)), int(math.Ceil(max(y0, y1)+reach))).Intersect(c.Bounds())
	dx, dy := x1-x0, y1-y0
	square := dx*dx + dy*dy
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			px, py := float64(x)+.5-x0, float64(y)+.5-y0
			t := 0.0
			if square > 0 {
				t = max(0, min(1, (px*dx+py*dy)/square))
			}
			cover := max(0, min(1, width/2+.5-math.Hypot(px-t*dx, py-t*dy)))
			if cover == 0 {
				continue
			}
			old := c.RGBAAt(x, y)
			mix := func(under, over uint8) uint8 {
				return uint8(float64(under) + cover*(float64(over)-float64(under)) + .5)
			}
			c.SetRGBA(x, y, color.RGBA{mix(old.R, uint8(ink>>16)), mix(old.G, uint8(ink>>8)), mix(old.B, uint8(ink)), 255})
		}
	}
}

// Polyline draws lines from point to point.
func (c *Canvas) Polyline(xy [][2]float64, width float64, ink Colour) {
	for i := 1; i < len(xy); i++ {
		c.Line(xy[i-1][0], xy[i-1][1], xy[i][0], xy[i][1], width, ink)
	}
}

// Dot draws a filled circle.
func (c *Canvas) Dot(x, y, diameter float64, ink Colour) { c.Line(x, y, x, y, diameter, ink) }

// circlePieces is how many straight pieces look round at any size that is drawn here.
const circlePieces = 180

// Circle draws the line of a circle.
func (c *Canvas) Circle(x, y, radius, width float64, ink Colour) {
	var xy [][2]float64
	for i := range circlePieces + 1 {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / circlePieces)
		xy = append(xy, [2]float64{x + radius*cos, y + radius*sin})
	}
	c.Polyline(xy, width, ink)
}
