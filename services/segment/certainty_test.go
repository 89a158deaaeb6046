package segment

import (
	"math"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

func TestMeanVarianceCountsTheFieldOfViewOnly(t *testing.T) {
	t.Parallel()
	p := &raster.Plane{Width: 4, Height: 1, Pix: []float32{.5, 1, 0, .5}}
	fov := &raster.Mask{Width: 4, Height: 1, Pix: []uint8{255, 255, 255, 0}}
	if got, want := meanVariance(p, fov), .25/3; math.Abs(got-want) > 1e-9 {
		t.Errorf("the statistic is %v, expected %v", got, want)
	}
	if got := meanVariance(p, raster.NewMask(4, 1)); got != 0 {
		t.Errorf("an empty field of view gives %v, expected 0", got)
	}
}

func TestErrorsAreTheModels(t *testing.T) {
	t.Parallel()
	value := .1
	measures := []record.Measure{{Name: vessel.AreaDensity, Value: &value}, {Name: vessel.LengthDensity}, {Name: vessel.FractalDimension, Value: &value}}
	addErrors(measures, []record.MeasureError{
		{Measure: vessel.AreaDensity, Offset: .002, Slope: .5}, {Measure: vessel.LengthDensity, Offset: 1, Slope: 1},
	}, .01)
	if e := measures[0].Error; e == nil || math.Abs(*e-.007) > 1e-12 {
		t.Errorf("the error of the area density is %v, expected .007", e)
	}
	long := 20.0
	relative := []record.Measure{{Name: vessel.LengthDensity, Value: &long}}
	addErrors(relative, []record.MeasureError{{Measure: vessel.LengthDensity, Statistic: "value", Offset: 1, Slope: .1}}, .01)
	if e := relative[0].Error; e == nil || math.Abs(*e-3) > 1e-12 {
		t.Errorf("the relative error of the length density is %v, expected 3", e)
	}
	if measures[1].Error != nil || measures[2].Error != nil {
		t.Error("a withheld measure, or one without a fitted error, got an error")
	}
}

func TestPicturesOutsideTheTrainingRangeAreNamed(t *testing.T) {
	t.Parallel()
	ranges := []record.TrainingRange{
		{Statistic: vessel.AreaDensity, Low: .05, High: .15}, {Statistic: "mean-red", Low: 100, High: 200},
		{Statistic: "mean-blue", Low: 10, High: 90}, {Statistic: "contrast-green", Low: 15, High: 40}, {Statistic: "canvas-scale", Low: .3, High: 2},
	}
	norm := fundus.Normalisation{Mean: [3]float64{150, 80, 40}, Std: [3]float64{30, 20, 10}}
	density := .1
	measures := []record.Measure{{Name: vessel.AreaDensity, Value: &density}}
	if notes := outsideTraining(ranges, norm, 1, measures); len(notes) != 0 {
		t.Errorf("a picture like the training pictures is warned about: %v", notes)
	}
	for name, test := range map[string]struct {
		change func(n *fundus.Normalisation, scale, density *float64)
		code   string
	}{
		"pale":     {func(n *fundus.Normalisation, _, _ *float64) { n.Mean[0], n.Mean[2] = 240, 120 }, codeUnknownColour},
		"flat":     {func(n *fundus.Normalisation, _, _ *float64) { n.Std[1] = 9 }, codeUnknownContrast},
		"tiny":     {func(_ *fundus.Normalisation, s, _ *float64) { *s = 3 }, codeUnknownScale},
		"no veins": {func(_ *fundus.Normalisation, _, d *float64) { *d = .02 }, codeUnknownVessels},
	} {
		n, scale, d := norm, 1.0, .1
		test.change(&n, &scale, &d)
		notes := outsideTraining(ranges, n, scale, []record.Measure{{Name: vessel.AreaDensity, Value: &d}})
		if len(notes) != 1 || notes[0].Code != test.code || strings.Contains(notes[0].Text, "%!") {
			t.Errorf("%s: warned with %v, expected one warning %s", name, notes, test.code)
		}
	}
	if notes := outsideTraining(ranges, norm, 1, []record.Measure{{Name: vessel.AreaDensity}}); len(notes) != 0 {
		t.Errorf("a withheld measure is compared with the training range: %v", notes)
	}
}
