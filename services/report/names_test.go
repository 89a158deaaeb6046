package report

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/test/shared"
)

const (
	tagCharacterSet = 0x00080005
	tagPatientName  = 0x00100010
)

// readPhotograph reads a sound photograph with changes as intake does.
func readPhotograph(t *testing.T, changes dicomtest.Elements) record.Instance {
	t.Helper()
	data := dicomtest.Native().With(changes).Encode(false)
	f, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	instance, err := f.Describe()
	if err != nil {
		t.Fatal(err)
	}
	return instance
}

// nameIn finds the name and its character set in one of pydicom's files: in the data set, or in an item, which may have the set of the
// data set around it.
func nameIn(t *testing.T, path string) (set, name []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		t.Fatal(path, err)
	}
	d := f.Data
	if d.Find(tagPatientName) == nil {
		d = d.Find(0x00321064).Items[0]
	}
	value := func(e *dicom.Element) []byte { return data[e.Offset : e.Offset+e.Length] }
	return value(cmp.Or(d.Find(tagCharacterSet), f.Data.Find(tagCharacterSet))), value(d.Find(tagPatientName))
}

// TestNamesInEveryCharacterSet brings names in every character set of DICOM from a photograph's bytes to the report, the patient's
// page and the FHIR Patient. What they are is what pydicom reads (testdata/names.py).
func TestNamesInEveryCharacterSet(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "names.json"))
	if err != nil {
		t.Fatal(err)
	}
	var references map[string]struct {
		Bytes string
		Name  [][2]string // groups of family and given name
	}
	if err := json.Unmarshal(raw, &references); err != nil {
		t.Fatal(err)
	}
	folder := shared.Dir(t, "dicom", "conformance", "pydicom", "src", "pydicom", "data", "charset_files")
	inFiles, err := filepath.Glob(filepath.Join(folder, "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range inFiles {
		if _, ok := references[strings.TrimSuffix(filepath.Base(path), ".dcm")]; !ok {
			t.Errorf("%s has no reference", path)
		}
	}
	k := newKit(t)
	number := 0
	numbers := map[string]int{}
	for source, want := range references {
		set := []byte(source)
		name, err := hex.DecodeString(want.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if want.Bytes == "" {
			set, name = nameIn(t, filepath.Join(folder, source+".dcm"))
		}
		read := readPhotograph(t, dicomtest.Elements{tagCharacterSet: dicomtest.Text("CS", string(set)), tagPatientName: dicomtest.Text("PN", string(name))})
		if len(read.Notes) > 0 {
			t.Errorf("%s: notes %v", source, read.Notes)
		}
		number++
		numbers[source] = number
		k.tell(k.accept(picture{number, 1}, func(i *record.Instance) { i.Patient.Name = read.Patient.Name }))
	}
	k.quiet()
	for source, want := range references {
		p := picture{numbers[source], 1}
		groups, texts := make([]string, len(want.Name)), make([]string, len(want.Name))
		for n, g := range want.Name {
			groups[n], texts[n] = strings.TrimSuffix(g[0]+"^"+g[1], "^"), strings.TrimSpace(g[0]+" "+g[1])
		}
		written := texts[0]
		if len(texts) > 1 {
			written += " (" + strings.Join(texts[1:], ", ") + ")"
		}

		var report record.Report
		k.must(json.Unmarshal(k.get("/api/reports/"+p.report()).Body.Bytes(), &report))
		if wanted := strings.Join(groups, "="); report.Patient.Name != wanted {
			t.Errorf("%s: the report names %q, want %q", source, report.Patient.Name, wanted)
		}
		id := fhir.PatientID(shaOf("patient", p.p))
		if page := k.get("/patients/"+id, "Accept", "text/html"); page.Code != http.StatusOK || !strings.Contains(html.UnescapeString(page.Body.String()), written) {
			t.Errorf("%s: the page (%d) does not name %q", source, page.Code, written)
		}
		var patient struct {
			Name []struct {
				Text, Family string
				Given        []string
				Extension    []struct{ ValueCode string }
			}
		}
		k.must(json.Unmarshal(k.get("/fhir/Patient/"+id).Body.Bytes(), &patient))
		if len(patient.Name) != len(want.Name) {
			t.Errorf("%s: FHIR has %d names, want %d", source, len(patient.Name), len(want.Name))
			continue
		}
		for n, got := range patient.Name {
			if got.Family != want.Name[n][0] || strings.Join(got.Given, " ") != want.Name[n][1] || got.Text != texts[n] ||
				len(want.Name) > 1 && (len(got.Extension) != 1 || got.Extension[0].ValueCode != []string{"ABC", "IDE", "SYL"}[n]) {
				t.Errorf("%s: FHIR's name %d is %+v, want %v", source, n, got, want.Name[n])
			}
		}
	}
	if len(references) < 36 {
		t.Errorf("only %d names", len(references))
	}
}

// TestHostileTextReachesNobody: what is no text, or text that is not what it looks like, is in no column of the index and in no
// answer, whichever attribute holds it.
func TestHostileTextReachesNobody(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	n := 0
	for _, set := range []string{"ISO_IR 192", "", "ISO_IR 100", "ISO_IR 13", "GB18030", "GBK", `\ISO 2022 IR 87`, `\ISO 2022 IR 149`, `\ISO 2022 IR 58`, `ISO 2022 IR 13\ISO 2022 IR 159`} {
		for _, hostile := range []string{
			"A\x00B", "A\xff\xfeB", "A\x1b$B;3", "A\x1b$B;", "A\x1b", "A\x1b$(D\x30", "A\xed\xa0\x80B\xed\xbf\xbf", // NUL, no UTF-8, escapes without an end, lone surrogates
			"A\x80\x85\x9fB", "A\x07\x08\x7fB", "A\u0085B", // controls
			"A\u202eB\u202dC\u202aD\u202bE\u202c", "A\u2066B\u2067C\u2068D\u2069", "A\u200eB\u200fC\u061cD", // direction
			"A\u2028B\u2029C", "A\u200bB\ufeffC", // lines, and spaces that nobody sees
			"\x81\x30\x81\x30", "\x84\x31\xa4\x37", "A\x81", "A\xfe\xfe", // GB18030: C1, U+FFFD itself, half a character, none
		} {
			n++
			text := func(vr string) dicomtest.Element { return dicomtest.Text(vr, hostile) }
			read := readPhotograph(t, dicomtest.Elements{
				tagCharacterSet: dicomtest.Text("CS", set), tagPatientName: text("PN"), 0x00080050: text("SH"), 0x00080070: text("LO"), 0x00081090: text("LO"),
				0x00181000: text("LO"), 0x00181020: text("LO"), 0x00100040: text("CS"), 0x00100030: text("DA"), 0x00080020: text("DA"), 0x0008002A: text("DT"),
				0x0020000E: text("UI"), 0x00280030: text("DS"), 0x00280301: text("CS"),
			})
			k.tell(k.accept(picture{n, 1}, func(i *record.Instance) {
				key, patient := i.Patient.Key, i.Patient.ID
				i.Patient = read.Patient
				i.Patient.Key, i.Patient.ID = key, patient
				i.AccessionNumber, i.Device, i.StudyDate, i.AcquiredAt, i.Notes, i.SeriesUID = read.AccessionNumber, read.Device, read.StudyDate, read.AcquiredAt, read.Notes, read.SeriesUID
			}), k.segment(picture{n, 1}))
		}
	}
	k.quiet()
	for p := 1; p <= n; p++ {
		id := fhir.PatientID(shaOf("patient", p))
		for _, address := range []string{"/api/reports/" + picture{p, 1}.report(), "/fhir/Patient/" + id, "/fhir/DiagnosticReport/" + picture{p, 1}.report(), "/fhir/ImagingStudy/" + picture{p, 1}.report()} {
			w := k.get(address)
			var answer any
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%s: %d, %v", address, w.Code, err)
			}
			eachText(answer, func(text string) {
				if bad := notText(text, ""); bad != "" {
					t.Errorf("%s holds %s in %q", address, bad, text)
				}
			})
		}
		page := k.get("/patients/"+id, "Accept", "text/html")
		if page.Code != http.StatusOK {
			t.Fatalf("the page: %d", page.Code)
		}
		if bad := notText(html.UnescapeString(page.Body.String()), "\n\t"); bad != "" {
			t.Errorf("the page of patient %d holds %s", p, bad)
		}
	}
	db, err := sql.Open("sqlite", store.SQLiteDSN(k.path))
	k.must(err)
	defer func() { _ = db.Close() }() // only read
	if cells := eachCell(t, db, func(table, text string) {
		if bad := notText(text, "\n"); bad != "" {
			t.Errorf("table %s holds %s in %q", table, bad, text)
		}
	}); cells < 10*n {
		t.Errorf("only %d texts are in the index", cells)
	}
}

// notText says which character of a text is none, but for those in allowed; "" if all are.
func notText(text, allowed string) string {
	if !utf8.ValidString(text) {
		return "invalid UTF-8"
	}
	for _, r := range text {
		if !strings.ContainsRune(allowed, r) && (unicode.Is(unicode.Cc, r) || slices.Contains([]rune("\u200b\u200e\u200f\u061c\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"), r)) {
			return "U+" + strings.ToUpper(hex.EncodeToString([]byte{byte(r >> 8), byte(r)}))
		}
	}
	return ""
}

// eachText visits every text of a JSON document, keys too.
func eachText(document any, visit func(string)) {
	switch d := document.(type) {
	case string:
		visit(d)
	case []any:
		for _, v := range d {
			eachText(v, visit)
		}
	case map[string]any:
		for key, v := range d {
			visit(key)
			eachText(v, visit)
		}
	}
}

// eachCell visits every text of every table, and of the JSON documents among them, and counts them.
func eachCell(t *testing.T, db *sql.DB, visit func(table, text string)) (cells int) {
	t.Helper()
	query := func(statement string, each func(*sql.Rows)) {
		rows, err := db.QueryContext(t.Context(), statement)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }() // only read
		for rows.Next() {
			each(rows)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	var tables []string
	query(`SELECT name FROM sqlite_master WHERE type = 'table'`, func(r *sql.Rows) {
		var name string
		if err := r.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	})
	for _, table := range tables {
		query(`SELECT * FROM "`+table+`"`, func(r *sql.Rows) {
			columns, err := r.Columns()
			if err != nil {
				t.Fatal(err)
			}
			row := make([]any, len(columns))
			for i := range row {
				row[i] = new(any)
			}
			if err := r.Scan(row...); err != nil {
				t.Fatal(err)
			}
			for _, cell := range row {
				var text string
				switch v := (*cell.(*any)).(type) {
				case string:
					text = v
				case []byte:
					text = string(v)
				default:
					continue
				}
				cells++
				var document any
				if json.Unmarshal([]byte(text), &document) == nil {
					eachText(document, func(text string) { visit(table, text) })
					continue
				}
				visit(table, text)
			}
		})
	}
	return cells
}
