package pixel

import (
	"bytes"
	"image"
	"image/draw"
	"image/gif"
	"image/png"
	"io"
	"os"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// maxPictureFileBytes bounds a picture file: an uncompressed 16-bit RGB picture of the default MaxPixels.
const maxPictureFileBytes = 512 << 20

// PictureExtensions are the endings of the files that ReadPicture reads, in lower case.
var PictureExtensions = []string{".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm"}

// ReadPicture reads a JPEG, PNG, TIFF, GIF, BMP, binary PGM or PPM file as RGB: grey becomes equal channels, transparency is
// dropped, 16 bit are cut to the upper 8, palettes are resolved, and of several pictures in a file the first is taken.
//
// Faults: NotFound "picture-missing", Invalid "picture-corrupt" or "picture-too-large", Unsupported "picture-unsupported".
func ReadPicture(path string, limits Limits) (*raster.RGB, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return DecodePicture(data, limits)
}

// DecodePicture is ReadPicture for bytes in memory.
func DecodePicture(data []byte, limits Limits) (*raster.RGB, error) {
	var decodeConfig func(io.Reader) (image.Config, error)
	var decode func(io.Reader) (image.Image, error)
	switch {
	case bytes.HasPrefix(data, []byte{0xFF, markerSOI}):
		return DecodeJPEG(data, limits)
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		decodeConfig, decode = png.DecodeConfig, png.Decode
	case bytes.HasPrefix(data, []byte("II*\x00")), bytes.HasPrefix(data, []byte("MM\x00*")):
		decodeConfig, decode = tiff.DecodeConfig, tiff.Decode
	case bytes.HasPrefix(data, []byte("GIF87a")), bytes.HasPrefix(data, []byte("GIF89a")):
		decodeConfig, decode = gif.DecodeConfig, gif.Decode
	case bytes.HasPrefix(data, []byte("BM")):
		decodeConfig, decode = bmp.DecodeConfig, bmp.Decode
	case bytes.HasPrefix(data, []byte("P5")), bytes.HasPrefix(data, []byte("P6")):
		decodeConfig, decode = decodePNMConfig, decodePNM
	default:
		return nil, fault.New(fault.Unsupported, CodeUnsupported, "the file is not a JPEG, PNG, TIFF, GIF, BMP or binary PPM picture")
	}
	config, err := decodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, CodeCorrupt, err, "the picture's header cannot be read")
	}
	if err := limits.Check(config.Width, config.Height); err != nil {
		return nil, err
	}
	picture, err := decode(bytes.NewReader(data))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, CodeCorrupt, err, "the picture cannot be decoded")
	}
	if b := picture.Bounds(); b.Min != (image.Point{}) || b.Dx() != config.Width || b.Dy() != config.Height {
		// A GIF frame may cover only a part of its screen; the rest is black.
		screen := image.NewNRGBA(image.Rect(0, 0, config.Width, config.Height))
		draw.Draw(screen, b, picture, b.Min, draw.Src)
		picture = screen
	}
	return toRGB(picture), nil
}

// toRGB converts without compositing: transparency is dropped, as Pillow's convert("RGB") does.
func toRGB(picture image.Image) *raster.RGB {
	b := picture.Bounds()
	out := raster.NewRGB(b.Dx(), b.Dy())
	i := 0
	put := func(r, g, b uint8) {
		out.Pix[i], out.Pix[i+1], out.Pix[i+2] = r, g, b
		i += 3
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		switch p := picture.(type) {
		case *image.Gray:
			row := p.Pix[p.PixOffset(b.Min.X, y):]
			for x := range b.Dx() {
				put(row[x], row[x], row[x])
			}
		case *image.NRGBA:
			row := p.Pix[p.PixOffset(b.Min.X, y):]
			for x := range b.Dx() {
				put(row[4*x], row[4*x+1], row[4*x+2])
			}
		case *image.Paletted:
			row := p.Pix[p.PixOffset(b.Min.X, y):]
			for x := range b.Dx() {
				var r, g, bl uint8
				if int(row[x]) < len(p.Palette) {
					r, g, bl = straight(p.Palette[row[x]])
				}
				put(r, g, bl)
			}
		default:
			for x := b.Min.X; x < b.Max.X; x++ {
				put(straight(picture.At(x, y)))
			}
		}
	}
	return out
}

// ReadMask reads a label picture as a mask: foreground where the luma is over 127. Luma is Pillow's convert("L"):
// (19595 R + 38470 G + 7471 B + 32768) / 65536 (ITU-R BT.601).
func ReadMask(path string, limits Limits) (*raster.Mask, error) {
	picture, err := ReadPicture(path, limits)
	if err != nil {
		return nil, err
	}
	mask := raster.NewMask(picture.Width, picture.Height)
	for i := range mask.Pix {
		r, g, b := uint32(picture.Pix[3*i]), uint32(picture.Pix[3*i+1]), uint32(picture.Pix[3*i+2])
		if (19595*r+38470*g+7471*b+32768)>>16 > 127 {
			mask.Pix[i] = raster.Foreground
		}
	}
	return mask, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, "picture-missing", err, "the picture %s cannot be opened", path)
	}
	defer func() { _ = file.Close() }() // only read from
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fault.New(fault.NotFound, "picture-missing", "%s is not a file", path)
	}
	if info.Size() > maxPictureFileBytes {
		return nil, fault.New(fault.Invalid, CodeTooLarge, "%s has %d bytes, more than the limit of %d", path, info.Size(), int64(maxPictureFileBytes))
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, fault.Wrap(fault.Transient, "picture-missing", err, "reading %s", path)
	}
	return data, nil
}
