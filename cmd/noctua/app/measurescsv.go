package app

import (
	"encoding/csv"
	"fmt"
	"os"
	"strconv"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// writeMeasures writes a table of measures: one row a measure of a file, so that each value stands beside its unit, its error and, where
// there is none, the reason. A file that could not be analysed has one row.
func writeMeasures(path string, outcomes []predicted) error {
	file, err := os.Create(path)
	if err != nil {
		return fault.Wrap(fault.Invalid, "csv-file", err, "the table %s cannot be written: choose another --csv", path)
	}
	table := csv.NewWriter(file)
	rows := [][]string{{"file", "status", "eye", "measure", "region", "unit", "value", "error", "reason", "model", "grid_fov_px"}}
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', -1, 64)
	}
	for _, o := range outcomes {
		if o.Result == nil {
			rows = append(rows, []string{o.File, o.Status, "", "", "", "", "", "", o.Reason, "", ""})
			continue
		}
		model := o.Result.Provenance.Model.String()
		for _, m := range o.Result.Measures {
			rows = append(rows, []string{o.File, o.Status, string(o.Result.Laterality), m.Name, m.Region, m.Unit, number(m.Value), number(m.Error), reasonOf(m), model, number(m.GridFOVPx)})
		}
		for _, r := range o.Result.Regions {
			if r.AbsentReason != nil {
				rows = append(rows, []string{o.File, o.Status, string(o.Result.Laterality), "", r.Name, "", "", "", r.AbsentReason.Text, model, ""})
			}
			for _, m := range r.Measures {
				why := ""
				if m.AbsentReason != nil {
					why = m.AbsentReason.Text
				}
				rows = append(rows, []string{o.File, o.Status, string(o.Result.Laterality), m.Name, r.Name, m.Unit, number(m.Value), "", why, model, ""})
			}
		}
	}
	if err := table.WriteAll(rows); err != nil {
		_ = file.Close() // the first error counts
		return fmt.Errorf("writing the table of measures: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("writing the table of measures: %w", err)
	}
	return nil
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
