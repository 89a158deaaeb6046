package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/services/segment/evaluation"
)

// evaluateCommand compares models with the labels of data sets, by the code that screens at night.
type evaluateCommand struct {
	runtimeFlags `embed:""`
	Model        []string `help:"Model: a folder, the name of an installed model, or shipped. Give it again to compare several." env:"NOCTUA_MODEL" sep:"none" placeholder:"MODEL"`
	Data         string   `help:"Data folder with the installed models." default:"./noctua-data" env:"NOCTUA_DATA" placeholder:"DIR"`
	Split        string   `help:"Part of the data set: train, test or all." enum:"train,test,all" default:"all"`
	JSON         bool     `help:"Print JSON instead of the table: an object, or an array of several data sets or models."`
	CSV          string   `name:"csv" help:"Write a line a picture to this file." placeholder:"FILE"`
	Figure       string   `help:"Where to write the figure (PNG); with --json none is written unless this is given." placeholder:"FILE"`
	NoPictures   bool     `help:"Draw the figure without photographs, for where those of a data set may not go."`
	Overlays     string   `help:"Write a PNG a picture into this folder: hits, misses and false vessels on the photograph." placeholder:"DIR"`
	Datasets     []string `arg:"" name:"dataset" help:"Folder of a data set: CHASE_DB1, HRF, DRIVE, FIVES, or any with images/, manual1/ and, if there is one, fov/."`
}

const defaultFigure = "noctua-evaluation.png"

// Run evaluates, prints the figures and draws them.
func (c *evaluateCommand) Run(inv *invocation) error {
	sets := make([]*evaluation.Dataset, len(c.Datasets))
	for i, dir := range c.Datasets {
		set, err := evaluation.Find(dir, evaluation.Split(c.Split))
		if err != nil {
			return err
		}
		sets[i] = set
	}
	models, err := chooseModels(c.Data, c.Model)
	if err != nil {
		return err
	}
	results := newResults(sets, len(models))
	for _, m := range models {
		if err := c.evaluateModel(inv, m, sets, results); err != nil {
			return err
		}
	}
	for _, ofSet := range results.reports {
		evaluation.Compare(ofSet)
	}
	return c.write(inv, results)
}

// results are the reports by data set, then by model: what is compared stands together.
type results struct {
	reports      [][]*evaluation.Report
	sets, models []string // what names their files
	several      [2]bool  // sets, models
}

func newResults(sets []*evaluation.Dataset, models int) *results {
	r := &results{reports: make([][]*evaluation.Report, len(sets)), several: [2]bool{len(sets) > 1, models > 1}}
	for _, s := range sets {
		r.sets = append(r.sets, apart(filepath.Base(filepath.Clean(s.Dir)), r.sets))
	}
	return r
}

// notInFileNames are characters that a version may have, and a file's name had better not.
var notInFileNames = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)

// apart makes a name for files that is not among taken.
func apart(name string, taken []string) string {
	name = strings.Trim(notInFileNames.ReplaceAllString(name, "_"), ".")
	if name == "" {
		name = "set"
	}
	free := name
	for n := 2; slices.Contains(taken, free); n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

// part names what belongs to one report where there are several: its data set, its model, or both; "" where there is one.
func (r *results) part(set, model int) string {
	var parts []string
	if r.several[0] {
		parts = append(parts, r.sets[set])
	}
	if r.several[1] {
		parts = append(parts, r.models[model])
	}
	return strings.Join(parts, "-")
}

// evaluateModel adds a report of each data set. The model is in memory only as long.
func (c *evaluateCommand) evaluateModel(inv *invocation, m chosenModel, sets []*evaluation.Dataset, results *results) (err error) {
	engine, err := c.open(inv.ctx, inv.err, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	analyser, err := c.analyser(engine)
	if err != nil {
		return err
	}
	manifest := engine.Model().Manifest
	name := evaluation.Model{Name: manifest.Name, Version: manifest.Version, SHA256: manifest.Sha256, Threshold: manifest.Threshold, Bytes: engine.Model().Bytes()}
	results.models = append(results.models, apart(manifest.Name+"-"+manifest.Version, results.models))
	for i, set := range sets {
		bar := pictureBar(inv.err, "evaluating "+filepath.Base(set.Dir)+" with "+manifest.Name, len(set.Items))
		options := evaluation.Options{
			Segmenter:   evaluation.ForAnalyser(analyser),
			ReadPicture: func(path string) (*raster.RGB, error) { return pixel.ReadPicture(path, pixel.Limits{}) },
			ReadMask:    func(path string) (*raster.Mask, error) { return pixel.ReadMask(path, pixel.Limits{}) },
			Model:       name,
			Parallel:    engine.Info().ConcurrentRuns,
			Progress:    func(int, int) { _ = bar.Add(1) }, // only a picture
			Sheet:       !c.NoPictures && (c.Figure != "" || !c.JSON),
		}
		if c.Overlays != "" {
			dir := filepath.Join(c.Overlays, results.part(i, len(results.models)-1))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fault.Wrap(fault.Invalid, "output-unwritable", err, "%s cannot be made", dir)
			}
			options.Overlay = func(p evaluation.Picture, overlay image.Image) error {
				return writeOutput(filepath.Join(dir, p.Name+".png"), func(w io.Writer) error { return png.Encode(w, overlay) })
			}
		}
		report, err := evaluation.Evaluate(inv.ctx, set, options)
		if err != nil {
			return err
		}
		results.reports[i] = append(results.reports[i], report)
	}
	return nil
}

// write prints the figures and writes the files that were asked for.
func (c *evaluateCommand) write(inv *invocation, results *results) error {
	all := slices.Concat(results.reports...)
	if c.CSV != "" {
		if err := writeOutput(c.CSV, func(w io.Writer) error { return evaluation.WriteCSV(w, all...) }); err != nil {
			return err
		}
	}
	figure := c.Figure
	if figure == "" && !c.JSON {
		figure = defaultFigure
	}
	var figures []string
	if figure != "" {
		var err error
		if figures, err = results.draw(figure); err != nil {
			return err
		}
	}
	if c.JSON {
		encoder := json.NewEncoder(inv.out)
		encoder.SetIndent("", "  ")
		if len(all) == 1 {
			return encoder.Encode(all[0])
		}
		return encoder.Encode(all)
	}
	for _, ofSet := range results.reports {
		for _, r := range ofSet {
			if err := evaluation.WriteTable(inv.out, r); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(inv.out); err != nil {
				return err
			}
		}
		if len(ofSet) < 2 {
			continue
		}
		if err := evaluation.WriteComparison(inv.out, ofSet); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(inv.out); err != nil {
			return err
		}
	}
	if c.Overlays != "" {
		figures = append(figures, c.Overlays)
	}
	_, err := fmt.Fprintf(inv.out, "Figures: %s\n", strings.Join(figures, ", "))
	return err
}

// draw writes the figure of each report, and returns their paths.
func (r *results) draw(path string) ([]string, error) {
	var drawn []string
	extension := filepath.Ext(path)
	for i, ofSet := range r.reports {
		for j, report := range ofSet {
			to := path
			if part := r.part(i, j); part != "" {
				to = strings.TrimSuffix(path, extension) + "-" + part + extension
			}
			if err := writeOutput(to, func(w io.Writer) error { return evaluation.WriteFigure(w, report) }); err != nil {
				return nil, err
			}
			drawn = append(drawn, to)
		}
	}
	return drawn, nil
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
