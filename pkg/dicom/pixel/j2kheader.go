package pixel

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// MaxJPEG2000Pixels is the largest width × height of a JPEG 2000 picture: OpenJPEG takes about 13 bytes a pixel of
// colour, beside the compressed and the decoded picture (measured on 4000²).
const MaxJPEG2000Pixels = 40 << 20

// maxJPEG2000Side keeps products of sides within 64 bits.
const maxJPEG2000Side = 1 << 18

// JPEG2000Header is what the headers of a JPEG 2000 codestream say (ITU-T T.800 annex A).
type JPEG2000Header struct {
	Width, Height int
	Components    int // 1 or 3
	PrecisionBits int // of every component: 1 to 16
	Signed        bool
	// ColourTransform tells that the components were RGB before they were encoded: the decoder gives RGB.
	ColourTransform bool

	start, end            int // of the codestream
	tiles                 int64
	tileWidth, tileHeight int64 // at most
	// By all coding styles that the main header and the tiles' headers name, the largest:
	layers, resolutions, precincts int64 // precincts of one resolution of a tile's component
	blocks                         int64 // code-blocks in the picture
}

// Markers of a codestream (T.800 table A.2, T.814).
const (
	markerSOC = 0xFF4F
	markerSIZ = 0xFF51
	markerCOD = 0xFF52
	markerCOC = 0xFF53
	markerSOT = 0xFF90
	markerSOD = 0xFF93
	markerEOC = 0xFFD9
	sotBytes  = 12
)

// What a decoder allocates for, beside the pixels. Encoders use blocks of 32² or 64² and some tens of layers.
const (
	maxTiles     = 4096    // about 10 KB each
	maxBlocks    = 1 << 18 // about 1 KB each
	maxPrecincts = 1 << 18 // about 200 bytes each
	maxPackets   = 1 << 25 // 2 bytes each
)

// segments of T.800 part 1 and T.814 that headers may hold, beside SIZ: capabilities, coding style, quantisation, regions,
// progression, lengths, packed headers, comments.
var j2kSegments = [...]uint16{0xFF50, markerCOD, markerCOC, 0xFF55, 0xFF57, 0xFF58, 0xFF59, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF60, 0xFF61, 0xFF63, 0xFF64}

// ParseJPEG2000Header reads the main header and the headers of all tiles. It allocates nothing of the picture's size.
//
// Faults: Invalid "picture-corrupt" and "picture-too-large" (over MaxJPEG2000Pixels), Unsupported "picture-unsupported".
func ParseJPEG2000Header(data []byte) (JPEG2000Header, error) {
	var h JPEG2000Header
	if err := h.findCodestream(data); err != nil {
		return h, err
	}
	s := data[h.start:h.end]
	be := binary.BigEndian
	if len(s) < 4 || be.Uint16(s) != markerSOC || be.Uint16(s[2:]) != markerSIZ {
		return h, corruptJPEG2000("it does not start with a picture's size")
	}
	pos, err := h.segments(s, 2, markerSOT)
	if err != nil {
		return h, err
	}
	if h.blocks == 0 {
		return h, corruptJPEG2000("it has no coding style")
	}
	// OpenJPEG leaves missing tiles black, so that they have to be noticed here.
	seen := make([]bool, h.tiles)
	for {
		if pos+2 > len(s) {
			return h, corruptJPEG2000("it is cut off")
		}
		if be.Uint16(s[pos:]) == markerEOC {
			if slices.Contains(seen, false) {
				return h, corruptJPEG2000("a tile is missing")
			}
			return h, nil
		}
		if be.Uint16(s[pos:]) != markerSOT || pos+sotBytes > len(s) {
			return h, corruptJPEG2000("a tile is missing, or the stream is cut off")
		}
		tile := int(be.Uint16(s[pos+4:]))
		if tile >= len(seen) {
			return h, corruptJPEG2000("it has a tile beyond the picture")
		}
		seen[tile] = true
		length := int(be.Uint32(s[pos+6:])) // of the tile-part, from its marker on
		if length == 0 {                    // up to the end of the stream; the last one only
			length = bytes.LastIndex(s, []byte{0xFF, 0xD9}) - pos
		}
		data, err := h.segments(s, pos+sotBytes, markerSOD)
		if err != nil {
			return h, err
		}
		if pos += length; pos < data+2 {
			return h, corruptJPEG2000("a tile is shorter than its header")
		}
	}
}

// findCodestream finds the codestream in a JP2 file (T.800 annex I); otherwise all is codestream.
func (h *JPEG2000Header) findCodestream(data []byte) error {
	h.end = len(data)
	if !bytes.HasPrefix(data, []byte("\x00\x00\x00\x0CjP  \r\n\x87\n")) {
		return nil
	}
	for pos := uint64(0); pos+8 <= uint64(len(data)); {
		size, header := uint64(binary.BigEndian.Uint32(data[pos:])), uint64(8)
		switch {
		case size == 0: // up to the end
			size = uint64(len(data)) - pos
		case size == 1 && pos+16 <= uint64(len(data)):
			size, header = binary.BigEndian.Uint64(data[pos+8:]), 16
		}
		if size < header || size > uint64(len(data))-pos {
			return corruptJPEG2000("a box is longer than the file")
		}
		if string(data[pos+4:pos+8]) == "jp2c" {
			h.start, h.end = int(pos+header), int(pos+size)
			return nil
		}
		pos += size
	}
	return corruptJPEG2000("the JP2 file holds no codestream")
}

// segments reads the segments from pos up to a marker, whose offset it returns.
func (h *JPEG2000Header) segments(s []byte, pos int, until uint16) (int, error) {
	for {
		if pos+4 > len(s) {
			return 0, corruptJPEG2000("it is cut off")
		}
		marker := binary.BigEndian.Uint16(s[pos:])
		if marker == until {
			return pos, nil
		}
		length := int(binary.BigEndian.Uint16(s[pos+2:]))
		if length < 2 || pos+2+length > len(s) {
			return 0, corruptJPEG2000("a segment is longer than the stream")
		}
		segment := s[pos+4 : pos+2+length]
		pos += 2 + length
		var err error
		switch {
		case marker == markerSIZ && h.tiles == 0:
			err = h.size(segment)
		case marker == markerCOD:
			err = h.codingStyle(segment)
		case marker == markerCOC:
			if len(segment) < 2 {
				return 0, corruptJPEG2000("a coding style is cut off")
			}
			err = h.blockStyle(segment[2:], segment[1]&1 != 0)
		case !slices.Contains(j2kSegments[:], marker):
			err = fault.New(fault.Unsupported, CodeUnsupported, "the JPEG 2000 stream holds the segment %04X, which is not of parts 1 and 15 of the standard, or in the wrong place", marker)
		}
		if err != nil {
			return 0, err
		}
	}
}

// size reads the SIZ segment (T.800 A.5.1).
func (h *JPEG2000Header) size(segment []byte) error {
	if len(segment) < 36 {
		return corruptJPEG2000("its size is cut off")
	}
	var v [8]int64 // size, origin, tile size, tile origin of the reference grid
	for i := range v {
		v[i] = int64(binary.BigEndian.Uint32(segment[2+4*i:]))
	}
	h.Components = int(binary.BigEndian.Uint16(segment[34:]))
	width, height := v[0]-v[2], v[1]-v[3]
	if width < 1 || height < 1 || v[4] < 1 || v[5] < 1 || v[6] > v[2] || v[7] > v[3] || v[6]+v[4] <= v[2] || v[7]+v[5] <= v[3] {
		return corruptJPEG2000("its size cannot be")
	}
	// Up to 2^32 each: the sides come first, so that the product fits into 64 bits.
	if width > maxJPEG2000Side || height > maxJPEG2000Side || width*height > MaxJPEG2000Pixels {
		return fault.New(fault.Invalid, CodeTooLarge, "the JPEG 2000 picture has %d × %d pixels, more than the limit of %d in all", width, height, MaxJPEG2000Pixels)
	}
	h.Width, h.Height = int(width), int(height)
	if h.Components != 1 && h.Components != 3 {
		return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG 2000 picture has %d components, but 1 (grey) or 3 (colour) were expected", h.Components)
	}
	if len(segment) != 36+3*h.Components {
		return corruptJPEG2000("its size is cut off")
	}
	first := segment[36]
	h.PrecisionBits, h.Signed = int(first&0x7F)+1, first&0x80 != 0
	for c := range h.Components {
		component := segment[36+3*c:]
		if component[0] != first || component[1] != 1 || component[2] != 1 || h.PrecisionBits > 16 {
			return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG 2000 picture has subsampled components, components of different depths, or more than 16 bits")
		}
	}
	h.tileWidth, h.tileHeight = min(v[4], width), min(v[5], height)
	// At most 2^31 each, so that the product fits.
	h.tiles = ((v[0] - v[6] + v[4] - 1) / v[4]) * ((v[1] - v[7] + v[5] - 1) / v[5])
	if h.tiles > maxTiles {
		return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG 2000 picture has %d tiles, more than the limit of %d", h.tiles, maxTiles)
	}
	return nil
}

// codingStyle reads a COD segment (A.6.1).
func (h *JPEG2000Header) codingStyle(segment []byte) error {
	if len(segment) < 10 || h.tiles == 0 {
		return corruptJPEG2000("a coding style is cut off, or in the wrong place")
	}
	h.layers = max(h.layers, int64(binary.BigEndian.Uint16(segment[2:])))
	h.ColourTransform = h.ColourTransform || segment[4] != 0
	return h.blockStyle(segment[5:], segment[0]&1 != 0)
}

// blockStyle reads how the wavelet's levels are divided (A.6.1, tables A.15 and A.20), and refuses what would make a decoder
// allocate more for the division than for the pixels.
func (h *JPEG2000Header) blockStyle(style []byte, hasPrecincts bool) error {
	if h.tiles == 0 || len(style) < 5 || style[0] > 32 || style[1]&0x0F > 8 || style[2]&0x0F > 8 || h.layers < 1 {
		return corruptJPEG2000("a coding style is cut off, or has values that it must not have")
	}
	levels := int(style[0])
	if hasPrecincts && len(style) < 6+levels {
		return corruptJPEG2000("a coding style is cut off")
	}
	var blocks, precincts int64 // of a tile's component
	for r := range levels + 1 {
		width, height := shrink(h.tileWidth, levels-r), shrink(h.tileHeight, levels-r)
		px, py := 15, 15
		if hasPrecincts {
			px, py = int(style[5+r]&0x0F), int(style[5+r]>>4)
		}
		n := shrink(width, px) * shrink(height, py)
		precincts += n
		h.precincts = max(h.precincts, n)
		bands := int64(1)
		if r > 0 { // three bands of half the size, whose precincts are halved, too
			if px == 0 || py == 0 {
				return corruptJPEG2000("a coding style has precincts of half a sample")
			}
			bands, px, py = 3, px-1, py-1
			width, height = shrink(width, 1), shrink(height, 1)
		}
		blocks += bands * shrink(width, min(px, int(style[1]&0x0F)+2)) * shrink(height, min(py, int(style[2]&0x0F)+2))
	}
	h.blocks = max(h.blocks, blocks*int64(h.Components)*h.tiles)
	h.resolutions = max(h.resolutions, int64(levels+1))
	packets := h.layers * h.resolutions * int64(h.Components) * h.precincts
	if h.blocks > maxBlocks || precincts*int64(h.Components)*h.tiles > maxPrecincts || packets > maxPackets {
		return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG 2000 picture is divided into %d blocks and %d packets, more than encoders make", h.blocks, packets)
	}
	return nil
}

// shrink is n / 2^bits, rounded up.
func shrink(n int64, bits int) int64 { return (n + 1<<bits - 1) >> bits }

func corruptJPEG2000(format string, args ...any) error {
	return fault.New(fault.Invalid, CodeCorrupt, "the JPEG 2000 stream is damaged: "+format, args...)
}
