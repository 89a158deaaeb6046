package pdf

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"strconv"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/shaping"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Sizes of paper, in points.
const (
	A4Width  = 595.28
	A4Height = 841.89
)

// Page is a page that is being drawn.
type Page struct {
	fonts         *Fonts
	width, height float64

	shaper    shaping.HarfbuzzShaper
	segmenter shaping.Segmenter
	wrapper   shaping.LineWrapper
	faces     map[*typeface]*font.Face
	byFace    map[*font.Face]*typeface

	content  bytes.Buffer
	embedded []*embedded
	byType   map[*typeface]*embedded
	pictures []picture
}

type picture struct {
	jpeg          []byte
	width, height int
	grey          bool
}

// NewPage begins a page of a size in points.
func (f *Fonts) NewPage(width, height float64) *Page {
	return &Page{fonts: f, width: width, height: height, faces: map[*typeface]*font.Face{}, byFace: map[*font.Face]*typeface{}, byType: map[*typeface]*embedded{}}
}

func (p *Page) face(t *typeface) *font.Face {
	found := p.faces[t]
	if found == nil {
		found = font.NewFace(t.font)
		p.faces[t], p.byFace[found] = found, t
	}
	return found
}

// number writes a length to a hundredth of a point, a tenth of what is seen.
func number(v float64) string {
	const digits = 2
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if text == "-0.00" {
		return "0"
	}
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text
}

// op writes an operator of the content stream after its operands.
func (p *Page) op(operator string, operands ...float64) {
	for _, v := range operands {
		p.content.WriteString(number(v))
		p.content.WriteByte(' ')
	}
	p.content.WriteString(operator)
	p.content.WriteByte('\n')
}

// Align says where a text lies within a width.
type Align int

// Alignments.
const (
	Left Align = iota
	Right
	Centre
)

// Text draws a text with its first line below y. Lines lie within width as align says.
func (p *Page) Text(t Text, x, y, width float64, align Align) {
	// The baseline lies so that capital letters are in the middle of their line.
	const capHeight = 0.714
	for n, l := range t.lines {
		left := x
		switch free := width - l.width*t.style.Size/em; align {
		case Right:
			left += free
		case Centre:
			left += free / 2
		case Left:
		}
		baseline := y + float64(n)*t.lineHeight() + (t.lineHeight()+capHeight*t.style.Size)/2
		p.line(l, t.style, left, baseline)
	}
}

// line draws the glyphs of a line from the left to the right.
func (p *Page) line(l line, style Style, x, baseline float64) {
	if len(l.glyphs) == 0 {
		return
	}
	p.content.WriteString("BT\n")
	p.op("g", style.Grey)
	p.op("Td", x, p.height-baseline)
	var current *embedded
	var at, pen, rise float64 // thousandths of an em; at is where the next glyph would be drawn
	open := false
	closeArray := func() {
		if open {
			p.content.WriteString("] TJ\n")
			open = false
		}
	}
	for _, g := range l.glyphs {
		if g.text == "" {
			pen += g.advance
			continue // below
		}
		e := p.embed(g.face)
		if e != current {
			closeArray()
			current = e
			fmt.Fprintf(&p.content, "/F%d %s Tf\n", e.number, number(style.Size))
		}
		if g.y != rise {
			closeArray()
			rise = g.y
			p.op("Ts", rise*style.Size/em)
		}
		if !open {
			p.content.WriteString("[")
			open = true
		}
		// A move of less than this is not seen, and rounding makes many of them.
		const least = 0.5
		if move := pen + g.x - at; move > least || move < -least {
			p.content.WriteString(number(-move))
			at += move
		}
		cid := e.cid(g.id, g.text)
		fmt.Fprintf(&p.content, "<%04X>", cid)
		at += float64(e.widths[cid])
		pen += g.advance
	}
	closeArray()
	if rise != 0 {
		p.op("Ts", 0)
	}
	p.content.WriteString("ET\n")
	pen = 0
	for _, g := range l.glyphs {
		if g.text == "" {
			p.shape(g, x+(pen+g.x)*style.Size/em, p.height-baseline+g.y*style.Size/em, style.Size)
		}
		pen += g.advance
	}
}

// shape draws a glyph that stands for no text of its own, such as a mark that its letter speaks for, as a shape: as text it would have a code without a
// meaning, for which readers make up characters. x and y are in the page's own coordinates, from the left lower corner.
func (p *Page) shape(g glyph, x, y, size float64) {
	outline, has := p.face(g.face).GlyphDataOutline(font.GID(g.id))
	if !has || len(outline.Segments) == 0 {
		return // a blank
	}
	scale := size / float64(g.face.outline.unitsPerEm)
	at := func(point opentype.SegmentPoint) (float64, float64) {
		return x + float64(point.X)*scale, y + float64(point.Y)*scale
	}
	var fromX, fromY float64
	for _, s := range outline.Segments {
		toX, toY := at(s.Args[len(s.ArgsSlice())-1])
		switch s.Op {
		case opentype.SegmentOpMoveTo:
			p.op("m", toX, toY)
		case opentype.SegmentOpLineTo:
			p.op("l", toX, toY)
		case opentype.SegmentOpQuadTo: // as a cubic curve: its control points are two thirds of the way to the one of the quadratic curve
			const part = 2.0 / 3
			x1, y1 := at(s.Args[0])
			p.op("c", fromX+part*(x1-fromX), fromY+part*(y1-fromY), toX+part*(x1-toX), toY+part*(y1-toY), toX, toY)
		case opentype.SegmentOpCubeTo:
			x1, y1 := at(s.Args[0])
			x2, y2 := at(s.Args[1])
			p.op("c", x1, y1, x2, y2, toX, toY)
		}
		fromX, fromY = toX, toY
	}
	p.op("f")
}

// Colour is red, green and blue, each 0 to 1.
type Colour [3]float64

// Rectangle fills a rectangle.
func (p *Page) Rectangle(x, y, width, height float64, fill Colour) {
	p.op("rg", fill[:]...)
	p.op("re", x, p.height-y-height, width, height)
	p.op("f")
}

// Point is a place on the page.
type Point struct{ X, Y float64 }

// Line draws straight lines from point to point. dash is the length of dashes and gaps; 0: none.
func (p *Page) Line(points []Point, width float64, stroke Colour, dash float64) {
	if len(points) < 2 {
		return
	}
	p.op("RG", stroke[:]...)
	p.op("w", width)
	if dash > 0 {
		fmt.Fprintf(&p.content, "[%s] 0 d\n", number(dash))
	}
	p.path(points)
	p.op("S")
	if dash > 0 {
		p.content.WriteString("[] 0 d\n")
	}
}

// Area fills what is within points.
func (p *Page) Area(points []Point, fill Colour) {
	if len(points) < 3 {
		return
	}
	p.op("rg", fill[:]...)
	p.path(points)
	p.op("f")
}

func (p *Page) path(points []Point) {
	p.op("m", points[0].X, p.height-points[0].Y)
	for _, to := range points[1:] {
		p.op("l", to.X, p.height-to.Y)
	}
}

// Picture draws a JPEG picture as large as fits into a box, in the middle of it. Faults: Invalid "picture-unusable".
func (p *Page) Picture(raw []byte, x, y, width, height float64) error {
	head, err := jpeg.DecodeConfig(bytes.NewReader(raw))
	if err != nil || head.Width < 1 || head.Height < 1 {
		return fault.New(fault.Invalid, "picture-unusable", "a picture for a page should be a JPEG picture, and cannot be read as one")
	}
	if head.ColorModel != color.YCbCrModel && head.ColorModel != color.GrayModel {
		return fault.New(fault.Invalid, "picture-unusable", "a picture for a page should be in colour or grey, not in the colours of print")
	}
	size := image.Pt(head.Width, head.Height)
	scale := min(width/float64(size.X), height/float64(size.Y))
	w, h := scale*float64(size.X), scale*float64(size.Y)
	p.pictures = append(p.pictures, picture{raw, size.X, size.Y, head.ColorModel == color.GrayModel})
	p.op("q")
	p.op("cm", w, 0, 0, h, x+(width-w)/2, p.height-y-(height+h)/2)
	fmt.Fprintf(&p.content, "/P%d Do\n", len(p.pictures))
	p.op("Q")
	return nil
}
