package pixel

// #cgo LDFLAGS: -lturbojpeg
// #include <stdlib.h>
// #include <turbojpeg.h>
import "C"

import (
	"unsafe"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Decoder names what DecodeJPEG decodes with, for provenance.
const Decoder = "libjpeg-turbo"

// Option changes how DecodeJPEG reads a stream.
type Option func(*options)

type options struct {
	photometric string
	into        []byte
}

// DeclaredPhotometric tells DecodeJPEG the DICOM PhotometricInterpretation, which decides between RGB and YCbCr where the
// stream itself does not say (see JPEGHeader.YCbCr).
func DeclaredPhotometric(name string) Option {
	return func(o *options) { o.photometric = name }
}

// Into gives DecodeJPEG memory for the picture. It is used if it is large enough, whatever it holds.
func Into(buffer []byte) Option {
	return func(o *options) { o.into = buffer }
}

// DecodeJPEG decodes an 8-bit baseline, extended or progressive JPEG. Grey becomes RGB with equal channels.
//
// Faults: Invalid "picture-corrupt" (also for a stream that ends early), Invalid "picture-too-large",
// Unsupported "picture-unsupported" (12 bit, CMYK, lossless, arithmetic).
func DecodeJPEG(data []byte, limits Limits, opts ...Option) (*raster.RGB, error) {
	var o options
	for _, set := range opts {
		set(&o)
	}
	h, err := ParseJPEGHeader(data)
	if err != nil {
		return nil, err
	}
	if err := h.Decodable(); err != nil {
		return nil, err
	}
	if err := limits.Check(h.Width, h.Height); err != nil {
		return nil, err
	}
	if err := h.checkScans(data); err != nil {
		return nil, err
	}
	ycbcr, _ := h.YCbCr(o.photometric)
	if h.Components == 3 && h.libraryGuess() != ycbcr {
		data = h.normalised(data, ycbcr)
	}

	handle := C.tjInitDecompress()
	if handle == nil {
		return nil, fault.New(fault.Internal, "jpeg-decoder", "libjpeg-turbo could not be started: %s", C.GoString(C.tjGetErrorStr2(nil)))
	}
	defer C.tjDestroy(handle)

	out := raster.NewRGBIn(o.into, h.Width, h.Height)
	// LIMITSCANS is a second net below checkScans.
	// STOPONWARNING: a warning (premature end, damaged block) fails the call either way, so it may as well stop at once.
	rc := C.tjDecompress2(handle, (*C.uchar)(unsafe.Pointer(&data[0])), C.ulong(len(data)),
		(*C.uchar)(unsafe.Pointer(&out.Pix[0])), C.int(h.Width), C.int(3*h.Width), C.int(h.Height),
		C.TJPF_RGB, C.TJFLAG_LIMITSCANS|C.TJFLAG_STOPONWARNING|C.TJFLAG_ACCURATEDCT)
	if rc != 0 {
		return nil, fault.New(fault.Invalid, CodeCorrupt, "the JPEG stream is damaged or cut off: %s", C.GoString(C.tjGetErrorStr2(handle)))
	}
	return out, nil
}

// libraryGuess is what libjpeg would take three components for (jdapimin.c, default_decompress_parms): it puts JFIF before
// APP14 and does not know what DICOM declares.
func (h JPEGHeader) libraryGuess() (ycbcr bool) {
	switch {
	case h.jfif:
		return true
	case h.adobe:
		return h.adobeColour != 0
	}
	return h.ids[0] != 'R' || h.ids[1] != 'G' || h.ids[2] != 'B'
}

// normalised returns the stream with its application and comment segments removed and one APP14 segment that names the
// colour model. It is a copy, so it is made only where libjpeg would guess wrong.
func (h JPEGHeader) normalised(data []byte, ycbcr bool) []byte {
	transform := byte(0)
	if ycbcr {
		transform = 1
	}
	out := make([]byte, 0, len(data)+18)
	out = append(out, 0xFF, markerSOI, 0xFF, markerAPP14, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, transform)
	for _, t := range h.tables {
		out = append(out, data[t[0]:t[1]]...)
	}
	return append(out, data[h.body:]...)
}

// EncodeJPEG encodes a picture as baseline JPEG (YCbCr, chroma halved horizontally: DICOM's YBR_FULL_422) with a
// quality from 1 to 100.
func EncodeJPEG(picture *raster.RGB, quality int) ([]byte, error) {
	if err := picture.Check(); err != nil {
		return nil, fault.Wrap(fault.Internal, "picture-invalid", err, "encoding a JPEG")
	}
	if quality < 1 || quality > 100 {
		return nil, fault.New(fault.Internal, "picture-invalid", "JPEG quality must be from 1 to 100, but is %d", quality)
	}
	if picture.Width > 65535 || picture.Height > 65535 {
		return nil, fault.New(fault.Invalid, CodeTooLarge, "JPEG holds at most 65,535 pixels a side, but the picture has %d × %d", picture.Width, picture.Height)
	}
	handle := C.tjInitCompress()
	if handle == nil {
		return nil, fault.New(fault.Internal, "jpeg-encoder", "libjpeg-turbo could not be started: %s", C.GoString(C.tjGetErrorStr2(nil)))
	}
	defer C.tjDestroy(handle)
	var buffer *C.uchar // allocated by libjpeg-turbo, freed here
	var size C.ulong
	defer func() { C.tjFree(buffer) }()
	rc := C.tjCompress2(handle, (*C.uchar)(unsafe.Pointer(&picture.Pix[0])), C.int(picture.Width), C.int(3*picture.Width), C.int(picture.Height),
		C.TJPF_RGB, &buffer, &size, C.TJSAMP_422, C.int(quality), C.TJFLAG_ACCURATEDCT)
	if rc != 0 {
		return nil, fault.New(fault.Internal, "jpeg-encoder", "libjpeg-turbo could not encode the picture: %s", C.GoString(C.tjGetErrorStr2(handle)))
	}
	return C.GoBytes(unsafe.Pointer(buffer), C.int(size)), nil
}
