package pixel_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func encoded(t *testing.T, encode func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadPictureKinds(t *testing.T) {
	t.Parallel()
	const w, h = 17, 9
	translucent := image.NewNRGBA(image.Rect(0, 0, w, h))
	grey := image.NewGray(image.Rect(0, 0, w, h))
	deep := image.NewGray16(image.Rect(0, 0, w, h))
	palette := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.Black, color.RGBA{10, 20, 30, 255}, color.White})
	for y := range h {
		for x := range w {
			translucent.SetNRGBA(x, y, color.NRGBA{uint8(x), uint8(y), 200, 128})
			grey.SetGray(x, y, color.Gray{uint8(10 * x)})
			deep.SetGray16(x, y, color.Gray16{uint16(10*x)<<8 | 0xFF})
			palette.SetColorIndex(x, y, uint8(x%3))
		}
	}
	var samples []byte // of a PPM; each third one is the sign of a comment
	for y := range h {
		for x := range w {
			samples = append(samples, uint8(x), uint8(y), '#')
		}
	}
	tests := []struct {
		name string
		data []byte
		want func(x, y int) [3]uint8
	}{
		{"png with alpha", encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, translucent) }),
			func(x, y int) [3]uint8 { return [3]uint8{uint8(x), uint8(y), 200} }},
		{"png grey", encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, grey) }),
			func(x, _ int) [3]uint8 { return [3]uint8{uint8(10 * x), uint8(10 * x), uint8(10 * x)} }},
		{"png 16 bit", encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, deep) }),
			func(x, _ int) [3]uint8 { return [3]uint8{uint8(10 * x), uint8(10 * x), uint8(10 * x)} }},
		{"tiff grey", encoded(t, func(b *bytes.Buffer) error { return tiff.Encode(b, grey, nil) }),
			func(x, _ int) [3]uint8 { return [3]uint8{uint8(10 * x), uint8(10 * x), uint8(10 * x)} }},
		{"bmp", encoded(t, func(b *bytes.Buffer) error { return bmp.Encode(b, grey) }),
			func(x, _ int) [3]uint8 { return [3]uint8{uint8(10 * x), uint8(10 * x), uint8(10 * x)} }},
		{"pgm", append([]byte("P5 17 9 255\n"), grey.Pix...),
			func(x, _ int) [3]uint8 { return [3]uint8{uint8(10 * x), uint8(10 * x), uint8(10 * x)} }},
		{"ppm with comments", append([]byte("P6\n# drawn by\r17\t9\n# hand\n255\n"), samples...),
			func(x, y int) [3]uint8 { return [3]uint8{uint8(x), uint8(y), '#'} }},
		{"gif", encoded(t, func(b *bytes.Buffer) error { return gif.Encode(b, palette, nil) }),
			func(x, _ int) [3]uint8 { return [][3]uint8{{0, 0, 0}, {10, 20, 30}, {255, 255, 255}}[x%3] }},
		{"gif frame in a larger screen", encoded(t, func(b *bytes.Buffer) error {
			return gif.EncodeAll(b, &gif.GIF{
				Image: []*image.Paletted{palette.SubImage(image.Rect(3, 2, 12, 8)).(*image.Paletted)}, Delay: []int{0},
				Config: image.Config{Width: w, Height: h, ColorModel: palette.Palette},
			})
		}), func(x, y int) [3]uint8 {
			if x < 3 || x >= 12 || y < 2 || y >= 8 {
				return [3]uint8{}
			}
			return [][3]uint8{{0, 0, 0}, {10, 20, 30}, {255, 255, 255}}[x%3]
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pixel.ReadPicture(write(t, "picture", test.data), pixel.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Width != w || got.Height != h {
				t.Fatalf("size %d × %d", got.Width, got.Height)
			}
			for y := range h {
				for x := range w {
					r, g, b := got.At(x, y)
					if want := test.want(x, y); want != [3]uint8{r, g, b} {
						t.Fatalf("pixel %d, %d is %d %d %d, want %v", x, y, r, g, b, want)
					}
				}
			}
			if cut, err := pixel.ReadPicture(write(t, "cut", test.data[:len(test.data)/2]), pixel.Limits{}); fault.CodeOf(err) != pixel.CodeCorrupt || cut != nil {
				t.Errorf("half a file: %v", err)
			}
			if _, err := pixel.ReadPicture(write(t, "large", test.data), pixel.Limits{MaxDimension: w - 1}); fault.CodeOf(err) != pixel.CodeTooLarge {
				t.Errorf("over the limit: %v", err)
			}
		})
	}
}

func TestReadPictureRefusals(t *testing.T) {
	t.Parallel()
	if _, err := pixel.ReadPicture(filepath.Join(t.TempDir(), "none.png"), pixel.Limits{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := pixel.ReadPicture(t.TempDir(), pixel.Limits{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("folder: %v", err)
	}
	if _, err := pixel.ReadPicture(write(t, "text", []byte("hello")), pixel.Limits{}); fault.CodeOf(err) != pixel.CodeUnsupported {
		t.Errorf("text: %v", err)
	}
	for _, header := range []string{"P6 2 2 65535\n", "P6 2 2 15\n", "P5 0 2 255\n", "P5 -2 2 255\n", "P5 2 99999999999999999999 255\n", "P5 2 x 255\n"} {
		if _, err := pixel.ReadPicture(write(t, "pnm", []byte(header+"................")), pixel.Limits{}); fault.CodeOf(err) != pixel.CodeCorrupt {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func TestReadMaskThreshold(t *testing.T) {
	t.Parallel()
	p := image.NewNRGBA(image.Rect(0, 0, 4, 1))
	p.SetNRGBA(0, 0, color.NRGBA{127, 127, 127, 255})
	p.SetNRGBA(1, 0, color.NRGBA{128, 128, 128, 255})
	p.SetNRGBA(2, 0, color.NRGBA{255, 0, 0, 255}) // luma 76
	p.SetNRGBA(3, 0, color.NRGBA{0, 255, 0, 255}) // luma 150
	m, err := pixel.ReadMask(write(t, "m.png", encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, p) })), pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint8{0, 255, 0, 255}; !bytes.Equal(m.Pix, want) {
		t.Errorf("got %v, want %v", m.Pix, want)
	}
}

// TestDataSetPictures reads one of every kind of file of the data sets: PackBits, LZW and RGB TIFF, PNG, JPEG.
// All of them were compared with Pillow's pixels once; here their size and their share of foreground are checked.
func TestDataSetPictures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path   []string
		width  int
		lo, hi float64 // share of foreground
	}{
		{[]string{"data", "HRF", "fov", "01_dr_mask.tif"}, 3504, 0.6, 0.95},
		{[]string{"data", "HRF", "manual1", "01_h.tif"}, 3504, 0.04, 0.15},
		{[]string{"data", "CHASE_DB1", "manual1", "Image_01L_1stHO.png"}, 999, 0.04, 0.15},
	} {
		path := shared.Dir(t, test.path...)
		m, err := pixel.ReadMask(path, pixel.Limits{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		share := float64(m.Count()) / float64(len(m.Pix))
		if m.Width != test.width || share < test.lo || share > test.hi {
			t.Errorf("%s: %d pixels wide, %.3f foreground", path, m.Width, share)
		}
	}
}
