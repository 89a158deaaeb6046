package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = 60 * time.Second // a limit for broken code; nothing waits for it when all is well

// accepted makes an event of an accepted image.
func accepted(t testing.TB, n int) event.Envelope {
	t.Helper()
	sha := fmt.Sprintf("%064x", n)
	e, err := event.New(event.TypeImageAccepted, event.ID(event.TypeImageAccepted, fmt.Sprint(n)), "north", time.Now(), event.ImageAccepted{
		Analyse: true, ArchiveKey: "images/1.2/1.2.3/" + sha[:16] + ".dcm", Sha256: sha, SizeBytes: 1, SOPUID: "1.2.3", StudyUID: "1.2",
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func publish(t testing.TB, conn *stream.Conn, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := conn.Publish(t.Context(), accepted(t, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, testTimeout)
		}
		<-ticker.C
	}
}

func lag(t testing.TB, conn *stream.Conn) stream.Lag {
	t.Helper()
	l, err := conn.Lag(t.Context(), stream.ConsumerSegment)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// raw opens JetStream beside pkg/stream, to do to it what a broken world does.
func raw(t testing.TB, server *streamtest.Server) jetstream.JetStream {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(server), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestPublishOnceWithinTheWindow(t *testing.T) {
	t.Parallel()
	conn := streamtest.Connect(t)
	publish(t, conn, 0, 3)
	publish(t, conn, 0, 3) // the same ids
	publish(t, conn, 3, 4)
	eventually(t, "the last one counted", func() bool { return lag(t, conn).Pending >= 4 })
	if l := lag(t, conn); l.Pending != 4 {
		t.Fatalf("4 facts, three of them told twice, are %d messages", l.Pending)
	}
}

func TestPublishChecksSchemas(t *testing.T) {
	t.Parallel()
	conn := streamtest.Connect(t)
	e := accepted(t, 1)
	e.Data = []byte(`{"analyse":true}`)
	if err := conn.Publish(t.Context(), e); fault.CodeOf(err) != "event-invalid" {
		t.Fatalf("an event that does not fit its schema was published: %v", err)
	}
	e = accepted(t, 1)
	e.Clinic = "no clinic"
	if err := conn.Publish(t.Context(), e); fault.CodeOf(err) != "event-invalid" {
		t.Fatalf("an event with a clinic that is no subject token was published: %v", err)
	}
	if l := lag(t, conn); l.Pending != 0 {
		t.Fatalf("%d messages", l.Pending)
	}
}

func TestTopologyIsIdempotentAndKeepsPositions(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(stream.DefaultTopology())
	publish(t, conn, 0, 4)
	ctx, cancel := context.WithCancel(t.Context())
	handled := make(chan struct{}, 4)
	done := make(chan error, 1)
	go func() {
		done <- stream.Worker{Conn: conn, Consumer: stream.ConsumerSegment, Handler: func(context.Context, stream.Delivery) error {
			handled <- struct{}{}
			return nil
		}}.Run(ctx)
	}()
	for range 4 {
		<-handled
	}
	eventually(t, "all acknowledged", func() bool { return lag(t, conn).Idle() })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	again := server.Connect(stream.DefaultTopology())
	if l := lag(t, again); !l.Idle() {
		t.Fatalf("ensuring the topology again made work: %+v", l)
	}
	if err := again.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPublishRestoresAVanishedStream(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(stream.DefaultTopology())
	if err := raw(t, server).DeleteStream(t.Context(), stream.StreamMain); err != nil {
		t.Fatal(err)
	}
	// A stream that is being deleted may still take a message with it; what comes after that stays.
	n := 0
	eventually(t, "a message that stays", func() bool {
		publish(t, conn, n, n+1)
		n++
		return lag(t, conn).Pending > 0
	})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	_, err := stream.Connect(t.Context(), stream.Config{URL: "nats://127.0.0.1:1", ConnectWait: time.Millisecond})
	if !fault.Is(err, fault.Transient) || fault.CodeOf(err) != "queue-unavailable" {
		t.Fatalf("nobody listens there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stream.Connect(ctx, stream.Config{URL: "nats://127.0.0.1:1"}); !fault.Interrupted(err) {
		t.Fatalf("expected an interruption, got %v", err)
	}
	for name, cfg := range map[string]stream.Config{"nothing": {}, "two credentials": {URL: "x", Token: "a", User: "b"}} {
		if err := cfg.Validate(); fault.CodeOf(err) != "config-invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func inboxChanged(t testing.TB, n int) event.Envelope {
	t.Helper()
	e, err := event.New(event.TypeInboxChanged, event.ID(event.TypeInboxChanged, fmt.Sprint(n)), "north", time.Now(), event.InboxChanged{Objects: 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWakeUpsAreTakenTogether(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(stream.DefaultTopology())
	wait := func(timeout time.Duration) bool {
		t.Helper()
		woken, err := conn.WaitWake(t.Context(), stream.ConsumerIngest, timeout)
		if err != nil {
			t.Fatal(err)
		}
		return woken
	}
	if wait(50 * time.Millisecond) {
		t.Fatal("woken by nothing")
	}
	for n := range 1200 {
		if err := conn.Publish(t.Context(), inboxChanged(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	if !wait(testTimeout) {
		t.Fatal("not woken")
	}
	// All 1200 were one wake-up.
	if wait(200 * time.Millisecond) {
		t.Fatal("woken twice by what was there before the first")
	}
	// One that comes while we wait wakes at once.
	woken := make(chan bool, 1)
	go func() { woken <- wait(testTimeout) }()
	if err := conn.Publish(t.Context(), inboxChanged(t, 5000)); err != nil {
		t.Fatal(err)
	}
	if !<-woken {
		t.Fatal("not woken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := conn.WaitWake(ctx, stream.ConsumerIngest, testTimeout); !fault.Interrupted(err) {
		t.Fatalf("expected an interruption, got %v", err)
	}
}

// TestWakeUpsSurviveAWipedBroker: the consumer is made again, and what may have been missed counts as a wake-up.
func TestWakeUpsSurviveAWipedBroker(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(stream.DefaultTopology())
	server.Wipe()
	eventually(t, "the consumer is back", func() bool {
		_, err := conn.WaitWake(t.Context(), stream.ConsumerIngest, 50*time.Millisecond)
		return err == nil
	})
	if err := conn.Publish(t.Context(), inboxChanged(t, 1)); err != nil {
		t.Fatal(err)
	}
	woken, err := conn.WaitWake(t.Context(), stream.ConsumerIngest, testTimeout)
	if err != nil || !woken {
		t.Fatal(woken, err)
	}
}
