package pdf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
	"unicode/utf16"
)

// embedded is a font as it goes into the document: glyphs in the order in which they were used first, each once for each text that it stands for.
// Its number is the code by which the page names it.
type embedded struct {
	face   *typeface
	number int
	ids    []uint16 // glyphs of the font by code
	texts  []string // what they stand for; of code 0 nothing
	widths []int    // thousandths of an em
	codes  map[use]uint16
}

type use struct {
	id   uint16
	text string
}

func (p *Page) embed(t *typeface) *embedded {
	e := p.byType[t]
	if e == nil {
		e = &embedded{face: t, number: len(p.embedded) + 1, codes: map[use]uint16{}}
		e.cid(0, "") // code 0 is the box for what is missing, as the format wants it
		p.byType[t], p.embedded = e, append(p.embedded, e)
	}
	return e
}

// cid is the code of a glyph. There are far fewer than 65,536 on a page.
func (e *embedded) cid(id uint16, text string) uint16 {
	u := use{id, text}
	code, known := e.codes[u]
	if !known {
		code = uint16(len(e.ids)) //nolint:gosec // see above
		advance, _ := e.face.outline.metrics(id)
		e.codes[u], e.ids, e.texts, e.widths = code, append(e.ids, id), append(e.texts, text), append(e.widths, e.face.outline.perMille(int(advance)))
	}
	return code
}

// Flags of the parts of a composite glyph (OpenType specification, table glyf).
const (
	argsAreWords    = 1 << 0
	hasScale        = 1 << 3
	moreComponents  = 1 << 5
	hasTwoScales    = 1 << 6
	hasTwoByTwo     = 1 << 7
	glyphHeaderSize = 10
)

// components calls visit with where in the outline of a composite glyph the numbers of its parts stand.
func components(outline []byte, visit func(at int)) {
	if len(outline) < glyphHeaderSize || int16(binary.BigEndian.Uint16(outline)) >= 0 { //nolint:gosec // it is signed in the file
		return
	}
	for at := glyphHeaderSize; at+4 <= len(outline); {
		flags := binary.BigEndian.Uint16(outline[at:])
		visit(at + 2)
		at += 4 + 2
		if flags&argsAreWords != 0 {
			at += 2
		}
		switch {
		case flags&hasScale != 0:
			at += 2
		case flags&hasTwoScales != 0:
			at += 4
		case flags&hasTwoByTwo != 0:
			at += 8
		}
		if flags&moreComponents == 0 {
			return
		}
	}
}

// file makes a TrueType file with the glyphs that were used, by their codes, and the parts of those that are put together, behind them.
func (e *embedded) file() []byte {
	o := &e.face.outline
	ids := append([]uint16(nil), e.ids...)
	parts := map[uint16]uint16{}
	var glyf, hmtx bytes.Buffer
	var loca []byte
	for n := 0; n < len(ids); n++ { // it grows within
		loca = binary.BigEndian.AppendUint32(loca, uint32(glyf.Len())) //nolint:gosec // fonts have megabytes
		outline := append([]byte(nil), o.glyph(ids[n])...)
		components(outline, func(at int) {
			part := binary.BigEndian.Uint16(outline[at:])
			code, known := parts[part]
			if !known {
				code = uint16(len(ids)) //nolint:gosec // at most as many as the font has
				parts[part], ids = code, append(ids, part)
			}
			binary.BigEndian.PutUint16(outline[at:], code)
		})
		glyf.Write(outline)
		for glyf.Len()%4 != 0 {
			glyf.WriteByte(0)
		}
		advance, bearing := o.metrics(ids[n])
		hmtx.Write(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, advance), bearing))
	}
	loca = binary.BigEndian.AppendUint32(loca, uint32(glyf.Len())) //nolint:gosec // as above
	head, hhea, maxp := append([]byte(nil), o.head...), append([]byte(nil), o.hhea...), append([]byte(nil), o.maxp...)
	binary.BigEndian.PutUint32(head[8:], 0)                 // the checksum of the whole, below
	binary.BigEndian.PutUint16(head[50:], 1)                // loca is in 32 bits
	binary.BigEndian.PutUint16(hhea[34:], uint16(len(ids))) //nolint:gosec // as above
	binary.BigEndian.PutUint16(maxp[4:], uint16(len(ids)))  //nolint:gosec // as above
	return sfnt(map[string][]byte{"glyf": glyf.Bytes(), "head": head, "hhea": hhea, "hmtx": hmtx.Bytes(), "loca": loca, "maxp": maxp})
}

// sfnt puts tables together to a font file (OpenType specification, chapter 4).
func sfnt(tables map[string][]byte) []byte {
	var tags []string
	for tag := range tables {
		tags = append(tags, tag)
	}
	sort.Strings(tags)
	n := uint16(len(tags)) //nolint:gosec // six
	power, log := uint16(1), uint16(0)
	for power*2 <= n {
		power, log = power*2, log+1
	}
	const entrySize, headerSize, adjustmentAt = 16, 12, 8
	out := binary.BigEndian.AppendUint32(nil, 0x00010000)
	for _, v := range []uint16{n, entrySize * power, log, entrySize * (n - power)} {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	var body []byte
	headAt := 0
	for _, tag := range tags {
		at := headerSize + entrySize*len(tags) + len(body)
		if tag == "head" {
			headAt = at
		}
		out = append(out, tag...)
		for _, v := range []uint32{checksum(tables[tag]), uint32(at), uint32(len(tables[tag]))} { //nolint:gosec // fonts have megabytes
			out = binary.BigEndian.AppendUint32(out, v)
		}
		body = append(body, tables[tag]...)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
	}
	out = append(out, body...)
	const magic = 0xB1B0AFBA
	binary.BigEndian.PutUint32(out[headAt+adjustmentAt:], magic-checksum(out))
	return out
}

func checksum(table []byte) (sum uint32) {
	for at := 0; at < len(table); at += 4 {
		var word [4]byte
		copy(word[:], table[at:])
		sum += binary.BigEndian.Uint32(word[:])
	}
	return sum
}

// toUnicode says which text each code stands for (ISO 32000-1, 9.10.3).
func (e *embedded) toUnicode() []byte {
	var list []string
	for code, text := range e.texts {
		if code == 0 {
			continue // it is not drawn
		}
		var hex strings.Builder
		for _, unit := range utf16.Encode([]rune(text)) {
			fmt.Fprintf(&hex, "%04X", unit)
		}
		list = append(list, fmt.Sprintf("<%04X> <%s>\n", code, hex.String()))
	}
	var out bytes.Buffer
	out.WriteString("/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n" +
		"/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n")
	const most = 100 // entries of a block
	for len(list) > 0 {
		block := list[:min(most, len(list))]
		list = list[len(block):]
		fmt.Fprintf(&out, "%d beginbfchar\n%sendbfchar\n", len(block), strings.Join(block, ""))
	}
	out.WriteString("endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n")
	return out.Bytes()
}
