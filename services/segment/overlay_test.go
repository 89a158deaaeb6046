package segment

import (
	"bytes"
	"image/png"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// painted is an analysis of a 200 × 180 picture with one broad vertical vessel.
func painted(t *testing.T) (*Analysis, *raster.RGB) {
	t.Helper()
	p := raster.NewRGB(200, 180)
	for i := 0; i < len(p.Pix); i += 3 {
		p.Pix[i], p.Pix[i+1], p.Pix[i+2] = 180, 90, 45
	}
	fov := fundus.FOV{CenterX: 100, CenterY: 90, Radius: 80, Right: 200, Bottom: 180, Width: 200, Height: 180}
	canvas, err := fundus.NewCanvas(fov, 160, 160, 150)
	if err != nil {
		t.Fatal(err)
	}
	plane := raster.NewPlane(160, 160)
	for y := range 160 {
		for x := 70; x < 90; x++ {
			plane.Pix[y*160+x] = .9
		}
	}
	a := &Analysis{Canvas: canvas, Probability: plane, Result: record.Result{Status: record.Measured, Provenance: record.Provenance{Threshold: .5}}}
	return a, p
}

func TestRender(t *testing.T) {
	t.Parallel()
	for _, burnedIn := range []bool{false, true} {
		a, p := painted(t)
		mask, err := a.Mask()
		if err != nil {
			t.Fatal(err)
		}
		files, err := a.Render(p, burnedIn)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 2 || files[0].Name != MaskFile || files[1].Name != OverlayFile {
			t.Fatalf("rendered %d files, expected mask and overlay", len(files))
		}
		decoded, err := png.Decode(bytes.NewReader(files[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		overlay, err := pixel.DecodeJPEG(files[1].Data, pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if overlay.Width != 200 || overlay.Height != 180 || decoded.Bounds().Dx() != 200 || decoded.Bounds().Dy() != 180 {
			t.Fatal("mask or overlay has another size than the photograph")
		}
		for y := range 180 {
			for x := range 200 {
				v, _, _, _ := decoded.At(x, y).RGBA()
				if (v>>8 == 255) != mask.On(x, y) || (v>>8 != 0 && v>>8 != 255) {
					t.Fatalf("mask value %d at %d, %d", v>>8, x, y)
				}
			}
		}
		_, greenIn, _ := overlay.At(100, 90)
		redOut, greenOut, _ := overlay.At(60, 90)
		greenEdge := uint8(0) // canvas column 70 is source column 89.3
		for x := 87; x < 93; x++ {
			_, g, _ := overlay.At(x, 90)
			greenEdge = max(greenEdge, g)
		}
		if greenIn < 120 || greenEdge < greenIn+20 || redOut < 165 || greenOut > 105 {
			t.Errorf("green %d in the vessel, %d on its edge, red %d and green %d beside it", greenIn, greenEdge, redOut, greenOut)
		}
		r, g, b := overlay.At(5, 5) // outside the field of view
		if blank := r < 12 && g < 12 && b < 12; blank != burnedIn {
			t.Errorf("burned in: %v, margin %d %d %d", burnedIn, r, g, b)
		}
	}
}
