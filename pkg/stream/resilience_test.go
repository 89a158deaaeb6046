package stream_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
)

// TestFetchesNoMoreThanFreeSlots: messages wait in the broker, not in the client.
func TestFetchesNoMoreThanFreeSlots(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 10)
	release := make(chan struct{})
	var got seen
	var most, running atomic.Int64
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		got.add(d)
		<-release
		return nil
	})
	w.Concurrency = 3
	start(t, w)
	eventually(t, "three running", func() bool { return got.count() == 3 })
	// More than an ack wait long, the broker never counts more than three in hand, and hands none out again.
	for end := time.Now().Add(2 * testAckWait); time.Now().Before(end); {
		if l := lag(t, conn); l.AckPending > 3 || l.Pending < 7 {
			t.Fatalf("%+v", l)
		}
	}
	close(release)
	settled(t, conn)
	if got.count() != 10 || most.Load() > 3 {
		t.Errorf("handled %d, at once %d", got.count(), most.Load())
	}
}

func TestNoEnvelopeIsADeadLetter(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(topology())
	js := raw(t, server)
	for _, payload := range []string{"", "not JSON", "{}", `{"type":"image.accepted.v1","id":"x","clinic":"no clinic","data":{}}`} {
		if _, err := js.Publish(t.Context(), "noctua.image.accepted.north", []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	start(t, worker(conn, func(context.Context, stream.Delivery) error { t.Error("handled"); return nil }))
	eventually(t, "dead letters", func() bool { return len(deadLetters(t, conn)) == 4 })
	settled(t, conn)
	if letter := deadLetters(t, conn)[1]; string(letter.Payload) != "not JSON" || letter.Code != "event-invalid" {
		t.Errorf("%+v", letter)
	}
	if newest, err := conn.DeadLetters(t.Context(), 1); err != nil || len(newest) != 1 || newest[0].Sequence != 4 {
		t.Errorf("%+v, %v", newest, err)
	}
}

func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 2)
	var got seen
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		if got.add(d); strings.HasSuffix(d.Envelope.ID, ":0") {
			panic("index out of range")
		}
		return nil
	})
	w.MaxAttempts = 2
	start(t, w)
	eventually(t, "a dead letter", func() bool { return len(deadLetters(t, conn)) == 1 })
	settled(t, conn)
	if letter := deadLetters(t, conn)[0]; letter.Code != "handler-panic" || letter.Attempts != 2 {
		t.Errorf("%+v", letter)
	}
}

// TestKillerIsNotRunForEver: a message whose deliveries end without an outcome (its handler takes the process down) is
// given up without being run again.
func TestKillerIsNotRunForEver(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(topology())
	publish(t, conn, 0, 1)
	consumer, err := raw(t, server).Consumer(t.Context(), stream.StreamMain, stream.ConsumerSegment)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // three processes that take it and die
		batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(testTimeout))
		if err != nil {
			t.Fatal(err)
		}
		for msg := range batch.Messages() {
			if err := msg.Nak(); err != nil { // stands for the ack wait of the dead process
				t.Fatal(err)
			}
		}
	}
	var told seen
	w := worker(conn, func(context.Context, stream.Delivery) error { t.Error("run again"); return nil })
	w.MaxAttempts = 3
	w.OnPoison = func(_ context.Context, d stream.Delivery, _ error) error { told.add(d); return nil }
	start(t, w)
	eventually(t, "a dead letter", func() bool { return len(deadLetters(t, conn)) == 1 })
	settled(t, conn)
	if letter := deadLetters(t, conn)[0]; letter.Code != "handler-dies" || told.count() != 1 {
		t.Errorf("%+v, told %d times", letter, told.count())
	}
}

// TestBrokerRestartInTheMiddle: what was published is handled, whenever the broker goes away.
func TestBrokerRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(topology())
	const messages = 30
	publish(t, conn, 0, messages)
	var handled sync.Map
	var count atomic.Int64
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		if _, again := handled.LoadOrStore(d.Envelope.ID, true); !again {
			count.Add(1)
		}
		return nil
	})
	w.Concurrency = 3
	start(t, w)
	for _, n := range []int64{3, 12} {
		eventually(t, "some handled", func() bool { return count.Load() >= n })
		server.Restart()
	}
	eventually(t, "all handled", func() bool { return count.Load() == messages })
	eventually(t, "all acknowledged", func() bool {
		l, err := conn.Lag(t.Context(), stream.ConsumerSegment)
		return err == nil && l.Idle()
	})
	if letters := deadLetters(t, conn); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// TestWorkersSurviveWhatVanishes: consumer, stream or the whole store vanish beside a running worker.
func TestWorkersSurviveWhatVanishes(t *testing.T) {
	t.Parallel()
	for name, vanish := range map[string]func(*testing.T, *streamtest.Server){
		"consumer": func(t *testing.T, s *streamtest.Server) {
			if err := raw(t, s).DeleteConsumer(t.Context(), stream.StreamMain, stream.ConsumerSegment); err != nil {
				t.Fatal(err)
			}
		},
		"stream": func(t *testing.T, s *streamtest.Server) {
			if err := raw(t, s).DeleteStream(t.Context(), stream.StreamMain); err != nil {
				t.Fatal(err)
			}
		},
		"everything": func(_ *testing.T, s *streamtest.Server) { s.Wipe() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.Start(t)
			conn := server.Connect(topology())
			publish(t, conn, 0, 1)
			var last atomic.Value
			start(t, worker(conn, func(_ context.Context, d stream.Delivery) error { last.Store(d.Envelope.ID); return nil }))
			handled := func(n int) func() bool { return func() bool { return last.Load() == accepted(t, n).ID } }
			eventually(t, "the first handled", handled(0))
			settled(t, conn)
			vanish(t, server)
			var publishErr error
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("publishing last failed with %v", publishErr)
				}
			})
			eventually(t, "a second published", func() bool {
				publishErr = conn.Publish(t.Context(), accepted(t, 1))
				return publishErr == nil
			})
			eventually(t, "the second handled", handled(1))
		})
	}
}

func TestWorkerIsChecked(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	if err := (stream.Worker{Conn: conn}).Run(t.Context()); fault.CodeOf(err) != "worker-incomplete" {
		t.Errorf("%v", err)
	}
	w := worker(conn, func(context.Context, stream.Delivery) error { return nil })
	w.AckWait = time.Minute // the consumer has less: signs of life would come too late
	if err := w.Run(t.Context()); fault.CodeOf(err) != "worker-ack-wait" {
		t.Errorf("%v", err)
	}
	w.AckWait, w.Consumer = testAckWait, "nobody"
	if err := w.Run(t.Context()); fault.CodeOf(err) != "consumer-unknown" {
		t.Errorf("%v", err)
	}
}
