package ingest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/event"
)

// TestKilledAnywhere kills the process at every write of every kind of intake, before and after the write is done, starts it
// again (and kills it once more at the next write), and looks whether the outcome is the same as without.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	a, b := instance(t, "P1"), instance(t, "P2")
	tests := []struct {
		name                            string
		prepare, drop                   func(w *world)
		images, quarantined, duplicates int
	}{
		{"accepted", nil, func(w *world) { w.drop("north/1", a) }, 1, 0, 0},
		{"rejected", nil, func(w *world) { w.drop("north/1", []byte("x")) }, 0, 1, 0},
		{"duplicate", func(w *world) { w.drop("north/1", a) }, func(w *world) { w.drop("north/2", a) }, 1, 0, 1},
		{"duplicate in quarantine", func(w *world) { w.drop("north/1", []byte("x")) }, func(w *world) { w.drop("north/2", []byte("x")) }, 0, 1, 1},
		{"identity conflict", func(w *world) {
			w.drop("north/1", instance(t, "P1", func(a *dicom.FundusAttributes) { a.SOPUID = "1.2.3" }))
		}, func(w *world) {
			w.drop("north/2", instance(t, "P2", func(a *dicom.FundusAttributes) { a.SOPUID = "1.2.3" }))
		}, 1, 1, 0},
		{"two at once", nil, func(w *world) { w.drop("north/1", a); w.drop("north/2", a) }, 1, 0, 1},
		{"ZIP", nil, func(w *world) { w.drop("north/z", archiveOf(t, "a", a, "x", []byte("x"), "b", b, "a2", a)) }, 2, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for at := 1; ; at++ {
				reached := false
				for _, after := range []bool{false, true} {
					w := newWorld()
					if test.prepare != nil {
						test.prepare(w)
						drain(t, w)
						w.advance(time.Second)
					}
					test.drop(w)
					for again := range 2 {
						w.revive(at+again, after)
						s, _ := newService(t, w, nil)
						run(t, s, func() bool { return w.isKilled() || len(w.keys(w.Buckets().Inbox)) == 0 })
						reached = reached || w.isKilled()
						if w.isKilled() {
							kills++
						}
						w.advance(time.Minute) // past midnight: days must not change
					}
					w.revive(0, false)
					drain(t, w)
					w.check(t, fmt.Sprintf("killed at write %d, after %v", at, after), test.images, test.quarantined, test.duplicates)
				}
				if !reached {
					break
				}
			}
			t.Logf("%d kills", kills)
			if kills < 6 {
				t.Errorf("only %d kills", kills)
			}
		})
	}
}

// TestServersAway lets each operation fail for a while: nothing is lost, and nothing is done twice.
func TestServersAway(t *testing.T) {
	t.Parallel()
	b := newWorld().Buckets()
	for _, operation := range []string{"list " + b.Inbox, "get " + b.Inbox, "put " + b.Archive, "get " + b.Archive, "put " + b.Quarantine, "publish", "remove " + b.Inbox} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/1", instance(t, "P1"))
			w.drop("north/2", []byte("x"))
			w.drop("north/3", instance(t, "P3"))
			w.fail[operation] = 2
			s, _ := newService(t, w, func(d *Deps, _ *Config) {
				// Time flies, so that retries come at once.
				d.Clock = func() time.Time { w.advance(time.Second); return w.now() }
			})
			run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
			w.check(t, operation, 2, 1, 0)
		})
	}
}

// TestOneBadObjectBlocksNobody has an object that can never be fetched.
func TestOneBadObjectBlocksNobody(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/0", instance(t, "P0"))
	for i := 1; i < 10; i++ {
		w.drop(fmt.Sprint("north/", i), instance(t, fmt.Sprint("P", i)))
	}
	s, _ := newService(t, w, func(d *Deps, c *Config) {
		d.Blob = stubborn{w, "north/0"}
		c.Workers = 1
	})
	run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 1 })
	w.check(t, "the others", 9, 0, 0)
}

type stubborn struct {
	*world
	key string
}

func TestReplacedWhileRead(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/1", instance(t, "P1"))
	w.advance(time.Minute)
	s, _ := newService(t, w, func(d *Deps, _ *Config) { d.Blob = &replacing{world: w, data: instance(t, "P2")} })
	run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
	w.check(t, "both", 2, 0, 0)
}

// TestReconcile wipes the stream: images without a result are announced again, others are not.
func TestReconcile(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"", strings.Repeat("a", 64)} {
		w := newWorld()
		for i := range 4 {
			w.drop(fmt.Sprint("north/", i), instance(t, fmt.Sprint("P", i), func(a *dicom.FundusAttributes) { a.NotColour = i == 3 }))
		}
		drain(t, w)
		w.check(t, "archived", 4, 0, 0)
		announced := map[string]event.ImageAccepted{}
		for _, e := range w.events {
			data, err := event.DataOf[event.ImageAccepted](e, event.TypeImageAccepted)
			if err != nil {
				t.Fatal(err)
			}
			announced[data.SOPUID] = data
		}
		w.events = nil
		// One has a result, one a failure.
		left := 2
		for _, data := range announced {
			if data.Analyse && left > 0 {
				name := []string{"failure.json", "result.json"}[left-1]
				key := "images/" + data.SOPUID + "/" + data.Sha256[:16] + "/" + strings.Repeat("a", 12) + "/" + name
				if err := w.PutBytes(t.Context(), w.Buckets().Results, key, []byte("{}"), storeOptions()); err != nil {
					t.Fatal(err)
				}
				left--
			}
		}
		w.advance(time.Hour)
		lag := 1
		s, _ := newService(t, w, func(d *Deps, c *Config) {
			d.Lag = func(context.Context) (int, error) { return lag, nil }
			c.ModelSHA256 = model
		})
		if n, err := s.reconcile(t.Context()); err != nil || n != 0 {
			t.Errorf("while workers are busy: %d, %v", n, err)
		}
		lag = 0
		if n, err := s.reconcile(t.Context()); err != nil || n != 1 {
			t.Errorf("model %q: %d announced, %v; want 1", model, n, err)
		}
		if got := w.published(event.TypeImageAccepted); len(got) != 1 {
			t.Errorf("events %v", got)
		}
	}
}

func TestStopLeavesTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 200 {
		w.drop(fmt.Sprintf("north/%03d", i), instance(t, fmt.Sprint("P", i)))
	}
	s, _ := newService(t, w, nil)
	run(t, s, func() bool { return len(w.published(event.TypeImageAccepted)) > 3 })
	o := w.outcomes()
	if left := len(w.keys(w.Buckets().Inbox)); left == 0 || o.images+left != 200 || o.accepted != o.images {
		t.Errorf("%d left, %+v", left, o)
	}
	drain(t, w)
	w.check(t, "after the restart", 200, 0, 0)
}
