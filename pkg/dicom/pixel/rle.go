package pixel

import (
	"encoding/binary"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// DecodeRLE decodes a frame of RLE Lossless (PS3.5 annex G): one PackBits segment for each byte of a sample, the highest
// first, of components 1 or 3 with bytes 1 or 2 a sample.
//
// Faults: Invalid "picture-corrupt" (also for a frame that ends early or holds more than the picture) and
// "picture-too-large", Unsupported "pixel-format-unsupported".
func DecodeRLE(data []byte, width, height, components, bytes int, limits Limits) (*Samples, error) {
	const headerBytes = 64
	if err := limits.Check(width, height); err != nil {
		return nil, err
	}
	if components != 1 && components != 3 || bytes != 1 && bytes != 2 {
		return nil, fault.New(fault.Unsupported, CodeFormat, "the picture has %d samples a pixel of %d bytes, but 1 or 3 of 1 or 2 bytes were expected", components, bytes)
	}
	if len(data) < headerBytes {
		return nil, corruptRLE("it has no header")
	}
	le := binary.LittleEndian
	segments := components * bytes
	if n := le.Uint32(data); int64(n) != int64(segments) {
		return nil, corruptRLE("it has %d segments, but the picture needs %d", n, segments)
	}
	var bounds [7]int64 // 6 segments at most
	for i := range segments {
		bounds[i] = int64(le.Uint32(data[4+4*i:]))
	}
	bounds[segments] = int64(len(data))
	for i := range segments {
		if bounds[i] < headerBytes || bounds[i] > bounds[i+1] {
			return nil, corruptRLE("its segments are out of order or end after it does")
		}
	}
	out := newSamples(width, height, components, bytes)
	for i := range segments {
		at := i/bytes*bytes + (bytes - 1 - i%bytes)
		if err := unpackBits(out.Data, at, segments, data[bounds[i]:bounds[i+1]]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// unpackBits fills every step-th byte of out from the first with a PackBits segment. What follows in the segment is padding.
func unpackBits(out []byte, first, step int, in []byte) error {
	to := first
	for pos := 0; to < len(out); {
		if pos >= len(in) {
			return corruptRLE("a segment ends early")
		}
		control := int(int8(in[pos]))
		pos++
		switch {
		case control >= 0: // copy
			n := control + 1
			if pos+n > len(in) || to+(n-1)*step >= len(out) {
				return corruptRLE("a run does not fit")
			}
			for _, v := range in[pos : pos+n] {
				out[to] = v
				to += step
			}
			pos += n
		case control > -128: // repeat
			n := 1 - control
			if pos >= len(in) || to+(n-1)*step >= len(out) {
				return corruptRLE("a run does not fit")
			}
			for range n {
				out[to] = in[pos]
				to += step
			}
			pos++
		}
	}
	return nil
}

func corruptRLE(format string, args ...any) error {
	return fault.New(fault.Invalid, CodeCorrupt, "the RLE frame is damaged: "+format, args...)
}
