package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/noctua-screening/noctua/models"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/services/segment"
)

// runtimeFlags say what networks run on.
type runtimeFlags struct {
	OnnxRuntime    string        `name:"onnxruntime" help:"ONNX Runtime library instead of the one that make deps fetched." env:"NOCTUA_ONNXRUNTIME" placeholder:"FILE"`
	Provider       string        `help:"Execution provider: cpu, cuda, tensorrt, openvino, or auto (a GPU where there is one)." enum:"cpu,cuda,tensorrt,openvino,auto" default:"cpu" env:"NOCTUA_PROVIDER"`
	Batch          int           `help:"Pictures that go through the network together; 0: 1." default:"0" env:"NOCTUA_BATCH"`
	BatchWait      time.Duration `help:"How long a picture waits for others to fill a batch; 0: 20ms." default:"0s" env:"NOCTUA_BATCH_WAIT"`
	ConcurrentRuns int           `help:"Runs of the network at a time; 0: as many as processors allow, at most 8." default:"0" env:"NOCTUA_CONCURRENT_RUNS"`
	Threads        int           `help:"Threads of one run; 0: 1." default:"0" env:"NOCTUA_THREADS"`
	Device         int           `help:"Number of the GPU." default:"0" env:"NOCTUA_DEVICE"`
	MinQuality     float64       `help:"Quality score below which a photograph is ungradable and not measured, 0 to 1; 0: every one is measured." default:"0.3" env:"NOCTUA_MIN_QUALITY"`
	Unsteady       bool          `help:"Also give the measures of regions that are withheld because they move by more than 15 %% between photographs of one eye." env:"NOCTUA_UNSTEADY"`
}

// engineFlags say which network runs on what, where models come from folders alone.
type engineFlags struct {
	Model        string `help:"Folder of a model (model.onnx, manifest.json) instead of the one in the program." env:"NOCTUA_MODEL" placeholder:"DIR"`
	runtimeFlags `embed:""`
}

// open loads the network of the flags.
func (f engineFlags) open(ctx context.Context, w io.Writer) (*segment.Engine, error) {
	return f.runtimeFlags.open(ctx, w, chosenModel{dir: f.Model})
}

// installedModelFlags say which network runs on what, where a data folder may hold installed models.
type installedModelFlags struct {
	Model        string `help:"Model: a folder (model.onnx, manifest.json), the name of an installed model, or shipped. Default: the one chosen by noctua model use, else shipped." env:"NOCTUA_MODEL" placeholder:"MODEL"`
	Data         string `help:"Data folder: all state lies here, and installed models." default:"./noctua-data" env:"NOCTUA_DATA" placeholder:"DIR"`
	runtimeFlags `embed:""`
}

// open loads the network of the flags.
func (f installedModelFlags) open(ctx context.Context, w io.Writer) (*segment.Engine, error) {
	m, err := chooseModel(f.Data, f.Model)
	if err != nil {
		return nil, err
	}
	return f.runtimeFlags.open(ctx, w, m)
}

// judgement says how pictures are judged.
func (f runtimeFlags) judgement() segment.AnalyserConfig {
	return segment.AnalyserConfig{MinQuality: &f.MinQuality, Unsteady: f.Unsteady}
}

// analyser makes what analyses pictures on a network.
func (f runtimeFlags) analyser(engine *segment.Engine) (*segment.Analyser, error) {
	return segment.NewConfiguredAnalyser(engine, time.Now, codeVersion(), f.judgement())
}

// open loads a network, and says on w which one where it is not the shipped one, and when it runs on something else than was asked
// for.
func (f runtimeFlags) open(ctx context.Context, w io.Writer, m chosenModel) (*segment.Engine, error) {
	// Before the network is loaded, which takes a while.
	if err := f.judgement().Validate(); err != nil {
		return nil, err
	}
	shipped, err := models.Files()
	if err != nil {
		return nil, err
	}
	engine, err := segment.OpenEngine(ctx, segment.EngineConfig{
		ModelDir: m.dir, Model: shipped, Library: f.OnnxRuntime,
		Run: unet.Config{Provider: unet.Provider(f.Provider), Batch: f.Batch, BatchWait: f.BatchWait,
			ConcurrentRuns: f.ConcurrentRuns, IntraOpThreads: f.Threads, DeviceID: f.Device},
	})
	if err != nil {
		return nil, err
	}
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, "noctua: "+format+"\n", args...)
		}
	}
	if m.dir != "" {
		manifest := engine.Model().Manifest
		say("model %s %s (SHA-256 %.12s) from %s%s", manifest.Name, manifest.Version, manifest.Sha256, m.dir, m.why())
	}
	if note := engine.Info().Note; note != "" {
		say("%s", note)
	}
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	return engine, nil
}

// loadModel reads a model without running it: the one in dir, or the shipped one.
func loadModel(dir string) (*unet.Model, error) {
	if dir != "" {
		return unet.LoadModel(dir)
	}
	shipped, err := models.Files()
	if err != nil {
		return nil, err
	}
	return unet.LoadModelFS(shipped, "the program's own model")
}
