package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/noctua-screening/noctua/models"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/services/segment"
)

// engineFlags say which network runs on what.
type engineFlags struct {
	Model          string        `help:"Folder of a model (model.onnx, manifest.json) instead of the one in the program." env:"NOCTUA_MODEL" placeholder:"DIR"`
	OnnxRuntime    string        `name:"onnxruntime" help:"ONNX Runtime library instead of the one that make deps fetched." env:"NOCTUA_ONNXRUNTIME" placeholder:"FILE"`
	Provider       string        `help:"Execution provider: cpu, cuda, tensorrt, openvino, or auto (a GPU where there is one)." enum:"cpu,cuda,tensorrt,openvino,auto" default:"cpu" env:"NOCTUA_PROVIDER"`
	Batch          int           `help:"Pictures that go through the network together; 0: 1." default:"0" env:"NOCTUA_BATCH"`
	BatchWait      time.Duration `help:"How long a picture waits for others to fill a batch; 0: 20ms." default:"0s" env:"NOCTUA_BATCH_WAIT"`
	ConcurrentRuns int           `help:"Runs of the network at a time; 0: as many as processors allow, at most 8." default:"0" env:"NOCTUA_CONCURRENT_RUNS"`
	Threads        int           `help:"Threads of one run; 0: 1." default:"0" env:"NOCTUA_THREADS"`
	Device         int           `help:"Number of the GPU." default:"0" env:"NOCTUA_DEVICE"`
}

func (f engineFlags) config(shipped fs.FS) segment.EngineConfig {
	return segment.EngineConfig{
		ModelDir: f.Model, Model: shipped, Library: f.OnnxRuntime,
		Run: unet.Config{Provider: unet.Provider(f.Provider), Batch: f.Batch, BatchWait: f.BatchWait,
			ConcurrentRuns: f.ConcurrentRuns, IntraOpThreads: f.Threads, DeviceID: f.Device},
	}
}

// open loads the network and says on w when it runs on something else than was asked for.
func (f engineFlags) open(ctx context.Context, w io.Writer) (*segment.Engine, error) {
	shipped, err := models.Files()
	if err != nil {
		return nil, err
	}
	engine, err := segment.OpenEngine(ctx, f.config(shipped))
	if err != nil {
		return nil, err
	}
	if note := engine.Info().Note; note != "" {
		if _, err := fmt.Fprintf(w, "noctua: %s\n", note); err != nil {
			return nil, errors.Join(err, engine.Close())
		}
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
