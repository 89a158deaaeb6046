package pdf

import (
	"bytes"
	"embed"
	"encoding/binary"
	"fmt"
	"unicode"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// The files are made by fonts/make.sh; their licence, the SIL Open Font License 1.1, allows embedding in programs and documents.
//
//go:embed fonts/*.ttf
var fontFiles embed.FS

// Fonts are what text is set in. For a character the first font that has it is taken.
type Fonts struct {
	regular, bold []*typeface // in the order in which they are asked
	japanese      *typeface
	chinese       *typeface
}

// typeface is one font file, read.
type typeface struct {
	name    string // PostScript name
	font    *font.Font
	outline outlines
}

// LoadFonts reads the embedded fonts: some 80 ms, and 27 MB of memory for as long as they are kept.
func LoadFonts() (*Fonts, error) {
	var err error
	load := func(name string) *typeface {
		if err != nil {
			return nil
		}
		var t *typeface
		if t, err = loadTypeface(name); err != nil {
			err = fault.Wrap(fault.Internal, "font-unusable", err, "the font %s of this program cannot be read", name)
		}
		return t
	}
	sans, bold := load("NotoSans-Regular"), load("NotoSans-Bold")
	others := []*typeface{load("NotoSansArabic-Regular"), load("NotoSansHebrew-Regular"), load("NotoSansThai-Regular")}
	f := &Fonts{japanese: load("NotoSansJP-Regular"), chinese: load("NotoSansSC-Regular")}
	others = append(others, f.japanese, f.chinese, load("NotoSansKR-Regular"))
	f.regular = append([]*typeface{sans}, others...)
	f.bold = append([]*typeface{bold}, f.regular...)
	return f, err
}

func loadTypeface(name string) (*typeface, error) {
	raw, err := fontFiles.ReadFile("fonts/" + name + ".ttf")
	if err != nil {
		return nil, err
	}
	loader, err := opentype.NewLoader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	t := &typeface{name: name}
	if t.font, err = font.NewFont(loader); err != nil {
		return nil, err
	}
	t.outline, err = readOutlines(loader)
	return t, err
}

// outlines are the tables that a font is embedded with.
type outlines struct {
	unitsPerEm       int
	head, hhea, maxp []byte
	hmtx, glyf       []byte
	loca             []uint32 // one more than there are glyphs
	hMetrics         int      // glyphs with an advance of their own; the others have that of the last
	bounds           [4]int16
	ascent, descent  int16
}

func readOutlines(loader *opentype.Loader) (o outlines, err error) {
	table := func(tag string, least int) []byte {
		if err != nil {
			return nil
		}
		var raw []byte
		if raw, err = loader.RawTable(opentype.MustNewTag(tag)); err == nil && len(raw) < least {
			err = fmt.Errorf("the table %s has %d bytes", tag, len(raw))
		}
		return raw
	}
	const headSize, hheaSize, maxpSize = 54, 36, 32
	o.head, o.hhea, o.maxp = table("head", headSize), table("hhea", hheaSize), table("maxp", maxpSize)
	o.hmtx, o.glyf = table("hmtx", 4), table("glyf", 1)
	loca := table("loca", 4)
	if err != nil {
		return o, err
	}
	u16 := binary.BigEndian.Uint16
	o.unitsPerEm, o.hMetrics = int(u16(o.head[18:])), int(u16(o.hhea[34:]))
	o.ascent, o.descent = int16(u16(o.hhea[4:])), int16(u16(o.hhea[6:])) //nolint:gosec // they are signed in the file
	for i := range o.bounds {
		o.bounds[i] = int16(u16(o.head[36+2*i:])) //nolint:gosec // as above
	}
	glyphs := int(u16(o.maxp[4:]))
	for i := range glyphs + 1 {
		var at uint32
		switch long := u16(o.head[50:]) == 1; {
		case long && len(loca) >= 4*(i+1):
			at = binary.BigEndian.Uint32(loca[4*i:])
		case !long && len(loca) >= 2*(i+1):
			at = 2 * uint32(u16(loca[2*i:]))
		default:
			return o, fmt.Errorf("the table loca has %d bytes for %d glyphs", len(loca), glyphs)
		}
		if int(at) > len(o.glyf) || i > 0 && at < o.loca[i-1] {
			return o, fmt.Errorf("glyph %d lies outside of its table", i)
		}
		o.loca = append(o.loca, at)
	}
	if o.unitsPerEm == 0 || o.hMetrics == 0 || len(o.hmtx) < 4*o.hMetrics+2*(glyphs-o.hMetrics) {
		return o, fmt.Errorf("the metrics are incomplete")
	}
	return o, nil
}

// glyph is the outline of a glyph; none for a blank.
func (o *outlines) glyph(id uint16) []byte {
	if int(id)+1 >= len(o.loca) {
		return nil
	}
	return o.glyf[o.loca[id]:o.loca[id+1]]
}

// metrics are the advance and the left side bearing of a glyph, in units of the font.
func (o *outlines) metrics(id uint16) (advance, bearing uint16) {
	last := 4 * (o.hMetrics - 1)
	if int(id) < o.hMetrics {
		last = 4 * int(id)
		return binary.BigEndian.Uint16(o.hmtx[last:]), binary.BigEndian.Uint16(o.hmtx[last+2:])
	}
	advance = binary.BigEndian.Uint16(o.hmtx[last:])
	if at := 4*o.hMetrics + 2*(int(id)-o.hMetrics); at+2 <= len(o.hmtx) {
		bearing = binary.BigEndian.Uint16(o.hmtx[at:])
	}
	return advance, bearing
}

// perMille converts a length in units of the font to thousandths of an em.
func (o *outlines) perMille(units int) int {
	return (units*1000 + o.unitsPerEm/2) / o.unitsPerEm
}

// order is the order in which fonts are asked for the characters of a text. Chinese that the Japanese font lacks is set in the Chinese one as a
// whole: a name in two fonts looks like two names.
func (f *Fonts) order(text []rune, bold bool) []*typeface {
	list := f.regular
	if bold {
		list = f.bold
	}
	all := func(t *typeface) bool {
		for _, c := range text {
			if _, has := t.font.NominalGlyph(c); unicode.Is(unicode.Han, c) && !has {
				return false
			}
		}
		return true
	}
	if all(f.japanese) || !all(f.chinese) {
		return list
	}
	var swapped []*typeface
	for _, t := range list {
		switch t {
		case f.japanese:
			t = f.chinese
		case f.chinese:
			t = f.japanese
		}
		swapped = append(swapped, t)
	}
	return swapped
}
