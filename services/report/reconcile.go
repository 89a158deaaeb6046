package report

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	// reconcileBatch keys are compared with the index at a time, which bounds memory whatever the size of the buckets.
	reconcileBatch = 500
	// reconcileReaders documents are read at a time: enough to hide the latency of a store, few enough not to crowd it.
	reconcileReaders = 8
	// reconcileRetry is the pause after a reconciliation that broke off.
	reconcileRetry = 5 * time.Second
)

func isFailure(key string) bool { return path.Base(key) == failureName }

// listing is one place where documents of a kind lie.
type listing struct {
	kind           store.Kind
	bucket, prefix string
	match          func(key string) bool
}

func (s *Service) listings() []listing {
	b := s.deps.Blob.Buckets()
	isDocument := func(key string) bool { return strings.HasSuffix(key, documentSuffix) }
	return []listing{
		{store.KindInstance, b.Archive, "images/", isDocument},
		{store.KindOutcome, b.Results, "images/", func(key string) bool { return path.Base(key) == resultName || isFailure(key) }},
		{store.KindRejected, b.Quarantine, "", func(key string) bool { return quarantineKind(key) == blob.QuarantineReason }},
		{store.KindRuling, b.Quarantine, "", func(key string) bool {
			return quarantineKind(key) == blob.QuarantineDecision || quarantineKind(key) == blob.QuarantineRelease
		}},
		{store.KindExpected, b.Archive, "expected/", isDocument},
		{store.KindDuplicate, b.Archive, "duplicates/", isDocument},
		{store.KindLink, b.Reports, "patients/", func(key string) bool { _, ok := blob.ParsePatientLink(key); return ok }},
		{store.KindReport, b.Reports, "patients/", func(key string) bool { return path.Base(key) == "report.json" }},
	}
}

// quarantineKind is the kind of a document in the quarantine bucket, or "".
func quarantineKind(key string) blob.QuarantineKind {
	d, _ := blob.ParseQuarantineDocument(key)
	return d.Kind
}

// reconcileLoop reconciles at start and then again and again. An index that was whole before is trusted at once: what it missed
// since waits in the stream.
func (s *Service) reconcileLoop(ctx context.Context) error {
	for {
		complete, err := s.deps.Store.Complete(ctx)
		if err == nil && complete {
			s.markReady()
		}
		if err == nil {
			err = s.Reconcile(ctx)
		}
		wait := s.cfg.ReconcileEvery
		switch {
		case fault.Interrupted(err):
			return err
		case err != nil:
			s.deps.Logger.Warn("reconciliation broke off and will be tried again", slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
			wait = reconcileRetry
		default:
			s.markReady()
			s.poke()
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// Reconcile brings into the index what the buckets hold and the index lacks. Only unknown documents are read.
func (s *Service) Reconcile(ctx context.Context) error {
	complete, err := s.deps.Store.Complete(ctx)
	if err != nil {
		return err
	}
	for _, l := range s.listings() {
		if err := s.reconcile(ctx, l, !complete, func(int, int) {}); err != nil {
			return fmt.Errorf("reconciling documents of kind %s: %w", l.kind, err)
		}
	}
	if complete {
		return nil
	}
	return s.deps.Store.SetComplete(ctx)
}

// reconcile brings in what a listing holds. told is told of each batch: how many documents it has, and how many of them cannot be indexed.
func (s *Service) reconcile(ctx context.Context, l listing, rebuilding bool, told func(looked, bad int)) error {
	var added atomic.Int64
	batch := make([]string, 0, reconcileBatch)
	flush := func() error {
		unknown, err := s.deps.Store.Unknown(ctx, l.kind, batch)
		if err != nil {
			return err
		}
		looked := len(batch)
		var bad atomic.Int64
		batch = batch[:0]
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(reconcileReaders)
		for _, key := range unknown {
			group.Go(func() error {
				err := s.index(ctx, l.kind, key, rebuilding)
				switch {
				case err == nil:
					added.Add(1)
				case fault.Interrupted(err), fault.Is(err, fault.Transient):
					return err
				default:
					bad.Add(1)
					// One bad document must not keep all others out. It stays unknown and is told again each time.
					s.deps.Logger.Error("a document in the buckets cannot be indexed; look at it and remove it if it is no document of Noctua",
						slog.String("kind", string(l.kind)), slog.String("key", key), slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
				}
				return nil
			})
		}
		err = group.Wait()
		told(looked, int(bad.Load()))
		return err
	}
	for info, err := range s.deps.Blob.List(ctx, l.bucket, l.prefix) {
		if err != nil {
			return err
		}
		if !l.match(info.Key) {
			continue
		}
		if batch = append(batch, info.Key); len(batch) == reconcileBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if n := added.Load(); n > 0 {
		s.deps.Logger.Info("reconciliation found documents that the index lacked", slog.String("kind", string(l.kind)), slog.Int64("documents", n))
		s.poke()
	}
	return nil
}
