package fundus_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/test/shared"
)

const discCanvasPx, discFOVPx = 1056, 1024

// onCanvas is a photograph with its vessels as FindDisc wants them.
type onCanvas struct {
	canvas       fundus.Canvas
	image        *fundus.Image
	norm         fundus.Normalisation
	vessels, fov *raster.Mask
}

// discOf brings a photograph and its label to the canvas; keep says which places of the canvas are left of the field.
func discOf(t testing.TB, p *raster.RGB, label *raster.Mask, keep func(x, y float64) bool) onCanvas {
	t.Helper()
	fov, err := fundus.FindFOV(p)
	if err != nil {
		t.Fatal(err)
	}
	c, err := fundus.NewCanvas(fov, discCanvasPx, discCanvasPx, discFOVPx)
	if err != nil {
		t.Fatal(err)
	}
	image, err := c.ToCanvas(p)
	if err != nil {
		t.Fatal(err)
	}
	mask, vessels := c.Mask(), raster.NewMask(discCanvasPx, discCanvasPx)
	for i := range mask.Pix {
		x, y := float64(i%discCanvasPx)+.5, float64(i/discCanvasPx)+.5
		if !keep(x, y) {
			mask.Pix[i] = 0
		}
		sx, sy := c.ToSource(x, y)
		if mask.Pix[i] != 0 && label.On(int(sx), int(sy)) {
			vessels.Pix[i] = raster.Foreground
		}
	}
	norm, err := fundus.Normalise(image, mask)
	if err != nil {
		t.Fatal(err)
	}
	return onCanvas{c, image, norm, vessels, mask}
}

func (o onCanvas) find(t testing.TB) fundus.Disc {
	t.Helper()
	d, err := fundus.FindDisc(o.image, o.norm, o.vessels, o.fov, discFOVPx)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDiscOfEveryPicture holds FindDisc against centres and widths that were read off all CHASE_DB1 and HRF pictures by eye
// (testdata/discs.json: parts of the picture's width). The vessels are the observer's. Training pictures chose DiscConfidence.
func TestDiscOfEveryPicture(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("whole data sets are left out of a short run")
	}
	data, err := os.ReadFile("testdata/discs.json")
	if err != nil {
		t.Fatal(err)
	}
	var discs map[string][3]float64
	if err := json.Unmarshal(data, &discs); err != nil || len(discs) != 73 {
		t.Fatalf("%d discs: %v", len(discs), err)
	}
	var mu sync.Mutex
	near, sure, cut, sureCut := 0, 0, 0, 0
	var sizes []float64
	t.Run("pictures", func(t *testing.T) {
		for name, want := range discs {
			set, stem, _ := strings.Cut(name, "/")
			dir := shared.Dir(t, "data", set)
			labels, err := filepath.Glob(filepath.Join(dir, "manual1", stem+map[string]string{"CHASE_DB1": "_1stHO.*", "HRF": ".*"}[set]))
			if err != nil || len(labels) != 1 {
				t.Fatalf("%s has the labels %v: %v", name, labels, err)
			}
			t.Run(stem, func(t *testing.T) {
				t.Parallel()
				p, label := readRGB(t, filepath.Join(dir, "images", stem+".jpg")), readMask(t, labels[0])
				whole := discOf(t, p, label, func(x, y float64) bool { return true })
				w := float64(p.Width)
				x, y := whole.canvas.FromSource(want[0]*w, want[1]*w)
				width := want[2] * w * whole.canvas.Scale()
				got := whole.find(t)
				off := math.Hypot(got.CenterX-x, got.CenterY-y) / width
				// The same field, cut off a disc's width before the disc: HRF at its side, CHASE, where it lies in the middle, below it.
				without := discOf(t, p, label, func(px, py float64) bool {
					switch {
					case set == "CHASE_DB1":
						return py < y-width
					case x > discCanvasPx/2:
						return px < x-width
					}
					return px > x+width
				}).find(t)
				t.Logf("%.2f disc widths off, width %.2f of the one by eye, confidence %.2f, without the disc %.2f", off, got.DiameterPx/width, got.Confidence, without.Confidence)
				mu.Lock()
				defer mu.Unlock()
				cut++
				if off <= .5 {
					near++
				}
				if got.Confidence >= fundus.DiscConfidence {
					sure++
					if off > .5 {
						t.Errorf("confidence %.2f in a disc that is %.2f widths off", got.Confidence, off)
					}
				}
				if without.Confidence >= fundus.DiscConfidence {
					sureCut++
				}
				sizes = append(sizes, math.Abs(math.Log(got.DiameterPx/width)))
			})
		}
	})
	if len(sizes) == 0 {
		t.Fatal("no picture was looked at")
	}
	slices.Sort(sizes)
	t.Logf("%d of %d discs within half a width, %d with confidence; %d of %d fields without a disc with confidence; width off by a factor of %.2f in the median, %.2f at most",
		near, cut, sure, sureCut, cut, math.Exp(sizes[len(sizes)/2]), math.Exp(sizes[len(sizes)-1]))
	if float64(near) < .9*float64(cut) || float64(sure) < .9*float64(cut) || float64(sureCut) > .15*float64(cut) {
		t.Error("too few discs are found, or too many where there are none")
	}
}

func TestDiscOfPhantoms(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		p, err := phantom.Draw(phantom.Options{Seed: uint64(40 + i), FOVDeg: []float64{45, 30}[i%2], Eye: []phantom.Eye{phantom.Right, phantom.Left}[i%2]})
		if err != nil {
			t.Fatal(err)
		}
		o := discOf(t, p.Picture, p.Vessels, func(x, y float64) bool { return true })
		got := o.find(t)
		x, y := o.canvas.FromSource(p.DiscX, p.DiscY)
		width := 2 * p.DiscRadiusPx * o.canvas.Scale()
		if off := math.Hypot(got.CenterX-x, got.CenterY-y) / width; off > .5 || got.Confidence < fundus.DiscConfidence || math.Abs(math.Log(got.DiameterPx/width)) > math.Log(1.35) {
			t.Errorf("phantom %d: %.2f disc widths off, width %.2f of the drawn one, confidence %.2f", i, off, got.DiameterPx/width, got.Confidence)
		}
	}
}

func TestDiscOfNothing(t *testing.T) {
	t.Parallel()
	image := &fundus.Image{Width: 64, Height: 64, Pix: make([]float32, 3*64*64)}
	fov, none := raster.NewMask(64, 64), raster.NewMask(64, 64)
	if d, err := fundus.FindDisc(image, fundus.Normalisation{}, none, fov, 60); err != nil || d != (fundus.Disc{}) {
		t.Errorf("an empty field: %+v, %v", d, err)
	}
	for i := range fov.Pix {
		fov.Pix[i] = raster.Foreground
	}
	if d, err := fundus.FindDisc(image, fundus.Normalisation{}, none, fov, 60); err != nil || d.Confidence != 0 {
		t.Errorf("a field without vessels: %+v, %v", d, err)
	}
	if d, err := fundus.FindDisc(image, fundus.Normalisation{}, fov, fov, 60); err != nil || d.Confidence != 0 {
		t.Errorf("a field full of vessel: %+v, %v", d, err)
	}
	if _, err := fundus.FindDisc(image, fundus.Normalisation{}, raster.NewMask(63, 64), fov, 60); err == nil {
		t.Error("masks of two sizes were accepted")
	}
}

func BenchmarkFindDisc(b *testing.B) {
	p, err := phantom.Draw(phantom.Options{Seed: 1, FOVDeg: 45, Eye: phantom.Right})
	if err != nil {
		b.Fatal(err)
	}
	o := discOf(b, p.Picture, p.Vessels, func(x, y float64) bool { return true })
	b.ReportAllocs()
	for b.Loop() {
		o.find(b)
	}
}
