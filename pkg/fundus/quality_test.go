package fundus

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

func TestRamp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ramp    ramp
		v, want float64
	}{
		{ramp{unusable: 2, good: 4}, 3, .5},
		{ramp{unusable: 2, good: 4}, 1, 0},
		{ramp{unusable: 2, good: 4}, 9, 1},
		{ramp{unusable: .6, good: .2}, .5, .25}, // less is better
		{ramp{unusable: .6, good: .2}, .7, 0},
		{ramp{unusable: 1, good: 100, logarithmic: true}, 10, .5},
		{ramp{unusable: 1, good: 100, logarithmic: true}, 0, 0},
		{ramp{unusable: 1, good: 100, logarithmic: true}, -3, 0},
	} {
		if got := c.ramp.score(c.v); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v at %g gives %g, expected %g", c.ramp, c.v, got, c.want)
		}
	}
}

// good are figures without anything to complain of.
var good = QualityFigures{Sharpness: .9, Brightness: 70, Contrast: 3, ContrastToNoise: 4, Relief: .08, Visible: 1}

func TestReasons(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(f *QualityFigures)
		codes  string
		score  float64
	}{
		"nothing":            {func(*QualityFigures) {}, "", 1},
		"blurred":            {func(f *QualityFigures) { f.Sharpness = .22 }, CodeBlur, 0},
		"a little soft":      {func(f *QualityFigures) { f.Sharpness = .22 + .53*.8 }, "", .8},
		"dark":               {func(f *QualityFigures) { f.Brightness = math.Sqrt(1.5 * 40) }, CodeDark, .5},
		"half of it dark":    {func(f *QualityFigures) { f.Underexposed = .7 }, CodeDark, .5},
		"bright":             {func(f *QualityFigures) { f.Overexposed = .7 }, CodeBright, 0},
		"cut":                {func(f *QualityFigures) { f.Visible = .3 }, CodeCut, .25},
		"faint":              {func(f *QualityFigures) { f.Contrast = .08 }, CodeLowContrast, 0},
		"noisy":              {func(f *QualityFigures) { f.ContrastToNoise = .25 }, CodeLowContrast, 0},
		"something else":     {func(f *QualityFigures) { f.Relief = .4 }, CodeNotFundus, 0},
		"the worst leads":    {func(f *QualityFigures) { f.Visible, f.Sharpness = .45, .3 }, CodeBlur + " " + CodeCut, .08 / .53},
		"light explains":     {func(f *QualityFigures) { f.Brightness, f.Contrast = 6, .088 }, CodeDark + " " + CodeLowContrast, math.Log(1.1) / math.Log(18.75)},
		"nothing to be seen": {func(f *QualityFigures) { f.Contrast, f.Sharpness = 0, 0 }, CodeLowContrast + " " + CodeBlur, 0},
	} {
		f := good
		c.change(&f)
		q := f.quality()
		var codes []string
		for _, r := range q.Reasons {
			codes = append(codes, r.Code)
			if !strings.HasSuffix(r.Sentence, ".") || !strings.Contains(r.Sentence, ":") {
				t.Errorf("%s: %q does not say what to do", name, r.Sentence)
			}
		}
		if q.Worst.Code == "" || len(codes) > 0 && codes[0] != q.Worst.Code {
			t.Errorf("%s: the worst is %q of %q", name, q.Worst.Code, codes)
		}
		if got := strings.Join(codes, " "); got != c.codes || math.Abs(q.Score-c.score) > 1e-9 || !q.Found {
			t.Errorf("%s: %.4f %q, expected %.4f %q", name, q.Score, got, c.score, c.codes)
		}
	}
	refusal := notFound("nothing is there: take it again")
	if q := Unfound(refusal); q.Score != 0 || q.Found || len(q.Reasons) != 1 || q.Reasons[0].Code != CodeNotFound {
		t.Errorf("nothing found: %+v", q)
	}
}

func TestFiguresAreListedWithDefinitions(t *testing.T) {
	t.Parallel()
	list := QualityFigures{1, 2, 3, 4, 5, 6, 7, 8, 9}.List()
	for i, f := range list {
		if f.Value != float64(i+1) || f.Unit == "" || !strings.HasSuffix(f.Definition, ".") {
			t.Errorf("figure %d: %+v", i, f)
		}
	}
	if len(list) != 9 {
		t.Errorf("%d figures", len(list))
	}
}

// disc draws a field of view of 480 px on black, its green given by paint.
func disc(paint func(x, y float64) float64) (*raster.RGB, FOV) {
	p := raster.NewRGB(560, 520)
	f := FOV{CenterX: 280, CenterY: 260, Radius: 240, Right: 560, Bottom: 520, Width: 560, Height: 520}
	for y := range p.Height {
		first, end := f.Span(y)
		for x := first; x < end; x++ {
			i := 3 * (y*p.Width + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = 180, uint8(math.Round(min(255, max(0, paint(float64(x), float64(y)))))), 40
		}
	}
	return p, f
}

func figures(t *testing.T, p *raster.RGB, f FOV) QualityFigures {
	t.Helper()
	q, err := Assess(p, f)
	if err != nil {
		t.Fatal(err)
	}
	return q.Figures
}

// TestFiguresOfDrawnPictures holds the figures against pictures whose figures are known.
func TestFiguresOfDrawnPictures(t *testing.T) {
	t.Parallel()
	near := func(what string, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s is %.3f, expected %.3f ± %.3f", what, got, want, tolerance)
		}
	}
	flat := figures(t, firstOf(disc(func(_, _ float64) float64 { return 80 })), secondOf(disc(func(_, _ float64) float64 { return 80 })))
	near("brightness of a flat disc", flat.Brightness, 80, .1)
	near("contrast of a flat disc", flat.Contrast, 0, .01)
	near("sharpness of a flat disc", flat.Sharpness, 0, .01)
	near("visible share", flat.Visible, 1, .002)

	half, f := disc(func(x, _ float64) float64 {
		if x < 280 {
			return 1
		}
		return 250
	})
	parted := figures(t, half, f)
	near("underexposed share", parted.Underexposed, .5, .01)
	near("overexposed share", parted.Overexposed, .5, .01)

	cut := f
	cut.Bottom = 260
	near("visible share of half a disc", figures(t, half, cut).Visible, .5, .005)
	cut.FillsFrame = true
	near("visible share of a guess", figures(t, half, cut).Visible, 1, 0)

	random := rand.New(rand.NewPCG(1, 2))
	noisy, f := disc(func(_, _ float64) float64 { return 100 + 10*random.NormFloat64() })
	noise := figures(t, noisy, f)
	// The canvas enlarges by 512/480 and interpolates, which leaves about two thirds of white noise.
	near("noise", noise.Noise, 6.5, 1.5)
	if noise.ContrastToNoise > .2 {
		t.Errorf("noise alone has contrast %.2f of itself", noise.ContrastToNoise)
	}

	// A wave of the length of a large vessel's band is contrast, √½ of its amplitude but for what the band lets pass.
	wave, f := disc(func(x, _ float64) float64 { return 100 + 10*math.Sin(2*math.Pi*x/24) })
	if got := figures(t, wave, f).Contrast; got < 4 || got > 7.1 {
		t.Errorf("the contrast of a wave of amplitude 10 is %.2f", got)
	}
	double, f := disc(func(x, _ float64) float64 { return 100 + 20*math.Sin(2*math.Pi*x/24) })
	near("contrast of twice the wave", figures(t, double, f).Contrast/figures(t, wave, f).Contrast, 2, .1)

	if _, err := Assess(raster.NewRGB(10, 10), f); !fault.Is(err, fault.Internal) {
		t.Errorf("a picture of another size: %v", err)
	}
}

func firstOf(p *raster.RGB, _ FOV) *raster.RGB { return p }
func secondOf(_ *raster.RGB, f FOV) FOV        { return f }

// TestStrongPatternIsNoRetina draws what has a round border and the colour of a retina, and is none.
func TestStrongPatternIsNoRetina(t *testing.T) {
	t.Parallel()
	q, err := Assess(disc(func(x, y float64) float64 { return 20 + 130*float64((int(x)/20+int(y)/20)%2) }))
	if err != nil {
		t.Fatal(err)
	}
	if q.Score >= DefaultMinScore || len(q.Reasons) == 0 || q.Reasons[0].Code != CodeNotFundus {
		t.Errorf("a chessboard: %+v", q)
	}
}

// TestQualityIsDeterministic is not parallel, since it changes GOMAXPROCS.
func TestQualityIsDeterministic(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p, f := disc(func(x, y float64) float64 { return 90 + 12*math.Sin(x/5)*math.Cos(y/9) + 3*random.NormFloat64() })
	run := func(processors int) Quality {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		q, err := Assess(p, f)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	one, many := run(1), run(7)
	if one.Score != many.Score || one.Figures != many.Figures || !slices.Equal(one.Reasons, many.Reasons) {
		t.Errorf("one processor gives %+v, seven %+v", one, many)
	}
}

func BenchmarkAssess(b *testing.B) {
	p, c := benchmarkScene(b)
	for b.Loop() {
		if _, err := Assess(p, c.FOV); err != nil {
			b.Fatal(err)
		}
	}
}
