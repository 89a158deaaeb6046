package stream

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Defaults of a Worker.
const (
	DefaultMaxAttempts      = 5
	DefaultRetryBase        = 2 * time.Second
	DefaultRetryCap         = 5 * time.Minute
	DefaultOutagePatience   = 24 * time.Hour
	DefaultStallAfter       = 2 * time.Minute
	DefaultHandlerTimeLimit = 15 * time.Minute
	DefaultGrace            = 10 * time.Second

	// fetchWait is how long a slot asks for one message before it asks again, and so the longest that an idle worker takes to stop.
	fetchWait = 2 * time.Second
	// faultPause is between fetches that fail: long enough to spare a broker that comes up, short against any image.
	faultPause = 500 * time.Millisecond
	// heartbeatsPerAckWait: one lost sign of life must not cost a delivery.
	heartbeatsPerAckWait = 3
	// settleTimeout bounds an acknowledgement; it must also work while the worker is being stopped.
	settleTimeout = 10 * time.Second
)

// Delivery is a message in the hands of a handler.
type Delivery struct {
	Envelope event.Envelope
	// Attempt counts from 1. Deliveries that ended in an interruption or in an outage do not count.
	Attempt int
	// Progress tells the runtime that the handler is getting on. A handler that is silent for StallAfter is taken for stalled.
	Progress func()
}

// Worker runs a handler over a durable consumer. Each slot fetches one message, handles it and settles it before it
// fetches the next, so that no message waits in the client while its AckWait runs.
type Worker struct {
	Conn        *Conn
	Consumer    string // its AckWait must be AckWait
	Concurrency int    // slots; default 1
	AckWait     time.Duration
	// MaxAttempts is how often a message may fail for a reason of kind Internal before it is poison; default 5.
	MaxAttempts int
	// OutagePatience is how long, counted from the first of them, faults of kind Transient are not taken for the message's
	// fault: a storage outage of an hour must not turn a night's images into failures. After that they count as attempts.
	// Default 24 h; negative counts them from the start.
	OutagePatience time.Duration
	// RetryBase and RetryCap: the n-th retry waits RetryBase·2^(n-1), at most RetryCap, give or take a quarter.
	RetryBase, RetryCap time.Duration
	// StallAfter is how long a handler may go without calling Progress; HandlerTimeLimit how long it may take altogether.
	// When either is over, JetStream gets no more signs of life and the handler's context is cancelled.
	StallAfter, HandlerTimeLimit time.Duration
	// Grace is how long running handlers may go on after Run's context is cancelled; default 10 s.
	Grace time.Duration

	// Before waits until a message can be handled at all, e.g. while a partner is away: nothing is fetched before it returns. It returns
	// an error when its context ends, and may be called often. Optional.
	Before func(context.Context) error
	// Handler does the work. It must be idempotent. What it returns decides: nil → acknowledged; fault of kind Transient or Internal,
	// or no fault → again later; Invalid, Unsupported, NotFound, Conflict → poison.
	Handler func(context.Context, Delivery) error
	// OnPoison tells the world that the message will not be handled (writes a failure document, publishes an event) before
	// the dead letter is written. It must be idempotent. If it fails, the message comes again. It is not called for a message that
	// is no envelope. Optional.
	OnPoison func(context.Context, Delivery, error) error

	Logger *slog.Logger     // default: none
	Clock  func() time.Time // default time.Now
	Jitter func() float64   // in [0,1); default math/rand/v2
}

// withDefaults fills in what is not set.
func (w Worker) withDefaults() (Worker, error) {
	if w.Conn == nil || w.Handler == nil || w.Consumer == "" {
		return w, fault.New(fault.Internal, "worker-incomplete", "a worker needs a connection, a consumer and a handler")
	}
	if w.Concurrency < 1 {
		w.Concurrency = 1
	}
	setDuration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	setDuration(&w.AckWait, DefaultAckWait)
	setDuration(&w.OutagePatience, DefaultOutagePatience)
	setDuration(&w.RetryBase, DefaultRetryBase)
	setDuration(&w.RetryCap, DefaultRetryCap)
	setDuration(&w.StallAfter, DefaultStallAfter)
	setDuration(&w.HandlerTimeLimit, DefaultHandlerTimeLimit)
	setDuration(&w.Grace, DefaultGrace)
	if w.MaxAttempts < 1 {
		w.MaxAttempts = DefaultMaxAttempts
	}
	if w.Logger == nil {
		w.Logger = slog.New(slog.DiscardHandler)
	}
	w.Logger = w.Logger.With("consumer", w.Consumer)
	if w.Clock == nil {
		w.Clock = time.Now
	}
	if w.Jitter == nil {
		w.Jitter = rand.Float64
	}
	return w, nil
}

// Run works until ctx is cancelled and then returns nil, once every handler has returned: it stops fetching at once, lets
// running handlers go on for Grace, then cancels them. A broker that is away, and a stream or consumer that vanishes, do
// not end it.
func (w Worker) Run(ctx context.Context) error {
	w, err := w.withDefaults()
	if err != nil {
		return err
	}
	handle, err := w.open(ctx)
	if err != nil {
		if fault.Interrupted(err) {
			return nil
		}
		return err
	}
	// Handlers outlive ctx by the grace period.
	work, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()
	var slots sync.WaitGroup
	for range w.Concurrency {
		slots.Go(func() { w.slot(ctx, work, handle) })
	}
	done := make(chan struct{})
	go func() { slots.Wait(); close(done) }()
	<-ctx.Done()
	grace := time.NewTimer(w.Grace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		cancelWork()
		<-done
	}
	return nil
}

// open opens the consumer, waiting for a broker that is away.
func (w Worker) open(ctx context.Context) (jetstream.Consumer, error) {
	for {
		handle, err := w.Conn.handle(ctx, w.Consumer)
		if err == nil {
			if have := handle.CachedInfo().Config.AckWait; have != w.AckWait {
				return nil, fault.New(fault.Internal, "worker-ack-wait", "the worker of consumer %s expects an ack wait of %s, but the consumer has %s; make them equal", w.Consumer, w.AckWait, have)
			}
			return handle, nil
		}
		if !fault.Is(err, fault.Transient) {
			return nil, err
		}
		w.Logger.Warn("the consumer cannot be opened yet", "error", err)
		if err := pauseFor(ctx, faultPause); err != nil {
			return nil, err
		}
	}
}

// slot fetches and handles one message after another until ctx is cancelled.
func (w Worker) slot(ctx, work context.Context, handle jetstream.Consumer) {
	for ctx.Err() == nil {
		if w.Before != nil && w.Before(ctx) != nil {
			continue
		}
		msg, err := w.fetch(ctx, handle)
		if msg != nil {
			w.handleMessage(ctx, work, msg)
			continue
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		w.Logger.Warn("fetching failed; trying again", "error", err)
		if isMissing(err) || errors.Is(err, nats.ErrNoResponders) {
			// Stream or consumer are gone (a wiped broker): restore them. What was in them is announced again by reconciliation.
			if err := w.Conn.restoreLater(ctx); err != nil && ctx.Err() == nil {
				w.Logger.Warn("restoring the streams failed; trying again", "error", err)
			}
		}
		if pauseFor(ctx, faultPause) != nil {
			return
		}
	}
}

// fetch takes one message; none within fetchWait is nil, nil. It runs its time even when the worker is told to stop: the client
// would drop a message that is on its way, which would come again only after AckWait and count as an attempt. Such a message
// is handed back instead.
func (w Worker) fetch(ctx context.Context, handle jetstream.Consumer) (jetstream.Msg, error) {
	fetchCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchWait)
	defer cancel()
	batch, err := handle.Fetch(1, jetstream.FetchContext(fetchCtx))
	if err != nil {
		return nil, err
	}
	var msg jetstream.Msg
	for m := range batch.Messages() {
		msg = m
	}
	if msg != nil {
		return msg, nil
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
		return nil, err
	}
	return nil, nil
}
