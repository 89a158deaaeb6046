package report

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
	"github.com/noctua-screening/noctua/services/report/store"
)

// TestOnRealServers runs the service against NATS and S3, stops it in the middle, wipes its index, and starts it again.
func TestOnRealServers(t *testing.T) {
	storage, conn := blobtest.Start(t), streamtest.Connect(t)
	// The documents are written by the kit into memory and copied to the real buckets.
	k := newKit(t)
	copyAll := func() {
		t.Helper()
		for _, bucket := range []string{k.blob.Buckets().Archive, k.blob.Buckets().Results, k.blob.Buckets().Quarantine} {
			target := map[string]string{k.blob.Buckets().Archive: storage.Buckets().Archive, k.blob.Buckets().Results: storage.Buckets().Results, k.blob.Buckets().Quarantine: storage.Buckets().Quarantine}[bucket]
			for _, key := range k.blob.keys(bucket) {
				raw, err := k.blob.GetBytes(t.Context(), bucket, key, 0)
				k.must(err)
				k.must(storage.PutBytes(t.Context(), target, key, raw, blob.PutOptions{}))
			}
		}
	}
	tell := func(events ...event.Envelope) {
		t.Helper()
		copyAll()
		for _, e := range events {
			k.must(conn.Publish(t.Context(), e))
		}
	}
	start := func(path string) (*Service, func()) {
		t.Helper()
		cfg := Config{Listen: "127.0.0.1:0", QuietPeriod: 700 * time.Millisecond, Debounce: 200 * time.Millisecond, Version: "test"}
		db, err := sql.Open("sqlite", store.SQLiteDSN(path))
		k.must(err)
		index, err := store.Open(t.Context(), db, store.SQLite(), store.Config{Timing: cfg.StoreTiming()})
		k.must(err)
		s, err := New(Deps{Blob: storage, Queue: Stream{Conn: conn, Logger: slog.New(slog.DiscardHandler)}, Store: index, Authority: k.authority, Photo: photo,
			Logger: slog.New(slog.DiscardHandler), Clock: time.Now}, cfg)
		k.must(err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		return s, func() {
			t.Helper()
			cancel()
			select {
			case err := <-done:
				k.must(err)
			case <-time.After(30 * time.Second):
				t.Fatal("the service did not stop")
			}
			k.must(db.Close())
		}
	}
	wait := func(s *Service, want record.Status, status record.ReportStatus) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		var got record.Status
		var doc *record.Report
		for time.Now().Before(deadline) {
			var err error
			if got, err = s.Status(t.Context(), time.Time{}); err == nil {
				doc, err = s.newest(t.Context(), picture{1, 1}.report())
			}
			if err == nil && doc != nil && got.Pending == want.Pending && got.Done == want.Done && got.Failed == want.Failed && got.Quarantined == want.Quarantined &&
				got.Received == want.Received && doc.Status == status {
				return
			}
			if err := pause(t.Context(), 50*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatalf("status %+v and report %+v, want %+v and %s", got, doc, want, status)
	}
	path := filepath.Join(t.TempDir(), "index.db")
	s, stop := start(path)
	tell(k.accept(picture{1, 1}), k.accept(picture{1, 2}), k.segment(picture{1, 1}))
	// The segment consumer of this stream acknowledges nothing: its lag counts, as it does when no worker runs.
	wait(s, record.Status{Received: 3, Pending: 2, Done: 1}, record.Preliminary)
	stop()
	// The rejection first: on a slow machine the quiet period could end between the two, and the report be final before it.
	tell(k.reject(picture{1, 3}, "laterality-missing"), k.segment(picture{1, 2}))
	drain(t, conn)
	s, stop = start(path)
	wait(s, record.Status{Received: 3, Done: 2, Quarantined: 1}, record.Final)
	stop()
	// A wiped index, and an event that never came.
	k.segment(picture{2, 1})
	k.accept(picture{2, 1})
	copyAll()
	s, stop = start(filepath.Join(t.TempDir(), "new.db"))
	wait(s, record.Status{Received: 4, Done: 3, Quarantined: 1}, record.Final)
	w := k.get("/healthz")
	if w.Code != http.StatusOK {
		t.Errorf("alive: %d", w.Code)
	}
	stop()
}

// drain acknowledges what the segment consumer was sent, as workers would.
func drain(t *testing.T, conn *stream.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	worker := stream.Worker{Conn: conn, Consumer: SegmentConsumer, Handler: func(context.Context, stream.Delivery) error { return nil }}
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	for {
		lag, err := conn.Lag(t.Context(), SegmentConsumer)
		if err != nil {
			t.Fatal(err)
		}
		if lag.Idle() {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-done
}
