package evaluation

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"sort"
	"testing"
)

func near(t testing.TB, what string, got Score, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tolerance) {
		t.Errorf("%s = %v, want %v ± %g", what, float64(got), want, tolerance)
	}
}

func metricsOf(labels []bool, probabilities []float32, threshold float32) (Metrics, *pool) {
	t := newTally()
	for i, p := range probabilities {
		t.pixel(labels[i], p >= threshold, p)
	}
	sum := newPool()
	sum.add(t)
	return sum.metrics(), sum
}

// TestMetricsByHand: six pixels, threshold .5: TP 2 (.9, .6), FN 1 (.2), FP 1 (.7), TN 2 (.3, .1).
func TestMetricsByHand(t *testing.T) {
	t.Parallel()
	labels := []bool{true, true, true, false, false, false}
	m, sum := metricsOf(labels, []float32{.9, .6, .2, .7, .3, .1}, .5)
	near(t, "Dice", m.Dice, 4./6, 1e-15)
	near(t, "sensitivity", m.Sensitivity, 2./3, 1e-15)
	near(t, "specificity", m.Specificity, 2./3, 1e-15)
	near(t, "MCC", m.MCC, (2.*2-1*1)/9, 1e-15)
	// Pairs won: .9 beats 3, .6 beats .3 and .1, .2 beats .1: 6 of 9.
	near(t, "AUC", m.AUC, 6./9, 1e-15)
	if e := sum.aucError(); e != 0 {
		t.Errorf("no two probabilities share a bin, but the error bound of AUC is %v", e)
	}
	near(t, "AUC of ties", first(metricsOf(labels, []float32{.5, .5, .5, .5, .5, .5}, .5)).AUC, .5, 1e-15)
	perfect := first(metricsOf(labels, []float32{1, 1, 1, 0, 0, 0}, .5))
	for name, s := range map[string]Score{"Dice": perfect.Dice, "AUC": perfect.AUC, "sensitivity": perfect.Sensitivity, "specificity": perfect.Specificity, "MCC": perfect.MCC} {
		near(t, "perfect "+name, s, 1, 0)
	}
}

func first(m Metrics, _ *pool) Metrics { return m }

func TestUndefinedFiguresAreNullAndNotNumbers(t *testing.T) {
	t.Parallel()
	m, _ := metricsOf([]bool{false, false}, []float32{.1, .2}, .5)
	if m.Dice.Defined() || m.AUC.Defined() || m.Sensitivity.Defined() || m.MCC.Defined() || m.Specificity != 1 {
		t.Errorf("no vessel in label or mask: %+v, want only a specificity", m)
	}
	data, err := json.Marshal(m)
	if want := `{"dice":null,"auc":null,"sensitivity":null,"specificity":1,"mcc":null}`; err != nil || string(data) != want {
		t.Errorf("JSON %s (%v), want %s", data, err, want)
	}
}

// TestMetricsAgainstNumpy compares with numbers that numpy computed from the same pixels, AUC by sorting all of them.
func TestMetricsAgainstNumpy(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/numpy_metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var reference struct {
		Labels        []int
		Probabilities []float32
		Threshold     float32
		Dice          float64
		AUC           float64
		Sensitivity   float64
		Specificity   float64
		MCC           float64
	}
	if err := json.Unmarshal(data, &reference); err != nil {
		t.Fatal(err)
	}
	labels := make([]bool, len(reference.Labels))
	for i, l := range reference.Labels {
		labels[i] = l == 1
	}
	m, sum := metricsOf(labels, reference.Probabilities, reference.Threshold)
	near(t, "Dice", m.Dice, reference.Dice, 1e-12)
	near(t, "sensitivity", m.Sensitivity, reference.Sensitivity, 1e-12)
	near(t, "specificity", m.Specificity, reference.Specificity, 1e-12)
	near(t, "MCC", m.MCC, reference.MCC, 1e-12)
	near(t, "AUC", m.AUC, reference.AUC, sum.aucError()+1e-12)
	if sum.aucError() > 1e-3 {
		t.Errorf("the error bound of AUC is %v", sum.aucError())
	}
}

// TestBinsGrowWithProbability walks over probabilities of every size.
func TestBinsGrowWithProbability(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var ps []float32
	for range 20000 {
		p := math.Exp2(-40 * random.Float64())
		ps = append(ps, float32(p), float32(1-p), random.Float32())
	}
	ps = append(ps, 0, 1, .5, math.SmallestNonzeroFloat32, math.Nextafter32(1, 0), math.Nextafter32(.5, 0), math.Nextafter32(.5, 1))
	sort.Slice(ps, func(i, j int) bool { return ps[i] < ps[j] })
	for i := 1; i < len(ps); i++ {
		a, b := binOf(ps[i-1]), binOf(ps[i])
		if a > b || a < 0 || b >= bins {
			t.Fatalf("bin %d of %v, but bin %d of %v", a, ps[i-1], b, ps[i])
		}
	}
	if binOf(0) != 0 || binOf(1) != bins-1 || binOf(float32(math.NaN())) != 0 || binOf(-1) != 0 || binOf(2) != bins-1 {
		t.Error("the ends are not in the outer bins")
	}
}

func TestROCIsACurve(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	labels, ps := make([]bool, 5000), make([]float32, 5000)
	for i := range labels {
		labels[i] = random.IntN(8) == 0
		ps[i] = float32(1 / (1 + math.Exp(-random.NormFloat64()*2)))
		if labels[i] {
			ps[i] = float32(1 / (1 + math.Exp(-random.NormFloat64()*2-2)))
		}
	}
	m, sum := metricsOf(labels, ps, .5)
	curve := sum.roc()
	area := 0.0
	for i := 1; i < len(curve); i++ {
		a, b := curve[i-1], curve[i]
		if b.FalsePositiveRate < a.FalsePositiveRate || b.TruePositiveRate < a.TruePositiveRate {
			t.Fatalf("the curve turns back from %v to %v", a, b)
		}
		area += (b.FalsePositiveRate - a.FalsePositiveRate) * (a.TruePositiveRate + b.TruePositiveRate) / 2
	}
	near(t, "area under the drawn curve", Score(area), float64(m.AUC), 2e-3)
	if curve[0] != (ROCPoint{}) || curve[len(curve)-1] != (ROCPoint{1, 1}) {
		t.Errorf("the curve goes from %v to %v", curve[0], curve[len(curve)-1])
	}
}
