package evaluation

import (
	"context"

	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
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
	out := &Segmentation{Inference: analysis.Timings.Inference, Density: statedDensity(analysis.Result.Measures)}
	reason := ""
	if !analysis.Measured() {
		reason = "ungradable"
		if m := analysis.Result.Measures; len(m) > 0 && m[0].AbsentReason != nil {
			reason = m[0].AbsentReason.Text // all of them are withheld for one reason
		}
	}
	if analysis.Result.FOV != nil {
		out.FOV = analysis.Canvas.FOV.Mask()
	}
	if analysis.Probability == nil {
		out.Refused = reason
		return out, nil
	}
	out.Ungradable = reason
	if out.Probability, err = analysis.ProbabilityMap(); err != nil {
		return nil, err
	}
	out.Mask, err = analysis.Mask()
	return out, err
}

// statedDensity finds the vessel area density among the measures of a result.
func statedDensity(measures []record.Measure) *Stated {
	for _, m := range measures {
		if m.Name != vessel.AreaDensity || m.Value == nil {
			continue
		}
		s := &Stated{Value: *m.Value}
		if m.Error != nil {
			low, high := *m.Value-*m.Error, *m.Value+*m.Error
			s.Low, s.High = &low, &high
		}
		return s
	}
	return nil
}
