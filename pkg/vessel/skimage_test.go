package vessel

import (
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/phantom"
)

// treeOn is a drawn tree on a grid of 1024², with its field of view.
func treeOn(t testing.TB, seed uint64, fovDeg float64) *phantom.Photograph {
	t.Helper()
	p, err := phantom.Draw(phantom.Options{Seed: seed, Width: 1024, Height: 1024, FOVDeg: fovDeg})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// BenchmarkBesideSkimage takes all measures of drawn trees on 1024², and lets scikit-image do nothing but thin the same masks, one after
// the other. Its figures are means over the masks of the fastest of some runs, which a busy machine disturbs least: skeletonize-ms, measures-ms, and
// their ratio.
func BenchmarkBesideSkimage(b *testing.B) {
	python := os.Getenv("PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import skimage").CombinedOutput(); err != nil {
		// go test keeps quiet about benchmarks that are skipped.
		fmt.Fprintf(os.Stderr, "BenchmarkBesideSkimage: SKIPPED, NOT COMPARED: %s has no scikit-image (%v); pip install scikit-image, and name the interpreter by PYTHON\n%s", python, err, out)
		b.SkipNow()
	}
	const masks, rounds = 4, 15
	dir := b.TempDir()
	var theirs, ours float64 // ms
	version := ""
	for i := range masks {
		p := treeOn(b, uint64(70+i), []float64{45, 30}[i%2])
		path := filepath.Join(dir, fmt.Sprintf("%d.png", i))
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := png.Encode(f, &image.Gray{Pix: p.Vessels.Pix, Stride: p.Vessels.Width, Rect: image.Rect(0, 0, p.Vessels.Width, p.Vessels.Height)}); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		out, err := exec.Command(python, filepath.Join("testdata", "skeletonize.py"), fmt.Sprint(rounds), path).Output()
		if err != nil {
			b.Fatal(err)
		}
		var said struct {
			Version string
			Ms      []float64
		}
		if err := json.Unmarshal(out, &said); err != nil {
			b.Fatal(err)
		}
		version = said.Version
		theirs += said.Ms[0] / masks
		var times []float64
		for range rounds {
			start := time.Now()
			measure(b, p.Vessels, p.FOV, 2*p.Radius)
			times = append(times, float64(time.Since(start))/float64(time.Millisecond))
		}
		ours += slices.Min(times) / masks
	}
	b.Logf("scikit-image %s", version)
	p := treeOn(b, 70, 45)
	b.ReportAllocs()
	for b.Loop() {
		measure(b, p.Vessels, p.FOV, 2*p.Radius)
	}
	b.ReportMetric(theirs, "skeletonize-ms")
	b.ReportMetric(ours, "measures-ms")
	b.ReportMetric(ours/theirs, "ratio")
}

// TestMemory: all measures of a canvas allocate at most 64 MB, freed or not. It runs alone, or others' memory would count.
func TestMemory(t *testing.T) {
	const most = 64 << 20
	for _, fovDeg := range []float64{45, 30} {
		p := treeOn(t, 70, fovDeg)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		measure(t, p.Vessels, p.FOV, 2*p.Radius)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("a field of %v° takes %d MB", fovDeg, used>>20)
		} else {
			t.Logf("a field of %v° takes %.1f MB", fovDeg, float64(used)/(1<<20))
		}
	}
}
