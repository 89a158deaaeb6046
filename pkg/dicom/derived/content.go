package derived

import (
	"strconv"

	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/noctua-screening/noctua/pkg/dicom/internal/element"
)

// Relationships of a content item with the one above it (PS3.3, C.17.3.2.4).
const (
	contains      = "CONTAINS"
	hasConceptMod = "HAS CONCEPT MOD"
	hasObsContext = "HAS OBS CONTEXT"
	hasAcqContext = "HAS ACQ CONTEXT"
	hasProperties = "HAS PROPERTIES"
)

// content is a content item of a structured report.
type content struct {
	element.Set
	children []*content
}

// item begins a content item; of the root, relationship is "".
func item(relationship, valueType string, name *element.Code) *content {
	c := &content{}
	if relationship != "" {
		c.Text(tag.RelationshipType, relationship)
	}
	c.Text(tag.ValueType, valueType)
	if name != nil {
		c.Codes(tag.ConceptNameCodeSequence, *name)
	}
	return c
}

// with adds items below this one.
func (c *content) with(children ...*content) *content {
	c.children = append(c.children, children...)
	return c
}

// finish makes the items below into the sequence that holds them.
func (c *content) finish() *element.Set {
	if len(c.children) > 0 {
		items := make([]*element.Set, 0, len(c.children))
		for _, child := range c.children {
			items = append(items, child.finish())
		}
		c.Sequence(tag.ContentSequence, items...)
	}
	return &c.Set
}

// container is an item that holds others; template is the number of the DICOM template that it follows, "" for none.
func container(relationship string, name element.Code, template string) *content {
	c := item(relationship, "CONTAINER", &name)
	c.Text(tag.ContinuityOfContent, "SEPARATE")
	if template != "" {
		t := &element.Set{}
		t.Text(tag.MappingResource, "DCMR")
		t.Text(tag.TemplateIdentifier, template)
		c.Sequence(tag.ContentTemplateSequence, t)
	}
	return c
}

func codeItem(relationship string, name, value element.Code) *content {
	c := item(relationship, "CODE", &name)
	c.Codes(tag.ConceptCodeSequence, value)
	return c
}

func textItem(relationship string, name element.Code, value string) *content {
	c := item(relationship, "TEXT", &name)
	c.Text(tag.TextValue, value)
	return c
}

func uidItem(relationship string, name element.Code, uid string) *content {
	c := item(relationship, "UIDREF", &name)
	c.Text(tag.UID, uid)
	return c
}

// imageItem refers to an image; add puts the reference together.
func imageItem(relationship string, name *element.Code, add func(*element.Set)) *content {
	c, reference := item(relationship, "IMAGE", name), &element.Set{}
	add(reference)
	c.Sequence(tag.ReferencedSOPSequence, reference)
	return c
}

// numberItem is a number with its UCUM unit.
func numberItem(relationship string, name element.Code, value float64, ucum string) *content {
	c, measured := item(relationship, "NUM", &name), &element.Set{}
	text, exact := decimal(value)
	measured.Text(tag.NumericValue, text)
	if !exact {
		measured.Floats(tag.FloatingPointValue, value)
	}
	measured.Codes(tag.MeasurementUnitsCodeSequence, unit(ucum))
	c.Sequence(tag.MeasuredValueSequence, measured)
	return c
}

// absentItem is a number that there is none of, and of which kind its absence is (CID 42).
func absentItem(relationship string, name, qualifier element.Code) *content {
	c := item(relationship, "NUM", &name)
	c.Sequence(tag.MeasuredValueSequence)
	c.Codes(tag.NumericValueQualifierCodeSequence, qualifier)
	return c
}

// maxDecimalBytes is the limit of the type DS.
const maxDecimalBytes = 16

// decimal writes a number as DS, with as many digits as that holds; exact tells whether no digit was lost.
func decimal(v float64) (text string, exact bool) {
	const shortest = -1
	text = strconv.FormatFloat(v, 'g', shortest, 64)
	for digits := maxDecimalBytes; len(text) > maxDecimalBytes; digits-- {
		text = strconv.FormatFloat(v, 'g', digits, 64)
	}
	back, err := strconv.ParseFloat(text, 64)
	return text, err == nil && back == v
}
