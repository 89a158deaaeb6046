package evaluation

import (
	"math"
	"slices"
)

// Summary is what a set's pictures say one by one; the pooled figures say what their pixels say together.
type Summary struct {
	MeanDice   Score `json:"mean_dice"`
	MedianDice Score `json:"median_dice"`
	Worst      Named `json:"worst"`       // the picture with the lowest Dice
	MeanClDice Score `json:"mean_cldice"` // Shit et al. 2021
	// Density is how well the mask's vessel area density agrees with the label's, on the photograph's own pixels inside the
	// same field of view. Stated is the same for the density that the segmenter states in its result, which it measured on
	// its own canvas and inside the field of view that it found.
	Density Agreement `json:"density"`
	Stated  Agreement `json:"stated_density"`
	// Coverage is how often the stated 90 % interval of the density holds the label's.
	Coverage Coverage `json:"coverage"`
	// NetworkSeconds is the mean time inside the network of a picture, while Options.Parallel pictures were under way.
	NetworkSeconds Score    `json:"network_seconds"`
	Ungradable     []string `json:"ungradable"` // names; scored all the same
	Refused        []string `json:"refused"`    // names; count as without vessels
}

// Named is a picture's figure.
type Named struct {
	Name string `json:"name"`
	Dice Score  `json:"dice"`
}

// Agreement compares values with the label's. Errors are value − label.
type Agreement struct {
	Pictures int   `json:"pictures"` // that have a value
	Bias     Score `json:"bias"`     // mean error
	MAE      Score `json:"mae"`      // mean absolute error
	RMSE     Score `json:"rmse"`     // root of the mean squared error
}

// Coverage counts intervals that hold the label's value, ends included.
type Coverage struct {
	Pictures      int   `json:"pictures"` // that have an interval
	Holding       int   `json:"holding"`
	Share         Score `json:"share"`
	MeanHalfWidth Score `json:"mean_half_width"`
}

func agreement(errors []float64) Agreement {
	n := float64(len(errors))
	var sum, absolute, squares float64
	for _, e := range errors {
		sum += e
		absolute += math.Abs(e)
		squares += e * e
	}
	out := Agreement{Pictures: len(errors), Bias: ratio(sum, n), MAE: ratio(absolute, n), RMSE: ratio(squares, n)}
	out.RMSE = Score(math.Sqrt(float64(out.RMSE))) // NaN stays NaN
	return out
}

// summarise goes over the pictures in their order, so that sums do not depend on which finished first.
func summarise(pictures []Picture) Summary {
	s := Summary{Worst: Named{Dice: Undefined()}, Ungradable: []string{}, Refused: []string{}}
	var dice, centre, masks, stated, halfWidths, seconds []float64
	for _, p := range pictures {
		if p.Dice.Defined() {
			dice = append(dice, float64(p.Dice))
			if !(s.Worst.Dice <= p.Dice) {
				s.Worst = Named{p.Name, p.Dice}
			}
		}
		if p.ClDice.Defined() {
			centre = append(centre, float64(p.ClDice))
		}
		if p.Refused != "" {
			s.Refused = append(s.Refused, p.Name)
		}
		if p.Ungradable != "" {
			s.Ungradable = append(s.Ungradable, p.Name)
		}
		if p.DensityError.Defined() {
			masks = append(masks, float64(p.DensityError))
		}
		if p.StatedDensity.Defined() {
			stated = append(stated, float64(p.StatedDensity)-p.LabelDensity)
		}
		if p.IntervalHolds != nil {
			s.Coverage.Pictures++
			if *p.IntervalHolds {
				s.Coverage.Holding++
			}
			halfWidths = append(halfWidths, float64(p.StatedHigh-p.StatedLow)/2)
		}
		if p.NetworkSeconds > 0 {
			seconds = append(seconds, p.NetworkSeconds)
		}
	}
	s.MeanDice, s.MedianDice, s.MeanClDice = mean(dice), median(dice), mean(centre)
	s.Density, s.Stated = agreement(masks), agreement(stated)
	s.Coverage.Share = ratio(float64(s.Coverage.Holding), float64(s.Coverage.Pictures))
	s.Coverage.MeanHalfWidth = mean(halfWidths)
	s.NetworkSeconds = mean(seconds)
	return s
}

func mean(values []float64) Score {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return ratio(sum, float64(len(values)))
}

func median(values []float64) Score {
	if len(values) == 0 {
		return Undefined()
	}
	return Score(quantile(slices.Sorted(slices.Values(values)), .5))
}

// quantile of sorted values, at least one, interpolated between neighbours (Hyndman and Fan 1996, type 7).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}
