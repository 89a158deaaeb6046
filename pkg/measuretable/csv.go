package measuretable

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// header names the columns of a Row.
var header = []string{"file", "status", "eye", "measure", "region", "unit", "value", "error", "reason", "model", "grid_fov_px"}

// WriteCSV writes a header and the rows (RFC 4180, UTF-8). Numbers have as many digits as tell them apart.
func WriteCSV(w io.Writer, rows []Row) error {
	table := csv.NewWriter(w)
	lines := [][]string{header}
	for _, r := range rows {
		lines = append(lines, r.cells())
	}
	if err := table.WriteAll(lines); err != nil {
		return fmt.Errorf("writing the table of measures: %w", err)
	}
	return nil
}

// cells are a row of the CSV.
func (r Row) cells() []string {
	return []string{r.File, r.Status, plain(r.Eye), plain(r.Measure), plain(r.Region), plain(r.Unit), number(r.Value), number(r.Error), plain(r.Reason), plain(r.Model), number(r.GridFOVPx)}
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'g', -1, 64)
}

func plain(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
