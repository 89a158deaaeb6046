package board_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/report/board"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock stands still until it is moved.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.UnixMilli(c.at.Load()) }
func (c *clock) move(d time.Duration) { c.at.Add(d.Milliseconds()) }

func TestBoard(t *testing.T) {
	t.Parallel()
	at := &clock{}
	lamp := board.Green
	b := board.New([]board.Part{
		{Name: "a", Check: func(context.Context) (board.Finding, error) { return board.Finding{Lamp: lamp, Text: "a"}, nil }},
		{Name: "b", Do: "start it", SiteWide: true, Check: func(context.Context) (board.Finding, error) {
			return board.Finding{}, fault.New(fault.Transient, "b-away", "b is away")
		}},
		{Name: "c", Check: func(context.Context) (board.Finding, error) {
			return board.Finding{}, errors.New("dial tcp: 10.0.0.1")
		}},
	}, time.Minute, time.Second, at.now)
	found, _ := b.Look(t.Context())
	if len(found) != 3 || found[0].Lamp != board.Green || found[1].Lamp != board.Red || found[1].Text != "b is away [b-away]" || found[1].Do != "start it" || !found[1].SiteWide || strings.Contains(found[2].Text, "10.0.0.1") {
		t.Errorf("%+v", found)
	}
	begun := at.now()
	lamp = board.Yellow
	at.move(999 * time.Millisecond)
	if found, _ = b.Look(t.Context()); found[0].Lamp != board.Green {
		t.Error("asked again too soon")
	}
	at.move(time.Millisecond)
	if found, _ = b.Look(t.Context()); found[0].Lamp != board.Yellow || !found[0].Since.Equal(at.now()) || !found[1].Since.Equal(begun) {
		t.Errorf("%+v", found)
	}
	if board.Worst(board.Green, board.Red, board.Yellow) != board.Red || board.Worst() != board.Green {
		t.Error("the worst lamp")
	}
}

// TestDeadParts: a check that never comes back is red, holds nothing up, and is not asked again while it hangs.
func TestDeadParts(t *testing.T) {
	t.Parallel()
	at := &clock{}
	var asked atomic.Int32
	release := make(chan struct{})
	ended := make(chan struct{})
	b := board.New([]board.Part{
		{Name: "deaf", Do: "kick it", Check: func(context.Context) (board.Finding, error) {
			asked.Add(1)
			<-release
			close(ended)
			return board.Finding{Lamp: board.Green}, nil
		}},
		{Name: "well", Check: func(context.Context) (board.Finding, error) { return board.Finding{Lamp: board.Green}, nil }},
		{Name: "slow", Check: func(ctx context.Context) (board.Finding, error) { <-ctx.Done(); return board.Finding{}, ctx.Err() }},
	}, 500*time.Millisecond, time.Second, at.now)
	for range 3 {
		found, _ := b.Look(t.Context())
		if found[0].Lamp != board.Red || found[0].Do != "kick it" || !strings.Contains(found[0].Text, "does not answer") || found[1].Lamp != board.Green || found[2].Lamp != board.Red {
			t.Errorf("%+v", found)
		}
		at.move(time.Second)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	close(release)
	<-ended
}

// TestManyLook: many who look at once cost one look.
func TestManyLook(t *testing.T) {
	t.Parallel()
	at := &clock{}
	var asked atomic.Int32
	b := board.New([]board.Part{{Name: "a", Check: func(context.Context) (board.Finding, error) {
		asked.Add(1)
		return board.Finding{Lamp: board.Green}, nil
	}}}, time.Minute, time.Second, at.now)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { b.Look(context.Background()) })
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}
