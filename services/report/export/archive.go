package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicomweb"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/gate"
)

// maxFileBytes bounds a file that is sent: a SEG of 100 megapixels has 12.5 MB.
const maxFileBytes = 64 << 20

// destination is an archive at work.
type destination struct {
	Archive
	notes
	cfg    Config
	sender sender
	gate   *gate.Gate
	logger *slog.Logger

	// noting serialises what changes notes and their numbers.
	noting  sync.Mutex
	counts  counts
	changes int // of notes, so that a survey sees whether it was overtaken
}

// subject is what a message is about.
type subject struct {
	resultKey string
	clinic    string
	again     bool // send it although it was sent
}

// subjectOf reads an event; false if it does not concern this archive.
func (d *destination) subjectOf(e event.Envelope) (subject, bool, error) {
	s := subject{clinic: e.Clinic}
	switch e.Type {
	case event.TypeImageSegmented:
		data, err := event.DataOf[event.ImageSegmented](e, e.Type)
		if err != nil {
			return s, false, err
		}
		s.resultKey = data.ResultKey
	case event.TypeExportRequested:
		data, err := event.DataOf[event.ExportRequested](e, e.Type)
		if err != nil || data.Archive != d.Name {
			return s, false, err
		}
		s.resultKey, s.again = data.ResultKey, data.Again
	default:
		return s, false, nil
	}
	if !strings.HasPrefix(s.resultKey, resultsPrefix) || path.Base(s.resultKey) != resultName || path.Clean(s.resultKey) != s.resultKey {
		return s, false, fault.New(fault.Invalid, "result-key", "the event names no result")
	}
	// Results of another model are none that reports speak of.
	ofModel := path.Base(path.Dir(s.resultKey)) == d.cfg.ModelSHA256[:modelDigits]
	return s, ofModel && d.accepts(e.Clinic), nil
}

// handle sends what a message is about. What it returns decides as stream.Worker says.
func (d *destination) handle(ctx context.Context, delivery stream.Delivery) error {
	s, mine, err := d.subjectOf(delivery.Envelope)
	if err != nil || !mine {
		return err
	}
	if !s.again {
		known, err := d.state(ctx, s.resultKey)
		if err != nil {
			return err
		}
		if known == sent {
			return nil
		}
	}
	files, err := d.load(ctx, s.resultKey)
	if err != nil {
		return err
	}
	note := record.Export{State: record.ExportSent, ResultKey: s.resultKey, Clinic: s.clinic}
	if len(files) == 0 {
		return d.note(ctx, note) // ungradable, or of a version that made none
	}
	sending, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	answers, err := d.sender.send(sending, files)
	if err == nil {
		err = judge(files, answers)
		if !fault.Is(err, fault.Transient) {
			d.reached()
		}
	} else {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Whatever it is, it is not this result's fault: an archive that does not know Noctua's title yet must not turn a night into failures.
		err = fault.Wrap(fault.Transient, codeOf(err), errors.Unwrap(err), "%s", fault.SentenceOf(err))
	}
	if fault.Is(err, fault.Transient) {
		if d.gate.Shut(err) {
			d.logger.Warn("the archive takes nothing; trying again", "code", fault.CodeOf(err), "error", err)
		}
		return err
	}
	note.Instances = instancesOf(files, answers)
	if err != nil {
		return &refusal{err, note.Instances}
	}
	if err := d.note(ctx, note); err != nil {
		return err
	}
	d.logger.Info("result sent", "result", s.resultKey, "files", len(files))
	return nil
}

// refusal is why an archive does not have a result, with what it said of each file.
type refusal struct {
	error
	instances []record.ExportedInstance
}

func (r *refusal) Unwrap() error { return r.error }

func instancesOf(files []file, answers []answer) (all []record.ExportedInstance) {
	for i, f := range files {
		instance := record.ExportedInstance{File: f.name, SOPUID: f.Instance}
		if status := answers[i].status; status != 0 {
			instance.Status = fmt.Sprintf("%04X", uint16(status))
		}
		all = append(all, instance)
	}
	return all
}

// codeOf gives what has no code, such as a name that cannot be resolved, one.
func codeOf(err error) string {
	if code := fault.CodeOf(err); code != "" {
		return code
	}
	return dicomweb.CodeUnreachable
}

// reached notes that the archive answers.
func (d *destination) reached() {
	if d.gate.Open() {
		d.logger.Info("the archive takes results again")
	}
}

// giveUp notes a result that will not be sent. It is called before the message becomes a dead letter.
func (d *destination) giveUp(ctx context.Context, delivery stream.Delivery, cause error) error {
	s, mine, err := d.subjectOf(delivery.Envelope)
	if err != nil || !mine {
		return nil //nolint:nilerr // a message that names no result leaves nothing to note; the dead letter holds it
	}
	note := record.Export{State: record.ExportFailed, ResultKey: s.resultKey, Clinic: s.clinic, Code: codeOf(cause), Reason: fault.SentenceOf(cause),
		Attempts: max(1, delivery.Attempt)}
	var r *refusal
	if errors.As(cause, &r) {
		note.Instances = r.instances
	}
	return d.note(ctx, note)
}

// note writes a note and keeps the numbers in line with it.
func (d *destination) note(ctx context.Context, doc record.Export) error {
	d.noting.Lock()
	defer d.noting.Unlock()
	before, err := d.state(ctx, doc.ResultKey)
	if err != nil {
		return err
	}
	d.changes++
	if err := d.write(ctx, doc); err != nil {
		return err
	}
	d.counts.add(before, -1)
	now := sent
	if doc.State == record.ExportFailed {
		now = failed
	}
	d.counts.add(now, 1)
	return nil
}

// load reads a result's DICOM files.
func (d *destination) load(ctx context.Context, resultKey string) ([]file, error) {
	result, err := d.result(ctx, resultKey)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, name := range []string{result.Files.Seg, result.Files.Sr} { // the SR names the SEG, so the SEG comes first
		if name == "" {
			continue
		}
		raw, err := d.blob.GetBytes(ctx, d.bucket(), path.Dir(resultKey)+"/"+path.Base(name), maxFileBytes)
		if err != nil {
			if fault.Is(err, fault.Transient) || fault.Interrupted(err) {
				return nil, fmt.Errorf("reading %s: %w", name, err)
			}
			return nil, fault.Wrap(fault.Invalid, CodeUnusable, err, "%s of the result cannot be read", path.Base(name))
		}
		parts, err := dicom.TakeApart(raw)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, CodeUnusable, err, "%s of the result is no DICOM file", path.Base(name))
		}
		files = append(files, file{path.Base(name), raw, parts})
	}
	return files, nil
}

func (d *destination) result(ctx context.Context, key string) (*record.Result, error) {
	raw, err := d.blob.GetBytes(ctx, d.bucket(), key, documentLimit)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	result, err := record.Decode[record.Result](record.ResultSchema, raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return result, nil
}

// worker hands results to the archive, one at a time.
func (d *destination) worker(conn *stream.Conn) stream.Worker {
	limit := d.cfg.SendTimeout + time.Minute // with reading and noting
	return stream.Worker{
		Conn: conn, Consumer: stream.ExportConsumer(d.Name, nil).Name, Concurrency: 1, Before: d.gate.Wait, Handler: d.handle, OnPoison: d.giveUp,
		MaxAttempts: d.cfg.MaxAttempts, OutagePatience: d.cfg.Patience, RetryBase: d.cfg.RetryBase, RetryCap: d.cfg.RetryCap,
		StallAfter: limit, HandlerTimeLimit: limit, Logger: d.logger, Clock: d.clock,
	}
}
