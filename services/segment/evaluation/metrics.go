package evaluation

import (
	"math"
	"strconv"
)

// Score is a figure that may be undefined, e.g. the sensitivity of a picture without vessels: NaN, null in JSON.
type Score float64

// Undefined is the score that could not be computed.
func Undefined() Score { return Score(math.NaN()) }

// Defined tells whether there is a number.
func (s Score) Defined() bool { return !math.IsNaN(float64(s)) }

// MarshalJSON writes null where the score is undefined.
func (s Score) MarshalJSON() ([]byte, error) {
	if !s.Defined() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(s), 'g', -1, 64), nil
}

// String writes four digits after the point, or a dash.
func (s Score) String() string {
	if !s.Defined() {
		return "–"
	}
	return strconv.FormatFloat(float64(s), 'f', 4, 64)
}

func ratio(part, whole float64) Score {
	if whole == 0 {
		return Undefined()
	}
	return Score(part / whole)
}

// Metrics compare a segmentation with a label.
type Metrics struct {
	Dice        Score `json:"dice"`        // 2 TP / (2 TP + FP + FN), of the mask
	AUC         Score `json:"auc"`         // area under the ROC curve of the probabilities
	Sensitivity Score `json:"sensitivity"` // TP / (TP + FN), of the mask
	Specificity Score `json:"specificity"` // TN / (TN + FP), of the mask
	MCC         Score `json:"mcc"`         // Matthews' correlation coefficient, of the mask
}

// tally counts the pixels of one picture, which are fewer than 2³²: the confusion matrix of the mask, and the probabilities by label.
type tally struct {
	tp, fp, tn, fn uint64
	vessel, other  []uint32 // pixels by bin of probability
	thresholds     thresholdCounts
	reliability    reliability // only pixels that have a probability
}

func newTally() *tally {
	return &tally{vessel: make([]uint32, bins), other: make([]uint32, bins)}
}

// pixel counts one pixel.
func (t *tally) pixel(label, mask bool, probability float32) {
	b := binOf(probability)
	t.thresholds.pixel(label, probability)
	if label {
		t.vessel[b]++
		if mask {
			t.tp++
		} else {
			t.fn++
		}
		return
	}
	t.other[b]++
	if mask {
		t.fp++
	} else {
		t.tn++
	}
}

// pool is the sum of tallies, wide enough for any data set.
type pool struct {
	tp, fp, tn, fn uint64
	vessel, other  []uint64
	thresholds     thresholdCounts
	reliability    reliability
}

func newPool() *pool { return &pool{vessel: make([]uint64, bins), other: make([]uint64, bins)} }

func (p *pool) add(t *tally) {
	p.tp, p.fp, p.tn, p.fn = p.tp+t.tp, p.fp+t.fp, p.tn+t.tn, p.fn+t.fn
	p.thresholds.add(&t.thresholds)
	p.reliability.add(&t.reliability)
	for i := range bins {
		p.vessel[i] += uint64(t.vessel[i])
		p.other[i] += uint64(t.other[i])
	}
}

func (p *pool) metrics() Metrics {
	tp, fp, tn, fn := float64(p.tp), float64(p.fp), float64(p.tn), float64(p.fn)
	return Metrics{
		Dice:        ratio(2*tp, 2*tp+fp+fn),
		AUC:         p.auc(),
		Sensitivity: ratio(tp, tp+fn),
		Specificity: ratio(tn, tn+fp),
		MCC:         ratio(tp*tn-fp*fn, math.Sqrt((tp+fp)*(tp+fn)*(tn+fp)*(tn+fn))),
	}
}

// The bins of probability. Half of them split (2⁻³², ½] so that a bin spans 2⁻¹¹ of its probability, the other half mirrors
// them for 1 − p: networks put most pixels very near 0 and 1, where equal bins would tie them.
const (
	binExponents = 32
	binMantissa  = 11 // bits
	halfBins     = binExponents << binMantissa
	bins         = 2 * halfBins // 131,072
)

// binOf returns the bin of a probability, growing with it.
func binOf(p float32) int {
	switch {
	case !(p > 0): // also NaN, which no pixel of a segmenter should be
		return 0
	case p >= 1:
		return bins - 1
	case p <= .5:
		return lowBin(p)
	}
	return bins - 1 - lowBin(1-p) // 1 − p is exact above ½
}

// lowBin is binOf for 0 < p ≤ ½: sign, exponent and upper mantissa of a float are a number that grows with it.
func lowBin(p float32) int {
	const mantissaBits, bias = 23, 127
	b := int(math.Float32bits(p)>>(mantissaBits-binMantissa)) - (bias-1-binExponents)<<binMantissa
	return min(max(b, 0), halfBins-1)
}

// auc is the area under the ROC curve by the Mann-Whitney statistic: the share of pairs of a vessel and another pixel in which
// the vessel has the higher probability; pairs in one bin count half. See aucError for what the bins cost.
func (p *pool) auc() Score {
	var vessels, others, won float64
	for i := range bins {
		v, o := float64(p.vessel[i]), float64(p.other[i])
		won += v * (others + o/2)
		vessels += v
		others += o
	}
	return ratio(won, vessels*others)
}

// aucError bounds the difference of auc from the exact value with true ties counted half: half of the pairs within bins.
func (p *pool) aucError() float64 {
	var vessels, others, tied float64
	for i := range bins {
		v, o := float64(p.vessel[i]), float64(p.other[i])
		tied += v * o
		vessels += v
		others += o
	}
	if vessels*others == 0 {
		return 0
	}
	return tied / 2 / (vessels * others)
}

// ROCPoint is one point of the ROC curve.
type ROCPoint struct{ FalsePositiveRate, TruePositiveRate float64 }

// roc returns the curve from (0, 0) to (1, 1), thinned to steps of at least 1/1000 in one of the rates.
func (p *pool) roc() []ROCPoint {
	var vessels, others float64
	for i := range bins {
		vessels += float64(p.vessel[i])
		others += float64(p.other[i])
	}
	if vessels == 0 || others == 0 {
		return nil
	}
	const step = 1e-3
	points := []ROCPoint{{}}
	var v, o float64
	for i := bins - 1; i >= 0; i-- {
		v += float64(p.vessel[i])
		o += float64(p.other[i])
		next, last := ROCPoint{o / others, v / vessels}, points[len(points)-1]
		if next.FalsePositiveRate-last.FalsePositiveRate >= step || next.TruePositiveRate-last.TruePositiveRate >= step {
			points = append(points, next)
		}
	}
	return append(points, ROCPoint{1, 1})
}
