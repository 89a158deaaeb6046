package segment

import (
	"fmt"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// meanVariance is the statistic that measures' errors are a function of: the mean of p·(1 − p) over the pixels of fov, p their
// vessel probability; 0 where the network is sure of every pixel, at most ¼. 0 where fov is empty.
func meanVariance(probability *raster.Plane, fov *raster.Mask) float64 {
	var sum float64
	n := 0
	for i, p := range probability.Pix {
		if fov.Pix[i] != 0 {
			sum += float64(p) * (1 - float64(p))
			n++
		}
	}
	return sum / float64(max(1, n))
}

// statisticValue is the statistic of a measure's error that is the measure itself; the other one is meanVariance.
const statisticValue = "value"

// noError is why a measure has no interval.
func noError() *record.Note {
	return &record.Note{Code: "error-not-known", Text: "How far this measure may be from that of an observer's mask has not been determined for this model."}
}

// addErrors gives every measure that the model knows the error of the half width of its interval, and the others the reason.
func addErrors(measures []record.Measure, errors []record.MeasureError, meanVariance float64) {
	for i := range measures {
		m := &measures[i]
		if m.Value != nil {
			m.ErrorAbsentReason = noError()
		}
		for _, e := range errors {
			if e.Measure == m.Name && m.Value != nil {
				statistic := meanVariance
				if e.Statistic == statisticValue {
					statistic = *m.Value
				}
				half := e.Offset + e.Slope*statistic
				m.Error, m.ErrorAbsentReason = &half, nil
			}
		}
	}
}

// Codes of the warnings that a picture is unlike those that the model was trained on.
const (
	codeUnknownVessels  = "vessels-outside-training-range"
	codeUnknownColour   = "colour-outside-training-range"
	codeUnknownContrast = "contrast-outside-training-range"
	codeUnknownScale    = "scale-outside-training-range"
)

// rangeWarnings are how the statistics of a training range are told to people. Several of one code are one warning.
var rangeWarnings = []struct{ statistic, code, text string }{
	{vessel.AreaDensity, codeUnknownVessels, "The vessels found take a share of the field of view (%.3f) that no training picture had (%.3f to %.3f): look at the overlay before using the measures."},
	{vessel.LengthDensity, codeUnknownVessels, "The vessels found have a length density (%.1f) that no training picture had (%.1f to %.1f): look at the overlay before using the measures."},
	{"mean-red", codeUnknownColour, "The photograph's mean red (%.0f) is outside what the model was trained on (%.0f to %.0f), so its measures are less certain."},
	{"mean-green", codeUnknownColour, "The photograph's mean green (%.0f) is outside what the model was trained on (%.0f to %.0f), so its measures are less certain."},
	{"mean-blue", codeUnknownColour, "The photograph's mean blue (%.0f) is outside what the model was trained on (%.0f to %.0f), so its measures are less certain."},
	{"contrast-red", codeUnknownContrast, "The photograph's contrast in red (%.0f) is outside what the model was trained on (%.0f to %.0f), so its measures are less certain."},
	{"contrast-green", codeUnknownContrast, "The photograph's contrast in green (%.0f) is outside what the model was trained on (%.0f to %.0f), so its measures are less certain."},
	{"contrast-blue", codeUnknownContrast, "The photograph's contrast in blue (%.0f) is outside what the model was trained on (%.0f to %.0f), so its measures are less certain."},
	{"canvas-scale", codeUnknownScale, "The photograph was scaled by %.2f for the model, which was trained on %.2f to %.2f: its pixels are of another size than the model knows, so its measures are less certain."},
}

// outsideTraining names what of a picture lies outside the training range of the model.
func outsideTraining(ranges []record.TrainingRange, norm fundus.Normalisation, scale float64, measures []record.Measure) []record.Note {
	values := map[string]float64{"canvas-scale": scale}
	for ch, name := range []string{"red", "green", "blue"} {
		values["mean-"+name], values["contrast-"+name] = norm.Mean[ch], norm.Std[ch]
	}
	for _, m := range measures {
		if m.Value != nil {
			values[m.Name] = *m.Value
		}
	}
	var notes []record.Note
	said := map[string]bool{}
	for _, w := range rangeWarnings {
		for _, r := range ranges {
			v, known := values[w.statistic]
			if r.Statistic != w.statistic || !known || said[w.code] || v >= r.Low && v <= r.High {
				continue
			}
			said[w.code] = true
			notes = append(notes, record.Note{Code: w.code, Text: fmt.Sprintf(w.text, v, r.Low, r.High)})
		}
	}
	return notes
}
