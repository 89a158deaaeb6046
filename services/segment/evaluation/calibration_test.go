package evaluation

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestCalibrationByHand: of 15 bins, .02 and .04 lie in the first, .5 in the eighth, .95 and 1 in the last.
func TestCalibrationByHand(t *testing.T) {
	t.Parallel()
	var c reliability
	for _, p := range []struct {
		p     float32
		label bool
	}{{.02, false}, {.04, true}, {.5, true}, {.5, false}, {.5, true}, {.5, true}, {.95, true}, {1, true}} {
		c.pixel(p.label, p.p)
	}
	got := c.calibration()
	// |.5 − .03| · 2 + |.75 − .5| · 4 + |1 − .975| · 2, of 8 pixels.
	near(t, "ECE", got.ECE, (2*.47+4*.25+2*.025)/8, 1e-7)
	near(t, "MCE", got.MCE, .47, 1e-7)
	near(t, "mean prediction", got.MeanPredicted, (.02+.04+4*.5+.95+1)/8, 1e-7)
	near(t, "observed", got.Observed, 6./8, 0)
	near(t, "predicted of the last bin", got.Bins[14].Predicted, .975, 1e-7)
	near(t, "observed of the middle bin", got.Bins[7].Observed, .75, 0)
	if got.Pixels != 8 || len(got.Bins) != 15 || got.Bins[0].Pixels != 2 || got.Bins[1].Observed.Defined() || got.Bins[7].Low >= .5 || got.Bins[7].High <= .5 {
		t.Errorf("bins %+v", got.Bins)
	}
	var none reliability
	if n := none.calibration(); n.ECE.Defined() || n.MCE.Defined() || n.Observed.Defined() {
		t.Errorf("of no pixel: %+v", n)
	}
	c = reliability{}
	for _, p := range []float32{float32(math.NaN()), -1, 2, float32(math.Inf(1))} {
		c.pixel(true, p) // must not run out of the bins
	}
	if c.pixels[0] != 2 || c.pixels[14] != 2 {
		t.Errorf("pixels %v, want two in each outer bin", c.pixels)
	}
}

// TestCalibrationTellsHonestFromBold: labels drawn by the stated probability have next to no error, labels drawn by its square have that of
// ∫ p − p² dp = 1/6.
func TestCalibrationTellsHonestFromBold(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	var honest, bold reliability
	for range 400_000 {
		p := random.Float64()
		honest.pixel(random.Float64() < p, float32(p))
		bold.pixel(random.Float64() < p*p, float32(p))
	}
	near(t, "ECE of an honest model", honest.calibration().ECE, 0, .005)
	near(t, "ECE of a bold model", bold.calibration().ECE, 1./6, .005)
	near(t, "MCE of a bold model", bold.calibration().MCE, .25, .01)
}

// TestSweepIsWhatMasksGive compares with masks that are made by each threshold.
func TestSweepIsWhatMasksGive(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8))
	labels, ps := make([]bool, 4000), make([]float32, 4000)
	for i := range labels {
		labels[i] = random.IntN(6) == 0
		// Many probabilities lie on a threshold or a hair beside it.
		step := thresholdOf(random.IntN(21))
		ps[i] = [...]float32{step, math.Nextafter32(step, -1), math.Nextafter32(step, 2), random.Float32()}[random.IntN(4)]
	}
	var c thresholdCounts
	for i, l := range labels {
		c.pixel(l, ps[i])
	}
	got := c.sweep()
	if len(got.Points) != 19 || got.Points[0].Threshold != .05 || got.Points[18].Threshold != .95 || got.Note == "" {
		t.Fatalf("points %+v", got.Points)
	}
	best := SweepPoint{Dice: -1}
	for _, point := range got.Points {
		m, _ := metricsOf(labels, ps, float32(point.Threshold))
		near(t, "Dice of the sweep", point.Dice, float64(m.Dice), 1e-12)
		if point.Dice > best.Dice {
			best = point
		}
	}
	if got.Best != best {
		t.Errorf("best %+v, want %+v", got.Best, best)
	}
	var none thresholdCounts
	if s := none.sweep(); s.Best.Dice.Defined() || s.Points[3].Dice.Defined() {
		t.Errorf("of no pixel: %+v", s.Best)
	}
}
