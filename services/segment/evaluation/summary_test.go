package evaluation

import (
	"bytes"
	"encoding/json"
	"image"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

func interval(value, low, high float64) *Stated { return &Stated{Value: value, Low: &low, High: &high} }

// fourPictures have four pixels each, all in the field of view. Labels: a .5, b .25, c .5, d 1 of vessel.
func fourPictures() (*Dataset, Options) {
	d := &Dataset{Dir: "set", Layout: Generic, Split: All}
	for _, name := range []string{"a", "b", "c", "d"} {
		d.Items = append(d.Items, Item{Name: name, Split: All, Picture: name, Label: name + ".label"})
	}
	full := maskOf("####")
	return d, options(fixedSegmenter{
		1: {Probability: plane(.9, .9, .9, .1), Mask: maskOf("###."), FOV: full, Density: interval(.4, .3, .5)},                             // .5 for its label: holds at its upper end
		2: {Probability: plane(.9, .1, .1, .1), Mask: maskOf("#..."), FOV: full, Density: interval(.4, .25, .55)},                           // .25 for its label: holds at its lower end
		3: {Probability: plane(.9, .1, .1, .1), Mask: maskOf("#..."), FOV: full, Density: interval(.2, .1, .3), Ungradable: "Too blurred."}, // .5 for its label: does not
		4: {Refused: "No retina."},
	}, map[string]uint8{"a": 1, "b": 2, "c": 3, "d": 4}, map[string]string{"a.label": "##..", "b.label": "#...", "c.label": "##..", "d.label": "####"})
}

func TestSummaryByHand(t *testing.T) {
	t.Parallel()
	d, o := fourPictures()
	r, err := Evaluate(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Summary
	// Dice: a 4/5, b 1, c 2/3, d 0.
	near(t, "mean Dice", s.MeanDice, (.8+1+2./3+0)/4, 1e-12)
	near(t, "median Dice", s.MedianDice, (.8+2./3)/2, 1e-12)
	if s.Worst.Name != "d" || s.Worst.Dice != 0 {
		t.Errorf("worst %+v, want d", s.Worst)
	}
	// Errors of the mask: +.25, 0, −.25; d was refused and so has none.
	near(t, "bias of the mask", s.Density.Bias, 0, 1e-12)
	near(t, "absolute error of the mask", s.Density.MAE, .5/3, 1e-12)
	near(t, "RMSE of the mask squared", s.Density.RMSE*s.Density.RMSE, 2*.0625/3, 1e-12)
	// Stated: −.1, +.15, −.3.
	near(t, "bias of what is stated", s.Stated.Bias, -.25/3, 1e-12)
	near(t, "absolute error of what is stated", s.Stated.MAE, .55/3, 1e-12)
	near(t, "coverage", s.Coverage.Share, 2./3, 1e-12)
	near(t, "half width", s.Coverage.MeanHalfWidth, (.1+.15+.1)/3, 1e-12)
	if s.Density.Pictures != 3 || s.Stated.Pictures != 3 || s.Coverage.Pictures != 3 || s.Coverage.Holding != 2 {
		t.Errorf("counts %+v, %+v, %+v", s.Density, s.Stated, s.Coverage)
	}
	if !slices.Equal(s.Ungradable, []string{"c"}) || !slices.Equal(s.Refused, []string{"d"}) {
		t.Errorf("ungradable %q, refused %q, want c and d", s.Ungradable, s.Refused)
	}
	// The ungradable picture is scored by what was found, the refused one has no probabilities that could be right or wrong.
	near(t, "Dice of the ungradable one", r.PerImage[2].Dice, 2./3, 1e-12)
	if r.Calibration.Pixels != 12 {
		t.Errorf("%d pixels in the calibration, want 12", r.Calibration.Pixels)
	}
	if len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "Too blurred.") || !strings.Contains(r.Notes[1], "No retina.") {
		t.Errorf("notes %q", r.Notes)
	}
	var table, sheet bytes.Buffer
	if err := WriteTable(&table, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 of 3 pictures (66.7 %)", "ungradable: 1 (c)", "refused: 1 (d)", "worst 0.0000 (d)"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	if err := WriteCSV(&sheet, r); err != nil || !strings.Contains(sheet.String(), ",false,") || !strings.Contains(sheet.String(), "Too blurred.") {
		t.Errorf("CSV (%v):\n%s", err, &sheet)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"interval_holds":null`, `"interval_holds":false`, `"stated_density":null`, `"ungradable":["c"]`, `"worst":{"name":"d","dice":0}`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the JSON lacks %s", want)
		}
	}
}

func TestNoStatementIsNoFigure(t *testing.T) {
	t.Parallel()
	d, o := twoPictures()
	r, err := Evaluate(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Summary
	if s.Coverage.Share.Defined() || s.Stated.Bias.Defined() || s.Stated.Pictures != 0 || s.NetworkSeconds.Defined() || r.PerImage[0].IntervalHolds != nil {
		t.Errorf("figures of nothing: %+v", s)
	}
	if _, err := Evaluate(t.Context(), &Dataset{Dir: "set"}, o); fault.CodeOf(err) != "dataset-empty" {
		t.Errorf("an evaluation of nothing: %v", err)
	}
}

func TestStatedDensityOfResults(t *testing.T) {
	t.Parallel()
	value, half := .12, .02
	other := record.Measure{Name: "fractal-dimension", Value: &half}
	if s := statedDensity([]record.Measure{other, {Name: "vessel-area-density", Value: &value, Error: &half}}); s == nil || s.Value != .12 || *s.Low != value-half || *s.High != value+half {
		t.Errorf("stated %+v", s)
	}
	if s := statedDensity([]record.Measure{other, {Name: "vessel-area-density", Value: &value}}); s == nil || s.Low != nil {
		t.Errorf("without an interval: %+v", s)
	}
	if s := statedDensity([]record.Measure{other, {Name: "vessel-area-density"}}); s != nil {
		t.Errorf("without a value: %+v", s)
	}
}

func reportOf(model string, dice ...float64) *Report {
	r := &Report{Model: Model{Name: model, Version: "1", SHA256: "0123456789abcdef"}}
	for i, d := range dice {
		r.PerImage = append(r.PerImage, Picture{Name: string(rune('a' + i)), Metrics: Metrics{Dice: Score(d)}})
	}
	r.Summary = summarise(r.PerImage)
	return r
}

func TestCompareModels(t *testing.T) {
	t.Parallel()
	first := reportOf("first", .80, .70, .60, .75)
	reports := []*Report{first, reportOf("same", .80, .70, .60, .75), reportOf("better", .81, .72, .63, .77), reportOf("unclear", .85, .65, .66, .68)}
	Compare(reports)
	if first.Difference != nil {
		t.Error("the first model differs from itself")
	}
	same, better, unclear := reports[1].Difference, reports[2].Difference, reports[3].Difference
	if same.Mean != 0 || same.Low != 0 || same.High != 0 {
		t.Errorf("the same figures differ: %+v", same)
	}
	near(t, "mean difference", better.Mean, .02, 1e-12)
	if better.Low < .01-1e-9 || better.High > .03+1e-9 || better.Low >= better.Mean || better.High <= better.Mean || better.Pictures != 4 || better.Resamples != 2000 {
		t.Errorf("differences of .01 to .03: %+v", better)
	}
	if !(unclear.Low < 0 && unclear.High > 0) {
		t.Errorf("differences of both signs: %+v, want an interval around 0", unclear)
	}
	again := reportOf("better", .81, .72, .63, .77)
	Compare([]*Report{first, again})
	if *again.Difference != *better {
		t.Errorf("two runs: %+v and %+v", again.Difference, better)
	}
	var out bytes.Buffer
	if err := WriteComparison(&out, reports); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"better 1 (01234567)", "+0.0200", "from first 1 (01234567)", "2000 resamples"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the comparison lacks %q:\n%s", want, &out)
		}
	}
	// Pictures without a Dice, or of one report only, are no pair.
	odd := reportOf("odd", .9, .8)
	odd.PerImage[1].Dice = Undefined()
	odd.PerImage = append(odd.PerImage, Picture{Name: "z", Metrics: Metrics{Dice: 1}})
	Compare([]*Report{first, odd})
	if odd.Difference.Pictures != 1 {
		t.Errorf("%d pairs, want 1", odd.Difference.Pictures)
	}
	Compare(nil)
}

// TestOverlays looks at the colours of a drawn picture: a hit, a miss, a false vessel, and nothing, 20 pixels wide each.
func TestOverlays(t *testing.T) {
	t.Parallel()
	picture, mask, label := raster.NewRGB(80, 40), raster.NewMask(80, 40), raster.NewMask(80, 40)
	for i := range picture.Pix {
		picture.Pix[i] = 100
	}
	for y := range 40 {
		for x := range 80 {
			if x < 40 {
				label.Pix[y*80+x] = raster.Foreground
			}
			if x < 20 || x >= 40 && x < 60 {
				mask.Pix[y*80+x] = raster.Foreground
			}
		}
	}
	for _, side := range []int{80, 40, 20} {
		drawn := overlayOf(picture, mask, label, nil, side)
		if b := drawn.Bounds(); b.Dx() != side || b.Dy() != side/2 {
			t.Fatalf("%v for %d", b, side)
		}
		for i, want := range []rgb{hitColour, missColour, falseColour} {
			r, g, b, _ := drawn.At(i*side/4+side/8, side/4).RGBA()
			if got := rgb(r>>8<<16 | g>>8<<8 | b>>8); got != want {
				t.Errorf("at a side of %d, part %d has the colour %06x, want %06x", side, i, uint32(got), uint32(want))
			}
		}
		if p := drawn.RGBAAt(side-2, side/4); p.R != p.G || p.G != p.B {
			t.Errorf("the photograph is %v, want grey", p)
		}
	}
	large, err := captioned(Picture{Name: strings.Repeat("long", 80), Ungradable: "x"}, overlayOf(raster.NewRGB(3504, 2336), raster.NewMask(3504, 2336), raster.NewMask(3504, 2336), nil, overlaySidePx))
	if err != nil || max(large.Bounds().Dx(), large.Bounds().Dy()) > overlaySidePx {
		t.Errorf("a large overlay has %v (%v)", large.Bounds(), err)
	}
	d, o := fourPictures()
	o.Sheet = true
	var mu sync.Mutex
	names := []string{}
	o.Parallel = 4
	o.Overlay = func(p Picture, overlay image.Image) error {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, p.Name)
		return nil
	}
	r, err := Evaluate(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"a", "b", "c", "d"}) {
		t.Errorf("overlays of %q", names)
	}
	var titles []string
	for _, s := range chosen(r) {
		titles = append(titles, s.title)
	}
	if len(titles) != 3 || !strings.HasPrefix(titles[0], "worst: d,") || !strings.HasPrefix(titles[1], "median: c,") || !strings.HasPrefix(titles[2], "best: b,") {
		t.Errorf("contact sheet %q", titles)
	}
}
