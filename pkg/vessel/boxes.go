package vessel

import (
	"math"
	"math/bits"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// BoxConvention says which boxes box counting counts. Tools differ, and their dimensions with them.
type BoxConvention int

const (
	// FullBoxesCount counts every box with any vessel pixel: the textbook definition, by which a filled square has dimension 2.
	FullBoxesCount BoxConvention = iota
	// FullBoxesLeftOut counts the boxes that hold vessel and background, as AutoMorph does.
	FullBoxesLeftOut
)

// smallestBoxPx is the side of the smallest box: below it the pixel grid is counted, not the vessels.
const smallestBoxPx = 4

// BoxDimension returns the box-counting dimension of a mask: box sides 2ⁿ … 4 pixels, 2ⁿ the largest power of two that is
// not larger than the grid's shorter side, boxes anchored at the upper left corner (those at the right and bottom edge may
// be cut and count), least squares of log N on log 1/s. It is unchanged by flips and quarter turns where both
// sides of the grid are multiples of 2ⁿ; elsewhere the anchor moves the boxes against the vessels, by about .01.
func BoxDimension(mask *raster.Mask, convention BoxConvention) (float64, *Absence) {
	dimension, _, absent := boxFit(mask, convention)
	return dimension, absent
}

// boxFit also returns the fit's coefficient of determination R².
func boxFit(mask *raster.Mask, convention BoxConvention) (dimension, r2 float64, absent *Absence) {
	shorter := min(mask.Width, mask.Height)
	if shorter < 2*smallestBoxPx {
		return 0, 0, &Absence{ReasonGridTooSmall, "The picture grid is smaller than 8 pixels, so that no two box sizes fit and the dimension cannot be fitted."}
	}
	n := bits.Len(uint(shorter)) - 1

	// One pass over the pixels gives the smallest boxes; each larger box is the sum of its four quarters.
	w, h := ceilDiv(mask.Width, smallestBoxPx), ceilDiv(mask.Height, smallestBoxPx)
	sums := make([]int32, w*h)
	for y := range mask.Height {
		row := mask.Pix[y*mask.Width : (y+1)*mask.Width]
		out := sums[y/smallestBoxPx*w:]
		for x, v := range row {
			if v != 0 {
				out[x/smallestBoxPx]++
			}
		}
	}
	var logInverse, logCount []float64
	for side := smallestBoxPx; side <= 1<<n; side *= 2 {
		count := countBoxes(sums, int32(side*side), convention)
		if count == 0 {
			return 0, 0, &Absence{ReasonNoVessels, "There is no vessel pixel to count boxes of, so that the dimension cannot be fitted."}
		}
		logInverse = append(logInverse, -math.Log(float64(side)))
		logCount = append(logCount, math.Log(float64(count)))
		sums, w, h = quarter(sums, w, h)
	}
	dimension, r2 = slope(logInverse, logCount)
	return dimension, r2, nil
}

func countBoxes(sums []int32, full int32, convention BoxConvention) int {
	count := 0
	for _, s := range sums {
		if s > 0 && (convention == FullBoxesCount || s < full) {
			count++
		}
	}
	return count
}

// quarter joins boxes two by two in each direction.
func quarter(sums []int32, w, h int) (joined []int32, jw, jh int) {
	jw, jh = ceilDiv(w, 2), ceilDiv(h, 2)
	joined = make([]int32, jw*jh)
	for y := range h {
		for x := range w {
			joined[y/2*jw+x/2] += sums[y*w+x]
		}
	}
	return joined, jw, jh
}

// slope is that of the least-squares line of y on x. r2 is the share of y's variance that the line explains; 1 where y has none.
func slope(x, y []float64) (slope, r2 float64) {
	var mx, my float64
	for i := range x {
		mx += x[i]
		my += y[i]
	}
	mx /= float64(len(x))
	my /= float64(len(x))
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	if yy == 0 {
		return xy / xx, 1
	}
	return xy / xx, xy * xy / (xx * yy)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
