package fundus

import (
	"math"
	"slices"

	"github.com/noctua-screening/noctua/pkg/raster"
)

// surround is what lies around the field of view: a colour, and how far pixels must differ from it to be retina.
type surround struct {
	kind      surroundKind
	r, g, b   float64 // level, grey levels
	threshold float64 // signal from which a pixel is no surround, grey levels
}

type surroundKind int

const (
	darkSurround  surroundKind = iota // black or nearly: the signal is the brightest channel
	lightSurround                     // white or nearly: the signal is how far the darkest channel falls short
	greySurround                      // any other grey: the signal is the largest difference of a channel
)

// signal is how far a pixel differs from the surround, grey levels.
func (s surround) signal(r, g, b float64) float64 {
	switch s.kind {
	case darkSurround:
		return max(r, g, b) - s.r
	case lightSurround:
		return s.r - min(r, g, b)
	default:
		return max(math.Abs(r-s.r), math.Abs(g-s.g), math.Abs(b-s.b))
	}
}

// at is the signal of a pixel of the picture.
func (s surround) at(p *raster.RGB, x, y int) float64 {
	r, g, b := p.At(x, y)
	return s.signal(float64(r), float64(g), float64(b))
}

// thumbnail is the picture, shrunk by a whole factor with a box filter, for decisions that need no detail.
type thumbnail struct {
	width, height, factor int
	rgb                   []float32 // 3 values a pixel
}

// thumbnailPx bounds the thumbnail's longer side.
const thumbnailPx = 512

func newThumbnail(p *raster.RGB) *thumbnail {
	k := max(1, (max(p.Width, p.Height)+thumbnailPx-1)/thumbnailPx)
	t := &thumbnail{width: (p.Width + k - 1) / k, height: (p.Height + k - 1) / k, factor: k}
	t.rgb = make([]float32, channels*t.width*t.height)
	forBands(t.height, func(from, to int) {
		sum := make([]int, channels*t.width)
		for y := from; y < to; y++ {
			clear(sum)
			y1 := min(p.Height, (y+1)*k)
			for sy := y * k; sy < y1; sy++ {
				row := p.Pix[channels*sy*p.Width:][:channels*p.Width]
				for x := range t.width {
					var r, g, b int
					for i, end := channels*x*k, channels*min(p.Width, (x+1)*k); i < end; i += channels {
						r += int(row[i])
						g += int(row[i+1])
						b += int(row[i+2])
					}
					sum[channels*x] += r
					sum[channels*x+1] += g
					sum[channels*x+2] += b
				}
			}
			out := t.rgb[channels*y*t.width:][:channels*t.width]
			for x := range t.width {
				area := float32((y1 - y*k) * (min(p.Width, (x+1)*k) - x*k))
				for ch := range channels {
					out[channels*x+ch] = float32(sum[channels*x+ch]) / area
				}
			}
		}
	})
	return t
}

func (t *thumbnail) at(x, y int) (r, g, b float64) {
	i := channels * (y*t.width + x)
	return float64(t.rgb[i]), float64(t.rgb[i+1]), float64(t.rgb[i+2])
}

// Levels, grey levels 0..255.
const (
	darkLevel         = 40.0 // a border pixel below it in all channels may be a black surround
	lightLevel        = 215.0
	minSignal         = 9.0  // least threshold: JPEG noise and glow of a black surround stay below it
	maxSignal         = 30.0 // largest threshold, so that the dark rim of a picture is not lost to a noisy surround
	noiseFactor       = 5.0  // threshold in deviations of the surround
	minSurroundShare  = .02  // share of the frame's border that a surround takes at least
	minGreyShare      = .20  // the same for a surround of any colour, which retina could be taken for
	greyBinLevels     = 12.0 // how far pixels of one grey surround may lie apart
	maxGreyChroma     = 24.0 // brightest less darkest channel of a grey surround
	borderRingPx      = 3    // border pixels of the thumbnail that are looked at
	minTextureGreyStd = 2.0  // below it a frame is blank
)

// surrounds returns what the surround may be, judged by the frame's border: none when the retina fills the frame.
func (t *thumbnail) surrounds() []surround {
	var ring [][3]float64
	for y := range t.height {
		for x := range t.width {
			if x >= borderRingPx && x < t.width-borderRingPx && y >= borderRingPx && y < t.height-borderRingPx {
				continue
			}
			r, g, b := t.at(x, y)
			ring = append(ring, [3]float64{r, g, b})
		}
	}
	var found []surround
	add := func(kind surroundKind, minShare float64, level func(c [3]float64) float64, belongs func(c [3]float64) bool) {
		var levels []float64
		for _, c := range ring {
			if belongs(c) {
				levels = append(levels, level(c))
			}
		}
		if float64(len(levels)) < minShare*float64(len(ring)) {
			return
		}
		middle := median(levels)
		for i, v := range levels {
			levels[i] = math.Abs(v - middle)
		}
		spread := 1.4826 * median(levels)
		found = append(found, surround{kind: kind, r: middle, g: middle, b: middle, threshold: min(maxSignal, max(minSignal, noiseFactor*spread))})
	}
	brightest := func(c [3]float64) float64 { return max(c[0], c[1], c[2]) }
	darkest := func(c [3]float64) float64 { return min(c[0], c[1], c[2]) }
	add(darkSurround, minSurroundShare, brightest, func(c [3]float64) bool { return brightest(c) < darkLevel })
	add(lightSurround, minSurroundShare, darkest, func(c [3]float64) bool { return darkest(c) > lightLevel })

	// A surround of any other grey: the commonest colour of the ring, if enough of the ring is like it.
	mode := commonest(ring)
	same := 0
	for _, c := range ring {
		if max(math.Abs(c[0]-mode[0]), math.Abs(c[1]-mode[1]), math.Abs(c[2]-mode[2])) < greyBinLevels {
			same++
		}
	}
	// Retina that reaches the border has one colour as well, but is never grey.
	if brightest(mode)-darkest(mode) <= maxGreyChroma && float64(same) >= minGreyShare*float64(len(ring)) && brightest(mode) >= darkLevel && darkest(mode) <= lightLevel {
		found = append(found, surround{kind: greySurround, r: mode[0], g: mode[1], b: mode[2], threshold: greyBinLevels})
	}
	return found
}

// commonest returns the mean colour of the fullest cell of a coarse colour cube.
func commonest(colours [][3]float64) [3]float64 {
	const cell = 16.0
	count := map[[3]int]int{}
	key := func(c [3]float64) [3]int { return [3]int{int(c[0] / cell), int(c[1] / cell), int(c[2] / cell)} }
	var best [3]int
	for _, c := range colours {
		k := key(c)
		count[k]++
		if count[k] > count[best] {
			best = k
		}
	}
	var mean [3]float64
	n := 0.0
	for _, c := range colours {
		if key(c) == best {
			n++
			for ch := range channels {
				mean[ch] += c[ch]
			}
		}
	}
	for ch := range channels {
		mean[ch] /= n
	}
	return mean
}

// region is a connected set of thumbnail pixels.
type region struct {
	width, height int
	on            []bool
	area          int
	x0, y0        int // bounding box, [x0, x1) × [y0, y1)
	x1, y1        int
}

// retina returns the largest connected region that differs from the surround, opened by a 3 × 3 square so that thin text
// falls away; nil if there is none.
func (t *thumbnail) retina(s surround) *region {
	on := make([]bool, t.width*t.height)
	for y := range t.height {
		for x := range t.width {
			r, g, b := t.at(x, y)
			on[y*t.width+x] = s.signal(r, g, b) > s.threshold
		}
	}
	on = opened(on, t.width, t.height)
	return largestRegion(on, t.width, t.height)
}

// opened is the morphological opening by a 3 × 3 square; the frame's outside counts as neither on nor off.
func opened(on []bool, w, h int) []bool {
	pass := func(in []bool, want bool) []bool {
		out := slices.Clone(in)
		for y := range h {
			for x := range w {
				for dy := max(0, y-1); dy <= min(h-1, y+1); dy++ {
					for dx := max(0, x-1); dx <= min(w-1, x+1); dx++ {
						if in[dy*w+dx] == want {
							out[y*w+x] = want
						}
					}
				}
			}
		}
		return out
	}
	return pass(pass(on, false), true)
}

func largestRegion(on []bool, w, h int) *region {
	label := make([]int32, w*h)
	var best *region
	var bestLabel int32
	var stack []int
	next := int32(0)
	for start := range on {
		if !on[start] || label[start] != 0 {
			continue
		}
		next++
		r := &region{width: w, height: h, x0: w, y0: h}
		stack = append(stack[:0], start)
		label[start] = next
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			x, y := i%w, i/w
			r.area++
			r.x0, r.x1 = min(r.x0, x), max(r.x1, x+1)
			r.y0, r.y1 = min(r.y0, y), max(r.y1, y+1)
			visit := func(j int) {
				if on[j] && label[j] == 0 {
					label[j] = next
					stack = append(stack, j)
				}
			}
			if x > 0 {
				visit(i - 1)
			}
			if x < w-1 {
				visit(i + 1)
			}
			if y > 0 {
				visit(i - w)
			}
			if y < h-1 {
				visit(i + w)
			}
		}
		if best == nil || r.area > best.area {
			best, bestLabel = r, next
		}
	}
	if best == nil {
		return nil
	}
	best.on = make([]bool, w*h)
	for i, l := range label {
		best.on[i] = l == bestLabel
	}
	return best
}

// border returns where rows and columns enter and leave the region, except on the frame's own border.
func (r *region) border() []point {
	var points []point
	for y := r.y0; y < r.y1; y++ {
		first, last := -1, -1
		for x := r.x0; x < r.x1; x++ {
			if r.on[y*r.width+x] {
				if first < 0 {
					first = x
				}
				last = x
			}
		}
		if first > 0 {
			points = append(points, point{float64(first), float64(y) + .5})
		}
		if last >= 0 && last < r.width-1 {
			points = append(points, point{float64(last + 1), float64(y) + .5})
		}
	}
	for x := r.x0; x < r.x1; x++ {
		first, last := -1, -1
		for y := r.y0; y < r.y1; y++ {
			if r.on[y*r.width+x] {
				if first < 0 {
					first = y
				}
				last = y
			}
		}
		if first > 0 {
			points = append(points, point{float64(x) + .5, float64(first)})
		}
		if last >= 0 && last < r.height-1 {
			points = append(points, point{float64(x) + .5, float64(last + 1)})
		}
	}
	return points
}
