package evaluation

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"image/png"
	"os"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Pictures of these tests are rows of four pixels. Masks are written as text: # foreground, . background.
func maskOf(s string) *raster.Mask {
	m := raster.NewMask(len(s), 1)
	for i, c := range s {
		if c == '#' {
			m.Pix[i] = raster.Foreground
		}
	}
	return m
}

// fixedSegmenter answers by the first byte of the picture.
type fixedSegmenter map[uint8]*Segmentation

func (f fixedSegmenter) Segment(_ context.Context, p *raster.RGB) (*Segmentation, error) {
	if s := f[p.Pix[0]]; s != nil {
		return s, nil
	}
	return nil, errors.New("the segmenter is broken")
}

func plane(values ...float32) *raster.Plane {
	return &raster.Plane{Width: len(values), Height: 1, Pix: values}
}

// options reads files from a table of contents, and pictures as a number that the segmenter knows.
func options(s fixedSegmenter, pictures map[string]uint8, masks map[string]string) Options {
	return Options{
		Segmenter: s,
		ReadPicture: func(path string) (*raster.RGB, error) {
			n, ok := pictures[path]
			if !ok {
				return nil, fault.New(fault.Invalid, "picture-corrupt", "no picture")
			}
			p := raster.NewRGB(4, 1)
			p.Pix[0] = n
			return p, nil
		},
		ReadMask: func(path string) (*raster.Mask, error) { return maskOf(masks[path]), nil },
	}
}

func twoPictures() (*Dataset, Options) {
	d := &Dataset{Dir: "set", Layout: Generic, Split: All, Items: []Item{
		{Name: "a", Split: All, Picture: "a.png", Label: "a.gif", FOV: "a.fov"},
		{Name: "b", Split: All, Picture: "b.png", Label: "b.gif"},
	}}
	o := options(fixedSegmenter{
		1: {Probability: plane(.9, .2, .6, .9), Mask: maskOf("#.##"), FOV: maskOf("####")},
		2: {Probability: plane(.1, .8, .9, .9), Mask: maskOf(".###"), FOV: maskOf("##..")},
	}, map[string]uint8{"a.png": 1, "b.png": 2}, map[string]string{"a.gif": "##..", "b.gif": ".#.#", "a.fov": "###."})
	return d, o
}

// TestEvaluateByHand: of a, three pixels count by the set's field of view: TP .9, FN .2, FP .6. Of b two by the segmenter's
// own: TN .1, TP .8. Pixels outside would change every figure.
func TestEvaluateByHand(t *testing.T) {
	t.Parallel()
	d, o := twoPictures()
	var calls []int
	o.Progress = func(done, total int) { calls = append(calls, 10*done+total) }
	r, err := Evaluate(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Images != 2 || len(r.PerImage) != 2 || r.PerImage[0].Name != "a" || r.PerImage[1].Name != "b" {
		t.Fatalf("pictures %+v", r.PerImage)
	}
	a, b := r.PerImage[0], r.PerImage[1]
	near(t, "Dice of a", a.Dice, 2./4, 1e-15)
	near(t, "sensitivity of a", a.Sensitivity, .5, 0)
	near(t, "specificity of a", a.Specificity, 0, 0)
	near(t, "AUC of a", a.AUC, .5, 1e-15) // .9 beats .6, .2 does not
	near(t, "FOV Dice of a", a.FOVDice, 6./7, 1e-15)
	near(t, "Dice of b", b.Dice, 1, 0)
	near(t, "AUC of b", b.AUC, 1, 0)
	if b.FOVDice.Defined() || a.FOVPixels != 3 || b.FOVPixels != 2 || a.LabelDensity != 2./3 || b.Density != .5 {
		t.Errorf("fields of view: %+v, %+v", a, b)
	}
	// Pooled: TP 2, FN 1, FP 1, TN 1.
	near(t, "pooled Dice", r.Dice, 4./6, 1e-15)
	near(t, "pooled sensitivity", r.Sensitivity, 2./3, 1e-15)
	near(t, "pooled specificity", r.Specificity, 1./2, 1e-15)
	near(t, "pooled MCC", r.MCC, (2.*1-1)/6, 1e-15) // √(3·3·2·2)
	near(t, "pooled AUC", r.AUC, 5./6, 1e-15)       // .9 and .8 win both pairs, .2 only that with .1
	if len(calls) != 2 || calls[1] != 22 {
		t.Errorf("progress %v, want 1 and 2 of 2", calls)
	}
}

func TestEvaluateIsTheSameInParallel(t *testing.T) {
	t.Parallel()
	_, o := twoPictures()
	d := &Dataset{Layout: Generic, Split: All}
	for i := range 40 {
		name := string(rune('a'+i%2)) + ".png"
		d.Items = append(d.Items, Item{Name: name, Picture: name, Label: strings.Replace(name, "png", "gif", 1)})
	}
	var first []byte
	for _, parallel := range []int{0, 1, 8} {
		o.Parallel = parallel
		r, err := Evaluate(t.Context(), d, o)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Errorf("with %d pictures at once: %s\nwant %s", parallel, data, first)
		}
	}
}

// A refused picture counts with all its vessels missed.
func TestRefusedPicturesCount(t *testing.T) {
	t.Parallel()
	d, o := twoPictures()
	o.Segmenter = fixedSegmenter{1: {Refused: "No retina."}, 2: {Refused: "No retina."}}
	r, err := Evaluate(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "Dice", r.Dice, 0, 0)
	near(t, "sensitivity", r.Sensitivity, 0, 0)
	near(t, "AUC", r.AUC, .5, 1e-15)
	near(t, "FOV Dice", r.PerImage[0].FOVDice, 0, 0)
	if len(r.Notes) != 2 || r.PerImage[1].FOVPixels != 4 {
		t.Errorf("notes %q, pixels of b %d", r.Notes, r.PerImage[1].FOVPixels)
	}
}

func TestEvaluateFailsAsAWhole(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Dataset, *Options){
		"picture unreadable": func(d *Dataset, _ *Options) { d.Items[1].Picture = "c.png" },
		"label of another size": func(_ *Dataset, o *Options) {
			o.ReadMask = func(string) (*raster.Mask, error) { return maskOf("##"), nil }
		},
		"segmenter fails":         func(_ *Dataset, o *Options) { o.Segmenter = fixedSegmenter{} },
		"segmenter's plane small": func(_ *Dataset, o *Options) { o.Segmenter = fixedSegmenter{1: {Probability: plane(1)}, 2: {}} },
		"no segmenter":            func(_ *Dataset, o *Options) { o.Segmenter = nil },
	} {
		d, o := twoPictures()
		spoil(d, &o)
		if r, err := Evaluate(t.Context(), d, o); err == nil {
			t.Errorf("%s: no error, but %+v", name, r.Metrics)
		}
	}
	d, o := twoPictures()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Evaluate(ctx, d, o); !fault.Interrupted(err) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTrainingPicturesAreNamed(t *testing.T) {
	t.Parallel()
	d, o := twoPictures()
	d.Layout, d.Items[0].Split = CHASE, Train
	r, err := Evaluate(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "training split") {
		t.Errorf("notes %q", r.Notes)
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	d, o := twoPictures()
	r, err := Evaluate(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	r.Notes = append(r.Notes, "a note")
	var table, sheet, figure bytes.Buffer
	if err := errors.Join(WriteTable(&table, r), WriteCSV(&sheet, r), WriteFigure(&figure, r)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/table.txt", table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile("testdata/table.txt")
	if err != nil || table.String() != string(golden) {
		t.Errorf("table (%v):\n%s\nwant\n%s", err, table.String(), golden)
	}
	rows, err := csv.NewReader(&sheet).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][4] != "0.5" || rows[2][2] != "b" || rows[2][10] != "" || len(rows[0]) != len(rows[2]) {
		t.Errorf("CSV (%v): %q", err, rows)
	}
	picture, err := png.Decode(&figure)
	if err != nil {
		t.Fatal(err)
	}
	// The bar of b, whose Dice is 1, ends at the axis' end; that of a ends at its middle.
	bars := map[int]int{}
	for x := range marginPx + nameWidthPx + barLengthPx + 4 { // panels have the same colour
		for i := range 2 {
			if red, g, b, _ := picture.At(x, headHeightPx+i*maxBarPitchPx+maxBarPitchPx/2+10).RGBA(); [3]uint32{red >> 8, g >> 8, b >> 8} == [3]uint32{0x3f, 0x6f, 0xa8} {
				bars[i]++
			}
		}
	}
	if bars[0] < barLengthPx/2-3 || bars[0] > barLengthPx/2+3 || bars[1] < barLengthPx-5 || bars[1] > barLengthPx {
		t.Errorf("bars of %v pixels, want about %d and %d", bars, barLengthPx/2, barLengthPx)
	}
	var empty bytes.Buffer
	if err := WriteFigure(&empty, &Report{Metrics: Metrics{Dice: Undefined(), AUC: Undefined(), Sensitivity: Undefined(), Specificity: Undefined(), MCC: Undefined()}}); err != nil {
		t.Error(err)
	}
}
