package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
)

const testAckWait = 400 * time.Millisecond

// topology has a short ack wait, so that redelivery can be watched.
func topology() stream.Topology {
	t := stream.DefaultTopology()
	for i := range t.Consumers {
		t.Consumers[i].AckWait = testAckWait
	}
	return t
}

// worker returns a worker with short times and retries without jitter.
func worker(conn *stream.Conn, handler func(context.Context, stream.Delivery) error) stream.Worker {
	return stream.Worker{
		Conn: conn, Consumer: stream.ConsumerSegment, AckWait: testAckWait, Handler: handler,
		RetryBase: 20 * time.Millisecond, RetryCap: 200 * time.Millisecond, Grace: time.Millisecond,
		Jitter: func() float64 { return 0.5 },
	}
}

// start runs a worker until the test ends or stop is called.
func start(t *testing.T, w stream.Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// seen collects deliveries.
type seen struct {
	mu       sync.Mutex
	attempts []int
	times    []time.Time
}

func (s *seen) add(d stream.Delivery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, d.Attempt)
	s.times = append(s.times, time.Now())
	return len(s.attempts)
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attempts)
}

func (s *seen) all() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int(nil), s.attempts...)
}

func deadLetters(t *testing.T, conn *stream.Conn) []stream.DeadLetter {
	t.Helper()
	letters, err := conn.DeadLetters(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	return letters
}

func settled(t *testing.T, conn *stream.Conn) {
	t.Helper()
	eventually(t, "everything settled", func() bool { return lag(t, conn).Idle() })
}

func TestDoneIsAcknowledged(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 20)
	var got seen
	var ids sync.Map
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		got.add(d)
		if _, again := ids.LoadOrStore(d.Envelope.ID, true); again {
			t.Errorf("%s came twice", d.Envelope.ID)
		}
		return nil
	})
	w.Concurrency = 4
	start(t, w)
	eventually(t, "20 handled", func() bool { return got.count() == 20 })
	settled(t, conn)
	for _, attempt := range got.all() {
		if attempt != 1 {
			t.Errorf("attempt %d", attempt)
		}
	}
	if letters := deadLetters(t, conn); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// TestFailuresComeBackLaterAndThenDie: delays grow, attempts count, the dead letter carries payload and reason.
func TestFailuresComeBackLaterAndThenDie(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"internal":  fault.New(fault.Internal, "engine-broken", "The engine is broken."),
		"no fault":  errors.New("no fault at all"),
		"transient": fault.New(fault.Transient, "storage-unavailable", "The store is away."),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := streamtest.Start(t).Connect(topology())
			publish(t, conn, 0, 1)
			var got, poison seen
			w := worker(conn, func(_ context.Context, d stream.Delivery) error {
				got.add(d)
				return fmt.Errorf("handling: %w", failure)
			})
			w.MaxAttempts, w.OutagePatience = 4, -1
			w.OnPoison = func(_ context.Context, d stream.Delivery, err error) error {
				poison.add(d)
				if !errors.Is(err, failure) {
					t.Errorf("told %v", err)
				}
				return nil
			}
			start(t, w)
			eventually(t, "a dead letter", func() bool { return len(deadLetters(t, conn)) == 1 })
			settled(t, conn)
			if attempts := fmt.Sprint(got.all()); attempts != "[1 2 3 4]" {
				t.Errorf("attempts %s", attempts)
			}
			if attempts := fmt.Sprint(poison.all()); attempts != "[4]" {
				t.Errorf("told at attempts %s", attempts)
			}
			for i := 1; i < len(got.times); i++ {
				// The n-th retry waits at least 20 ms · 2^(n-1); with Nak alone all would come within a few milliseconds.
				if pause, least := got.times[i].Sub(got.times[i-1]), 20*time.Millisecond<<(i-1); pause < least {
					t.Errorf("retry %d came after %s, expected at least %s", i, pause, least)
				}
			}
			letter := deadLetters(t, conn)[0]
			want := accepted(t, 0)
			e, err := event.Decode(letter.Payload)
			if err != nil || e.ID != want.ID || string(e.Data) != string(want.Data) {
				t.Errorf("the dead letter's payload is %s, %v", letter.Payload, err)
			}
			if letter.Code != fault.CodeOf(failure) || letter.Kind != fault.KindOf(failure).String() || letter.Attempts != 4 ||
				!strings.Contains(letter.Reason, fault.SentenceOf(failure)) || letter.Consumer != stream.ConsumerSegment ||
				letter.Subject != "noctua.image.accepted.north" || time.Since(letter.Time) > time.Hour {
				t.Errorf("dead letter %+v", letter)
			}
		})
	}
}

// TestPoisonDiesAtOnce: what is the input's fault is not tried again.
func TestPoisonDiesAtOnce(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	kinds := []fault.Kind{fault.Invalid, fault.Unsupported, fault.NotFound, fault.Conflict}
	publish(t, conn, 0, len(kinds))
	var got, poison seen
	var next atomic.Int64
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		got.add(d)
		return fault.New(kinds[next.Add(1)-1], "bad-input", "The input is bad.")
	})
	w.OnPoison = func(_ context.Context, d stream.Delivery, _ error) error { poison.add(d); return nil }
	start(t, w)
	eventually(t, "dead letters", func() bool { return len(deadLetters(t, conn)) == len(kinds) })
	settled(t, conn)
	if got.count() != len(kinds) || poison.count() != len(kinds) {
		t.Errorf("handled %d times, told %d times", got.count(), poison.count())
	}
	for i, letter := range deadLetters(t, conn) {
		if letter.Kind != kinds[i].String() || letter.Code != "bad-input" {
			t.Errorf("letter %d: %+v", i, letter)
		}
	}
}

// TestOutagesDoNotCount: transient faults within the patience are no attempts, and their delay grows.
func TestOutagesDoNotCount(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	var got seen
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		switch n := got.add(d); {
		case n <= 5:
			return fault.New(fault.Transient, "storage-unavailable", "The store is away.")
		case n == 6:
			return errors.New("our own defect")
		}
		return nil
	})
	w.MaxAttempts = 2
	start(t, w)
	eventually(t, "handled", func() bool { return got.count() == 7 })
	settled(t, conn)
	if attempts := fmt.Sprint(got.all()); attempts != "[1 1 1 1 1 1 2]" {
		t.Errorf("attempts %s", attempts)
	}
	if letters := deadLetters(t, conn); len(letters) != 0 {
		t.Errorf("an outage made %d dead letters", len(letters))
	}
	if first, fourth := got.times[1].Sub(got.times[0]), got.times[4].Sub(got.times[3]); fourth < 160*time.Millisecond || first < 20*time.Millisecond {
		t.Errorf("the delays do not grow: first %s, fourth %s", first, fourth)
	}
}

// TestPatienceEnds: an outage that outlasts the patience counts, so that a wrong Transient does not go on for ever.
func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	var got seen
	var hours atomic.Int64
	begin := time.Now()
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		got.add(d)
		hours.Add(1)
		return fault.New(fault.Transient, "storage-unavailable", "The store is away.")
	})
	w.MaxAttempts, w.OutagePatience = 2, 2*time.Hour
	w.Clock = func() time.Time { return begin.Add(time.Duration(hours.Load()) * time.Hour) }
	start(t, w)
	eventually(t, "a dead letter", func() bool { return len(deadLetters(t, conn)) == 1 })
	// Since the first failure: 0 h, 1 h, 2 h excused; 3 h is the first attempt, 4 h the second and last.
	if attempts := fmt.Sprint(got.all()); attempts != "[1 1 1 1 2]" {
		t.Errorf("attempts %s", attempts)
	}
}

// TestTellingMustSucceed: the message stays until its failure is told and its dead letter written, and is not charged for it.
func TestTellingMustSucceed(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	var got, told seen
	w := worker(conn, func(_ context.Context, d stream.Delivery) error {
		got.add(d)
		return fault.New(fault.Invalid, "bad-input", "The input is bad.")
	})
	w.OnPoison = func(_ context.Context, d stream.Delivery, _ error) error {
		switch told.add(d) {
		case 1:
			return fault.New(fault.Transient, "storage-unavailable", "The store is away.")
		case 2:
			panic("telling breaks")
		}
		return nil
	}
	w.MaxAttempts = 1
	start(t, w)
	eventually(t, "a dead letter", func() bool { return len(deadLetters(t, conn)) == 1 })
	settled(t, conn)
	if a, b := fmt.Sprint(got.all()), fmt.Sprint(told.all()); a != "[1 1 1]" || b != "[1 1 1]" {
		t.Errorf("handled at %s, told at %s", a, b)
	}
	if letter := deadLetters(t, conn)[0]; letter.Code != "bad-input" {
		t.Errorf("the reason was lost: %+v", letter)
	}
}

// TestInterruptionIsNoAttempt: five shutdowns in the middle, then success at attempt 1.
func TestInterruptionIsNoAttempt(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	var got seen
	for range 5 {
		running := make(chan struct{})
		w := worker(conn, func(ctx context.Context, d stream.Delivery) error {
			got.add(d)
			close(running)
			<-ctx.Done()
			return fmt.Errorf("reading: %w", ctx.Err())
		})
		w.MaxAttempts = 2
		stop := start(t, w)
		<-running
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("stopping took %s", took)
		}
	}
	begin := time.Now()
	w := worker(conn, func(_ context.Context, d stream.Delivery) error { got.add(d); return nil })
	w.MaxAttempts = 2
	start(t, w)
	settled(t, conn)
	if attempts := fmt.Sprint(got.all()); attempts != "[1 1 1 1 1 1]" {
		t.Errorf("attempts %s", attempts)
	}
	t.Logf("handed back and handled after %s", time.Since(begin))
	if letters := deadLetters(t, conn); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// TestVerdictDuringShutdownStands: a handler that finds the input bad while it is being stopped is believed.
func TestVerdictDuringShutdownStands(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	running := make(chan struct{})
	stop := start(t, worker(conn, func(ctx context.Context, _ stream.Delivery) error {
		close(running)
		<-ctx.Done()
		return fault.New(fault.Invalid, "bad-input", "The input is bad.")
	}))
	<-running
	stop()
	if letters := deadLetters(t, conn); len(letters) != 1 {
		t.Errorf("%d dead letters", len(letters))
	}
}

func TestGraceLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 2)
	running, finish := make(chan struct{}, 2), make(chan struct{})
	w := worker(conn, func(ctx context.Context, _ stream.Delivery) error {
		running <- struct{}{}
		<-finish
		return ctx.Err()
	})
	w.Grace = testTimeout
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	<-running
	cancel()
	close(finish)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// The one that ran is acknowledged; no other was begun.
	if l := lag(t, conn); l.Pending != 1 || l.AckPending != 0 {
		t.Errorf("%+v", l)
	}
}

// TestProgressKeepsAMessage: a handler of several ack waits that gets on has its message to itself.
func TestProgressKeepsAMessage(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	var got seen
	w := worker(conn, func(ctx context.Context, d stream.Delivery) error {
		got.add(d)
		end := time.NewTimer(4 * testAckWait)
		step := time.NewTicker(testAckWait / 10)
		defer end.Stop()
		defer step.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-step.C:
				d.Progress()
			case <-end.C:
				return nil
			}
		}
	})
	w.Concurrency = 2 // somebody would be free to take it
	w.StallAfter = testAckWait
	start(t, w)
	eventually(t, "the message is handled", func() bool { return got.count() > 0 }) // before that the stream may count none
	settled(t, conn)
	if attempts := fmt.Sprint(got.all()); attempts != "[1]" {
		t.Errorf("attempts %s", attempts)
	}
}

// TestStalledHandlerLosesItsMessage: without progress the signs of life end, the handler is told, and another takes over, even
// if the handler does not listen.
func TestStalledHandlerLosesItsMessage(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	var got seen
	release, told := make(chan struct{}), make(chan error, 1)
	w := worker(conn, func(ctx context.Context, d stream.Delivery) error {
		if got.add(d) > 1 {
			return nil
		}
		<-ctx.Done()
		told <- context.Cause(ctx)
		<-release // deaf
		return nil
	})
	w.Concurrency = 2
	w.StallAfter = testAckWait / 2
	start(t, w)
	if cause := <-told; fault.CodeOf(cause) != "handler-stalled" {
		t.Errorf("the handler was told %v", cause)
	}
	eventually(t, "another handler", func() bool { return got.count() == 2 })
	close(release)
	settled(t, conn)
	if attempts := fmt.Sprint(got.all()); attempts != "[1 2]" {
		t.Errorf("attempts %s", attempts)
	}
}

// TestTimeLimitHoldsAgainstProgress: a handler that says for ever that it gets on is ended by the hard cap, and its failure is counted.
func TestTimeLimitHoldsAgainstProgress(t *testing.T) {
	t.Parallel()
	conn := streamtest.Start(t).Connect(topology())
	publish(t, conn, 0, 1)
	w := worker(conn, func(ctx context.Context, d stream.Delivery) error {
		step := time.NewTicker(testAckWait / 20)
		defer step.Stop()
		for {
			select {
			case <-ctx.Done():
				return fmt.Errorf("computing: %w", ctx.Err())
			case <-step.C:
				d.Progress()
			}
		}
	})
	w.MaxAttempts, w.HandlerTimeLimit = 1, testAckWait
	start(t, w)
	eventually(t, "a dead letter", func() bool { return len(deadLetters(t, conn)) == 1 })
	if letter := deadLetters(t, conn)[0]; letter.Code != "handler-overlong" {
		t.Errorf("%+v", letter)
	}
}
