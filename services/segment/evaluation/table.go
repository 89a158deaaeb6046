package evaluation

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// WriteTable writes the report for people: a line a picture, then the pooled figures, then the notes.
func WriteTable(w io.Writer, r *Report) error {
	if _, err := fmt.Fprintf(w, "%s (%s, split %s), %d pictures\n\n", r.Dataset, r.Layout, r.Split, r.Images); err != nil {
		return err
	}
	width := len("pooled")
	for _, p := range r.PerImage {
		width = max(width, utf8.RuneCountInString(p.Name))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, m Metrics, fov string) {
		// The tab writer aligns right; the name is padded to stand left. Errors come out at Flush.
		name += strings.Repeat(" ", width-utf8.RuneCountInString(name))
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", name, m.Dice, m.AUC, m.Sensitivity, m.Specificity, m.MCC, fov)
	}
	_, _ = fmt.Fprintf(table, "%s\tDice\tAUC\tsensitivity\tspecificity\tMCC\tFOV Dice\t\n", strings.Repeat(" ", width))
	for _, p := range r.PerImage {
		line(p.Name, p.Metrics, p.FOVDice.String())
	}
	line("pooled", r.Metrics, Undefined().String())
	if err := table.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", r.Protocol); err != nil {
		return err
	}
	for _, note := range r.Notes {
		if _, err := fmt.Fprintf(w, "note: %s\n", note); err != nil {
			return err
		}
	}
	return nil
}

// WriteCSV writes a line a picture; undefined figures are empty, and the last column says why where the segmenter refused.
func WriteCSV(w io.Writer, r *Report) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"name", "split", "dice", "auc", "sensitivity", "specificity", "mcc", "fov_dice", "fov_pixels", "label_density", "density", "refused"}}
	for _, p := range r.PerImage {
		row := []string{p.Name, string(p.Split)}
		for _, s := range []Score{p.Dice, p.AUC, p.Sensitivity, p.Specificity, p.MCC, p.FOVDice} {
			if s.Defined() {
				row = append(row, number(float64(s)))
			} else {
				row = append(row, "")
			}
		}
		rows = append(rows, append(row, strconv.Itoa(p.FOVPixels), number(p.LabelDensity), number(p.Density), p.Refused))
	}
	return c.WriteAll(rows) // flushes
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
