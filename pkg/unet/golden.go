package unet

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Golden is the outcome of VerifyGolden.
type Golden struct {
	MaxDifference float64 // largest absolute difference of a probability
	Tolerance     float64 // that the manifest allows
	Values        int     // compared
}

// VerifyGolden runs the golden input of the model's folder and compares the probabilities with the golden output, which the
// training code computed with PyTorch. A difference beyond the manifest's tolerance is a fault of kind Invalid with the code
// "model-golden"; the figures are returned all the same.
func (s *Session) VerifyGolden(ctx context.Context) (Golden, error) {
	g := s.model.Manifest.Golden
	result := Golden{Tolerance: g.Tolerance}
	input, err := s.model.readTensor(g.Input, g.InputShape)
	if err != nil {
		return result, err
	}
	want, err := s.model.readTensor(g.Output, g.OutputShape)
	if err != nil {
		return result, err
	}
	if !s.enter() {
		return result, fault.New(fault.Internal, "session-closed", "the session of %s is closed", s.model.Manifest.Name)
	}
	defer s.calls.Done()
	n, height, width := g.InputShape[0], g.InputShape[2], g.InputShape[3]
	size, each := inputChannels*height*width, len(want)/n
	if g.InputShape[1] != inputChannels || g.OutputShape[0] != n || g.OutputShape[1] != len(s.model.Manifest.Output.Classes) || g.OutputShape[2] != height || g.OutputShape[3] != width {
		return result, fault.New(fault.Invalid, "model-golden", "the golden tensors of %s have the shapes %v and %v, which do not fit each other or the classes", s.model.Manifest.Name, g.InputShape, g.OutputShape)
	}
	for i := range n {
		in := Input{Width: width, Height: height, Data: input[i*size : (i+1)*size]}
		if err := in.check(); err != nil {
			return result, err
		}
		// The golden output is that of one run, whatever views the model averages.
		out, err := s.segmentView(ctx, in)
		if err != nil {
			return result, err
		}
		for j, v := range out.Data {
			result.MaxDifference = math.Max(result.MaxDifference, math.Abs(float64(v)-float64(want[i*each+j])))
			result.Values++
		}
	}
	if result.MaxDifference > g.Tolerance {
		return result, fault.New(fault.Invalid, "model-golden", "the model %s differs from its golden output by up to %.2g where %.2g is allowed, on %s: the model folder or the library of ONNX Runtime is not the right one", s.model.Manifest.Name, result.MaxDifference, g.Tolerance, s.info.Provider)
	}
	return result, nil
}

// maxGoldenBytes bounds a golden tensor's file.
const maxGoldenBytes = 256 << 20

// readTensor reads raw little-endian float32 values.
func (m *Model) readTensor(name string, shape []int) ([]float32, error) {
	count := int64(1)
	for _, n := range shape {
		if count *= int64(n); count > maxGoldenBytes/4 {
			return nil, fault.New(fault.Invalid, "model-golden", "%s would hold more than %d bytes by its shape %v", name, maxGoldenBytes, shape)
		}
	}
	raw, err := readBounded(m.files, m.Origin, name, maxGoldenBytes)
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != 4*count {
		return nil, fault.New(fault.Invalid, "model-golden", "%s holds %d bytes, but its shape %v needs %d: get the model folder again", name, len(raw), shape, 4*count)
	}
	values := make([]float32, count)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values, nil
}
