package app

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/noctua-screening/noctua/pkg/measuretable"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// labelledFolder draws phantoms with their labels: images/, manual1/ and fov/.
func labelledFolder(t *testing.T, pictures int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "set")
	save := func(path string, img image.Image) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, img); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	grey := func(m *raster.Mask) image.Image {
		return &image.Gray{Pix: m.Pix, Stride: m.Width, Rect: image.Rect(0, 0, m.Width, m.Height)}
	}
	for i := range pictures {
		p, err := phantom.Draw(phantom.Options{Seed: uint64(i + 1), Width: 300, Height: 280})
		if err != nil {
			t.Fatal(err)
		}
		photo := image.NewNRGBA(image.Rect(0, 0, p.Picture.Width, p.Picture.Height))
		for y := range p.Picture.Height {
			for x := range p.Picture.Width {
				r, g, b := p.Picture.At(x, y)
				photo.SetNRGBA(x, y, color.NRGBA{R: r, G: g, B: b, A: 255})
			}
		}
		name := fmt.Sprintf("eye%d.png", i+1)
		save("images/"+name, photo)
		save("manual1/"+name, grey(p.Vessels))
		save("fov/"+name, grey(p.FOV))
	}
	return dir
}

// outline is what a test looks at in a report.
type outline struct {
	Images int
	Model  struct {
		Name, Version string
		Bytes         int64
	}
	Summary struct {
		Ungradable []string
		Density    struct{ Pictures int }
	}
	Difference *struct {
		Against   string
		Low, High *float64
	}
	Calibration struct {
		Bins []struct{ Pixels int }
	}
	Sweep    struct{ Points []struct{ Threshold float64 } }
	PerImage []struct {
		Name   string
		ClDice *float64
	} `json:"per_image"`
}

func TestEvaluateComparesModels(t *testing.T) {
	t.Parallel()
	needRuntime(t)
	set, out := labelledFolder(t, 3), t.TempDir()
	data := filepath.Join(out, "data")
	want(t, exitOK, "model", "install", tinyModel(t, `"threshold": 0.5`, `"threshold": 0.05`, `"version": "1"`, `"version": "low"`), "--data", data)
	args := []string{"evaluate", set, "--data", data, "--csv", filepath.Join(out, "all.csv"), "--figure", filepath.Join(out, "figure.png"), "--overlays", filepath.Join(out, "overlays")}
	text, errs := want(t, exitOK, append(args, "--model", tinyModel(t), "--model", "tiny@low")...)
	contains(t, text, "models compared", "tiny 1 (71f147c2)", "tiny low (71f147c2)", "2000 resamples", "eye3")
	contains(t, errs, "noctua: model tiny low", filepath.Join("models", "tiny", "low"))
	figures, err := filepath.Glob(filepath.Join(out, "figure*.png"))
	if err != nil || len(figures) != 2 {
		t.Errorf("figures %q (%v), want one a model", figures, err)
	}
	if !slices.Equal(figures, []string{filepath.Join(out, "figure-tiny-1.png"), filepath.Join(out, "figure-tiny-low.png")}) {
		t.Errorf("figures %q", figures)
	}
	drawn, err := filepath.Glob(filepath.Join(out, "overlays", "*", "eye*.png"))
	if err != nil || len(drawn) != 6 {
		t.Errorf("overlays %q (%v), want three a model", drawn, err)
	}
	f, err := os.Open(filepath.Join(out, "all.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if rows, err := csv.NewReader(f).ReadAll(); err != nil || len(rows) != 7 {
		t.Errorf("%d rows of CSV (%v), want a head and three a model", len(rows), err)
	}
}

// TestEvaluateJSON: one object for one report, an array for several.
func TestEvaluateJSON(t *testing.T) {
	t.Parallel()
	needRuntime(t)
	set, other, model := labelledFolder(t, 2), labelledFolder(t, 1), tinyModel(t)
	data := filepath.Join(t.TempDir(), "data")
	text, _ := want(t, exitOK, "evaluate", set, "--json", "--model", model, "--data", data)
	var one outline
	if err := json.Unmarshal([]byte(text), &one); err != nil {
		t.Fatal(err)
	}
	if one.Images != 2 || one.Model.Name != "tiny" || one.Model.Bytes == 0 || len(one.Calibration.Bins) != 15 || len(one.Sweep.Points) != 19 || one.Difference != nil || one.PerImage[0].ClDice == nil {
		t.Errorf("report %+v", one)
	}
	// The tiny network marks far more than vessels: what a clinic would not be told is scored all the same.
	if !slices.Equal(one.Summary.Ungradable, []string{"eye1", "eye2"}) || one.Summary.Density.Pictures != 2 {
		t.Errorf("ungradable %q, densities of %d", one.Summary.Ungradable, one.Summary.Density.Pictures)
	}
	text, _ = want(t, exitOK, "evaluate", set, other, "--json", "--model", model, "--model", model, "--data", data)
	var several []outline
	if err := json.Unmarshal([]byte(text), &several); err != nil {
		t.Fatal(err)
	}
	if len(several) != 4 || several[0].Images != 2 || several[3].Images != 1 || several[0].Difference != nil || several[1].Difference == nil {
		t.Fatalf("%d reports %+v, want two models of two sets", len(several), several)
	}
	if d := several[1].Difference; d.Low == nil || *d.Low != 0 || *d.High != 0 {
		t.Errorf("a model differs from itself: %+v", d)
	}
}

func TestFilesOfReportsAreApart(t *testing.T) {
	t.Parallel()
	var taken []string
	for _, name := range []string{"set", "set", "a/../b", "..", "set"} {
		taken = append(taken, apart(name, taken))
	}
	if want := []string{"set", "set-2", "a_.._b", "set-3", "set-4"}; !slices.Equal(taken, want) {
		t.Errorf("names %q, want %q", taken, want)
	}
}

// TestEvaluateOfNothingFails: no figure is printed where no picture was compared.
func TestEvaluateOfNothingFails(t *testing.T) {
	t.Parallel()
	empty := func(files ...string) string {
		dir := t.TempDir()
		for _, f := range files {
			path := filepath.Join(dir, filepath.FromSlash(f))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, tc := range map[string]struct {
		args []string
		code string
	}{
		"an empty folder":              {[]string{empty()}, "dataset-unknown"},
		"no folder":                    {[]string{filepath.Join(t.TempDir(), "nowhere")}, "dataset-missing"},
		"pictures without labels":      {[]string{empty("images/a.png")}, "dataset-empty"},
		"labels of other pictures":     {[]string{empty("images/a.png", "manual1/b.png")}, "dataset-empty"},
		"no picture of the split":      {[]string{empty("images/Image_01L.jpg", "manual1/Image_01L_1stHO.png"), "--split", "test"}, "dataset-empty"},
		"a split that it has not":      {[]string{empty("images/a.png", "manual1/a.png"), "--split", "test"}, "split-unknown"},
		"DRIVE without its labels":     {[]string{empty("test/images/01_test.tif", "test/mask/01_test_mask.gif"), "--split", "test"}, "dataset-empty"},
		"the second set is empty":      {[]string{empty("images/a.png", "manual1/a.png"), empty("images/a.png")}, "dataset-empty"},
		"a model that is not there":    {[]string{empty("images/a.png", "manual1/a.png"), "--model", "nothing"}, "model-unknown"},
		"a model folder without model": {[]string{empty("images/a.png", "manual1/a.png"), "--model", t.TempDir()}, "model-missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.code == "model-missing" {
				needRuntime(t)
			}
			args := append([]string{"evaluate", "--data", filepath.Join(t.TempDir(), "data"), "--figure", filepath.Join(t.TempDir(), "f.png")}, tc.args...)
			out, errs := want(t, exitInput, args...)
			contains(t, errs, "["+tc.code+"]")
			if strings.TrimSpace(out) != "" {
				t.Errorf("printed %s", out)
			}
		})
	}
	want(t, exitUsage, "evaluate")
	want(t, exitUsage, "evaluate", t.TempDir(), "--split", "validation")
}

// TestPredictUsesTheDefault: the model that was chosen for a data folder is the one that runs, and is named.
func TestPredictUsesTheDefault(t *testing.T) {
	t.Parallel()
	needRuntime(t)
	set, out := labelledFolder(t, 1), t.TempDir()
	data := filepath.Join(out, "data")
	want(t, exitOK, "model", "install", tinyModel(t), "--data", data, "--use")
	table, columns := filepath.Join(out, "measures.csv"), filepath.Join(out, "measures.parquet")
	text, errs := want(t, exitOK, "predict", filepath.Join(set, "images", "eye1.png"), "--out", out, "--data", data, "--json", "--csv", table, "--parquet", columns)
	rows := readTable(t, table)
	if len(rows) != 1+len(vessel.Definitions()) || len(rows[1]) != len(rows[0]) {
		t.Fatalf("the table has %d rows: %v", len(rows), rows)
	}
	for i, d := range vessel.Definitions() {
		row := rows[i+1]
		if value, reason := row[6], row[8]; row[3] != d.Name || (value == "") == (reason == "") && row[7] == "" {
			t.Errorf("row %v of %s: want a value with an error or a reason, or a reason alone", row, d.Name)
		}
	}
	typed, err := parquet.ReadFile[measuretable.Row](columns)
	if err != nil || len(typed) != len(rows)-1 {
		t.Fatalf("the Parquet table has %d rows, the CSV %d: %v", len(typed), len(rows)-1, err)
	}
	for i, r := range typed {
		if *r.Measure != rows[i+1][3] || (r.Value == nil) != (rows[i+1][6] == "") {
			t.Errorf("row %d: Parquet %+v, CSV %v", i, r, rows[i+1])
		}
	}
	contains(t, errs, "noctua: model tiny 1 (SHA-256 71f147c2306c)", "the default of the data folder")
	contains(t, text, `"name": "tiny"`)
}

func readTable(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
