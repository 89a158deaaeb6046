package evaluation

// sweepSteps divides [0, 1]: thresholds are 1/20, 2/20, … 19/20.
const sweepSteps = 20

// Sweep is the pooled Dice at other thresholds than the model's own.
type Sweep struct {
	Note   string       `json:"note"`
	Points []SweepPoint `json:"points"` // by threshold
	Best   SweepPoint   `json:"best"`   // the highest Dice; the lowest such threshold
}

// SweepPoint is the Dice of the mask "probability ≥ threshold".
type SweepPoint struct {
	Threshold float64 `json:"threshold"`
	Dice      Score   `json:"dice"`
}

const sweepNote = "not to be used for choosing a threshold: these pictures measure the model, and a threshold fitted on them would flatter it"

// thresholdCounts counts pixels by the largest threshold that their probability reaches; 0 is none.
type thresholdCounts struct {
	vessels, others [sweepSteps]uint64
}

// pixel counts one pixel.
func (c *thresholdCounts) pixel(label bool, probability float32) {
	step := 0
	if probability > 0 { // false for NaN
		step = min(int(probability*sweepSteps), sweepSteps-1)
		// The product is rounded, up for some probabilities just below a threshold: the thresholds decide, as they do for a mask.
		if probability < thresholdOf(step) {
			step--
		}
	}
	if label {
		c.vessels[step]++
	} else {
		c.others[step]++
	}
}

func thresholdOf(step int) float32 { return float32(float64(step) / sweepSteps) }

func (c *thresholdCounts) add(other *thresholdCounts) {
	for i := range sweepSteps {
		c.vessels[i] += other.vessels[i]
		c.others[i] += other.others[i]
	}
}

func (c *thresholdCounts) sweep() Sweep {
	out := Sweep{Note: sweepNote, Best: SweepPoint{Dice: Undefined()}}
	var all uint64
	for _, n := range c.vessels {
		all += n
	}
	var tp, fp uint64
	for step := sweepSteps - 1; step > 0; step-- {
		tp += c.vessels[step]
		fp += c.others[step]
		out.Points = append(out.Points, SweepPoint{float64(step) / sweepSteps, ratio(2*float64(tp), float64(tp+fp+all))})
	}
	for i, j := 0, len(out.Points)-1; i < j; i, j = i+1, j-1 {
		out.Points[i], out.Points[j] = out.Points[j], out.Points[i]
	}
	for _, p := range out.Points {
		if p.Dice.Defined() && !(out.Best.Dice >= p.Dice) {
			out.Best = p
		}
	}
	return out
}
