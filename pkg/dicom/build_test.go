package dicom_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
)

// element is a value with its representation, as it lies in an Explicit VR file.
type element struct {
	vr    string
	value []byte
}

func text(vr, value string) element {
	b := []byte(value)
	if len(b)%2 == 1 {
		pad := byte(' ')
		if vr == "UI" {
			pad = 0
		}
		b = append(b, pad)
	}
	return element{vr, b}
}

func number(value uint16) element {
	return element{"US", binary.LittleEndian.AppendUint16(nil, value)}
}

// elements is a data set by tag.
type elements map[uint32]element

// native is a sound OP image of 4 × 3 pixels, uncompressed RGB.
func native() elements {
	pixels := make([]byte, 36)
	for i := range pixels {
		pixels[i] = byte(7 * i)
	}
	return elements{
		0x00080005: text("CS", "ISO_IR 192"),
		0x00080008: text("CS", `ORIGINAL\PRIMARY\\COLOR`),
		0x00080016: text("UI", dicom.ClassOphthalmic8Bit),
		0x00080018: text("UI", "1.2.3.4"),
		0x00080020: text("DA", "20260302"),
		0x0008002A: text("DT", "20260302101010.123+0100"),
		0x00080060: text("CS", "OP"),
		0x00100010: text("PN", "Müller^Zoë"),
		0x00100020: text("LO", "P1"),
		0x00100030: text("DA", "19600101"),
		0x00100040: text("CS", "F"),
		0x0020000D: text("UI", "1.2.3"),
		0x0020000E: text("UI", "1.2.3.9"),
		0x00200062: text("CS", "R"),
		0x00280002: number(3),
		0x00280004: text("CS", "RGB"),
		0x00280006: number(0),
		0x00280008: text("IS", "1"),
		0x00280010: number(3),
		0x00280011: number(4),
		0x00280100: number(8),
		0x00280101: number(8),
		0x00280102: number(7),
		0x00280103: number(0),
		0x7FE00010: {"OB", pixels},
	}
}

// with returns a copy with changes; an element without representation is removed.
func (e elements) with(changes elements) elements {
	out := maps.Clone(e)
	for t, v := range changes {
		if v.vr == "" {
			delete(out, t)
		} else {
			out[t] = v
		}
	}
	return out
}

// encode writes a Part 10 file in Explicit or Implicit VR Little Endian.
func (e elements) encode(implicit bool) []byte {
	syntax := dicom.ExplicitLittleEndian
	if implicit {
		syntax = dicom.ImplicitLittleEndian
	}
	return append(header(syntax, string(bytes.TrimRight(e[0x00080018].value, "\x00"))), e.dataset(implicit)...)
}

// header is preamble, magic and group 2.
func header(syntax, sop string) []byte {
	meta := elements{
		0x00020001: {"OB", []byte{0, 1}},
		0x00020002: text("UI", dicom.ClassOphthalmic8Bit),
		0x00020003: text("UI", sop),
		0x00020010: text("UI", syntax),
	}.dataset(false)
	out := append(make([]byte, 128), "DICM"...)
	out = append(out, elements{0x00020000: {"UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta)))}}.dataset(false)...)
	return append(out, meta...)
}

func (e elements) dataset(implicit bool) []byte {
	var out []byte
	for _, t := range slices.Sorted(maps.Keys(e)) {
		out = append(out, encodeElement(t, e[t], implicit)...)
	}
	return out
}

func encodeElement(t uint32, e element, implicit bool) []byte {
	le := binary.LittleEndian
	out := le.AppendUint16(le.AppendUint16(nil, uint16(t>>16)), uint16(t))
	switch {
	case implicit:
		out = le.AppendUint32(out, uint32(len(e.value)))
	case slices.Contains([]string{"OB", "OW", "SQ", "UN", "OF", "UT"}, e.vr):
		out = le.AppendUint32(append(out, e.vr[0], e.vr[1], 0, 0), uint32(len(e.value)))
	default:
		out = le.AppendUint16(append(out, e.vr...), uint16(len(e.value)))
	}
	return append(out, e.value...)
}

// sequence encodes items of defined length.
func sequence(items ...elements) element {
	var out []byte
	for _, item := range items {
		data := item.dataset(false)
		out = binary.LittleEndian.AppendUint32(append(out, 0xFE, 0xFF, 0x00, 0xE0), uint32(len(data)))
		out = append(out, data...)
	}
	return element{"SQ", out}
}

func TestBuilderMakesSoundFiles(t *testing.T) {
	t.Parallel()
	for _, implicit := range []bool{false, true} {
		f, got, err := describe(t, native().encode(implicit))
		if err != nil {
			t.Fatal(err)
		}
		if got.Patient.Name != "Müller^Zoë" || got.AcquiredAt != "2026-03-02T10:10:10" || !got.Analyse || len(got.Notes) != 0 {
			t.Errorf("%+v", got)
		}
		picture, _, err := f.Decode()
		if err != nil || !bytes.Equal(picture.Pix, native()[0x7FE00010].value) {
			t.Errorf("pixels %v, %v", picture, err)
		}
	}
}
