package dicom

import "encoding/binary"

// parser walks through a file's structure. Recursion is bounded by Limits.MaxDepth.
type parser struct {
	window
	limits       Limits
	order        binary.ByteOrder
	encapsulated bool // the transfer syntax encapsulates pixel data
	elements     int  // seen so far, with items and fragments
}

// header is what precedes an element's value.
type header struct {
	tag    Tag
	vr     VR
	length int64 // undefined where the delimiter ends it
	value  int64 // offset of the value
}

// count takes one element, item or fragment off the budget.
func (p *parser) count() error {
	p.elements++
	if p.elements > p.limits.MaxElements {
		return invalid(CodeTooMany, "the file holds more than %d elements; a photograph has some hundreds", p.limits.MaxElements)
	}
	return nil
}

// tagAt returns the tag and, for items and delimiters, the 32-bit length behind it.
func (p *parser) tagAt(pos, end int64) (Tag, int64, error) {
	if end-pos < 8 {
		return 0, 0, p.tooShort(pos, end)
	}
	b, err := p.at(pos, 8)
	if err != nil {
		return 0, 0, err
	}
	return Tag(p.order.Uint16(b))<<16 | Tag(p.order.Uint16(b[2:])), int64(p.order.Uint32(b[4:])), nil
}

// tooShort is the fault of something that does not fit: in the file, it is cut off; in its item, a length lies.
func (p *parser) tooShort(pos, end int64) error {
	if end < p.size {
		return invalid(CodeMalformed, "an element at byte %d does not fit into the item that holds it", pos)
	}
	return invalid(CodeTruncated, "the file ends at byte %d in the middle of an element that starts at %d; send it again", p.size, pos)
}

// header reads an element's header between pos and end.
func (p *parser) header(pos, end int64, implicit bool) (header, error) {
	t, length, err := p.tagAt(pos, end)
	if err != nil {
		return header{}, err
	}
	h := header{tag: t, value: pos + 8}
	if implicit {
		h.vr, h.length = t.vr(), length
	} else {
		b, err := p.at(pos+4, 4)
		if err != nil {
			return header{}, err
		}
		h.vr = vrOf(b[0], b[1])
		long, known := h.vr.encoding()
		if !known {
			return header{}, invalid(CodeMalformed, "the element %s at byte %d has the unknown value representation %q", t, pos, h.vr.String())
		}
		h.length = int64(p.order.Uint16(b[2:]))
		if long {
			if end-pos < 12 {
				return header{}, p.tooShort(pos, end)
			}
			b, err := p.at(pos+8, 4)
			if err != nil {
				return header{}, err
			}
			h.length, h.value = int64(p.order.Uint32(b)), pos+12
			if h.length == undefined && h.vr != vrSQ && h.vr != vrUN && h.vr != vrOB && h.vr != vrOW {
				return header{}, invalid(CodeMalformed, "the element %s at byte %d has no length, which its type %s must have", t, pos, h.vr)
			}
		}
	}
	if h.length != undefined && h.length > end-h.value {
		return header{}, p.tooShort(pos, end)
	}
	return h, p.count()
}

// meta reads group 2, always Explicit VR Little Endian, up to the first element of another group. The group length is not
// relied on: it is often wrong.
func (p *parser) meta(pos int64) (*Dataset, int64, error) {
	d := &Dataset{}
	for pos < p.size {
		// Two bytes are enough to see that the group is over, and all that may be relied on: what follows may be compressed.
		group, err := p.at(pos, int(min(2, p.size-pos)))
		if err != nil {
			return nil, 0, err
		}
		if len(group) == 2 && binary.LittleEndian.Uint16(group) != 2 {
			break
		}
		h, err := p.header(pos, p.size, false)
		if err != nil {
			return nil, 0, err
		}
		if h.length == undefined || h.vr == vrSQ {
			return nil, 0, invalid(CodeMalformed, "the file header's element %s is a sequence, which it must not be", h.tag)
		}
		d.Elements = append(d.Elements, Element{Tag: h.tag, VR: h.vr, Offset: h.value, Length: h.length})
		pos = h.value + h.length
	}
	return d, pos, d.order()
}

// dataset reads the main data set, which must end exactly at the end of the file.
func (p *parser) dataset(pos, end int64, implicit bool) (*Dataset, error) {
	d, next, err := p.elementsUntil(pos, end, implicit, 0, false)
	if err != nil {
		return nil, err
	}
	if next != end {
		return nil, invalid(CodeMalformed, "the data set ends at byte %d, but the file at %d", next, end)
	}
	return d, nil
}

// elementsUntil reads elements up to end, or, if delimited, up to the item delimiter, and returns the offset behind.
func (p *parser) elementsUntil(pos, end int64, implicit bool, depth int, delimited bool) (*Dataset, int64, error) {
	d := &Dataset{}
	for pos < end || delimited {
		t, length, err := p.tagAt(pos, end)
		if err != nil {
			return nil, 0, err
		}
		if t.group() == 0xFFFE {
			if delimited && t == tagItemEnd && length == 0 {
				return d, pos + 8, d.order()
			}
			return nil, 0, invalid(CodeMalformed, "a delimiter %s at byte %d stands where an element should be", t, pos)
		}
		if t.group() == 2 || t.group() == 0 {
			return nil, 0, invalid(CodeMalformed, "the element %s at byte %d does not belong into a data set", t, pos)
		}
		h, err := p.header(pos, end, implicit)
		if err != nil {
			return nil, 0, err
		}
		e := Element{Tag: t, VR: h.vr, Offset: h.value, Length: h.length}
		switch {
		case t == tagPixelData && (depth == 0 || h.length == undefined): // icons may be encapsulated, too
			err = p.pixelData(&e, end)
		case h.vr == vrSQ || h.length == undefined:
			if h.vr != vrSQ && h.vr != vrUN {
				err = invalid(CodeMalformed, "the element %s at byte %d has no length, which only sequences may lack", t, pos)
				break
			}
			// A UN element of undefined length is a sequence in Implicit VR (PS3.5, 6.2.2 note).
			err = p.sequence(&e, end, implicit || h.vr == vrUN, depth+1)
		}
		if err != nil {
			return nil, 0, err
		}
		d.Elements = append(d.Elements, e)
		pos = e.Offset + e.Length
	}
	return d, pos, d.order()
}

// sequence reads a sequence's items and sets the element's length to what it takes.
func (p *parser) sequence(e *Element, end int64, implicit bool, depth int) error {
	if depth > p.limits.MaxDepth {
		return invalid(CodeTooDeep, "sequences nest deeper than %d at byte %d", p.limits.MaxDepth, e.Offset)
	}
	delimited := e.Length == undefined
	if !delimited {
		end = e.Offset + e.Length
	}
	pos := e.Offset
	for delimited || pos < end {
		t, length, err := p.tagAt(pos, end)
		if err != nil {
			return err
		}
		if delimited && t == tagSequenceEnd && length == 0 {
			e.Length = pos + 8 - e.Offset
			return nil
		}
		if t != tagItem {
			return invalid(CodeMalformed, "the sequence %s holds %s at byte %d where an item should be", e.Tag, t, pos)
		}
		if err := p.count(); err != nil {
			return err
		}
		pos += 8
		itemEnd := end
		if length != undefined {
			if length > end-pos {
				return p.tooShort(pos-8, end)
			}
			itemEnd = pos + length
		}
		item, next, err := p.elementsUntil(pos, itemEnd, implicit, depth, length == undefined)
		if err != nil {
			return err
		}
		e.Items = append(e.Items, item)
		pos = next
	}
	return nil
}

// pixelData notes where the fragments of encapsulated pixel data lie; native pixel data needs nothing.
func (p *parser) pixelData(e *Element, end int64) error {
	if e.VR != vrOB && e.VR != vrOW {
		return invalid(CodeMalformed, "the pixel data has type %s, but OB or OW was expected", e.VR)
	}
	if encapsulated := e.Length == undefined; encapsulated != p.encapsulated {
		return invalid(CodeEncapsulation, "the pixel data is %s, which its transfer syntax does not allow",
			map[bool]string{true: "in fragments", false: "not in fragments"}[encapsulated])
	}
	if !p.encapsulated {
		return nil
	}
	pos := e.Offset
	for {
		t, length, err := p.tagAt(pos, end)
		if err != nil {
			return err
		}
		if t == tagSequenceEnd && length == 0 {
			break
		}
		if t != tagItem || length == undefined {
			return invalid(CodeEncapsulation, "the pixel data holds %s at byte %d where a fragment should be", t, pos)
		}
		if length > end-pos-8 {
			return p.tooShort(pos, end)
		}
		if err := p.count(); err != nil {
			return err
		}
		e.Fragments = append(e.Fragments, Fragment{Offset: pos + 8, Length: length})
		pos += 8 + length
	}
	if len(e.Fragments) < 2 {
		return invalid(CodeEncapsulation, "the pixel data holds no picture: it needs an offset table and a fragment, but has %d items", len(e.Fragments))
	}
	e.Length = pos + 8 - e.Offset
	return nil
}
