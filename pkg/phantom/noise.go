package phantom

import (
	"math"
	"math/rand/v2"
)

// smoothNoise is random ground that changes smoothly: values of about −1 to 1 at the corners of a grid, with smooth steps between.
type smoothNoise struct {
	cell   float64 // degrees
	side   int     // corners a side
	values []float64
}

// noiseReachDeg is half the side of the square that noise covers, degrees.
const noiseReachDeg = 64

func newSmoothNoise(random *rand.Rand, cellDeg float64) *smoothNoise {
	side := int(2*noiseReachDeg/cellDeg) + 2
	n := &smoothNoise{cell: cellDeg, side: side, values: make([]float64, side*side)}
	for i := range n.values {
		n.values[i] = 2*random.Float64() - 1
	}
	return n
}

func (n *smoothNoise) at(p point) float64 {
	limit := float64(n.side) - 1.001
	x := math.Min(math.Max((p.x+noiseReachDeg)/n.cell, 0), limit)
	y := math.Min(math.Max((p.y+noiseReachDeg)/n.cell, 0), limit)
	ix, iy := int(x), int(y)
	fx, fy := fade(x-float64(ix)), fade(y-float64(iy))
	row := n.values[iy*n.side+ix:]
	next := n.values[(iy+1)*n.side+ix:]
	return (row[0]*(1-fx)+row[1]*fx)*(1-fy) + (next[0]*(1-fx)+next[1]*fx)*fy
}

// fade has no slope at 0 and 1.
func fade(t float64) float64 { return t * t * (3 - 2*t) }

// blur smooths a plane of three interleaved channels by a Gaussian, edges repeated.
func blur(pix []float32, width, height int, sigmaPx float64) {
	reach := int(math.Ceil(3 * sigmaPx))
	if reach < 1 {
		return
	}
	kernel := make([]float32, 2*reach+1)
	sum := 0.0
	for i := range kernel {
		d := float64(i-reach) / sigmaPx
		w := math.Exp(-d * d / 2)
		kernel[i] = float32(w)
		sum += w
	}
	for i := range kernel {
		kernel[i] /= float32(sum)
	}
	line := make([]float32, 3*max(width, height))
	smooth := func(start, stride, n int) {
		for i := range n {
			copy(line[3*i:3*i+3], pix[start+i*stride:start+i*stride+3])
		}
		for i := range n {
			var r, g, b float32
			for k, w := range kernel {
				j := 3 * min(max(i+k-reach, 0), n-1)
				r += w * line[j]
				g += w * line[j+1]
				b += w * line[j+2]
			}
			out := pix[start+i*stride:]
			out[0], out[1], out[2] = r, g, b
		}
	}
	for y := range height {
		smooth(3*y*width, 3, width)
	}
	for x := range width {
		smooth(3*x, 3*width, height)
	}
}
