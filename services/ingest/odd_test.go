package ingest

import (
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/record"
)

// readOne reads the only document of a bucket.
func readOne[T any](t *testing.T, w *world, schema, bucket, prefix string) T {
	t.Helper()
	var found []string
	for _, key := range w.keys(bucket) {
		if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, ".json") {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		t.Fatalf("documents %v", found)
	}
	raw, err := w.GetBytes(t.Context(), bucket, found[0], 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	document, err := record.Decode[T](schema, raw)
	if err != nil {
		t.Fatal(err)
	}
	return *document
}

// TestArchivedOnly: what is valid but no colour fundus photograph is kept with the reason, decoded or not.
func TestArchivedOnly(t *testing.T) {
	t.Parallel()
	fa := dicomtest.Text("CS", `ORIGINAL\PRIMARY\\FA`)
	sixteen := dicomtest.Element{VR: "OW", Value: make([]byte, 24)}
	thirtyTwo := dicomtest.Element{VR: "OW", Value: make([]byte, 48)}
	for name, test := range map[string]struct {
		changes dicomtest.Elements
		code    string
		decoded bool
	}{
		"fluorescein": {dicomtest.Elements{0x00080008: fa, 0x00200062: {}}, dicom.CodeNoteColour, true},
		"fluorescein of 16 bit": {dicomtest.Elements{0x00080008: fa, 0x00280002: dicomtest.Number(1), 0x00280004: dicomtest.Text("CS", "MONOCHROME2"),
			0x00280100: dicomtest.Number(16), 0x00280101: dicomtest.Number(16), 0x00280102: dicomtest.Number(15), 0x7FE00010: sixteen}, dicom.CodeNoteColour, true},
		"fluorescein of 32 bit": {dicomtest.Elements{0x00080008: fa, 0x00280002: dicomtest.Number(1), 0x00280004: dicomtest.Text("CS", "MONOCHROME2"),
			0x00280100: dicomtest.Number(32), 0x00280101: dicomtest.Number(32), 0x00280102: dicomtest.Number(31), 0x7FE00010: thirtyTwo}, dicom.CodeNoteColour, false},
		"tomography": {dicomtest.Elements{0x00080016: dicomtest.Text("UI", "1.2.840.10008.5.1.4.1.1.77.1.5.4")}, dicom.CodeNoteTomography, false},
		"PDF": {dicomtest.Elements{0x00080016: dicomtest.Text("UI", "1.2.840.10008.5.1.4.1.1.104.1"), 0x7FE00010: {}, 0x00280010: {}, 0x00280011: {}, 0x00200062: {}},
			dicom.CodeNoteDocument, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			data := dicomtest.Native().With(test.changes).Encode(false)
			w.drop("north/1", data)
			drain(t, w)
			w.check(t, name, 1, 0, 0)
			i := readOne[record.Instance](t, w, record.InstanceSchema, w.Buckets().Archive, "images/")
			if i.Analyse || i.NotAnalysed == nil || i.NotAnalysed.Code != test.code || (i.PixelSha256 != "") != test.decoded {
				t.Errorf("%+v, not analysed %+v", i, i.NotAnalysed)
			}
			w.drop("north/2", data)
			drain(t, w)
			w.check(t, name+" again", 1, 0, 1)
		})
	}
}

// TestRefusedWithPatient: a refusal names patient and study where they could be read, so that it shows beside the others.
func TestRefusedWithPatient(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/1", dicomtest.Native().With(dicomtest.Elements{0x00200062: dicomtest.Text("CS", "B"), 0x00100010: dicomtest.Text("PN", "\xff\x00X")}).Encode(true))
	l := drain(t, w)
	w.check(t, "refused", 0, 1, 0)
	q := readOne[record.Quarantine](t, w, record.QuarantineSchema, w.Buckets().Quarantine, "")
	if q.Code != dicom.CodeLateralityMissing || q.Patient == nil || q.Patient.ID != "P1" || q.Patient.Key != record.PatientKey(secret(), "north", "", "P1") || q.Patient.Name != "\uFFFD\uFFFDX" ||
		q.StudyUID != "1.2.3" || q.SOPUID != "1.2.3.4" {
		t.Errorf("%+v, patient %+v", q, q.Patient)
	}
	noPatients(t, w, l)
}

// TestUnreadablePatientIsNotNamed: an identifier with unreadable characters is in no document.
func TestUnreadablePatientIsNotNamed(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/1", dicomtest.Native().With(dicomtest.Elements{0x00100020: dicomtest.Text("LO", "P\xff1")}).Encode(false))
	drain(t, w)
	if q := readOne[record.Quarantine](t, w, record.QuarantineSchema, w.Buckets().Quarantine, ""); q.Code != dicom.CodePatientIDInvalid || q.Patient != nil {
		t.Errorf("%+v", q)
	}
}

// TestHostileRelatives puts what the stubs of the hostile folder try into files that are sound otherwise.
func TestHostileRelatives(t *testing.T) {
	t.Parallel()
	w := newWorld()
	n := 0
	for _, changes := range []dicomtest.Elements{
		{0x00280008: dicomtest.Text("IS", "1000000000000")},
		{0x00280008: dicomtest.Text("IS", "-1")},
		{0x00280010: dicomtest.Number(32768), 0x00280011: dicomtest.Number(32768), 0x7FE00010: {VR: "OW"}},
		{0x00280002: dicomtest.Number(64)},
		{0x00280100: dicomtest.Number(0)},
		{0x00280100: dicomtest.Number(24)},
		{0x00280010: {VR: "US"}},
		{0x00080005: dicomtest.Text("CS", "ISO-IR 100")},
		{0x00100020: dicomtest.Text("LO", "12\x0034")},
		{0x7FE00010: {}, 0x7FE00008: {VR: "OF", Value: make([]byte, 144)}},
	} {
		n++
		w.drop("north/"+strings.Repeat("x", n), dicomtest.Native().With(changes).Encode(false))
	}
	drain(t, w)
	w.check(t, "relatives", 0, n, 0)
	for _, code := range w.reasons(t) {
		if code == CodeProcessing {
			t.Error("a file was blamed on Noctua")
		}
	}
}
