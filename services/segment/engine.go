package segment

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/unet"
)

// EngineConfig says which network runs on what.
type EngineConfig struct {
	// ModelDir is the model's folder, e.g. models/noctua-vessel-2. Default: Model.
	ModelDir string
	// Model holds the files of the model that is used when ModelDir is empty, e.g. the one that the program embeds.
	Model fs.FS
	// Library is the path of ONNX Runtime's shared library. Default: NOCTUA_ONNXRUNTIME, else the one of `make deps`.
	Library string
	// Run bounds and places the runs of the network.
	Run unet.Config
}

// Validate says in a sentence what is wrong.
func (c EngineConfig) Validate() error {
	if c.ModelDir == "" && c.Model == nil {
		return fault.New(fault.Invalid, "segment-config", "no model is configured: give the folder of one, e.g. models/noctua-vessel-2")
	}
	return c.Run.Validate()
}

// Engine is a loaded and checked network. It is safe for concurrent use.
type Engine struct {
	session *unet.Session
	golden  unet.Golden
}

// acceleratorTolerance is what probabilities may differ from the golden ones on anything but the CPU, where arithmetic with
// shorter mantissas (TF32, half precision) is the vendor's default. It is far below what moves a mask.
const acceleratorTolerance = 0.02

// OpenEngine loads library and model, and runs the model's golden input: a library, driver or device that computes something
// else is refused here and not found out by a clinic.
func OpenEngine(ctx context.Context, config EngineConfig) (*Engine, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	path, err := unet.LocateLibrary(config.Library, os.Getenv)
	if err != nil {
		return nil, err
	}
	rt, err := unet.OpenRuntime(path)
	if err != nil {
		return nil, err
	}
	model, err := loadModel(config)
	if err != nil {
		return nil, err
	}
	session, err := unet.NewSession(rt, model, config.Run)
	if err != nil {
		return nil, err
	}
	golden, err := session.VerifyGolden(ctx)
	if err != nil && (session.Info().Provider == unet.CPU || golden.Values == 0 || golden.MaxDifference > acceleratorTolerance) {
		return nil, errors.Join(err, session.Close())
	}
	return &Engine{session: session, golden: golden}, nil
}

func loadModel(config EngineConfig) (*unet.Model, error) {
	if config.ModelDir == "" {
		return unet.LoadModelFS(config.Model, "the program's own model")
	}
	return unet.LoadModel(config.ModelDir)
}

// Info says what the network runs on.
func (e *Engine) Info() unet.Info { return e.session.Info() }

// Golden tells how far the network is from its golden output on this machine.
func (e *Engine) Golden() unet.Golden { return e.golden }

// Model returns the loaded model.
func (e *Engine) Model() *unet.Model { return e.session.Model() }

// Segment runs the network; see unet.Session.Segment.
func (e *Engine) Segment(ctx context.Context, in unet.Input) (unet.Output, error) {
	return e.session.Segment(ctx, in)
}

// Close waits for the runs under way and releases the network.
func (e *Engine) Close() error { return e.session.Close() }
