package dicom

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// CodeCorrection is the code of corrections that a file cannot take.
const CodeCorrection = "correction-unsupported"

// Splice replaces Length bytes of a file at Offset by Data.
type Splice struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Data   []byte `json:"data,omitempty"`
}

// Correct says how the file must be changed so that its header holds the correction: ImageLaterality, and Laterality where it is
// there; PatientID; IssuerOfPatientID. The preamble is zeroed. Every other byte stays, pixel data among them. The splices are in
// the order of their offsets and do not overlap.
//
// The correction's texts must be ASCII without \ and ~, as its schema has it: those characters are the same in every character set.
//
// Faults: Unsupported correction-unsupported where the file's encoding cannot be corrected in place.
func (f *File) Correct(c record.Correction) ([]Splice, error) {
	implicit := f.syntax.implicit
	// Offsets in a deflated file are those of what it inflates to, and its own bytes would all change.
	if f.syntax.deflated || f.syntax.bigEndian {
		return nil, unsupported(CodeCorrection, "a file of transfer syntax %s cannot be corrected; correct it at the camera or archive", f.TransferSyntax)
	}
	splices := []Splice{{Offset: 0, Length: preambleBytes, Data: make([]byte, preambleBytes)}}
	set := func(t Tag, value string) { splices = append(splices, f.put(t, value, implicit)) }
	groups := map[uint16]bool{}
	if c.Laterality != "" {
		groups[tagImageLat.group()] = true
		set(tagImageLat, string(c.Laterality))
		if f.Data.Find(tagLaterality) != nil {
			set(tagLaterality, string(c.Laterality))
		}
	}
	if c.PatientID != "" {
		groups[tagPatientID.group()] = true
		set(tagPatientID, c.PatientID)
	}
	if c.Issuer != "" {
		groups[tagIssuer.group()] = true
		set(tagIssuer, c.Issuer)
	}
	for group := range groups {
		// A group's length (retired) would not be true any more.
		if e := f.Data.Find(Tag(group) << 16); e != nil {
			start := e.start(implicit)
			splices = append(splices, Splice{Offset: start, Length: e.Offset + e.Length - start})
		}
	}
	// Stable, since elements that are inserted before the same one are in the order of their tags.
	slices.SortStableFunc(splices, func(a, b Splice) int { return cmp.Compare(a.Offset, b.Offset) })
	return splices, nil
}

// put replaces an element of the main data set, or inserts it before the first one with a greater tag.
func (f *File) put(t Tag, value string, implicit bool) Splice {
	s := Splice{Offset: f.size, Data: encode(t, value, implicit)}
	if e := f.Data.Find(t); e != nil {
		s.Offset = e.start(implicit)
		s.Length = e.Offset + e.Length - s.Offset
		return s
	}
	for i := range f.Data.Elements {
		if e := &f.Data.Elements[i]; e.Tag > t {
			s.Offset = e.start(implicit)
			break
		}
	}
	return s
}

// start is where the element's header begins.
func (e *Element) start(implicit bool) int64 {
	const short, long = 8, 12 // bytes of a header
	if isLong, _ := e.VR.encoding(); isLong && !implicit {
		return e.Offset - long
	}
	return e.Offset - short
}

// encode writes a text element of at most 64 bytes.
func encode(t Tag, value string, implicit bool) []byte {
	if len(value)%2 == 1 {
		value += " "
	}
	le := binary.LittleEndian
	out := le.AppendUint16(le.AppendUint16(nil, t.group()), uint16(t))
	if implicit {
		out = le.AppendUint32(out, uint32(len(value))) //nolint:gosec // at most 64
	} else {
		vr := t.vr().String()
		out = le.AppendUint16(append(out, vr...), uint16(len(value))) //nolint:gosec // at most 64
	}
	return append(out, value...)
}

// maxSpliceBytes bounds what splices put into a file: a preamble and a few short elements.
const maxSpliceBytes = 4096

// Spliced is a file of size bytes with changes, and its new size. Splices are not trusted, since they may come from a child.
//
// Faults: Invalid correction-unsupported where they are out of order, overlap, leave the file, or put in too much.
func Spliced(file io.ReaderAt, size int64, splices []Splice) (io.Reader, int64, error) {
	var parts []io.Reader
	pos, total, added := int64(0), int64(0), 0
	for _, s := range splices {
		added += len(s.Data)
		if s.Offset < pos || s.Length < 0 || s.Offset > size || s.Length > size-s.Offset || added > maxSpliceBytes {
			return nil, 0, fault.New(fault.Invalid, CodeCorrection, "the correction does not fit the file")
		}
		parts = append(parts, io.NewSectionReader(file, pos, s.Offset-pos), bytes.NewReader(s.Data))
		total += s.Offset - pos + int64(len(s.Data))
		pos = s.Offset + s.Length
	}
	parts = append(parts, io.NewSectionReader(file, pos, size-pos))
	return io.MultiReader(parts...), total + size - pos, nil
}
