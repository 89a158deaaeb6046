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

// WriteTable writes the report for people: a line a picture, then the pooled figures, the summary and the notes.
func WriteTable(w io.Writer, r *Report) error {
	if _, err := fmt.Fprintf(w, "%s (%s, split %s), %d pictures, model %s\n\n", r.Dataset, r.Layout, r.Split, r.Images, r.Model.Label()); err != nil {
		return err
	}
	width := len("pooled")
	for _, p := range r.PerImage {
		width = max(width, utf8.RuneCountInString(p.Name))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	// The tab writer aligns right; the name is padded to stand left. Errors come out at Flush.
	remarks := len(r.Summary.Ungradable)+len(r.Summary.Refused) > 0
	line := func(name string, cells ...string) {
		if !remarks {
			cells = cells[:len(cells)-1] // no empty column at the end
		}
		name += strings.Repeat(" ", width-utf8.RuneCountInString(name))
		_, _ = fmt.Fprintf(table, "%s\t%s\t\n", name, strings.Join(cells, "\t"))
	}
	metrics := func(m Metrics, centre Score) []string {
		return []string{m.Dice.String(), m.AUC.String(), centre.String(), m.Sensitivity.String(), m.Specificity.String(), m.MCC.String()}
	}
	line("", "Dice", "AUC", "clDice", "sensitivity", "specificity", "MCC", "FOV Dice", "density", "label's", "error", "")
	for _, p := range r.PerImage {
		line(p.Name, append(metrics(p.Metrics, p.ClDice), p.FOVDice.String(), Score(p.Density).String(), Score(p.LabelDensity).String(), p.DensityError.signed(), remark(p))...)
	}
	none := Undefined().String()
	line("pooled", append(metrics(r.Metrics, Undefined()), none, none, none, none, "")...)
	if err := table.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s\n\n%s\n", strings.Join(summaryLines(r), "\n"), r.Protocol); err != nil {
		return err
	}
	for _, note := range r.Notes {
		if _, err := fmt.Fprintf(w, "note: %s\n", note); err != nil {
			return err
		}
	}
	return nil
}

func remark(p Picture) string {
	switch {
	case p.Refused != "":
		return "refused"
	case p.Ungradable != "":
		return "ungradable"
	}
	return ""
}

// signed is String with a plus sign before what is not negative.
func (s Score) signed() string {
	if s >= 0 {
		return "+" + s.String()
	}
	return s.String()
}

// summaryLines are the figures of the summary for people.
func summaryLines(r *Report) []string {
	s := r.Summary
	lines := []string{
		fmt.Sprintf("by picture: mean Dice %s, median %s, worst %s (%s), mean clDice %s", s.MeanDice, s.MedianDice, s.Worst.Dice, s.Worst.Name, s.MeanClDice),
		fmt.Sprintf("density of the mask: bias %s, mean absolute error %s, RMSE %s (%d pictures)", s.Density.Bias.signed(), s.Density.MAE, s.Density.RMSE, s.Density.Pictures),
		fmt.Sprintf("density as stated: bias %s, mean absolute error %s, RMSE %s (%d pictures)", s.Stated.Bias.signed(), s.Stated.MAE, s.Stated.RMSE, s.Stated.Pictures),
	}
	if s.Coverage.Pictures > 0 {
		lines = append(lines, fmt.Sprintf("90 %% interval holds the label's density in %d of %d pictures (%.1f %%), half width %s",
			s.Coverage.Holding, s.Coverage.Pictures, 100*float64(s.Coverage.Share), s.Coverage.MeanHalfWidth))
	} else {
		lines = append(lines, "stated 90 % interval: – (the results state none)")
	}
	lines = append(lines,
		fmt.Sprintf("calibration: ECE %s, MCE %s, mean probability %s, observed %s", r.Calibration.ECE, r.Calibration.MCE, r.Calibration.MeanPredicted, r.Calibration.Observed),
		fmt.Sprintf("threshold: %.2f would give Dice %s; not to be used for choosing", r.Sweep.Best.Threshold, r.Sweep.Best.Dice),
		"ungradable: "+counted(s.Ungradable), "refused: "+counted(s.Refused))
	if s.NetworkSeconds.Defined() {
		lines = append(lines, fmt.Sprintf("network: %.2f s a picture", float64(s.NetworkSeconds)))
	}
	return lines
}

// maxNames of pictures are written out in a line.
const maxNames = 6

func counted(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "0"
	case n > maxNames:
		return fmt.Sprintf("%d (%s, …)", n, strings.Join(names[:maxNames], ", "))
	default:
		return fmt.Sprintf("%d (%s)", n, strings.Join(names, ", "))
	}
}

// WriteCSV writes a line a picture of all reports; undefined figures are empty, and the last columns say why where the segmenter
// refused a picture or called it ungradable.
func WriteCSV(w io.Writer, reports ...*Report) error {
	c := csv.NewWriter(w)
	rows := [][]string{{
		"dataset", "model", "name", "split", "dice", "auc", "sensitivity", "specificity", "mcc", "cldice", "fov_dice", "density_error",
		"stated_density", "stated_low", "stated_high", "interval_holds", "fov_pixels", "label_density", "density", "network_seconds", "ungradable", "refused",
	}}
	for _, r := range reports {
		for _, p := range r.PerImage {
			row := []string{r.Dataset, r.Model.Label(), p.Name, string(p.Split)}
			for _, s := range []Score{p.Dice, p.AUC, p.Sensitivity, p.Specificity, p.MCC, p.ClDice, p.FOVDice, p.DensityError, p.StatedDensity, p.StatedLow, p.StatedHigh} {
				if s.Defined() {
					row = append(row, number(float64(s)))
				} else {
					row = append(row, "")
				}
			}
			holds := ""
			if p.IntervalHolds != nil {
				holds = strconv.FormatBool(*p.IntervalHolds)
			}
			rows = append(rows, append(row, holds, strconv.Itoa(p.FOVPixels), number(p.LabelDensity), number(p.Density), number(p.NetworkSeconds), p.Ungradable, p.Refused))
		}
	}
	return c.WriteAll(rows) // flushes
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// WriteComparison writes several reports of one data set side by side, a line a model, and how sure the differences are.
func WriteComparison(w io.Writer, reports []*Report) error {
	if len(reports) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(w, "%s (%s, split %s), %d pictures: models compared\n\n", reports[0].Dataset, reports[0].Layout, reports[0].Split, reports[0].Images); err != nil {
		return err
	}
	width := 0
	for _, r := range reports {
		width = max(width, utf8.RuneCountInString(r.Model.Label()))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(table, "%s\tDice\tAUC\tclDice\tworst\tdensity bias\tMAE\tECE\tinterval holds\tnetwork s\tMB\tΔ Dice\t95 %% interval\t\n", strings.Repeat(" ", width))
	for _, r := range reports {
		s, none := r.Summary, Undefined().String()
		holds, seconds, difference, interval := none, none, none, none
		if s.Coverage.Pictures > 0 {
			holds = fmt.Sprintf("%d/%d", s.Coverage.Holding, s.Coverage.Pictures)
		}
		if s.NetworkSeconds.Defined() {
			seconds = fmt.Sprintf("%.2f", float64(s.NetworkSeconds))
		}
		if d := r.Difference; d != nil {
			difference, interval = d.Mean.signed(), fmt.Sprintf("%s … %s", d.Low.signed(), d.High.signed())
		}
		label := r.Model.Label()
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%s\t%s\t\n", label+strings.Repeat(" ", width-utf8.RuneCountInString(label)),
			r.Dice, r.AUC, s.MeanClDice, s.Worst.Dice, s.Density.Bias.signed(), s.Density.MAE, r.Calibration.ECE, holds, seconds, float64(r.Model.Bytes)/1e6, difference, interval)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if d := reports[len(reports)-1].Difference; d != nil {
		_, err := fmt.Fprintf(w, "\nΔ Dice: mean difference of the pictures' Dice from %s, with a paired bootstrap of %d resamples of the pictures.\n"+
			"An interval that holds 0 does not tell which model is better.\n", d.Against, d.Resamples)
		return err
	}
	return nil
}
