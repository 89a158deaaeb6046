package pixel

import (
	"encoding/binary"
	"math/bits"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// DecodeJPEGLS decodes JPEG-LS (ITU-T T.87), lossless or near-lossless, of 2 to 16 bits a sample and 1 or 3 components without
// subsampling, in any of its three orders. Mapping tables, restart intervals, point transforms and colour transforms (which
// are not in the standard) are not decoded.
//
// Faults: Invalid "picture-corrupt" (also for a stream that ends early) and "picture-too-large", Unsupported
// "picture-unsupported".
func DecodeJPEGLS(data []byte, limits Limits) (*Samples, error) {
	h, err := ParseJPEGHeader(data)
	if err != nil {
		return nil, err
	}
	switch {
	case h.Process != processJPEGLS:
		return nil, fault.New(fault.Unsupported, CodeUnsupported, "the JPEG process 0x%02X is not JPEG-LS", h.Process)
	case h.Components != 1 && h.Components != 3 || h.Components == 3 && h.Subsampled:
		return nil, unsupportedJPEGLS("it has %d components, or subsampled ones, but 1 (grey) or 3 (colour) were expected", h.Components)
	case h.PrecisionBits < 2 || h.PrecisionBits > 16:
		return nil, corruptJPEG("a sample of JPEG-LS has 2 to 16 bits")
	}
	if err := limits.Check(h.Width, h.Height); err != nil {
		return nil, err
	}
	d := lsDecoder{header: h, segments: segments{data, 2}, out: newSamples(h.Width, h.Height, h.Components, bytesFor(h.PrecisionBits))}
	if err := d.decode(); err != nil {
		return nil, err
	}
	return d.out, nil
}

// lsDecoder goes through the stream once. Each component may be in one scan only, so that the work is bounded by the picture's
// size.
type lsDecoder struct {
	header JPEGHeader
	segments
	preset [5]int // MAXVAL, T1, T2, T3, RESET of an LSE segment; 0: default
	done   [4]bool
	out    *Samples
}

const (
	markerLSE  = 0xF8
	markerAPP8 = 0xE8
)

func (d *lsDecoder) decode() error {
	for {
		marker, segment, err := d.next()
		if err != nil {
			return err
		}
		switch {
		case marker == markerEOI:
			for i := range d.header.Components {
				if !d.done[i] {
					return corruptJPEG("a component is missing")
				}
			}
			return nil
		case marker == markerLSE && len(segment) == 11 && segment[0] == 1:
			for i := range d.preset {
				d.preset[i] = int(binary.BigEndian.Uint16(segment[1+2*i:]))
			}
		case marker == markerLSE:
			return unsupportedJPEGLS("it has mapping tables or a size of more than 16 bits")
		case marker == markerDRI:
			return unsupportedJPEGLS("it has restart intervals")
		case marker == markerAPP8 && len(segment) >= 5 && string(segment[:4]) == "mrfx" && segment[4] != 0:
			return unsupportedJPEGLS("it has a colour transform that is not in the standard")
		case marker == markerSOS:
			if err := d.scan(segment); err != nil {
				return err
			}
		}
	}
}

// Orders of components (T.87 C.2.3).
const (
	interleaveNone   = 0 // a scan each
	interleaveLine   = 1
	interleaveSample = 2
)

// scan decodes the entropy-coded data behind a scan header.
func (d *lsDecoder) scan(segment []byte) error {
	if len(segment) < 1 || len(segment) != 4+2*int(segment[0]) || segment[0] < 1 || segment[0] > 4 {
		return corruptJPEG("a scan header has the wrong length")
	}
	count := int(segment[0])
	var components []int
	for i := range count {
		at := -1
		for c := range d.header.Components {
			if d.header.ids[c] == segment[1+2*i] && !d.done[c] {
				at = c
				break
			}
		}
		if at < 0 {
			return corruptJPEG("a scan names a component that is not there, or twice")
		}
		if segment[2+2*i] != 0 {
			return unsupportedJPEGLS("it has mapping tables")
		}
		d.done[at] = true
		components = append(components, at)
	}
	near, order := int(segment[1+2*count]), segment[2+2*count]
	if segment[3+2*count] != 0 {
		return unsupportedJPEGLS("it has a point transform")
	}
	if order > interleaveSample || (order == interleaveNone) != (count == 1) {
		return corruptJPEG("a scan has an order of components that cannot be")
	}
	s, err := newLSScan(d.header.PrecisionBits, near, d.preset)
	if err != nil {
		return err
	}
	s.reader = lsReader{data: d.data, pos: d.pos}
	width := d.header.Width
	for range components {
		// One sample on either side of a line (T.87 A.2.1).
		s.lines = append(s.lines, [2][]int32{make([]int32, width+2), make([]int32, width+2)})
	}
	s.runIndex = make([]int, count)
	for y := range d.header.Height {
		// Left of a line lies what lies above its first sample, and right of the line above its last sample again.
		for _, l := range s.lines {
			above, line := l[(y+1)%2], l[y%2]
			above[width+1] = above[width]
			line[0] = above[1]
		}
		ok := true
		if order == interleaveSample {
			ok = s.sampleLine(y)
		} else {
			for c := range components {
				ok = ok && s.line(c, y)
			}
		}
		if !ok || s.reader.n < 0 {
			return corruptJPEG("its data end early or hold what is no code")
		}
		for c, component := range components {
			d.put(s.lines[c][y%2][1:width+1], y, component)
		}
	}
	if d.pos, err = s.reader.end(); err != nil {
		return err
	}
	return nil
}

// put writes a line of one component.
func (d *lsDecoder) put(line []int32, y, component int) {
	o := d.out
	at := (y*o.Width*o.Components + component) * o.Bytes
	for _, v := range line {
		o.Data[at] = uint8(v)
		if o.Bytes == 2 {
			o.Data[at+1] = uint8(v >> 8)
		}
		at += o.Components * o.Bytes
	}
}

// lsReader reads bits. After a byte of 0xFF comes one of 7 bits; one with the top bit set is a marker (T.87 A.1).
type lsReader struct {
	data []byte
	pos  int
	bits uint64 // the next ones at the top, then zeros
	n    int    // how many of them; negative once more were taken than there were
	ff   bool   // the byte before pos was 0xFF
}

func (r *lsReader) fill() {
	for r.n >= 0 && r.n <= 56 && r.pos < len(r.data) {
		b, size := r.data[r.pos], 8
		if r.ff {
			if b >= 0x80 {
				return
			}
			size = 7
		} else if b == 0xFF && (r.pos+1 >= len(r.data) || r.data[r.pos+1] >= 0x80) {
			return
		}
		r.pos++
		r.ff = b == 0xFF
		r.bits |= uint64(b) << (64 - size - r.n)
		r.n += size
	}
}

// take reads up to 32 bits.
func (r *lsReader) take(count int) int {
	if r.n < count {
		r.fill()
	}
	v := r.bits >> (64 - count) // 0 for a count of 0
	r.bits <<= count
	r.n -= count
	return int(v)
}

// zeros takes the zeros before a one, and the one; at most limit zeros, behind which no one is taken.
func (r *lsReader) zeros(limit int) int {
	if r.n < 32 {
		r.fill()
	}
	count := bits.LeadingZeros64(r.bits)
	if count >= limit || count >= r.n {
		// The code is longer than what lies ready (limits go up to 64): bit by bit.
		for count = 0; count < limit && r.n >= 0; count++ {
			if r.take(1) == 1 {
				return count
			}
		}
		return count
	}
	r.bits <<= count + 1
	r.n -= count + 1
	return count
}

// end returns where the marker behind the scan lies.
func (r *lsReader) end() (int, error) {
	for r.n < 16 && r.pos < len(r.data) {
		before := r.pos
		if r.fill(); r.pos == before {
			break
		}
	}
	// Less than a byte of padding and, behind a last byte of 0xFF, one of zeros.
	if r.n >= 16 {
		return 0, corruptJPEG("a scan has more data than its picture needs")
	}
	return r.pos, nil
}

// lsContext is the statistics of one kind of neighbourhood (T.87 A.2).
type lsContext struct{ a, b, c, n int32 }

// lsScan decodes a scan's samples. Names are those of the standard.
type lsScan struct {
	reader              lsReader
	maxval, near, reset int
	rang, qbpp, limit   int
	quantised           []int8         // of differences from -maxval on
	contexts            [365]lsContext // regular mode
	runs                [2]lsContext   // run interruption; b holds Nn
	lines               [][2][]int32   // of each component the even and the odd one, from 1 on
	runIndex            []int          // of each component
}

// newLSScan sets the parameters (T.87 C.2.4.1.1, A.2.1).
func newLSScan(precision, near int, preset [5]int) (*lsScan, error) {
	s := &lsScan{maxval: 1<<precision - 1, near: near, reset: 64}
	if preset[0] > s.maxval {
		return nil, corruptJPEG("its largest value does not fit into its bits")
	}
	if preset[0] > 0 {
		s.maxval = preset[0]
	}
	if near > min(255, s.maxval/2) {
		return nil, corruptJPEG("its error is larger than it may be")
	}
	thresholds := lsThresholds(s.maxval, near)
	for i := range thresholds {
		if preset[1+i] > 0 {
			thresholds[i] = preset[1+i]
		}
	}
	if preset[4] > 0 {
		s.reset = preset[4]
	}
	if thresholds[0] < near+1 || thresholds[1] < thresholds[0] || thresholds[2] < thresholds[1] || thresholds[2] > s.maxval || s.reset < 3 || s.reset > max(255, s.maxval) {
		return nil, corruptJPEG("its thresholds cannot be")
	}
	s.rang = (s.maxval+2*near)/(2*near+1) + 1
	s.qbpp = bits.Len(uint(s.rang - 1))
	bpp := max(2, bits.Len(uint(s.maxval)))
	s.limit = 2 * (bpp + max(8, bpp))
	s.quantised = make([]int8, 2*s.maxval+1)
	for i := range s.quantised {
		d := i - s.maxval
		q := int8(0)
		switch size := max(d, -d); {
		case size <= near:
		case size < thresholds[0]:
			q = 1
		case size < thresholds[1]:
			q = 2
		case size < thresholds[2]:
			q = 3
		default:
			q = 4
		}
		if d < 0 {
			q = -q
		}
		s.quantised[i] = q
	}
	a := int32(max(2, (s.rang+32)/64))
	for i := range s.contexts {
		s.contexts[i] = lsContext{a: a, n: 1}
	}
	s.runs = [2]lsContext{{a: a, n: 1}, {a: a, n: 1}}
	return s, nil
}

// lsThresholds are the default thresholds.
func lsThresholds(maxval, near int) [3]int {
	limit := func(v, low int) int {
		if v > maxval || v < low {
			return low
		}
		return v
	}
	var t [3]int
	if maxval >= 128 {
		factor := (min(maxval, 4095) + 128) / 256
		t[0] = limit(factor*(3-2)+2+3*near, near+1)
		t[1] = limit(factor*(7-3)+3+5*near, t[0])
		t[2] = limit(factor*(21-4)+4+7*near, t[1])
		return t
	}
	factor := 256 / (maxval + 1)
	t[0] = limit(max(2, 3/factor+3*near), near+1)
	t[1] = limit(max(3, 7/factor+5*near), t[0])
	t[2] = limit(max(4, 21/factor+7*near), t[1])
	return t
}

// neighbourhood returns the context of a sample by the gradients around it (T.87 A.3), negated where its sign is.
func (s *lsScan) neighbourhood(ra, rb, rc, rd int32) int {
	m := int32(s.maxval)
	return 81*int(s.quantised[rd-rb+m]) + 9*int(s.quantised[rb-rc+m]) + int(s.quantised[rc-ra+m])
}

// line decodes a line of one component.
func (s *lsScan) line(c, y int) (ok bool) {
	above, line := s.lines[c][(y+1)%2], s.lines[c][y%2]
	width := len(line) - 2
	for x := 1; x <= width; {
		ra, rb, rc, rd := line[x-1], above[x], above[x-1], above[x+1]
		if context := s.neighbourhood(ra, rb, rc, rd); context != 0 {
			line[x] = s.regular(context, ra, rb, rc)
			x++
			continue
		}
		length, interrupted, ok := s.run(c, width-x+1)
		if !ok {
			return false
		}
		for range length {
			line[x] = ra
			x++
		}
		if interrupted {
			rb := above[x]
			kind := 0
			if d := ra - rb; d <= int32(s.near) && -d <= int32(s.near) {
				kind = 1
			}
			line[x] = s.interruption(c, kind, ra, rb)
			s.runIndex[c] = max(s.runIndex[c]-1, 0)
			x++
		}
	}
	return true
}

// sampleLine decodes a line of all components, pixel by pixel. A run is one of all components, and so is its index.
func (s *lsScan) sampleLine(y int) (ok bool) {
	width := len(s.lines[0][0]) - 2
	for x := 1; x <= width; {
		flat := true
		var contexts [4]int
		for c, l := range s.lines {
			above, line := l[(y+1)%2], l[y%2]
			contexts[c] = s.neighbourhood(line[x-1], above[x], above[x-1], above[x+1])
			flat = flat && contexts[c] == 0
		}
		if !flat {
			for c, l := range s.lines {
				above, line := l[(y+1)%2], l[y%2]
				line[x] = s.regular(contexts[c], line[x-1], above[x], above[x-1])
			}
			x++
			continue
		}
		length, interrupted, ok := s.run(0, width-x+1)
		if !ok {
			return false
		}
		for _, l := range s.lines {
			line := l[y%2]
			for i := range length {
				line[x+i] = line[x-1]
			}
		}
		x += length
		if interrupted {
			for _, l := range s.lines {
				l[y%2][x] = s.interruption(0, 0, l[y%2][x-1], l[(y+1)%2][x])
			}
			s.runIndex[0] = max(s.runIndex[0]-1, 0)
			x++
		}
	}
	return true
}

// golomb reads a value with a parameter k and a longest code (T.87 A.5.3).
func (s *lsScan) golomb(k, limit int) int32 {
	most := limit - s.qbpp - 1
	if zeros := s.reader.zeros(most); zeros < most {
		return int32(zeros<<k | s.reader.take(k))
	}
	s.reader.take(1) // the one behind the longest row of zeros
	return int32(s.reader.take(s.qbpp) + 1)
}

// parameter is the least k with n·2^k ≥ a.
func parameter(n, a int32) int {
	k := 0
	for int64(n)<<k < int64(a) {
		k++
	}
	return k
}

// regular decodes a sample in regular mode (T.87 A.4 to A.6).
func (s *lsScan) regular(context int, ra, rb, rc int32) int32 {
	sign := int32(1)
	if context < 0 {
		context, sign = -context, -1
	}
	q := &s.contexts[context]
	var px int32
	switch {
	case rc >= max(ra, rb):
		px = min(ra, rb)
	case rc <= min(ra, rb):
		px = max(ra, rb)
	default:
		px = ra + rb - rc
	}
	px = min(max(px+sign*q.c, 0), int32(s.maxval))

	k := parameter(q.n, q.a)
	mapped := s.golomb(k, s.limit)
	value := mapped >> 1
	if mapped&1 != 0 {
		value = -value - 1
	}
	if s.near == 0 && k == 0 && 2*q.b <= -q.n {
		value = -value - 1
	}

	q.b += value * int32(2*s.near+1)
	q.a += max(value, -value)
	if q.n == int32(s.reset) {
		q.a >>= 1
		q.b >>= 1 // rounded down, as the standard's formula for negative values does
		q.n >>= 1
	}
	q.n++
	if q.b <= -q.n {
		q.b = max(q.b+q.n, 1-q.n)
		q.c = max(q.c-1, -128)
	} else if q.b > 0 {
		q.b = min(q.b-q.n, 0)
		q.c = min(q.c+1, 127)
	}
	return s.reconstruct(px, sign*value)
}

// reconstruct adds an error to a prediction (T.87 A.4.4).
func (s *lsScan) reconstruct(px, value int32) int32 {
	near, step := int32(s.near), int32(2*s.near+1)
	v := px + value*step
	if v < -near {
		v += int32(s.rang) * step
	} else if v > int32(s.maxval)+near {
		v -= int32(s.rang) * step
	}
	return min(max(v, 0), int32(s.maxval))
}

// runBits is the table J: the length of a run's pieces as powers of two (T.87 A.2.1).
var runBits = [...]int{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// run decodes the length of a run of at most left samples (T.87 A.7.1). interrupted: a sample that differs follows.
func (s *lsScan) run(c, left int) (length int, interrupted, ok bool) {
	index := &s.runIndex[c]
	for s.reader.take(1) == 1 {
		piece := 1 << runBits[*index]
		if piece > left-length {
			return left, false, true
		}
		length += piece
		*index = min(*index+1, len(runBits)-1)
		if length == left {
			return length, false, true
		}
	}
	length += s.reader.take(runBits[*index])
	return length, true, length < left && s.reader.n >= 0
}

// interruption decodes the sample behind a run (T.87 A.7.2).
func (s *lsScan) interruption(c, kind int, ra, rb int32) int32 {
	q := &s.runs[kind]
	px, sign, temp := rb, int32(1), q.a
	if kind == 1 {
		px = ra
		temp += q.n >> 1
	} else if ra > rb {
		sign = -1
	}
	k := parameter(q.n, temp)
	mapped := s.golomb(k, s.limit-runBits[s.runIndex[c]]-1)
	odd := (mapped+int32(kind))&1 == 1
	value := (mapped + int32(kind) + 1) >> 1
	if odd == (k != 0 || 2*q.b >= q.n) {
		value = -value
	}
	if value < 0 {
		q.b++
	}
	q.a += (mapped + 1 - int32(kind)) >> 1
	if q.n == int32(s.reset) {
		q.a >>= 1
		q.b >>= 1
		q.n >>= 1
	}
	q.n++
	return s.reconstruct(px, sign*value)
}

func unsupportedJPEGLS(format string, args ...any) error {
	return fault.New(fault.Unsupported, CodeUnsupported, "the JPEG-LS picture is not decoded here: "+format, args...)
}
