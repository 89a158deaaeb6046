package pixel_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// rle puts segments behind a header.
func rle(segments ...[]byte) []byte {
	out := make([]byte, 64)
	binary.LittleEndian.PutUint32(out, uint32(len(segments)))
	for i, s := range segments {
		if i < 15 {
			binary.LittleEndian.PutUint32(out[4+4*i:], uint32(len(out)))
		}
		out = append(out, s...)
	}
	return out
}

func TestRLE(t *testing.T) {
	t.Parallel()
	grey := []byte{253, 7, 1, 1, 2} // four times 7, then 1 and 2
	tests := []struct {
		name              string
		data              []byte
		width, components int
		bytes             int
		code              string
		want              []byte
	}{
		{"grey", rle(grey), 6, 1, 1, "", []byte{7, 7, 7, 7, 1, 2}},
		{"128 means nothing", rle([]byte{128, 253, 7, 128, 1, 1, 2}), 6, 1, 1, "", []byte{7, 7, 7, 7, 1, 2}},
		{"padding", rle([]byte{253, 7, 1, 1, 2, 0}), 6, 1, 1, "", []byte{7, 7, 7, 7, 1, 2}},
		{"16 bit: the higher byte comes first", rle([]byte{1, 1, 2}, []byte{1, 3, 4}), 2, 1, 2, "", []byte{3, 1, 4, 2}},
		{"colour", rle([]byte{1, 1, 2}, []byte{1, 3, 4}, []byte{1, 5, 6}), 2, 3, 1, "", []byte{1, 3, 5, 2, 4, 6}},
		{"16-bit colour", rle([]byte{0, 1}, []byte{0, 2}, []byte{0, 3}, []byte{0, 4}, []byte{0, 5}, []byte{0, 6}), 1, 3, 2, "", []byte{2, 1, 4, 3, 6, 5}},
		{"empty", nil, 6, 1, 1, pixel.CodeCorrupt, nil},
		{"header only", make([]byte, 64), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"too few segments", rle(grey), 6, 3, 1, pixel.CodeCorrupt, nil},
		{"too many segments", rle(grey, grey, grey, grey), 6, 3, 1, pixel.CodeCorrupt, nil},
		{"run over the end", rle([]byte{253, 7, 2, 1, 2, 3}), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"repetition over the end", rle([]byte{253, 7, 254, 1}), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"colour run over the end", rle([]byte{1, 1, 2}, []byte{1, 3, 4}, []byte{2, 5, 6, 7}), 2, 3, 1, pixel.CodeCorrupt, nil},
		{"cut in a copy", rle([]byte{253, 7, 1, 1}), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"cut in a repetition", rle([]byte{253}), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"cut between", rle([]byte{253, 7}), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"offset into the header", func() []byte { d := rle(grey); d[4], d[63] = 63, 128; return d }(), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"offset behind the end", func() []byte { d := rle(grey); d[7] = 0xFF; return d }(), 6, 1, 1, pixel.CodeCorrupt, nil},
		{"offsets out of order", func() []byte { d := rle(grey, grey, grey); d[8] = 64; d[4] = 70; return d }(), 6, 3, 1, pixel.CodeCorrupt, nil},
		{"32 bit", rle(grey, grey, grey, grey), 6, 1, 4, pixel.CodeFormat, nil},
		{"two samples", rle(grey, grey), 6, 2, 1, pixel.CodeFormat, nil},
		{"too large", rle(grey), 1 << 20, 1, 1, pixel.CodeTooLarge, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pixel.DecodeRLE(test.data, test.width, 1, test.components, test.bytes, pixel.Limits{})
			if fault.CodeOf(err) != test.code {
				t.Fatalf("got %v, want %q", err, test.code)
			}
			if err == nil && !bytes.Equal(got.Data, test.want) {
				t.Errorf("got %v, want %v", got.Data, test.want)
			}
		})
	}
}

func FuzzDecodeRLE(f *testing.F) {
	f.Add(rle([]byte{253, 7, 1, 1, 2}), 6, 1, 1, 1)
	f.Add(rle([]byte{1, 1, 2}, []byte{1, 3, 4}, []byte{1, 5, 6}), 2, 1, 3, 1)
	f.Add(rle([]byte{1, 1, 2}, []byte{1, 3, 4}), 1, 2, 1, 2)
	f.Add(rle(), 1, 1, 3, 2)
	limits := pixel.Limits{MaxPixels: 1 << 16, MaxDimension: 1 << 12}
	f.Fuzz(func(t *testing.T, data []byte, width, height, components, size int) {
		s, err := pixel.DecodeRLE(data, width, height, components, size, limits)
		checkSamples(t, s, err, limits)
	})
}

// checkSamples is what every decoder owes: sound samples within the limits, or an error with a code.
func checkSamples(t *testing.T, s *pixel.Samples, err error, limits pixel.Limits) {
	t.Helper()
	if err != nil {
		if fault.CodeOf(err) == "" || fault.Is(err, fault.Internal) || s != nil {
			t.Fatalf("error without a code, or with samples: %v", err)
		}
		return
	}
	if limits.Check(s.Width, s.Height) != nil || len(s.Data) != s.Width*s.Height*s.Components*s.Bytes {
		t.Fatalf("%d × %d × %d × %d bytes, but %d", s.Width, s.Height, s.Components, s.Bytes, len(s.Data))
	}
}
