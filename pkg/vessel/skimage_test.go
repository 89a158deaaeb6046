package vessel

import (
	"bufio"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
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

// BenchmarkBesideSkimage takes all measures of drawn trees on 1024², and lets scikit-image do nothing but thin the same masks, turn by turn,
// so that both find the machine as busy. Its figures are means over the masks of the fastest of some turns: skeletonize-ms, measures-ms,
// and their ratio.
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
	const masks = 4
	var theirs, ours float64 // ms
	for i := range masks {
		p := treeOn(b, uint64(70+i), []float64{45, 30}[i%2])
		skeleton, all := turns(b, python, p)
		theirs, ours = theirs+skeleton/masks, ours+all/masks
	}
	p := treeOn(b, 70, 45)
	b.ReportAllocs()
	for b.Loop() {
		measure(b, p.Vessels, p.FOV, 2*p.Radius)
	}
	b.ReportMetric(theirs, "skeletonize-ms")
	b.ReportMetric(ours, "measures-ms")
	b.ReportMetric(ours/theirs, "ratio")
}

// turns lets scikit-image and Measure work on a mask in turns, and returns the fastest times of both, ms.
func turns(b *testing.B, python string, p *phantom.Photograph) (skeleton, all float64) {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(b.TempDir(), "mask.png")
	f, err := os.Create(path)
	must(err)
	must(png.Encode(f, &image.Gray{Pix: p.Vessels.Pix, Stride: p.Vessels.Width, Rect: image.Rect(0, 0, p.Vessels.Width, p.Vessels.Height)}))
	must(f.Close())
	script := exec.Command(python, filepath.Join("testdata", "skeletonize.py"), path)
	script.Stderr = os.Stderr
	in, err := script.StdinPipe()
	must(err)
	out, err := script.StdoutPipe()
	must(err)
	must(script.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		b.Fatalf("scikit-image did not start: %v", script.Wait())
	}
	b.Logf("scikit-image %s", lines.Text())
	const rounds = 20
	skeleton, all = math.Inf(1), math.Inf(1)
	for range rounds {
		_, err := fmt.Fprintln(in)
		must(err)
		if !lines.Scan() {
			b.Fatalf("scikit-image stopped: %v", script.Wait())
		}
		ms, err := strconv.ParseFloat(lines.Text(), 64)
		must(err)
		start := time.Now()
		measure(b, p.Vessels, p.FOV, 2*p.Radius)
		skeleton, all = min(skeleton, ms), min(all, float64(time.Since(start))/float64(time.Millisecond))
	}
	must(in.Close())
	must(script.Wait())
	return skeleton, all
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
