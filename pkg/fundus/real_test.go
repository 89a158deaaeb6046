package fundus_test

import (
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "golang.org/x/image/tiff"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/test/shared"
)

func decode(t testing.TB, path string) image.Image {
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
	return img
}

func readRGB(t testing.TB, path string) *raster.RGB {
	t.Helper()
	img := decode(t, path)
	b := img.Bounds()
	p := raster.NewRGB(b.Dx(), b.Dy())
	for y := range p.Height {
		for x := range p.Width {
			r, g, bl, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
			i := 3 * (y*p.Width + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8(r>>8), uint8(g>>8), uint8(bl>>8)
		}
	}
	return p
}

func readMask(t testing.TB, path string) *raster.Mask {
	t.Helper()
	img := decode(t, path)
	b := img.Bounds()
	m := raster.NewMask(b.Dx(), b.Dy())
	for y := range m.Height {
		for x := range m.Width {
			if r, _, _, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA(); r>>8 > 127 {
				m.Pix[y*m.Width+x] = raster.Foreground
			}
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
	const minDice = .99
	pictures, sum, lowest := 0, 0.0, 1.0
	for set, suffix := range map[string]string{"CHASE_DB1": ".png", "HRF": "_mask.tif"} {
		dir := shared.Dir(t, "data", set)
		files, err := filepath.Glob(filepath.Join(dir, "images", "*.jpg"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no pictures in %s: %v", dir, err)
		}
		for _, file := range files {
			stem := strings.TrimSuffix(filepath.Base(file), ".jpg")
			p := readRGB(t, file)
			fov, err := fundus.FindFOV(p)
			if err != nil {
				t.Errorf("%s: %v", stem, err)
				continue
			}
			d := dice(fov.Mask(), readMask(t, filepath.Join(dir, "fov", stem+suffix)))
			pictures++
			sum += d
			lowest = min(lowest, d)
			line := fmt.Sprintf("%-10s Dice %.4f  centre %7.1f %7.1f  radius %7.1f  box %g %g %g %g", stem, d, fov.CenterX, fov.CenterY, fov.Radius, fov.Left, fov.Top, fov.Right, fov.Bottom)
			if d < minDice || fov.FillsFrame {
				t.Error(line)
				continue
			}
			t.Log(line)
		}
	}
	t.Logf("%d pictures, Dice lowest %.4f, mean %.4f", pictures, lowest, sum/float64(pictures))
	if pictures != 73 {
		t.Errorf("73 pictures were expected, %d were measured", pictures)
	}
}
