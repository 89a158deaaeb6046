package derived

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// TestPack compares with the definition, bit by bit, over sizes of which few are whole bytes.
func TestPack(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var masks []*raster.Mask
		var bits []byte
		for range 1 + random.IntN(4) {
			m := raster.NewMask(1+random.IntN(21), 1+random.IntN(9))
			for i := range m.Pix {
				m.Pix[i] = []uint8{0, 0, 255, 1, 16, 128}[random.IntN(6)]
				bits = append(bits, bit(m.Pix[i]))
			}
			masks = append(masks, m)
		}
		got := pack(masks)
		if len(got)%2 != 0 || len(got) < (len(bits)+7)/8 || len(got) > (len(bits)+7)/8+1 {
			t.Fatalf("%d bytes of %d bits", len(got), len(bits))
		}
		want := make([]byte, len(got))
		for i, b := range bits {
			want[i/8] |= b << (i % 8)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d masks, the first of %d × %d: %x, expected %x", len(masks), masks[0].Width, masks[0].Height, got, want)
		}
	}
}

// BenchmarkPack packs the mask of a photograph of 3504 × 2336 pixels.
func BenchmarkPack(b *testing.B) {
	m := raster.NewMask(3504, 2336)
	for i := range m.Pix {
		if i%11 == 0 {
			m.Pix[i] = 255
		}
	}
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		pack([]*raster.Mask{m})
	}
}
