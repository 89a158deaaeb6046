package measuretable

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// WriteCSV writes a header and the rows (RFC 4180, UTF-8). Numbers have as many digits as tell them apart.
func WriteCSV(w io.Writer, rows []Row) error {
	table := csv.NewWriter(w)
	lines := [][]string{{"file", "status", "eye", "measure", "region", "unit", "value", "error", "reason", "model", "grid_fov_px"}}
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', -1, 64)
	}
	plain := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	for _, r := range rows {
		lines = append(lines, []string{r.File, r.Status, plain(r.Eye), plain(r.Measure), plain(r.Region), plain(r.Unit), number(r.Value), number(r.Error),
			plain(r.Reason), plain(r.Model), number(r.GridFOVPx)})
	}
	if err := table.WriteAll(lines); err != nil {
		return fmt.Errorf("writing the table of measures: %w", err)
	}
	return nil
}
