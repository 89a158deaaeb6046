package pixel

import (
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Samples is a picture as it was stored: bit patterns that do not yet say what colour they mean. Format.RGB gives them
// colours.
type Samples struct {
	Width, Height int
	Components    int // samples a pixel: 1 or 3
	Bytes         int // of a sample: 1 or 2
	// Data holds the samples pixel by pixel, rows from the top, the lower byte first: len = Width·Height·Components·Bytes.
	Data []byte
}

// newSamples allocates the samples of a picture whose size was checked.
func newSamples(width, height, components, bytes int) *Samples {
	return &Samples{Width: width, Height: height, Components: components, Bytes: bytes, Data: make([]byte, width*height*components*bytes)}
}

// bytesFor is how many bytes hold a sample of so many bits (1 to 16).
func bytesFor(bits int) int {
	if bits > 8 {
		return 2
	}
	return 1
}

// Format says what samples mean (PS3.3 C.7.6.3).
type Format struct {
	Photometric string // MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB, YBR_FULL or YBR_FULL_422 (with one Cb and Cr a pixel)
	StoredBits  int    // 1 to 16
	Shift       int    // how far above bit 0 the lowest stored bit lies
	Signed      bool   // two's complement of StoredBits
	Palette     *Palette
	// Into is memory for the picture. It is used if it is large enough, whatever it holds, unless the picture shares the samples.
	Into []byte
}

// asStored tells whether 8-bit samples are colours as they are.
func (f Format) asStored() bool {
	return f.StoredBits == 8 && f.Shift == 0 && !f.Signed && f.Photometric != "MONOCHROME1"
}

// Check tells whether RGB knows the format for so many samples a pixel: Unsupported "pixel-format-unsupported" if not.
func (f Format) Check(components int) error {
	want := 0
	switch f.Photometric {
	case "MONOCHROME1", "MONOCHROME2", photometricPalette:
		want = 1
	case photometricRGB, photometricYBR, photometricYBR422:
		want = 3
	}
	if want != components || f.StoredBits < 1 || f.StoredBits > 16 || f.Shift < 0 || f.Shift+f.StoredBits > 16 || f.Photometric == photometricPalette && f.Palette == nil {
		return fault.New(fault.Unsupported, CodeFormat, "the picture has %d samples a pixel of %d bits in %q; grey, RGB, YBR_FULL, YBR_FULL_422 or PALETTE COLOR of up to 16 bits is expected",
			components, f.StoredBits, f.Photometric)
	}
	return nil
}

const (
	photometricPalette = "PALETTE COLOR"
	photometricRGB     = "RGB"
	photometricYBR     = "YBR_FULL"
	photometricYBR422  = "YBR_FULL_422"
)

// RGB turns samples into 8-bit RGB; where nothing needs to change, the picture shares Data. Samples of more than 8 stored bits
// keep the upper 8; fewer are stretched over 0 to 255; signed ones start at their lowest value. No window and no rescaling
// is applied. YBR is ITU-R BT.601 at full range (PS3.3 C.7.6.3.1.2).
//
// Fault: that of Format.Check.
func (s *Samples) RGB(f Format) (*raster.RGB, error) {
	if err := f.Check(s.Components); err != nil {
		return nil, err
	}
	if f.Photometric == photometricPalette {
		return s.paletteRGB(f), nil
	}
	levels := s.Data
	if s.Bytes != 1 || !f.asStored() {
		levels = s.levels(f)
	}
	if f.Photometric == photometricRGB {
		return &raster.RGB{Width: s.Width, Height: s.Height, Pix: levels}, nil
	}
	out := raster.NewRGBIn(f.Into, s.Width, s.Height)
	if s.Components == 1 {
		for i, v := range levels {
			p := out.Pix[3*i : 3*i+3]
			p[0], p[1], p[2] = v, v, v
		}
		return out, nil
	}
	for i := 0; i < len(levels); i += 3 {
		y, cb, cr := int32(levels[i]), int32(levels[i+1])-128, int32(levels[i+2])-128
		// 16-bit fixed point: the rounded value of the formula, but for its ties.
		out.Pix[i] = clamp(y + (91881*cr+1<<15)>>16)             // 1.402 Cr
		out.Pix[i+1] = clamp(y + (-22554*cb-46802*cr+1<<15)>>16) // -0.344136 Cb - 0.714136 Cr
		out.Pix[i+2] = clamp(y + (116130*cb+1<<15)>>16)          // 1.772 Cb
	}
	return out, nil
}

func clamp(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// values returns the bit pattern of every sample through a table of all of them.
func lookup[T any](s *Samples, f Format, table []T, put func(i int, v T)) {
	mask := len(table) - 1
	if s.Bytes == 1 {
		for i, v := range s.Data {
			put(i, table[int(v)>>f.Shift&mask])
		}
		return
	}
	for i := range len(s.Data) / 2 {
		put(i, table[(int(s.Data[2*i])|int(s.Data[2*i+1])<<8)>>f.Shift&mask])
	}
}

// levels reduces every sample to 8 bits.
func (s *Samples) levels(f Format) []byte {
	table := make([]uint8, 1<<f.StoredBits)
	for pattern := range table {
		v := pattern
		if f.Signed { // the lowest value becomes 0
			v ^= 1 << (f.StoredBits - 1)
		}
		if f.StoredBits >= 8 {
			v >>= f.StoredBits - 8
		} else {
			most := len(table) - 1
			v = (v*255 + most/2) / most
		}
		if f.Photometric == "MONOCHROME1" { // the lowest value is white
			v = 255 - v
		}
		table[pattern] = uint8(v)
	}
	out := make([]byte, len(s.Data)/s.Bytes)
	lookup(s, f, table, func(i int, v uint8) { out[i] = v })
	return out
}

// paletteRGB looks every pixel up in the palette.
func (s *Samples) paletteRGB(f Format) *raster.RGB {
	table := make([][3]uint8, 1<<f.StoredBits)
	for pattern := range table {
		v := pattern
		if f.Signed && v >= len(table)/2 {
			v -= len(table)
		}
		table[pattern] = f.Palette.at(v)
	}
	out := raster.NewRGBIn(f.Into, s.Width, s.Height)
	lookup(s, f, table, func(i int, v [3]uint8) { copy(out.Pix[3*i:], v[:]) })
	return out
}
