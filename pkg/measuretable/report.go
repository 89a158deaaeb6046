package measuretable

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/noctua-screening/noctua/pkg/record"
)

// ReportRow is a Row within its report. Patient is the id of the FHIR Patient, a pseudonym: neither name nor identifier of a person is in a
// table, and no birth date. File is the SOP instance UID of the picture.
type ReportRow struct {
	Clinic       string  `parquet:"clinic,dict,zstd"`
	Patient      string  `parquet:"patient,dict,zstd"`
	Report       string  `parquet:"report,dict,zstd"`
	Version      int32   `parquet:"version,zstd"`
	ReportStatus string  `parquet:"report_status,dict,zstd"`        // preliminary, final or amended
	StudyDate    *string `parquet:"study_date,optional,dict,zstd"`  // yyyy-mm-dd
	AcquiredAt   *string `parquet:"acquired_at,optional,dict,zstd"` // local time of the camera, ISO 8601

	// What a Row says. It is not embedded: with parquet-go, what is absent of an embedded one comes back as empty.
	File      string   `parquet:"file,dict,zstd"`
	Status    string   `parquet:"status,dict,zstd"`
	Eye       *string  `parquet:"eye,optional,dict,zstd"`
	Measure   *string  `parquet:"measure,optional,dict,zstd"`
	Region    *string  `parquet:"region,optional,dict,zstd"`
	Unit      *string  `parquet:"unit,optional,dict,zstd"`
	Value     *float64 `parquet:"value,optional,zstd"`
	Error     *float64 `parquet:"error,optional,zstd"`
	Reason    *string  `parquet:"reason,optional,dict,zstd"`
	Model     *string  `parquet:"model,optional,dict,zstd"`
	GridFOVPx *float64 `parquet:"grid_fov_px,optional,zstd"`
}

// row is the part of it that stands in every table.
func (r ReportRow) row() Row {
	return Row{r.File, r.Status, r.Eye, r.Measure, r.Region, r.Unit, r.Value, r.Error, r.Reason, r.Model, r.GridFOVPx}
}

// patientDigits of a patient key are the id of the FHIR Patient.
const patientDigits = 32

// ReportRows are the rows of a report: the measures of each picture, of the whole field and of its regions, or one row that says why there are
// none. Pictures of which a later revision counts are left out.
func ReportRows(r *record.Report) []ReportRow {
	var all []ReportRow
	for i := range r.Images {
		img := &r.Images[i]
		if img.Superseded() {
			continue
		}
		rows := []Row{}
		if img.Provenance != nil {
			rows = Rows(img.SOPUID, &record.Result{Status: record.AnalysisStatus(img.Status), Laterality: img.Laterality, Measures: img.Measures, Regions: img.Regions, Provenance: *img.Provenance})
		}
		if len(rows) == 0 {
			reason := ""
			if img.Reason != nil {
				reason = img.Reason.Text
			}
			row := Failed(img.SOPUID, string(img.Status), reason)
			row.Eye = text(string(img.Laterality))
			rows = append(rows, row)
		}
		for _, row := range rows {
			all = append(all, ReportRow{Clinic: r.Clinic, Patient: r.Patient.Key[:min(patientDigits, len(r.Patient.Key))], Report: r.ReportID, Version: int32(r.Version), ReportStatus: string(r.Status),
				StudyDate: text(r.StudyDate), AcquiredAt: text(img.AcquiredAt),
				File: row.File, Status: row.Status, Eye: row.Eye, Measure: row.Measure, Region: row.Region, Unit: row.Unit, Value: row.Value, Error: row.Error, Reason: row.Reason, Model: row.Model, GridFOVPx: row.GridFOVPx})
		}
	}
	return all
}

// WriteReportCSV writes a header and the rows, like WriteCSV.
func WriteReportCSV(w io.Writer, rows []ReportRow) error {
	table := csv.NewWriter(w)
	lines := [][]string{append([]string{"clinic", "patient", "report", "version", "report_status", "study_date", "acquired_at"}, header...)}
	for _, r := range rows {
		lines = append(lines, append([]string{r.Clinic, r.Patient, r.Report, strconv.Itoa(int(r.Version)), r.ReportStatus, plain(r.StudyDate), plain(r.AcquiredAt)}, r.row().cells()...))
	}
	if err := table.WriteAll(lines); err != nil {
		return fmt.Errorf("writing the table of reports: %w", err)
	}
	return nil
}

// WriteReportParquet writes the rows as a Parquet file with the columns of the CSV, like Parquet.
func WriteReportParquet(w io.Writer, rows []ReportRow) error {
	p := parquet.NewGenericWriter[ReportRow](w, parquet.MaxRowsPerRowGroup(rowsPerGroup), parquet.CreatedBy("Noctua", "", ""))
	if _, err := p.Write(rows); err != nil {
		return fmt.Errorf("writing the Parquet table of reports: %w", err)
	}
	if err := p.Close(); err != nil {
		return fmt.Errorf("writing the Parquet table of reports: %w", err)
	}
	return nil
}
