package pdf

import (
	"slices"
	"strings"
	"unicode"

	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/math/fixed"
	"golang.org/x/text/unicode/bidi"
)

// em is the size that text is shaped at: the unit of lengths in fonts of a PDF is a thousandth of an em.
const em = 1000

// Style is how text looks.
type Style struct {
	Size float64 // points
	Bold bool    // of scripts whose font has no bold, the regular one is taken
	Grey float64 // 0 black to 1 white
	// Leading is from line to line, as a part of the size; 0: 1.25.
	Leading float64
}

// Text is a text that was set in lines.
type Text struct {
	style Style
	lines []line
	// RightToLeft tells that the text is read from the right.
	RightToLeft bool
	// Cut tells that not all of it had room; it then ends in an ellipsis.
	Cut bool
}

type line struct {
	glyphs []glyph
	width  float64 // thousandths of an em
}

// glyph is a placed glyph; lengths are in thousandths of an em.
type glyph struct {
	face          *typeface
	id            uint16
	advance, x, y float64
	text          string // what it stands for; "" where other glyphs of the same cluster say it
	hidden        bool   // it is a blank, which stands for its text alone
}

// Height is that of all lines, in points.
func (t Text) Height() float64 { return float64(len(t.lines)) * t.lineHeight() }

// Width is that of the longest line, in points.
func (t Text) Width() float64 {
	var w float64
	for _, l := range t.lines {
		w = max(w, l.width)
	}
	return w * t.style.Size / em
}

// Lines is how many there are; none for a text without characters.
func (t Text) Lines() int { return len(t.lines) }

func (t Text) lineHeight() float64 {
	leading := t.style.Leading
	if leading == 0 {
		leading = 1.25
	}
	return t.style.Size * leading
}

// maxRunes bounds the work on a text: more than a page holds in the smallest print.
const maxRunes = 4000

// Set sets a text in lines of a width, in points, of which there are at most maxLines.
func (p *Page) Set(text string, style Style, width float64, maxLines int) Text {
	runes := visible(text)
	out := Text{style: style}
	if len(runes) == 0 || maxLines < 1 {
		out.Cut = len(runes) > 0
		return out
	}
	if len(runes) > maxRunes {
		runes, out.Cut = append(runes[:maxRunes-1:maxRunes-1], '…'), true
	}
	direction := di.DirectionLTR
	if out.RightToLeft = rightToLeft(runes); out.RightToLeft {
		direction = di.DirectionRTL
	}
	faces := &choice{page: p, order: p.fonts.order(runes, style.Bold)}
	input := shaping.Input{Text: runes, RunEnd: len(runes), Direction: direction, Size: fixed.I(em), Language: language.NewLanguage("en")}
	var runs []shaping.Output
	for _, part := range p.segmenter.Split(input, faces) {
		runs = append(runs, p.shaper.Shape(part))
	}
	ellipsis := []rune{'…'}
	truncator := p.shaper.Shape(shaping.Input{Text: ellipsis, RunEnd: 1, Direction: direction, Size: fixed.I(em), Face: faces.ResolveFace('…'), Language: input.Language, Script: language.Common})
	config := shaping.WrapConfig{Direction: direction, TruncateAfterLines: maxLines, Truncator: truncator}
	// A line of one glyph is wider than no width, but none is ever empty.
	limit := fixed.Int26_6(max(1, width/style.Size*em) * 64)
	lines, cut := p.wrapper.WrapParagraphF(config, limit, runes, shaping.NewSliceIterator(runs))
	out.Cut = out.Cut || cut > 0
	for n, l := range lines {
		slices.SortFunc(l, func(a, b shaping.Output) int { return int(a.VisualIndex) - int(b.VisualIndex) })
		var set line
		for _, run := range l {
			source := runes
			if cut > 0 && n == len(lines)-1 && run.Runes.Count == cut && run.Runes.Offset+cut == len(runes) && len(run.Glyphs) == len(truncator.Glyphs) {
				source = nil // the ellipsis stands for itself
			}
			set.add(p.byFace[run.Face], run, source)
		}
		out.lines = append(out.lines, set)
	}
	return out
}

func (l *line) add(face *typeface, run shaping.Output, source []rune) {
	for n := 0; n < len(run.Glyphs); {
		first := run.Glyphs[n]
		next := n + 1
		for next < len(run.Glyphs) && run.Glyphs[next].TextIndex() == first.TextIndex() {
			next++
		}
		cluster, said := run.Glyphs[n:next], []string{"…"}
		if source != nil {
			said = spoken(cluster, source[first.TextIndex():first.TextIndex()+first.RunesCount()], run.Direction.Progression() == di.TowardTopLeft)
		}
		for i, g := range cluster {
			l.width += units(g.Advance)
			if run.Direction.Progression() == di.TowardTopLeft {
				hidden := apart(face, said[i], units(g.Advance))
				if l.glyphs = append(l.glyphs, hidden...); len(hidden) > 0 {
					said[i] = ""
				}
			}
			l.glyphs = append(l.glyphs, glyph{face: face, id: uint16(g.GlyphID), advance: units(g.Advance), x: units(g.XOffset), y: units(g.YOffset), text: said[i]}) //nolint:gosec // TrueType has 16 bits
		}
		n = next
	}
}

// apart takes the letters of a glyph for several of them, such as lam and alef, apart into blanks, the last one at the left; the glyph is then drawn as a shape. Readers do not agree on the
// order of the letters of one glyph where text runs from the right (poppler turns them about, as ISO 32000 does not say).
func apart(face *typeface, text string, advance float64) (hidden []glyph) {
	var letters []string // each with its marks
	for _, c := range text {
		if len(letters) > 0 && unicode.Is(unicode.M, c) {
			letters[len(letters)-1] += string(c)
		} else {
			letters = append(letters, string(c))
		}
	}
	if len(letters) < 2 {
		return nil
	}
	slices.Reverse(letters)
	blank, has := face.font.NominalGlyph(' ')
	if !has {
		return nil
	}
	for n, letter := range letters {
		hidden = append(hidden, glyph{face: face, id: uint16(blank), x: advance * float64(n) / float64(len(letters)), text: letter, hidden: true}) //nolint:gosec // TrueType has 16 bits
	}
	return hidden
}

// spoken tells which part of a cluster's text each of its glyphs stands for. Marks, which have no width, stand for nothing of their own: readers that
// sort glyphs by where they stand would put them behind the next letter. Of several glyphs with a width each gets something, so that such readers see no
// gap: the last of them, in the order of reading, a character each, and the first what is before.
func spoken(cluster []shaping.Glyph, text []rune, rightToLeft bool) []string {
	said := make([]string, len(cluster))
	var wide []int // in the order of reading
	for i, g := range cluster {
		if g.Advance > 0 {
			wide = append(wide, i)
		}
	}
	if len(wide) == 0 {
		wide = []int{0}
	}
	if rightToLeft {
		slices.Reverse(wide)
	}
	for n := len(wide) - 1; n > 0 && len(text) > 1; n-- {
		said[wide[n]], text = string(text[len(text)-1]), text[:len(text)-1]
	}
	said[wide[0]] = string(text)
	return said
}

func units(v fixed.Int26_6) float64 { return float64(v) / 64 }

// choice takes for each character the first font that has it; for one that none has the first of all, whose box stands for it.
type choice struct {
	page  *Page
	order []*typeface
}

var _ shaping.Fontmap = (*choice)(nil)

func (c *choice) ResolveFace(r rune) *font.Face {
	for _, t := range c.order {
		if _, has := t.font.NominalGlyph(r); has {
			return c.page.face(t)
		}
	}
	return c.page.face(c.order[0])
}

// visible makes a text safe to set in one paragraph: blanks of any kind become one space, what is no Unicode, controls, and what turns
// the direction of the text around it become replacement characters.
func visible(text string) []rune {
	var out []rune
	for _, c := range strings.TrimSpace(text) {
		switch {
		case unicode.IsSpace(c):
			if len(out) > 0 && out[len(out)-1] == ' ' {
				continue
			}
			c = ' '
		case unicode.IsControl(c), c >= 0x202A && c <= 0x202E, c >= 0x2066 && c <= 0x2069, c == 0xFEFF, c > 0xFFFF && !unicode.IsGraphic(c):
			c = unicode.ReplacementChar
		}
		out = append(out, c)
	}
	return out
}

// rightToLeft tells the direction of a paragraph by its first strong character (UAX #9, P2 and P3).
func rightToLeft(text []rune) bool {
	for _, c := range text {
		properties, _ := bidi.LookupRune(c)
		switch properties.Class() { //nolint:exhaustive // the others are weak or neutral
		case bidi.L:
			return false
		case bidi.R, bidi.AL:
			return true
		}
	}
	return false
}
