package dicom_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
)

// bigEndian encodes a data set in Explicit VR Big Endian: numbers of two bytes are swapped, other values are as they are.
func bigEndian(e elements) []byte {
	be := binary.BigEndian
	out := header(dicom.ExplicitBigEndian, "1.2.3.4")
	for _, t := range slices.Sorted(maps.Keys(e)) {
		v := bytes.Clone(e[t].Value)
		if e[t].VR == "US" {
			for i := 0; i < len(v); i += 2 {
				v[i], v[i+1] = v[i+1], v[i]
			}
		}
		out = be.AppendUint16(be.AppendUint16(out, uint16(t>>16)), uint16(t))
		if e[t].VR == "OB" || e[t].VR == "OW" {
			out = be.AppendUint32(append(out, e[t].VR[0], e[t].VR[1], 0, 0), uint32(len(v)))
		} else {
			out = be.AppendUint16(append(out, e[t].VR...), uint16(len(v)))
		}
		out = append(out, v...)
	}
	return out
}

// TestBigEndian: 16-bit samples and words are swapped, bytes are not.
func TestBigEndian(t *testing.T) {
	t.Parallel()
	grey := elements{0x00280002: number(1), 0x00280004: text("CS", "MONOCHROME2")}
	palette := elements{0x00280002: number(1), 0x00280004: text("CS", "PALETTE COLOR"), 0x00281101: raw("US", []byte{4, 0, 0, 0, 8, 0}), 0x00281102: raw("US", []byte{4, 0, 0, 0, 8, 0}),
		0x00281103: raw("US", []byte{2, 0, 0, 0, 16, 0}), 0x00281201: raw("OW", []byte{2, 1, 4, 3}), 0x00281202: raw("OB", []byte{1, 2, 3, 4}), 0x00281203: raw("OW", []byte{5, 0, 6, 0}),
		0x7FE00010: raw("OB", []byte{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3})}
	ascending := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	for name, test := range map[string]struct {
		changes elements
		want    func(i int) [3]byte
	}{
		"bytes":          {grey.With(elements{0x7FE00010: raw("OB", ascending)}), func(i int) [3]byte { return [3]byte{byte(i), byte(i), byte(i)} }},
		"bytes in words": {grey.With(elements{0x7FE00010: raw("OW", ascending)}), func(i int) [3]byte { v := byte(i ^ 1); return [3]byte{v, v, v} }},
		"16 bit": {grey.With(elements{0x00280100: number(16), 0x00280101: number(16), 0x00280102: number(15), 0x7FE00010: raw("OW", append(bytes.Clone(ascending), ascending...))}),
			func(i int) [3]byte { v := byte(2 * i % 12); return [3]byte{v, v, v} }},
		"palette": {palette, func(i int) [3]byte { v := byte(i%4 + 1); return [3]byte{v, v, []byte{5, 6, 6, 6}[i%4]} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, instance, err := describe(t, bigEndian(native().With(test.changes)))
			if err != nil || instance.Rows != 3 || instance.Columns != 4 {
				t.Fatalf("%v, %+v", err, instance)
			}
			picture, _, err := f.Decode()
			if err != nil {
				t.Fatal(err)
			}
			for i := range 12 {
				if got := [3]byte(picture.Pix[3*i:]); got != test.want(i) {
					t.Fatalf("pixel %d is %v, want %v", i, got, test.want(i))
				}
			}
		})
	}
}
