package unet

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

// inputChannels of the network: red, green, blue.
const inputChannels = 3

// sizeMultiple divides width and height of every input: the network halves them up to five times.
const sizeMultiple = 32

// Input is a normalised picture on the canonical canvas.
type Input struct {
	Width, Height int       // pixels, multiples of 32
	Data          []float32 // planar: red, green, blue; len = 3·Width·Height. Not changed, and not kept after Segment
}

// Output holds the probability of every class at every pixel; they sum to 1 over the classes.
type Output struct {
	Width, Height int
	Classes       []string
	Data          []float32     // planar in the order of Classes; len = len(Classes)·Width·Height
	Inference     time.Duration // inside ONNX Runtime; of a batch, this input's share
}

// Class returns the probability map of a class; it shares memory with the output. false when there is no such class.
func (o Output) Class(name string) (*raster.Plane, bool) {
	size := o.Width * o.Height
	for i, c := range o.Classes {
		if c == name {
			return &raster.Plane{Width: o.Width, Height: o.Height, Pix: o.Data[i*size : (i+1)*size]}, true
		}
	}
	return nil, false
}

// Vessel returns the probability of vessel: of the class vessel, of arteries and of veins together. It shares memory with the
// output where there is one such class; LoadModel sees to it that there is one at least.
func (o Output) Vessel() *raster.Plane {
	var sum *raster.Plane
	for _, name := range vesselClasses {
		plane, ok := o.Class(name)
		switch {
		case !ok:
		case sum == nil:
			sum = plane
		default:
			added := raster.NewPlane(o.Width, o.Height)
			for i := range added.Pix {
				added.Pix[i] = sum.Pix[i] + plane.Pix[i]
			}
			sum = added
		}
	}
	return sum
}

// Info says what a session runs on.
type Info struct {
	Requested      Provider
	Provider       Provider // in use
	Note           string   // why it is not the one that was hoped for; empty otherwise
	RuntimeVersion string   // of ONNX Runtime
	LibraryPath    string
	Batch          int
	ConcurrentRuns int
	IntraOpThreads int
}

// Session runs one model on one provider. It is safe for concurrent use.
type Session struct {
	model  *Model
	config Config
	info   Info
	ort    *ort.DynamicAdvancedSession
	slots  chan struct{} // one for each run under way

	batches  chan *request // nil without micro-batching
	stop     chan struct{} // closed when no call is left
	gatherer sync.WaitGroup

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // Segment calls under way
}

// NewSession loads the model into the runtime. A provider that cannot be used is a fault of kind Unsupported with the code
// "execution-provider-missing". Close it when it is no longer needed.
func NewSession(rt *Runtime, model *Model, config Config) (*Session, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.WithDefaults()
	if err := checkSignature(model); err != nil {
		return nil, err
	}
	session, used, note, err := newORTSession(rt, model, config)
	if err != nil {
		return nil, err
	}
	if used == CUDA || used == TensorRT {
		config.ConcurrentRuns = 1 // runs of one session share the GPU's stream and workspace
	}
	s := &Session{
		model: model, config: config, ort: session,
		slots: make(chan struct{}, config.ConcurrentRuns),
		stop:  make(chan struct{}),
		info: Info{
			Requested: config.Provider, Provider: used, Note: note, RuntimeVersion: rt.Version, LibraryPath: rt.Path,
			Batch: config.Batch, ConcurrentRuns: config.ConcurrentRuns, IntraOpThreads: config.IntraOpThreads,
		},
	}
	if config.Batch > 1 {
		s.batches = make(chan *request)
		s.gatherer.Go(s.gather)
	}
	return s, nil
}

// Info says what the session runs on.
func (s *Session) Info() Info { return s.info }

// Model returns the model that the session runs.
func (s *Session) Model() *Model { return s.model }

// Close waits for the calls under way and releases the session. Calls after it are refused.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	close(s.stop)
	s.gatherer.Wait()
	if err := s.ort.Destroy(); err != nil {
		return fmt.Errorf("releasing the session of %s: %w", s.model.Manifest.Name, err)
	}
	return nil
}

// enter counts a call, unless the session is closed.
func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Add(1)
	return true
}

// check tells whether the network can take the input: a fault of kind Internal ("network-input") where it cannot.
func (in Input) check() error {
	if in.Width < sizeMultiple || in.Height < sizeMultiple || in.Width%sizeMultiple != 0 || in.Height%sizeMultiple != 0 || len(in.Data) != inputChannels*in.Width*in.Height {
		return fault.New(fault.Internal, "network-input", "the network takes three planes with sides that are multiples of %d, but got %d × %d pixels in %d values", sizeMultiple, in.Width, in.Height, len(in.Data))
	}
	return nil
}

// Segment runs the network on one input, or on as many views of it as the model averages. It blocks while all runs are taken,
// and returns early with ctx's error when ctx ends; work that is under way is then broken off. An input that does not fit is a
// fault of kind Internal ("network-input"), one that gives no finite probabilities of kind Invalid ("probabilities-not-finite").
func (s *Session) Segment(ctx context.Context, in Input) (Output, error) {
	if err := in.check(); err != nil {
		return Output{}, err
	}
	if !s.enter() {
		return Output{}, fault.New(fault.Internal, "session-closed", "the session of %s is closed", s.model.Manifest.Name)
	}
	defer s.calls.Done()
	if views := s.model.views(); len(views) > 1 || views[0] != (flip{}) {
		return s.segmentAveraged(ctx, in, views)
	}
	return s.segmentView(ctx, in)
}

// segmentView runs the network once. The caller has entered.
func (s *Session) segmentView(ctx context.Context, in Input) (Output, error) {
	if s.batches != nil {
		return s.segmentBatched(ctx, in)
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return Output{}, ctx.Err()
	}
	defer func() { <-s.slots }()
	data, took, err := s.run(ctx, 1, in.Width, in.Height, in.Data)
	if err != nil {
		return Output{}, err
	}
	return s.output(in, data, took)
}

// output wraps the probabilities of one input after checking them.
func (s *Session) output(in Input, data []float32, took time.Duration) (Output, error) {
	var sum float64
	for _, v := range data {
		sum += float64(v) // one bad value makes the sum bad
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return Output{}, fault.New(fault.Invalid, "probabilities-not-finite", "the network gave values that are not numbers for this picture: check that it is a fundus photograph")
	}
	return Output{Width: in.Width, Height: in.Height, Classes: s.model.Manifest.Output.Classes, Data: data, Inference: took}, nil
}

// run sends n inputs of one size through the network. The caller holds a slot.
func (s *Session) run(ctx context.Context, n, width, height int, input []float32) (_ []float32, took time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	classes := len(s.model.Manifest.Output.Classes)
	output := make([]float32, n*classes*width*height)
	// The library keeps both addresses beyond the calls that make the tensors, so they are pinned until it is done.
	var pins runtime.Pinner
	pins.Pin(&input[0])
	pins.Pin(&output[0])
	defer pins.Unpin()

	release := func(what string, destroy func() error) {
		if e := destroy(); e != nil && err == nil {
			err = fmt.Errorf("releasing %s: %w", what, e)
		}
	}
	inTensor, err := ort.NewTensor(ort.NewShape(int64(n), inputChannels, int64(height), int64(width)), input)
	if err != nil {
		return nil, 0, fault.Wrap(fault.Internal, "inference-failed", err, "making the input tensor")
	}
	defer release("the input tensor", inTensor.Destroy)
	outTensor, err := ort.NewTensor(ort.NewShape(int64(n), int64(classes), int64(height), int64(width)), output)
	if err != nil {
		return nil, 0, fault.Wrap(fault.Internal, "inference-failed", err, "making the output tensor")
	}
	defer release("the output tensor", outTensor.Destroy)
	options, err := ort.NewRunOptions()
	if err != nil {
		return nil, 0, fault.Wrap(fault.Internal, "inference-failed", err, "making run options")
	}
	defer release("the run options", options.Destroy)

	terminated := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(terminated)
		_ = options.Terminate() // it can only fail on options that are gone, and they are kept until terminated is closed
	})
	started := time.Now()
	runErr := s.ort.RunWithOptions([]ort.Value{inTensor}, []ort.Value{outTensor}, options)
	took = time.Since(started)
	if !cancel() {
		<-terminated
	}
	if runErr != nil {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err() // broken off, not failed
		}
		return nil, 0, fault.Wrap(fault.Internal, "inference-failed", runErr, "running the model %s on %d input(s) of %d × %d pixels", s.model.Manifest.Name, n, width, height)
	}
	return output, took, nil
}
