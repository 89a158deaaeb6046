package evaluation_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/services/segment/evaluation"
	"github.com/noctua-screening/noctua/test/shared"
)

// The size of DRIVE's pictures, pixels.
const driveWidth, driveHeight = 565, 584

// drawDrive writes phantoms as DRIVE is distributed: LZW TIFF photographs and palette GIF masks. It returns the phantoms by name.
func drawDrive(t *testing.T, dir string) map[string]*phantom.Photograph {
	t.Helper()
	drawn := map[string]*phantom.Photograph{}
	for i, name := range []string{"21_training", "22_training", "01_test", "02_test", "03_test"} {
		p, err := phantom.Draw(phantom.Options{Seed: uint64(100 + i), Width: driveWidth, Height: driveHeight})
		if err != nil {
			t.Fatal(err)
		}
		drawn[name] = p
		number, part, _ := strings.Cut(name, "_")
		for path, data := range map[string][]byte{
			"images/" + name + ".tif":               lzwTIFF(p.Picture),
			"1st_manual/" + number + "_manual1.gif": paletteGIF(t, p.Vessels),
			"2nd_manual/" + number + "_manual2.gif": paletteGIF(t, raster.NewMask(driveWidth, driveHeight)),
			"mask/" + name + "_mask.gif":            paletteGIF(t, p.FOV),
		} {
			path = filepath.Join(dir, part, filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return drawn
}

// paletteGIF writes a mask with a palette whose first colour is white, so that indices are not values.
func paletteGIF(t *testing.T, m *raster.Mask) []byte {
	t.Helper()
	p := image.NewPaletted(image.Rect(0, 0, m.Width, m.Height), color.Palette{color.White, color.Black})
	for i, v := range m.Pix {
		if v == 0 {
			p.Pix[i] = 1
		}
	}
	var out bytes.Buffer
	if err := gif.Encode(&out, p, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// lzwTIFF writes a picture as a little-endian RGB TIFF of one LZW strip. The code table is cleared before codes grow to 10 bits, which
// saves nothing and is valid.
func lzwTIFF(p *raster.RGB) []byte {
	var strip []byte
	var pending, bits uint32
	put := func(code uint32) { // 9 bits, most significant first
		pending, bits = pending<<9|code, bits+9
		for bits >= 8 {
			bits -= 8
			strip = append(strip, byte(pending>>bits))
		}
	}
	const clearCode, endCode, literals = 256, 257, 240
	for i, v := range p.Pix {
		if i%literals == 0 {
			put(clearCode)
		}
		put(uint32(v))
	}
	put(endCode)
	strip = append(strip, byte(pending<<(8-bits)))
	const headerBytes, short, long = 8, 3, 4
	entries := [][4]uint32{ // tag, type, count, value
		{256, long, 1, uint32(p.Width)}, {257, long, 1, uint32(p.Height)}, {258, short, 3, 0}, {259, short, 1, 5}, {262, short, 1, 2},
		{273, long, 1, headerBytes}, {277, short, 1, 3}, {278, long, 1, uint32(p.Height)}, {279, long, 1, uint32(len(strip))}, {284, short, 1, 1},
	}
	if len(strip)%2 == 1 {
		strip = append(strip, 0)
	}
	directory := uint32(headerBytes + len(strip))
	entries[2][3] = directory + 2 + 12*uint32(len(entries)) + 4 // bits per sample lie behind the directory
	le := binary.LittleEndian
	out := append(le.AppendUint32([]byte("II*\x00"), directory), strip...)
	out = le.AppendUint16(out, uint16(len(entries)))
	for _, e := range entries {
		out = le.AppendUint16(le.AppendUint16(out, uint16(e[0])), uint16(e[1]))
		out = le.AppendUint32(le.AppendUint32(out, e[2]), e[3])
	}
	out = le.AppendUint32(out, 0)
	for range 3 {
		out = le.AppendUint16(out, 8)
	}
	return out
}

// drawnTruth is a segmenter that knows what was drawn: it finds the phantom by its pixels, all of which must be right.
type drawnTruth map[string]*phantom.Photograph

func (d drawnTruth) Segment(_ context.Context, p *raster.RGB) (*evaluation.Segmentation, error) {
	for _, photograph := range d {
		if !bytes.Equal(photograph.Picture.Pix, p.Pix) {
			continue
		}
		probability := raster.NewPlane(p.Width, p.Height)
		for i, v := range photograph.Vessels.Pix {
			probability.Pix[i] = float32(v) / 255
		}
		return &evaluation.Segmentation{Probability: probability, Mask: photograph.Vessels, FOV: photograph.FOV}, nil
	}
	return nil, errors.New("no phantom has these pixels")
}

// statedHalfWidth is the error that shippedWithErrors states.
const statedHalfWidth = .0123

// shippedWithErrors is a copy of the shipped model that states an error of the density.
func shippedWithErrors(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(shared.Root(t), "models", "noctua-vessel-2"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "manifest.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	manifest := map[string]any{}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	manifest["errors"] = []map[string]any{{
		"measure": "vessel-area-density", "confidence": .9, "statistic": "mean-variance", "offset": statedHalfWidth, "slope": 0, "images": 1, "source": "made up for a test",
	}}
	if raw, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDriveAsItIsDistributed reads drawn pictures in DRIVE's files, folders and names.
func TestDriveAsItIsDistributed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "DRIVE")
	drawn := drawDrive(t, dir)
	options := evaluation.Options{
		Segmenter:   drawnTruth(drawn),
		ReadPicture: func(path string) (*raster.RGB, error) { return pixel.ReadPicture(path, pixel.Limits{}) },
		ReadMask:    func(path string) (*raster.Mask, error) { return pixel.ReadMask(path, pixel.Limits{}) },
	}
	for split, want := range map[evaluation.Split]int{evaluation.Test: 3, evaluation.Train: 2, evaluation.All: 5} {
		data, err := evaluation.Find(dir, split)
		if err != nil {
			t.Fatal(err)
		}
		report, err := evaluation.Evaluate(t.Context(), data, options)
		if err != nil {
			t.Fatal(err)
		}
		if report.Layout != evaluation.DRIVE || report.Images != want || report.Dice != 1 || report.AUC != 1 || report.Summary.MeanClDice != 1 || report.Calibration.ECE != 0 {
			t.Errorf("split %s: %s, %d pictures, Dice %v, AUC %v, clDice %v; want %d perfect ones of DRIVE", split, report.Layout, report.Images, report.Dice, report.AUC, report.Summary.MeanClDice, want)
		}
		for _, p := range report.PerImage {
			truth := drawn[p.Name]
			if p.FOVDice != 1 || p.FOVPixels != truth.FOV.Count() || p.LabelDensity != float64(truth.Vessels.Count())/float64(truth.FOV.Count()) {
				t.Errorf("%s: FOV Dice %v, %d pixels, density %v", p.Name, p.FOVDice, p.FOVPixels, p.LabelDensity)
			}
		}
	}
	if testing.Short() {
		t.Skip("SKIPPED, NOT RUN with the model: takes some seconds (-short)")
	}
	data, err := evaluation.Find(dir, evaluation.Test)
	if err != nil {
		t.Fatal(err)
	}
	options.Segmenter = segmenterOf(t, shippedWithErrors(t))
	report, err := evaluation.Evaluate(t.Context(), data, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("shipped model: Dice %s, clDice %s, worst %s", report.Dice, report.Summary.MeanClDice, report.Summary.Worst.Dice)
	if float64(report.Dice) < minPhantomDice || len(report.Summary.Ungradable)+len(report.Summary.Refused) > 0 {
		t.Errorf("Dice %s, %+v; want at least %.2f of measured pictures", report.Dice, report.Summary, minPhantomDice)
	}
	// The error that the manifest states reaches the report as an interval around the stated density.
	holding := 0
	for _, p := range report.PerImage {
		if p.IntervalHolds == nil || math.Abs(float64(p.StatedDensity-p.StatedLow)-statedHalfWidth) > 1e-9 || math.Abs(float64(p.StatedHigh-p.StatedDensity)-statedHalfWidth) > 1e-9 {
			t.Fatalf("%s states %v (%v … %v)", p.Name, p.StatedDensity, p.StatedLow, p.StatedHigh)
		}
		holds := math.Abs(float64(p.StatedDensity)-p.LabelDensity) <= statedHalfWidth
		if *p.IntervalHolds != holds {
			t.Errorf("%s: %v for %v in %v … %v", p.Name, *p.IntervalHolds, p.LabelDensity, p.StatedLow, p.StatedHigh)
		}
		if holds {
			holding++
		}
	}
	if c := report.Summary.Coverage; c.Pictures != 3 || c.Holding != holding {
		t.Errorf("coverage %+v, want %d of 3", c, holding)
	}
}
