package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
)

// TestState: what waits and since when, who asks for it, and what nobody could deal with.
func TestState(t *testing.T) {
	t.Parallel()
	conn := streamtest.Connect(t)
	state := func() (stream.State, stream.ConsumerState) {
		t.Helper()
		s, err := conn.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Consumers {
			if c.Name == stream.ConsumerSegment {
				return s, c
			}
		}
		t.Fatalf("no consumer of that name in %+v", s)
		return s, stream.ConsumerState{}
	}
	until := func(what string, done func(stream.State, stream.ConsumerState) bool) {
		t.Helper()
		for {
			s, c := state()
			if done(s, c) {
				return
			}
			select {
			case <-t.Context().Done():
				t.Fatalf("%s: %+v", what, s)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	if s, c := state(); s.Dead != 0 || len(s.Consumers) != 4 || !c.Idle() || c.Waiting != 0 || !c.Oldest.IsZero() || !c.LastDelivered.IsZero() || conn.ServerVersion() == "" {
		t.Errorf("at the start %+v", s)
	}
	begun := time.Now()
	for _, id := range []string{"a", "b"} {
		e, err := event.New(event.TypeImageAccepted, event.ID(event.TypeImageAccepted, id), "north", time.Now(),
			event.ImageAccepted{Analyse: true, ArchiveKey: "x", Sha256: strings.Repeat("ab", 32), SizeBytes: 1, SOPUID: "1.2", StudyUID: "1.3"})
		if err == nil {
			err = conn.Publish(t.Context(), e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	until("two wait", func(_ stream.State, c stream.ConsumerState) bool {
		return c.Pending == 2 && c.Oldest.After(begun.Add(-time.Second)) && c.Oldest.Before(time.Now().Add(time.Second))
	})
	ctx, stop := context.WithCancel(t.Context())
	hold := make(chan struct{})
	ended := make(chan error, 1)
	first := true
	go func() {
		ended <- stream.Worker{Conn: conn, Consumer: stream.ConsumerSegment, Handler: func(context.Context, stream.Delivery) error {
			<-hold
			if first {
				first = false
				return fault.New(fault.Invalid, "broken", "it is broken")
			}
			return nil
		}}.Run(ctx)
	}()
	until("one is in work", func(_ stream.State, c stream.ConsumerState) bool {
		return c.AckPending == 1 && c.Pending == 1 && !c.LastDelivered.IsZero() && !c.Oldest.IsZero()
	})
	close(hold)
	until("a worker waits, and one message is dead", func(s stream.State, c stream.ConsumerState) bool {
		return c.Idle() && c.Waiting > 0 && !c.LastAcked.IsZero() && c.Oldest.IsZero() && s.Dead == 1 && !s.DeadNewest.IsZero()
	})
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until("nobody waits", func(_ stream.State, c stream.ConsumerState) bool { return c.Waiting == 0 })
}
