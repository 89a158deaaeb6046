package segment

import (
	"math"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

func TestGeometry(t *testing.T) {
	t.Parallel()
	// A field 1600 px wide in a frame that cuts 100 px off at the right, brought to 1024 px.
	fov := fundus.FOV{CenterX: 900, CenterY: 900, Radius: 800, Left: 0, Top: 0, Right: 1600, Bottom: 1800, Width: 1600, Height: 1800}
	canvas, err := fundus.NewCanvas(fov, 1056, 1056, 1024)
	if err != nil {
		t.Fatal(err)
	}
	mm, degrees := .006, 45.
	found := fundus.Disc{CenterX: 700, CenterY: 500, DiameterPx: 160, Confidence: fundus.DiscConfidence}
	g := geometry(canvas, found, Subject{Laterality: record.LeftEye, PixelSpacingMm: &mm, HorizontalFOVDeg: &degrees})
	scale := 1024. / 1600
	if g.FOVDiameterPx != 1024 || g.Eye != vessel.LeftEye || g.Disc == nil || *g.Disc != (vessel.Circle{X: 700, Y: 500, DiameterPx: 160}) ||
		math.Abs(g.MillimetresPerPx-.006/scale) > 1e-12 || math.Abs(g.DegreesPerPx-45/(1500*scale)) > 1e-12 {
		t.Errorf("%+v, disc %+v", g, g.Disc)
	}
	found.Confidence -= .01
	if g := geometry(canvas, found, Subject{Laterality: record.RightEye}); g.Disc != nil || g.Eye != vessel.RightEye || g.MillimetresPerPx != 0 || g.DegreesPerPx != 0 {
		t.Errorf("without a scale and without confidence: %+v", g)
	}
	canvas.FOV.FillsFrame = true
	if g := geometry(canvas, found, Subject{HorizontalFOVDeg: &degrees}); g.DegreesPerPx != 0 || g.Eye != vessel.UnknownEye {
		t.Errorf("a field of unknown width: %+v", g)
	}
}
