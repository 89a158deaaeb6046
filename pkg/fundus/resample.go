package fundus

import (
	"math"
	"runtime"
	"sync"
)

// triangleWeights are the weights of a one-dimensional triangle filter, ready to be applied: output i is the sum over
// k < count[i] of weight[offset[i]+k] · input[first[i]+k].
type triangleWeights struct {
	first, count, offset []int
	weight               []float32
}

// newTriangleWeights precomputes the filter at the given centres (source pixels). reach is the half width of the triangle,
// at least 1 source pixel; when shrinking it is the size of a target pixel (antialias). The weights of an output sum to 1,
// or there are none where no source pixel is in reach.
func newTriangleWeights(centres []float64, reach float64, sourcePx int) *triangleWeights {
	reach = math.Max(1, reach)
	n := len(centres)
	t := &triangleWeights{first: make([]int, n), count: make([]int, n), offset: make([]int, n)}
	t.weight = make([]float32, 0, n*(int(2*reach)+1))
	var raw []float64
	for i, c := range centres {
		t.offset[i] = len(t.weight)
		lo := max(0, int(math.Floor(c-reach-0.5)))
		hi := min(sourcePx-1, int(math.Ceil(c+reach-0.5)))
		raw = raw[:0]
		sum := 0.0
		for j := lo; j <= hi; j++ {
			w := math.Max(0, 1-math.Abs(float64(j)+0.5-c)/reach)
			if w == 0 && len(raw) == 0 {
				lo = j + 1
				continue
			}
			raw = append(raw, w)
			sum += w
		}
		for len(raw) > 0 && raw[len(raw)-1] == 0 {
			raw = raw[:len(raw)-1]
		}
		if len(raw) == 0 {
			continue
		}
		t.first[i], t.count[i] = lo, len(raw)
		for _, w := range raw {
			t.weight = append(t.weight, float32(w/sum))
		}
	}
	return t
}

// sourceRange returns the inputs [first, end) that the outputs [from, to) need.
func (t *triangleWeights) sourceRange(from, to int) (first, end int) {
	first, end = math.MaxInt, 0
	for i := from; i < to; i++ {
		if t.count[i] == 0 {
			continue
		}
		first, end = min(first, t.first[i]), max(end, t.first[i]+t.count[i])
	}
	if end == 0 {
		return 0, 0
	}
	return first, end
}

// bandRows is the number of output rows that a goroutine makes at a time: small enough for its intermediate rows to stay in
// the cache, large enough that the rows shared by two bands (filtered twice) cost little.
const bandRows = 32

// separable runs the two passes of a filter. horizontal filters source row j into out (planar: channels × width values);
// emit takes a finished output row. Bands of rows run in parallel; every value depends on its inputs alone and is summed in
// a fixed order, so the result does not depend on the number of processors.
func separable(rows *triangleWeights, width, channels int, horizontal func(j int, out []float32), emit func(i int, row []float32)) {
	n := len(rows.first)
	stride := width * channels
	forBands(n, func(from, to int) {
		first, end := rows.sourceRange(from, to)
		half := make([]float32, (end-first)*stride)
		for j := first; j < end; j++ {
			horizontal(j, half[(j-first)*stride:(j-first+1)*stride])
		}
		row := make([]float32, stride)
		for i := from; i < to; i++ {
			clear(row)
			for k := range rows.count[i] {
				w := rows.weight[rows.offset[i]+k]
				source := half[(rows.first[i]+k-first)*stride:][:stride]
				for x, v := range source {
					row[x] += float32(w * v) // rounded before the sum: no fused multiply-add, so every architecture gives the same bits
				}
			}
			emit(i, row)
		}
	})
}

// forBands calls work for consecutive bands of [0, n), on at most GOMAXPROCS goroutines, and returns when all are done.
func forBands(n int, work func(from, to int)) {
	bands := (n + bandRows - 1) / bandRows
	workers := min(runtime.GOMAXPROCS(0), bands)
	var next sync.Mutex
	band := 0
	take := func() int {
		next.Lock()
		defer next.Unlock()
		band++
		return band - 1
	}
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for b := take(); b < bands; b = take() {
				work(b*bandRows, min(n, (b+1)*bandRows))
			}
		})
	}
	done.Wait()
}
