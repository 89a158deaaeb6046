package dicom_test

import (
	"bytes"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
)

// Short names for the tables of these tests.
type (
	element  = dicomtest.Element
	elements = dicomtest.Elements
)

func text(vr, value string) element       { return dicomtest.Text(vr, value) }
func raw(vr string, value []byte) element { return element{VR: vr, Value: value} }
func number(value uint16) element         { return dicomtest.Number(value) }
func native() elements                    { return dicomtest.Native() }
func header(syntax, sop string) []byte    { return dicomtest.Header(syntax, sop) }
func sequence(items ...elements) element  { return dicomtest.Sequence(items...) }
func encodeElement(t uint32, e element, implicit bool) []byte {
	return dicomtest.EncodeElement(t, e, implicit)
}

func TestBuilderMakesSoundFiles(t *testing.T) {
	t.Parallel()
	for _, implicit := range []bool{false, true} {
		f, got, err := describe(t, native().Encode(implicit))
		if err != nil {
			t.Fatal(err)
		}
		if got.Patient.Name != "Müller^Zoë" || got.AcquiredAt != "2026-03-02T10:10:10" || !got.Analyse || len(got.Notes) != 0 {
			t.Errorf("%+v", got)
		}
		picture, _, err := f.Decode()
		if err != nil || !bytes.Equal(picture.Pix, native()[0x7FE00010].Value) {
			t.Errorf("pixels %v, %v", picture, err)
		}
	}
}
