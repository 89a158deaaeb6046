package dicom

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	library "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/noctua-screening/noctua/test/shared"
)

// TestAgreesWithLibrary compares every header value of sound files with what github.com/suyashkumar/dicom reads.
func TestAgreesWithLibrary(t *testing.T) {
	t.Parallel()
	var paths []string
	for _, pattern := range []string{"clinic/*.dcm", "syntaxes/explicit-le.dcm", "syntaxes/implicit-le.dcm", "syntaxes/jpeg-baseline*.dcm",
		"conformance/pydicom/src/pydicom/data/charset_files/chr[AFGRX]*.dcm"} {
		found, err := filepath.Glob(filepath.Join(shared.Dir(t, "dicom"), pattern))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	compared := 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := library.Parse(bytes.NewReader(data), int64(len(data)), nil, library.SkipPixelData())
		if err != nil {
			t.Logf("%s: the library cannot read it: %v", filepath.Base(path), err)
			continue
		}
		ours, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		compared += compareElements(t, filepath.Base(path), ours, ours.Data, theirs.Elements)
	}
	t.Logf("%d values of %d files", compared, len(paths))
	if compared < 1000 {
		t.Errorf("only %d values were compared", compared)
	}
}

// compareElements compares one data set and what is nested in it; it returns the number of values.
func compareElements(t *testing.T, name string, f *File, d *Dataset, theirs []*library.Element) int {
	t.Helper()
	seen, values := 0, 0
	for _, their := range theirs {
		at := Tag(their.Tag.Uint32())
		if at.group() == 2 || at.group() == 0xFFFE {
			continue
		}
		seen++
		our := d.Find(at)
		if our == nil {
			t.Errorf("%s: %s is missing", name, at)
			continue
		}
		if at == tagPixelData {
			continue
		}
		if their.RawValueRepresentation != our.VR.String() {
			t.Errorf("%s: %s is %s, the library says %s", name, at, our.VR, their.RawValueRepresentation)
		}
		if their.Value.ValueType() == library.Sequences {
			items, ok := their.Value.GetValue().([]*library.SequenceItemValue)
			if !ok || len(items) != len(our.Items) {
				t.Errorf("%s: %s has %d items, the library says %d", name, at, len(our.Items), len(items))
				continue
			}
			for i, item := range items {
				elements, ok := item.GetValue().([]*library.Element)
				if !ok {
					t.Fatalf("%s: %s: the library's item is a %T", name, at, item.GetValue())
				}
				values += compareElements(t, name, f, our.Items[i], elements)
			}
			continue
		}
		values++
		raw, err := f.load(our)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := render(f, our, raw), theirValue(their); got != want {
			t.Errorf("%s: %s (%s) is %q, the library says %q", name, at, our.VR, got, want)
		}
	}
	if seen != len(d.Elements) {
		t.Errorf("%s: %d elements, the library has %d", name, len(d.Elements), seen)
	}
	return values
}

// render gives a value in a form that can be compared.
func render(f *File, e *Element, raw []byte) string {
	le := binary.LittleEndian
	var numbers []float64
	switch vr := e.VR.String(); {
	case e.VR.textual():
		set := characterSet{}
		if strings.Contains("LO LT PN SH ST UC UT", vr) {
			value, err := f.ascii(f.Data, tagCharacterSet)
			if err == nil {
				if set, err = readCharacterSet(value); err != nil {
					return err.Error()
				}
			}
		}
		text, _ := set.decode(bytes.TrimRight(raw, "\x00 "))
		return strings.Trim(text, " ")
	case vr == "US" || vr == "AT":
		for i := 0; i+2 <= len(raw); i += 2 {
			numbers = append(numbers, float64(le.Uint16(raw[i:])))
		}
	case vr == "UL":
		for i := 0; i+4 <= len(raw); i += 4 {
			numbers = append(numbers, float64(le.Uint32(raw[i:])))
		}
	case vr == "FL":
		for i := 0; i+4 <= len(raw); i += 4 {
			numbers = append(numbers, float64(math.Float32frombits(le.Uint32(raw[i:]))))
		}
	default:
		return string(raw)
	}
	return join(numbers)
}

func theirValue(e *library.Element) string {
	switch v := e.Value.GetValue().(type) {
	case []string:
		for i := range v {
			v[i] = strings.Trim(v[i], "\x00 ")
		}
		return strings.Trim(strings.Join(v, `\`), " ")
	case []int:
		var numbers []float64
		for _, n := range v {
			numbers = append(numbers, float64(n))
		}
		return join(numbers)
	case []float64:
		return join(v)
	case []byte:
		return string(v)
	}
	return "unexpected " + tag.DebugString(e.Tag)
}

func join(numbers []float64) string {
	var b strings.Builder
	for _, n := range numbers {
		_ = binary.Write(&b, binary.BigEndian, n) // a Builder never fails
	}
	return b.String()
}
