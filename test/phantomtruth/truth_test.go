package main

import (
	"math"
	"testing"
)

// worst is the greatest mean absolute error that a measure may have over the phantoms of the test: half as much again as it has over
// the 40 phantoms of docs/measures.md (seeds 1000 to 1039), which are other ones.
var worst = map[string]float64{
	"vessel-area-density": .0099, "vessel-length-density": 1.65, "fractal-dimension": .0225, "fractal-dimension-open-boxes": .0225, "fractal-dimension-fit": .00075,
	"vessel-area-density-frame": .0074, "vessel-width-mean": .068, "vessel-width-p10": .092, "vessel-width-median": .077, "vessel-width-p90": .092,
	"vessel-segment-count": 48, "branch-point-count": 24, "end-point-count": 16.5, "branching-angle-mean": 2.3, "tortuosity-arc-chord": .026, "tortuosity-curvature": .81,
}

// TestMeasuresOfPhantoms: what the product states of drawn eyes is near what was drawn.
func TestMeasuresOfPhantoms(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, NOT RUN: takes some seconds (-short)")
	}
	t.Parallel()
	s, err := openScreener(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	const first, n = 900, 6 // both eyes, both fields, all sizes, with and without something in the way
	all := map[string][]pair{}
	for seed := uint64(first); seed < first+n; seed++ {
		pairs, refused, err := s.compare(t.Context(), shot(seed))
		if err != nil {
			t.Fatal(err)
		}
		if refused != "" {
			t.Errorf("phantom %d was not measured: %s", seed, refused)
		}
		for name, p := range pairs {
			all[name] = append(all[name], p)
		}
	}
	for name, bound := range worst {
		f := summarise(all[name])
		t.Logf("%s: drawn %.4g, mean error %+.2g, mean absolute error %.2g, correlation %.2f", name, f.drawn, f.bias, f.meanError, f.correlation)
		if f.n != n || !(f.meanError <= bound) {
			t.Errorf("%s: mean absolute error %.3g over %d phantoms, want at most %v over %d", name, f.meanError, f.n, bound, n)
		}
	}
	if f := summarise(all["vessel-area-density"]); f.correlation < .9 {
		t.Errorf("the area density goes with what was drawn by %.2f only", f.correlation)
	}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	half := 1.0
	f := summarise([]pair{{1, 2, &half, 1}, {4, 4, &half, 2}, {9, 6, &half, 3}, {6, 8, nil, 4}})
	want := figures{n: 4, drawn: 5, bias: 0, meanError: 1.5, correlation: 20 / math.Sqrt(34*20), within: 2, withInterval: 3, worst: pair{9, 6, &half, 3}, drawnSpread: math.Sqrt(20. / 3)}
	if f != want {
		t.Errorf("%+v, want %+v", f, want)
	}
}
