package fundus_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/test/shared"
)

// assess is what a screening does with a picture.
func assess(t testing.TB, p *raster.RGB) fundus.Quality {
	t.Helper()
	fov, err := fundus.FindFOV(p)
	if fundus.Refused(err) {
		return fundus.Unfound(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	q, err := fundus.Assess(p, fov)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func codes(q fundus.Quality) string {
	var all []string
	for _, r := range q.Reasons {
		all = append(all, r.Code)
	}
	return strings.Join(all, " ")
}

func leading(q fundus.Quality) string { return strings.Split(codes(q), " ")[0] }

// shrunk averages squares of k × k pixels.
func shrunk(p *raster.RGB, k int) *raster.RGB {
	out := raster.NewRGB(p.Width/k, p.Height/k)
	for y := range out.Height {
		for x := range out.Width {
			var sum [3]int
			for sy := y * k; sy < (y+1)*k; sy++ {
				for sx := x * k; sx < (x+1)*k; sx++ {
					for c := range 3 {
						sum[c] += int(p.Pix[3*(sy*p.Width+sx)+c])
					}
				}
			}
			for c := range 3 {
				out.Pix[3*(y*out.Width+x)+c] = uint8((sum[c] + k*k/2) / (k * k))
			}
		}
	}
	return out
}

// photograph is a picture with its field of view, from which degraded ones are made.
type photograph struct {
	*raster.RGB
	fov  fundus.FOV
	mask *raster.Mask
	mean [3]float64 // inside
}

func openPhotograph(t testing.TB, name string, shrinkBy int) photograph {
	t.Helper()
	set, stem := filepath.Split(name)
	p := shrunk(readRGB(t, shared.Dir(t, "data", set, "images", stem+".jpg")), shrinkBy)
	fov, err := fundus.FindFOV(p)
	if err != nil {
		t.Fatal(err)
	}
	out := photograph{RGB: p, fov: fov, mask: fov.Mask()}
	area := float64(fov.Area())
	for i, m := range out.mask.Pix {
		if m != 0 {
			for c := range 3 {
				out.mean[c] += float64(p.Pix[3*i+c]) / area
			}
		}
	}
	return out
}

// each changes the values inside the field of view, or everywhere.
func (p photograph) each(everywhere bool, change func(v float64, channel int) float64) *raster.RGB {
	out := raster.NewRGB(p.Width, p.Height)
	copy(out.Pix, p.Pix)
	for i, v := range p.Pix {
		if everywhere || p.mask.Pix[i/3] != 0 {
			out.Pix[i] = uint8(math.Round(min(255, max(0, change(float64(v), i%3)))))
		}
	}
	return out
}

// blurred is p through three box filters, which are nearly a Gaussian of deviation sigma (pixels). inside: the retina is out of
// focus and the edge of the field of view is not, as in a camera, whose mask lies in another plane.
func (p photograph) blurred(sigma float64, inside bool) *raster.RGB {
	radius := int(math.Round((math.Sqrt(4*sigma*sigma+1) - 1) / 2)) // variance of three boxes: ((2r+1)² − 1)/4
	const channels = 4                                              // and the weight
	w, h := p.Width, p.Height
	pix := make([]float64, channels*w*h)
	for i := range w * h {
		if inside && p.mask.Pix[i] == 0 {
			continue
		}
		for c := range 3 {
			pix[channels*i+c] = float64(p.Pix[3*i+c])
		}
		pix[channels*i+3] = 1
	}
	line := make([]float64, max(w, h))
	box := func(start, stride, n int) {
		for range 3 {
			sum := 0.0
			for i := -radius; i < n; i++ {
				if j := i + radius; j < n {
					sum += pix[start+j*stride]
				}
				if i < 0 {
					continue
				}
				line[i] = sum
				if j := i - radius; j >= 0 {
					sum -= pix[start+j*stride]
				}
			}
			for i := range n {
				pix[start+i*stride] = line[i]
			}
		}
	}
	for y := range h {
		for c := range channels {
			box(channels*y*w+c, channels, w)
		}
	}
	for x := range w {
		for c := range channels {
			box(channels*x+c, channels*w, h)
		}
	}
	out := raster.NewRGB(w, h)
	copy(out.Pix, p.Pix)
	for i := range w * h {
		if weight := pix[channels*i+3]; weight > 0 && (!inside || p.mask.Pix[i] != 0) {
			for c := range 3 {
				out.Pix[3*i+c] = uint8(min(255, pix[channels*i+c]/weight+.5))
			}
		}
	}
	return out
}

// covered blackens the upper share of the field of view's diameter.
func (p photograph) covered(share float64) *raster.RGB {
	out := raster.NewRGB(p.Width, p.Height)
	copy(out.Pix, p.Pix)
	top := max(0, p.fov.Top, p.fov.CenterY-p.fov.Radius)
	bottom := min(float64(p.Height), p.fov.CenterY+p.fov.Radius)
	clear(out.Pix[:3*p.Width*int(top+share*(bottom-top))])
	return out
}

// cropped cuts the right share of the field of view's diameter off the frame.
func (p photograph) cropped(share float64) *raster.RGB {
	out := raster.NewRGB(int(p.fov.CenterX+p.fov.Radius-share*2*p.fov.Radius), p.Height)
	for y := range out.Height {
		copy(out.Pix[3*y*out.Width:][:3*out.Width], p.Pix[3*y*p.Width:])
	}
	return out
}

// qualityPictures are degraded; HRF's are a quarter of their size to save time.
var qualityPictures = []struct {
	name     string
	shrinkBy int
}{{"CHASE_DB1/Image_01L", 1}, {"CHASE_DB1/Image_09R", 1}, {"HRF/02_dr", 4}, {"HRF/03_g", 4}}

// TestQualityFallsWithDegradation degrades real photographs step by step: the score never rises by more than a tolerance, ends
// below the limit, and the reason that leads there is the right one. The tolerance is for rounding to whole grey levels, for the
// field of view, which is found anew, and for the sharp edges of what is clipped to white.
func TestQualityFallsWithDegradation(t *testing.T) {
	t.Parallel()
	const tolerance = .05
	type series struct {
		levels []float64 // ever worse
		make   func(p photograph, level float64) *raster.RGB
		lead   string // codes that may lead below the limit
	}
	blur := []float64{1, 2, 4, 8, 16, 24} // standard deviation, thousandths of the FOV's diameter
	cut := []float64{.2, .4, .6, .8}
	all := map[string]series{
		"blurred as a whole": {blur, func(p photograph, s float64) *raster.RGB { return p.blurred(s/1000*2*p.fov.Radius, false) }, fundus.CodeBlur},
		"out of focus":       {blur, func(p photograph, s float64) *raster.RGB { return p.blurred(s/1000*2*p.fov.Radius, true) }, fundus.CodeBlur},
		"darkened": {[]float64{.5, .25, .1, .07, .05, .01}, func(p photograph, k float64) *raster.RGB {
			return p.each(true, func(v float64, _ int) float64 { return k * v })
		}, fundus.CodeDark + " " + fundus.CodeNotFound},
		"brightened": {[]float64{1.5, 2, 3, 4, 10}, func(p photograph, k float64) *raster.RGB {
			return p.each(true, func(v float64, _ int) float64 { return k * v })
		}, fundus.CodeBright + " " + fundus.CodeNotFound},
		"washed out": {[]float64{.5, .25, .1, .02}, func(p photograph, k float64) *raster.RGB {
			return p.each(false, func(v float64, _ int) float64 { return 255 - k*(255-v) })
		}, fundus.CodeLowContrast + " " + fundus.CodeBright + " " + fundus.CodeNotFound},
		"contrast reduced": {[]float64{.5, .25, .1, .05, .01}, func(p photograph, k float64) *raster.RGB {
			return p.each(false, func(v float64, c int) float64 { return p.mean[c] + k*(v-p.mean[c]) })
		}, fundus.CodeLowContrast},
		"noisy": {[]float64{8, 16, 64}, func(p photograph, sigma float64) *raster.RGB {
			random := rand.New(rand.NewPCG(1, 2))
			return p.each(false, func(v float64, _ int) float64 { return v + sigma*random.NormFloat64() })
		}, fundus.CodeLowContrast},
		"covered": {cut, photograph.covered, fundus.CodeCut + " " + fundus.CodeNotFound},
		"cropped": {cut, photograph.cropped, fundus.CodeCut + " " + fundus.CodeNotFound},
	}
	for _, picture := range qualityPictures {
		p := openPhotograph(t, picture.name, picture.shrinkBy)
		for name, s := range all {
			t.Run(filepath.Base(picture.name)+" "+name, func(t *testing.T) {
				t.Parallel()
				last := assess(t, p.RGB)
				table := fmt.Sprintf("%6s %.3f %s", "", last.Score, codes(last))
				for _, level := range s.levels {
					q := assess(t, s.make(p, level))
					table += fmt.Sprintf("\n%6g %.3f %s", level, q.Score, codes(q))
					if q.Score > last.Score+tolerance {
						t.Errorf("at %g the score rises from %.3f to %.3f: %+v", level, last.Score, q.Score, q.Figures)
					}
					if q.Score < fundus.DefaultMinScore && !slices.Contains(strings.Split(s.lead, " "), leading(q)) {
						t.Errorf("at %g the leading reason is %s, expected %s: %+v", level, leading(q), s.lead, q.Figures)
					}
					last = q
				}
				t.Log("\n" + table)
				if last.Score >= fundus.DefaultMinScore {
					t.Errorf("the worst picture is gradable: %.3f, %+v", last.Score, last.Figures)
				}
			})
		}
	}
}

// TestQualityDoesNotDependOnPixels shrinks photographs: the score stays within .05, from 3504 to 876 px of width.
func TestQualityDoesNotDependOnPixels(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("large pictures are left out of a short run")
	}
	const tolerance = .05
	for name, shrinkBy := range map[string][]int{"HRF/03_dr": {2, 4}, "HRF/02_h": {2, 4}, "CHASE_DB1/Image_04R": {2}} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			p := openPhotograph(t, name, 1)
			soft := p.blurred(.004*2*p.fov.Radius, true) // on the slope of the score
			for state, whole := range map[string]*raster.RGB{"clean": p.RGB, "out of focus": soft} {
				want := assess(t, whole)
				for _, k := range shrinkBy {
					got := assess(t, shrunk(whole, k))
					t.Logf("%s: whole %.3f, 1/%d %.3f", state, want.Score, k, got.Score)
					if math.Abs(got.Score-want.Score) > tolerance || leading(got) != leading(want) {
						t.Errorf("%s: whole %.3f %s, 1/%d %.3f %s", state, want.Score, codes(want), k, got.Score, codes(got))
					}
				}
			}
		})
	}
}

// TestSoftPhotographsAreGradable takes photographs to what an old camera makes of them: a field of view of 540 px, a little
// out of focus, a little dark or pale, JPEG of quality 60.
func TestSoftPhotographsAreGradable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HRF/01_dr", "HRF/04_g", "HRF/05_h"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			p := openPhotograph(t, name, 6) // 543 px
			soft := photograph{RGB: p.blurred(1, true), fov: p.fov, mask: p.mask, mean: p.mean}
			for state, gain := range map[string]float64{"as lit": 1, "dark": .6, "pale": 1.6} {
				q := assess(t, throughJPEG(t, soft.each(true, func(v float64, _ int) float64 { return gain * v }), 60))
				t.Logf("%s: %.3f %s %+v", state, q.Score, codes(q), q.Figures)
				if q.Score < 2*fundus.DefaultMinScore {
					t.Errorf("%s: score %.3f, %s", state, q.Score, codes(q))
				}
			}
		})
	}
}

func throughJPEG(t testing.TB, p *raster.RGB, quality int) *raster.RGB {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, p.Width, p.Height))
	for i := range p.Width * p.Height {
		copy(img.Pix[4*i:], p.Pix[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, img, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	back, err := jpeg.Decode(&file)
	if err != nil {
		t.Fatal(err)
	}
	out := raster.NewRGB(p.Width, p.Height)
	for y := range p.Height {
		for x := range p.Width {
			r, g, b, _ := back.At(x, y).RGBA()
			out.Pix[3*(y*p.Width+x)], out.Pix[3*(y*p.Width+x)+1], out.Pix[3*(y*p.Width+x)+2] = uint8(r>>8), uint8(g>>8), uint8(b>>8)
		}
	}
	return out
}

// TestConformancePicturesAreNoFundusPhotographs decodes the public test suites' pictures as far as Noctua can: none may be
// gradable.
func TestConformancePicturesAreNoFundusPhotographs(t *testing.T) {
	t.Parallel()
	decoded := 0
	counts := map[string]int{}
	err := filepath.WalkDir(shared.Dir(t, "dicom", "conformance"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
		if err != nil {
			return nil //nolint:nilerr // not one that Noctua reads
		}
		p, _, err := file.Decode()
		if err != nil {
			return nil //nolint:nilerr // not one that Noctua reads
		}
		decoded++
		q := assess(t, p)
		counts[leading(q)]++
		if q.Score >= fundus.DefaultMinScore {
			t.Errorf("%s is gradable: %.3f %s %+v", filepath.Base(path), q.Score, codes(q), q.Figures)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pictures: %v", decoded, counts)
	if decoded < 30 {
		t.Errorf("only %d pictures were decoded", decoded)
	}
}
