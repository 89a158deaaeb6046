package evaluation

import (
	"context"

	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/services/segment"
)

// ForAnalyser makes a Segmenter of the chain that screens at night, so that what is evaluated is what clinics get.
func ForAnalyser(a *segment.Analyser) Segmenter { return analyserSegmenter{a} }

type analyserSegmenter struct{ analyser *segment.Analyser }

var _ Segmenter = analyserSegmenter{}

func (s analyserSegmenter) Segment(ctx context.Context, picture *raster.RGB) (*Segmentation, error) {
	analysis, err := s.analyser.Analyse(ctx, picture, segment.Subject{Decoder: "evaluation"})
	if err != nil {
		return nil, err
	}
	out := &Segmentation{}
	if !analysis.Measured() {
		out.Refused = "ungradable"
		if w := analysis.Result.Warnings; len(w) > 0 {
			out.Refused = w[len(w)-1].Text
		}
	}
	if analysis.Result.FOV != nil {
		out.FOV = analysis.Canvas.FOV.Mask()
	}
	if !analysis.Measured() || analysis.Probability == nil {
		return out, nil
	}
	if out.Probability, err = analysis.ProbabilityMap(); err != nil {
		return nil, err
	}
	out.Mask, err = analysis.Mask()
	return out, err
}
