package segment_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/segment"
	"github.com/noctua-screening/noctua/test/judges"
)

// TestEveryClassHasAMask runs a model that tells arteries, veins and the optic disc: no code knows their names, each has a mask,
// and arteries and veins together are the vessels that are measured. In the SEG each is a segment, although they overlap.
func TestEveryClassHasAMask(t *testing.T) {
	t.Parallel()
	analyser := newAnalyser(t, newEngineOf(t, "../../pkg/unet/testdata/classes"))
	drawn, err := phantom.Draw(phantom.Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	picture := filepath.Join(t.TempDir(), "phantom.dcm")
	encoded, err := pixel.EncodeJPEG(drawn.Picture, 95)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := dicom.WriteOP(&file, dicom.FundusAttributes{PatientID: "P1", PatientName: "Phantom", Laterality: record.RightEye, AcquiredAt: time.Unix(1e9, 0).UTC()}, encoded); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(picture, file.Bytes(), 0o600); err != nil {
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
	seg := filepath.Join(got.Dir, got.Result.Files.Seg)
	want := []judges.Segment{judges.SegmentOf(1, "Vessel", vessels)}
	for i, c := range got.Result.Files.Classes {
		label := map[string]string{"artery": "Artery", "vein": "Vein", "optic-disc": "Optic disc"}[c.Class]
		want = append(want, judges.SegmentOf(i+2, label, masks[c.Class]))
	}
	judges.Conforms(t, seg, "Segmentation")
	if found := judges.Pydicom(t, seg).Segments; !reflect.DeepEqual(found, want) {
		t.Errorf("pydicom finds %+v, expected %+v", found, want)
	}
	if found := judges.OHIF(t, seg, picture); !reflect.DeepEqual(found, want) {
		t.Errorf("OHIF finds %+v, expected %+v", found, want)
	}
}
