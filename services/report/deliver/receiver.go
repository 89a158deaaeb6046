package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/gate"
)

// destination is a receiver at work.
type destination struct {
	Receiver
	notes
	cfg    Config
	sender sender
	gate   *gate.Gate
	logger *slog.Logger
	// pdf makes the page for people of the version at a key; nil: there is none.
	pdf func(ctx context.Context, r *record.Report, key string) ([]byte, error)
	// ask publishes a request for a version of a clinic's report.
	ask func(ctx context.Context, v version, clinic string, again bool) error

	// begun is since when versions are sent, by the store's clock. It is set before the worker runs.
	begun time.Time
	// unanswered is the version to which the receiver gives no answer, and since when. The worker has one slot, so that nothing else touches it.
	unanswered struct {
		folder string
		since  time.Time
	}

	// noting serialises what changes notes and their numbers.
	noting  sync.Mutex
	counts  counts
	changes int // of notes, so that a survey sees whether it was overtaken

	// stopping guards stopped, which is not nil while the receiver wants no more and closed when it does again, and since when that is.
	stopping  sync.Mutex
	stopped   chan struct{}
	stoppedAt time.Time

	// foreign are patients of clinics that the receiver gets nothing of, so that reconciliation reads them once.
	foreign map[string]bool
}

// maxForeign bounds memory: some 100 bytes each. Further ones are read again each time.
const maxForeign = 100_000

// subject is what a message is about.
type subject struct {
	version
	clinic string
	again  bool // send it although it was sent, or has failed
}

// subjectOf reads an event; false if it does not concern this receiver.
func (d *destination) subjectOf(e event.Envelope) (subject, bool, error) {
	s := subject{clinic: e.Clinic}
	var key string
	switch e.Type {
	case event.TypeReportIssued:
		data, err := event.DataOf[event.ReportIssued](e, e.Type)
		if err != nil {
			return s, false, err
		}
		key = data.ReportKey
	case event.TypeDeliveryRequested:
		data, err := event.DataOf[event.DeliveryRequested](e, e.Type)
		if err != nil || data.Receiver != d.Name {
			return s, false, err
		}
		key, s.again = data.ReportKey, data.Again
	default:
		return s, false, nil
	}
	v, ok := parseVersion(key)
	if !ok || v.key() != key {
		return s, false, fault.New(fault.Invalid, "report-key", "the event names no report")
	}
	s.version = v
	return s, d.accepts(e.Clinic), nil
}

// handle sends what a message is about, and before it what should have been sent already. What it returns decides as stream.Worker says.
func (d *destination) handle(ctx context.Context, delivery stream.Delivery) error {
	s, mine, err := d.subjectOf(delivery.Envelope)
	if err != nil || !mine {
		return err
	}
	var all []version
	if _, err := d.survey(ctx, reportsPrefix+s.patient+"/", func(versions []version) error { all = versions; return nil }); err != nil {
		return err
	}
	own := -1
	for i, v := range all {
		if v.report == s.report && v.number == s.number {
			own = i
		}
	}
	if own < 0 {
		return fault.New(fault.NotFound, CodeUnusable, "the version of the report is not in the bucket")
	}
	if all[own].state != waiting && !s.again {
		return nil
	}
	for _, v := range all {
		if v.before(all[own]) && v.state == waiting && !v.at.Before(d.begun) {
			if err := d.deliver(ctx, v, s.clinic); err != nil {
				return &stuck{err, v}
			}
			delivery.Progress()
		}
	}
	for _, v := range all {
		if v.report == s.report && v.number > s.number && v.state == sent {
			d.logger.Info("a later version was sent already", "report", s.report, "version", s.number)
			return d.note(ctx, s.version, record.Delivery{State: record.DeliverySuperseded, Clinic: s.clinic})
		}
	}
	return d.deliver(ctx, s.version, s.clinic)
}

// stuck is why a version that goes before the one of the message could not be sent.
type stuck struct {
	error
	version version
}

func (s *stuck) Unwrap() error { return s.error }

// deliver sends one version and notes it.
func (d *destination) deliver(ctx context.Context, v version, clinic string) error {
	doc, err := d.report(ctx, v)
	if err != nil {
		return err
	}
	document, err := d.document(ctx, doc, v)
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, 2*(connectTimeout+d.cfg.AnswerTimeout)) // a second attempt where a connection was dead
	defer cancel()
	answer, err := d.sender.send(sending, doc, document)
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	if err != nil && fault.KindOf(err) == fault.Transient {
		return d.away(ctx, v, err)
	}
	if d.gate.Open() {
		d.logger.Info("the receiver answers again")
	}
	d.unanswered.folder = ""
	if err != nil {
		return &refusal{err, answer}
	}
	if err := d.note(ctx, v, record.Delivery{State: record.DeliverySent, Clinic: clinic, Answer: answer}); err != nil {
		return err
	}
	d.logger.Info("report sent", "report", v.report, "version", v.number)
	return nil
}

// document is the page for people that goes with a version; none where the receiver gets none, and with preliminary versions, in whose place another
// comes within minutes: making it costs as much as a tenth of measuring the pictures. One that cannot be made, now or later, must not keep the
// figures from who waits for them: they go without.
func (d *destination) document(ctx context.Context, doc *record.Report, v version) ([]byte, error) {
	if !d.Document || d.pdf == nil || doc.Status == record.Preliminary {
		return nil, nil
	}
	raw, err := d.pdf(ctx, doc, v.key())
	if err == nil || fault.Interrupted(err) || fault.Is(err, fault.Transient) {
		return raw, err
	}
	d.logger.Error("a report goes without its PDF, which cannot be made", "report", v.report, "version", v.number, "code", fault.CodeOf(err), "error", err)
	return nil, nil
}

// refusal is why a receiver does not have a version, with what it answered.
type refusal struct {
	error
	answer string
}

func (r *refusal) Unwrap() error { return r.error }

// away deals with a receiver that takes nothing at the moment. That costs no attempt, unless it is this version that it gives no answer to for too
// long.
func (d *destination) away(ctx context.Context, v version, err error) error {
	code := fault.CodeOf(err)
	if code == CodeGone {
		if err := d.stop(ctx); err != nil {
			return err
		}
	}
	if d.gate.Shut(err) {
		d.logger.Warn("the receiver takes nothing; trying again", "code", code, "error", err)
	}
	if code != CodeSilent && code != CodeNoAck && code != CodeFails {
		return err
	}
	if d.unanswered.folder != v.folder() {
		d.unanswered.folder, d.unanswered.since = v.folder(), d.clock()
	}
	if d.clock().Sub(d.unanswered.since) > d.cfg.Silence {
		return fault.New(fault.Internal, code, "%s", fault.SentenceOf(err))
	}
	return err
}

// stop notes that the receiver wants no more.
func (d *destination) stop(ctx context.Context) error {
	d.stopping.Lock()
	defer d.stopping.Unlock()
	if d.stopped != nil {
		return nil
	}
	if err := d.put(ctx, d.root()+stoppedName, record.Delivery{State: record.DeliveryStopped}, false); err != nil {
		return fmt.Errorf("noting that %s wants no more: %w", d.Name, err)
	}
	d.stopped, d.stoppedAt = make(chan struct{}), d.clock()
	return nil
}

// resume lets a receiver that wanted no more get reports again.
func (d *destination) resume(ctx context.Context) error {
	d.stopping.Lock()
	defer d.stopping.Unlock()
	if d.stopped == nil {
		return nil
	}
	if err := d.blob.Remove(ctx, d.bucket(), d.root()+stoppedName); err != nil {
		return fmt.Errorf("noting that %s wants reports again: %w", d.Name, err)
	}
	close(d.stopped)
	d.stopped = nil
	d.gate.Open()
	return nil
}

// wait returns when it is worth trying, or with ctx's error.
func (d *destination) wait(ctx context.Context) error {
	d.stopping.Lock()
	stopped := d.stopped
	d.stopping.Unlock()
	if stopped != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stopped:
		}
	}
	return d.gate.Wait(ctx)
}

// giveUp notes a version that will not be sent. It is called before the message becomes a dead letter. If that version was only in the way of the
// message's own, that one is asked for anew.
func (d *destination) giveUp(ctx context.Context, delivery stream.Delivery, cause error) error {
	s, mine, err := d.subjectOf(delivery.Envelope)
	if err != nil || !mine {
		return nil //nolint:nilerr // a message that names no report leaves nothing to note; the dead letter holds it
	}
	v := s.version
	var ahead *stuck
	if errors.As(cause, &ahead) {
		v = ahead.version
	}
	note := record.Delivery{State: record.DeliveryFailed, Clinic: s.clinic, Code: fault.CodeOf(cause), Reason: fault.SentenceOf(cause), Attempts: max(1, delivery.Attempt)}
	var r *refusal
	if errors.As(cause, &r) {
		note.Answer = r.answer
	}
	if err := d.note(ctx, v, note); err != nil {
		return err
	}
	if ahead != nil {
		return d.ask(ctx, s.version, s.clinic, s.again)
	}
	return nil
}

// note writes a note and keeps the numbers in line with it.
func (d *destination) note(ctx context.Context, v version, doc record.Delivery) error {
	d.noting.Lock()
	defer d.noting.Unlock()
	var before counts
	for known, err := range d.noted(ctx, v.folder()) {
		if err != nil {
			return fmt.Errorf("looking whether %s was sent: %w", v.key(), err)
		}
		before.add(known.state, 1)
	}
	d.changes++
	if err := d.write(ctx, v, doc); err != nil {
		return err
	}
	d.counts.sent -= before.sent
	d.counts.failed -= before.failed
	d.counts.add(stateOf(noteNames[doc.State]), 1)
	return nil
}

func (d *destination) report(ctx context.Context, v version) (*record.Report, error) {
	raw, err := d.blob.GetBytes(ctx, d.bucket(), v.key(), documentLimit)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", v.key(), err)
	}
	doc, err := record.Decode[record.Report](record.ReportSchema, raw)
	if err != nil {
		// The cause may quote the document.
		return nil, fault.New(fault.Invalid, CodeUnusable, "the report cannot be read")
	}
	return doc, nil
}

// handlerLimit is how long a message may take with all that goes before it; that many versions of one patient wait only after a long outage.
const handlerLimit = time.Hour

// worker sends what the stream hands out, one message at a time.
func (d *destination) worker(conn *stream.Conn) stream.Worker {
	return stream.Worker{
		Conn: conn, Consumer: stream.ReceiverConsumer(d.Name, nil).Name, Concurrency: 1, Before: d.wait, Handler: d.handle, OnPoison: d.giveUp,
		MaxAttempts: d.cfg.MaxAttempts, OutagePatience: d.cfg.Patience, RetryBase: d.cfg.RetryBase, RetryCap: d.cfg.RetryCap,
		StallAfter: 2*(connectTimeout+d.cfg.AnswerTimeout) + time.Minute, HandlerTimeLimit: handlerLimit, Logger: d.logger, Clock: d.clock,
	}
}
