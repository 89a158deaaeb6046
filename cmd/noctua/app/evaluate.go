package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/services/segment"
	"github.com/noctua-screening/noctua/services/segment/evaluation"
)

// evaluateCommand compares the model with the labels of a data set, by the code that screens at night.
type evaluateCommand struct {
	engineFlags `embed:""`
	Split       string `help:"Part of the data set: train, test or all." enum:"train,test,all" default:"all"`
	JSON        bool   `help:"Print JSON instead of the table."`
	CSV         string `name:"csv" help:"Write a line a picture to this file." placeholder:"FILE"`
	Figure      string `help:"Where to write the figure (PNG); with --json none is written unless this is given." placeholder:"FILE"`
	Dataset     string `arg:"" help:"Folder of a data set: CHASE_DB1, HRF, DRIVE, or any with images/, manual1/ and, if there is one, fov/."`
}

const defaultFigure = "noctua-evaluation.png"

// Run evaluates, prints the figures and draws them.
func (c *evaluateCommand) Run(inv *invocation) (err error) {
	set, err := evaluation.Find(c.Dataset, evaluation.Split(c.Split))
	if err != nil {
		return err
	}
	engine, err := c.open(inv.ctx, inv.err)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	analyser, err := segment.NewAnalyser(engine, time.Now, codeVersion())
	if err != nil {
		return err
	}
	bar := pictureBar(inv.err, "evaluating", len(set.Items))
	report, err := evaluation.Evaluate(inv.ctx, set, evaluation.Options{
		Segmenter:   evaluation.ForAnalyser(analyser),
		ReadPicture: func(path string) (*raster.RGB, error) { return pixel.ReadPicture(path, pixel.Limits{}) },
		ReadMask:    func(path string) (*raster.Mask, error) { return pixel.ReadMask(path, pixel.Limits{}) },
		Parallel:    engine.Info().ConcurrentRuns,
		Progress:    func(int, int) { _ = bar.Add(1) }, // only a picture
	})
	if err != nil {
		return err
	}
	return c.write(inv, report)
}

// write prints the figures and writes the files that were asked for.
func (c *evaluateCommand) write(inv *invocation, report *evaluation.Report) error {
	if c.CSV != "" {
		if err := writeOutput(c.CSV, func(w io.Writer) error { return evaluation.WriteCSV(w, report) }); err != nil {
			return err
		}
	}
	figure := c.Figure
	if figure == "" && !c.JSON {
		figure = defaultFigure
	}
	if figure != "" {
		if err := writeOutput(figure, func(w io.Writer) error { return evaluation.WriteFigure(w, report) }); err != nil {
			return err
		}
	}
	if c.JSON {
		encoder := json.NewEncoder(inv.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	if err := evaluation.WriteTable(inv.out, report); err != nil {
		return err
	}
	_, err := fmt.Fprintf(inv.out, "\nFigure: %s\n", figure)
	return err
}

// writeOutput writes a file whole or not at all.
func writeOutput(path string, write func(io.Writer) error) error {
	var buffer bytes.Buffer
	if err := write(&buffer); err != nil {
		return err
	}
	if err := os.WriteFile(path, buffer.Bytes(), 0o644); err != nil {
		return fault.Wrap(fault.Invalid, "output-unwritable", err, "%s cannot be written", filepath.Clean(path))
	}
	return nil
}
