package pixel_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func words(values ...uint16) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func TestPalettes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		data pixel.PaletteData
		code string
		// What the pixel values from 0 on become.
		want []uint8
	}{
		{"bytes", pixel.PaletteData{Entries: 3, Bits: 8, Data: []byte{7, 8, 9, 0}}, "", []uint8{7, 8, 9, 9}},
		{"first value", pixel.PaletteData{Entries: 2, First: 2, Bits: 8, Data: []byte{7, 8}}, "", []uint8{7, 7, 7, 8, 8}},
		{"negative first value", pixel.PaletteData{Entries: 3, First: -2, Bits: 8, Data: []byte{7, 8, 9, 0}}, "", []uint8{9, 9}},
		{"words", pixel.PaletteData{Entries: 2, Bits: 16, Data: words(0x1234, 0xFF00)}, "", []uint8{0x12, 0xFF}},
		{"bytes in words", pixel.PaletteData{Entries: 2, Bits: 8, Data: words(0x34, 0xFF)}, "", []uint8{0x34, 0xFF}},
		{"bytes called words", pixel.PaletteData{Entries: 2, Bits: 16, Data: []byte{7, 8}}, "", []uint8{7, 8}},
		{"too short", pixel.PaletteData{Entries: 3, Bits: 8, Data: []byte{7, 8}}, pixel.CodePalette, nil},
		{"no entries", pixel.PaletteData{Entries: 0, Bits: 8, Data: []byte{7, 8}}, pixel.CodePalette, nil},
		{"12 bits", pixel.PaletteData{Entries: 1, Bits: 12, Data: words(1)}, pixel.CodeFormat, nil},
		{"discrete and linear", pixel.PaletteData{Entries: 7, Bits: 16, Segmented: true, Data: words(0, 2, 0x0A00, 0x1400, 1, 5, 0x1900)}, "",
			[]uint8{10, 20, 21, 22, 23, 24, 25}},
		{"8-bit segments", pixel.PaletteData{Entries: 4, Bits: 8, Segmented: true, Data: []byte{0, 1, 10, 1, 3, 4}}, "", []uint8{10, 8, 6, 4}},
		{"indirect", pixel.PaletteData{Entries: 6, Bits: 8, Segmented: true, Data: []byte{0, 1, 10, 1, 2, 20, 2, 2, 0, 0, 0, 0}}, "", []uint8{10, 15, 20, 10, 15, 20}},
		{"indirect words", pixel.PaletteData{Entries: 4, Bits: 16, Segmented: true, Data: words(0, 1, 0x0A00, 0, 1, 0x1400, 2, 2, 0, 0)}, "", []uint8{10, 20, 10, 20}},
		{"indirect from the second segment", pixel.PaletteData{Entries: 3, Bits: 16, Segmented: true, Data: words(0, 1, 0x0A00, 0, 1, 0x1400, 2, 1, 6, 0)}, "", []uint8{10, 20, 20}},
		{"indirect within indirect", pixel.PaletteData{Entries: 60, Bits: 8, Segmented: true, Data: []byte{0, 1, 10, 2, 2, 0, 0, 0, 0}}, pixel.CodePalette, nil},
		{"indirect of another indirect", pixel.PaletteData{Entries: 3, Bits: 8, Segmented: true, Data: []byte{0, 1, 10, 2, 1, 0, 0, 0, 0, 2, 1, 3, 0, 0, 0}}, pixel.CodePalette, nil},
		{"indirect first", pixel.PaletteData{Entries: 3, Bits: 8, Segmented: true, Data: []byte{2, 1, 6, 0, 0, 0, 0, 1, 10}}, pixel.CodePalette, nil},
		{"indirect beyond", pixel.PaletteData{Entries: 3, Bits: 8, Segmented: true, Data: []byte{0, 1, 10, 2, 1, 0xFF, 0xFF, 0xFF, 0xFF}}, pixel.CodePalette, nil},
		{"linear first", pixel.PaletteData{Entries: 3, Bits: 8, Segmented: true, Data: []byte{1, 3, 6}}, pixel.CodePalette, nil},
		{"empty segment", pixel.PaletteData{Entries: 3, Bits: 8, Segmented: true, Data: []byte{0, 0, 0, 3, 1, 2, 3}}, pixel.CodePalette, nil},
		{"too many", pixel.PaletteData{Entries: 2, Bits: 8, Segmented: true, Data: []byte{0, 3, 1, 2, 3}}, pixel.CodePalette, nil},
		{"too few", pixel.PaletteData{Entries: 4, Bits: 8, Segmented: true, Data: []byte{0, 3, 1, 2, 3}}, pixel.CodePalette, nil},
		{"unknown kind", pixel.PaletteData{Entries: 3, Bits: 8, Segmented: true, Data: []byte{3, 3, 1, 2, 3}}, pixel.CodePalette, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := pixel.NewPalette(test.data, test.data, test.data)
			if fault.CodeOf(err) != test.code {
				t.Fatalf("got %v, want %q", err, test.code)
			}
			if err != nil {
				return
			}
			s := &pixel.Samples{Width: len(test.want), Height: 1, Components: 1, Bytes: 1}
			for i := range test.want {
				s.Data = append(s.Data, uint8(i))
			}
			picture, err := s.RGB(pixel.Format{Photometric: "PALETTE COLOR", StoredBits: 8, Palette: p})
			if err != nil {
				t.Fatal(err)
			}
			var got []uint8
			for i := 0; i < len(picture.Pix); i += 3 {
				got = append(got, picture.Pix[i+1])
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestPaletteSigned: pixel values of two's complement, and a table for each colour.
func TestPaletteSigned(t *testing.T) {
	t.Parallel()
	table := func(v ...byte) pixel.PaletteData {
		return pixel.PaletteData{Entries: 3, First: -1, Bits: 8, Data: v}
	}
	p, err := pixel.NewPalette(table(1, 2, 3), table(11, 12, 13), table(21, 22, 23))
	if err != nil {
		t.Fatal(err)
	}
	s := &pixel.Samples{Width: 4, Height: 1, Components: 1, Bytes: 1, Data: []byte{0xFF, 0, 1, 0x80}}
	picture, err := s.RGB(pixel.Format{Photometric: "PALETTE COLOR", StoredBits: 8, Signed: true, Palette: p})
	if want := []byte{1, 11, 21, 2, 12, 22, 3, 13, 23, 1, 11, 21}; err != nil || !slices.Equal(picture.Pix, want) {
		t.Errorf("%v, %v; want %v", picture, err, want)
	}
}

func FuzzPalette(f *testing.F) {
	f.Add(7, 0, 16, true, words(0, 2, 0x0A00, 0x1400, 1, 5, 0x1900))
	f.Add(6, -3, 8, true, []byte{0, 1, 10, 1, 2, 20, 2, 2, 0, 0, 0, 0})
	f.Add(3, 2, 8, false, []byte{7, 8, 9, 0})
	f.Add(pixel.MaxPaletteEntries, 0, 16, true, words(0, 1, 9, 1, 65535, 7, 2, 1, 0, 0))
	f.Fuzz(func(t *testing.T, entries, first, bits int, segmented bool, data []byte) {
		table := pixel.PaletteData{Entries: entries, First: first, Bits: bits, Segmented: segmented, Data: data}
		p, err := pixel.NewPalette(table, table, table)
		if err != nil {
			if fault.CodeOf(err) == "" || fault.Is(err, fault.Internal) {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		s := &pixel.Samples{Width: 4, Height: 1, Components: 1, Bytes: 2, Data: []byte{0, 0, 255, 255, 0, 128, 255, 127}}
		for _, signed := range []bool{false, true} {
			if _, err := s.RGB(pixel.Format{Photometric: "PALETTE COLOR", StoredBits: 16, Signed: signed, Palette: p}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
