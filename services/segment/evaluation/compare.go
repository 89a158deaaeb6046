package evaluation

import (
	"math/rand/v2"
	"slices"
)

// Difference is how a model's Dice differs from another's on the same pictures.
type Difference struct {
	Against  string `json:"against"` // the other model
	Pictures int    `json:"pictures"`
	Mean     Score  `json:"mean"` // mean over the pictures of (this − the other)
	// Low and High bound the 95 % interval of Mean by the percentiles of Resamples resamples of the pictures, drawn with
	// replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Where the interval holds 0, these
	// pictures do not tell which model is better.
	Low       Score `json:"low"`
	High      Score `json:"high"`
	Resamples int   `json:"resamples"`
}

// The bootstrap. The seed is fixed so that two runs print the same interval.
const (
	resamples     = 2000
	bootstrapSeed = 20210621
	intervalShare = .95
)

// Compare fills in the Difference of every report from the first one, which must be of the same data set. Pictures are paired by
// name; those without a Dice in either are left out.
func Compare(reports []*Report) {
	if len(reports) == 0 {
		return
	}
	first := map[string]Score{}
	for _, p := range reports[0].PerImage {
		first[p.Name] = p.Dice
	}
	for _, r := range reports[1:] {
		var differences []float64
		for _, p := range r.PerImage {
			if other, ok := first[p.Name]; ok && other.Defined() && p.Dice.Defined() {
				differences = append(differences, float64(p.Dice-other))
			}
		}
		d := bootstrap(differences)
		d.Against = reports[0].Model.Label()
		r.Difference = &d
	}
}

func bootstrap(differences []float64) Difference {
	d := Difference{Pictures: len(differences), Mean: mean(differences), Low: Undefined(), High: Undefined(), Resamples: resamples}
	if len(differences) == 0 {
		return d
	}
	random := rand.New(rand.NewPCG(bootstrapSeed, uint64(len(differences))))
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range differences {
			sum += differences[random.IntN(len(differences))]
		}
		means[i] = sum / float64(len(differences))
	}
	slices.Sort(means)
	d.Low, d.High = Score(quantile(means, (1-intervalShare)/2)), Score(quantile(means, (1+intervalShare)/2))
	return d
}
