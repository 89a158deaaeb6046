package segment

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// listedStore is a store that can also be listed.
type listedStore interface {
	store
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
}

var _ listedStore = (*blob.Store)(nil)

// ReprocessDeps is what Reprocess needs. All of it is required.
type ReprocessDeps struct {
	Store       listedStore
	Files       *isolated.Reader // of DICOM files; stays the caller's
	Engine      *Engine          // stays the caller's
	Logger      *slog.Logger
	Clock       func() time.Time
	CodeVersion string // of Noctua, for the provenance
}

// ReprocessConfig says which images, and how.
type ReprocessConfig struct {
	// Since and Until are when the images came in: from Since on, before Until. Zero: without bound.
	Since, Until time.Time
	// Analyser says how pictures are judged.
	Analyser AnalyserConfig
	// Progress is told of each image that is dealt with, one at a time; nil: nobody is.
	Progress func(Reprocessed)
}

// Reprocessed counts images.
type Reprocessed struct {
	Images    int // that the span has, and that are analysed at all
	Present   int // of them, those that had an outcome of the model before
	Measured  int // those that have a result now, ungradable ones included
	Failed    int // those that cannot be analysed
	Postponed int // those that could not be dealt with now, e.g. since the store did not answer; the same call again takes them up
}

// Done is how many were dealt with.
func (r Reprocessed) Done() int { return r.Present + r.Measured + r.Failed + r.Postponed }

const (
	// reprocessAttempts at an image that fails for a reason that may pass, with reprocessPause between them.
	reprocessAttempts = 5
	reprocessPause    = 2 * time.Second
)

// quiet publishes nothing: outcomes are found in the bucket by whoever wants them.
type quiet struct{}

// Publish does nothing.
func (quiet) Publish(context.Context, event.Envelope) error { return nil }

// Reprocess brings images that are archived to results of a model, beside those of other models. What has an outcome of this model already
// is left alone, so that the same call again goes on where an earlier one was stopped, and may run beside a service.
//
// Faults: those of the store while the archive is listed; an image's own are counted and logged.
func Reprocess(ctx context.Context, deps ReprocessDeps, cfg ReprocessConfig) (Reprocessed, error) {
	analyser, err := NewConfiguredAnalyser(deps.Engine, deps.Clock, deps.CodeVersion, cfg.Analyser)
	if err != nil {
		return Reprocessed{}, err
	}
	w := &worker{analyser: analyser, store: deps.Store, files: deps.Files, publisher: quiet{}, logger: deps.Logger, clock: deps.Clock}
	events, err := archived(ctx, deps.Store, cfg)
	if err != nil {
		return Reprocessed{}, err
	}
	counts := Reprocessed{Images: len(events)}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(picturesAtOnce(deps.Engine))
	for _, e := range events {
		group.Go(func() error {
			into, err := w.reprocess(ctx, e)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			*into(&counts)++
			if cfg.Progress != nil {
				cfg.Progress(counts)
			}
			return nil
		})
	}
	return counts, group.Wait()
}

// archived lists the images of a span as the events that once told of them.
func archived(ctx context.Context, from listedStore, cfg ReprocessConfig) (events []event.Envelope, err error) {
	bucket := from.Buckets().Archive
	for info, err := range from.List(ctx, bucket, "images/") {
		if err != nil {
			return nil, fmt.Errorf("listing the archive: %w", err)
		}
		if !strings.HasSuffix(info.Key, ".json") {
			continue
		}
		raw, err := from.GetBytes(ctx, bucket, info.Key, maxDocumentBytes)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", info.Key, err)
		}
		i, err := record.Decode[record.Instance](record.InstanceSchema, raw)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", info.Key, err)
		}
		if !i.Analyse || i.ReceivedAt.Before(cfg.Since) || !cfg.Until.IsZero() && !i.ReceivedAt.Before(cfg.Until) {
			continue
		}
		e, err := event.New(event.TypeImageAccepted, event.ID(event.TypeImageAccepted, i.SOPUID, i.Sha256), i.Clinic, i.ReceivedAt,
			event.ImageAccepted{Analyse: true, ArchiveKey: i.ArchiveKey, Sha256: i.Sha256, SizeBytes: i.SizeBytes, SOPUID: i.SOPUID, StudyUID: i.StudyUID})
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// reprocess deals with one image, and tells which number it counts into. An error is that of an interruption alone.
func (w *worker) reprocess(ctx context.Context, e event.Envelope) (func(*Reprocessed) *int, error) {
	postponed := func(r *Reprocessed) *int { return &r.Postponed }
	img, err := w.target(e)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		present, err := w.announceExisting(ctx, img)
		if present && err == nil {
			return func(r *Reprocessed) *int { return &r.Present }, nil
		}
		if err == nil {
			err = w.process(ctx, img, func() {})
		}
		switch {
		case err == nil:
			return func(r *Reprocessed) *int { return &r.Measured }, nil
		case fault.Interrupted(err) || ctx.Err() != nil:
			return nil, errors.Join(ctx.Err(), err)
		case fault.Is(err, fault.Invalid) || fault.Is(err, fault.Unsupported):
			if err := w.fail(ctx, e, attempt, err); err != nil {
				w.logger.ErrorContext(ctx, "a failure could not be recorded", "sop_uid", img.SOPUID, "error", err)
				return postponed, nil
			}
			return func(r *Reprocessed) *int { return &r.Failed }, nil
		case attempt == reprocessAttempts:
			w.logger.ErrorContext(ctx, "an image is left for another time", "sop_uid", img.SOPUID, "attempts", attempt, "error", err)
			return postponed, nil
		}
		timer := time.NewTimer(reprocessPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}
