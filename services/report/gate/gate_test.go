package gate

import (
	"context"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// TestGate: the pauses grow up to their limit, and an answer ends them.
func TestGate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	g := &Gate{Base: 2 * time.Second, Cap: 5 * time.Minute, Clock: func() time.Time { return now }, Jitter: func() float64 { return 0.5 }}
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	away := fault.New(fault.Transient, "partner-unreachable", "away")
	for i, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if first := g.Shut(away); first != (i == 0) || g.until.Sub(now) != want {
			t.Errorf("pause %d is %v, want %v; first %v", i+1, g.until.Sub(now), want, first)
		}
	}
	for range 5000 {
		g.Shut(away)
	}
	if g.until.Sub(now) != 5*time.Minute {
		t.Errorf("the longest pause is %v", g.until.Sub(now))
	}
	if code, reason, since := g.State(); code != "partner-unreachable" || reason != "away" || !since.Equal(now) {
		t.Errorf("%s %s %v", code, reason, since)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Wait(ctx); !fault.Interrupted(err) {
		t.Errorf("waiting ends with %v", err)
	}
	if !g.Open() || g.Open() {
		t.Error("it opens once")
	}
	if code, _, since := g.State(); code != "" || !since.IsZero() || g.Wait(t.Context()) != nil {
		t.Errorf("open: %s %v", code, since)
	}
}
