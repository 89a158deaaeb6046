package segment_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/fundus/fundustest"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/services/segment"
	"github.com/noctua-screening/noctua/test/shared"
)

var calibrate = flag.Bool("calibrate", false, "print Dice and quality of degraded training pictures, from which the anchors of the quality come")

// TestCalibration shows what the network loses while the score falls (docs/quality.md). It prints and judges nothing.
func TestCalibration(t *testing.T) {
	if !*calibrate {
		t.Skip("asked for by -calibrate only")
	}
	off := 0.0
	analyser, err := segment.NewConfiguredAnalyser(newEngine(t), time.Now, "test", segment.AnalyserConfig{MinQuality: &off})
	if err != nil {
		t.Fatal(err)
	}
	const hrfShrunk = 3
	for _, name := range [][2]string{
		{"CHASE_DB1/images/Image_01L.jpg", "CHASE_DB1/manual1/Image_01L_1stHO.png"}, {"CHASE_DB1/images/Image_05R.jpg", "CHASE_DB1/manual1/Image_05R_1stHO.png"},
		{"CHASE_DB1/images/Image_09R.jpg", "CHASE_DB1/manual1/Image_09R_1stHO.png"},
		{"HRF/images/01_h.jpg", "HRF/manual1/01_h.tif"}, {"HRF/images/02_dr.jpg", "HRF/manual1/02_dr.tif"}, {"HRF/images/03_g.jpg", "HRF/manual1/03_g.tif"},
	} {
		picture, subject, err := segment.ReadFile(shared.Dir(t, "data", name[0]))
		if err != nil {
			t.Fatal(err)
		}
		label, err := pixel.ReadMask(shared.Dir(t, "data", name[1]), pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if picture.Width > 2000 {
			small := raster.NewMask(label.Width/hrfShrunk, label.Height/hrfShrunk)
			for i := range small.Pix {
				small.Pix[i] = label.Pix[(hrfShrunk*(i/small.Width)+1)*label.Width+hrfShrunk*(i%small.Width)+1]
			}
			picture, label = fundustest.Shrunk(picture, hrfShrunk), small
		}
		p, err := fundustest.Open(picture)
		if err != nil {
			t.Fatal(err)
		}
		show := func(state string, degraded *raster.RGB) {
			analysis, err := analyser.Analyse(t.Context(), degraded, subject)
			if err != nil {
				t.Fatal(err)
			}
			q := analysis.Result.Quality
			if analysis.Probability == nil {
				t.Logf("%-30s %-14s no field of view: %s", name[0], state, q.Reasons[0].Text)
				return
			}
			mask, err := analysis.Mask()
			if err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprintf("%-30s %-14s Dice %.3f score %.3f", name[0], state, dice(mask, label), q.Score)
			for _, f := range q.Figures {
				switch f.Name {
				case "sharpness", "brightness", "contrast", "contrast-to-noise", "overexposed":
					line += fmt.Sprintf("  %s %.3f", f.Name, f.Value)
				}
			}
			t.Log(line)
		}
		show("as it is", picture)
		for _, s := range []float64{2, 4, 6, 8, 12} {
			show(fmt.Sprint("blur ", s), p.Blurred(s/1000*2*p.FOV.Radius, true))
		}
		for _, k := range []float64{.25, .1, .07, .05, 2, 3, 4, 6} {
			show(fmt.Sprint("gain ", k), p.Each(true, func(v float64, _ int) float64 { return k * v }))
		}
		for _, k := range []float64{.25, .1, .05} {
			show(fmt.Sprint("contrast ", k), p.Each(false, func(v float64, c int) float64 { return p.Mean[c] + k*(v-p.Mean[c]) }))
		}
		for _, sigma := range []float64{8, 16, 32} {
			random := rand.New(rand.NewPCG(1, 2))
			show(fmt.Sprint("noise ", sigma), p.Each(false, func(v float64, _ int) float64 { return v + sigma*random.NormFloat64() }))
		}
	}
	t.Logf("the limit is %.2f", fundus.DefaultMinScore)
}
