package dicom

import (
	"strconv"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// geometry is the checked shape of the pixel data.
type geometry struct {
	rows, columns, frames, samples int
	allocated, stored              int // bits
	high                           int // bit
	signed, planar                 bool
	photometric                    string
}

// maxFrames bounds NumberOfFrames: no camera makes more, and products with it stay far from overflow.
const maxFrames = 1 << 20

// geometry reads and checks the attributes that describe pixels, without looking at the pixels.
func (f *File) geometry() (geometry, error) {
	var g geometry
	if f.Data.Find(tagPixelData) == nil {
		return g, invalid(CodePixelMissing, "the file holds no picture, or ends before it; send it again")
	}
	for _, a := range []struct {
		tag      Tag
		to       *int
		min, max int
	}{
		{tagRows, &g.rows, 1, 65535}, {tagColumns, &g.columns, 1, 65535}, {tagSamples, &g.samples, 1, 4},
		{tagBitsAllocated, &g.allocated, 1, 64}, {tagBitsStored, &g.stored, 1, 64},
	} {
		value, ok, err := f.uint16At(f.Data, a.tag)
		if err != nil {
			return g, err
		}
		if !ok || value < a.min || value > a.max {
			return g, invalid(CodeGeometry, "the attribute %s must be from %d to %d, but is %d or missing", a.tag, a.min, a.max, value)
		}
		*a.to = value
	}
	planar, _, err := f.uint16At(f.Data, tagPlanar)
	if err != nil {
		return g, err
	}
	if planar > 1 {
		return g, invalid(CodeGeometry, "PlanarConfiguration must be 0 or 1, but is %d", planar)
	}
	g.planar = planar == 1
	signed, _, err := f.uint16At(f.Data, tagPixelRep)
	if err != nil {
		return g, err
	}
	g.signed = signed == 1
	high, ok, err := f.uint16At(f.Data, tagHighBit)
	if err != nil {
		return g, err
	}
	if g.high = high; !ok || f.syntax.codec != codecNone { // compressed samples start at bit 0, whatever the header says
		g.high = g.stored - 1
	}
	if g.stored > g.allocated || g.high >= g.allocated || g.high < g.stored-1 || signed > 1 {
		return g, invalid(CodeGeometry, "%d stored bits up to bit %d do not fit into %d allocated ones, or the PixelRepresentation %d is neither 0 nor 1", g.stored, g.high, g.allocated, signed)
	}
	if g.photometric, err = f.ascii(f.Data, tagPhotometric); err != nil {
		return g, err
	}
	frames, err := f.ascii(f.Data, tagFrames)
	if err != nil {
		return g, err
	}
	g.frames = 1
	if frames != "" {
		if g.frames, err = strconv.Atoi(frames); err != nil || g.frames < 1 || g.frames > maxFrames {
			return g, invalid(CodeGeometry, "NumberOfFrames must be from 1 to %d, but is %q", maxFrames, Printable(frames))
		}
	}
	if err := f.limits.Pixels.Check(g.columns, g.rows); err != nil {
		return g, err
	}
	if f.syntax.codec != codecNone {
		return g, nil
	}
	// 64 bits hold 2^26 pixels × 4 samples × 64 bits × 2^20 frames.
	want := (f.layout(g).Bits()*int64(g.frames) + 7) / 8
	if got := f.Data.Find(tagPixelData).Length; got != want && got != want+want%2 {
		return g, invalid(CodePixelLength, "the pixel data holds %d bytes, but %d × %d pixels in %d frames need %d", got, g.columns, g.rows, g.frames, want)
	}
	return g, nil
}

// layout says how uncompressed samples lie in the file. Big-endian files swap the bytes of words, in which 8-bit samples lie
// only if the pixel data has type OW (PS3.5 A.3, 8.1.2).
func (f *File) layout(g geometry) pixel.Layout {
	return pixel.Layout{
		Width: g.columns, Height: g.rows, Components: g.samples, AllocatedBits: g.allocated, Planar: g.planar,
		ChromaHalved: g.photometric == "YBR_FULL_422" && g.samples == 3,
		BytesSwapped: f.syntax.bigEndian && (g.allocated > 8 || f.Data.Find(tagPixelData).VR == vrOW),
	}
}

// format says what samples mean once they are decompressed.
func (f *File) format(g geometry, into []byte) (format pixel.Format, err error) {
	format = pixel.Format{Into: into, Photometric: g.photometric, StoredBits: g.stored, Shift: g.high + 1 - g.stored, Signed: g.signed}
	if f.syntax.codec == codecJPEG2000 && (g.photometric == "YBR_ICT" || g.photometric == "YBR_RCT") {
		format.Photometric = "RGB" // the decoder undoes the transform
	}
	if g.photometric == "PALETTE COLOR" {
		format.Palette, err = f.palette(g.signed)
	}
	return format, err
}

// Decode gives the first frame as RGB, and notes on how it was read. It takes at most four times the size of
// the samples or of 8-bit colour, whichever is larger, twice the compressed frame, and what OpenJPEG does.
//
// Faults: those of the geometry and of the decoders (pixel.DecodeJPEG, DecodeJPEGLossless, DecodeJPEGLS, DecodeJPEG2000,
// DecodeRLE); Invalid encapsulation-malformed, palette-malformed and picture-conflicts-with-header; Unsupported
// pixel-format-unsupported and frames-unclear.
func (f *File) Decode() (*raster.RGB, []record.Note, error) { return f.DecodeInto(nil) }

// DecodeInto is Decode for pictures that may lie in buffer: it is used if it is large enough, whatever it holds, and where the
// way to the pixels does not end in other memory. The picture tells where it lies.
func (f *File) DecodeInto(buffer []byte) (*raster.RGB, []record.Note, error) {
	g, err := f.geometry()
	if err != nil {
		return nil, nil, err
	}
	format, err := f.format(g, buffer)
	if err != nil {
		return nil, nil, err
	}
	switch f.syntax.codec {
	case codecJPEG:
		return f.decodeJPEG(g, format)
	case codecJPEG2000:
		return f.decodeJPEG2000(g, format)
	case codecRLE:
		picture, err := f.decodeRLE(g, format)
		return picture, nil, err
	default:
		picture, err := f.decodeNative(g, format)
		return picture, nil, err
	}
}

func (f *File) decodeNative(g geometry, format pixel.Format) (*raster.RGB, error) {
	layout := f.layout(g)
	if err := layout.Check(); err != nil {
		return nil, err
	}
	if err := format.Check(g.samples); err != nil {
		return nil, err
	}
	// The last frame of a file of odd length has no byte to make up a word with; it is swapped with what is not there.
	n, e := layout.ReadBytes(), f.Data.Find(tagPixelData)
	var raw []byte
	if layout.Shared(format) && int64(len(format.Into)) >= n {
		raw = format.Into[:n:n]
		clear(raw[min(n, e.Length):]) // as new memory is
	} else {
		raw = make([]byte, n)
	}
	if err := readAt(f.reader, raw[:min(n, e.Length)], e.Offset); err != nil {
		return nil, err
	}
	samples, err := layout.Samples(raw)
	if err != nil {
		return nil, err
	}
	return samples.RGB(format)
}

func (f *File) decodeRLE(g geometry, format pixel.Format) (*raster.RGB, error) {
	if err := format.Check(g.samples); err != nil {
		return nil, err
	}
	if g.allocated != 8 && g.allocated != 16 {
		return nil, unsupported(CodePixelFormat, "the picture has %d bits a sample, but 8 or 16 are expected", g.allocated)
	}
	data, err := f.compressedFrame(g)
	if err != nil {
		return nil, err
	}
	samples, err := pixel.DecodeRLE(data, g.columns, g.rows, g.samples, g.allocated/8, f.limits.Pixels)
	if err != nil {
		return nil, err
	}
	return samples.RGB(format)
}

// compressedFrame reads the first frame's fragments.
func (f *File) compressedFrame(g geometry) ([]byte, error) {
	fragments, err := f.firstFrame(g)
	if err != nil {
		return nil, err
	}
	size := int64(0)
	for _, fragment := range fragments {
		size += fragment.Length
	}
	if most := g.compressedBytes(); size > most {
		return nil, invalid(CodePictureConflict, "the compressed picture has %d bytes, more than the %d that its %d × %d pixels can need", size, most, g.columns, g.rows)
	}
	data := make([]byte, size)
	at := int64(0)
	for _, fragment := range fragments {
		if err := readAt(f.reader, data[at:at+fragment.Length], fragment.Offset); err != nil {
			return nil, err
		}
		at += fragment.Length
	}
	return data, nil
}

// decodeJPEG decodes what JPEG and JPEG-LS transfer syntaxes hold. The stream's own header chooses the decoder: files whose
// transfer syntax names another process of JPEG exist and are unambiguous.
func (f *File) decodeJPEG(g geometry, format pixel.Format) (*raster.RGB, []record.Note, error) {
	data, err := f.compressedFrame(g)
	if err != nil {
		return nil, nil, err
	}
	header, err := pixel.ParseJPEGHeader(data)
	if err != nil {
		return nil, nil, err
	}
	if err := g.agree(header.Width, header.Height, header.Components, header.PrecisionBits); err != nil {
		return nil, nil, err
	}
	var notes []record.Note
	if header.JPEGLS() || header.Lossless() {
		notes = narrow(&format, header.PrecisionBits)
	}
	if header.JPEGLS() {
		samples, err := pixel.DecodeJPEGLS(data, f.limits.Pixels)
		if err != nil {
			return nil, nil, err
		}
		picture, err := samples.RGB(format)
		return picture, notes, err
	}
	ycbcr, conflict := header.YCbCr(g.photometric)
	if conflict {
		notes = append(notes, colourNote())
	}
	if header.Lossless() {
		samples, err := pixel.DecodeJPEGLossless(data, f.limits.Pixels)
		if err != nil {
			return nil, nil, err
		}
		if g.samples == 3 {
			format.Photometric = map[bool]string{true: "YBR_FULL", false: "RGB"}[ycbcr]
		}
		picture, err := samples.RGB(format)
		return picture, notes, err
	}
	if format.Palette != nil {
		return nil, nil, unsupported(CodePixelFormat, "the picture is lossy JPEG in PALETTE COLOR, which cannot be: its pixels are not numbers of colours")
	}
	picture, err := pixel.DecodeJPEG(data, f.limits.Pixels, pixel.DeclaredPhotometric(g.photometric), pixel.Into(format.Into))
	if err != nil {
		return nil, nil, err
	}
	if g.photometric == "MONOCHROME1" {
		for i := range picture.Pix {
			picture.Pix[i] = 255 - picture.Pix[i]
		}
	}
	return picture, notes, nil
}

// decodeJPEG2000 decodes JPEG 2000 and HTJ2K. Where the codestream has a colour transform, its components were RGB.
func (f *File) decodeJPEG2000(g geometry, format pixel.Format) (*raster.RGB, []record.Note, error) {
	if err := format.Check(g.samples); err != nil {
		return nil, nil, err
	}
	data, err := f.compressedFrame(g)
	if err != nil {
		return nil, nil, err
	}
	header, err := pixel.ParseJPEG2000Header(data)
	if err != nil {
		return nil, nil, err
	}
	if err := g.agree(header.Width, header.Height, header.Components, header.PrecisionBits); err != nil {
		return nil, nil, err
	}
	samples, err := pixel.DecodeJPEG2000(data, f.limits.Pixels)
	if err != nil {
		return nil, nil, err
	}
	notes := narrow(&format, header.PrecisionBits)
	if header.ColourTransform && g.samples == 3 && format.Photometric != "RGB" {
		format.Photometric = "RGB"
		notes = append(notes, colourNote())
	}
	picture, err := samples.RGB(format)
	return picture, notes, err
}

// agree compares what a compressed picture says with the header.
func (g geometry) agree(width, height, components, bits int) error {
	if width == g.columns && height == g.rows && components == g.samples && bits <= g.allocated {
		return nil
	}
	return invalid(CodePictureConflict, "the compressed picture has %d × %d pixels of %d samples of %d bits, but the header says %d × %d of %d samples in %d bits",
		width, height, components, bits, g.columns, g.rows, g.samples, g.allocated)
}

// narrow takes the depth of a stream that has fewer bits a sample than BitsStored says: its brightest value is that of its own bits,
// and by BitsStored the picture would be dark. A stream of more bits is common, and has values of BitsStored only. Signed samples,
// which no photograph has, and numbers of palette entries stay as they are.
func narrow(format *pixel.Format, precisionBits int) []record.Note {
	if precisionBits >= format.StoredBits || format.Signed || format.Palette != nil {
		return nil
	}
	format.StoredBits = precisionBits
	return []record.Note{{Code: CodeNoteDepth, Text: "The picture's own samples have fewer bits than the header says; the picture's own number was used."}}
}

func colourNote() record.Note {
	return record.Note{Code: CodeNotePhotometric, Text: "The picture's own colour model differs from the one that the header names; the picture's own was used."}
}

// palette reads the lookup tables of a PALETTE COLOR picture. signed: the first pixel value that a table names may be negative.
func (f *File) palette(signed bool) (*pixel.Palette, error) {
	var tables [3]pixel.PaletteData
	for i := range tables {
		n := Tag(i)
		descriptor := f.Data.Find(tagRedLUT + n)
		if descriptor == nil || descriptor.Length != 6 || descriptor.Items != nil {
			return nil, invalid(CodePalette, "the palette's descriptor %s is missing or does not hold three numbers", tagRedLUT+n)
		}
		raw, err := f.load(descriptor)
		if err != nil {
			return nil, err
		}
		t := &tables[i]
		t.Entries, t.First, t.Bits = int(f.order().Uint16(raw)), int(f.order().Uint16(raw[2:])), int(f.order().Uint16(raw[4:]))
		if t.Entries == 0 {
			t.Entries = pixel.MaxPaletteEntries
		}
		if signed {
			t.First = int(int16(t.First))
		}
		values := f.Data.Find(tagRedLUTData + n)
		if values == nil {
			values, t.Segmented = f.Data.Find(tagRedSegments+n), true
		}
		if values == nil || values.Items != nil || values.Length > maxPaletteBytes {
			return nil, invalid(CodePalette, "the palette's table %s is missing or longer than %d bytes", tagRedLUTData+n, maxPaletteBytes)
		}
		if t.Data, err = f.load(values); err != nil {
			return nil, err
		}
		if f.syntax.bigEndian && values.VR != vrOB {
			for k := 0; k+1 < len(t.Data); k += 2 {
				t.Data[k], t.Data[k+1] = t.Data[k+1], t.Data[k]
			}
		}
	}
	return pixel.NewPalette(tables[0], tables[1], tables[2])
}

// maxPaletteBytes is a table of the most entries of 16 bits; segments are there to take less.
const maxPaletteBytes = 2 * pixel.MaxPaletteEntries

// slackBytes is room for a compressed picture's metadata (EXIF, colour profile, preview) and for what compression adds to
// noise.
const slackBytes = 4 << 20

func (g geometry) pixels() int64 { return int64(g.rows) * int64(g.columns) }

// sampleBytes is the size of a frame's samples, and at least that of 8-bit colour.
func (g geometry) sampleBytes() int64 {
	return g.pixels() * int64(max(3, g.samples*(g.allocated+7)/8))
}

// compressedBytes bounds a compressed frame: a picture that grew when it was compressed is none. So memory is bounded by the
// pixel limit.
func (g geometry) compressedBytes() int64 { return g.sampleBytes() + slackBytes }
