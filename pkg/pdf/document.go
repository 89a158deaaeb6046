package pdf

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// About is what a document says of itself.
type About struct {
	Title, Subject, Author, Producer string
	// Language of the text, e.g. en (RFC 5646).
	Language string
	// Created is when what it shows was made; the document has no other time.
	Created time.Time
}

// document collects numbered objects.
type document struct {
	out     bytes.Buffer
	offsets []int // of objects from 1
	err     error
}

func (d *document) object(format string, args ...any) int {
	d.offsets = append(d.offsets, d.out.Len())
	fmt.Fprintf(&d.out, "%d 0 obj\n", len(d.offsets))
	fmt.Fprintf(&d.out, format, args...)
	d.out.WriteString("\nendobj\n")
	return len(d.offsets)
}

// stream writes an object with data. entries are those of its dictionary besides length and filter.
func (d *document) stream(entries string, data []byte, compress bool) int {
	if compress {
		var small bytes.Buffer
		w, err := zlib.NewWriterLevel(&small, zlib.BestCompression)
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil && d.err == nil {
			d.err = fmt.Errorf("compressing a part of a document: %w", err)
		}
		data, entries = small.Bytes(), entries+" /Filter /FlateDecode"
	}
	d.offsets = append(d.offsets, d.out.Len())
	fmt.Fprintf(&d.out, "%d 0 obj\n<< /Length %d %s >>\nstream\n", len(d.offsets), len(data), strings.TrimSpace(entries))
	d.out.Write(data)
	d.out.WriteString("\nendstream\nendobj\n")
	return len(d.offsets)
}

// text writes a text string (ISO 32000-1, 7.9.2.2): UTF-16 with its mark, in hexadecimal.
func text(s string) string {
	var out strings.Builder
	out.WriteString("<FEFF")
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&out, "%04X", unit)
	}
	out.WriteString(">")
	return out.String()
}

// Write ends the page and returns the document. The page cannot be drawn on any more.
func (p *Page) Write(about About) ([]byte, error) {
	var d document
	d.out.WriteString("%PDF-1.7\n%\xE2\xE3\xCF\xD3\n")
	var fonts, pictures strings.Builder
	for _, e := range p.embedded {
		fmt.Fprintf(&fonts, "/F%d %d 0 R ", e.number, d.font(e))
	}
	for n, picture := range p.pictures {
		space := "/DeviceRGB"
		if picture.grey {
			space = "/DeviceGray"
		}
		id := d.stream(fmt.Sprintf("/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8 /ColorSpace %s /Filter /DCTDecode", picture.width, picture.height, space), picture.jpeg, false)
		fmt.Fprintf(&pictures, "/P%d %d 0 R ", n+1, id)
	}
	content := d.stream("", p.content.Bytes(), true)
	metadata, err := metadata(about)
	if err != nil {
		return nil, err
	}
	described := d.stream("/Type /Metadata /Subtype /XML", metadata, false)
	const behind = 2 // the tree of pages is written behind its page
	page := d.object("<< /Type /Page /Parent %d 0 R /MediaBox [0 0 %s %s] /Contents %d 0 R /Resources << /Font << %s>> /XObject << %s>> >> >>",
		len(d.offsets)+behind, number(p.width), number(p.height), content, fonts.String(), pictures.String())
	pages := d.object("<< /Type /Pages /Count 1 /Kids [%d 0 R] >>", page)
	info := d.object("<< /Title %s /Subject %s /Author %s /Producer %s /CreationDate (D:%s) /ModDate (D:%s) >>", text(about.Title), text(about.Subject), text(about.Author),
		text(about.Producer), stamp(about.Created), stamp(about.Created))
	catalog := d.object("<< /Type /Catalog /Pages %d 0 R /Lang %s /Metadata %d 0 R /ViewerPreferences << /DisplayDocTitle true >> >>", pages, text(about.Language), described)
	if d.err != nil {
		return nil, fault.Wrap(fault.Internal, "document-unwritten", d.err, "the document could not be written")
	}
	start := d.out.Len()
	fmt.Fprintf(&d.out, "xref\n0 %d\n0000000000 65535 f \n", len(d.offsets)+1)
	for _, at := range d.offsets {
		fmt.Fprintf(&d.out, "%010d 00000 n \n", at)
	}
	const idBytes = 16
	sum := sha256.Sum256(d.out.Bytes())
	id := hex.EncodeToString(sum[:idBytes])
	fmt.Fprintf(&d.out, "trailer\n<< /Size %d /Root %d 0 R /Info %d 0 R /ID [<%s> <%s>] >>\nstartxref\n%d\n%%%%EOF\n", len(d.offsets)+1, catalog, info, id, id, start)
	return d.out.Bytes(), nil
}

func stamp(t time.Time) string { return t.UTC().Format("20060102150405") + "Z" }

// font writes a font and returns its object.
func (d *document) font(e *embedded) int {
	o := &e.face.outline
	raw := e.file()
	sum := sha256.Sum256(raw)
	name := subsetTag(sum) + "+" + e.face.name
	file := d.stream(fmt.Sprintf("/Length1 %d", len(raw)), raw, true)
	at := func(units int16) int { return int(units) * em / o.unitsPerEm }
	const symbolic, stem = 4, 80
	descriptor := d.object("<< /Type /FontDescriptor /FontName /%s /Flags %d /FontBBox [%d %d %d %d] /ItalicAngle 0 /Ascent %d /Descent %d /CapHeight %d /StemV %d /FontFile2 %d 0 R >>",
		name, symbolic, at(o.bounds[0]), at(o.bounds[1]), at(o.bounds[2]), at(o.bounds[3]), at(o.ascent), at(o.descent), at(o.ascent), stem, file)
	widths := strings.Trim(fmt.Sprint(e.widths), "[]")
	descendant := d.object("<< /Type /Font /Subtype /CIDFontType2 /BaseFont /%s /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor %d 0 R /DW 1000 /W [0 [%s]] /CIDToGIDMap /Identity >>",
		name, descriptor, widths)
	unicode := d.stream("", e.toUnicode(), true)
	return d.object("<< /Type /Font /Subtype /Type0 /BaseFont /%s /Encoding /Identity-H /DescendantFonts [%d 0 R] /ToUnicode %d 0 R >>", name, descendant, unicode)
}

// subsetTag is six letters that tell this part of a font from others (ISO 32000-1, 9.6.4).
func subsetTag(sum [sha256.Size]byte) string {
	const letters = 6
	tag := make([]byte, letters)
	for i := range tag {
		tag[i] = 'A' + sum[i]%26
	}
	return string(tag)
}

// metadata says the same as the information dictionary in XMP (ISO 16684-1).
func metadata(about About) ([]byte, error) {
	var err error
	escaped := func(s string) string {
		var out bytes.Buffer
		if e := xml.EscapeText(&out, []byte(s)); e != nil {
			err = e
		}
		return out.String()
	}
	at := about.Created.UTC().Format(time.RFC3339)
	out := fmt.Sprintf(`<?xpacket begin="`+"\uFEFF"+`" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdf="http://ns.adobe.com/pdf/1.3/">
<dc:format>application/pdf</dc:format><dc:title><rdf:Alt><rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>%s</rdf:li></rdf:Seq></dc:creator><dc:description><rdf:Alt><rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:description>
<dc:language><rdf:Bag><rdf:li>%s</rdf:li></rdf:Bag></dc:language><pdf:Producer>%s</pdf:Producer><xmp:CreateDate>%s</xmp:CreateDate><xmp:ModifyDate>%s</xmp:ModifyDate>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>`, escaped(about.Title), escaped(about.Author), escaped(about.Subject), escaped(about.Language), escaped(about.Producer), at, at)
	if err != nil {
		return nil, fmt.Errorf("describing a document: %w", err)
	}
	return []byte(out), nil
}
