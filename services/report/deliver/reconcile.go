package deliver

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/export"
)

// reconcileRetry is the pause after a reconciliation that broke off.
const reconcileRetry = 5 * time.Second

// reconcileLoop finds at the start, and then again and again, what the stream has lost. It calls counted each time that it has gone through.
func (s *Service) reconcileLoop(ctx context.Context, d *destination, counted func()) error {
	for {
		wait := s.cfg.ReconcileEvery
		if err := s.reconcile(ctx, d); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d.logger.Warn("looking for reports that were not sent broke off and will be tried again", slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
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

// begin finds out what a restart must know, once.
func (s *Service) begin(ctx context.Context, d *destination) error {
	if !d.begun.IsZero() {
		return nil
	}
	since, err := d.stoppedSince(ctx)
	if err != nil {
		return err
	}
	if !since.IsZero() {
		d.stopping.Lock()
		d.stopped, d.stoppedAt = make(chan struct{}), since
		d.stopping.Unlock()
	}
	d.begun, err = d.notes.begin(ctx)
	return err
}

// reconcile counts what was sent and failed, and asks for versions since the beginning that have no note although nothing waits in the stream.
func (s *Service) reconcile(ctx context.Context, d *destination) error {
	if err := s.begin(ctx, d); err != nil {
		return err
	}
	idle := true
	for range 2 { // a message counts for its consumer a moment after it is stored
		lag, err := s.deps.Conn.Lag(ctx, stream.ReceiverConsumer(d.Name, nil).Name)
		if err != nil {
			return err
		}
		idle = idle && lag.Idle()
	}
	d.noting.Lock()
	changes := d.changes
	d.noting.Unlock()
	until := s.deps.Clock().Add(-s.cfg.SettleAfter)
	asked := 0
	total, err := d.survey(ctx, reportsPrefix, func(ofPatient []version) error {
		var newest *version
		for i, v := range ofPatient {
			if v.state == waiting && !v.at.Before(d.begun) && v.at.Before(until) {
				newest = &ofPatient[i]
			}
		}
		if newest == nil || !idle {
			return nil
		}
		// With it goes what is before it.
		n, err := s.askFor(ctx, d, *newest, false)
		asked += n
		return err
	})
	if err != nil {
		return err
	}
	d.noting.Lock()
	if d.changes == changes { // else the numbers are those of another moment; what was written since has been counted
		d.counts = total
	}
	d.noting.Unlock()
	if asked > 0 {
		d.logger.Info("patients were found with reports that were not sent", "patients", asked)
	}
	return nil
}

// request asks for what a person wants sent, and returns how many versions that are.
func (s *Service) request(ctx context.Context, d *destination, r export.Request) (int, error) {
	asked := 0
	_, err := d.survey(ctx, reportsPrefix, func(ofPatient []version) error {
		newest := map[string]int{}
		for _, v := range ofPatient {
			newest[v.report] = max(newest[v.report], v.number)
		}
		for _, v := range ofPatient {
			wanted := v.state == failed
			if !r.Since.IsZero() {
				within := !v.at.Before(r.Since) && (r.Until.IsZero() || v.at.Before(r.Until))
				wanted = within && v.number == newest[v.report] && (r.Again || v.state == failed || v.state == waiting)
			}
			if !wanted {
				continue
			}
			n, err := s.askFor(ctx, d, v, true)
			if err != nil {
				return err
			}
			asked += n
		}
		return nil
	})
	return asked, err
}

// askFor asks for a version if the receiver gets the reports of its clinic, and returns for how many that was.
func (s *Service) askFor(ctx context.Context, d *destination, v version, again bool) (int, error) {
	d.noting.Lock()
	foreign := d.foreign[v.patient]
	d.noting.Unlock()
	if foreign {
		return 0, nil
	}
	doc, err := d.report(ctx, v)
	if fault.Is(err, fault.Invalid) {
		d.logger.Error("a report cannot be read, and is not sent", "report", v.report, "version", v.number, "error", err)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !d.accepts(doc.Clinic) {
		d.noting.Lock()
		if len(d.foreign) < maxForeign {
			d.foreign[v.patient] = true
		}
		d.noting.Unlock()
		return 0, nil
	}
	return 1, d.ask(ctx, v, doc.Clinic, again)
}

// asker publishes requests for a receiver.
func (s *Service) asker(receiver string) func(context.Context, version, string, bool) error {
	return func(ctx context.Context, v version, clinic string, again bool) error {
		// Each request is one of its own: the same version may be asked for again and again.
		id := event.ID(event.TypeDeliveryRequested, receiver, v.report, strconv.Itoa(v.number), rand.Text())
		e, err := event.New(event.TypeDeliveryRequested, id, clinic, s.deps.Clock(), event.DeliveryRequested{Receiver: receiver, ReportKey: v.key(), Again: again})
		if err != nil {
			return err
		}
		if err := s.deps.Conn.PublishTo(ctx, receiver, e); err != nil {
			return fmt.Errorf("asking for %s to be sent to %s: %w", v.key(), receiver, err)
		}
		return nil
	}
}
