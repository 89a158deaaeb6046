package fundus

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// Sharpening of the circle on the picture itself.
const (
	rays              = 720
	rayStepPx         = 0.5
	rayHalfWindow     = .03 // of the radius
	rayMinWindowPx    = 4.0
	minEdgeContrast   = 6.0 // grey levels between retina and surround: below it a ray tells nothing
	minRaysForCircle  = 48
	edgeTolerance     = .004 // of the radius: rays further off the circle (notches, lashes, text) count for nothing
	tangentialSamples = 5
)

// sharpen measures where the signal falls to half along rays around the circle, which the thumbnail gave with an error of
// about k source pixels, and fits the circle again; twice, since the first windows are wide. It returns c where too few rays
// show an edge.
func sharpen(p *raster.RGB, s surround, c circle, k float64) circle {
	for pass := range 2 {
		window := math.Max(rayMinWindowPx, rayHalfWindow*c.r)
		if pass == 0 {
			window = math.Max(window, 4*k)
		}
		points := edgePoints(p, s, c, window)
		if len(points) < minRaysForCircle {
			return c
		}
		tolerance := math.Max(1.5, edgeTolerance*c.r)
		refined, ok := robustCircle(points, tolerance, .8*c.r, 1.25*c.r)
		if !ok || math.Abs(refined.r-c.r) > 2*window || math.Hypot(refined.x-c.x, refined.y-c.y) > 2*window {
			return c
		}
		c = refined
	}
	return c
}

// supportTolerance is how far from the circle an edge may lie to speak for it, share of the radius.
const supportTolerance = .012

// support is the share of the rays that cross the circle inside frame and cut lines and show an edge there. A circle that
// merely touches a square or a blot has little of it.
func support(p *raster.RGB, s surround, fov FOV) float64 {
	c := circle{fov.CenterX, fov.CenterY, fov.Radius}
	visible := 0
	for i := range rays {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / rays)
		inner := .99 * c.r // just inside the line, so that a cut line or the frame's border decides
		if fov.Contains(c.x+inner*cos, c.y+inner*sin) {
			visible++
		}
	}
	if visible == 0 {
		return 0
	}
	agree := 0
	for _, q := range edgePoints(p, s, c, math.Max(rayMinWindowPx, rayHalfWindow*c.r)) {
		inside := point{c.x + (q.x-c.x)*.97, c.y + (q.y-c.y)*.97}
		if math.Abs(c.residual(q)) < math.Max(1.5, supportTolerance*c.r) && fov.Contains(inside.x, inside.y) {
			agree++
		}
	}
	return float64(agree) / float64(visible)
}

// edgePoints returns the point of half signal on each ray that shows an edge within window of the circle.
func edgePoints(p *raster.RGB, s surround, c circle, window float64) []point {
	steps := int(2*window/rayStepPx) + 1
	profile := make([]float64, steps)
	var inner, outer []float64
	var points []point
	for i := range rays {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / rays)
		valid := 0
		inner, outer = inner[:0], outer[:0]
		for j := range steps {
			r := c.r - window + float64(j)*rayStepPx
			v, ok := acrossMean(p, s, c.x+r*cos, c.y+r*sin, -sin, cos)
			if !ok {
				break
			}
			profile[j] = v
			valid++
			switch {
			case j < steps/3:
				inner = append(inner, v)
			case j >= steps-steps/3:
				outer = append(outer, v)
			}
		}
		// A ray that leaves the frame before the circle's line shows no edge; one that leaves it after still does, against
		// the surround's level, which is signal 0.
		if valid < steps/2+steps/8 {
			continue
		}
		outside := 0.0
		if len(outer) > 0 {
			outside = median(outer)
		}
		if r, ok := halfCrossing(profile[:valid], median(inner), outside); ok {
			at := c.r - window + r*rayStepPx
			points = append(points, point{c.x + at*cos, c.y + at*sin})
		}
	}
	return points
}

// acrossMean averages the signal over a few pixels across the ray; false outside the frame.
func acrossMean(p *raster.RGB, s surround, x, y, tx, ty float64) (float64, bool) {
	sum := 0.0
	for k := range tangentialSamples {
		d := float64(k - tangentialSamples/2)
		px, py := int(math.Floor(x+d*tx)), int(math.Floor(y+d*ty))
		if px < 0 || px >= p.Width || py < 0 || py >= p.Height {
			return 0, false
		}
		sum += s.at(p, px, py)
	}
	return sum / tangentialSamples, true
}

// halfCrossing walks a profile from outside (its end) to inside (its start) and returns the position, in steps, where it
// rises through the middle of the two levels and stays above for a while.
func halfCrossing(profile []float64, inside, outside float64) (float64, bool) {
	const staysSteps = 4 // 2 pixels: dust and JPEG ringing are thinner
	if inside-outside < minEdgeContrast {
		return 0, false
	}
	half := (inside + outside) / 2
	above := 0
	for j := len(profile) - 1; j >= 0; j-- {
		if profile[j] < half {
			above = 0
			continue
		}
		above++
		if above < staysSteps {
			continue
		}
		edge := j + above - 1 // the outermost step above half
		if edge == len(profile)-1 {
			return 0, false // still retina where the profile ends: no edge seen
		}
		a, b := profile[edge], profile[edge+1]
		return float64(edge) + (a-half)/(a-b), true
	}
	return 0, false
}

// Cut lines.
const (
	cutLines    = 96  // rows or columns that are looked at, for each side
	cutCentral  = .25 // of the radius: lines that near to the centre give the position of the cut
	minCutAgree = .7  // share of the lines which a cut would shorten that must end at it
)

// findCuts sets the cut lines of fov: a side is cut when the retina ends on a straight line well inside the circle.
func findCuts(p *raster.RGB, s surround, fov *FOV, k float64) {
	slack := math.Max(2*k, slackRadius*fov.Radius)
	w, h := float64(p.Width), float64(p.Height)
	// Each side is looked at in its own frame: along is the coordinate parallel to the cut, depth the way in from the side.
	side := func(size, alongCentre, depthCentre, alongSize float64, at func(along, depth float64) float64) (float64, bool) {
		return findCut(fov.Radius, slack, size, alongCentre, depthCentre, alongSize, s.threshold, at)
	}
	signal := func(x, y float64) float64 {
		return s.at(p, min(p.Width-1, max(0, int(x))), min(p.Height-1, max(0, int(y))))
	}
	if d, ok := side(w, fov.CenterY, fov.CenterX, h, func(a, d float64) float64 { return signal(d, a) }); ok {
		fov.Left = d
	}
	if d, ok := side(w, fov.CenterY, w-fov.CenterX, h, func(a, d float64) float64 { return signal(w-d, a) }); ok {
		fov.Right = w - d
	}
	if d, ok := side(h, fov.CenterX, fov.CenterY, w, func(a, d float64) float64 { return signal(a, d) }); ok {
		fov.Top = d
	}
	if d, ok := side(h, fov.CenterX, h-fov.CenterY, w, func(a, d float64) float64 { return signal(a, h-d) }); ok {
		fov.Bottom = h - d
	}
}

// findCut looks for the cut of one side, seen as the depth from that side of the frame at which the retina begins.
func findCut(radius, slack, size, alongCentre, depthCentre, alongSize, threshold float64, at func(along, depth float64) float64) (float64, bool) {
	type line struct{ offset, circleDepth, depth float64 }
	var all []line
	var central []float64
	run := math.Max(3, .004*radius) // pixels of retina that must follow
	for i := range cutLines {
		offset := (2*(float64(i)+.5)/cutLines - 1) * .9 * radius
		along := alongCentre + offset
		if along < 0 || along >= alongSize {
			continue
		}
		circleDepth := math.Max(0, depthCentre-math.Sqrt(radius*radius-offset*offset))
		depth, ok := firstRetina(circleDepth, math.Min(size, depthCentre), run, threshold, func(d float64) float64 { return at(along, d) })
		if !ok {
			continue
		}
		all = append(all, line{offset, circleDepth, depth})
		if math.Abs(offset) < cutCentral*radius {
			central = append(central, depth)
		}
	}
	if len(central) < 5 {
		return 0, false
	}
	cut := median(central)
	if cut < math.Max(0, depthCentre-radius)+slack {
		return 0, false
	}
	shortened, agree := 0, 0
	for _, l := range all {
		if l.circleDepth < cut-slack {
			shortened++
			if math.Abs(l.depth-cut) < slack {
				agree++
			}
		}
	}
	if shortened < 5 || float64(agree) < minCutAgree*float64(shortened) {
		return 0, false
	}
	return cut, true
}

// firstRetina returns the first depth in [from, to) from which the signal stays above threshold for run pixels.
func firstRetina(from, to, run, threshold float64, at func(depth float64) float64) (float64, bool) {
	start := math.Ceil(from) + .5
	first := -1.0
	for d := start; d < to; d++ {
		if at(d) <= threshold {
			first = -1
			continue
		}
		if first < 0 {
			first = d
		}
		if d-first >= run {
			return first - .5, true
		}
	}
	return 0, false
}
