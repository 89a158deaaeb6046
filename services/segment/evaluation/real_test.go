package evaluation_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/services/segment"
	"github.com/noctua-screening/noctua/services/segment/evaluation"
	"github.com/noctua-screening/noctua/test/shared"
)

// Bars on pictures that the model was not trained on: what the shipped model keeps with a little room (docs/accuracy.md).
const (
	minCHASEDice      = .81
	minCHASEClDice    = .83
	maxCHASEECE       = .03
	maxDensityMAE     = .012
	maxStatedApart    = .015 // density on the canvas, as stated, and on the photograph's own pixels
	minIntervalsHeld  = 5    // of 8: fewer would come by chance once in 200 times if intervals held 90 %
	maxSweepAdvantage = .02  // of Dice at the best threshold over the model's own
)

// TestShippedModelOnCHASE evaluates the shipped model as `noctua evaluate` does: own field of view, own threshold. Set
// NOCTUA_EVALUATION_OUT to a folder to keep table, CSV and figure, and NOCTUA_EVALUATION_SET to evaluate another set than
// CHASE_DB1 (then NOCTUA_EVALUATION_SPLIT is train, test or all).
func TestShippedModelOnCHASE(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, NOT RUN: takes some seconds (-short)")
	}
	set := shared.Dir(t, "data", "CHASE_DB1")
	other := os.Getenv("NOCTUA_EVALUATION_SET")
	if other != "" {
		set = other
	}
	segmenter := shippedSegmenter(t)
	split := evaluation.Test
	if other != "" {
		split = evaluation.Split(os.Getenv("NOCTUA_EVALUATION_SPLIT"))
	}
	data, err := evaluation.Find(set, split)
	if err != nil {
		t.Fatal(err)
	}
	report, err := evaluation.Evaluate(context.Background(), data, evaluation.Options{
		Segmenter:   segmenter,
		ReadPicture: func(path string) (*raster.RGB, error) { return pixel.ReadPicture(path, pixel.Limits{}) },
		ReadMask:    func(path string) (*raster.Mask, error) { return pixel.ReadMask(path, pixel.Limits{}) },
		Parallel:    2,
	})
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := evaluation.WriteTable(&table, report); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	t.Logf("AUC error bound %.2g", report.AUCError)
	if report.AUCError > 1e-5 {
		t.Errorf("the bins cost up to %.2g of AUC", report.AUCError)
	}
	if other == "" && (report.Images != 8 || float64(report.Dice) < minCHASEDice) {
		t.Errorf("%d pictures with Dice %s, want 8 with at least %.2f", report.Images, report.Dice, minCHASEDice)
	}
	if other == "" {
		checkCHASE(t, report)
	}
	for _, p := range report.PerImage {
		if float64(p.FOVDice) < .98 {
			t.Errorf("%s: the field of view found has Dice %s with the data set's", p.Name, p.FOVDice)
		}
	}
	if out := os.Getenv("NOCTUA_EVALUATION_OUT"); out != "" {
		keep(t, out, report, table.Bytes())
	}
}

// checkCHASE holds the figures beside Dice to their bars, and to each other.
func checkCHASE(t *testing.T, r *evaluation.Report) {
	t.Helper()
	s := r.Summary
	if float64(s.MeanClDice) < minCHASEClDice || float64(r.Calibration.ECE) > maxCHASEECE || float64(s.Density.MAE) > maxDensityMAE || float64(s.Stated.MAE) > maxDensityMAE {
		t.Errorf("clDice %s, ECE %s, densities %+v and %+v", s.MeanClDice, r.Calibration.ECE, s.Density, s.Stated)
	}
	if len(s.Refused) > 0 || s.Stated.Pictures != r.Images-len(s.Ungradable) || s.Density.Pictures != r.Images {
		t.Errorf("refused %q, ungradable %q, densities of %d, stated of %d", s.Refused, s.Ungradable, s.Density.Pictures, s.Stated.Pictures)
	}
	if n := s.Coverage.Pictures; n == r.Images && s.Coverage.Holding < minIntervalsHeld {
		t.Errorf("the stated 90 %% interval holds the label's density in %d of %d pictures", s.Coverage.Holding, n)
	}
	if gain := float64(r.Sweep.Best.Dice - r.Dice); gain > maxSweepAdvantage || gain < -.002 { // steps of .05 may miss the best
		t.Errorf("another threshold, %.2f, would give Dice %s instead of %s", r.Sweep.Best.Threshold, r.Sweep.Best.Dice, r.Dice)
	}
	var pixels uint64
	for _, b := range r.Calibration.Bins {
		pixels += b.Pixels
	}
	inFOV := 0
	for _, p := range r.PerImage {
		inFOV += p.FOVPixels
		if d := float64(p.StatedDensity) - p.Density; p.Ungradable == "" && !(d < maxStatedApart && d > -maxStatedApart) {
			t.Errorf("%s: the result states a density of %s, its mask has %.4f", p.Name, p.StatedDensity, p.Density)
		}
		if !(p.ClDice > 0 && p.ClDice < 1) || p.NetworkSeconds <= 0 {
			t.Errorf("%s: clDice %s, %g s in the network", p.Name, p.ClDice, p.NetworkSeconds)
		}
	}
	if pixels != uint64(inFOV) || pixels != r.Calibration.Pixels {
		t.Errorf("%d pixels in the bins, %d in the fields of view", pixels, inFOV)
	}
}

// shippedSegmenter is the chain that screens at night with the shipped model.
func shippedSegmenter(t *testing.T) evaluation.Segmenter {
	t.Helper()
	return segmenterOf(t, filepath.Join(shared.Root(t), "models", "noctua-vessel-2"))
}

// segmenterOf is the chain that screens at night with the model of a folder.
func segmenterOf(t *testing.T, dir string) evaluation.Segmenter {
	t.Helper()
	if _, err := unet.LocateLibrary("", os.Getenv); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, NOT RUN: %v", err)
	}
	engine, err := segment.OpenEngine(t.Context(), segment.EngineConfig{ModelDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	analyser, err := segment.NewAnalyser(engine, time.Now, "test")
	if err != nil {
		t.Fatal(err)
	}
	return evaluation.ForAnalyser(analyser)
}

func keep(t *testing.T, dir string, report *evaluation.Report, table []byte) {
	t.Helper()
	var csv, figure bytes.Buffer
	if err := evaluation.WriteCSV(&csv, report); err != nil {
		t.Fatal(err)
	}
	if err := evaluation.WriteFigure(&figure, report); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"table.txt": table, "pictures.csv": csv.Bytes(), "figure.png": figure.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
