package fundus

import (
	"math"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Disc is the optic disc (optic nerve head) as a circle on the grid on which it was looked for.
type Disc struct {
	CenterX, CenterY float64 // pixels
	DiameterPx       float64 // one of a few sizes: within about 20 %
	// Confidence, 0 to 1: c/(c + 6), c being how many standard deviations the disc is brighter than the ring around it times
	// how many times more vessels point at it than at the median place of the field. From DiscConfidence on it can be used.
	Confidence float64
}

// DiscConfidence is the confidence below which a disc is not to be relied upon. On the training pictures of CHASE_DB1 and HRF it
// parts fields with a disc from the same fields cut off one diameter before it.
const DiscConfidence = .5

const (
	discHalf = 6 // the product of contrast and convergence at which the confidence is one half
	// discGridPx is the width of the field of view on the grid on which the disc is looked for.
	discGridPx = 256
	// coarsePx is how far apart places are looked at first, and refinePx how far around the best one then.
	coarsePx, refinePx = 4, 4
	// A disc's inside ends before its edge, and the ring around it begins and ends so many radii away.
	discInside, ringFrom, ringTo = .9, 1.1, 1.5
	// Shares of the inside and of the ring that must lie in the field and not under vessels.
	leastInside, leastRing = .5, .35
	// A pixel of which vessels cover this share counts as vessel.
	vesselShare = .3
	// Vessels vote along their direction from voteFromPx to voteToPx on both sides; votes are blurred by voteSigmaPx.
	voteFromPx, voteToPx, voteSigmaPx = 4, 70, 5
	// Directions are those of the structure tensor of the vessels under a Gaussian, itself averaged under a second one.
	gradientSigmaPx, tensorSigmaPx = 1, 2
)

// discDiameters are the sizes that are tried, in diameters of the field of view: a disc is about 1.8 mm wide, and fields show 30° to
// 60° of a retina of about .3 mm a degree.
var discDiameters = [...]float64{.09, .11, .135, .165, .2, .24}

// FindDisc looks for the optic disc on a canvas: a bright round patch at which vessels point (after Hoover and Goldbaum 2003, whose
// fuzzy convergence the votes are a plain form of). image is the photograph on the canvas, as Normalise leaves it with norm; vessels
// and fov lie on the same grid, on which the field of view is diameterPx wide. There is always an answer, whose confidence says
// whether it is one; it is zero where the field is empty.
func FindDisc(image *Image, norm Normalisation, vessels, fov *raster.Mask, diameterPx float64) (Disc, error) {
	if image.Width != fov.Width || image.Height != fov.Height || vessels.Width != fov.Width || vessels.Height != fov.Height || !(diameterPx > 0) {
		return Disc{}, fault.New(fault.Internal, "disc-geometry", "the photograph, the vessels and the field of view must lie on one grid")
	}
	factor := max(1, int(math.Round(diameterPx/discGridPx)))
	g := reduce(image, norm, vessels, fov, factor)
	if g.fieldPx == 0 {
		return Disc{}, nil
	}
	votes := g.convergence()
	strongest, typical := g.peakAndMedian(votes)
	if strongest == 0 {
		return Disc{}, nil // no vessel points anywhere
	}
	width := diameterPx / float64(factor)
	var filters []discFilter
	for _, d := range discDiameters {
		filters = append(filters, newDiscFilter(d*width))
	}
	// Contrast and convergence count alike, each against its own best; a field without contrast leaves the choice to the vessels.
	contrasts := map[int]float64{}
	brightest := .1
	for y := 0; y < g.height; y += coarsePx {
		for x := 0; x < g.width; x += coarsePx {
			if i := y*g.width + x; g.field[i] {
				contrasts[i], _ = g.contrast(filters, x, y)
				brightest = max(brightest, contrasts[i])
			}
		}
	}
	score := func(i int, contrast float64) float64 { return max(0, contrast)/brightest + votes[i]/strongest }
	best, bestScore := -1, -1.
	for y := 0; y < g.height; y += coarsePx { // in order, so that the same picture gives the same bits
		for x := 0; x < g.width; x += coarsePx {
			i := y*g.width + x
			if c, seen := contrasts[i]; seen && score(i, c) > bestScore {
				best, bestScore = i, score(i, c)
			}
		}
	}
	if best < 0 {
		return Disc{}, nil
	}
	cx, cy := best%g.width, best/g.width
	var out Disc
	bestScore = -1
	for y := max(0, cy-refinePx); y <= min(g.height-1, cy+refinePx); y++ {
		for x := max(0, cx-refinePx); x <= min(g.width-1, cx+refinePx); x++ {
			i := y*g.width + x
			if !g.field[i] {
				continue
			}
			contrast, size := g.contrast(filters, x, y)
			if s := score(i, contrast); s > bestScore {
				bestScore = s
				product := max(0, contrast) * votes[i] / max(typical, 1e-9*strongest)
				out = Disc{
					CenterX: (float64(x) + .5) * float64(factor), CenterY: (float64(y) + .5) * float64(factor),
					DiameterPx: discDiameters[size] * diameterPx, Confidence: product / (product + discHalf),
				}
			}
		}
	}
	return out, nil
}

// discGrid is a canvas made small, with what is summed over discs as running sums along the rows.
type discGrid struct {
	width, height int
	field         []bool
	fieldPx       int
	vessels       []float64 // share of each pixel, 0 to 1
	count, light  []float64 // running sums: of pixels that are field and not vessel, and of their brightness; width + 1 a row
}

// reduce makes the small grid. Brightness is the mean of red and green, in standard deviations of the field without vessels.
func reduce(image *Image, norm Normalisation, vessels, fov *raster.Mask, factor int) *discGrid {
	w, h := ceilDiv(image.Width, factor), ceilDiv(image.Height, factor)
	g := &discGrid{
		width: w, height: h, field: make([]bool, w*h), vessels: make([]float64, w*h),
		count: make([]float64, (w+1)*h), light: make([]float64, (w+1)*h),
	}
	light := make([]float64, w*h)
	plane := image.Width * image.Height
	red, green := max(norm.Std[0], MinStd), max(norm.Std[1], MinStd)
	var total, squares float64
	clear := 0
	for y := range h {
		for x := range w {
			i := y*w + x
			var inside, vessel, sum float64
			all := 0
			for sy := y * factor; sy < min((y+1)*factor, image.Height); sy++ {
				for sx := x * factor; sx < min((x+1)*factor, image.Width); sx++ {
					s := sy*image.Width + sx
					all++
					if fov.Pix[s] == 0 {
						continue
					}
					inside++
					if vessels.Pix[s] != 0 {
						vessel++
					}
					sum += (float64(image.Pix[s])*red + norm.Mean[0] + float64(image.Pix[plane+s])*green + norm.Mean[1]) / 2
				}
			}
			if 2*inside < float64(all) {
				continue
			}
			g.field[i] = true
			g.fieldPx++
			g.vessels[i] = vessel / float64(all)
			light[i] = sum / inside
			if g.vessels[i] < vesselShare {
				clear++
				total += light[i]
				squares += light[i] * light[i]
			}
		}
	}
	mean := total / float64(max(1, clear))
	deviation := math.Sqrt(max(squares/float64(max(1, clear))-mean*mean, 1e-9))
	for y := range h {
		for x := range w {
			i, at := y*w+x, y*(w+1)+x
			g.count[at+1], g.light[at+1] = g.count[at], g.light[at]
			if g.field[i] && g.vessels[i] < vesselShare {
				g.count[at+1]++
				g.light[at+1] += (light[i] - mean) / deviation
			}
		}
	}
	return g
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// discFilter is a disc and a ring as rows: half widths of each row from the top, -1 where the circle does not reach.
type discFilter struct {
	reach                 int // rows above and below
	inside, hole, outside []int
	insidePx, ringPx      float64
}

func newDiscFilter(diameterPx float64) discFilter {
	r := diameterPx / 2
	f := discFilter{reach: int(ringTo * r)}
	half := func(radius float64, dy int) int {
		if math.Abs(float64(dy)) > radius {
			return -1
		}
		return int(math.Sqrt(radius*radius - float64(dy*dy)))
	}
	for dy := -f.reach; dy <= f.reach; dy++ {
		in, hole, out := half(discInside*r, dy), half(ringFrom*r, dy), half(ringTo*r, dy)
		f.inside, f.hole, f.outside = append(f.inside, in), append(f.hole, hole), append(f.outside, out)
		f.insidePx += float64(2*in + 1)
		f.ringPx += float64(2 * (out - hole))
	}
	return f
}

// contrast is how many standard deviations a disc about a place is brighter than its ring, of the size at which it is most so. It
// is -1 where too little of every disc and ring can be seen.
func (g *discGrid) contrast(filters []discFilter, x, y int) (best float64, size int) {
	best = -1
	for i, f := range filters {
		var inCount, inLight, ringCount, ringLight float64
		for k := range f.inside {
			row := y + k - f.reach
			if row < 0 || row >= g.height {
				continue
			}
			count, light := g.count[row*(g.width+1):][:g.width+1], g.light[row*(g.width+1):][:g.width+1]
			span := func(half int) (n, sum float64) {
				if half < 0 {
					return 0, 0
				}
				a, b := max(0, x-half), min(g.width, x+half+1)
				return count[b] - count[a], light[b] - light[a]
			}
			n, sum := span(f.inside[k])
			inCount, inLight = inCount+n, inLight+sum
			n, sum = span(f.outside[k])
			ringCount, ringLight = ringCount+n, ringLight+sum
			n, sum = span(f.hole[k])
			ringCount, ringLight = ringCount-n, ringLight-sum
		}
		if inCount < leastInside*f.insidePx || ringCount < leastRing*f.ringPx {
			continue
		}
		if c := inLight/inCount - ringLight/ringCount; c > best {
			best, size = c, i
		}
	}
	return best, size
}

// convergence is how many vessels point at each place.
func (g *discGrid) convergence() []float64 {
	w, h := g.width, g.height
	smooth := gaussian(g.vessels, w, h, gradientSigmaPx)
	xx, yy, xy := make([]float64, w*h), make([]float64, w*h), make([]float64, w*h)
	for y := range h {
		for x := range w {
			dx := (smooth[y*w+min(x+1, w-1)] - smooth[y*w+max(x-1, 0)]) / 2
			dy := (smooth[min(y+1, h-1)*w+x] - smooth[max(y-1, 0)*w+x]) / 2
			i := y*w + x
			xx[i], yy[i], xy[i] = dx*dx, dy*dy, dx*dy
		}
	}
	xx, yy, xy = gaussian(xx, w, h, tensorSigmaPx), gaussian(yy, w, h, tensorSigmaPx), gaussian(xy, w, h, tensorSigmaPx)
	votes := make([]float64, w*h)
	for y := range h {
		for x := range w {
			i := y*w + x
			if !g.field[i] || g.vessels[i] <= vesselShare {
				continue
			}
			along := math.Atan2(2*xy[i], xx[i]-yy[i])/2 + math.Pi/2
			coherence := math.Hypot(xx[i]-yy[i], 2*xy[i]) / (xx[i] + yy[i] + 1e-9)
			sin, cos := math.Sincos(along)
			for t := voteFromPx; t < voteToPx; t++ {
				for _, d := range [2]float64{float64(t), -float64(t)} {
					px, py := int(math.Round(float64(x)+d*cos)), int(math.Round(float64(y)+d*sin))
					if px >= 0 && py >= 0 && px < w && py < h {
						votes[py*w+px] += g.vessels[i] * coherence
					}
				}
			}
		}
	}
	return gaussian(votes, w, h, voteSigmaPx)
}

// peakAndMedian of values inside the field.
func (g *discGrid) peakAndMedian(values []float64) (peak, middle float64) {
	var inside []float64
	for i, v := range values {
		if g.field[i] {
			inside = append(inside, v)
			peak = max(peak, v)
		}
	}
	return peak, median(inside)
}

// gaussian blurs a plane; beyond the edges the outermost pixels go on.
func gaussian(plane []float64, w, h int, sigma float64) []float64 {
	reach := int(math.Ceil(3 * sigma))
	kernel := make([]float64, reach+1)
	total := 0.0
	for i := range kernel {
		kernel[i] = math.Exp(-float64(i*i) / (2 * sigma * sigma))
		total += kernel[i]
		if i > 0 {
			total += kernel[i]
		}
	}
	blur := func(source []float64, n, lines, step, lineStep int) []float64 {
		out := make([]float64, len(source))
		for l := range lines {
			for i := range n {
				sum := kernel[0] * source[l*lineStep+i*step]
				for k := 1; k <= reach; k++ {
					sum += kernel[k] * (source[l*lineStep+max(0, i-k)*step] + source[l*lineStep+min(n-1, i+k)*step])
				}
				out[l*lineStep+i*step] = sum / total
			}
		}
		return out
	}
	return blur(blur(plane, w, h, 1, w), h, w, w, 1)
}
