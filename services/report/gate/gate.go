package export

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// gate is shut while an archive is away. It opens for one attempt after a pause that grows with each one that fails.
type gate struct {
	base, cap time.Duration
	clock     func() time.Time
	jitter    func() float64 // in [0,1)

	mu     sync.Mutex
	fails  int
	until  time.Time
	since  time.Time
	reason error
}

// wait returns when it is worth trying, or with ctx's error.
func (g *gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		left := g.until.Sub(g.clock())
		g.mu.Unlock()
		if left <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(left)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// shut notes that the archive takes nothing, and why; first tells that it did before.
func (g *gate) shut(reason error) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails == 0 {
		g.since = g.clock()
	}
	g.fails++
	pause := min(float64(g.base)*math.Pow(2, float64(g.fails-1)), float64(g.cap))
	g.until, g.reason = g.clock().Add(time.Duration(pause*(0.75+g.jitter()/2))), reason
	return g.fails == 1
}

// open notes that the archive takes something; shut tells that it did not before.
func (g *gate) open() (shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut = g.fails > 0
	g.fails, g.until, g.reason = 0, time.Time{}, nil
	return shut
}

// state is why the archive takes nothing, with the cause on the network, and since when; "" if it does.
func (g *gate) state() (code, sentence string, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reason == nil {
		return "", "", time.Time{}
	}
	return fault.CodeOf(g.reason), g.reason.Error(), g.since
}
