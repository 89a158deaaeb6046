package evaluation_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/services/segment/evaluation"
)

// minPhantomDice: the shipped model must take phantoms for retinas. Fine drawn vessels are missed, as people's are.
const minPhantomDice = .80

// TestShippedModelOnPhantoms segments photographs of eyes that do not exist and compares with what was drawn; ungradable ones
// must be refused.
func TestShippedModelOnPhantoms(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, NOT RUN: takes some seconds (-short)")
	}
	segmenter := shippedSegmenter(t)
	data := &evaluation.Dataset{Dir: "phantoms", Layout: evaluation.Generic, Split: evaluation.All}
	photographs := map[string]*phantom.Photograph{}
	for i, o := range []phantom.Options{
		{Seed: 11, FOVDeg: 45}, {Seed: 12, FOVDeg: 30, Eye: phantom.Left, Width: 999, Height: 960}, {Seed: 13, Width: 1536, Height: 1152},
		{Seed: 14, Defect: phantom.Dark}, {Seed: 15, Defect: phantom.Blurred},
	} {
		p, err := phantom.Draw(o)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d%s", i, o.Defect)
		photographs[name] = p
		data.Items = append(data.Items, evaluation.Item{Name: name, Picture: name, Label: name, FOV: name + ".fov"})
	}
	report, err := evaluation.Evaluate(t.Context(), data, evaluation.Options{
		Segmenter:   segmenter,
		ReadPicture: func(path string) (*raster.RGB, error) { return photographs[path].Picture, nil },
		ReadMask: func(path string) (*raster.Mask, error) {
			if p, ok := photographs[path]; ok {
				return p.Vessels, nil
			}
			if p, ok := photographs[path[:len(path)-len(".fov")]]; ok {
				return p.FOV, nil
			}
			return nil, errors.New("no such phantom")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range report.PerImage {
		t.Logf("%s: Dice %s, AUC %s, FOV Dice %s, clDice %s, refused: %q, ungradable: %q", p.Name, p.Dice, p.AUC, p.FOVDice, p.ClDice, p.Refused, p.Ungradable)
		switch defective := i >= 3; {
		case defective && p.Refused == "" && p.Ungradable == "":
			t.Errorf("%s: a phantom without visible vessels was measured", p.Name)
		case !defective && (p.Refused != "" || p.Ungradable != "" || float64(p.Dice) < minPhantomDice || float64(p.FOVDice) < .99):
			t.Errorf("%s: Dice %s and FOV Dice %s, want at least %.2f and .99", p.Name, p.Dice, p.FOVDice, minPhantomDice)
		}
	}
}
