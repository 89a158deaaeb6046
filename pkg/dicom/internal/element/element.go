// Package element gathers the data elements of what Noctua writes, in the order that the standard requires and that the library
// does not see to. It imports nothing of Noctua.
package element

import (
	"fmt"
	"slices"
	"strings"

	library "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"
)

// Set gathers the elements of a data set or of an item of a sequence, and the first error.
type Set struct {
	elements []*library.Element
	err      error
}

// Elements returns the elements sorted by tag, or the first error.
func (s *Set) Elements() ([]*library.Element, error) {
	slices.SortStableFunc(s.elements, func(x, y *library.Element) int { return x.Tag.Compare(y.Tag) })
	return s.elements, s.err
}

// Add adds an element of any type that the library takes. After an error it returns an element that belongs to nothing.
func (s *Set) Add(t tag.Tag, value any) *library.Element {
	e, err := library.NewElement(t, value)
	if err != nil {
		s.fail(fmt.Errorf("element %s: %w", t, err))
		return &library.Element{}
	}
	s.elements = append(s.elements, e)
	return e
}

func (s *Set) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Text adds an element of characters; without values it is there and empty.
func (s *Set) Text(t tag.Tag, values ...string) { s.Add(t, append([]string{}, values...)) }

// Bytes adds an element of bytes.
func (s *Set) Bytes(t tag.Tag, value []byte) { s.Add(t, value) }

// Numbers adds an element of whole numbers; of an attribute tag, group and element are two of them.
func (s *Set) Numbers(t tag.Tag, values ...int) { s.Add(t, values) }

// Floats adds an element of floating-point numbers; without values it is there and empty.
func (s *Set) Floats(t tag.Tag, values ...float64) { s.Add(t, append([]float64{}, values...)) }

// Sequence adds a sequence of items; its length is left undefined, since the library always ends it with a delimiter.
func (s *Set) Sequence(t tag.Tag, items ...*Set) {
	values := make([][]*library.Element, 0, len(items))
	for _, item := range items {
		elements, err := item.Elements()
		if err != nil {
			s.fail(fmt.Errorf("sequence %s: %w", t, err))
		}
		values = append(values, elements)
	}
	s.Add(t, values).ValueLength = tag.VLUndefinedLength
}

// Code is a concept of a coding scheme.
type Code struct{ Value, Scheme, Meaning string }

// maxCodeValueBytes and maxMeaningBytes are the limits of the types SH and LO, in bytes: the standard counts characters, but not every
// reader does.
const (
	maxCodeValueBytes = 16
	maxMeaningBytes   = 64
)

// cut shortens a meaning that is too long, and shows that it did.
func cut(meaning string) string {
	const dots = "..."
	if len(meaning) <= maxMeaningBytes {
		return meaning
	}
	return strings.ToValidUTF8(meaning[:maxMeaningBytes-len(dots)], "") + dots
}

// Codes adds a sequence of codes (PS3.3, 8.8). A value that is too long for CodeValue is written as LongCodeValue, as the standard
// has it; a meaning that is too long is cut.
func (s *Set) Codes(t tag.Tag, codes ...Code) {
	items := make([]*Set, 0, len(codes))
	for _, c := range codes {
		item := &Set{}
		if len(c.Value) > maxCodeValueBytes {
			value := c.Value
			if len(value)%2 == 1 {
				value += " " // the library would pad this type (UC) with NUL, which the standard does not allow
			}
			item.Text(tag.LongCodeValue, value)
		} else {
			item.Text(tag.CodeValue, c.Value)
		}
		item.Text(tag.CodingSchemeDesignator, c.Scheme)
		item.Text(tag.CodeMeaning, cut(c.Meaning))
		items = append(items, item)
	}
	s.Sequence(t, items...)
}
