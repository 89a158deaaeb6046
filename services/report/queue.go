package report

import (
	"context"
	"log/slog"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/stream"
)

// Stream is the queue over JetStream.
type Stream struct {
	Conn   *stream.Conn
	Logger *slog.Logger
}

var _ queue = Stream{}

// consumeSlots events are handled at a time: each is a read from a bucket and a write to the index.
const consumeSlots = 8

// Publish implements queue.
func (q Stream) Publish(ctx context.Context, e event.Envelope) error { return q.Conn.Publish(ctx, e) }

// Consume implements queue. Nothing is written for an event that cannot be handled: it becomes a dead letter, and what it
// told is found again by reconciliation if its document is whole.
func (q Stream) Consume(ctx context.Context, handle func(context.Context, event.Envelope) error) error {
	return stream.Worker{
		Conn: q.Conn, Consumer: Consumer, Concurrency: consumeSlots, Logger: q.Logger,
		Handler: func(ctx context.Context, d stream.Delivery) error { return handle(ctx, d.Envelope) },
	}.Run(ctx)
}

// DeadLetters implements queue.
func (q Stream) DeadLetters(ctx context.Context, limit int) ([]stream.DeadLetter, error) {
	return q.Conn.DeadLetters(ctx, limit)
}

// Lag implements queue.
func (q Stream) Lag(ctx context.Context, consumer string) (int, error) {
	lag, err := q.Conn.Lag(ctx, consumer)
	return lag.Pending + lag.AckPending, err
}

// State is what the queue holds, for the System page.
func (q Stream) State(ctx context.Context) (QueueState, error) {
	state, err := q.Conn.State(ctx)
	if err != nil {
		return QueueState{}, err
	}
	out := QueueState{Dead: state.Dead, DeadNewest: state.DeadNewest}
	for _, c := range state.Consumers {
		active := c.LastDelivered
		if c.LastAcked.After(active) {
			active = c.LastAcked
		}
		out.Consumers = append(out.Consumers, QueueConsumer{Name: c.Name, Waiting: c.Pending, InProgress: c.AckPending, Redelivered: c.Redelivered, Oldest: c.Oldest, IdleSlots: c.Waiting, LastActive: active})
	}
	return out, nil
}
