// Package gate keeps workers of what a partner on the network is sent from trying while it is away.
package gate

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Gate is shut while a partner is away. It opens for one attempt after a pause that grows with each one that fails: Base·2^(n-1), at most Cap,
// give or take a quarter.
type Gate struct {
	Base, Cap time.Duration
	Clock     func() time.Time
	Jitter    func() float64 // in [0,1)

	mu     sync.Mutex
	fails  int
	until  time.Time
	since  time.Time
	reason error
}

// Wait returns when it is worth trying, or with ctx's error.
func (g *Gate) Wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		left := g.until.Sub(g.Clock())
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

// Shut notes that the partner takes nothing, and why; first tells that it did before.
func (g *Gate) Shut(reason error) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails == 0 {
		g.since = g.Clock()
	}
	g.fails++
	pause := min(float64(g.Base)*math.Pow(2, float64(g.fails-1)), float64(g.Cap))
	g.until, g.reason = g.Clock().Add(time.Duration(pause*(0.75+g.Jitter()/2))), reason
	return g.fails == 1
}

// Open notes that the partner takes something; shut tells that it did not before.
func (g *Gate) Open() (shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut = g.fails > 0
	g.fails, g.until, g.reason = 0, time.Time{}, nil
	return shut
}

// State is why the partner takes nothing, with the cause on the network, and since when; "" if it does.
func (g *Gate) State() (code, sentence string, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reason == nil {
		return "", "", time.Time{}
	}
	return fault.CodeOf(g.reason), g.reason.Error(), g.since
}
