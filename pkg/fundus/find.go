package fundus

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// CodeNotFound is the stable code of FindFOV's error where nothing was found.
const CodeNotFound = "field-of-view-not-found"

// Bounds of what is taken for a field of view.
const (
	minPicturePx      = 64   // smaller frames hold no analysable photograph
	minRadiusPx       = 32.0 // source pixels
	minDiameterShare  = .30  // of the frame's shorter side
	maxRadiusExtent   = 1.2  // radius over the extent of the visible border, for circles cut on all sides
	minRadiusExtent   = .3
	circleTolerance   = .006 // of the extent of the visible border: how far a border point may lie off the circle
	minFill           = .70  // share of the visible FOV that must differ from the surround
	minExplained      = .45  // share of the border points that lie on the circle or on a cut line
	minSupport        = .5   // share of the rays across the visible edge that show it where the circle says
	minArcBins        = 6    // of 36 bins of 10°: bins in which the circle's line is seen
	maxLeak           = .25  // what may lie outside circle and cuts (text that touches), share of the region
	minBoxFill        = .97  // from which a region without a round border is a box, filled by the retina
	minBoxShare       = .20  // of the frame
	slackRadius       = .012 // of the radius: a border that far inside the circle is a cut
	minColourSpread   = 3.0  // grey levels: below it a picture has no colour
	maxBlueOverRed    = 1.05
	maxGreenOverRed   = 1.15
	bluishLevels      = 16.0 // blue over red, grey levels, that no part of a retina has, reflexes aside
	maxBluishShare    = .10  // of the field of view
	fullFrameRedGreen = 1.10 // a retina that fills the frame must be redder than one with a round border
	fullFrameRedBlue  = 1.35
)

// FindFOV finds the field of view from the picture alone. It copes with a black, white or single-coloured surround, with
// cuts by straight lines on any side, with a frame around the surround, with text in the margin, with notches and tabs on the circle's edge, and with
// photographs that fill their frame (FOV.FillsFrame; then the circle is the one around the frame).
//
// Frames that are blank or without anything round are a fault of kind Invalid with the code CodeNotFound, those that are
// monochrome or not coloured like a retina with CodeNotFundus. It judges shape and colour only: that a picture passes does not mean that it is gradable.
func FindFOV(p *raster.RGB) (FOV, error) {
	if err := p.Check(); err != nil {
		return FOV{}, fault.Wrap(fault.Internal, "picture-size", err, "looking for the field of view")
	}
	if min(p.Width, p.Height) < minPicturePx {
		return FOV{}, notFound("the picture has %d × %d pixels, too few for a fundus photograph: at least %d × %d are needed", p.Width, p.Height, minPicturePx, minPicturePx)
	}
	t := newThumbnail(p)
	if t.blank() {
		return FOV{}, notFound("the picture is blank: take the photograph again")
	}
	var best FOV
	bestScore := 0.0
	var box *FOV
	for _, s := range t.surrounds() {
		r := t.retina(s)
		if r == nil {
			continue
		}
		if fov, score, ok := roundFOV(p, t, s, r); ok && score > bestScore {
			best, bestScore = fov, score
		}
		if fov, ok := boxFOV(p, t, s, r); ok && box == nil {
			box = &fov
			if inner, score, ok := roundInside(p, fov, float64(t.factor)); ok && score > bestScore {
				best, bestScore = inner, score
			}
		}
	}
	switch {
	case bestScore > 0:
		return best, t.checkColour(best)
	case box != nil:
		return *box, t.checkColour(*box)
	}
	if t.dark() {
		return FOV{}, notFound("the picture is too dark to show the retina: check the flash and the pupil and take it again")
	}
	if len(t.surrounds()) > 0 {
		return FOV{}, notFound("no round field of view was found: check that the picture is a colour fundus photograph and not cropped by hand")
	}
	whole := aroundBox(p, 0, 0, float64(p.Width), float64(p.Height))
	return whole, t.checkColour(whole)
}

func notFound(format string, args ...any) error {
	return fault.New(fault.Invalid, CodeNotFound, format, args...)
}

func notFundus(format string, args ...any) error {
	return fault.New(fault.Invalid, CodeNotFundus, format, args...)
}

// roundFOV fits circle and cuts to a region of the thumbnail and sharpens them on the picture. The score tells how well
// they explain what is seen, 0 to 1.
func roundFOV(p *raster.RGB, t *thumbnail, s surround, r *region) (fov FOV, score float64, ok bool) {
	points := r.border()
	extent := float64(max(r.x1-r.x0, r.y1-r.y0))
	tolerance := math.Max(1.2, circleTolerance*extent)
	small, found := robustCircle(points, tolerance, minRadiusExtent*extent, maxRadiusExtent*extent)
	if !found || arcBins(points, small, tolerance) < minArcBins {
		return FOV{}, 0, false
	}
	k := float64(t.factor)
	c := sharpen(p, s, circle{small.x * k, small.y * k, small.r * k}, k)
	if c.r < minRadiusPx || 2*c.r < minDiameterShare*float64(min(p.Width, p.Height)) {
		return FOV{}, 0, false
	}
	fov = FOV{CenterX: c.x, CenterY: c.y, Radius: c.r, Right: float64(p.Width), Bottom: float64(p.Height), Width: p.Width, Height: p.Height}
	findCuts(p, s, &fov, k)
	if fov.Left >= fov.Right || fov.Top >= fov.Bottom {
		return FOV{}, 0, false
	}
	if support(p, s, fov) < minSupport {
		return FOV{}, 0, false
	}
	fill, leak := overlap(t, r, fov)
	explained := explainedShare(points, fov, circle{small.x * k, small.y * k, small.r * k}, tolerance*k, k)
	if fill < minFill || leak > maxLeak || explained < minExplained {
		return FOV{}, 0, false
	}
	return fov, fill * explained * (1 - leak), true
}

// arcBins counts the directions, in bins of 10°, in which border points lie on the circle.
func arcBins(points []point, c circle, tolerance float64) int {
	const bins = 36
	var seen [bins]int
	for _, p := range points {
		if math.Abs(c.residual(p)) < tolerance {
			a := math.Atan2(p.y-c.y, p.x-c.x)/(2*math.Pi) + .5
			seen[min(bins-1, int(a*bins))]++
		}
	}
	n := 0
	for _, count := range seen {
		if count >= 2 {
			n++
		}
	}
	return n
}

// overlap compares the region with the geometry: fill is the share of the visible FOV that the region covers, leak the share
// of the region that lies well outside.
func overlap(t *thumbnail, r *region, fov FOV) (fill, leak float64) {
	k := float64(t.factor)
	wide := fov
	wide.Radius += 3 * k
	inside, covered, outside := 0, 0, 0
	for y := range t.height {
		for x := range t.width {
			px, py := (float64(x)+.5)*k, (float64(y)+.5)*k
			on := r.on[y*t.width+x]
			if fov.Contains(px, py) {
				inside++
				if on {
					covered++
				}
			} else if on && !wide.Contains(px, py) {
				outside++
			}
		}
	}
	if inside == 0 || r.area == 0 {
		return 0, 1
	}
	return float64(covered) / float64(inside), float64(outside) / float64(r.area)
}

// explainedShare is the share of the border points (thumbnail pixels of k source pixels) on the circle or on a cut line. The
// circle may be the region's own: where the edge is blurred, the region ends well outside the half level that fov lies on.
func explainedShare(points []point, fov FOV, region circle, tolerance, k float64) float64 {
	if len(points) == 0 {
		return 0
	}
	c := circle{fov.CenterX, fov.CenterY, fov.Radius}
	n := 0
	for _, p := range points {
		q := point{p.x * k, p.y * k}
		if math.Abs(c.residual(q)) < tolerance || math.Abs(region.residual(q)) < tolerance ||
			math.Abs(q.x-fov.Left) < tolerance || math.Abs(q.x-fov.Right) < tolerance ||
			math.Abs(q.y-fov.Top) < tolerance || math.Abs(q.y-fov.Bottom) < tolerance {
			n++
		}
	}
	return float64(n) / float64(len(points))
}

// boxFOV takes a region that fills its bounding box for a retina that fills its frame, within a surround.
func boxFOV(p *raster.RGB, t *thumbnail, s surround, r *region) (FOV, bool) {
	area := float64((r.x1 - r.x0) * (r.y1 - r.y0))
	if float64(r.area) < minBoxFill*area || area < minBoxShare*float64(t.width*t.height) {
		return FOV{}, false
	}
	k := float64(t.factor)
	x0, y0 := float64(r.x0)*k, float64(r.y0)*k
	x1, y1 := math.Min(float64(r.x1)*k, float64(p.Width)), math.Min(float64(r.y1)*k, float64(p.Height))
	return aroundBox(p, x0, y0, x1, y1), true
}

// roundInside looks for a round field of view in a box: a photograph with its black surround may lie in a frame of another
// colour. trim is how far the box may reach into that frame, source pixels.
func roundInside(p *raster.RGB, box FOV, trim float64) (best FOV, bestScore float64, ok bool) {
	x0, y0 := int(math.Ceil(box.Left+trim)), int(math.Ceil(box.Top+trim))
	x1, y1 := int(box.Right-trim), int(box.Bottom-trim)
	if min(x1-x0, y1-y0) < minPicturePx {
		return FOV{}, 0, false
	}
	inside := raster.NewRGB(x1-x0, y1-y0)
	for y := range inside.Height {
		copy(inside.Pix[channels*y*inside.Width:][:channels*inside.Width], p.Pix[channels*((y+y0)*p.Width+x0):])
	}
	t := newThumbnail(inside)
	for _, s := range t.surrounds() {
		if r := t.retina(s); r != nil {
			if fov, score, found := roundFOV(inside, t, s, r); found && score > bestScore {
				best, bestScore, ok = fov, score, true
			}
		}
	}
	dx, dy := float64(x0), float64(y0)
	best.CenterX, best.Left, best.Right = best.CenterX+dx, best.Left+dx, best.Right+dx
	best.CenterY, best.Top, best.Bottom = best.CenterY+dy, best.Top+dy, best.Bottom+dy
	best.Width, best.Height = p.Width, p.Height
	return best, bestScore, ok
}

// aroundBox is the FOV of a box that the retina fills: its circumscribed circle, cut by the box.
func aroundBox(p *raster.RGB, x0, y0, x1, y1 float64) FOV {
	return FOV{
		CenterX: (x0 + x1) / 2, CenterY: (y0 + y1) / 2, Radius: math.Hypot(x1-x0, y1-y0) / 2,
		Left: x0, Top: y0, Right: x1, Bottom: y1, Width: p.Width, Height: p.Height, FillsFrame: true,
	}
}

// blank tells whether the frame has one colour, apart from noise.
func (t *thumbnail) blank() bool {
	n := float64(t.width * t.height)
	for ch := range channels {
		var sum, squares float64
		for i := ch; i < len(t.rgb); i += channels {
			v := float64(t.rgb[i])
			sum += v
			squares += v * v
		}
		mean := sum / n
		if math.Sqrt(math.Max(0, squares/n-mean*mean)) >= minTextureGreyStd {
			return false
		}
	}
	return true
}

// darkShare is the share of a frame that even a small field of view takes.
const darkShare = .05

// dark tells whether hardly anything in the frame is lit.
func (t *thumbnail) dark() bool {
	lit := 0
	for i := 0; i < len(t.rgb); i += channels {
		if max(t.rgb[i], t.rgb[i+1], t.rgb[i+2]) > maxSignal {
			lit++
		}
	}
	return float64(lit) < darkShare*float64(t.width*t.height)
}

// checkColour refuses what is not coloured like a retina: monochrome, or not red enough.
func (t *thumbnail) checkColour(fov FOV) error {
	k := float64(t.factor)
	var r, g, b, spread, bluish, n float64
	for y := range t.height {
		for x := range t.width {
			if !fov.Contains((float64(x)+.5)*k, (float64(y)+.5)*k) {
				continue
			}
			pr, pg, pb := t.at(x, y)
			r, g, b, n = r+pr, g+pg, b+pb, n+1
			spread += max(pr, pg, pb) - min(pr, pg, pb)
			if pb > pr+bluishLevels {
				bluish++
			}
		}
	}
	switch {
	case n == 0:
		return notFound("the field of view lies outside the picture: check that the picture is a fundus photograph")
	case r > overexposedLevel*n && g > overexposedLevel*n:
		return notFound("the picture is too bright to show the retina: lower the flash and take it again")
	case spread/n < minColourSpread:
		return notFundus("the picture has no colour: a colour fundus photograph is needed")
	case bluish > maxBluishShare*n || b > maxBlueOverRed*r || g > maxGreenOverRed*r,
		fov.FillsFrame && (r < fullFrameRedGreen*g || r < fullFrameRedBlue*b):
		return notFundus("the picture is not coloured like a retina (mean red %.0f, green %.0f, blue %.0f): check that it is a fundus photograph", r/n, g/n, b/n)
	}
	return nil
}
