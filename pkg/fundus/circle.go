package fundus

import (
	"math"
	"slices"
)

type point struct{ x, y float64 }

type circle struct{ x, y, r float64 }

// residual is the signed distance of p from the circle's line, positive outside.
func (c circle) residual(p point) float64 { return math.Hypot(p.x-c.x, p.y-c.y) - c.r }

// circleTrials is the number of random triples tried: with half of the points on the circle, the chance that none of the
// triples is clean is (1 − 1/8)^400 < 1e-23; with a quarter of them, .2 %.
const circleTrials = 400

// robustCircle finds the circle that most points lie on within tolerance, with a radius in [minR, maxR], by random triples
// (RANSAC; Fischler and Bolles 1981) from a generator with a fixed seed, and polishes it on its inliers. ok is false when no
// triple gives such a circle.
func robustCircle(points []point, tolerance, minR, maxR float64) (best circle, ok bool) {
	if len(points) < 3 {
		return circle{}, false
	}
	random := lcg(1)
	bestCount := -1
	for range circleTrials {
		a, b, c := points[random.intn(len(points))], points[random.intn(len(points))], points[random.intn(len(points))]
		candidate, fits := circleThrough(a, b, c)
		if !fits || candidate.r < minR || candidate.r > maxR {
			continue
		}
		count := 0
		for _, p := range points {
			if math.Abs(candidate.residual(p)) < tolerance {
				count++
			}
		}
		if count > bestCount {
			best, bestCount = candidate, count
		}
	}
	if bestCount < 3 {
		return circle{}, false
	}
	return polishCircle(points, best, tolerance), true
}

// polishCircle minimises Tukey's biweight of the distances by Gauss–Newton, starting at c; points further away than limit
// count for nothing. It returns c itself where the points do not determine a circle.
func polishCircle(points []point, c circle, limit float64) circle {
	const steps = 12
	start := c
	for range steps {
		// Normal equations of the residual d − r with the derivatives (−ux, −uy, −1), u the unit vector to the point.
		var a [3][4]float64
		for _, p := range points {
			d := math.Hypot(p.x-c.x, p.y-c.y)
			e := d - c.r
			if d == 0 || math.Abs(e) >= limit {
				continue
			}
			t := e / limit
			w := (1 - t*t) * (1 - t*t)
			j := [3]float64{-(p.x - c.x) / d, -(p.y - c.y) / d, -1}
			for row := range 3 {
				for col := range 3 {
					a[row][col] += w * j[row] * j[col]
				}
				a[row][3] -= w * j[row] * e
			}
		}
		delta, ok := solve3(a)
		if !ok {
			return start
		}
		c = circle{c.x + delta[0], c.y + delta[1], c.r + delta[2]}
		if math.Abs(delta[0])+math.Abs(delta[1])+math.Abs(delta[2]) < 1e-6 {
			break
		}
	}
	if !(c.r > 0) || math.IsInf(c.r, 0) || math.Abs(c.r-start.r) > start.r/2 {
		return start
	}
	return c
}

// circleThrough is the circle through three points; false when they lie (almost) on a line.
func circleThrough(a, b, c point) (circle, bool) {
	bx, by, cx, cy := b.x-a.x, b.y-a.y, c.x-a.x, c.y-a.y
	d := 2 * (bx*cy - by*cx)
	if math.Abs(d) < 1e-6 {
		return circle{}, false
	}
	b2, c2 := bx*bx+by*by, cx*cx+cy*cy
	ux, uy := (cy*b2-by*c2)/d, (bx*c2-cx*b2)/d
	return circle{a.x + ux, a.y + uy, math.Hypot(ux, uy)}, true
}

// solve3 solves three linear equations by Gauss–Jordan elimination with pivoting; false when they are (almost) singular.
func solve3(a [3][4]float64) ([3]float64, bool) {
	for col := range 3 {
		pivot := col
		for row := col + 1; row < 3; row++ {
			if math.Abs(a[row][col]) > math.Abs(a[pivot][col]) {
				pivot = row
			}
		}
		if math.Abs(a[pivot][col]) < 1e-9 {
			return [3]float64{}, false
		}
		a[col], a[pivot] = a[pivot], a[col]
		for row := range 3 {
			if row == col {
				continue
			}
			f := a[row][col] / a[col][col]
			for k := col; k < 4; k++ {
				a[row][k] -= f * a[col][k]
			}
		}
	}
	return [3]float64{a[0][3] / a[0][0], a[1][3] / a[1][1], a[2][3] / a[2][2]}, true
}

// lcg is a linear congruential generator (Knuth, MMIX): the package has no other source of randomness, so that the same
// picture gives the same circle.
type lcg uint64

func (s *lcg) intn(n int) int {
	*s = *s*6364136223846793005 + 1442695040888963407
	return int(uint64(*s>>33) % uint64(n))
}

// median returns the middle value; it reorders v. NaN when v is empty.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return v[len(v)/2]
}
