package measuretable

import "github.com/noctua-screening/noctua/pkg/record"

// Row is one measure of one picture, or a picture that has none. A text of no letters and a nil number are absent: empty in CSV, null in
// Parquet. The order of the fields is that of the columns.
type Row struct {
	File      string   `parquet:"file,dict,zstd"`             // what was measured, as the caller names it
	Status    string   `parquet:"status,dict,zstd"`           // measured, ungradable or failed
	Eye       *string  `parquet:"eye,optional,dict,zstd"`     // R or L
	Measure   *string  `parquet:"measure,optional,dict,zstd"` // stable name
	Region    *string  `parquet:"region,optional,dict,zstd"`  // where it was taken
	Unit      *string  `parquet:"unit,optional,dict,zstd"`    // UCUM
	Value     *float64 `parquet:"value,optional,zstd"`        // in Unit
	Error     *float64 `parquet:"error,optional,zstd"`        // half width of the 90 % interval, in Unit
	Reason    *string  `parquet:"reason,optional,dict,zstd"`  // why there is no value, or no error
	Model     *string  `parquet:"model,optional,dict,zstd"`   // name and version
	GridFOVPx *float64 `parquet:"grid_fov_px,optional,zstd"`  // diameter of the field of view on the grid measured, pixels
}

// Rows are the measures of a picture: of the whole field of view, and after them those of its regions.
func Rows(file string, result *record.Result) []Row {
	measures := result.Everywhere()
	rows := make([]Row, 0, len(measures))
	for _, m := range measures {
		rows = append(rows, Row{File: file, Status: string(result.Status), Eye: text(string(result.Laterality)), Measure: text(m.Name), Region: text(m.Region),
			Unit: text(m.Unit), Value: m.Value, Error: m.Error, Reason: text(reasonOf(m)), Model: text(result.Provenance.Model.String()), GridFOVPx: m.GridFOVPx})
	}
	return rows
}

// Failed is the row of a picture that could not be analysed.
func Failed(file, status, reason string) Row {
	return Row{File: file, Status: status, Reason: text(reason)}
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// reasonOf says why a measure has no value, or no error.
func reasonOf(m record.Measure) string {
	switch {
	case m.AbsentReason != nil:
		return m.AbsentReason.Text
	case m.ErrorAbsentReason != nil:
		return m.ErrorAbsentReason.Text
	}
	return ""
}
