package dicom

import "slices"

// Element is one data element: where its value lies, not the value itself.
type Element struct {
	Tag    Tag
	VR     VR
	Offset int64      // of the value in the file
	Length int64      // of the value; of sequences and encapsulated pixels, with everything inside
	Items  []*Dataset // of a sequence
	// Fragments of encapsulated pixel data, the first of which is the Basic Offset Table; nil otherwise.
	Fragments []Fragment
}

// Fragment is a piece of encapsulated pixel data.
type Fragment struct{ Offset, Length int64 }

// Dataset is a set of elements in the order of their tags, each at most once.
type Dataset struct{ Elements []Element }

// Find returns the element with this tag, or nil.
func (d *Dataset) Find(t Tag) *Element {
	i, found := slices.BinarySearchFunc(d.Elements, t, func(e Element, t Tag) int { return compareTags(e.Tag, t) })
	if !found {
		return nil
	}
	return &d.Elements[i]
}

// order sorts the elements by tag (some writers do not) and refuses a tag that is there twice: two readers of the same file
// could otherwise see two patients.
func (d *Dataset) order() error {
	byTag := func(a, b Element) int { return compareTags(a.Tag, b.Tag) }
	if !slices.IsSortedFunc(d.Elements, byTag) {
		slices.SortStableFunc(d.Elements, byTag)
	}
	for i := 1; i < len(d.Elements); i++ {
		if d.Elements[i].Tag == d.Elements[i-1].Tag {
			return invalid(CodeRepeated, "the file holds attribute %s twice, but each may be there once", d.Elements[i].Tag)
		}
	}
	return nil
}

func compareTags(a, b Tag) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
