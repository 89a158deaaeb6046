package vessel

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/raster"
)

const (
	// smoothPx is how many points to each side a centre line is averaged over. A chain of pixels is up to 8 % longer than the
	// line it follows; with seven points a straight one is within .5 %, and an arc of a radius of 20 px is 1 % short.
	smoothPx = 3
	// curvatureSigmaPx is the standard deviation of the Gaussian under which directions are compared: what bends within less is
	// the pixel grid.
	curvatureSigmaPx = 7
	// turnEveryPx is how far apart directions are compared; at smaller steps the rest of the pixel grid adds up.
	turnEveryPx = 10
	// profileStepPx is how finely the edge is looked for across a vessel.
	profileStepPx = .25
	// maxHalfWidthPx bounds the search; no vessel of a field 1024 px wide is half as wide.
	maxHalfWidthPx = 40
)

// smooth averages each point with its neighbours, up to smoothPx to each side and as many to one side as to the other, so that
// the ends stay where they are; twice, which is a triangle. A closed line is averaged all the way round.
func smooth(points []Point, closed bool) []Point {
	n := len(points)
	for range 2 {
		out := make([]Point, n)
		for i := range points {
			k := smoothPx
			if !closed {
				k = min(k, i, n-1-i)
			}
			for j := i - k; j <= i+k; j++ {
				out[i] = out[i].plus(points[wrap(j, n, closed)], 1/float64(2*k+1))
			}
		}
		points = out
	}
	return points
}

// wrap brings an index onto a closed line, whose last point is its first one again.
func wrap(i, n int, closed bool) int {
	if !closed {
		return i
	}
	i %= n - 1
	if i < 0 {
		i += n - 1
	}
	return i
}

func lineLength(points []Point) float64 {
	sum := 0.0
	for i := 1; i < len(points); i++ {
		sum += points[i].minus(points[i-1]).length()
	}
	return sum
}

// turning is the integral of the absolute curvature over a line, radians: the sum of the angles by which its direction changes,
// taken every turnEveryPx points of the line under a Gaussian. Beyond its ends an open line is taken to go on as mirrored in its
// last point. Of the first and the last step only one half is seen to turn; the line is taken to bend there as elsewhere.
func turning(points []Point, closed bool) float64 {
	n := len(points)
	reach := 3 * curvatureSigmaPx
	kernel := make([]float64, 2*reach+1)
	total := 0.0
	for i := range kernel {
		d := float64(i-reach) / curvatureSigmaPx
		kernel[i] = math.Exp(-d * d / 2)
		total += kernel[i]
	}
	at := func(i int) Point {
		switch {
		case closed:
			return points[wrap(i, n, true)]
		case i < 0:
			p := points[min(-i, n-1)]
			return Point{2*points[0].X - p.X, 2*points[0].Y - p.Y}
		case i >= n:
			p := points[max(2*(n-1)-i, 0)]
			return Point{2*points[n-1].X - p.X, 2*points[n-1].Y - p.Y}
		}
		return points[i]
	}
	var line []Point
	for i := 0; i < n; i += turnEveryPx {
		var p Point
		for j, k := range kernel {
			p = p.plus(at(i+j-reach), k/total)
		}
		line = append(line, p)
	}
	if closed && len(line) > 2 {
		line = append(line, line[0], line[1])
	}
	sum := 0.0
	for i := 2; i < len(line); i++ {
		a, b := line[i-1].minus(line[i-2]), line[i].minus(line[i-1])
		if a.length() > 0 && b.length() > 0 {
			sum += math.Abs(math.Atan2(a.X*b.Y-a.Y*b.X, a.X*b.X+a.Y*b.Y))
		}
	}
	if steps := float64(n-1) / turnEveryPx; !closed && steps > 2 {
		sum *= steps / float64(len(line)-2)
	}
	return sum
}

// widthMeter measures how wide a mask is across a line.
type widthMeter struct{ mask *raster.Mask }

// along returns the widths at the points of a line; NaN for those within skipStart and skipEnd pixels of its ends. A width is the
// distance between the places on both sides at which the mask, interpolated bilinearly between pixel centres, falls below ½, on
// the normal of the line. Where one side is more than twice as far as the other a neighbour was hit: the near side counts twice.
func (m widthMeter) along(points []Point, skipStart, skipEnd float64) []float64 {
	widths := make([]float64, len(points))
	total := lineLength(points)
	done := 0.0
	for i := range points {
		if i > 0 {
			done += points[i].minus(points[i-1]).length()
		}
		widths[i] = math.NaN()
		before, after := points[max(0, i-smoothPx)], points[min(len(points)-1, i+smoothPx)]
		direction := after.minus(before)
		if done < skipStart || total-done < skipEnd || direction.length() == 0 {
			continue
		}
		normal := Point{-direction.Y / direction.length(), direction.X / direction.length()}
		a, b := m.reach(points[i], normal, 1), m.reach(points[i], normal, -1)
		if a == 0 || b == 0 {
			continue // the smoothed line runs beside the mask: a bend thinner than the smoothing
		}
		if short := min(a, b) + 1; max(a, b) > 2*short {
			a, b = short, short
		}
		widths[i] = a + b
	}
	return widths
}

// reach is how far the mask goes from a point in a direction.
func (m widthMeter) reach(from, direction Point, sign float64) float64 {
	last := m.sample(from)
	if last < .5 {
		return 0
	}
	for d := profileStepPx; d <= maxHalfWidthPx; d += profileStepPx {
		v := m.sample(from.plus(direction, sign*d))
		if v < .5 {
			return d - profileStepPx*(.5-v)/(last-v)
		}
		last = v
	}
	return maxHalfWidthPx
}

// sample interpolates the mask, 0 to 1.
func (m widthMeter) sample(p Point) float64 {
	x, y := p.X-.5, p.Y-.5
	x0, y0 := int(math.Floor(x)), int(math.Floor(y))
	fx, fy := x-float64(x0), y-float64(y0)
	at := func(x, y int) float64 {
		if x < 0 || y < 0 || x >= m.mask.Width || y >= m.mask.Height || m.mask.Pix[y*m.mask.Width+x] == 0 {
			return 0
		}
		return 1
	}
	return (1-fy)*((1-fx)*at(x0, y0)+fx*at(x0+1, y0)) + fy*((1-fx)*at(x0, y0+1)+fx*at(x0+1, y0+1))
}
