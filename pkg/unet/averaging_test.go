package unet_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/unet"
)

// averagingModel is the tiny model with a manifest that averages views.
func averagingModel(t *testing.T, flips ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, unet.ManifestFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]any
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	manifest["averaging"] = map[string]any{"flips": flips, "cost": len(flips)}
	if raw, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// turned is the independent reference: planes with x, y or both counted from the other end.
func turned(planes []float32, width, height int, horizontal, vertical bool) []float32 {
	out := make([]float32, len(planes))
	for i := range planes {
		plane, y, x := i/(width*height), i/width%height, i%width
		if horizontal {
			x = width - 1 - x
		}
		if vertical {
			y = height - 1 - y
		}
		out[i] = planes[(plane*height+y)*width+x]
	}
	return out
}

func TestFlipsAreAveraged(t *testing.T) {
	t.Parallel()
	const width, height = 96, 64
	in := randomInput(3, width, height)
	single := newSession(t, tiny, unet.Config{})
	want := make([]float64, 2*width*height)
	for _, f := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		view := in
		view.Data = turned(in.Data, width, height, f[0], f[1])
		out, err := single.Segment(t.Context(), view)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range turned(out.Data, width, height, f[0], f[1]) {
			want[i] += float64(v) / 4
		}
	}
	for name, config := range map[string]unet.Config{"single": {}, "batched": {Batch: 4, BatchWait: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t, averagingModel(t, "none", "horizontal", "vertical", "both"), config)
			before := append([]float32{}, in.Data...)
			out, err := s.Segment(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, v := range out.Data {
				worst = math.Max(worst, math.Abs(float64(v)-want[i]))
			}
			if worst > 1e-5 {
				t.Errorf("the average differs by %.2g from the mean of the four views", worst)
			}
			for i, v := range in.Data {
				if v != before[i] {
					t.Fatal("Segment changed its input")
				}
			}
			if g, err := s.VerifyGolden(t.Context()); err != nil || g.Values == 0 {
				t.Errorf("the golden tensors of one run no longer hold: %v", err)
			}
		})
	}
}

func TestFlipAloneIsTurnedBack(t *testing.T) {
	t.Parallel()
	in := randomInput(4, 64, 96)
	out, err := newSession(t, averagingModel(t, "horizontal"), unet.Config{}).Segment(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	view := in
	view.Data = turned(in.Data, 64, 96, true, false)
	plain, err := newSession(t, tiny, unet.Config{}).Segment(t.Context(), view)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range turned(plain.Data, 64, 96, true, false) {
		if math.Abs(float64(v-out.Data[i])) > 1e-6 {
			t.Fatalf("value %d is %v, expected %v", i, out.Data[i], v)
		}
	}
}

func TestUnknownFlipIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := unet.LoadModel(averagingModel(t, "diagonal")); err == nil {
		t.Error("a manifest with an unknown flip was accepted")
	}
}
