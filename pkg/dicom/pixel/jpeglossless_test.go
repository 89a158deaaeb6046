package pixel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// lossless is what encode writes as lossless JPEG.
type lossless struct {
	width, height, components int
	precision, predictor      int
	shift                     int // point transform
	restartRows               int // rows between restart markers; 0: none
	scans                     int // 1, or one for each component
	samples                   []int
}

// encode is written from T.81 annex H. All 17 kinds of differences have 5-bit codes.
func (l lossless) encode() []byte {
	be := binary.BigEndian
	out := []byte{0xFF, 0xD8, 0xFF, 0xC3, 0, byte(8 + 3*l.components), byte(l.precision)}
	out = be.AppendUint16(be.AppendUint16(out, uint16(l.height)), uint16(l.width))
	out = append(out, byte(l.components))
	for c := range l.components {
		out = append(out, byte(c+1), 0x11, 0)
	}
	out = append(out, 0xFF, 0xC4, 0, 2+17+17, 0x02, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for i := range 17 {
		out = append(out, byte(i))
	}
	if l.restartRows > 0 {
		out = be.AppendUint16(append(out, 0xFF, 0xDD, 0, 4), uint16(l.restartRows*l.width))
	}
	for scan := range l.scans {
		first, count := scan, 1
		if l.scans == 1 {
			first, count = 0, l.components
		}
		out = append(out, 0xFF, 0xDA, 0, byte(6+2*count), byte(count))
		for c := first; c < first+count; c++ {
			out = append(out, byte(c+1), 0x20)
		}
		out = append(out, byte(l.predictor), 0, byte(l.shift))
		out = append(out, l.entropy(first, count)...)
	}
	return append(out, 0xFF, 0xD9)
}

func (l lossless) entropy(first, count int) []byte {
	var out []byte
	acc, n := uint64(0), 0
	put := func(v, size int) {
		acc, n = acc<<size|uint64(v), n+size
		for n >= 8 {
			b := byte(acc >> (n - 8))
			out = append(out, b)
			if b == 0xFF {
				out = append(out, 0)
			}
			n -= 8
		}
	}
	flush := func() {
		if n > 0 {
			put(1<<(8-n)-1, 8-n)
		}
	}
	at := func(x, y, c int) int { return l.samples[(y*l.width+x)*l.components+c] >> l.shift }
	for y := range l.height {
		top := y == 0
		if l.restartRows > 0 && y > 0 && y%l.restartRows == 0 {
			flush()
			out = append(out, 0xFF, byte(0xD0+(y/l.restartRows-1)%8))
			top = true
		}
		for x := range l.width {
			for c := first; c < first+count; c++ {
				var p int
				switch {
				case top && x == 0:
					p = 1 << (l.precision - l.shift - 1)
				case top:
					p = at(x-1, y, c)
				case x == 0:
					p = at(x, y-1, c)
				default:
					a, b, d := at(x-1, y, c), at(x, y-1, c), at(x-1, y-1, c)
					p = []int{0, a, b, d, a + b - d, a + (b-d)>>1, b + (a-d)>>1, (a + b) >> 1}[l.predictor]
				}
				d := int(int16(at(x, y, c) - p))
				if d == -32768 {
					put(16, 5)
					continue
				}
				size := bits.Len(uint(max(d, -d)))
				put(size, 5)
				if d < 0 {
					d += 1<<size - 1
				}
				put(d, size)
			}
		}
	}
	flush()
	return out
}

// random fills in samples: runs of equal ones, small steps, and jumps over the whole range.
func (l lossless) random(seed uint64) lossless {
	r := rand.New(rand.NewPCG(seed, 1))
	v := 0
	for range l.width * l.height * l.components {
		switch r.IntN(4) {
		case 0:
			v = r.IntN(1 << l.precision)
		case 1:
			v = min(max(v+r.IntN(5)-2, 0), 1<<l.precision-1)
		}
		l.samples = append(l.samples, v>>l.shift<<l.shift)
	}
	return l
}

func (l lossless) bytes() (out []byte) {
	for _, v := range l.samples {
		out = append(out, byte(v))
		if l.precision > 8 {
			out = append(out, byte(v>>8))
		}
	}
	return out
}

// TestLosslessJPEG decodes what the encoder above makes, with every predictor, depth, and way to divide a picture.
func TestLosslessJPEG(t *testing.T) {
	t.Parallel()
	seed := uint64(0)
	for predictor := 1; predictor <= 7; predictor++ {
		for _, precision := range []int{2, 7, 8, 9, 12, 16} {
			for _, l := range []lossless{
				{width: 13, height: 11, components: 1, scans: 1},
				{width: 13, height: 11, components: 3, scans: 1},
				{width: 13, height: 11, components: 3, scans: 3, restartRows: 1},
				{width: 13, height: 31, components: 3, scans: 1, restartRows: 3, shift: 1},
				{width: 1, height: 5, components: 1, scans: 1},
				{width: 5, height: 1, components: 3, scans: 3},
			} {
				l.precision, l.predictor = precision, predictor
				seed++
				l = l.random(seed)
				name := fmt.Sprintf("predictor %d, %d bit, %d × %d × %d, %d scans, restart %d", predictor, precision, l.width, l.height, l.components, l.scans, l.restartRows)
				got, err := pixel.DecodeJPEGLossless(l.encode(), pixel.Limits{})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !bytes.Equal(got.Data, l.bytes()) {
					t.Fatalf("%s: other samples", name)
				}
			}
		}
	}
}

func TestLosslessJPEGRefusals(t *testing.T) {
	t.Parallel()
	l := lossless{width: 6, height: 4, components: 3, precision: 8, predictor: 1, scans: 1, restartRows: 2}.random(3)
	good := l.encode()
	sof, dht, dri, sos := 2, bytes.Index(good, []byte{0xFF, 0xC4}), bytes.Index(good, []byte{0xFF, 0xDD}), bytes.Index(good, []byte{0xFF, 0xDA})
	restart := bytes.Index(good, []byte{0xFF, 0xD0})
	set := func(at int, values ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], values)
		return out
	}
	scan := good[sos : len(good)-2]
	for _, test := range []struct {
		name, code string
		data       []byte
	}{
		{"subsampled", pixel.CodeUnsupported, set(sof+11, 0x21)},
		{"all components twice as large", pixel.CodeUnsupported, func() []byte { d := set(sof+11, 0x22); d[sof+14], d[sof+17] = 0x22, 0x22; return d }()},
		{"17 bit", pixel.CodeCorrupt, set(sof+4, 17)},
		{"1 bit", pixel.CodeCorrupt, set(sof+4, 1)},
		{"7 bit", pixel.CodeCorrupt, set(sof+4, 7)},
		{"two components", pixel.CodeUnsupported, []byte{0xFF, 0xD8, 0xFF, 0xC3, 0, 14, 8, 0, 1, 0, 1, 2, 1, 0x11, 0, 2, 0x11, 0, 0xFF, 0xDA, 0, 2}},
		{"baseline", pixel.CodeUnsupported, set(sof+1, 0xC0)},
		{"65500²", pixel.CodeTooLarge, set(sof+5, 0xFF, 0xDC, 0xFF, 0xDC)},
		{"more rows than data", pixel.CodeCorrupt, set(sof+5, 0, 6)},
		// Eight codes of 5 bits fill their bytes, so that nothing but their end shows that a row is missing.
		{"more rows than data, without padding", pixel.CodeCorrupt, func() []byte {
			d := lossless{width: 8, height: 1, components: 1, precision: 8, predictor: 1, scans: 1, samples: []int{128, 128, 128, 128, 128, 128, 128, 128}}.encode()
			d[sof+6] = 2
			return d
		}()},
		{"fewer rows than data", pixel.CodeCorrupt, set(sof+5, 0, 2)},
		{"predictor 0", pixel.CodeCorrupt, set(sos+11, 0)},
		{"predictor 8", pixel.CodeCorrupt, set(sos+11, 8)},
		{"point transform of all bits", pixel.CodeCorrupt, set(sos+13, 8)},
		{"unknown component", pixel.CodeCorrupt, set(sos+5, 9)},
		{"component twice", pixel.CodeCorrupt, set(sos+7, 1)},
		{"table that is not there", pixel.CodeCorrupt, set(sos+6, 0x30)},
		{"table 5", pixel.CodeCorrupt, set(sos+6, 0x50)},
		{"too many codes", pixel.CodeCorrupt, set(dht+5, 3)},
		{"codes that do not fit", pixel.CodeCorrupt, set(dht+9, 16, 255)},
		{"difference of 17 bits", pixel.CodeCorrupt, set(dht+21, 17)},
		{"restart within a row", pixel.CodeCorrupt, set(dri+4, 0, 13)},
		{"restart marker of another number", pixel.CodeCorrupt, set(restart+1, 0xD1)},
		{"no restart marker", pixel.CodeCorrupt, set(restart, 0x12, 0x34)},
		{"scan twice", pixel.CodeCorrupt, append(append(bytes.Clone(good[:len(good)-2]), scan...), 0xFF, 0xD9)},
		{"only one component's scan", pixel.CodeCorrupt, append(append(bytes.Clone(good[:sos]), 0xFF, 0xDA, 0, 8, 1, 1, 0x20, 1, 0, 0),
			append(lossless{width: 6, height: 4, components: 3, precision: 8, predictor: 1, scans: 3, restartRows: 2, samples: l.samples}.entropy(0, 1), 0xFF, 0xD9)...)},
		{"many tables", pixel.CodeCorrupt, append(append(bytes.Clone(good[:dht]), bytes.Repeat(good[dht:dri], 65)...), good[dri:]...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pixel.DecodeJPEGLossless(test.data, pixel.Limits{})
			if fault.CodeOf(err) != test.code || got != nil {
				t.Errorf("got %v, want %s", err, test.code)
			}
		})
	}
	if _, err := pixel.DecodeJPEGLossless(good, pixel.Limits{}); err != nil {
		t.Errorf("the sound one: %v", err)
	}
}

func FuzzDecodeJPEGLossless(f *testing.F) {
	for i, l := range []lossless{
		{width: 6, height: 4, components: 3, precision: 8, predictor: 4, scans: 1, restartRows: 2},
		{width: 5, height: 3, components: 3, precision: 12, predictor: 7, scans: 3, shift: 2},
		{width: 7, height: 3, components: 1, precision: 16, predictor: 6, scans: 1},
	} {
		f.Add(l.random(uint64(i)).encode())
	}
	f.Add(vector(f, "lossless-p5.jpg"))
	f.Add(vector(f, "lossless16-p4.jpg"))
	limits := pixel.Limits{MaxPixels: 1 << 16, MaxDimension: 1 << 12}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := pixel.DecodeJPEGLossless(data, limits)
		checkSamples(t, s, err, limits)
	})
}
