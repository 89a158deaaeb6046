package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// excuse is what is remembered of a message's deliveries that do not count as attempts.
type excuse struct {
	Count   int       `json:"count"`           // interruptions and outages
	Outages int       `json:"outages"`         // of these, outages: the growing delay follows them
	Since   time.Time `json:"since,omitempty"` // first outage
}

// excuseKey names a message of a consumer. The sequence alone would be reused when a stream is wiped and made again, so
// the time at which the message was stored is part of it.
func excuseKey(consumer string, meta *jetstream.MsgMetadata) string {
	return fmt.Sprintf("%s.%d-%d", consumer, meta.Sequence.Stream, meta.Timestamp.UnixNano())
}

// excused reads the note. Messages on their first delivery have none, which spares the broker a request each.
func (c *Conn) excused(ctx context.Context, consumer string, meta *jetstream.MsgMetadata) (excuse, error) {
	if meta.NumDelivered <= 1 {
		return excuse{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	kv, err := c.js.KeyValue(ctx, BucketExcuse)
	if err != nil {
		return excuse{}, fmt.Errorf("opening %s: %w", BucketExcuse, err)
	}
	entry, err := kv.Get(ctx, excuseKey(consumer, meta))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return excuse{}, nil
	}
	if err != nil {
		return excuse{}, fmt.Errorf("reading %s: %w", BucketExcuse, err)
	}
	var e excuse
	if err := json.Unmarshal(entry.Value(), &e); err != nil {
		return excuse{}, fmt.Errorf("reading %s: %w", BucketExcuse, err)
	}
	return e, nil
}

// setExcused writes the note. A message is in one worker's hands, so nothing races but a stalled handler's late return,
// which at worst loses one excuse.
func (c *Conn) setExcused(ctx context.Context, consumer string, meta *jetstream.MsgMetadata, e excuse) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an excuse: %w", err)
	}
	kv, err := c.js.KeyValue(ctx, BucketExcuse)
	if err != nil {
		return fmt.Errorf("opening %s: %w", BucketExcuse, err)
	}
	if _, err := kv.Put(ctx, excuseKey(consumer, meta), raw); err != nil {
		return fmt.Errorf("writing %s: %w", BucketExcuse, err)
	}
	return nil
}

// forgetExcused removes the note of a message that is gone. Notes of messages that were acknowledged expire.
func (c *Conn) forgetExcused(ctx context.Context, consumer string, meta *jetstream.MsgMetadata) error {
	if meta.NumDelivered <= 1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	kv, err := c.js.KeyValue(ctx, BucketExcuse)
	if err != nil {
		return fmt.Errorf("opening %s: %w", BucketExcuse, err)
	}
	if err := kv.Purge(ctx, excuseKey(consumer, meta)); err != nil {
		return fmt.Errorf("removing from %s: %w", BucketExcuse, err)
	}
	return nil
}
