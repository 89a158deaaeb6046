package unet

import (
	"fmt"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// autoOrder is what Auto tries before the CPU, best first.
var autoOrder = []Provider{CUDA, OpenVINO}

// newORTSession makes the session with the provider that config asks for. note is not empty when auto had to fall back.
func newORTSession(rt *Runtime, model *Model, config Config) (session *ort.DynamicAdvancedSession, used Provider, note string, err error) {
	if config.Provider != Auto {
		session, err = tryProvider(model, config, config.Provider)
		if err != nil && config.Provider != CPU {
			return nil, "", "", fault.Wrap(fault.Unsupported, "execution-provider-missing", err,
				"the execution provider %q cannot be used with %s: install a build of ONNX Runtime %s that has it, with its drivers, and name it with %s, or choose cpu or auto",
				config.Provider, rt.Path, RuntimeVersion, LibraryVariable)
		}
		if err != nil {
			return nil, "", "", fault.Wrap(fault.Invalid, "model-unusable", err, "ONNX Runtime cannot load %s of the model %s", model.Manifest.File, model.Manifest.Name)
		}
		return session, config.Provider, "", nil
	}
	var reasons []string
	for _, p := range autoOrder {
		session, err = tryProvider(model, config, p)
		if err == nil {
			return session, p, "", nil
		}
		reasons = append(reasons, fmt.Sprintf("%s: %s", p, firstLine(err)))
	}
	session, err = tryProvider(model, config, CPU)
	if err != nil {
		return nil, "", "", fault.Wrap(fault.Invalid, "model-unusable", err, "ONNX Runtime cannot load %s of the model %s", model.Manifest.File, model.Manifest.Name)
	}
	return session, CPU, "auto fell back to the CPU (" + strings.Join(reasons, "; ") + ")", nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// sessionEntries hold for every provider: threads that wait must not spin, for the processors are shared with decoding; and
// denormals cost a hundred times a normal number and carry nothing.
var sessionEntries = [][2]string{
	{"session.intra_op.allow_spinning", "0"},
	{"session.inter_op.allow_spinning", "0"},
	{"session.set_denormal_as_zero", "1"},
}

func tryProvider(model *Model, config Config, p Provider) (_ *ort.DynamicAdvancedSession, err error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("making session options: %w", err)
	}
	defer func() {
		if e := options.Destroy(); e != nil && err == nil {
			err = fmt.Errorf("releasing session options: %w", e)
		}
	}()
	if err := options.SetIntraOpNumThreads(config.IntraOpThreads); err != nil {
		return nil, fmt.Errorf("setting the threads of a run: %w", err)
	}
	if err := options.SetInterOpNumThreads(1); err != nil {
		return nil, fmt.Errorf("setting the threads between nodes: %w", err)
	}
	for _, e := range sessionEntries {
		if err := options.AddSessionConfigEntry(e[0], e[1]); err != nil {
			return nil, fmt.Errorf("setting %s: %w", e[0], err)
		}
	}
	if err := appendProvider(options, p, config.DeviceID); err != nil {
		return nil, err
	}
	m := model.Manifest
	session, err := ort.NewDynamicAdvancedSessionWithONNXData(model.onnx, []string{m.Input.Name}, []string{m.Output.Name}, options)
	if err != nil {
		return nil, fmt.Errorf("creating a session: %w", err)
	}
	return session, nil
}

func appendProvider(options *ort.SessionOptions, p Provider, device int) (err error) {
	id := map[string]string{"device_id": strconv.Itoa(device)}
	switch p {
	case CUDA:
		cuda, err := ort.NewCUDAProviderOptions()
		if err != nil {
			return fmt.Errorf("making CUDA options: %w", err)
		}
		defer func() { _ = cuda.Destroy() }() // frees memory; its error can only mean that it was freed before
		id["cudnn_conv_algo_search"] = "EXHAUSTIVE"
		if err := cuda.Update(id); err != nil {
			return fmt.Errorf("setting CUDA options: %w", err)
		}
		return options.AppendExecutionProviderCUDA(cuda)
	case TensorRT:
		trt, err := ort.NewTensorRTProviderOptions()
		if err != nil {
			return fmt.Errorf("making TensorRT options: %w", err)
		}
		defer func() { _ = trt.Destroy() }() // as above
		if err := trt.Update(id); err != nil {
			return fmt.Errorf("setting TensorRT options: %w", err)
		}
		if err := options.AppendExecutionProviderTensorRT(trt); err != nil {
			return err
		}
		return appendProvider(options, CUDA, device) // for the nodes that TensorRT leaves
	case OpenVINO:
		return options.AppendExecutionProviderOpenVINO(map[string]string{})
	default:
		return nil // the CPU is always there
	}
}

// checkSignature compares the network's inputs and outputs with the manifest, so that a model that does not fit is refused
// at start and not by the first picture.
func checkSignature(model *Model) error {
	inputs, outputs, err := ort.GetInputOutputInfoWithONNXData(model.onnx)
	if err != nil {
		return fault.Wrap(fault.Invalid, "model-unusable", err, "ONNX Runtime cannot read %s of the model %s", model.Manifest.File, model.Manifest.Name)
	}
	m := model.Manifest
	refuse := func(what string, got []ort.InputOutputInfo) error {
		return fault.New(fault.Invalid, "model-unusable", "the manifest of the model %s promises %s, but the network has %v", m.Name, what, got)
	}
	fits := func(i ort.InputOutputInfo, name string, channels int) bool {
		return i.Name == name && i.OrtValueType == ort.ONNXTypeTensor && i.DataType == ort.TensorElementDataTypeFloat &&
			len(i.Dimensions) == 4 && (i.Dimensions[1] == int64(channels) || i.Dimensions[1] < 0)
	}
	if len(inputs) != 1 || !fits(inputs[0], m.Input.Name, inputChannels) {
		return refuse(fmt.Sprintf("one float32 input %q [N,%d,H,W]", m.Input.Name, inputChannels), inputs)
	}
	if len(outputs) != 1 || !fits(outputs[0], m.Output.Name, len(m.Output.Classes)) {
		return refuse(fmt.Sprintf("one float32 output %q [N,%d,H,W]", m.Output.Name, len(m.Output.Classes)), outputs)
	}
	return nil
}
