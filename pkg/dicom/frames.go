package dicom

import (
	"bytes"
	"encoding/binary"
)

// firstFrame returns the fragments of the first frame: all of them if there is one frame, else by the Basic or the Extended
// Offset Table, else one fragment a frame, else up to the second fragment that starts a picture.
func (f *File) firstFrame(g geometry) ([]Fragment, error) {
	items := f.Data.Find(tagPixelData).Fragments
	table, fragments := items[0], items[1:]
	if g.frames == 1 {
		return fragments, nil
	}
	if table.Length > 0 {
		if table.Length != 4*int64(g.frames) {
			return nil, invalid(CodeEncapsulation, "the offset table has %d bytes, but %d frames need %d", table.Length, g.frames, 4*g.frames)
		}
		return f.byOffsets(fragments, table.Offset, 4)
	}
	if extended := f.Data.Find(tagExtOffsets); extended != nil && extended.Length > 0 {
		if extended.Length != 8*int64(g.frames) {
			return nil, invalid(CodeEncapsulation, "the extended offset table has %d bytes, but %d frames need %d", extended.Length, g.frames, 8*g.frames)
		}
		return f.byOffsets(fragments, extended.Offset, 8)
	}
	if len(fragments) == g.frames {
		return fragments[:1], nil
	}
	return f.byStarts(g, fragments)
}

// byOffsets cuts where the second of a table's little-endian offsets points. They count from the first fragment's item tag,
// where the first frame has to be.
func (f *File) byOffsets(fragments []Fragment, table int64, width int) ([]Fragment, error) {
	raw := make([]byte, 2*width)
	if err := readAt(f.reader, raw, table); err != nil {
		return nil, err
	}
	var offsets [2]uint64
	for i := range offsets {
		if width == 4 {
			offsets[i] = uint64(binary.LittleEndian.Uint32(raw[4*i:]))
		} else {
			offsets[i] = binary.LittleEndian.Uint64(raw[8*i:])
		}
	}
	if offsets[0] == 0 {
		for i, fragment := range fragments {
			if i > 0 && uint64(fragment.Offset-fragments[0].Offset) == offsets[1] {
				return fragments[:i], nil
			}
		}
	}
	return nil, invalid(CodeEncapsulation, "the offset table points between fragments")
}

// byStarts cuts at the second fragment that starts a JPEG, JPEG-LS or JPEG 2000 picture, if as many do as there are frames.
func (f *File) byStarts(g geometry, fragments []Fragment) ([]Fragment, error) {
	starts, second := 0, 0
	for i, fragment := range fragments {
		var head [4]byte
		if fragment.Length >= int64(len(head)) {
			if err := readAt(f.reader, head[:], fragment.Offset); err != nil {
				return nil, err
			}
		}
		if !bytes.HasPrefix(head[:], []byte{0xFF, 0xD8, 0xFF}) && !bytes.Equal(head[:], []byte{0xFF, 0x4F, 0xFF, 0x51}) {
			continue
		}
		if starts++; starts == 2 {
			second = i
		}
		if starts == 1 && i > 0 {
			break // what comes before belongs to no frame
		}
	}
	if starts != g.frames {
		return nil, unsupported(CodeFramesUnclear, "the file's %d fragments cannot be assigned to its %d frames", len(fragments), g.frames)
	}
	return fragments[:second], nil
}
