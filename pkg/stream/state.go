package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// State is what the broker and its streams are doing.
type State struct {
	Consumers []ConsumerState
	// Dead is how many dead letters there are, DeadNewest when the newest was written; zero: there is none.
	Dead       int
	DeadNewest time.Time
}

// ConsumerState is what a durable consumer has before it, and who works for it.
type ConsumerState struct {
	Name string
	Lag
	Redelivered int // of what is delivered and not acknowledged
	// Waiting is how many requests for messages are open: slots of workers that have nothing to do. It is 0 for moments between two requests.
	Waiting int
	// LastDelivered and LastAcked are when something last was; zero: never.
	LastDelivered, LastAcked time.Time
	// Oldest is when the oldest message that is not acknowledged was stored; zero: there is none.
	Oldest time.Time
}

// State asks the broker for the state of the consumers that this connection's topology has, and of the dead letters.
func (c *Conn) State(ctx context.Context) (State, error) {
	c.mu.Lock()
	t := c.topology
	c.mu.Unlock()
	var s State
	if t == nil {
		return s, nil
	}
	for _, spec := range t.Consumers {
		one, err := c.consumerState(ctx, spec)
		if err != nil {
			return s, err
		}
		s.Consumers = append(s.Consumers, one)
	}
	dead, err := c.js.Stream(ctx, StreamDead)
	if err != nil {
		return s, c.fail(ctx, err, "opening stream "+StreamDead)
	}
	if info := dead.CachedInfo(); info.State.Msgs > 0 {
		s.Dead, s.DeadNewest = int(info.State.Msgs), info.State.LastTime
	}
	return s, nil
}

func (c *Conn) consumerState(ctx context.Context, spec ConsumerSpec) (ConsumerState, error) {
	handle, err := c.handle(ctx, spec.Name)
	if err != nil {
		return ConsumerState{}, err
	}
	info := handle.CachedInfo() // of this moment: the handle was just asked for
	s := ConsumerState{Name: spec.Name, Lag: Lag{Pending: int(info.NumPending), AckPending: info.NumAckPending}, Redelivered: info.NumRedelivered, Waiting: info.NumWaiting}
	if info.Delivered.Last != nil {
		s.LastDelivered = *info.Delivered.Last
	}
	if info.AckFloor.Last != nil {
		s.LastAcked = *info.AckFloor.Last
	}
	if s.Idle() {
		return s, nil
	}
	stream, err := c.js.Stream(ctx, spec.Stream)
	if err != nil {
		return s, c.fail(ctx, err, "opening stream "+spec.Stream)
	}
	for _, subject := range spec.Subjects {
		// The first message of the subject behind what is acknowledged without a gap.
		raw, err := stream.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // nothing of this subject
		}
		if err != nil {
			return s, c.fail(ctx, err, "reading the oldest message of consumer "+spec.Name)
		}
		if s.Oldest.IsZero() || raw.Time.Before(s.Oldest) {
			s.Oldest = raw.Time
		}
	}
	return s, nil
}

// ServerVersion is the version of the NATS server; "" while there is no connection.
func (c *Conn) ServerVersion() string { return c.nc.ConnectedServerVersion() }
