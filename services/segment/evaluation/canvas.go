package evaluation

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// rgb is an opaque colour, 0xRRGGBB.
type rgb uint32

// RGBA makes rgb a color.Color.
func (c rgb) RGBA() (r, g, b, a uint32) {
	return color.RGBA{uint8(c >> 16), uint8(c >> 8), uint8(c), 255}.RGBA()
}

// Colours of the figure; the two strong ones differ in brightness too, for readers who do not tell their hues apart.
const (
	paper    rgb = 0xffffff
	ink      rgb = 0x282830
	faint    rgb = 0xcdd0d7
	grid     rgb = 0xe8eaee
	bar      rgb = 0x3f6fa8
	barTrain rgb = 0xbec8d4
	strong   rgb = 0xb43c28
)

func newFace(sizePx float64) (font.Face, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(parsed, &opentype.FaceOptions{Size: sizePx, DPI: 72, Hinting: font.HintingFull})
}

type canvas struct {
	*image.RGBA
	face font.Face
}

type anchor int

const (
	left anchor = iota
	centre
	right
)

// text writes a line whose baseline is at y and whose anchor is at x.
func (c canvas) text(x, y int, a anchor, ink rgb, s string) {
	d := font.Drawer{Dst: c.RGBA, Src: image.NewUniform(ink), Face: c.face}
	width := d.MeasureString(s).Ceil()
	d.Dot = fixed.P(x-[...]int{0, width / 2, width}[a], y)
	d.DrawString(s)
}

// width of a text, pixels.
func (c canvas) width(s string) int {
	d := font.Drawer{Face: c.face}
	return d.MeasureString(s).Ceil()
}

// fitted cuts a name to a width, so that it does not run out of its column.
func (c canvas) fitted(s string, widthPx int) string {
	if c.width(s) <= widthPx {
		return s
	}
	runes := []rune(s)
	for len(runes) > 0 && c.width(string(runes)+"…") > widthPx {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

func (c canvas) fill(x0, y0, x1, y1 int, ink rgb) {
	draw.Draw(c.RGBA, image.Rect(x0, y0, x1, y1), image.NewUniform(ink), image.Point{}, draw.Src)
}

// line draws a straight line of a width by covering pixels in part, so that curves look smooth.
func (c canvas) line(x0, y0, x1, y1, width float64, ink rgb) {
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
