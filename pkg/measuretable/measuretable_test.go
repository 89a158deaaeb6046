package measuretable

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/noctua-screening/noctua/pkg/record"
)

func pointer[T any](v T) *T { return &v }

// example has every kind of cell: a value with an error, one without, none, and a file that failed; and text that is hard to write.
func example() []Row {
	result := &record.Result{Status: record.Measured, Laterality: record.RightEye, Provenance: record.Provenance{Model: record.ModelReference{Name: "unet", Version: "1.2"}},
		Measures: []record.Measure{
			{Name: "vessel-area-density", Region: "field-of-view", Unit: "1", Value: pointer(0.30000000000000004), Error: pointer(0.0), GridFOVPx: pointer(1024.0)},
			{Name: "branch-point-count", Region: "field-of-view", Unit: "1", Value: pointer(0.0), ErrorAbsentReason: &record.Note{Code: "error-not-known", Text: "Nobody looked, so far."}},
			{Name: "tortuosity", Region: "field-of-view", Unit: "1", AbsentReason: &record.Note{Code: "no-long-segment", Text: "No \"segment\"\nis long enough."}},
		}}
	return append(Rows("Ω, right.jpg", result), Failed("broken.dcm", "failed", "The pixels end early."))
}

func TestRows(t *testing.T) {
	t.Parallel()
	rows := example()
	want := Row{File: "Ω, right.jpg", Status: "measured", Eye: pointer("R"), Measure: pointer("branch-point-count"), Region: pointer("field-of-view"), Unit: pointer("1"),
		Value: pointer(0.0), Reason: pointer("Nobody looked, so far."), Model: pointer("unet 1.2")}
	if !reflect.DeepEqual(rows[1], want) {
		t.Errorf("%+v", rows[1])
	}
	if !reflect.DeepEqual(rows[3], Row{File: "broken.dcm", Status: "failed", Reason: pointer("The pixels end early.")}) {
		t.Errorf("%+v", rows[3])
	}
}

func write(t *testing.T, rows []Row) []byte {
	t.Helper()
	var out bytes.Buffer
	p := NewParquet(&out)
	for _, r := range rows { // in pieces
		if err := p.Write([]Row{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestParquetIsReadBack(t *testing.T) {
	t.Parallel()
	raw := write(t, example())
	got, err := parquet.Read[Row](bytes.NewReader(raw), int64(len(raw)))
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("%+v, %v", got, err)
	}
	if again := write(t, example()); !bytes.Equal(again, raw) {
		t.Error("the same rows give other bytes")
	}
	if raw := write(t, nil); len(raw) == 0 {
		t.Error("a table without rows is no file")
	}
}

// TestPyarrowReadsIt: another implementation sees the same columns, types and cells.
func TestPyarrowReadsIt(t *testing.T) {
	t.Parallel()
	python := os.Getenv("PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import pyarrow.parquet").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("pyarrow is missing under CI: %v %s", err, out)
		}
		t.Skipf("SKIPPED, NOT RUN: %s has no pyarrow; pip install pyarrow, and name the interpreter by PYTHON", python)
	}
	rows := example()
	for len(rows) < rowsPerGroup+5 {
		rows = append(rows, rows[:min(len(rows), rowsPerGroup+5-len(rows))]...)
	}
	file := filepath.Join(t.TempDir(), "measures.parquet")
	if err := os.WriteFile(file, write(t, rows), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, filepath.Join("testdata", "read.py"), file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Columns     [][]any          `json:"columns"`
		Groups      []int            `json:"groups"`
		Compression string           `json:"compression"`
		Rows        []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	text, number := "string", "double"
	wantColumns := [][]any{{"file", text, false}, {"status", text, false}, {"eye", text, true}, {"measure", text, true}, {"region", text, true}, {"unit", text, true},
		{"value", number, true}, {"error", number, true}, {"reason", text, true}, {"model", text, true}, {"grid_fov_px", number, true}}
	if !reflect.DeepEqual(got.Columns, wantColumns) {
		t.Errorf("columns %v", got.Columns)
	}
	if !reflect.DeepEqual(got.Groups, []int{rowsPerGroup, 5}) || got.Compression != "ZSTD" {
		t.Errorf("row groups of %v rows, compressed by %s", got.Groups, got.Compression)
	}
	// Cell by cell beside the CSV: what is empty there is null here.
	lines := table(t, example())
	for n, line := range lines[1:] {
		for at, name := range lines[0] {
			cell := got.Rows[n][name]
			var said string
			switch v := cell.(type) {
			case nil:
			case float64:
				said = strconv.FormatFloat(v, 'g', -1, 64)
			case string:
				said = v
			}
			if said != line[at] || (cell == nil) != (line[at] == "") {
				t.Errorf("row %d, %s: pyarrow reads %v, the CSV says %q", n, name, cell, line[at])
			}
		}
	}
}

func table(t *testing.T, rows []Row) [][]string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteCSV(&out, rows); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestCSV(t *testing.T) {
	t.Parallel()
	want := [][]string{
		{"file", "status", "eye", "measure", "region", "unit", "value", "error", "reason", "model", "grid_fov_px"},
		{"Ω, right.jpg", "measured", "R", "vessel-area-density", "field-of-view", "1", "0.30000000000000004", "0", "", "unet 1.2", "1024"},
		{"Ω, right.jpg", "measured", "R", "branch-point-count", "field-of-view", "1", "0", "", "Nobody looked, so far.", "unet 1.2", ""},
		{"Ω, right.jpg", "measured", "R", "tortuosity", "field-of-view", "1", "", "", "No \"segment\"\nis long enough.", "unet 1.2", ""},
		{"broken.dcm", "failed", "", "", "", "", "", "", "The pixels end early.", "", ""},
	}
	if got := table(t, example()); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}
