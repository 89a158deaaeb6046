package measuretable

import (
	"bytes"
	"encoding/csv"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/noctua-screening/noctua/pkg/record"
)

// TestReportTables: a report's pictures with what is said of each, without the person, in both formats alike.
func TestReportTables(t *testing.T) {
	t.Parallel()
	provenance := &record.Provenance{Model: record.ModelReference{Name: "unet", Version: "1.2"}}
	r := &record.Report{ReportID: "r1", Version: 2, Status: record.Amended, Clinic: "north", StudyDate: "2026-11-22",
		Patient: record.PatientIdentity{Key: strings.Repeat("ab", 32), ID: "SecretID", Name: "Secret^Name", BirthDate: "1950-03-04"},
		Images: []record.ReportImage{
			{SOPUID: "1.2.1", Laterality: record.RightEye, Status: record.ImageMeasured, AcquiredAt: "2026-11-22T10:00:00", Provenance: provenance, Measures: []record.Measure{
				{Name: "vessel-area-density", Region: "field-of-view", Unit: "1", Value: pointer(0.25), Error: pointer(0.01)}},
				Regions: []record.Region{{Name: "outer-ring", Measures: []record.RegionalMeasure{{Name: "vessel-area-density", Unit: "1", Value: pointer(0.5)}}}}},
			{SOPUID: "1.2.1", Status: record.ImageMeasured, Provenance: provenance, Notes: []record.Note{{Code: "superseded-revision"}}, Measures: []record.Measure{{Name: "old"}}},
			{SOPUID: "1.2.2", Laterality: record.LeftEye, Status: record.ImageFailed, Reason: &record.Note{Text: "The pixels end early."}},
		}}
	rows := ReportRows(r)
	if len(rows) != 3 || rows[1].Region == nil || *rows[1].Region != "outer-ring" || *rows[1].Value != 0.5 || rows[2].Status != "failed" || *rows[2].Reason != "The pixels end early." || *rows[2].Eye != "L" {
		t.Fatalf("%+v", rows)
	}
	var table, columns, again bytes.Buffer
	for _, err := range []error{WriteReportCSV(&table, rows), WriteReportParquet(&columns, rows), WriteReportParquet(&again, rows)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(columns.Bytes(), again.Bytes()) {
		t.Error("the same rows give other bytes")
	}
	if strings.Contains(table.String(), "Secret") || strings.Contains(table.String(), "1950") || bytes.Contains(columns.Bytes(), []byte("Secret")) {
		t.Error("a person is in the table")
	}
	lines, err := csv.NewReader(bytes.NewReader(table.Bytes())).ReadAll()
	if err != nil || len(lines) != 4 {
		t.Fatalf("%v, %v", lines, err)
	}
	want := []string{"north", strings.Repeat("ab", 16), "r1", "2", "amended", "2026-11-22", "2026-11-22T10:00:00", "1.2.1", "measured", "R", "vessel-area-density", "field-of-view", "1", "0.25", "0.01", "", "unet 1.2", ""}
	if !reflect.DeepEqual(lines[1], want) {
		t.Errorf("%q", lines[1])
	}
	file, err := parquet.OpenFile(bytes.NewReader(columns.Bytes()), int64(columns.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range file.Schema().Fields() {
		names = append(names, f.Name())
	}
	if !reflect.DeepEqual(names, lines[0]) {
		t.Errorf("columns %q, CSV %q", names, lines[0])
	}
	got, err := parquet.Read[ReportRow](bytes.NewReader(columns.Bytes()), int64(columns.Len()))
	if err != nil || !reflect.DeepEqual(got, rows) {
		t.Errorf("%+v, %v", got, err)
	}
}
