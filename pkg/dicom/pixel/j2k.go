package pixel

// #cgo LDFLAGS: -lopenjp2
// #include "j2k.h"
import "C"

import (
	"strings"
	"unsafe"
)

// DecodeJPEG2000 decodes a JPEG 2000 codestream, with or without a JP2 file around it, reversible or not, with the block coder
// of Part 1 or of Part 15 (HTJ2K), through OpenJPEG. Pictures have 1 or 3 components of 1 to 16 bits without subsampling; signed
// samples come as two's complement. A colour transform of the codestream is undone.
//
// Faults: Invalid "picture-corrupt" (also for a stream that ends early) and "picture-too-large", Unsupported
// "picture-unsupported".
func DecodeJPEG2000(data []byte, limits Limits) (*Samples, error) {
	h, err := ParseJPEG2000Header(data)
	if err != nil {
		return nil, err
	}
	if err := limits.Check(h.Width, h.Height); err != nil {
		return nil, err
	}
	codestream := data[h.start:h.end]
	out := newSamples(h.Width, h.Height, h.Components, bytesFor(h.PrecisionBits))
	shape := C.struct_noctua_j2k_shape{width: C.uint(h.Width), height: C.uint(h.Height), components: C.uint(h.Components), bits: C.uint(h.PrecisionBits)}
	if h.Signed {
		shape.is_signed = 1
	}
	var message [200]C.char
	failed := C.noctua_j2k_decode((*C.uchar)(unsafe.Pointer(&codestream[0])), C.size_t(len(codestream)), &shape, C.uint(out.Bytes),
		(*C.uchar)(unsafe.Pointer(&out.Data[0])), &message[0], C.size_t(len(message)))
	if failed != 0 {
		return nil, corruptJPEG2000("%s", strings.ToValidUTF8(strings.TrimSpace(C.GoString(&message[0])), "?"))
	}
	return out, nil
}
