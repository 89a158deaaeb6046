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

// TestEveryPictureOfTheDataSets holds FindFOV against the published masks of every CHASE_DB1 and HRF picture, and counts those
// that are gradable: clean pictures must be.
func TestEveryPictureOfTheDataSets(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("whole data sets are left out of a short run")
	}
	const minDice, want, minGradable = .99, 73, .97
	var mu sync.Mutex
	pictures, gradable, sum, lowest := 0, 0, 0.0, 1.0
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
					p := readRGB(t, file)
					fov, err := fundus.FindFOV(p)
					if err != nil {
						t.Fatal(err)
					}
					d := dice(fov.Mask(), readMask(t, filepath.Join(dir, "fov", stem+suffix)))
					if d < minDice || fov.FillsFrame {
						t.Errorf("Dice %.4f with %+v", d, fov)
					}
					q, err := fundus.Assess(p, fov)
					if err != nil {
						t.Fatal(err)
					}
					mu.Lock()
					defer mu.Unlock()
					pictures++
					if q.Score >= fundus.DefaultMinScore {
						gradable++
					}
					sum += d
					lowest = min(lowest, d)
					table = append(table, fmt.Sprintf("%-10s Dice %.4f  centre %7.1f %7.1f  radius %7.1f  box %g %g %g %g  quality %.3f %s", stem, d, fov.CenterX, fov.CenterY, fov.Radius, fov.Left, fov.Top, fov.Right, fov.Bottom, q.Score, codes(q)))
				})
			}
		}
	})
	slices.Sort(table)
	t.Logf("%d pictures, %d gradable, Dice lowest %.4f, mean %.4f\n%s", pictures, gradable, lowest, sum/float64(pictures), strings.Join(table, "\n"))
	if pictures != want {
		t.Errorf("%d pictures were expected, %d were measured", want, pictures)
	}
	if float64(gradable) < minGradable*float64(pictures) {
		t.Errorf("only %d of %d pictures are gradable", gradable, pictures)
	}
}

// TestFindFOVOnDegradedPhotographs changes real photographs in ways that cameras and exports do.
func TestFindFOVOnDegradedPhotographs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("whole data sets are left out of a short run")
	}
	scaled := func(gain, lift float64) func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
		return func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			for i, v := range p.Pix {
				p.Pix[i] = uint8(min(255, max(0, lift+gain*float64(v))))
			}
			return p, m
		}
	}
	// window copies [x0, x1) × [y0, y1), which may reach beyond the frame: there it is black.
	window := func(p *raster.RGB, m *raster.Mask, x0, y0, x1, y1 int) (*raster.RGB, *raster.Mask) {
		out, mask := raster.NewRGB(x1-x0, y1-y0), raster.NewMask(x1-x0, y1-y0)
		for y := range out.Height {
			for x := range out.Width {
				sx, sy := x+x0, y+y0
				if sx < 0 || sy < 0 || sx >= p.Width || sy >= p.Height {
					continue
				}
				copy(out.Pix[3*(y*out.Width+x):][:3], p.Pix[3*(sy*p.Width+sx):])
				mask.Pix[y*out.Width+x] = m.Pix[sy*m.Width+sx]
			}
		}
		return out, mask
	}
	// framed puts the picture, with its black surround, into a frame of one colour.
	framed := func(p *raster.RGB, m *raster.Mask, colour [3]uint8) (*raster.RGB, *raster.Mask) {
		across, down := p.Width/12, p.Height/10
		out, mask := window(p, m, -across, -down, p.Width+across, p.Height+down)
		for i := range mask.Pix {
			if x, y := i%out.Width, i/out.Width; x < across || y < down || x >= across+p.Width || y >= down+p.Height {
				copy(out.Pix[3*i:], colour[:])
			}
		}
		return out, mask
	}
	changes := map[string]func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask){
		"dark":          scaled(.35, 0),
		"bright":        scaled(1.5, 0),
		"lifted blacks": scaled(.9, 14),
		"washed out":    scaled(.5, 30),
		"half size": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			out, mask := raster.NewRGB(p.Width/2, p.Height/2), raster.NewMask(p.Width/2, p.Height/2)
			for y := range out.Height {
				for x := range out.Width {
					copy(out.Pix[3*(y*out.Width+x):][:3], p.Pix[3*(2*y*p.Width+2*x):])
					mask.Pix[y*out.Width+x] = m.Pix[2*y*m.Width+2*x]
				}
			}
			return out, mask
		},
		"cropped by the frame": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			return window(p, m, p.Width/8, p.Height/7, p.Width-p.Width/9, p.Height-p.Height/6)
		},
		"cropped, then framed": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			p, m = window(p, m, 0, p.Height/7, p.Width, p.Height-p.Height/6)
			return window(p, m, -40, -60, p.Width+40, p.Height+90)
		},
		"white surround": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			for i, v := range m.Pix {
				if v == 0 {
					p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = 255, 255, 255
				}
			}
			return p, m
		},
		"grey surround": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			for i, v := range m.Pix {
				if v == 0 {
					p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = 128, 128, 128
				}
			}
			return p, m
		},
		"grey frame": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			return framed(p, m, [3]uint8{128, 128, 128})
		},
		"light grey frame": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			return framed(p, m, [3]uint8{205, 205, 205})
		},
		"white frame": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			return framed(p, m, [3]uint8{255, 255, 255})
		},
		"cropped top and bottom": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			return window(p, m, 0, p.Height/8, p.Width, p.Height-p.Height/8)
		},
		"black above and below": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			for i := range m.Pix {
				if y := i / m.Width; y < m.Height/6 || y >= m.Height-m.Height/5 {
					m.Pix[i], p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = 0, 0, 0, 0
				}
			}
			return p, m
		},
		"text in the margin": func(p *raster.RGB, m *raster.Mask) (*raster.RGB, *raster.Mask) {
			text(p, 5, 5, p.Height/30, 6, [3]uint8{255, 255, 255})
			text(p, p.Width-9*p.Height/30, p.Height-p.Height/25, p.Height/30, 8, [3]uint8{255, 255, 0})
			return p, m
		},
	}
	for _, picture := range []string{"CHASE_DB1/Image_14R", "CHASE_DB1/Image_09L", "CHASE_DB1/Image_06L", "HRF/07_dr"} {
		set, stem := filepath.Split(picture)
		dir := shared.Dir(t, "data", set)
		fov := filepath.Join(dir, "fov", stem+".png")
		if set == "HRF/" {
			fov = filepath.Join(dir, "fov", stem+"_mask.tif")
		}
		for name, change := range changes {
			t.Run(stem+" "+name, func(t *testing.T) {
				t.Parallel()
				p, want := change(readRGB(t, filepath.Join(dir, "images", stem+".jpg")), readMask(t, fov))
				got, err := fundus.FindFOV(p)
				if err != nil {
					t.Fatal(err)
				}
				d := dice(got.Mask(), want)
				t.Logf("Dice %.4f", d)
				if d < .99 {
					t.Errorf("Dice %.4f with %+v", d, got)
				}
			})
		}
	}
}
