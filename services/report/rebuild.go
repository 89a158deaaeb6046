package report

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/noctua-screening/noctua/services/report/store"
)

// RebuildDeps are what Rebuild needs.
type RebuildDeps struct {
	Blob   storage
	Store  *store.SQL
	Logger *slog.Logger
	Clock  func() time.Time
}

// Rebuilding is how far a rebuild is, in documents.
type Rebuilding struct {
	Looked, Total int
	Bad           int // of Looked: they cannot be indexed, and the log says why
}

// Rebuild empties the index and makes it again from the buckets. No service may use it meanwhile. If it breaks off, the index is not complete: a
// service that starts goes on with it before it issues anything, and another Rebuild begins anew.
func Rebuild(ctx context.Context, deps RebuildDeps, progress func(Rebuilding)) (Rebuilding, error) {
	s := &Service{deps: Deps{Blob: deps.Blob, Store: deps.Store, Logger: deps.Logger, Clock: deps.Clock}, wake: make(chan struct{}, 1)}
	var at Rebuilding
	for _, l := range s.listings() {
		for info, err := range deps.Blob.List(ctx, l.bucket, l.prefix) {
			if err != nil {
				return at, fmt.Errorf("counting documents of kind %s: %w", l.kind, err)
			}
			if l.match(info.Key) {
				at.Total++
			}
		}
	}
	if err := deps.Store.Clear(ctx); err != nil {
		return at, fmt.Errorf("emptying the index: %w", err)
	}
	progress(at)
	for _, l := range s.listings() {
		if err := s.reconcile(ctx, l, true, func(looked, bad int) {
			at.Looked, at.Bad = at.Looked+looked, at.Bad+bad
			at.Total = max(at.Total, at.Looked) // some may have come since they were counted
			progress(at)
		}); err != nil {
			return at, fmt.Errorf("indexing documents of kind %s: %w", l.kind, err)
		}
	}
	return at, deps.Store.SetComplete(ctx)
}
