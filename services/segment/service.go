package segment

import (
	"context"
	"log/slog"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
)

// Deps is what a Service needs. All of it is required.
type Deps struct {
	Conn        *stream.Conn
	Store       store
	Files       *isolated.Reader // of DICOM files; stays the caller's
	Engine      *Engine          // stays the caller's, who closes it after Run has returned
	Logger      *slog.Logger
	Clock       func() time.Time
	CodeVersion string // of Noctua, for the provenance
}

// Config says how the service works. The zero value is the default.
type Config struct {
	// Grace is how long pictures under way may still take when the service is stopped. Default 10 s.
	Grace time.Duration
	// MaxAttempts is how often a picture is tried before it counts as failed. Default 5.
	MaxAttempts int
	// Analyser says how pictures are judged.
	Analyser AnalyserConfig
}

// maxGrace bounds Config.Grace: longer than that, a supervisor kills the process.
const maxGrace = 5 * time.Minute

// Validate says in a sentence what is wrong.
func (c Config) Validate() error {
	switch {
	case c.Grace < 0 || c.Grace > maxGrace:
		return fault.New(fault.Invalid, "segment-config", "the grace period is %s: choose 0 (default) to %s", c.Grace, maxGrace)
	case c.MaxAttempts < 0 || c.MaxAttempts > 100:
		return fault.New(fault.Invalid, "segment-config", "the number of attempts is %d: choose 1 to 100, or 0 for the default", c.MaxAttempts)
	}
	return c.Analyser.Validate()
}

// Service consumes image.accepted and brings every image to a result or a failure.
type Service struct {
	worker worker
	queue  stream.Worker
}

// New makes the service. It holds at most ConcurrentRuns × Batch + 1 pictures in memory: those in the network, and one that
// is fetched, decoded or written meanwhile.
func New(deps Deps, config Config) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if deps.Conn == nil || deps.Store == nil || deps.Engine == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "segment-config", "the segment service lacks a dependency")
	}
	analyser, err := NewConfiguredAnalyser(deps.Engine, deps.Clock, deps.CodeVersion, config.Analyser)
	if err != nil {
		return nil, err
	}
	s := &Service{worker: worker{analyser: analyser, store: deps.Store, files: deps.Files, publisher: deps.Conn, logger: deps.Logger, clock: deps.Clock}}
	s.queue = stream.Worker{
		Conn: deps.Conn, Consumer: stream.ConsumerSegment, Concurrency: picturesAtOnce(deps.Engine),
		MaxAttempts: config.MaxAttempts, Grace: config.Grace, Logger: deps.Logger, Clock: deps.Clock,
		Handler: func(ctx context.Context, d stream.Delivery) error {
			return s.worker.handle(ctx, d.Envelope, d.Progress)
		},
		OnPoison: func(ctx context.Context, d stream.Delivery, cause error) error {
			return s.worker.fail(ctx, d.Envelope, d.Attempt, cause)
		},
	}
	return s, nil
}

// Run works until ctx ends and returns when the pictures under way are done or handed back.
func (s *Service) Run(ctx context.Context) error { return s.queue.Run(ctx) }

var _ publisher = (*stream.Conn)(nil)
