package dicom_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestUncompressed decodes 4 × 3 pixels in every uncompressed transfer syntax, colour model, order of samples and depth, and
// compares with what the standard's formulas make of the same numbers.
func TestUncompressed(t *testing.T) {
	t.Parallel()
	colours := native()[0x7FE00010].Value // 12 pixels of three samples
	same := func(a, b, c byte) [3]byte { return [3]byte{a, b, c} }
	ybr := func(y, cb, cr byte) [3]byte { // PS3.3 C.7.6.3.1.2
		level := func(v float64) byte { return byte(min(max(math.Round(v), 0), 255)) }
		b, r := float64(cb)-128, float64(cr)-128
		return [3]byte{level(float64(y) + 1.402*r), level(float64(y) - .344136*b - .714136*r), level(float64(y) + 1.772*b)}
	}
	table := [3][]byte{{9, 200, 30, 255}, {8, 100, 20, 0}, {7, 50, 10, 128}}
	for _, model := range []struct {
		photometric string
		samples     int
		planar      bool
		want        func(i int, bits int) [3]byte // of pixel i
	}{
		{"RGB", 3, false, func(i, _ int) [3]byte { return same(colours[3*i], colours[3*i+1], colours[3*i+2]) }},
		{"RGB", 3, true, func(i, _ int) [3]byte { return same(colours[i], colours[12+i], colours[24+i]) }},
		{"YBR_FULL", 3, false, func(i, _ int) [3]byte { return ybr(colours[3*i], colours[3*i+1], colours[3*i+2]) }},
		{"YBR_FULL", 3, true, func(i, _ int) [3]byte { return ybr(colours[i], colours[12+i], colours[24+i]) }},
		{"YBR_FULL_422", 3, false, func(i, _ int) [3]byte { return ybr(colours[i/2*4+i%2], colours[i/2*4+2], colours[i/2*4+3]) }},
		{"MONOCHROME2", 1, false, func(i, _ int) [3]byte { return same(colours[i], colours[i], colours[i]) }},
		{"MONOCHROME1", 1, false, func(i, _ int) [3]byte { return same(^colours[i], ^colours[i], ^colours[i]) }},
		{"PALETTE COLOR", 1, false, func(i, bits int) [3]byte {
			at := min(int(colours[i]), 3) // beyond the table its last entry counts
			if bits > 8 && i == 0 {
				at = 1 // a lower bit is set
			}
			return same(table[0][at], table[1][at], table[2][at])
		}},
	} {
		for _, bits := range []int{8, 12, 16} {
			for _, syntax := range []string{dicom.ImplicitLittleEndian, dicom.ExplicitLittleEndian, dicom.DeflatedLittleEndian, dicom.ExplicitBigEndian} {
				name := fmt.Sprintf("%s %d bit planar %v in %s", model.photometric, bits, model.planar, syntax)
				data := native().With(elements{0x00280002: number(uint16(model.samples)), 0x00280004: text("CS", model.photometric), 0x00280006: number(0)})
				if model.planar {
					data[0x00280006] = number(1)
				}
				stored := 12 * model.samples
				if model.photometric == "YBR_FULL_422" {
					stored = 24
				}
				data[0x7FE00010] = raw("OB", colours[:stored])
				if model.photometric == "PALETTE COLOR" {
					for c := range uint32(3) {
						data[0x00281101+c], data[0x00281201+c] = raw("US", []byte{4, 0, 0, 0, 8, 0}), raw("OB", table[c])
					}
				}
				code := ""
				if bits > 8 {
					data = data.With(data.Sixteen(bits))
					if model.photometric == "YBR_FULL_422" {
						data[0x7FE00010], code = raw("OW", make([]byte, 48)), dicom.CodePixelFormat
					}
				}
				file := encodeAs(t, data, syntax)
				f, err := dicom.Open(bytes.NewReader(file), int64(len(file)), dicom.Limits{})
				if err != nil {
					t.Fatal(name, err)
				}
				picture, notes, err := f.Decode()
				if fault.CodeOf(err) != code || len(notes) > 0 {
					t.Errorf("%s: %v, notes %v; want %q", name, err, notes, code)
				}
				if err != nil {
					continue
				}
				for i := range 12 {
					if got, want := [3]byte(picture.Pix[3*i:]), model.want(i, bits); got != want {
						t.Errorf("%s: pixel %d is %v, want %v", name, i, got, want)
						break
					}
				}
			}
		}
	}
}

// encodeAs encodes a data set in an uncompressed transfer syntax.
func encodeAs(t *testing.T, e elements, syntax string) []byte {
	t.Helper()
	switch syntax {
	case dicom.ExplicitBigEndian:
		swapped := maps.Clone(e)
		if v := e[0x7FE00010]; v.VR == "OW" {
			words := bytes.Clone(v.Value)
			for i := 0; i+1 < len(words); i += 2 {
				words[i], words[i+1] = words[i+1], words[i]
			}
			swapped[0x7FE00010] = raw("OW", words)
		}
		return bigEndian(swapped)
	case dicom.DeflatedLittleEndian:
		return deflated(t, e.Dataset(false))
	}
	return e.Encode(syntax == dicom.ImplicitLittleEndian)
}

// TestSixteenBits: the CC0 photograph with 9 to 16 bits a sample, uncompressed and RLE, gives the pixels of its 8-bit original,
// whatever the lower bits hold.
func TestSixteenBits(t *testing.T) {
	t.Parallel()
	original, err := os.ReadFile(shared.Dir(t, "dicom", "syntaxes", "explicit-le.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	f, instance, err := describe(t, original)
	if err != nil {
		t.Fatal(err)
	}
	picture, _, err := f.Decode()
	if err != nil {
		t.Fatal(err)
	}
	eight := native().With(dicomtest.Picture(instance.Columns, instance.Rows, picture.Pix))
	for stored := 9; stored <= 16; stored++ {
		sixteen := eight.With(eight.Sixteen(stored))
		words := sixteen[0x7FE00010].Value
		var planes [][]byte
		for c := range 3 {
			planes = append(planes, plane(words, 2*c+1, 6), plane(words, 2*c, 6))
		}
		packedChanges := sixteen.With(elements{0x7FE00010: {}})
		upper := sixteen.With(elements{0x00280102: number(15), 0x7FE00010: raw("OW", shifted(words, 16-stored))})
		for name, file := range map[string][]byte{
			"uncompressed":            sixteen.Encode(false),
			"from the highest bit on": upper.Encode(true),
			"RLE":                     compressed(dicom.RLELossless, packedChanges, nil, packed(planes...)),
		} {
			f, got, err := describe(t, file)
			if err != nil || !got.Analyse || got.SOPClassUID != dicom.ClassOphthalmic16Bit {
				t.Fatalf("%s, %d bits: %v, %+v", name, stored, err, got)
			}
			decoded, notes, err := f.Decode()
			if err != nil || len(notes) > 0 {
				t.Fatalf("%s, %d bits: %v, notes %v", name, stored, err, notes)
			}
			if !bytes.Equal(decoded.Pix, picture.Pix) {
				t.Errorf("%s, %d bits: other pixels than the 8-bit original's", name, stored)
			}
		}
	}
}

// shifted moves every 16-bit word up by some bits.
func shifted(words []byte, by int) []byte {
	out := make([]byte, 0, len(words))
	for i := 0; i < len(words); i += 2 {
		out = binary.LittleEndian.AppendUint16(out, binary.LittleEndian.Uint16(words[i:])<<by)
	}
	return out
}
