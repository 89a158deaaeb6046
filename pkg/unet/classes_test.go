package unet_test

import (
	"math"
	"testing"

	"github.com/noctua-screening/noctua/pkg/unet"
)

// TestArteriesAndVeinsAreVessels: a model without a class vessel gives the probability of vessel all the same.
func TestArteriesAndVeinsAreVessels(t *testing.T) {
	t.Parallel()
	s := newSession(t, "testdata/classes", unet.Config{})
	if _, err := s.VerifyGolden(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := s.Segment(t.Context(), randomInput(5, 64, 32))
	if err != nil {
		t.Fatal(err)
	}
	artery, hasArtery := out.Class("artery")
	vein, hasVein := out.Class("vein")
	if !hasArtery || !hasVein {
		t.Fatalf("the classes are %v", out.Classes)
	}
	vessel := out.Vessel()
	most := 0.0
	for i, v := range vessel.Pix {
		if math.Abs(float64(artery.Pix[i]+vein.Pix[i]-v)) > 1e-6 {
			t.Fatalf("pixel %d: artery %v, vein %v, vessel %v", i, artery.Pix[i], vein.Pix[i], v)
		}
		most = max(most, float64(v))
	}
	if most < .5 {
		t.Error("no pixel is vessel: the test shows nothing")
	}
}
