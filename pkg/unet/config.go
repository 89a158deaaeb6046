package unet

import (
	"runtime"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Provider is an execution provider of ONNX Runtime.
type Provider string

// The providers that can be configured.
const (
	CPU      Provider = "cpu"
	CUDA     Provider = "cuda"
	TensorRT Provider = "tensorrt"
	OpenVINO Provider = "openvino"
	// Auto takes the first of CUDA and OpenVINO that the library offers, else the CPU, and says so. TensorRT is left out
	// since it spends minutes on building an engine, which nobody should get unasked.
	Auto Provider = "auto"
)

// Config says how a Session runs. The zero value is the default: the CPU, one thread a run, as many runs as processors.
type Config struct {
	// Provider executes the network. Default cpu.
	Provider Provider
	// Batch is the largest number of inputs that go through the network together. Default 1, best on CPUs; 4 to 16 on GPUs.
	Batch int
	// BatchWait is how long an input waits for others to fill a batch. Default 20 ms. Only used when Batch > 1.
	BatchWait time.Duration
	// ConcurrentRuns bounds the runs that are under way at once. Default: processors / IntraOpThreads, at most 8, since a
	// run holds some hundred MB; 1 on GPUs, where runs of a session are serialised.
	ConcurrentRuns int
	// IntraOpThreads is the number of threads that one run computes with. Default 1, best for throughput; more make a
	// single picture faster.
	IntraOpThreads int
	// DeviceID selects the GPU. Default 0.
	DeviceID int
}

// Bounds and defaults of Config.
const (
	maxBatch              = 64
	maxConcurrentRuns     = 64
	maxIntraOpThreads     = 256
	maxBatchWait          = 10 * time.Second
	defaultBatchWait      = 20 * time.Millisecond
	defaultConcurrentRuns = 8 // upper bound of the default
)

// Validate says in a sentence what is wrong.
func (c Config) Validate() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "segment-config", format, args...)
	}
	switch c.Provider {
	case "", CPU, CUDA, TensorRT, OpenVINO, Auto:
	default:
		return bad("the execution provider %q is unknown: choose cpu, cuda, tensorrt, openvino or auto", c.Provider)
	}
	switch {
	case c.Batch < 0 || c.Batch > maxBatch:
		return bad("the batch size is %d: choose 1 to %d, or 0 for the default", c.Batch, maxBatch)
	case c.BatchWait < 0 || c.BatchWait > maxBatchWait:
		return bad("the batch wait is %s: choose at most %s", c.BatchWait, maxBatchWait)
	case c.ConcurrentRuns < 0 || c.ConcurrentRuns > maxConcurrentRuns:
		return bad("the number of concurrent runs is %d: choose 1 to %d, or 0 for the default", c.ConcurrentRuns, maxConcurrentRuns)
	case c.IntraOpThreads < 0 || c.IntraOpThreads > maxIntraOpThreads:
		return bad("the number of threads of a run is %d: choose 1 to %d, or 0 for the default", c.IntraOpThreads, maxIntraOpThreads)
	case c.DeviceID < 0:
		return bad("the device is %d: devices count from 0", c.DeviceID)
	}
	return nil
}

// WithDefaults fills in what is not set, for the provider that is asked for.
func (c Config) WithDefaults() Config {
	processors := runtime.GOMAXPROCS(0) // knows the limits of a container
	if c.Provider == "" {
		c.Provider = CPU
	}
	if c.Batch == 0 {
		c.Batch = 1
	}
	if c.BatchWait == 0 {
		c.BatchWait = defaultBatchWait
	}
	if c.IntraOpThreads == 0 {
		c.IntraOpThreads = 1
		if c.ConcurrentRuns > 0 {
			c.IntraOpThreads = max(1, processors/c.ConcurrentRuns)
		}
	}
	if c.ConcurrentRuns == 0 {
		c.ConcurrentRuns = min(defaultConcurrentRuns, max(1, processors/c.IntraOpThreads))
	}
	return c
}
