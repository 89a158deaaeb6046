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

// The bar of the first build, on pictures that the model was not trained on.
const minCHASEDice = .77

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
	for _, p := range report.PerImage {
		if float64(p.FOVDice) < .98 {
			t.Errorf("%s: the field of view found has Dice %s with the data set's", p.Name, p.FOVDice)
		}
	}
	if out := os.Getenv("NOCTUA_EVALUATION_OUT"); out != "" {
		keep(t, out, report, table.Bytes())
	}
}

// shippedSegmenter is the chain that screens at night with the shipped model.
func shippedSegmenter(t *testing.T) evaluation.Segmenter {
	t.Helper()
	if _, err := unet.LocateLibrary("", os.Getenv); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, NOT RUN: %v", err)
	}
	engine, err := segment.OpenEngine(t.Context(), segment.EngineConfig{ModelDir: filepath.Join(shared.Root(t), "models", "noctua-vessel-1")})
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
