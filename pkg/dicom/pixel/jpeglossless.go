package pixel

import (
	"encoding/binary"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// DecodeJPEGLossless decodes a lossless JPEG (ITU-T T.81 annex H: process 14 with any of the seven predictors, Huffman coded)
// of 2 to 16 bits a sample and 1 or 3 components without subsampling.
//
// Faults: Invalid "picture-corrupt" (also for a stream that ends early) and "picture-too-large", Unsupported
// "picture-unsupported".
func DecodeJPEGLossless(data []byte, limits Limits) (*Samples, error) {
	h, err := ParseJPEGHeader(data)
	if err != nil {
		return nil, err
	}
	switch {
	case h.Process != processLossless:
		return nil, fault.New(fault.Unsupported, CodeUnsupported, "the JPEG process 0x%02X is not the lossless one", h.Process)
	case h.Components != 1 && h.Components != 3:
		return nil, fault.New(fault.Unsupported, CodeUnsupported, "the lossless JPEG picture has %d components, but 1 (grey) or 3 (colour) were expected", h.Components)
	case h.PrecisionBits < 2 || h.PrecisionBits > 16:
		return nil, corruptJPEG("a sample of lossless JPEG has 2 to 16 bits")
	}
	for i := range h.Components {
		// With one component the factors mean nothing (T.81 A.2.2).
		if h.Components > 1 && h.factors[i] != 0x11 {
			return nil, fault.New(fault.Unsupported, CodeUnsupported, "the lossless JPEG picture has subsampled components, which are not decoded here")
		}
	}
	if err := limits.Check(h.Width, h.Height); err != nil {
		return nil, err
	}
	d := losslessDecoder{header: h, segments: segments{data, 2}, out: newSamples(h.Width, h.Height, h.Components, bytesFor(h.PrecisionBits))}
	if err := d.decode(); err != nil {
		return nil, err
	}
	return d.out, nil
}

// losslessDecoder goes through the stream once. Each component may be in one scan only, so that the work is bounded by the
// picture's size.
type losslessDecoder struct {
	header JPEGHeader
	segments
	tables  [4]*huffman
	read    int // tables so far
	restart int // MCUs (here: pixels) between restart markers; 0: none
	done    [4]bool
	out     *Samples
}

func (d *losslessDecoder) decode() error {
	for {
		marker, segment, err := d.next()
		if err != nil {
			return err
		}
		switch marker {
		case markerEOI:
			for i := range d.header.Components {
				if !d.done[i] {
					return corruptJPEG("a component is missing")
				}
			}
			return nil
		case markerDHT:
			err = d.readTables(segment)
		case markerDRI:
			if len(segment) != 2 {
				return corruptJPEG("a restart interval has the wrong length")
			}
			d.restart = int(binary.BigEndian.Uint16(segment))
		case markerSOS:
			err = d.scan(segment)
		}
		if err != nil {
			return err
		}
	}
}

// huffman is a table of up to 17 symbols: how many bits a difference has (T.81 H.1.2.2).
type huffman struct {
	fast    [256]uint16 // for the next 8 bits: code length << 8 | symbol, or 0 if the code is longer
	limit   [18]int32   // first 16-bit pattern above all codes of a length
	offset  [17]int32   // index of the first symbol of a length, less its first code
	symbols []byte
}

// maxHuffmanTables bounds the work of reading tables; encoders write one to four.
const maxHuffmanTables = 64

func (d *losslessDecoder) readTables(segment []byte) error {
	for len(segment) > 0 {
		if len(segment) < 17 || segment[0] > 3 { // class 0, destination 0 to 3
			return corruptJPEG("a Huffman table is malformed")
		}
		if d.read++; d.read > maxHuffmanTables {
			return corruptJPEG("it has more Huffman tables than a picture can use")
		}
		table := &huffman{}
		code, total := int32(0), int32(0)
		for length := 1; length <= 16; length++ {
			n := int32(segment[length])
			table.offset[length] = total - code
			total += n
			code += n
			if code > 1<<length || total > 17 {
				return corruptJPEG("a Huffman table has too many codes")
			}
			table.limit[length] = code << (16 - length)
			code <<= 1
		}
		table.limit[17] = 1 << 16
		if len(segment) < 17+int(total) {
			return corruptJPEG("a Huffman table is cut off")
		}
		table.symbols = segment[17 : 17+total]
		for _, symbol := range table.symbols {
			if symbol > 16 {
				return corruptJPEG("a Huffman table has differences of more than 16 bits")
			}
		}
		for next := range table.fast {
			for length := 1; length <= 8; length++ {
				if pattern := int32(next) << 8; pattern < table.limit[length] {
					table.fast[next] = uint16(length)<<8 | uint16(table.symbols[table.offset[length]+pattern>>(16-length)])
					break
				}
			}
		}
		d.tables[segment[0]] = table
		segment = segment[17+total:]
	}
	return nil
}

// bitReader reads an entropy-coded segment. It stops at a marker, which it leaves unread.
type bitReader struct {
	data []byte
	pos  int
	bits uint64 // the next ones at the top
	n    uint   // how many of them
}

func (r *bitReader) fill() {
	for r.n <= 56 && r.pos < len(r.data) {
		b := r.data[r.pos]
		if b == 0xFF {
			if r.pos+1 >= len(r.data) || r.data[r.pos+1] != 0 {
				return // a marker
			}
			r.pos++ // stuffing
		}
		r.pos++
		r.bits |= uint64(b) << (56 - r.n)
		r.n += 8
	}
}

// difference reads a prediction error. ok is false where the segment ends or holds what is no code.
func (r *bitReader) difference(table *huffman) (value int32, ok bool) {
	if r.n < 32 { // the longest code and the longest difference
		r.fill()
	}
	var length, size uint
	if entry := table.fast[r.bits>>56]; entry != 0 {
		length, size = uint(entry>>8), uint(entry&0xFF)
	} else {
		pattern := int32(r.bits >> 48)
		length = 9
		for pattern >= table.limit[length] {
			length++
		}
		if length > 16 {
			return 0, false
		}
		size = uint(table.symbols[table.offset[length]+pattern>>(16-length)])
	}
	extra := size
	if size == 16 { // always 32768, without further bits
		extra = 0
	}
	if length+extra > r.n {
		return 0, false
	}
	r.bits <<= length
	switch {
	case size == 16:
		value = 32768
	case size > 0:
		value = int32(r.bits >> (64 - size))
		if value < 1<<(size-1) {
			value -= 1<<size - 1
		}
		r.bits <<= size
	}
	r.n -= length + extra
	return value, true
}

// scan decodes the entropy-coded data behind a scan header.
func (d *losslessDecoder) scan(segment []byte) error {
	if len(segment) < 1 || len(segment) != 4+2*int(segment[0]) || segment[0] < 1 || segment[0] > 4 {
		return corruptJPEG("a scan header has the wrong length")
	}
	count := int(segment[0])
	var components [4]int
	var tables [4]*huffman
	for i := range count {
		id, selector := segment[1+2*i], segment[2+2*i]
		at := -1
		for c := range d.header.Components {
			if d.header.ids[c] == id && !d.done[c] {
				at = c
				break
			}
		}
		if at < 0 {
			return corruptJPEG("a scan names a component that is not there, or twice")
		}
		d.done[at] = true
		components[i] = at
		if selector>>4 > 3 || d.tables[selector>>4] == nil {
			return corruptJPEG("a scan names a Huffman table that is not there")
		}
		tables[i] = d.tables[selector>>4]
	}
	predictor, shift := int(segment[1+2*count]), uint(segment[3+2*count]&0x0F)
	if predictor < 1 || predictor > 7 || int(shift) >= d.header.PrecisionBits {
		return corruptJPEG("a scan has a predictor or a point transform that does not exist")
	}
	width := d.header.Width
	if d.restart%width != 0 { // T.81 H.1.1
		return corruptJPEG("the restart interval is not a number of rows")
	}
	p := planes{predictor: predictor, bits: uint(d.header.PrecisionBits) - shift}
	for i := range count {
		p.rows[i] = [2][]uint16{make([]uint16, width), make([]uint16, width)}
	}
	r := bitReader{data: d.data, pos: d.pos}
	differences := make([]int32, width*count)
	for y := range d.header.Height {
		first := y == 0
		if d.restart > 0 && y > 0 && y%(d.restart/width) == 0 {
			if err := r.restart(byte(y/(d.restart/width) - 1)); err != nil {
				return err
			}
			first = true
		}
		for i := 0; i < len(differences); i += count {
			for c := range count {
				value, ok := r.difference(tables[c])
				if !ok {
					return corruptJPEG("its data end early or hold what is no code")
				}
				differences[i+c] = value
			}
		}
		for c := range count {
			row, ok := p.reconstruct(c, y, first, differences[c:], count)
			if !ok {
				return corruptJPEG("a sample is larger than its bits allow")
			}
			d.put(row, y, components[c], shift)
		}
	}
	d.pos = r.pos
	return nil
}

// restart skips to the restart marker with a number (modulo 8).
func (r *bitReader) restart(number byte) error {
	if r.pos+2 > len(r.data) || r.data[r.pos] != 0xFF || r.data[r.pos+1] != markerRST0+number%8 {
		return corruptJPEG("a restart marker is missing")
	}
	r.pos += 2
	r.bits, r.n = 0, 0
	return nil
}

// put writes a row of one component.
func (d *losslessDecoder) put(row []uint16, y, component int, shift uint) {
	o := d.out
	at := (y*o.Width*o.Components + component) * o.Bytes
	step := o.Components * o.Bytes
	for _, v := range row {
		v <<= shift
		o.Data[at] = uint8(v)
		if o.Bytes == 2 {
			o.Data[at+1] = uint8(v >> 8)
		}
		at += step
	}
}

// planes undoes the prediction (T.81 H.1.2.1).
type planes struct {
	predictor int
	bits      uint           // of a sample, without the point transform
	rows      [4][2][]uint16 // of each component, the even and the odd one
}

// reconstruct makes row y of a component from every step-th difference. first: no row above counts. ok is false if a sample
// has more bits than it may.
func (p *planes) reconstruct(component, y int, first bool, differences []int32, step int) (row []uint16, ok bool) {
	row, above := p.rows[component][y%2], p.rows[component][1-y%2]
	predictor := p.predictor
	left := int32(1) << (p.bits - 1)
	if first {
		predictor = 1
	} else {
		left = int32(above[0])
	}
	// The first sample's neighbour is, as left says, the one above it or the middle value.
	row[0] = uint16(left + differences[0])
	all := row[0]
	for x := 1; x < len(row); x++ {
		a := int32(row[x-1])
		v := a
		switch predictor {
		case 2:
			v = int32(above[x])
		case 3:
			v = int32(above[x-1])
		case 4:
			v = a + int32(above[x]) - int32(above[x-1])
		case 5:
			v = a + (int32(above[x])-int32(above[x-1]))>>1
		case 6:
			v = int32(above[x]) + (a-int32(above[x-1]))>>1
		case 7:
			v = (a + int32(above[x])) >> 1
		}
		row[x] = uint16(v + differences[x*step])
		all |= row[x]
	}
	return row, uint32(all)>>p.bits == 0
}
