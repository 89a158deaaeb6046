package pixel

import (
	"encoding/binary"
	"math"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Palette maps pixel values to colours (PS3.3 C.7.6.3.1.5 and C.7.9).
type Palette struct{ red, green, blue paletteTable }

// paletteTable is one colour's table: levels[i] is the level of pixel value first + i; values outside take the nearest.
type paletteTable struct {
	first  int
	levels []uint8
}

// PaletteData is one colour's lookup table as a file holds it.
type PaletteData struct {
	Entries   int    // 1 to 65,536
	First     int    // the pixel value that the first entry belongs to
	Bits      int    // of an entry: 8 or 16
	Segmented bool   // Data is a list of segments (C.7.9.2)
	Data      []byte // words have the lower byte first
}

// MaxPaletteEntries is the largest table: descriptors count in 16 bits, and 0 stands for this.
const MaxPaletteEntries = 1 << 16

// NewPalette reads the three lookup tables. 16-bit entries keep their upper 8 bits. 8-bit entries may take a byte or, as some
// writers do, a word each.
//
// Faults: Invalid "palette-malformed", Unsupported "pixel-format-unsupported" for entries of other sizes.
func NewPalette(red, green, blue PaletteData) (*Palette, error) {
	var p Palette
	var err error
	if p.red, err = red.table(); err != nil {
		return nil, err
	}
	if p.green, err = green.table(); err != nil {
		return nil, err
	}
	p.blue, err = blue.table()
	return &p, err
}

func (p *Palette) at(value int) [3]uint8 {
	return [3]uint8{p.red.at(value), p.green.at(value), p.blue.at(value)}
}

func (t paletteTable) at(value int) uint8 {
	return t.levels[min(max(value-t.first, 0), len(t.levels)-1)]
}

func (d PaletteData) table() (paletteTable, error) {
	if d.Bits != 8 && d.Bits != 16 {
		return paletteTable{}, fault.New(fault.Unsupported, CodeFormat, "the palette's entries have %d bits, but 8 or 16 are expected", d.Bits)
	}
	if d.Entries < 1 || d.Entries > MaxPaletteEntries {
		return paletteTable{}, malformedPalette("it has %d entries", d.Entries)
	}
	if d.Segmented {
		return d.expand()
	}
	t := paletteTable{first: d.First, levels: make([]uint8, d.Entries)}
	switch {
	case len(d.Data) >= 2*d.Entries:
		shift := d.Bits - 8
		for i := range t.levels {
			t.levels[i] = uint8(binary.LittleEndian.Uint16(d.Data[2*i:]) >> shift)
		}
	case len(d.Data) >= d.Entries: // a byte each, whatever the descriptor says
		copy(t.levels, d.Data)
	default:
		return paletteTable{}, malformedPalette("its %d entries do not fit into %d bytes", d.Entries, len(d.Data))
	}
	return t, nil
}

// Kinds of segments.
const (
	segmentDiscrete = 0 // that many values
	segmentLinear   = 1 // that many steps from the value before to the one given
	segmentIndirect = 2 // that many segments from a byte offset
)

// expander unrolls segments. Every segment makes at least one entry, so the table's size bounds the work.
type expander struct {
	data   PaletteData
	width  int // bytes of a value
	values []uint16
}

func (d PaletteData) expand() (paletteTable, error) {
	e := expander{data: d, width: d.Bits / 8, values: make([]uint16, 0, d.Entries)}
	for pos := 0; len(e.values) < d.Entries; {
		next, err := e.segment(pos, true)
		if err != nil {
			return paletteTable{}, err
		}
		pos = next
	}
	t := paletteTable{first: d.First, levels: make([]uint8, d.Entries)}
	for i, v := range e.values {
		t.levels[i] = uint8(v >> (d.Bits - 8))
	}
	return t, nil
}

// take reads a value.
func (e *expander) take(pos int) (uint16, error) {
	switch {
	case pos < 0 || pos+e.width > len(e.data.Data):
		return 0, malformedPalette("its segments end after %d of %d entries", len(e.values), e.data.Entries)
	case e.width == 1:
		return uint16(e.data.Data[pos]), nil
	}
	return binary.LittleEndian.Uint16(e.data.Data[pos:]), nil
}

// segment appends the entries of the segment at a byte offset and returns the offset of the next. An indirect segment must
// not hold another (C.7.9.2.3).
func (e *expander) segment(pos int, mayBeIndirect bool) (next int, err error) {
	kind, err := e.take(pos)
	if err != nil {
		return 0, err
	}
	n, err := e.take(pos + e.width)
	if err != nil {
		return 0, err
	}
	count := int(n)
	pos += 2 * e.width
	if count == 0 || kind != segmentIndirect && count > e.data.Entries-len(e.values) {
		return 0, malformedPalette("a segment makes %d entries where %d are left", count, e.data.Entries-len(e.values))
	}
	switch {
	case kind == segmentDiscrete:
		for range count {
			v, err := e.take(pos)
			if err != nil {
				return 0, err
			}
			e.values = append(e.values, v)
			pos += e.width
		}
		return pos, nil
	case kind == segmentLinear && len(e.values) > 0:
		to, err := e.take(pos)
		if err != nil {
			return 0, err
		}
		from := float64(e.values[len(e.values)-1])
		step := (float64(to) - from) / float64(count)
		for i := 1; i <= count; i++ {
			e.values = append(e.values, uint16(math.RoundToEven(from+step*float64(i))))
		}
		return pos + e.width, nil
	case kind == segmentIndirect && mayBeIndirect && len(e.values) > 0:
		if pos+4 > len(e.data.Data) {
			return 0, malformedPalette("a segment is cut off")
		}
		from := int(binary.LittleEndian.Uint32(e.data.Data[pos:]))
		for range count {
			if from, err = e.segment(from, false); err != nil {
				return 0, err
			}
		}
		return pos + 4, nil
	}
	return 0, malformedPalette("it has a segment of kind %d where none may be", kind)
}

func malformedPalette(format string, args ...any) error {
	return fault.New(fault.Invalid, CodePalette, "the palette is malformed: "+format, args...)
}
