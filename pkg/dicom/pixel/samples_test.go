package pixel_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestFormatLevels(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		format    pixel.Format
		bytes     int
		raw, want []int
	}{
		{"8 bit", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 8}, 1, []int{0, 1, 128, 255}, []int{0, 1, 128, 255}},
		{"8 bit inverse", pixel.Format{Photometric: "MONOCHROME1", StoredBits: 8}, 1, []int{0, 1, 128, 255}, []int{255, 254, 127, 0}},
		{"8 bit signed", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 8, Signed: true}, 1, []int{0x80, 0xFF, 0, 0x7F}, []int{0, 127, 128, 255}},
		{"1 bit", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 1}, 1, []int{0, 1}, []int{0, 255}},
		{"6 bit", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 6}, 1, []int{0, 1, 32, 63}, []int{0, 4, 130, 255}},
		{"6 bit, others are not looked at", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 6}, 1, []int{0xC0, 0xFF}, []int{0, 255}},
		{"12 bit", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 12}, 2, []int{0, 15, 16, 4095, 0xF000}, []int{0, 0, 1, 255, 0}},
		{"12 bit from bit 4", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 12, Shift: 4}, 2, []int{0x000F, 0x0100, 0xFFFF}, []int{0, 1, 255}},
		{"16 bit", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 16}, 2, []int{255, 256, 65535}, []int{0, 1, 255}},
		{"16 bit signed", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 16, Signed: true}, 2, []int{0x8000, 0xFFFF, 0, 0x7FFF}, []int{0, 127, 128, 255}},
		{"12 bit signed", pixel.Format{Photometric: "MONOCHROME2", StoredBits: 12, Signed: true}, 2, []int{0x0800, 0xF800, 0x0FFF, 0x07FF}, []int{0, 0, 127, 255}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &pixel.Samples{Width: len(test.raw), Height: 1, Components: 1, Bytes: test.bytes}
			for _, v := range test.raw {
				if test.bytes == 1 {
					s.Data = append(s.Data, uint8(v))
				} else {
					s.Data = binary.LittleEndian.AppendUint16(s.Data, uint16(v))
				}
			}
			p, err := s.RGB(test.format)
			if err != nil {
				t.Fatal(err)
			}
			for x, want := range test.want {
				if r, g, b := p.At(x, 0); int(r) != want || g != r || b != r {
					t.Errorf("%#x is %d %d %d, want %d", test.raw[x], r, g, b, want)
				}
			}
		})
	}
}

// TestYBR compares all colours of a grid with the formula of PS3.3 C.7.6.3.1.2 in real numbers.
func TestYBR(t *testing.T) {
	t.Parallel()
	s := &pixel.Samples{Width: 52 * 52, Height: 52, Components: 3, Bytes: 1}
	for y := 0; y < 256; y += 5 {
		for cb := 0; cb < 256; cb += 5 {
			for cr := 0; cr < 256; cr += 5 {
				s.Data = append(s.Data, uint8(y), uint8(cb), uint8(cr))
			}
		}
	}
	p, err := s.RGB(pixel.Format{Photometric: "YBR_FULL", StoredBits: 8})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(s.Data); i += 3 {
		y, cb, cr := float64(s.Data[i]), float64(s.Data[i+1])-128, float64(s.Data[i+2])-128
		for c, want := range []float64{y + 1.402*cr, y - 0.344136*cb - 0.714136*cr, y + 1.772*cb} {
			if got := float64(p.Pix[i+c]); math.Abs(got-min(max(want, 0), 255)) > 0.51 {
				t.Fatalf("component %d of %v is %v, want %.3f", c, s.Data[i:i+3], got, want)
			}
		}
	}
}

func TestFormatRefusals(t *testing.T) {
	t.Parallel()
	for _, f := range []pixel.Format{
		{Photometric: "RGB", StoredBits: 8}, {Photometric: "YBR_PARTIAL_420", StoredBits: 8}, {Photometric: "MONOCHROME2", StoredBits: 17},
		{Photometric: "MONOCHROME2", StoredBits: 0}, {Photometric: "MONOCHROME2", StoredBits: 12, Shift: 5}, {Photometric: "PALETTE COLOR", StoredBits: 8},
	} {
		s := &pixel.Samples{Width: 1, Height: 1, Components: 1, Bytes: 2, Data: []byte{0, 0}}
		if p, err := s.RGB(f); fault.CodeOf(err) != pixel.CodeFormat || !fault.Is(err, fault.Unsupported) || p != nil {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		layout    pixel.Layout
		raw, want []byte
	}{
		{"interleaved", pixel.Layout{Width: 2, Height: 1, Components: 3, AllocatedBits: 8}, []byte{1, 2, 3, 4, 5, 6}, []byte{1, 2, 3, 4, 5, 6}},
		{"planar", pixel.Layout{Width: 2, Height: 1, Components: 3, AllocatedBits: 8, Planar: true}, []byte{1, 4, 2, 5, 3, 6}, []byte{1, 2, 3, 4, 5, 6}},
		{"planar grey", pixel.Layout{Width: 2, Height: 1, Components: 1, AllocatedBits: 8, Planar: true}, []byte{1, 2}, []byte{1, 2}},
		{"planar 16 bit", pixel.Layout{Width: 2, Height: 1, Components: 3, AllocatedBits: 16, Planar: true}, []byte{1, 0, 4, 1, 2, 0, 5, 1, 3, 0, 6, 1}, []byte{1, 0, 2, 0, 3, 0, 4, 1, 5, 1, 6, 1}},
		{"16 bit swapped", pixel.Layout{Width: 2, Height: 1, Components: 1, AllocatedBits: 16, BytesSwapped: true}, []byte{1, 2, 3, 4}, []byte{2, 1, 4, 3}},
		{"8 bit in swapped words", pixel.Layout{Width: 3, Height: 1, Components: 1, AllocatedBits: 8, BytesSwapped: true}, []byte{2, 1, 0, 3}, []byte{1, 2, 3}},
		{"1 bit", pixel.Layout{Width: 5, Height: 2, Components: 1, AllocatedBits: 1}, []byte{0b0011_0101, 0b11}, []byte{1, 0, 1, 0, 1, 1, 0, 0, 1, 1}},
		{"halved chroma", pixel.Layout{Width: 2, Height: 2, Components: 3, AllocatedBits: 8, ChromaHalved: true}, []byte{1, 2, 9, 8, 3, 4, 7, 6}, []byte{1, 9, 8, 2, 9, 8, 3, 7, 6, 4, 7, 6}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if n := test.layout.ReadBytes(); n != int64(len(test.raw)) {
				t.Fatalf("%d bytes are read, want %d", n, len(test.raw))
			}
			s, err := test.layout.Samples(test.raw)
			if err != nil || string(s.Data) != string(test.want) {
				t.Errorf("%v, %v; want %v", s, err, test.want)
			}
		})
	}
	for _, l := range []pixel.Layout{
		{Width: 2, Height: 1, Components: 2, AllocatedBits: 8}, {Width: 2, Height: 1, Components: 3, AllocatedBits: 1}, {Width: 2, Height: 1, Components: 1, AllocatedBits: 32},
		{Width: 3, Height: 1, Components: 3, AllocatedBits: 8, ChromaHalved: true}, {Width: 2, Height: 1, Components: 3, AllocatedBits: 16, ChromaHalved: true},
	} {
		if _, err := l.Samples(make([]byte, 100)); fault.CodeOf(err) != pixel.CodeFormat {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
