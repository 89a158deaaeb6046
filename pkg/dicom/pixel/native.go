package pixel

import "github.com/noctua-screening/noctua/pkg/fault"

// Layout says how the samples of an uncompressed frame lie in a file.
type Layout struct {
	Width, Height int
	Components    int  // samples a pixel: 1 or 3
	AllocatedBits int  // of a sample: 1 (eight pixels a byte, the lowest bit first), 8 or 16
	Planar        bool // one component after the other
	ChromaHalved  bool // YBR_FULL_422: two luma samples and then one of each chroma for two pixels
	BytesSwapped  bool // 16-bit words have the higher byte first
}

// Check tells whether Samples knows the layout: Unsupported "pixel-format-unsupported" if not.
func (l Layout) Check() error {
	sound := l.Components == 1 || l.Components == 3
	switch l.AllocatedBits {
	case 1:
		sound = sound && l.Components == 1
	case 8, 16:
	default:
		sound = false
	}
	if l.ChromaHalved {
		sound = sound && l.Components == 3 && l.AllocatedBits == 8 && !l.Planar && l.Width%2 == 0
	}
	if !sound {
		return fault.New(fault.Unsupported, CodeFormat, "the picture has %d samples a pixel in %d bits each (planar %v, chroma halved %v, %d pixels wide), which is not decoded here",
			l.Components, l.AllocatedBits, l.Planar, l.ChromaHalved, l.Width)
	}
	return nil
}

// Bits is the size of a frame, which need not end at a byte.
func (l Layout) Bits() int64 {
	samples := int64(l.Width) * int64(l.Height)
	if l.ChromaHalved {
		return samples * 2 * int64(l.AllocatedBits)
	}
	return samples * int64(l.Components) * int64(l.AllocatedBits)
}

// ReadBytes is how many bytes of a file Samples needs for the first frame: whole words where bytes are swapped.
func (l Layout) ReadBytes() int64 {
	n := (l.Bits() + 7) / 8
	if l.BytesSwapped {
		n += n % 2
	}
	return n
}

// Samples sorts the first frame's samples. raw holds ReadBytes bytes and belongs to the result. Halved chroma is repeated
// (the standard puts it at the first of its two pixels).
//
// Faults: that of Check.
func (l Layout) Samples(raw []byte) (*Samples, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	if l.BytesSwapped {
		for i := 0; i+1 < len(raw); i += 2 {
			raw[i], raw[i+1] = raw[i+1], raw[i]
		}
	}
	count := l.Width * l.Height
	size := max(1, l.AllocatedBits/8)
	switch {
	case l.AllocatedBits == 1:
		out := newSamples(l.Width, l.Height, 1, 1)
		for i := range out.Data {
			out.Data[i] = raw[i/8] >> (i % 8) & 1
		}
		return out, nil
	case l.ChromaHalved:
		out := newSamples(l.Width, l.Height, 3, 1)
		for i := range count / 2 {
			two, q := out.Data[6*i:6*i+6], raw[4*i:4*i+4]
			two[0], two[1], two[2] = q[0], q[2], q[3]
			two[3], two[4], two[5] = q[1], q[2], q[3]
		}
		return out, nil
	case l.Planar && l.Components == 3:
		out := newSamples(l.Width, l.Height, 3, size)
		interleave(out, raw)
		return out, nil
	}
	return &Samples{Width: l.Width, Height: l.Height, Components: l.Components, Bytes: size, Data: raw[:count*l.Components*size]}, nil
}

// Shared tells whether the picture that RGB makes of the Samples of raw bytes is those bytes.
func (l Layout) Shared(f Format) bool {
	return l.Components == 3 && l.AllocatedBits == 8 && !l.Planar && !l.ChromaHalved && f.Photometric == photometricRGB && f.asStored()
}

// interleave fills out with planes.
func interleave(out *Samples, planes []byte) {
	count := out.Width * out.Height
	for c := range out.Components {
		for i := range count {
			for b := range out.Bytes {
				out.Data[(i*out.Components+c)*out.Bytes+b] = planes[(c*count+i)*out.Bytes+b]
			}
		}
	}
}
