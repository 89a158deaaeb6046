package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// errStalled and errOverlong are the causes with which a handler's context is cancelled by the runtime.
var (
	errStalled  = fault.New(fault.Internal, "handler-stalled", "the handler made no progress for too long")
	errOverlong = fault.New(fault.Internal, "handler-overlong", "the handler took longer than it may")
)

// handleMessage brings one message to its outcome. ctx ends when the worker is told to stop, work when the grace is over.
func (w Worker) handleMessage(ctx, work context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		// Not a JetStream delivery: nothing to settle.
		w.Logger.Error("a message without delivery data arrived", "subject", msg.Subject(), "error", err)
		return
	}
	logger := w.Logger.With("sequence", meta.Sequence.Stream)
	// Settling goes on while the worker is stopped: an outcome that is known must reach the broker.
	settle, cancel := context.WithTimeout(context.WithoutCancel(work), w.HandlerTimeLimit+4*settleTimeout)
	defer cancel()

	excused, err := w.Conn.excused(settle, w.Consumer, meta)
	if err != nil {
		// Not knowing what is excused only makes the count stricter by what an outage has added; the message must not wait for it.
		logger.Warn("excused attempts could not be read", "error", err)
	}
	d := Delivery{Attempt: int(meta.NumDelivered) - excused.Count, Progress: func() {}}
	if d.Attempt < 1 {
		d.Attempt = 1
	}
	d.Envelope, err = event.Decode(msg.Data())
	if err != nil {
		// Poison: a message that is no envelope will not become one. There is nobody to tell but the dead-letter stream.
		w.bury(settle, msg, meta, d, err)
		return
	}
	logger = logger.With("event", d.Envelope.ID, "attempt", d.Attempt)

	if ctx.Err() != nil {
		// Interrupted before it began: somebody else may have it at once.
		w.handBack(settle, msg, meta, excused)
		return
	}
	if d.Attempt > w.MaxAttempts {
		// Delivered more often than it was settled: its handler takes the process down with it, or its outcome never got
		// through. Running it again could go on for ever, so it is poison without being run.
		w.poison(settle, msg, meta, d, excused, fault.New(fault.Internal, "handler-dies",
			"the message was delivered %d times and never came to an end", d.Attempt-1))
		return
	}

	err = w.run(work, msg, &d)
	switch {
	case err == nil:
		// Done: outputs are stored and events are published. Wait for the broker's word, so that a lost ack shows here.
		ackCtx, cancel := context.WithTimeout(settle, settleTimeout)
		defer cancel()
		if err := msg.DoubleAck(ackCtx); err != nil {
			// The message comes again after AckWait; the handler is idempotent and finds its outputs.
			logger.Warn("the acknowledgement did not get through; the message will come again", "error", err)
		}
	case work.Err() != nil && !isPoison(err):
		// Interrupted: our shutdown is not the message's fault. A verdict on the message itself stays one.
		w.handBack(settle, msg, meta, excused)
	case isPoison(err):
		// The input is at fault: trying again cannot help.
		w.poison(settle, msg, meta, d, excused, err)
	case fault.Is(err, fault.Transient) && w.excuseOutage(settle, meta, &excused):
		// Something around us is down, not the message: wait longer each time and do not count it.
		logger.Warn("handling failed for now", "error", err)
		w.again(settle, msg, w.delay(excused.Outages))
	case d.Attempt >= w.MaxAttempts:
		// It has failed as often as it may.
		w.poison(settle, msg, meta, d, excused, err)
	default:
		// Our own defect may be a matter of circumstances (memory, disk): again, later, and counted.
		logger.Warn("handling failed", "error", err)
		w.again(settle, msg, w.delay(d.Attempt))
	}
}

func isPoison(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Unsupported, fault.NotFound, fault.Conflict:
		return true
	case fault.Internal, fault.Transient:
		return false
	}
	return false
}

// run runs the handler with signs of life beside it.
func (w Worker) run(work context.Context, msg jetstream.Msg, d *Delivery) (err error) {
	handlerCtx, cancel := context.WithCancelCause(work)
	var last atomic.Int64 // of the handler's progress, in nanoseconds since begin, by the monotonic clock
	begin := time.Now()
	d.Progress = func() { last.Store(int64(time.Since(begin))) }
	alive := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(alive)
		w.keepAlive(msg, begin, &last, stop, cancel)
	}()
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Internal, "handler-panic", "the handler panicked: %v\n%s", r, debug.Stack())
		}
		// A handler that gave up because the runtime cancelled it reports the runtime's reason, not "context canceled".
		if cause := context.Cause(handlerCtx); err != nil && (errors.Is(cause, errStalled) || errors.Is(cause, errOverlong)) && !isPoison(err) {
			err = cause
		}
		close(stop)
		<-alive // no sign of life after the outcome
		cancel(nil)
	}()
	return w.Handler(handlerCtx, *d)
}

// keepAlive sends signs of life while the handler gets on and is within its time.
func (w Worker) keepAlive(msg jetstream.Msg, begin time.Time, last *atomic.Int64, stop <-chan struct{}, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(w.AckWait / heartbeatsPerAckWait)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		elapsed := time.Since(begin)
		if elapsed > w.HandlerTimeLimit {
			cancel(errOverlong)
			return
		}
		if elapsed-time.Duration(last.Load()) > w.StallAfter {
			cancel(errStalled)
			return
		}
		if err := msg.InProgress(); err != nil {
			w.Logger.Warn("a sign of life did not get through", "error", err)
		}
	}
}

// delay is that of the n-th retry.
func (w Worker) delay(n int) time.Duration {
	d := float64(w.RetryBase) * math.Pow(2, float64(max(n, 1)-1))
	d = min(d, float64(w.RetryCap))
	return time.Duration(d * (0.75 + w.Jitter()/2)) // jitter, so that a burst that failed together does not come back together
}

// again asks for the message after a delay. A plain Nak would bring it back within milliseconds.
func (w Worker) again(ctx context.Context, msg jetstream.Msg, delay time.Duration) {
	if err := msg.NakWithDelay(delay); err != nil {
		w.Logger.Warn("the message could not be put off; it comes again after the ack wait", "error", err)
		return
	}
	w.flush(ctx)
}

// handBack returns an interrupted message at once. It is excused first: if the process dies in between, the message has
// one attempt too many and none too few.
func (w Worker) handBack(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, e excuse) {
	e.Count++
	if err := w.Conn.setExcused(ctx, w.Consumer, meta, e); err != nil {
		w.Logger.Warn("the interruption could not be noted and counts as an attempt", "error", err)
	}
	if err := msg.Nak(); err != nil {
		w.Logger.Warn("the message could not be handed back; it comes again after the ack wait", "error", err)
		return
	}
	w.flush(ctx)
}

// excuseOutage notes a transient failure that does not count; false once the patience is over or it cannot be noted.
func (w Worker) excuseOutage(ctx context.Context, meta *jetstream.MsgMetadata, e *excuse) bool {
	now := w.Clock()
	if e.Since.IsZero() {
		e.Since = now
	}
	if w.OutagePatience < 0 || now.Sub(e.Since) > w.OutagePatience {
		return false
	}
	e.Outages++
	e.Count++
	if err := w.Conn.setExcused(ctx, w.Consumer, meta, *e); err != nil {
		w.Logger.Warn("the outage could not be noted and counts as an attempt", "error", err)
		return false
	}
	return true
}

// poison tells the world, writes the dead letter, then ends the message: in this order, so that dying in between repeats
// it and loses nothing.
func (w Worker) poison(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, d Delivery, e excuse, reason error) {
	w.Logger.Error("giving up on a message", "event", d.Envelope.ID, "attempt", d.Attempt, "code", fault.CodeOf(reason), "error", reason)
	if w.OnPoison != nil {
		if err := w.tell(ctx, d, reason); err != nil {
			// The failure must be known before the message is gone. Telling it failed, which is not the message's fault:
			// not counted, again later.
			w.Logger.Warn("the failure could not be told; the message will come again", "event", d.Envelope.ID, "error", err)
			if e.Since.IsZero() {
				e.Since = w.Clock()
			}
			e.Outages++
			e.Count++
			if err := w.Conn.setExcused(ctx, w.Consumer, meta, e); err != nil {
				w.Logger.Warn("the outage could not be noted and counts as an attempt", "error", err)
			}
			w.again(ctx, msg, w.delay(e.Outages))
			return
		}
	}
	w.bury(ctx, msg, meta, d, reason)
}

func (w Worker) tell(ctx context.Context, d Delivery, reason error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("telling the failure panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return w.OnPoison(ctx, d, reason)
}

// bury writes the dead letter and then ends the message.
func (w Worker) bury(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, d Delivery, reason error) {
	if err := w.Conn.publishDead(ctx, w.Consumer, msg, meta, d, reason, w.Clock()); err != nil {
		// Without its dead letter on disk the message must not go.
		w.Logger.Warn("the dead letter could not be written; the message will come again", "error", err)
		w.again(ctx, msg, w.delay(d.Attempt))
		return
	}
	// Term, not Ack: the advisory tells monitoring that it was not handled.
	if err := msg.TermWithReason(fault.CodeOf(reason)); err != nil {
		// It comes again, and its dead letter is dropped as a duplicate.
		w.Logger.Warn("a dead message could not be ended; it will come again", "error", err)
		return
	}
	w.flush(ctx)
	if err := w.Conn.forgetExcused(ctx, w.Consumer, meta); err != nil {
		w.Logger.Warn("the notes of a dead message could not be removed; they expire", "error", err)
	}
}

// flush waits until the broker has what was sent: a Nak that waits in a buffer when the process ends would cost an AckWait.
func (w Worker) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := w.Conn.nc.FlushWithContext(ctx); err != nil {
		w.Logger.Warn("the broker did not confirm; the message may come again later", "error", err)
	}
}
