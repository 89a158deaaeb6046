package evaluation

// CalibrationBins is the number of equally wide bins of the reliability figure, as in Guo et al. 2017.
const CalibrationBins = 15

// Calibration tells whether a probability means a frequency: of the pixels to which the model gives about p, a share of about
// p should be vessel. All pixels inside the fields of view for which the model gave a probability count.
type Calibration struct {
	Pixels        uint64 `json:"pixels"`
	MeanPredicted Score  `json:"mean_predicted"` // mean probability of all pixels
	Observed      Score  `json:"observed"`       // share of them that is vessel by the label
	// ECE is the expected calibration error of the probability of vessel: Σ n_b/n · |observed_b − predicted_b| (Guo et al.,
	// On Calibration of Modern Neural Networks, ICML 2017, eq. 3). Most pixels are plain background, which weighs most.
	ECE Score `json:"ece"`
	// MCE is the largest of the |observed_b − predicted_b| (eq. 5), over bins with at least 1/10,000 of the pixels.
	MCE  Score            `json:"mce"`
	Bins []CalibrationBin `json:"bins"` // by probability
}

// CalibrationBin holds the pixels whose probability is at least Low and below High; the last one holds 1 too.
type CalibrationBin struct {
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	Pixels    uint64  `json:"pixels"`
	Predicted Score   `json:"predicted"` // mean probability
	Observed  Score   `json:"observed"`  // share of vessel by the label
}

// minMCEShare of the pixels must lie in a bin for the largest error: below, it would be that of a few pixels.
const minMCEShare = 1e-4

// probabilityUnit is the step in which probabilities are summed up as whole numbers, so that the sum does not depend on the order of
// pictures; 2³⁴ pixels fit.
const probabilityUnit = 1 << 30

// reliability counts pixels by probability.
type reliability struct {
	pixels, vessels, probability [CalibrationBins]uint64 // probability is a sum, in 1/probabilityUnit
}

// pixel counts one pixel.
func (c *reliability) pixel(label bool, probability float32) {
	p := min(max(float64(probability), 0), 1)
	if p != p { // NaN, which no pixel of a segmenter should be
		p = 0
	}
	b := min(int(p*CalibrationBins), CalibrationBins-1)
	c.pixels[b]++
	c.probability[b] += uint64(p*probabilityUnit + .5)
	if label {
		c.vessels[b]++
	}
}

func (c *reliability) add(other *reliability) {
	for b := range CalibrationBins {
		c.pixels[b] += other.pixels[b]
		c.vessels[b] += other.vessels[b]
		c.probability[b] += other.probability[b]
	}
}

func (c *reliability) calibration() Calibration {
	out := Calibration{Bins: make([]CalibrationBin, CalibrationBins), MCE: Undefined()}
	var vessels, probability uint64
	for b := range CalibrationBins {
		out.Pixels += c.pixels[b]
		vessels += c.vessels[b]
		probability += c.probability[b]
	}
	n := float64(out.Pixels)
	out.MeanPredicted, out.Observed = ratio(float64(probability)/probabilityUnit, n), ratio(float64(vessels), n)
	gaps := 0.0
	for b := range CalibrationBins {
		pixels := float64(c.pixels[b])
		bin := CalibrationBin{
			Low: float64(b) / CalibrationBins, High: float64(b+1) / CalibrationBins, Pixels: c.pixels[b],
			Predicted: ratio(float64(c.probability[b])/probabilityUnit, pixels), Observed: ratio(float64(c.vessels[b]), pixels),
		}
		out.Bins[b] = bin
		if pixels == 0 {
			continue
		}
		gap := bin.Observed - bin.Predicted
		if gap < 0 {
			gap = -gap
		}
		gaps += pixels * float64(gap)
		if pixels >= minMCEShare*n && !(out.MCE > gap) {
			out.MCE = gap
		}
	}
	out.ECE = ratio(gaps, n)
	return out
}
