package unet

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// flip is a view of the canvas: turned round along none, one or both axes.
type flip struct{ horizontal, vertical bool }

// flips are the views that a manifest may name.
var flips = map[string]flip{"none": {}, "horizontal": {horizontal: true}, "vertical": {vertical: true}, "both": {true, true}}

// views returns the views whose probabilities the model averages; at least one.
func (m *Model) views() []flip {
	if m.Manifest.Averaging == nil {
		return []flip{{}}
	}
	out := make([]flip, len(m.Manifest.Averaging.Flips))
	for i, name := range m.Manifest.Averaging.Flips {
		out[i] = flips[name] // the schema knows no other names
	}
	return out
}

// segmentAveraged runs the network on every view and averages what it says of each pixel. Without batches the views run one
// after the other, so that a picture takes one run at a time; with batches they fill a batch together.
func (s *Session) segmentAveraged(ctx context.Context, in Input, views []flip) (Output, error) {
	outputs := make([]Output, len(views))
	group, ctx := errgroup.WithContext(ctx)
	if s.batches == nil {
		group.SetLimit(1)
	}
	for i, view := range views {
		group.Go(func() error {
			turned := in
			turned.Data = view.turn(in.Data, in.Width, in.Height)
			var err error
			outputs[i], err = s.segmentView(ctx, turned)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Output{}, err
	}
	sum := outputs[0]
	sum.Data = views[0].turn(sum.Data, in.Width, in.Height)
	for i, out := range outputs[1:] {
		for j, v := range views[i+1].turn(out.Data, in.Width, in.Height) {
			sum.Data[j] += v
		}
		sum.Inference += out.Inference
	}
	share := 1 / float32(len(views))
	for j := range sum.Data {
		sum.Data[j] *= share
	}
	return sum, nil
}

// turn returns the planes turned round; turning twice gives the planes again. The planes themselves stay as they are, and are
// returned where nothing is to be turned.
func (f flip) turn(planes []float32, width, height int) []float32 {
	if f == (flip{}) {
		return planes
	}
	out := make([]float32, len(planes))
	for start := 0; start < len(planes); start += width * height {
		for y := range height {
			to := y
			if f.vertical {
				to = height - 1 - y
			}
			source, target := planes[start+y*width:][:width], out[start+to*width:][:width]
			if !f.horizontal {
				copy(target, source)
				continue
			}
			for x, v := range source {
				target[width-1-x] = v
			}
		}
	}
	return out
}
