// Package dicomtest makes small DICOM files, sound or broken on purpose, for tests.
package dicomtest

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/noctua-screening/noctua/pkg/dicom"
)

// Element is a value with its representation, as it lies in an Explicit VR file.
type Element struct {
	VR    string
	Value []byte
}

// Text makes a text value, padded to even length.
func Text(vr, value string) Element {
	b := []byte(value)
	if len(b)%2 == 1 {
		pad := byte(' ')
		if vr == "UI" {
			pad = 0
		}
		b = append(b, pad)
	}
	return Element{vr, b}
}

// Number makes an unsigned 16-bit value.
func Number(value uint16) Element {
	return Element{"US", binary.LittleEndian.AppendUint16(nil, value)}
}

// Elements is a data set by tag.
type Elements map[uint32]Element

// Native is a sound OP image of 4 × 3 pixels, uncompressed RGB.
func Native() Elements {
	pixels := make([]byte, 36)
	for i := range pixels {
		pixels[i] = byte(7 * i)
	}
	return Elements{
		0x00080005: Text("CS", "ISO_IR 192"),
		0x00080008: Text("CS", `ORIGINAL\PRIMARY\\COLOR`),
		0x00080016: Text("UI", dicom.ClassOphthalmic8Bit),
		0x00080018: Text("UI", "1.2.3.4"),
		0x00080020: Text("DA", "20260302"),
		0x0008002A: Text("DT", "20260302101010.123+0100"),
		0x00080060: Text("CS", "OP"),
		0x00100010: Text("PN", "Müller^Zoë"),
		0x00100020: Text("LO", "P1"),
		0x00100030: Text("DA", "19600101"),
		0x00100040: Text("CS", "F"),
		0x0020000D: Text("UI", "1.2.3"),
		0x0020000E: Text("UI", "1.2.3.9"),
		0x00200062: Text("CS", "R"),
		0x00280002: Number(3),
		0x00280004: Text("CS", "RGB"),
		0x00280006: Number(0),
		0x00280008: Text("IS", "1"),
		0x00280010: Number(3),
		0x00280011: Number(4),
		0x00280100: Number(8),
		0x00280101: Number(8),
		0x00280102: Number(7),
		0x00280103: Number(0),
		0x7FE00010: {"OB", pixels},
	}
}

// Picture returns changes that make a data set hold an uncompressed RGB picture of 8-bit samples.
func Picture(width, height int, rgb []byte) Elements {
	return Elements{
		0x00280010: Number(uint16(height)), //nolint:gosec // tests' pictures are small
		0x00280011: Number(uint16(width)),  //nolint:gosec // tests' pictures are small
		0x7FE00010: {"OB", rgb},
	}
}

// Sixteen returns changes that make a data set of 8-bit samples an Ophthalmic Photography 16 Bit Image with so many bits stored (9 to
// 16): the upper 8 of them are the samples as they were, the lower ones all bits but zeros, so that rounding shows.
func (e Elements) Sixteen(stored int) Elements {
	var words []byte
	for i, v := range e[0x7FE00010].Value {
		low := stored - 8
		word := uint16(v)<<low | uint16(1<<low-1)&uint16(i%256+1) //nolint:gosec // within 16 bits
		words = binary.LittleEndian.AppendUint16(words, word)
	}
	return Elements{
		0x00080016: Text("UI", dicom.ClassOphthalmic16Bit),
		0x00280100: Number(16),
		0x00280101: Number(uint16(stored)),     //nolint:gosec // 9 to 16
		0x00280102: Number(uint16(stored - 1)), //nolint:gosec // 9 to 16
		0x7FE00010: {"OW", words},
	}
}

// With returns a copy with changes; an Element without representation is removed.
func (e Elements) With(changes Elements) Elements {
	out := maps.Clone(e)
	for t, v := range changes {
		if v.VR == "" {
			delete(out, t)
		} else {
			out[t] = v
		}
	}
	return out
}

// Encode writes a Part 10 file in Explicit or Implicit VR Little Endian.
func (e Elements) Encode(implicit bool) []byte {
	syntax := dicom.ExplicitLittleEndian
	if implicit {
		syntax = dicom.ImplicitLittleEndian
	}
	uid := func(t uint32) string { return string(bytes.TrimRight(e[t].Value, "\x00")) }
	return append(header(uid(0x00080016), uid(0x00080018), syntax), e.Dataset(implicit)...)
}

// Header is preamble, magic and group 2 of an Ophthalmic Photography 8 Bit Image.
func Header(syntax, sop string) []byte { return header(dicom.ClassOphthalmic8Bit, sop, syntax) }

func header(class, sop, syntax string) []byte {
	meta := Elements{
		0x00020001: {"OB", []byte{0, 1}},
		0x00020002: Text("UI", class),
		0x00020003: Text("UI", sop),
		0x00020010: Text("UI", syntax),
	}.Dataset(false)
	out := append(make([]byte, 128), "DICM"...)
	out = append(out, Elements{0x00020000: {"UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta)))}}.Dataset(false)...)
	return append(out, meta...)
}

// Dataset encodes the elements in the order of their tags.
func (e Elements) Dataset(implicit bool) []byte {
	var out []byte
	for _, t := range slices.Sorted(maps.Keys(e)) {
		out = append(out, EncodeElement(t, e[t], implicit)...)
	}
	return out
}

// EncodeElement encodes one element.
func EncodeElement(t uint32, e Element, implicit bool) []byte {
	le := binary.LittleEndian
	out := le.AppendUint16(le.AppendUint16(nil, uint16(t>>16)), uint16(t))
	switch {
	case implicit:
		out = le.AppendUint32(out, uint32(len(e.Value)))
	case slices.Contains([]string{"OB", "OW", "OV", "SQ", "UN", "OF", "UT"}, e.VR):
		out = le.AppendUint32(append(out, e.VR[0], e.VR[1], 0, 0), uint32(len(e.Value)))
	default:
		out = le.AppendUint16(append(out, e.VR...), uint16(len(e.Value)))
	}
	return append(out, e.Value...)
}

// Sequence encodes items of defined length.
func Sequence(items ...Elements) Element {
	var out []byte
	for _, item := range items {
		data := item.Dataset(false)
		out = binary.LittleEndian.AppendUint32(append(out, 0xFE, 0xFF, 0x00, 0xE0), uint32(len(data)))
		out = append(out, data...)
	}
	return Element{"SQ", out}
}
