package pixel_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// The size of the pictures in testdata (see vectors.py).
const vectorWidth, vectorHeight = 45, 33

func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type decoder func([]byte, pixel.Limits) (*pixel.Samples, error)

// vectors are the streams that other programs' encoders made, with what they decode to.
func vectors() []vectorCase {
	const rgb, grey = "crop.rgb", "crop16.grey"
	ll, ls, j2k := decoder(pixel.DecodeJPEGLossless), decoder(pixel.DecodeJPEGLS), decoder(pixel.DecodeJPEG2000)
	return []vectorCase{
		{"lossless-p1.jpg", ll, 3, 1, rgb, 0}, {"lossless-p2.jpg", ll, 3, 1, rgb, 0}, {"lossless-p3.jpg", ll, 3, 1, rgb, 0},
		{"lossless-p4.jpg", ll, 3, 1, rgb, 0}, {"lossless-p5.jpg", ll, 3, 1, rgb, 0}, {"lossless-p6.jpg", ll, 3, 1, rgb, 0},
		{"lossless-p7.jpg", ll, 3, 1, rgb, 0},
		{"lossless16-p1.jpg", ll, 1, 2, grey, 0}, {"lossless16-p4.jpg", ll, 1, 2, grey, 0}, {"lossless16-p7.jpg", ll, 1, 2, grey, 0},
		{"lossless.jls", ls, 3, 1, rgb, 0}, {"lossless16.jls", ls, 1, 2, grey, 0},
		{"lossless-lines.jls", ls, 3, 1, rgb, 0}, {"lossless-planes.jls", ls, 3, 1, rgb, 0}, {"lossless4.jls", ls, 1, 1, "crop4.grey", 0},
		{"lossless7.jls", ls, 1, 1, "crop7.grey", 0},
		{"near-lines.jls", ls, 3, 1, "near-lines.rgb", 0}, {"near-pixels.jls", ls, 3, 1, "near-pixels.rgb", 0}, {"near16.jls", ls, 1, 2, "near16.grey", 0},
		{"lossless.j2k", j2k, 3, 1, rgb, 0}, {"lossless16.j2k", j2k, 1, 2, grey, 0}, {"lossless.jp2", j2k, 3, 1, rgb, 0},
		{"lossless.j2c", j2k, 3, 1, rgb, 0}, {"lossless16.j2c", j2k, 1, 2, grey, 0},
		// Two implementations of the irreversible transform round differently.
		{"htj2k-lossy.j2c", j2k, 3, 1, "htj2k-lossy.rgb", 1},
	}
}

type vectorCase struct {
	name              string
	decode            decoder
	components, bytes int
	want              string
	tolerance         int // levels
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, test := range vectors() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			data := vector(t, test.name)
			got, err := test.decode(data, pixel.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Width != vectorWidth || got.Height != vectorHeight || got.Components != test.components || got.Bytes != test.bytes {
				t.Fatalf("%d × %d pixels of %d samples of %d bytes", got.Width, got.Height, got.Components, got.Bytes)
			}
			want := vector(t, test.want)
			if len(want) != len(got.Data) {
				t.Fatalf("%d bytes, want %d", len(got.Data), len(want))
			}
			for i, v := range got.Data {
				if d := int(v) - int(want[i]); d > test.tolerance || -d > test.tolerance {
					t.Fatalf("byte %d is %d, want %d", i, v, want[i])
				}
			}
			// Limits count, and are looked at before the picture is decoded.
			for _, limits := range []pixel.Limits{{MaxDimension: vectorWidth - 1}, {MaxPixels: vectorWidth*vectorHeight - 1}} {
				if got, err := test.decode(data, limits); fault.CodeOf(err) != pixel.CodeTooLarge || got != nil {
					t.Errorf("over the limits %+v: %v", limits, err)
				}
			}
		})
	}
}

// TestEveryCutIsNoticed cuts each stream at every byte.
func TestEveryCutIsNoticed(t *testing.T) {
	t.Parallel()
	for _, test := range vectors() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			data := vector(t, test.name)
			for cut := range data {
				// A copy, so that reading behind the end would be noticed by tools that look for it.
				got, err := test.decode(bytes.Clone(data[:cut]), pixel.Limits{})
				if fault.CodeOf(err) != pixel.CodeCorrupt || got != nil {
					t.Fatalf("the first %d of %d bytes: %v", cut, len(data), err)
				}
			}
		})
	}
}

func TestJPEGLSRefusals(t *testing.T) {
	t.Parallel()
	good := vector(t, "lossless-lines.jls")
	sof, sos := bytes.Index(good, []byte{0xFF, 0xF7}), bytes.Index(good, []byte{0xFF, 0xDA})
	set := func(at int, values ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], values)
		return out
	}
	// before puts a segment before the scan.
	before := func(segment ...byte) []byte { return slices.Concat(good[:sos], segment, good[sos:]) }
	for _, test := range []struct {
		name, code string
		data       []byte
	}{
		{"default parameters", "", before(0xFF, 0xF8, 0, 13, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"default parameters in numbers", "", before(0xFF, 0xF8, 0, 13, 1, 0, 255, 0, 3, 0, 7, 0, 21, 0, 64)},
		{"other parameters", pixel.CodeCorrupt, before(0xFF, 0xF8, 0, 13, 1, 0, 0, 0, 5, 0, 9, 0, 30, 0, 20)},
		{"no colour transform", "", before(0xFF, 0xE8, 0, 7, 'm', 'r', 'f', 'x', 0)},
		{"colour transform", pixel.CodeUnsupported, before(0xFF, 0xE8, 0, 7, 'm', 'r', 'f', 'x', 1)},
		{"mapping table", pixel.CodeUnsupported, before(0xFF, 0xF8, 0, 6, 2, 1, 1, 0)},
		{"restart interval", pixel.CodeUnsupported, before(0xFF, 0xDD, 0, 4, 0, 1)},
		{"largest value over its bits", pixel.CodeCorrupt, before(0xFF, 0xF8, 0, 13, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"thresholds out of order", pixel.CodeCorrupt, before(0xFF, 0xF8, 0, 13, 1, 0, 0, 0, 9, 0, 3, 0, 0, 0, 0)},
		{"subsampled", pixel.CodeUnsupported, set(sof+11, 0x21)},
		{"17 bit", pixel.CodeCorrupt, set(sof+4, 17)},
		{"baseline", pixel.CodeUnsupported, set(sof+1, 0xC0)},
		{"more rows than data", pixel.CodeCorrupt, set(sof+5, 0, 200)},
		{"one row more than data", pixel.CodeCorrupt, set(sof+5, 0, vectorHeight+1)},
		{"one row of 16 bit more than data", pixel.CodeCorrupt, func() []byte {
			d := vector(t, "lossless16.jls")
			d[bytes.Index(d, []byte{0xFF, 0xF7})+6]++
			return d
		}()},
		{"two bytes more than pixels", pixel.CodeCorrupt, slices.Concat(good[:len(good)-2], []byte{0, 0}, good[len(good)-2:])},
		{"fewer rows than data", pixel.CodeCorrupt, set(sof+5, 0, 2)},
		{"65500²", pixel.CodeTooLarge, set(sof+5, 0xFF, 0xDC, 0xFF, 0xDC)},
		{"component twice", pixel.CodeCorrupt, set(sos+7, 1)},
		{"component's mapping table", pixel.CodeUnsupported, set(sos+6, 1)},
		{"error over its bound", pixel.CodeCorrupt, set(sos+11, 128)},
		{"order of planes in one scan", pixel.CodeCorrupt, set(sos+12, 0)},
		{"order 3", pixel.CodeCorrupt, set(sos+12, 3)},
		{"point transform", pixel.CodeUnsupported, set(sos+13, 1)},
		{"scan twice", pixel.CodeCorrupt, slices.Concat(good[:len(good)-2], good[sos:])},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pixel.DecodeJPEGLS(test.data, pixel.Limits{})
			if fault.CodeOf(err) != test.code || (got != nil) != (err == nil) {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
}

// TestJPEG2000Refusals changes the headers of a sound stream.
func TestJPEG2000Refusals(t *testing.T) {
	t.Parallel()
	good := vector(t, "lossless.j2k")
	cod, sot := bytes.Index(good, []byte{0xFF, 0x52}), bytes.Index(good, []byte{0xFF, 0x90})
	set := func(at int, values ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], values)
		return out
	}
	before := func(at int, segment ...byte) []byte { return slices.Concat(good[:at], segment, good[at:]) }
	const siz = 2
	for _, test := range []struct {
		name, code string
		data       []byte
	}{
		{"a comment", "", before(cod, 0xFF, 0x64, 0, 5, 0, 1, 'x')},
		{"65500²", pixel.CodeTooLarge, func() []byte {
			d := set(siz+6, 0, 0, 0xFF, 0xDC, 0, 0, 0xFF, 0xDC)
			copy(d[siz+22:], d[siz+6:siz+14])
			return d
		}()},
		{"2^32 wide", pixel.CodeTooLarge, set(siz+6, 0xFF, 0xFF, 0xFF, 0xFF)},
		{"no width", pixel.CodeCorrupt, set(siz+6, 0, 0, 0, 0)},
		{"tiles of a pixel", pixel.CodeCorrupt, set(siz+22, 0, 0, 0, 1, 0, 0, 0, 1)}, // 1,485 tiles, of which one is there
		{"10,000 tiles", pixel.CodeUnsupported, func() []byte {
			d := set(siz+22, 0, 0, 0, 1, 0, 0, 0, 1)
			copy(d[siz+6:], []byte{0, 0, 0, 100, 0, 0, 0, 100})
			return d
		}()},
		{"tiles of no size", pixel.CodeCorrupt, set(siz+22, 0, 0, 0, 0)},
		{"17 bit", pixel.CodeUnsupported, func() []byte { d := set(siz+40, 16); d[siz+43], d[siz+46] = 16, 16; return d }()},
		{"components of different depths", pixel.CodeUnsupported, set(siz+43, 8)},
		{"subsampled", pixel.CodeUnsupported, set(siz+44, 2)},
		{"two components", pixel.CodeUnsupported, set(siz+38, 0, 2)},
		{"two sizes", pixel.CodeUnsupported, before(cod, good[siz:siz+49]...)},
		{"segment of part 2", pixel.CodeUnsupported, before(cod, 0xFF, 0x74, 0, 4, 0, 0)},
		{"no layers", pixel.CodeCorrupt, set(cod+6, 0, 0)},
		{"65,535 layers and precincts of 2 × 2", pixel.CodeUnsupported, func() []byte {
			levels := int(good[cod+9])
			d := append(set(cod+4, 1, 0, 0xFF, 0xFF)[:cod+14], bytes.Repeat([]byte{0x11}, levels+1)...)
			d[cod+3] += byte(levels + 1)
			return append(d, good[cod+14:]...)
		}()},
		{"4096² in blocks of 4 × 4", pixel.CodeUnsupported, func() []byte {
			d := set(cod+10, 0, 0)
			copy(d[siz+6:], []byte{0, 0, 0x10, 0, 0, 0, 0x10, 0})
			copy(d[siz+22:], []byte{0, 0, 0x10, 0, 0, 0, 0x10, 0})
			return d
		}()},
		{"blocks of 2^20", pixel.CodeCorrupt, set(cod+10, 15)},
		{"33 levels", pixel.CodeCorrupt, set(cod+9, 33)},
		{"tile 1 of 1", pixel.CodeCorrupt, set(sot+4, 0, 1)},
		{"tile shorter than its header", pixel.CodeCorrupt, set(sot+6, 0, 0, 0, 12)},
		{"tile of unknown length", "", set(sot+6, 0, 0, 0, 0)},
		{"no tile", pixel.CodeCorrupt, slices.Concat(good[:sot], []byte{0xFF, 0xD9})},
		{"not a codestream", pixel.CodeCorrupt, good[2:]},
		{"box longer than the file", pixel.CodeCorrupt, vector(t, "lossless.jp2")[:100]},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pixel.DecodeJPEG2000(test.data, pixel.Limits{})
			if fault.CodeOf(err) != test.code || (got != nil) != (err == nil) {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
}

func FuzzDecodeJPEGLS(f *testing.F) {
	for _, name := range []string{"lossless.jls", "lossless-planes.jls", "near-lines.jls", "near16.jls", "lossless4.jls"} {
		f.Add(vector(f, name))
	}
	limits := pixel.Limits{MaxPixels: 1 << 16, MaxDimension: 1 << 12}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := pixel.DecodeJPEGLS(data, limits)
		checkSamples(t, s, err, limits)
	})
}

// FuzzDecodeJPEG2000 also tries OpenJPEG: what gets past our own look at the headers must not crash it.
func FuzzDecodeJPEG2000(f *testing.F) {
	for _, name := range []string{"lossless.j2k", "lossless16.j2k", "lossless.jp2", "lossless.j2c", "htj2k-lossy.j2c"} {
		f.Add(vector(f, name))
	}
	limits := pixel.Limits{MaxPixels: 1 << 14, MaxDimension: 1 << 10}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := pixel.DecodeJPEG2000(data, limits)
		checkSamples(t, s, err, limits)
	})
}
