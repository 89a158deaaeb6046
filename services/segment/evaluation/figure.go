package evaluation

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"strconv"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Sizes of the figure, pixels.
const (
	fontSizePx    = 13
	minBarPitchPx = 20
	maxBarPitchPx = 40
	barShare      = .66 // of the pitch
	valueWidthPx  = 44  // a bar that is shorter has its value outside
	barLengthPx   = 340
	nameWidthPx   = 150
	rocSidePx     = 380
	headHeightPx  = 84
	footHeightPx  = 56
	marginPx      = 28
	panelGapPx    = 110
	minBarsHeight = rocSidePx
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

// WriteFigure writes a PNG: Dice by picture with the pooled value as a line, and the pooled ROC curve.
func WriteFigure(w io.Writer, r *Report) error {
	face, err := newFace()
	if err != nil {
		return err
	}
	defer func() { _ = face.Close() }() // holds no file
	barsHeight := max(minBarsHeight, len(r.PerImage)*minBarPitchPx)
	c := canvas{
		RGBA: image.NewRGBA(image.Rect(0, 0, marginPx+nameWidthPx+barLengthPx+panelGapPx+rocSidePx+marginPx, headHeightPx+barsHeight+footHeightPx)),
		face: face,
	}
	draw.Draw(c.RGBA, c.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	c.text(marginPx, 28, left, ink, fmt.Sprintf("%s, split %s: %d pictures, pixels inside the field of view, native resolution", r.Layout, r.Split, r.Images))
	c.text(marginPx, 48, left, ink, fmt.Sprintf("pooled: Dice %s   AUC %s   sensitivity %s   specificity %s   MCC %s", r.Dice, r.AUC, r.Sensitivity, r.Specificity, r.MCC))
	c.bars(marginPx+nameWidthPx, headHeightPx, barsHeight, r)
	c.roc(marginPx+nameWidthPx+barLengthPx+panelGapPx, headHeightPx, r)
	return png.Encode(w, c.RGBA)
}

func newFace() (font.Face, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(parsed, &opentype.FaceOptions{Size: fontSizePx, DPI: 72, Hinting: font.HintingFull})
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

// fitted cuts a name to a width, so that it does not run out of its column.
func (c canvas) fitted(s string, widthPx int) string {
	d := font.Drawer{Face: c.face}
	if d.MeasureString(s).Ceil() <= widthPx {
		return s
	}
	runes := []rune(s)
	for len(runes) > 0 && d.MeasureString(string(runes)+"…").Ceil() > widthPx {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

func (c canvas) fill(x0, y0, x1, y1 int, ink rgb) {
	draw.Draw(c.RGBA, image.Rect(x0, y0, x1, y1), image.NewUniform(ink), image.Point{}, draw.Src)
}

// bars draws Dice by picture, 0 at x.
func (c canvas) bars(x, y, height int, r *Report) {
	at := func(v float64) int { return x + int(math.Round(v*barLengthPx)) }
	for tick := 0; tick <= 10; tick += 2 {
		v := float64(tick) / 10
		c.fill(at(v), y, at(v)+1, y+height, grid)
		c.text(at(v), y+height+18, centre, ink, strconv.FormatFloat(v, 'f', 1, 64))
	}
	trained := false
	pitch := max(minBarPitchPx, min(maxBarPitchPx, height/max(1, len(r.PerImage))))
	thick := int(barShare * float64(pitch))
	for i, p := range r.PerImage {
		top := y + i*pitch + (pitch-thick)/2
		baseline := top + thick/2 + fontSizePx*2/5
		c.text(x-10, baseline, right, ink, c.fitted(p.Name, nameWidthPx-12))
		if !p.Dice.Defined() {
			c.text(x+4, baseline, left, ink, "no vessels, in label or mask")
			continue
		}
		colour, textColour := bar, paper
		if p.Split == Train {
			colour, textColour, trained = barTrain, ink, true
		}
		end := at(float64(p.Dice))
		c.fill(x, top, end, top+thick, colour)
		if value := strconv.FormatFloat(float64(p.Dice), 'f', 3, 64); end-x > valueWidthPx {
			c.text(x+8, baseline, left, textColour, value)
		} else {
			c.text(end+6, baseline, left, ink, value)
		}
	}
	c.fill(x, y, x+1, y+height, ink)
	if r.Dice.Defined() {
		c.fill(at(float64(r.Dice)), y, at(float64(r.Dice))+2, y+height, strong)
		c.text(at(float64(r.Dice)), y-8, centre, strong, "pooled "+strconv.FormatFloat(float64(r.Dice), 'f', 3, 64))
	}
	label := "Dice"
	if trained {
		label += " (grey: training split)"
	}
	c.text(x+barLengthPx/2, y+height+40, centre, ink, label)
}

// roc draws the pooled ROC curve in a square.
func (c canvas) roc(x, y int, r *Report) {
	side := float64(rocSidePx)
	at := func(p ROCPoint) (float64, float64) {
		return float64(x) + p.FalsePositiveRate*side, float64(y) + (1-p.TruePositiveRate)*side
	}
	for tick := 0; tick <= 10; tick += 2 {
		v := float64(tick) / 10
		px, py := at(ROCPoint{v, v})
		c.fill(int(px), y, int(px)+1, y+rocSidePx, grid)
		c.fill(x, int(py), x+rocSidePx, int(py)+1, grid)
		c.text(int(px), y+rocSidePx+18, centre, ink, strconv.FormatFloat(v, 'f', 1, 64))
		c.text(x-8, int(py)+4, right, ink, strconv.FormatFloat(v, 'f', 1, 64))
	}
	c.line(float64(x), float64(y)+side, float64(x)+side, float64(y), 1, faint)
	c.fill(x, y, x+1, y+rocSidePx, ink)
	c.fill(x, y+rocSidePx, x+rocSidePx, y+rocSidePx+1, ink)
	for i := 1; i < len(r.ROC); i++ {
		x0, y0 := at(r.ROC[i-1])
		x1, y1 := at(r.ROC[i])
		c.line(x0, y0, x1, y1, 2, bar)
	}
	if r.Sensitivity.Defined() && r.Specificity.Defined() {
		px, py := at(ROCPoint{1 - float64(r.Specificity), float64(r.Sensitivity)})
		c.line(px-5, py, px+5, py, 2, strong)
		c.line(px, py-5, px, py+5, 2, strong)
		c.text(int(px)+12, int(py)+14, left, strong, "the model's threshold")
	}
	c.text(x+rocSidePx-12, y+rocSidePx-16, right, ink, "AUC "+r.AUC.String())
	c.text(x+rocSidePx/2, y+rocSidePx+40, centre, ink, "false positive rate")
	c.text(x, y-14, left, ink, "true positive rate")
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
