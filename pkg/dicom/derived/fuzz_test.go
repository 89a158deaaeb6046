package derived_test

import (
	"bytes"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/derived"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
)

// sourceOf reads a file's Source; nil if the file cannot be opened.
func sourceOf(t *testing.T, data []byte) *dicom.Source {
	t.Helper()
	file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		return nil
	}
	instance, _ := file.Describe() // refused or not
	source, err := file.Source(&instance)
	if err != nil {
		t.Fatalf("the source of a file in memory: %v", err)
	}
	return &source
}

// FuzzObjects: whatever a photograph's file says in its texts, the objects made of it can be written, and say the same of patient and
// study as the file.
func FuzzObjects(f *testing.F) {
	f.Add("ISO_IR 192", "Müller^Zoë", "P1", "20260302", "101010", "+0100", "1.2.5", `10\3.5`, `ISO_10918_1\ISO_15444_1`)
	f.Add(`\ISO 2022 IR 87`, "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", `A\B`, "2026.03.02", "10:10", "Z", "../x", "", "")
	f.Add("ISO_IR 13", "\x5c\xd4\xcf\xc0\xde", "\xff", "19000101", "1010.5", "-0330", "2.25.1", "1e3", "?")
	f.Fuzz(func(t *testing.T, charset, name, id, day, at, zone, uid, ratios, methods string) {
		const longest = 5000 // longer than any text that is read
		if len(charset+name+id+day+at+zone+uid+ratios+methods) > longest {
			return
		}
		data := dicomtest.Native().With(dicomtest.Elements{
			0x00080005: dicomtest.Text("CS", charset), 0x00080020: dicomtest.Text("DA", day), 0x0008002A: dicomtest.Text("DT", day+at+zone), 0x00080030: dicomtest.Text("TM", at),
			0x00080050: dicomtest.Text("SH", id), 0x00080090: dicomtest.Text("PN", name), 0x00080201: dicomtest.Text("SH", zone), 0x00081030: dicomtest.Text("LO", name),
			0x00100010: dicomtest.Text("PN", name), 0x00100020: dicomtest.Text("LO", id), 0x00100021: dicomtest.Text("LO", id), 0x00100030: dicomtest.Text("DA", day),
			0x00100040: dicomtest.Text("CS", zone), 0x00200010: dicomtest.Text("SH", id), 0x00200052: dicomtest.Text("UI", uid), 0x00201040: dicomtest.Text("LO", name),
			0x00282110: dicomtest.Text("CS", "01"), 0x00282112: dicomtest.Text("DS", ratios), 0x00282114: dicomtest.Text("CS", methods),
		}).Encode(false)
		source := sourceOf(t, data)
		if source == nil || source.Referable() != nil {
			return
		}
		seg, _, err := derived.SEG(segmentation(*source, "vessel"))
		if err != nil {
			t.Fatal(err)
		}
		sr, _, err := derived.SR(report(*source))
		if err != nil {
			t.Fatal(err)
		}
		for name, object := range map[string][]byte{"SEG": seg, "SR": sr} {
			got := sourceOf(t, object)
			if got == nil {
				t.Fatalf("the %s cannot be opened", name)
			}
			for _, pair := range [][2]string{
				{got.PatientID, source.PatientID}, {got.Issuer, source.Issuer}, {got.PatientName, source.PatientName}, {got.BirthDate, source.BirthDate}, {got.Sex, source.Sex},
				{got.StudyUID, source.StudyUID}, {got.StudyDate, source.StudyDate}, {got.StudyTime, source.StudyTime}, {got.StudyID, source.StudyID},
				{got.StudyDescription, source.StudyDescription}, {got.AccessionNumber, source.AccessionNumber}, {got.ReferringPhysician, source.ReferringPhysician},
				{got.Timezone, source.Timezone},
			} {
				if pair[0] != pair[1] {
					t.Errorf("the %s says %q, the file %q", name, pair[0], pair[1])
				}
			}
		}
	})
}
