package pixel_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// gradient is a smooth colour picture, which JPEG keeps within a few levels.
func gradient(width, height int) *raster.RGB {
	p := raster.NewRGB(width, height)
	for y := range height {
		for x := range width {
			i := 3 * (y*width + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8(255*x/width), uint8(255*y/height), 90
		}
	}
	return p
}

func encode(t testing.TB, p *raster.RGB) []byte {
	t.Helper()
	data, err := pixel.EncodeJPEG(p, 95)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// meanDifference is the mean absolute difference of all samples.
func meanDifference(a, b *raster.RGB) float64 {
	if len(a.Pix) != len(b.Pix) {
		return math.Inf(1)
	}
	sum := 0.0
	for i := range a.Pix {
		sum += math.Abs(float64(a.Pix[i]) - float64(b.Pix[i]))
	}
	return sum / float64(len(a.Pix))
}

func TestJPEGRoundTrip(t *testing.T) {
	t.Parallel()
	want := gradient(201, 133) // odd sides: chroma does not divide
	got, err := pixel.DecodeJPEG(encode(t, want), pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Width != 201 || got.Height != 133 {
		t.Fatalf("size %d × %d", got.Width, got.Height)
	}
	if d := meanDifference(got, want); d > 2 {
		t.Errorf("mean difference %.2f levels", d)
	}
}

func TestGreyJPEGBecomesRGB(t *testing.T) {
	t.Parallel()
	grey := image.NewGray(image.Rect(0, 0, 40, 30))
	for i := range grey.Pix {
		grey.Pix[i] = 130
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, grey, nil); err != nil {
		t.Fatal(err)
	}
	got, err := pixel.DecodeJPEG(b.Bytes(), pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if r, g, bl := got.At(20, 15); r != 130 || g != 130 || bl != 130 {
		t.Errorf("got %d %d %d", r, g, bl)
	}
}

// insert puts segments behind the SOI marker.
func insert(data []byte, segments ...[]byte) []byte {
	return append(append([]byte{0xFF, 0xD8}, slices.Concat(segments...)...), data[2:]...)
}

// drop removes the segments with the given markers before the first scan.
func drop(t *testing.T, data []byte, markers ...byte) []byte {
	t.Helper()
	out := []byte{0xFF, 0xD8}
	for pos := 2; ; {
		length := 2 + int(data[pos+2])<<8 + int(data[pos+3])
		if data[pos+1] == 0xDA {
			return append(out, data[pos:]...)
		}
		if !slices.Contains(markers, data[pos+1]) {
			out = append(out, data[pos:pos+length]...)
		}
		pos += length
	}
}

// setIDs renames the three components in the frame and the scan header.
func setIDs(data []byte, ids [3]byte) []byte {
	data = slices.Clone(data)
	sof := bytes.Index(data, []byte{0xFF, 0xC0})
	sos := bytes.Index(data, []byte{0xFF, 0xDA})
	for i, id := range ids {
		data[sof+10+3*i] = id
		data[sos+5+2*i] = id
	}
	return data
}

func adobe(transform byte) []byte {
	return []byte{0xFF, 0xEE, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, transform}
}

var jfif = []byte{0xFF, 0xE0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0}

// TestColourRule walks through every step of the rule: APP14, JFIF, component ids, subsampling, declared interpretation.
func TestColourRule(t *testing.T) {
	t.Parallel()
	// One flat colour. As YCbCr (160, 100, 170) it is a reddish RGB; taken as RGB it is the numbers themselves.
	subsampled := drop(t, encode(t, flat(64, 64)), 0xE0, 0xEE)
	full := fullSampling(t)
	tests := []struct {
		name         string
		data         []byte
		declared     string
		ycbcr        bool
		wantConflict bool
	}{
		{"APP14 0 beats JFIF", insert(full, jfif, adobe(0)), "YBR_FULL_422", false, true},
		{"APP14 0 behind JFIF", insert(full, adobe(0), jfif), "", false, false},
		{"APP14 1 beats ids", insert(setIDs(full, [3]byte{'R', 'G', 'B'}), adobe(1)), "RGB", true, true},
		{"APP14 0 beats subsampling", insert(subsampled, adobe(0)), "RGB", false, false},
		{"JFIF beats ids", insert(setIDs(full, [3]byte{'R', 'G', 'B'}), jfif), "", true, false},
		{"ids RGB", setIDs(full, [3]byte{'R', 'G', 'B'}), "YBR_FULL", false, true},
		{"ids RGB beat subsampling", setIDs(subsampled, [3]byte{'R', 'G', 'B'}), "", false, false},
		{"subsampled beats declared", subsampled, "RGB", true, true},
		{"declared RGB", full, "RGB", false, false},
		{"declared YBR", full, "YBR_FULL_422", true, false},
		{"nothing says anything", full, "", true, false},
		{"other ids, declared RGB", setIDs(full, [3]byte{0, 1, 2}), "RGB", false, false},
		{"other ids, declared YBR", setIDs(full, [3]byte{0, 1, 2}), "YBR_FULL", true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, err := pixel.ParseJPEGHeader(test.data)
			if err != nil {
				t.Fatal(err)
			}
			ycbcr, conflict := h.YCbCr(test.declared)
			if ycbcr != test.ycbcr || conflict != test.wantConflict {
				t.Errorf("YCbCr %v, conflict %v; want %v, %v", ycbcr, conflict, test.ycbcr, test.wantConflict)
			}
			got, err := pixel.DecodeJPEG(test.data, pixel.Limits{}, pixel.DeclaredPhotometric(test.declared))
			if err != nil {
				t.Fatal(err)
			}
			// The flat picture was made from RGB (200, 120, 80): Y 140.5, Cb 94, Cr 170.5.
			want := [3]float64{140, 94, 170}
			if test.ycbcr {
				want = [3]float64{200, 120, 80}
			}
			r, g, b := got.At(32, 32)
			for i, v := range [3]uint8{r, g, b} {
				if math.Abs(float64(v)-want[i]) > 3 {
					t.Errorf("pixel %d %d %d, want about %v", r, g, b, want)
					break
				}
			}
		})
	}
}

func flat(width, height int) *raster.RGB {
	p := raster.NewRGB(width, height)
	for i := 0; i < len(p.Pix); i += 3 {
		p.Pix[i], p.Pix[i+1], p.Pix[i+2] = 200, 120, 80
	}
	return p
}

// fullSampling returns the flat picture with one sample a pixel in every component (Go's encoder cannot make one: it is a
// grey stream's three scans' worth of the same idea, so it is built from the subsampled one by halving the picture).
func fullSampling(t *testing.T) []byte {
	t.Helper()
	// A flat picture's blocks hold a DC difference in the first block only and "nothing" afterwards, so the entropy-coded
	// segment of a single 8 × 8 block of each component is a valid 4:4:4 stream. For 64 × 64 pixels, 63 more triples follow,
	// all of them "DC difference 0, end of block".
	data := drop(t, encode(t, flat(16, 8)), 0xE0, 0xEE) // 4:2:2: one MCU of Y, Y, Cb, Cr
	sof := bytes.Index(data, []byte{0xFF, 0xC0})
	sos := bytes.Index(data, []byte{0xFF, 0xDA})
	start := sos + 2 + int(data[sos+2])<<8 + int(data[sos+3])
	bits := unpack(data[start : len(data)-2])
	// Standard tables (T.81 K.3): a luma block with a DC difference of 0 is 00 1010, a chroma block 00 00.
	y, rest := splitBlock(t, bits, true)
	_, rest = splitBlock(t, rest, true) // the second Y block: zero difference
	cb, rest := splitBlock(t, rest, false)
	cr, _ := splitBlock(t, rest, false)
	stream := slices.Concat(y, cb, cr)
	for range 63 {
		stream = append(stream, []byte("001010"+"0000"+"0000")...)
	}
	out := slices.Clone(data[:start])
	out[sof+5], out[sof+6], out[sof+7], out[sof+8] = 0, 64, 0, 64
	out[sof+11] = 0x11
	return append(append(out, pack(stream)...), 0xFF, 0xD9)
}

// splitBlock takes one DC-only block off a stream of '0' and '1'.
func splitBlock(t *testing.T, bits []byte, luma bool) (block, rest []byte) {
	t.Helper()
	// DC codes by category, T.81 tables K.3 and K.4; then the category's bits, then end of block.
	codes := []string{"00", "010", "011", "100", "101", "110", "1110", "11110", "111110"}
	end := "1010"
	if !luma {
		codes = []string{"00", "01", "10", "110", "1110", "11110", "111110", "1111110", "11111110"}
		end = "00"
	}
	for category, code := range codes {
		if bytes.HasPrefix(bits, []byte(code)) {
			n := len(code) + category
			if !bytes.HasPrefix(bits[n:], []byte(end)) {
				break
			}
			return bits[:n+len(end)], bits[n+len(end):]
		}
	}
	t.Fatalf("no DC-only block in %.40s", bits)
	return nil, nil
}

func unpack(data []byte) []byte {
	var bits []byte
	for i := 0; i < len(data); i++ {
		for b := 7; b >= 0; b-- {
			bits = append(bits, '0'+data[i]>>b&1)
		}
		if data[i] == 0xFF {
			i++ // stuffed zero
		}
	}
	return bits
}

func pack(bits []byte) []byte {
	var out []byte
	for len(bits)%8 != 0 {
		bits = append(bits, '1')
	}
	for i := 0; i < len(bits); i += 8 {
		var v byte
		for _, b := range bits[i : i+8] {
			v = v<<1 | (b - '0')
		}
		out = append(out, v)
		if v == 0xFF {
			out = append(out, 0)
		}
	}
	return out
}

func TestJPEGRefusals(t *testing.T) {
	t.Parallel()
	good := encode(t, gradient(64, 48))
	sof := bytes.Index(good, []byte{0xFF, 0xC0})
	set := func(offset int, values ...byte) []byte {
		data := slices.Clone(good)
		copy(data[sof+offset:], values)
		return data
	}
	tests := []struct {
		name string
		data []byte
		code string
		kind fault.Kind
	}{
		{"nothing", nil, pixel.CodeCorrupt, fault.Invalid},
		{"text", []byte("this is not a picture"), pixel.CodeCorrupt, fault.Invalid},
		{"SOI and EOI", []byte{0xFF, 0xD8, 0xFF, 0xD9}, pixel.CodeCorrupt, fault.Invalid},
		{"half", good[:len(good)/2], pixel.CodeCorrupt, fault.Invalid},
		{"no end", good[:len(good)-2], pixel.CodeCorrupt, fault.Invalid},
		{"header only", good[:sof+19], pixel.CodeCorrupt, fault.Invalid},
		{"65500²", set(5, 0xFF, 0xDC, 0xFF, 0xDC), pixel.CodeTooLarge, fault.Invalid},
		{"no rows", set(5, 0, 0), pixel.CodeCorrupt, fault.Invalid},
		{"12 bit", set(4, 12), pixel.CodeUnsupported, fault.Unsupported},
		{"lossless", set(1, 0xC3), pixel.CodeUnsupported, fault.Unsupported},
		{"arithmetic", set(1, 0xC9), pixel.CodeUnsupported, fault.Unsupported},
		{"five components", set(9, 5), pixel.CodeCorrupt, fault.Invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			picture, err := pixel.DecodeJPEG(test.data, pixel.Limits{})
			if fault.CodeOf(err) != test.code || !fault.Is(err, test.kind) || picture != nil {
				t.Errorf("got %v (%s), want %s", err, fault.CodeOf(err), test.code)
			}
		})
	}
}

// TestManyScansAreRefused repeats the only scan of a stream: decoding it would cost a pass each time.
func TestManyScansAreRefused(t *testing.T) {
	t.Parallel()
	good := encode(t, gradient(64, 48))
	sos := bytes.Index(good, []byte{0xFF, 0xDA})
	scan := good[sos : len(good)-2]
	bomb := append(slices.Clone(good[:sos]), bytes.Repeat(scan, 101)...)
	bomb = append(bomb, 0xFF, 0xD9)
	if _, err := pixel.DecodeJPEG(bomb, pixel.Limits{}); fault.CodeOf(err) != pixel.CodeUnsupported {
		t.Errorf("got %v", err)
	}
	large := slices.Clone(good[:sos])
	sof := bytes.Index(large, []byte{0xFF, 0xC0})
	copy(large[sof+5:], []byte{0x1F, 0xFF, 0x1F, 0xFF}) // 8191²
	large = append(append(large, bytes.Repeat(scan, 20)...), 0xFF, 0xD9)
	if _, err := pixel.DecodeJPEG(large, pixel.Limits{}); fault.CodeOf(err) != pixel.CodeUnsupported {
		t.Errorf("got %v", err)
	}
}

func TestCMYKIsRefused(t *testing.T) {
	t.Parallel()
	data := []byte{0xFF, 0xD8, 0xFF, 0xC0, 0, 20, 8, 0, 8, 0, 8, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0, 0xFF, 0xDA, 0, 2}
	if _, err := pixel.DecodeJPEG(data, pixel.Limits{}); fault.CodeOf(err) != pixel.CodeUnsupported {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeJPEG(f *testing.F) {
	good := encode(f, gradient(40, 24))
	f.Add(good, "YBR_FULL_422")
	f.Add(good[:len(good)/2], "RGB")
	f.Add(insert(good, adobe(0)), "")
	f.Add([]byte{0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0xFF, 0xDC, 0xFF, 0xDC, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 2}, "MONOCHROME2")
	limits := pixel.Limits{MaxPixels: 1 << 16, MaxDimension: 1 << 12}
	f.Fuzz(func(t *testing.T, data []byte, declared string) {
		picture, err := pixel.DecodeJPEG(data, limits, pixel.DeclaredPhotometric(declared))
		if err != nil {
			if fault.CodeOf(err) == "" || picture != nil {
				t.Fatalf("error without a code, or with a picture: %v", err)
			}
			return
		}
		if err := picture.Check(); err != nil {
			t.Fatal(err)
		}
		if limits.Check(picture.Width, picture.Height) != nil {
			t.Fatalf("%d × %d pixels are over the limits", picture.Width, picture.Height)
		}
	})
}
