package dicom_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// TestCorrect puts what is missing or wrong into files of both encodings, and looks that nothing else changes.
func TestCorrect(t *testing.T) {
	t.Parallel()
	none := dicomtest.Element{}
	text := dicomtest.Text
	tests := map[string]struct {
		change     dicomtest.Elements
		code       string // before
		correction record.Correction
		want       dicomtest.Elements // besides the change
	}{
		"eye missing": {dicomtest.Elements{0x00200062: none}, dicom.CodeLateralityMissing, record.Correction{Laterality: "L"}, dicomtest.Elements{0x00200062: text("CS", "L")}},
		"eye empty":   {dicomtest.Elements{0x00200062: text("CS", "")}, dicom.CodeLateralityMissing, record.Correction{Laterality: "R"}, dicomtest.Elements{0x00200062: text("CS", "R")}},
		"both eyes":   {dicomtest.Elements{0x00200062: text("CS", "B")}, dicom.CodeLateralityMissing, record.Correction{Laterality: "R"}, dicomtest.Elements{0x00200062: text("CS", "R")}},
		"eyes in conflict": {dicomtest.Elements{0x00200062: text("CS", "L"), 0x00200060: text("CS", "R")}, dicom.CodeLateralityConflict, record.Correction{Laterality: "L"},
			dicomtest.Elements{0x00200062: text("CS", "L"), 0x00200060: text("CS", "L")}},
		"ID missing": {dicomtest.Elements{0x00100020: none}, dicom.CodePatientID, record.Correction{PatientID: "P 77"}, dicomtest.Elements{0x00100020: text("LO", "P 77")}},
		"ID and issuer invalid": {dicomtest.Elements{0x00100020: text("LO", "A\x01B"), 0x00100021: text("LO", "C\x01")}, dicom.CodePatientIDInvalid,
			record.Correction{PatientID: "P77", Issuer: "NORTH"}, dicomtest.Elements{0x00100020: text("LO", "P77"), 0x00100021: text("LO", "NORTH")}},
		"ID and issuer missing, both inserted at one place": {dicomtest.Elements{0x00100020: none}, dicom.CodePatientID, record.Correction{PatientID: "P7", Issuer: "NORTH"},
			dicomtest.Elements{0x00100020: text("LO", "P7"), 0x00100021: text("LO", "NORTH")}},
		"group lengths": {dicomtest.Elements{0x00100020: none, 0x00100000: {VR: "UL", Value: binary.LittleEndian.AppendUint32(nil, 44)}}, dicom.CodePatientID,
			record.Correction{PatientID: "P7"}, dicomtest.Elements{0x00100020: text("LO", "P7"), 0x00100000: none}},
	}
	for name, test := range tests {
		for _, implicit := range []bool{false, true} {
			changed := dicomtest.Native().With(test.change)
			file := changed.Encode(implicit)
			copy(file, "MZ") // a preamble in use
			f, err := dicom.Open(bytes.NewReader(file), int64(len(file)), dicom.Limits{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if i, err := f.Describe(); fault.CodeOf(err) != test.code && !(err == nil && test.code == dicom.CodeLateralityMissing && i.Laterality == "") {
				t.Errorf("%s: before: %v", name, err)
			}
			splices, err := f.Correct(test.correction)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r, size, err := dicom.Spliced(bytes.NewReader(file), int64(len(file)), splices)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := io.ReadAll(r)
			if err != nil || int64(len(got)) != size {
				t.Fatalf("%s: %d bytes instead of %d, %v", name, len(got), size, err)
			}
			if want := changed.With(test.want).Encode(implicit); !bytes.Equal(got, want) {
				t.Errorf("%s, implicit %v: other bytes than a file written so\n%q\n%q", name, implicit, got[128:], want[128:])
			}
		}
	}
}

// TestCorrectAtTheEnd inserts behind the last element.
func TestCorrectAtTheEnd(t *testing.T) {
	t.Parallel()
	elements := dicomtest.Elements{0x00080018: dicomtest.Text("UI", "1.2.3")}
	file := elements.Encode(false)
	f, err := dicom.Open(bytes.NewReader(file), int64(len(file)), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	splices, err := f.Correct(record.Correction{PatientID: "P1"})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := dicom.Spliced(bytes.NewReader(file), int64(len(file)), splices)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(r); !bytes.Equal(got, elements.With(dicomtest.Elements{0x00100020: dicomtest.Text("LO", "P1")}).Encode(false)) {
		t.Errorf("%q", got)
	}
}

// TestSplicedTrustsNobody gives splices that a broken child may send.
func TestSplicedTrustsNobody(t *testing.T) {
	t.Parallel()
	for name, splices := range map[string][]dicom.Splice{
		"negative":     {{Offset: -1}},
		"behind":       {{Offset: 11}},
		"too long":     {{Offset: 5, Length: 6}},
		"overflow":     {{Offset: 5, Length: 1<<63 - 1}},
		"shrinking":    {{Offset: 5, Length: -1}},
		"out of order": {{Offset: 5, Length: 1}, {Offset: 2}},
		"overlapping":  {{Offset: 5, Length: 3}, {Offset: 7}},
		"too much":     {{Offset: 5, Data: make([]byte, 5000)}},
	} {
		if _, _, err := dicom.Spliced(bytes.NewReader(make([]byte, 10)), 10, splices); fault.CodeOf(err) != dicom.CodeCorrection {
			t.Errorf("%s: %v", name, err)
		}
	}
}
