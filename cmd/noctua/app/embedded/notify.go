package embedded

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/stream"
)

const (
	// maxWaitingClinics bounds the table of clinics that wait to be announced; more share the last name.
	maxWaitingClinics = 256
	unassigned        = "unassigned"
	// wakePause spaces wake-ups, so that a thousand puts a second cost a few synced messages rather than a thousand.
	wakePause   = 50 * time.Millisecond
	wakeTimeout = 5 * time.Second
)

// notifier publishes inbox.changed for puts into the inbox, many in one. It never fails a put and never waits in one: a lost wake-up
// costs ingest the time until its next listing.
type notifier struct {
	conn   *stream.Conn
	clock  func() time.Time
	logger *slog.Logger
	nonce  string // tells the ids of this process from those of the last one

	mu      sync.Mutex
	waiting map[string]int // clinic → puts not announced yet

	signal chan struct{} // capacity 1: somebody waits
	stop   context.CancelFunc
	done   chan struct{}
}

func newNotifier(ctx context.Context, conn *stream.Conn, clock func() time.Time, logger *slog.Logger) *notifier {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // lives until close; Start's context may end before
	n := &notifier{
		conn: conn, clock: clock, logger: logger, nonce: strings.ToLower(rand.Text()[:13]),
		waiting: map[string]int{}, signal: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	go n.run(ctx)
	return n
}

// put notes that an object of that key is in the inbox. Only the clinic is taken from the key.
func (n *notifier) put(key string) {
	clinic, _, found := strings.Cut(key, "/")
	if !found || !event.ValidClinic(clinic) {
		clinic = unassigned
	}
	// The server lends its strings for the length of a request: the bytes behind them are then another request's.
	clinic = strings.Clone(clinic)
	n.mu.Lock()
	if _, known := n.waiting[clinic]; !known && len(n.waiting) >= maxWaitingClinics {
		clinic = unassigned
	}
	n.waiting[clinic]++
	n.mu.Unlock()
	select {
	case n.signal <- struct{}{}:
	default: // a signal waits already and covers this put
	}
}

func (n *notifier) run(ctx context.Context) {
	defer close(n.done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for sequence := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-n.signal:
		}
		n.mu.Lock()
		waiting := n.waiting
		n.waiting = map[string]int{}
		n.mu.Unlock()
		for clinic, objects := range waiting {
			sequence++
			n.announce(ctx, clinic, objects, sequence)
		}
		pause.Reset(wakePause)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

func (n *notifier) announce(ctx context.Context, clinic string, objects, sequence int) {
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	e, err := event.New(event.TypeInboxChanged, event.ID(event.TypeInboxChanged, n.nonce, strconv.Itoa(sequence)), clinic,
		n.clock(), event.InboxChanged{Objects: objects})
	if err == nil {
		err = n.conn.Publish(ctx, e)
	}
	if err != nil && ctx.Err() == nil {
		n.logger.Warn("ingest could not be woken; it finds the new objects at its next listing", "objects", objects, "error", err)
	}
}

// close ends the notifier; wake-ups that wait are dropped, since ingest lists at its start.
func (n *notifier) close() {
	n.stop()
	<-n.done
}
