package fundus_test

import (
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "golang.org/x/image/tiff"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/test/shared"
)

func decode(t testing.TB, path string) *image.RGBA {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	out := image.NewRGBA(image.Rect(0, 0, img.Bounds().Dx(), img.Bounds().Dy()))
	draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	return out
}

func readRGB(t testing.TB, path string) *raster.RGB {
	t.Helper()
	img := decode(t, path)
	p := raster.NewRGB(img.Rect.Dx(), img.Rect.Dy())
	for i := range p.Width * p.Height {
		copy(p.Pix[3*i:3*i+3], img.Pix[4*i:])
	}
	return p
}

func readMask(t testing.TB, path string) *raster.Mask {
	t.Helper()
	img := decode(t, path)
	m := raster.NewMask(img.Rect.Dx(), img.Rect.Dy())
	for i := range m.Pix {
		if img.Pix[4*i] > 127 {
			m.Pix[i] = raster.Foreground
		}
	}
	return m
}

func dice(a, b *raster.Mask) float64 {
	both, sum := 0, 0
	for i := range a.Pix {
		x, y := a.Pix[i] != 0, b.Pix[i] != 0
		if x && y {
			both++
		}
		if x {
			sum++
		}
		if y {
			sum++
		}
	}
	if sum == 0 {
		return 1
	}
	return 2 * float64(both) / float64(sum)
}

// TestFindFOVOnDataSets holds FindFOV against the published masks of every CHASE_DB1 and HRF picture.
func TestFindFOVOnDataSets(t *testing.T) {
	t.Parallel()
	const minDice, want = .99, 73
	var mu sync.Mutex
	pictures, sum, lowest := 0, 0.0, 1.0
	var table []string
	t.Run("pictures", func(t *testing.T) {
		for set, suffix := range map[string]string{"CHASE_DB1": ".png", "HRF": "_mask.tif"} {
			dir := shared.Dir(t, "data", set)
			files, err := filepath.Glob(filepath.Join(dir, "images", "*.jpg"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no pictures in %s: %v", dir, err)
			}
			for _, file := range files {
				stem := strings.TrimSuffix(filepath.Base(file), ".jpg")
				t.Run(stem, func(t *testing.T) {
					t.Parallel()
					fov, err := fundus.FindFOV(readRGB(t, file))
					if err != nil {
						t.Fatal(err)
					}
					d := dice(fov.Mask(), readMask(t, filepath.Join(dir, "fov", stem+suffix)))
					if d < minDice || fov.FillsFrame {
						t.Errorf("Dice %.4f with %+v", d, fov)
					}
					mu.Lock()
					defer mu.Unlock()
					pictures++
					sum += d
					lowest = min(lowest, d)
					table = append(table, fmt.Sprintf("%-10s Dice %.4f  centre %7.1f %7.1f  radius %7.1f  box %g %g %g %g", stem, d, fov.CenterX, fov.CenterY, fov.Radius, fov.Left, fov.Top, fov.Right, fov.Bottom))
				})
			}
		}
	})
	slices.Sort(table)
	t.Logf("%d pictures, Dice lowest %.4f, mean %.4f\n%s", pictures, lowest, sum/float64(pictures), strings.Join(table, "\n"))
	if pictures != want {
		t.Errorf("%d pictures were expected, %d were measured", want, pictures)
	}
}
