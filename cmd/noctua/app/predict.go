package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/measuretable"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/segment"
)

// predictCommand analyses files of this machine without servers.
type predictCommand struct {
	installedModelFlags `embed:""`
	Out                 string   `help:"Folder for mask.png, overlay.jpg, vessels.jpg, segments.csv, result.json and, of DICOM files, seg.dcm and sr.dcm; one folder a picture." required:"" placeholder:"DIR"`
	Explain             bool     `help:"Also draw, in OUT/<picture>/measures, a small picture a measure and region: which pixels it is made of."`
	JSON                bool     `help:"Print JSON: one object a file."`
	CSV                 string   `name:"csv" help:"Also write a table of all measures here, one row a measure." placeholder:"FILE"`
	Parquet             string   `name:"parquet" help:"Also write the same table here as Apache Parquet." placeholder:"FILE"`
	Paths               []string `arg:"" help:"Pictures (JPEG, PNG, TIFF, GIF, BMP, PPM), DICOM files, or folders of them." name:"picture"`
}

// predicted is the JSON of one file.
type predicted struct {
	File   string         `json:"file"`
	Status string         `json:"status"` // measured, ungradable or failed
	Out    string         `json:"out,omitempty"`
	Code   string         `json:"code,omitempty"`
	Reason string         `json:"reason,omitempty"`
	Result *record.Result `json:"result,omitempty"`
}

const statusFailed = "failed"

// Run analyses the files; a bad one is reported and the rest go on.
func (c *predictCommand) Run(inv *invocation) (err error) {
	files, err := segment.PictureFiles(c.Paths)
	if err != nil {
		return err
	}
	engine, err := c.open(inv.ctx, inv.err)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	analyser, err := c.analyser(engine)
	if err != nil {
		return err
	}
	bar := pictureBar(inv.err, "analysing", len(files))
	outcomes := make([]predicted, 0, len(files))
	failed := 0
	err = analyser.Predict(inv.ctx, files, segment.PredictOptions{Out: c.Out, Explain: c.Explain}, func(p segment.Prediction) {
		o := predicted{File: p.Path, Out: p.Dir, Result: p.Result}
		if p.Err != nil {
			failed++
			o.Status, o.Code, o.Reason = statusFailed, fault.CodeOf(p.Err), fault.SentenceOf(p.Err)
		} else {
			o.Status = string(p.Result.Status)
		}
		outcomes = append(outcomes, o)
		_ = bar.Add(1) // only a picture
	})
	if err != nil {
		return err
	}
	rows := measureRows(outcomes)
	if c.CSV != "" {
		if err := writeTable("csv", c.CSV, func(w io.Writer) error { return measuretable.WriteCSV(w, rows) }); err != nil {
			return err
		}
	}
	if c.Parquet != "" {
		if err := writeTable("parquet", c.Parquet, func(w io.Writer) error { return writeParquet(w, rows) }); err != nil {
			return err
		}
	}
	if c.JSON {
		encoder := json.NewEncoder(inv.out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(outcomes)
	} else {
		_, err = fmt.Fprint(inv.out, predictedText(outcomes))
	}
	if err == nil && failed > 0 {
		err = fault.New(fault.Invalid, "files-failed", "%d of %d file(s) could not be analysed; see above", failed, len(files))
	}
	return err
}

// predictedText shows one line a file.
func predictedText(outcomes []predicted) string {
	var b strings.Builder
	for _, o := range outcomes {
		fmt.Fprintf(&b, "%s: %s", o.File, o.Status)
		switch {
		case o.Status == statusFailed:
			fmt.Fprintf(&b, ", %s [%s]", o.Reason, o.Code)
		case o.Result != nil:
			for _, m := range o.Result.Measures {
				if m.Value != nil {
					fmt.Fprintf(&b, ", %s %.4g", m.Name, *m.Value)
				}
			}
			for _, w := range o.Result.Warnings {
				fmt.Fprintf(&b, ", %s", w.Code)
			}
			fmt.Fprintf(&b, " → %s", o.Out)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
