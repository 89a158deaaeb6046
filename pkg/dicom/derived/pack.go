package derived

import (
	"encoding/binary"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// pack makes the pixel data of binary frames (PS3.5, 8.1.1 and Annex D): a bit a pixel, the first pixel in the lowest bit. A frame
// begins at the bit after the last one's end; only the whole is padded, to an even number of bytes.
func pack(masks []*raster.Mask) []byte {
	bits := 0
	for _, m := range masks {
		bits += len(m.Pix)
	}
	out := make([]byte, (bits+15)/16*2)
	at := 0
	for _, m := range masks {
		pix := m.Pix
		for ; at%8 != 0 && len(pix) > 0; at++ {
			out[at/8] |= bit(pix[0]) << (at % 8)
			pix = pix[1:]
		}
		for ; len(pix) >= 8; at += 8 {
			if v := binary.LittleEndian.Uint64(pix); v != 0 { // few are vessel
				out[at/8] = eight(v)
			}
			pix = pix[8:]
		}
		for ; len(pix) > 0; at++ {
			out[at/8] |= bit(pix[0]) << (at % 8)
			pix = pix[1:]
		}
	}
	return out
}

func bit(v uint8) byte {
	if v != 0 {
		return 1
	}
	return 0
}

// eight packs eight pixels at once, the first in the lowest byte of v.
func eight(v uint64) byte {
	// Any bit of a byte sets its lowest one.
	v |= v >> 4 & 0x0F0F0F0F0F0F0F0F
	v |= v >> 2 & 0x0303030303030303
	v |= v >> 1
	// Byte k's lowest bit comes to lie at 56 + k; no two products meet.
	return byte(v & 0x0101010101010101 * 0x0102040810204080 >> 56) //nolint:gosec // the upper byte
}
