package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// wakeBatch is how many wake-ups are taken at once; more are taken in further rounds.
const wakeBatch = 512

// WaitWake waits until a wake-up arrives on the consumer or timeout is over, and tells which. All wake-ups that wait
// are taken together: a thousand puts wake once. They are acknowledged before it returns, since a wake-up carries nothing:
// the inbox listing is the truth, and the caller lists at least every timeout anyway. A broker that cannot be reached
// is a fault of kind Transient; the caller goes on by the clock.
func (c *Conn) WaitWake(ctx context.Context, consumer string, timeout time.Duration) (bool, error) {
	handle, err := c.handle(ctx, consumer)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last, err := c.takeOne(ctx, handle)
	if err != nil {
		if isMissing(err) || errors.Is(err, nats.ErrNoResponders) {
			err = c.restoreLater(ctx)
			if err == nil {
				// What was put while the consumer was missing has woken nobody, so this counts as a wake-up.
				return true, nil
			}
		}
		return false, err
	}
	if last == nil {
		return false, nil
	}
	for {
		batch, err := handle.FetchNoWait(wakeBatch)
		if err != nil {
			break // one wake-up is in hand; what is left wakes the next time
		}
		count := 0
		for msg := range batch.Messages() {
			last = msg
			count++
		}
		if count < wakeBatch {
			break
		}
	}
	// AckAll: the last acknowledges all. One that gets lost wakes once more, which is harmless.
	if err := last.Ack(); err != nil {
		return true, c.fail(ctx, err, "acknowledging a wake-up")
	}
	return true, nil
}

// takeOne waits for one message until ctx's deadline; none is nil.
func (c *Conn) takeOne(ctx context.Context, handle jetstream.Consumer) (jetstream.Msg, error) {
	batch, err := handle.Fetch(1, jetstream.FetchContext(ctx))
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, nil
		}
		return nil, c.fail(ctx, err, "waiting for a wake-up")
	}
	var msg jetstream.Msg
	for m := range batch.Messages() {
		msg = m
	}
	err = batch.Error()
	switch {
	case msg != nil:
		return msg, nil
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, nil // the time is over
	case isMissing(err), errors.Is(err, nats.ErrNoResponders):
		return nil, err
	}
	return nil, c.fail(ctx, err, "waiting for a wake-up")
}
