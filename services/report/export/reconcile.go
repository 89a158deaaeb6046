package export

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
)

const (
	// reconcileRetry is the pause after a reconciliation that broke off.
	reconcileRetry = 5 * time.Second
	// askers results are looked at and asked for at a time: enough to hide the latency of a store.
	askers = 8
	// noClinic is asked for where a result does not name its clinic.
	noClinic = "unassigned"
)

// reconcileLoop finds at the start, and then again and again, what the stream has lost. It calls counted each time that it has gone through.
func (s *Service) reconcileLoop(ctx context.Context, d *destination, counted func()) error {
	for {
		wait := s.cfg.ReconcileEvery
		if err := s.reconcile(ctx, d); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d.logger.Warn("looking for results that were not sent broke off and will be tried again", slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
			wait = reconcileRetry
		} else {
			counted()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// reconcile counts what was sent and failed, and asks for results since the beginning of exports that have no note although nothing waits in
// the stream.
func (s *Service) reconcile(ctx context.Context, d *destination) error {
	began, err := d.begin(ctx)
	if err != nil {
		return err
	}
	idle := true
	for range 2 { // a message counts for its consumer a moment after it is stored
		lag, err := s.deps.Conn.Lag(ctx, stream.ExportConsumer(d.Name, nil).Name)
		if err != nil {
			return err
		}
		idle = idle && lag.Idle()
	}
	d.noting.Lock()
	changes := d.changes
	d.noting.Unlock()
	asked, total, err := s.ask(ctx, d, began, s.deps.Clock().Add(-s.cfg.SettleAfter), func(known state) bool { return idle && known == waiting }, false)
	if err != nil {
		return err
	}
	d.noting.Lock()
	if d.changes == changes { // else the numbers are those of another moment; what was written since has been counted
		d.counts = total
	}
	d.noting.Unlock()
	if asked > 0 {
		d.logger.Info("results were found that were not sent", "results", asked)
	}
	return nil
}

// ask publishes requests for the results that are wanted, and returns their number.
func (s *Service) ask(ctx context.Context, d *destination, since, until time.Time, want func(state) bool, again bool) (int, counts, error) {
	var asked atomic.Int64
	pass := rand.Text() // tells this pass's requests from those of others
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(askers)
	total, err := d.survey(running, s.cfg.ModelSHA256, since, until, func(key string, known state) error {
		if !want(known) {
			return running.Err()
		}
		group.Go(func() error {
			result, err := d.result(running, key)
			if fault.Is(err, fault.Invalid) {
				d.logger.Error("a result cannot be read, and is not sent", "result", key, "error", err)
				return nil
			}
			if err != nil {
				return err
			}
			clinic := result.Clinic
			if clinic == "" {
				clinic = noClinic
			}
			if !d.accepts(clinic) {
				return nil
			}
			id := event.ID(event.TypeExportRequested, d.Name, strings.ReplaceAll(strings.TrimPrefix(path.Dir(key), resultsPrefix), "/", ":"), pass)
			e, err := event.New(event.TypeExportRequested, id, clinic, s.deps.Clock(), event.ExportRequested{Archive: d.Name, ResultKey: key, Again: again})
			if err != nil {
				return err
			}
			if err := s.deps.Conn.PublishTo(running, d.Name, e); err != nil {
				return err
			}
			asked.Add(1)
			return nil
		})
		return running.Err()
	})
	if waitErr := group.Wait(); waitErr != nil {
		return int(asked.Load()), total, fmt.Errorf("asking for exports to %s: %w", d.Name, waitErr)
	}
	return int(asked.Load()), total, err
}
