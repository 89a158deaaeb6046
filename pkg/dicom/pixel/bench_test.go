package pixel_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// tiled repeats the part of a photograph in testdata.
func tiled(b *testing.B, side int) *raster.RGB {
	b.Helper()
	crop := vector(b, "crop.rgb")
	p := raster.NewRGB(side, side)
	for y := range side {
		row := crop[y%vectorHeight*vectorWidth*3:][:vectorWidth*3]
		for x := 0; x < side; x += vectorWidth {
			copy(p.Pix[3*(y*side+x):3*(y+1)*side], row)
		}
	}
	return p
}

// BenchmarkDecode compares decoders on pictures of 2000² and 4000² pixels. MB/s count decoded bytes.
func BenchmarkDecode(b *testing.B) {
	for _, side := range []int{2000, 4000} {
		picture := tiled(b, side)
		lossy, err := pixel.EncodeJPEG(picture, 90)
		if err != nil {
			b.Fatal(err)
		}
		samples := make([]int, len(picture.Pix))
		for i, v := range picture.Pix {
			samples[i] = int(v)
		}
		exact := lossless{width: side, height: side, components: 3, precision: 8, predictor: 1, scans: 1, samples: samples}.encode()
		var planes [3][]byte
		for c := range planes {
			for i := c; i < len(picture.Pix); i += 3 {
				if (i/3)%128 == 0 {
					planes[c] = append(planes[c], byte(min(128, (len(picture.Pix)-i+2)/3)-1))
				}
				planes[c] = append(planes[c], picture.Pix[i])
			}
		}
		runs := rle(planes[0], planes[1], planes[2])
		for _, d := range []struct {
			name   string
			decode func() error
		}{
			{"libjpeg-turbo", func() error { _, err := pixel.DecodeJPEG(lossy, pixel.Limits{}); return err }},
			{"image/jpeg", func() error { _, err := jpeg.Decode(bytes.NewReader(lossy)); return err }},
			{"lossless JPEG", func() error { _, err := pixel.DecodeJPEGLossless(exact, pixel.Limits{}); return err }},
			{"RLE", func() error { _, err := pixel.DecodeRLE(runs, side, side, 3, 1, pixel.Limits{}); return err }},
		} {
			b.Run(fmt.Sprintf("%s/%d", d.name, side), func(b *testing.B) {
				b.SetBytes(int64(len(picture.Pix)))
				for b.Loop() {
					if err := d.decode(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
