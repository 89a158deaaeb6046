package dicom

import (
	"encoding/binary"
	"strconv"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// geometry is the checked shape of the pixel data.
type geometry struct {
	rows, columns, frames, samples int
	allocated, stored              int // bits
	planar                         bool
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
			return g, invalid(CodeGeometry, "NumberOfFrames must be from 1 to %d, but is %q", maxFrames, printable(frames))
		}
	}
	if err := f.limits.Pixels.Check(g.columns, g.rows); err != nil {
		return g, err
	}
	if f.TransferSyntax == JPEGBaseline {
		return g, nil
	}
	// 64 bits hold 2^26 pixels × 4 samples × 64 bits × 2^20 frames.
	bits := int64(g.rows) * int64(g.columns) * int64(g.samples) * int64(g.allocated) * int64(g.frames)
	want := (bits + 7) / 8
	if got := f.Data.Find(tagPixelData).Length; got != want && got != want+want%2 {
		return g, invalid(CodePixelLength, "the pixel data holds %d bytes, but %d × %d pixels in %d frames need %d", got, g.columns, g.rows, g.frames, want)
	}
	return g, nil
}

// Decode gives the first frame as RGB, and notes on how it was read. It costs one frame's compressed and decoded size.
//
// Faults: those of the geometry, of pixel.DecodeJPEG, Invalid encapsulation-malformed and picture-conflicts-with-header,
// Unsupported pixel-format-unsupported and frames-unclear.
func (f *File) Decode() (*raster.RGB, []record.Note, error) {
	g, err := f.geometry()
	if err != nil {
		return nil, nil, err
	}
	if f.TransferSyntax == JPEGBaseline {
		return f.decodeJPEG(g)
	}
	picture, err := f.decodeNative(g)
	return picture, nil, err
}

func (f *File) decodeNative(g geometry) (*raster.RGB, error) {
	monochrome := g.samples == 1 && (g.photometric == "MONOCHROME1" || g.photometric == "MONOCHROME2")
	colour := g.samples == 3 && g.photometric == "RGB"
	signed, _, err := f.uint16At(f.Data, tagPixelRep)
	if err != nil {
		return nil, err
	}
	highBit, _, err := f.uint16At(f.Data, tagHighBit)
	if err != nil {
		return nil, err
	}
	if !monochrome && !colour || g.allocated != 8 || g.stored != 8 || highBit != 7 || signed != 0 {
		return nil, unsupported(CodePixelFormat, "the picture has %d samples of %d bits in %q; 8-bit RGB or grey is expected", g.samples, g.stored, printable(g.photometric))
	}
	count := g.rows * g.columns
	raw := make([]byte, count*g.samples)
	if err := readAt(f.reader, raw, f.Data.Find(tagPixelData).Offset); err != nil {
		return nil, err
	}
	if colour && !g.planar {
		return &raster.RGB{Width: g.columns, Height: g.rows, Pix: raw}, nil
	}
	out := raster.NewRGB(g.columns, g.rows)
	for i := range count {
		p := out.Pix[3*i : 3*i+3]
		switch {
		case colour:
			p[0], p[1], p[2] = raw[i], raw[count+i], raw[2*count+i]
		case g.photometric == "MONOCHROME1": // the lowest value is white
			p[0], p[1], p[2] = 255-raw[i], 255-raw[i], 255-raw[i]
		default:
			p[0], p[1], p[2] = raw[i], raw[i], raw[i]
		}
	}
	return out, nil
}

func (f *File) decodeJPEG(g geometry) (*raster.RGB, []record.Note, error) {
	fragments, err := f.firstFrame(g)
	if err != nil {
		return nil, nil, err
	}
	size := int64(0)
	for _, fragment := range fragments {
		size += fragment.Length
	}
	// A compressed picture larger than the uncompressed one is no picture; this bounds memory by the pixel limit.
	if size > f.frameBytes(g)+jpegSlackBytes {
		return nil, nil, invalid(CodePictureConflict, "the JPEG stream has %d bytes, more than its %d × %d pixels can need", size, g.columns, g.rows)
	}
	data := make([]byte, size)
	at := int64(0)
	for _, fragment := range fragments {
		if err := readAt(f.reader, data[at:at+fragment.Length], fragment.Offset); err != nil {
			return nil, nil, err
		}
		at += fragment.Length
	}
	header, err := pixel.ParseJPEGHeader(data)
	if err != nil {
		return nil, nil, err
	}
	if err := header.Decodable(); err != nil {
		return nil, nil, err
	}
	if header.Width != g.columns || header.Height != g.rows || header.Components != g.samples {
		return nil, nil, invalid(CodePictureConflict, "the JPEG stream has %d × %d pixels of %d samples, but the header says %d × %d of %d",
			header.Width, header.Height, header.Components, g.columns, g.rows, g.samples)
	}
	picture, err := pixel.DecodeJPEG(data, f.limits.Pixels, pixel.DeclaredPhotometric(g.photometric))
	if err != nil {
		return nil, nil, err
	}
	if g.photometric == "MONOCHROME1" {
		for i := range picture.Pix {
			picture.Pix[i] = 255 - picture.Pix[i]
		}
	}
	var notes []record.Note
	if _, conflict := header.YCbCr(g.photometric); conflict {
		notes = append(notes, record.Note{Code: CodeNotePhotometric, Text: "The picture's own colour model differs from the one that the header names; the picture's own was used."})
	}
	return picture, notes, nil
}

// jpegSlackBytes is room for a JPEG stream's metadata (EXIF, colour profile, preview).
const jpegSlackBytes = 4 << 20

// frameBytes is the size of a decoded frame.
func (f *File) frameBytes(g geometry) int64 { return 3 * int64(g.rows) * int64(g.columns) }

// firstFrame returns the fragments of the first frame: all of them if there is one frame, else by the Basic Offset Table, else
// one fragment a frame.
func (f *File) firstFrame(g geometry) ([]Fragment, error) {
	items := f.Data.Find(tagPixelData).Fragments
	table, fragments := items[0], items[1:]
	if g.frames == 1 {
		return fragments, nil
	}
	switch {
	case table.Length == 4*int64(g.frames) && table.Length > 0:
		var entry [4]byte
		if err := readAt(f.reader, entry[:], table.Offset+4); err != nil {
			return nil, err
		}
		// Offsets count from the first byte of the first fragment's item tag.
		second := fragments[0].Offset - 8 + int64(binary.LittleEndian.Uint32(entry[:]))
		for i, fragment := range fragments {
			if i > 0 && fragment.Offset-8 == second {
				return fragments[:i], nil
			}
		}
		return nil, invalid(CodeEncapsulation, "the offset table points between fragments")
	case len(fragments) == g.frames:
		return fragments[:1], nil
	}
	return nil, fault.New(fault.Unsupported, CodeFramesUnclear, "the file's %d fragments cannot be assigned to its %d frames", len(fragments), g.frames)
}
