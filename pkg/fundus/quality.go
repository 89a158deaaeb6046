package fundus

import (
	"cmp"
	"math"
	"slices"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// Codes of the reasons why a photograph's quality is not full. CodeNotFound is one of them.
const (
	CodeBlur        = "blur"
	CodeDark        = "dark"
	CodeBright      = "bright"
	CodeLowContrast = "low-contrast"
	CodeCut         = "field-of-view-cut"
	CodeNotFundus   = "not-a-fundus-photograph"
)

// DefaultMinScore is the score below which a photograph is ungradable unless configured otherwise. It lies where the shipped
// network begins to lose the vessels of degraded training pictures (docs/quality.md).
const DefaultMinScore = .30

// reasonScore is the score of a component from which it is no reason any more.
const reasonScore = .70

// Quality says how well the vessels of a photograph can be read, judged from the picture alone.
type Quality struct {
	// Score is 0 (unreadable) to 1 (nothing to complain of): the lowest of the scores of the components.
	Score float64
	// Reasons say what keeps the score low, the one to act on first; empty when every component scores at least .70.
	Reasons []Reason
	// Worst is the reason of the lowest component, for limits above .70: there no reason is given.
	Worst Reason
	// Found tells whether there was a field of view to judge; without one there are no figures.
	Found   bool
	Figures QualityFigures
}

// Reason is a stable code, and a sentence that says what was seen and what to do.
type Reason struct{ Code, Sentence string }

// QualityFigures are what the score is made of. All are taken on a canvas with a field of view of 512 px, so that they do not
// depend on the photograph's number of pixels. "Detail at s" is the standard deviation, inside the FOV, of the difference of two
// smoothed copies: a band of sizes around s (B3-spline wavelets; Starck and Murtagh, Astronomy and Astrophysics 288, 1994).
type QualityFigures struct {
	// Sharpness is detail at 1/200 of the FOV's diameter over detail at 1/100, about the widths of small and of large vessels,
	// in the green channel, no unit. Of both only what stands out of the background counts, that is of noise and texture: the
	// variance less that of a normal distribution with the same median magnitude. It does not change with brightness or
	// contrast; a picture without any edge has about 1/4.
	Sharpness float64
	// Brightness is the median of the green channel, grey levels 0..255.
	Brightness float64
	// Contrast is detail at 1/100 to 1/50 of the FOV's diameter in the green channel, grey levels. It is not taken relative to
	// the brightness, since it is grey levels that a vessel must differ by to be there at all in an 8-bit picture.
	Contrast float64
	// ContrastToNoise is Contrast over Noise, no unit, at most 100.
	ContrastToNoise float64
	// Relief is detail at 1/100 to 1/25 of the FOV's diameter in the green channel over that channel's mean, no unit: much
	// more of it than vessels and disc make is no retina.
	Relief float64
	// Visible is the share of the FOV's circle that frame and cut lines leave, 0 to 1. It is 1 where the circle is a guess
	// (FOV.FillsFrame).
	Visible float64
	// Underexposed and Overexposed are the shares of the visible FOV in which green is below 4 and above 245 grey levels, 0 to 1.
	Underexposed, Overexposed float64
	// Noise is the standard deviation of noise in the green channel of the canvas, grey levels, by the median absolute
	// deviation of the finest detail. It is no component of the score.
	Noise float64
}

// Figure is one of the figures in a form that documents can hold.
type Figure struct {
	Name, Definition, Unit string // stable code; a sentence; UCUM, grey levels being "1"
	Value                  float64
}

// List returns the figures with their definitions, in the order of the fields.
func (f QualityFigures) List() []Figure {
	return []Figure{
		{"sharpness", "Detail at 1/200 of the diameter of the field of view over detail at 1/100 in green, of what stands out of noise and texture.", "1", f.Sharpness},
		{"brightness", "Median of green, grey levels 0 to 255.", "1", f.Brightness},
		{"contrast", "Detail at 1/100 to 1/50 of the diameter of the field of view in green, grey levels.", "1", f.Contrast},
		{"contrast-to-noise", "Contrast over noise, at most 100.", "1", f.ContrastToNoise},
		{"relief", "Detail at 1/100 to 1/25 of the diameter of the field of view in green over the mean of green.", "1", f.Relief},
		{"visible", "Share of the circle of the field of view that is in the picture.", "1", f.Visible},
		{"underexposed", "Share of the field of view in which green is below 4 of 255.", "1", f.Underexposed},
		{"overexposed", "Share of the field of view in which green is above 245 of 255.", "1", f.Overexposed},
		{"noise", "Standard deviation of the noise in green, grey levels, by the median of the finest detail.", "1", f.Noise},
	}
}

// Levels beyond which green holds no detail, grey levels.
const (
	underexposedLevel = 4.0
	overexposedLevel  = 245.0
)

// ramp maps a figure to a score: 0 at unusable, 1 at good, linear between (or linear in the logarithm), constant beyond.
type ramp struct {
	unusable, good float64
	logarithmic    bool
}

func (r ramp) score(v float64) float64 {
	from, to := r.unusable, r.good
	if r.logarithmic {
		v, from, to = math.Log(math.Max(v, math.SmallestNonzeroFloat64)), math.Log(from), math.Log(to)
	}
	return min(1, max(0, (v-from)/(to-from)))
}

// The anchors of the components; docs/quality.md says where they come from.
var (
	sharpnessRamp    = ramp{unusable: .22, good: .75}
	brightnessRamp   = ramp{unusable: 1.5, good: 40, logarithmic: true}
	underexposedRamp = ramp{unusable: .95, good: .45}
	overexposedRamp  = ramp{unusable: .70, good: .05}
	contrastRamp     = ramp{unusable: .08, good: 1.5, logarithmic: true}
	clearnessRamp    = ramp{unusable: .25, good: 2, logarithmic: true}
	visibleRamp      = ramp{unusable: .15, good: .75}
	reliefRamp       = ramp{unusable: .40, good: .18}
)

// component is a score with the reason that it gives where it is low.
type component struct {
	score  float64
	reason Reason
}

// components lists the scores. Where scores are equal the earlier one leads: where nothing can be seen, nothing is sharp.
func (f QualityFigures) components() []component {
	return []component{
		{reliefRamp.score(f.Relief), Reason{CodeNotFundus, "The picture does not look like a retina: check that it is a colour fundus photograph."}},
		{min(brightnessRamp.score(f.Brightness), underexposedRamp.score(f.Underexposed)), Reason{CodeDark, "The photograph is too dark: check the flash and the pupil and take it again."}},
		{overexposedRamp.score(f.Overexposed), Reason{CodeBright, "The photograph is too bright: lower the flash and take it again."}},
		{visibleRamp.score(f.Visible), Reason{CodeCut, "Much of the field of view is cut off: centre the eye, keep the whole round picture in the frame and take it again."}},
		{min(contrastRamp.score(f.Contrast), clearnessRamp.score(f.ContrastToNoise)), Reason{CodeLowContrast, "The photograph has too little contrast: clean the lens, check for a cloudy eye and take it again."}},
		{sharpnessRamp.score(f.Sharpness), Reason{CodeBlur, "The photograph is blurred: clean the lens, refocus and take it again."}},
	}
}

// Assess judges the photograph in its field of view.
func Assess(p *raster.RGB, fov FOV) (Quality, error) {
	canvas, err := NewCanvas(fov, qualityCanvasPx, qualityCanvasPx, qualityFOVPx)
	if err != nil {
		return Quality{}, err
	}
	image, err := canvas.ToCanvas(p)
	if err != nil {
		return Quality{}, err
	}
	figures, err := measureQuality(image, canvas)
	if err != nil {
		return Quality{}, err
	}
	return figures.quality(), nil
}

// Refused tells whether an error of FindFOV is about the picture: its code is CodeNotFound or CodeNotFundus.
func Refused(err error) bool {
	code := fault.CodeOf(err)
	return code == CodeNotFound || code == CodeNotFundus
}

// Unfound is the quality of a picture that FindFOV refused: score 0, with the refusal as the reason.
func Unfound(refusal error) Quality {
	reason := Reason{fault.CodeOf(refusal), fault.SentenceOf(refusal)}
	return Quality{Worst: reason, Reasons: []Reason{reason}}
}

func (f QualityFigures) quality() Quality {
	all := f.components()
	q := Quality{Score: 1, Found: true, Figures: f}
	badLight := false
	for _, c := range all {
		q.Score = min(q.Score, c.score)
		badLight = badLight || c.score < reasonScore && (c.reason.Code == CodeDark || c.reason.Code == CodeBright)
	}
	after := func(c component) int { // light that is wrong explains missing contrast, whichever scores lower
		if badLight && c.reason.Code == CodeLowContrast {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b component) int {
		return cmp.Or(cmp.Compare(after(a), after(b)), cmp.Compare(a.score, b.score))
	})
	q.Worst = all[0].reason
	for _, c := range all {
		if c.score < reasonScore {
			q.Reasons = append(q.Reasons, c.reason)
		}
	}
	return q
}

// The canvas of the figures.
const (
	qualityFOVPx    = 512
	qualityMarginPx = 8
	qualityCanvasPx = qualityFOVPx + 2*qualityMarginPx
	qualityInsetPx  = 14  // detail is not measured that near to the edge of the FOV: mirroring bends what slopes there
	mirrorInsetPx   = 1.5 // the edge itself is mixed with the surround
)

func measureQuality(image *Image, canvas Canvas) (QualityFigures, error) {
	const n = qualityCanvasPx
	mask := canvas.Mask()
	green := image.Pix[n*n : 2*n*n]
	var f QualityFigures
	levels := make([]float32, 0, n*n)
	under, over, sum := 0, 0, 0.0
	for i, m := range mask.Pix {
		if m == 0 {
			continue
		}
		v := green[i]
		levels = append(levels, v)
		sum += float64(v)
		if v < underexposedLevel {
			under++
		}
		if v > overexposedLevel {
			over++
		}
	}
	if len(levels) == 0 {
		return f, notFound("the field of view holds no pixel: use a photograph that shows the retina")
	}
	count := float64(len(levels))
	f.Brightness = medianLevel(levels)
	f.Underexposed, f.Overexposed = float64(under)/count, float64(over)/count
	f.Visible = 1
	if !canvas.FOV.FillsFrame {
		f.Visible = min(1, count/(math.Pi*qualityFOVPx*qualityFOVPx/4))
	}

	inner, mirror := reflection(canvas)
	unfolded := reflected(green, mirror)
	coarse := coarseDetail(unfolded, inner)
	fine := newBands(unfolded, n)
	f.Noise = fine.next(inner).background / b3Gain[0]
	small, large := fine.next(inner), coarse[0]

	// What is there by rounding alone must not be divided by.
	const leastLevels, leastShare = 1e-3, .1
	smallOut, largeOut := without(small.standsOut(), b3Gain[1]*roundingLevels), without(large.standsOut(), b3Gain[2]*roundingLevels)
	f.Sharpness = smallOut / max(leastLevels, leastShare*large.deviation, largeOut)
	f.Contrast = math.Hypot(without(large.deviation, b3Gain[2]*f.Noise), without(coarse[1].deviation, b3Gain[3]*f.Noise))
	f.ContrastToNoise = min(maxContrastToNoise, f.Contrast/math.Max(leastLevels, f.Noise))
	f.Relief = math.Hypot(f.Contrast, coarse[2].deviation) / math.Max(1, sum/count)
	return f, nil
}

// roundingLevels is the deviation of rounding to whole grey levels, 1/√12: in a picture that is nearly flat its steps are all
// that stands out.
const roundingLevels = .289

// maxContrastToNoise bounds a ratio that is without meaning where there is hardly any noise.
const maxContrastToNoise = 100.0

// b3Gain is the standard deviation of the wavelet planes of white noise of deviation 1 (Starck and Murtagh 1994, table 1).
var b3Gain = [4]float64{.889, .200, .086, .041}

// detail is what a band holds inside the FOV, grey levels.
type detail struct {
	deviation  float64 // standard deviation
	background float64 // the deviation that noise of the median magnitude has: MAD / .6745
}

// standsOut is the deviation of what stands out of the background: few pixels lie on vessels, all of them in noise and texture.
func (d detail) standsOut() float64 { return without(d.deviation, d.background) }

// without takes a part that is independent of the rest out of a deviation.
func without(deviation, part float64) float64 {
	return math.Sqrt(math.Max(0, deviation*deviation-part*part))
}

// coarseDetail returns the detail at about 5, 10 and 20 px of a channel of the canvas, measured on half its pixels a side.
func coarseDetail(channel []float32, inner []bool) (details [3]detail) {
	const n, half = qualityCanvasPx, qualityCanvasPx / 2
	small := make([]float32, half*half)
	for y := range half {
		for x := range half {
			i := 2*y*n + 2*x
			small[y*half+x] = (channel[i] + channel[i+1] + channel[i+n] + channel[i+n+1]) / 4
		}
	}
	b := newBands(small, half)
	insideHalf := halved(inner, n)
	b.next(insideHalf) // what is finer
	for i := range details {
		details[i] = b.next(insideHalf)
	}
	return details
}

func halved(inner []bool, n int) []bool {
	half := n / 2
	out := make([]bool, half*half)
	for y := range half {
		for x := range half {
			i := 2*y*n + 2*x
			out[y*half+x] = inner[i] && inner[i+1] && inner[i+n] && inner[i+n+1]
		}
	}
	return out
}

// reflection tells which pixels of the canvas lie well inside the FOV, and from where the others take their value: mirrored at
// the circle and at the cut lines, so that the FOV's edge, which is sharper than any vessel, is not measured.
func reflection(canvas Canvas) (inner []bool, mirror []int32) {
	const n = qualityCanvasPx
	inner, mirror = make([]bool, n*n), make([]int32, n*n)
	left, top := canvas.FromSource(math.Max(0, canvas.FOV.Left), math.Max(0, canvas.FOV.Top))
	right, bottom := canvas.FromSource(math.Min(canvas.FOV.Right, float64(canvas.FOV.Width)), math.Min(canvas.FOV.Bottom, float64(canvas.FOV.Height)))
	const centre, radius = n / 2.0, qualityFOVPx/2.0 - mirrorInsetPx
	const innerRadius = qualityFOVPx/2.0 - qualityInsetPx
	for y := range n {
		for x := range n {
			px, py := float64(x)+.5, float64(y)+.5
			dx, dy := px-centre, py-centre
			square := dx*dx + dy*dy
			inner[y*n+x] = square < innerRadius*innerRadius &&
				px > left+qualityInsetPx && px < right-qualityInsetPx && py > top+qualityInsetPx && py < bottom-qualityInsetPx
			if square > radius*radius {
				d := math.Sqrt(square)
				t := math.Max(0, 2*radius-d) / d
				px, py = centre+dx*t, centre+dy*t
			}
			px, py = fold(px, left+mirrorInsetPx, right-mirrorInsetPx), fold(py, top+mirrorInsetPx, bottom-mirrorInsetPx)
			mirror[y*n+x] = int32(min(n-1, max(0, int(py)))*n + min(n-1, max(0, int(px))))
		}
	}
	return inner, mirror
}

// fold mirrors v into [from, to] once and clamps what is still outside.
func fold(v, from, to float64) float64 {
	if v < from {
		v = 2*from - v
	}
	if v > to {
		v = 2*to - v
	}
	return math.Max(from, math.Min(to, v))
}

func reflected(channel []float32, mirror []int32) []float32 {
	out := make([]float32, len(mirror))
	for i, j := range mirror {
		out[i] = channel[j]
	}
	return out
}

// bands takes a picture apart into details of growing size: the à trous algorithm with the B3 spline.
type bands struct {
	size                   int // pixels a side
	step                   int // of the kernel's taps, pixels
	current, smoothed, row []float32
	magnitudes             []float32
}

func newBands(pix []float32, size int) *bands {
	return &bands{size: size, step: 1, current: pix, smoothed: make([]float32, size*size), row: make([]float32, size*size)}
}

// next smooths the picture once more and returns the detail that this took away, inside.
func (b *bands) next(inner []bool) detail {
	n, s := b.size, b.step
	at := make([][5]int, n) // where the taps lie, mirrored at the ends
	for i := range n {
		for k := range 5 {
			j := i + (k-2)*s
			if j < 0 {
				j = -j
			}
			if j >= n {
				j = 2*n - 2 - j
			}
			at[i][k] = min(n-1, max(0, j))
		}
	}
	for y := range n {
		in, out := b.current[y*n:][:n], b.row[y*n:][:n]
		for x := range n {
			a := &at[x]
			out[x] = float32((in[a[0]]+in[a[4]])*.0625) + float32((in[a[1]]+in[a[3]])*.25) + float32(in[a[2]]*.375)
		}
	}
	for y := range n {
		a := &at[y]
		r0, r1, r2, r3, r4 := b.row[a[0]*n:][:n], b.row[a[1]*n:][:n], b.row[a[2]*n:][:n], b.row[a[3]*n:][:n], b.row[a[4]*n:][:n]
		out := b.smoothed[y*n:][:n]
		for x := range n {
			out[x] = float32((r0[x]+r4[x])*.0625) + float32((r1[x]+r3[x])*.25) + float32(r2[x]*.375)
		}
	}
	b.magnitudes = b.magnitudes[:0]
	sum := 0.0
	for i, in := range inner {
		if in {
			d := b.current[i] - b.smoothed[i]
			sum += float64(d) * float64(d)
			b.magnitudes = append(b.magnitudes, max(d, -d))
		}
	}
	b.current, b.smoothed = b.smoothed, b.current
	b.step *= 2
	if len(b.magnitudes) == 0 {
		return detail{}
	}
	return detail{math.Sqrt(sum / float64(len(b.magnitudes))), medianLevel(b.magnitudes) / .6745}
}

// medianLevel is the median of values 0..255, to half of 1/256 grey level, by counting: sorting would cost more than all the
// filters.
func medianLevel(v []float32) float64 {
	const steps, levels = 256, 256
	counts := make([]int, steps*levels)
	for _, x := range v {
		counts[min(len(counts)-1, max(0, int(x*steps)))]++
	}
	seen := 0
	for i, c := range counts {
		if seen += c; 2*seen >= len(v) {
			return (float64(i) + .5) / steps
		}
	}
	return 0
}
