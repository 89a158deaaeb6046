package segment_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/segment"
)

// TestEveryClassHasAMask runs a model that tells arteries, veins and the optic disc: no code knows their names, each has a mask,
// and arteries and veins together are the vessels that are measured.
func TestEveryClassHasAMask(t *testing.T) {
	t.Parallel()
	analyser := newAnalyser(t, newEngineOf(t, "../../pkg/unet/testdata/classes"))
	drawn, err := phantom.Draw(phantom.Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	picture := filepath.Join(t.TempDir(), "phantom.jpg")
	encoded, err := pixel.EncodeJPEG(drawn.Picture, 95)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(picture, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	var got segment.Prediction
	if err := analyser.Predict(t.Context(), []string{picture}, segment.PredictOptions{Out: out}, func(p segment.Prediction) { got = p }); err != nil || got.Err != nil {
		t.Fatal(err, got.Err)
	}
	if got.Result.Status != record.Measured {
		t.Fatalf("the phantom is %s: %v", got.Result.Status, got.Result.Warnings)
	}
	masks := map[string]*raster.Mask{}
	for _, c := range got.Result.Files.Classes {
		mask, err := pixel.ReadMask(filepath.Join(got.Dir, c.Mask), pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if mask.Width != drawn.Picture.Width || mask.Height != drawn.Picture.Height {
			t.Errorf("the mask of %s has %d × %d pixels", c.Class, mask.Width, mask.Height)
		}
		masks[c.Class] = mask
	}
	if len(masks) != 3 || masks["artery"] == nil || masks["vein"] == nil || masks["optic-disc"] == nil {
		t.Fatalf("masks of %v, expected artery, vein and optic-disc", got.Result.Files.Classes)
	}
	if !masks["optic-disc"].On(int(drawn.DiscX), int(drawn.DiscY)) {
		t.Error("the middle of the disc is not in the disc's mask")
	}
	vessels, err := pixel.ReadMask(filepath.Join(got.Dir, got.Result.Files.Mask), pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if vessels.Count() == 0 {
		t.Fatal("no vessels")
	}
	for i := range vessels.Pix {
		if vessels.Pix[i] == 0 && (masks["artery"].Pix[i] != 0 || masks["vein"].Pix[i] != 0) {
			t.Fatal("a pixel of an artery or a vein is no vessel")
		}
	}
}
