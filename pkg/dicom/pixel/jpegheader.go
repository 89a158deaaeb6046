package pixel

import (
	"bytes"
	"encoding/binary"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// JPEGHeader is what the markers of a JPEG stream say before the first scan.
type JPEGHeader struct {
	Width, Height int
	Components    int  // 1 grey, 3 colour, 4 CMYK
	PrecisionBits int  // 8 or 12; lossless and JPEG-LS 2 to 16
	Process       byte // low byte of the SOF marker: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, 0xC3 lossless, 0xF7 JPEG-LS, …
	Subsampled    bool // some component has fewer samples than another
	ids           [4]byte
	factors       [4]byte // horizontal sampling factor × 16 + vertical one
	jfif          bool
	adobe         bool
	adobeColour   byte // APP14 transform: 0 none (RGB), 1 YCbCr, 2 YCCK
	// Where the segments between SOI and SOS lie that a decoder needs (tables, frame header, restart interval), and the rest.
	tables [][2]int
	body   int // offset of the first SOS marker
}

// JPEG markers (ITU-T T.81, table B.1).
const (
	markerSOI   = 0xD8
	markerEOI   = 0xD9
	markerSOS   = 0xDA
	markerDQT   = 0xDB
	markerDRI   = 0xDD
	markerDHT   = 0xC4
	markerDAC   = 0xCC
	markerJPG   = 0xC8
	markerTEM   = 0x01
	markerRST0  = 0xD0
	markerRST7  = 0xD7
	markerAPP0  = 0xE0
	markerAPP14 = 0xEE

	processBaseline    = 0xC0
	processExtended    = 0xC1
	processProgressive = 0xC2
	processLossless    = 0xC3
	processJPEGLS      = 0xF7 // ITU-T T.87
)

// ParseJPEGHeader reads the markers up to the first scan. It allocates nothing of the picture's size.
// A stream that is not JPEG or ends before its first scan is fault.Invalid "picture-corrupt".
func ParseJPEGHeader(data []byte) (JPEGHeader, error) {
	var h JPEGHeader
	if len(data) < 4 || data[0] != 0xFF || data[1] != markerSOI {
		return h, corruptJPEG("it does not start with a JPEG marker")
	}
	pos := 2
	for {
		if pos >= len(data) || data[pos] != 0xFF {
			return h, corruptJPEG("a marker is missing before the first scan")
		}
		start := pos
		for pos < len(data) && data[pos] == 0xFF { // fill bytes may precede a marker (T.81 B.1.1.2)
			pos++
		}
		if pos >= len(data) {
			return h, corruptJPEG("it ends before the first scan")
		}
		marker := data[pos]
		pos++
		if marker == markerTEM || marker >= markerRST0 && marker <= markerRST7 {
			continue // markers without a segment
		}
		if marker == 0 || marker == markerSOI || marker == markerEOI {
			return h, corruptJPEG("it has no scan")
		}
		if pos+2 > len(data) {
			return h, corruptJPEG("it ends before the first scan")
		}
		length := int(binary.BigEndian.Uint16(data[pos:]))
		if length < 2 || pos+length > len(data) {
			return h, corruptJPEG("a segment is longer than the stream")
		}
		segment := data[pos+2 : pos+length]
		pos += length
		switch {
		case marker == markerSOS:
			if h.Process == 0 {
				return h, corruptJPEG("a scan comes before the frame header")
			}
			h.body = start
			return h, nil
		case marker == markerDQT || marker == markerDHT || marker == markerDRI || marker == markerDAC:
			h.tables = append(h.tables, [2]int{start, pos})
		case marker >= processBaseline && marker <= 0xCF && marker != markerJPG, marker == processJPEGLS:
			if err := h.readFrame(marker, segment); err != nil {
				return h, err
			}
			h.tables = append(h.tables, [2]int{start, pos})
		case marker == markerAPP0 && len(segment) >= 5 && string(segment[:5]) == "JFIF\x00":
			h.jfif = true
		case marker == markerAPP14 && len(segment) >= 12 && string(segment[:5]) == "Adobe":
			h.adobe, h.adobeColour = true, segment[11]
		}
	}
}

// readFrame reads a frame header (T.81 B.2.2).
func (h *JPEGHeader) readFrame(marker byte, segment []byte) error {
	if h.Process != 0 {
		return corruptJPEG("it has two frame headers")
	}
	if len(segment) < 6 || len(segment) != 6+3*int(segment[5]) {
		return corruptJPEG("its frame header has the wrong length")
	}
	h.Process = marker
	h.PrecisionBits = int(segment[0])
	h.Height = int(binary.BigEndian.Uint16(segment[1:]))
	h.Width = int(binary.BigEndian.Uint16(segment[3:]))
	h.Components = int(segment[5])
	if h.Components < 1 || h.Components > 4 {
		return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG picture has %d components, but 1 (grey) or 3 (colour) were expected", h.Components)
	}
	for i := range h.Components {
		h.ids[i], h.factors[i] = segment[6+3*i], segment[7+3*i]
		if segment[7+3*i] != segment[7] {
			h.Subsampled = true
		}
	}
	return nil
}

// Decodable tells whether DecodeJPEG handles this kind of JPEG: 8 bit, baseline, extended or progressive, grey or
// three components. fault.Unsupported "picture-unsupported" if not.
func (h JPEGHeader) Decodable() error {
	switch {
	case h.Process != processBaseline && h.Process != processExtended && h.Process != processProgressive:
		return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG process 0x%02X (hierarchical or arithmetic, or in the wrong place) is not decoded here", h.Process)
	case h.PrecisionBits != 8:
		return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG picture has %d bits a sample, but only 8 are decoded", h.PrecisionBits)
	case h.Components != 1 && h.Components != 3:
		return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG picture has %d components (CMYK?), but 1 (grey) or 3 (colour) were expected", h.Components)
	}
	return nil
}

// Bounds of what many scans may cost: each is a pass over the whole picture. Encoders make up to 12.
const (
	maxScans      = 100
	maxScanPixels = 1 << 30 // scans × width × height: about 10 s
)

// checkScans refuses streams that would keep the decoder busy for minutes.
func (h JPEGHeader) checkScans(data []byte) error {
	scans := 0
	for pos := h.body; pos < len(data); {
		// To the next marker: entropy-coded bytes of 0xFF are followed by 0 (T.81 B.1.1.5).
		next := bytes.IndexByte(data[pos:], 0xFF)
		if next < 0 || pos+next+1 >= len(data) {
			break
		}
		pos += next + 1
		switch marker := data[pos]; {
		case marker == markerSOS:
			scans++
			if scans > maxScans || int64(scans)*int64(h.Width)*int64(h.Height) > max(maxScanPixels, 3*int64(h.Width)*int64(h.Height)) {
				return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG picture of %d × %d pixels has %d or more scans; encoders make up to 12", h.Width, h.Height, scans)
			}
			pos++
		case marker == markerEOI:
			return nil
		case marker == 0 || marker == 0xFF || marker == markerTEM || marker >= markerRST0 && marker <= markerRST7:
			// Stuffing, fill and markers without a segment. A fill byte may itself start a marker, so it is looked at again.
			if marker != 0xFF {
				pos++
			}
		default:
			if pos+3 > len(data) {
				return nil // cut off; the decoder will say so
			}
			pos += 1 + int(binary.BigEndian.Uint16(data[pos+1:]))
		}
	}
	return nil
}

// YCbCr tells whether the three components are luma and chroma (and not red, green and blue): by the APP14 transform, else
// JFIF, else the component ids "RGB", else subsampling, else the declared PhotometricInterpretation, else yes.
// conflict is true where the stream and the declared interpretation disagree; the stream then wins.
func (h JPEGHeader) YCbCr(declared string) (ycbcr, conflict bool) {
	if h.Components != 3 {
		return false, false
	}
	declaredRGB := declared == "RGB"
	switch {
	case h.adobe:
		ycbcr = h.adobeColour != 0
	case h.jfif:
		ycbcr = true
	case h.ids[0] == 'R' && h.ids[1] == 'G' && h.ids[2] == 'B':
		ycbcr = false
	case h.Subsampled:
		ycbcr = true
	default:
		return !declaredRGB, false
	}
	return ycbcr, declared != "" && ycbcr == declaredRGB
}

// Lossless tells whether DecodeJPEGLossless, and JPEGLS whether DecodeJPEGLS is the decoder for the stream.
func (h JPEGHeader) Lossless() bool { return h.Process == processLossless }

// JPEGLS is described at Lossless.
func (h JPEGHeader) JPEGLS() bool { return h.Process == processJPEGLS }

func corruptJPEG(what string) error {
	return fault.New(fault.Invalid, CodeCorrupt, "the JPEG stream is damaged: %s", what)
}

// segments goes through a stream marker by marker.
type segments struct {
	data []byte
	pos  int
}

// next reads a marker with its segment. Entropy-coded data must have been passed over.
func (s *segments) next() (marker byte, segment []byte, err error) {
	if s.pos >= len(s.data) || s.data[s.pos] != 0xFF {
		return 0, nil, corruptJPEG("a marker is missing, or the stream is cut off")
	}
	for s.pos < len(s.data) && s.data[s.pos] == 0xFF { // fill bytes
		s.pos++
	}
	if s.pos >= len(s.data) {
		return 0, nil, corruptJPEG("it is cut off")
	}
	marker = s.data[s.pos]
	s.pos++
	if marker == markerEOI || marker == markerTEM || marker >= markerRST0 && marker <= markerRST7 {
		return marker, nil, nil
	}
	if marker == 0 || s.pos+2 > len(s.data) {
		return 0, nil, corruptJPEG("a marker is damaged, or the stream is cut off")
	}
	length := int(binary.BigEndian.Uint16(s.data[s.pos:]))
	if length < 2 || s.pos+length > len(s.data) {
		return 0, nil, corruptJPEG("a segment is longer than the stream")
	}
	segment = s.data[s.pos+2 : s.pos+length]
	s.pos += length
	return marker, segment, nil
}
