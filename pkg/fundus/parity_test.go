package fundus_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestAgreesWithPython holds canvas, normalisation and the way back against values that the training package is held
// against as well: what the network saw in training is what it sees here.
func TestAgreesWithPython(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(shared.Root(t), "training", "tests", "preprocessing_golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Limits struct {
			RGB        float64 `json:"rgb"`
			Normalised float64 `json:"normalised"`
			GreenBack  float64 `json:"green_back"`
		} `json:"tolerance"`
		Cases []struct {
			Geometry struct {
				record.FieldOfView
				Width  int `json:"width"`
				Height int `json:"height"`
			} `json:"geometry"`
			MaskPixels int `json:"mask_pixels"`
			Canvas     []struct {
				X, Y       int
				RGB        [3]float64
				Normalised [3]float64
			} `json:"canvas"`
			GreenBack []struct {
				X, Y  int
				Value float64
			} `json:"green_back"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) == 0 {
		t.Fatal("the golden file holds no case")
	}
	p := raster.NewRGB(257, 211)
	for y := range p.Height {
		for x := range p.Width {
			i := 3 * (y*p.Width + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8((7*x+13*y)%256), uint8(x*y%251), uint8((x*x+3*y)%241)
		}
	}
	var worstRGB, worstNormalised, worstBack float64
	for _, c := range golden.Cases {
		g := c.Geometry
		fov := fundus.FOV{CenterX: g.CenterX, CenterY: g.CenterY, Radius: g.Radius, Left: g.Left, Top: g.Top, Right: g.Right, Bottom: g.Bottom, Width: g.Width, Height: g.Height}
		canvas, err := fundus.NewCanvas(fov, 800, 800, 768)
		if err != nil {
			t.Fatal(err)
		}
		mask := canvas.Mask()
		if mask.Count() != c.MaskPixels {
			t.Errorf("mask of %d pixels, expected %d", mask.Count(), c.MaskPixels)
		}
		img, err := canvas.ToCanvas(p)
		if err != nil {
			t.Fatal(err)
		}
		at := func(ch, x, y int) float64 { return float64(img.Pix[ch*800*800+y*800+x]) }
		for _, v := range c.Canvas {
			for ch := range 3 {
				worstRGB = max(worstRGB, math.Abs(at(ch, v.X, v.Y)-v.RGB[ch]))
			}
		}
		if _, err := fundus.Normalise(img, mask); err != nil {
			t.Fatal(err)
		}
		for _, v := range c.Canvas {
			for ch := range 3 {
				worstNormalised = max(worstNormalised, math.Abs(at(ch, v.X, v.Y)-v.Normalised[ch]))
			}
		}
		back, err := canvas.FromCanvas(&raster.Plane{Width: 800, Height: 800, Pix: img.Pix[800*800 : 2*800*800]})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range c.GreenBack {
			worstBack = max(worstBack, math.Abs(float64(back.Pix[v.Y*g.Width+v.X])-v.Value))
		}
	}
	t.Logf("%d cases, largest differences: canvas %.2g grey levels, normalised %.2g, back %.2g", len(golden.Cases), worstRGB, worstNormalised, worstBack)
	if worstRGB > golden.Limits.RGB || worstNormalised > golden.Limits.Normalised || worstBack > golden.Limits.GreenBack {
		t.Errorf("beyond the tolerances %+v", golden.Limits)
	}
}
