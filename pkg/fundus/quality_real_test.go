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
	"github.com/noctua-screening/noctua/pkg/fundus/fundustest"
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

func openPhotograph(t testing.TB, name string, shrinkBy int) fundustest.Photograph {
	t.Helper()
	set, stem := filepath.Split(name)
	p, err := fundustest.Open(fundustest.Shrunk(readRGB(t, shared.Dir(t, "data", set, "images", stem+".jpg")), shrinkBy))
	if err != nil {
		t.Fatal(err)
	}
	return p
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
	if testing.Short() {
		t.Skip("SKIPPED, NOT RUN: whole series of pictures are left out of a short run")
	}
	t.Parallel()
	const tolerance = .05
	type series struct {
		levels []float64 // ever worse
		make   func(p fundustest.Photograph, level float64) *raster.RGB
		lead   string // codes that may lead below the limit
	}
	blur := []float64{1, 2, 4, 8, 16, 24} // standard deviation, thousandths of the FOV's diameter
	cut := []float64{.2, .4, .6, .8}
	all := map[string]series{
		"blurred as a whole": {blur, func(p fundustest.Photograph, s float64) *raster.RGB { return p.Blurred(s/1000*2*p.FOV.Radius, false) }, fundus.CodeBlur},
		"out of focus":       {blur, func(p fundustest.Photograph, s float64) *raster.RGB { return p.Blurred(s/1000*2*p.FOV.Radius, true) }, fundus.CodeBlur},
		"darkened": {[]float64{.5, .25, .1, .07, .05, .01}, func(p fundustest.Photograph, k float64) *raster.RGB {
			return p.Each(true, func(v float64, _ int) float64 { return k * v })
		}, fundus.CodeDark + " " + fundus.CodeNotFound},
		"brightened": {[]float64{1.5, 2, 3, 4, 10}, func(p fundustest.Photograph, k float64) *raster.RGB {
			return p.Each(true, func(v float64, _ int) float64 { return k * v })
		}, fundus.CodeBright + " " + fundus.CodeNotFound},
		"washed out": {[]float64{.5, .25, .1, .02}, func(p fundustest.Photograph, k float64) *raster.RGB {
			return p.Each(false, func(v float64, _ int) float64 { return 255 - k*(255-v) })
		}, fundus.CodeLowContrast + " " + fundus.CodeBright + " " + fundus.CodeNotFound},
		"contrast reduced": {[]float64{.5, .25, .1, .05, .01}, func(p fundustest.Photograph, k float64) *raster.RGB {
			return p.Each(false, func(v float64, c int) float64 { return p.Mean[c] + k*(v-p.Mean[c]) })
		}, fundus.CodeLowContrast},
		"noisy": {[]float64{8, 16, 64}, func(p fundustest.Photograph, sigma float64) *raster.RGB {
			random := rand.New(rand.NewPCG(1, 2))
			return p.Each(false, func(v float64, _ int) float64 { return v + sigma*random.NormFloat64() })
		}, fundus.CodeLowContrast},
		"covered": {cut, fundustest.Photograph.Covered, fundus.CodeCut + " " + fundus.CodeNotFound},
		"cropped": {cut, fundustest.Photograph.Cropped, fundus.CodeCut + " " + fundus.CodeNotFound},
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
			soft := p.Blurred(.004*2*p.FOV.Radius, true) // on the slope of the score
			for state, whole := range map[string]*raster.RGB{"clean": p.RGB, "out of focus": soft} {
				want := assess(t, whole)
				for _, k := range shrinkBy {
					got := assess(t, fundustest.Shrunk(whole, k))
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
			soft := fundustest.Photograph{RGB: p.Blurred(1, true), FOV: p.FOV, Mask: p.Mask, Mean: p.Mean}
			for state, gain := range map[string]float64{"as lit": 1, "dark": .6, "pale": 1.6} {
				q := assess(t, throughJPEG(t, soft.Each(true, func(v float64, _ int) float64 { return gain * v }), 60))
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
