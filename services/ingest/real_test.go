package ingest_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated/isolatedtest"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
	"github.com/noctua-screening/noctua/services/ingest"
	"github.com/noctua-screening/noctua/test/shared"
)

// site is a real store and a real stream with an intake between them.
type site struct {
	t     *testing.T
	store *blob.Store
	conn  *stream.Conn

	mu     sync.Mutex
	events map[string]int // by type
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, store: blobtest.Start(t), conn: streamtest.Connect(t), events: map[string]int{}}
	s.background(func(ctx context.Context) error {
		return stream.Worker{
			Conn: s.conn, Consumer: stream.ConsumerReport, Concurrency: 1, Logger: slog.New(slog.DiscardHandler),
			Handler: func(_ context.Context, d stream.Delivery) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.events[d.Envelope.Type]++
				return nil
			},
		}.Run(ctx)
	})
	return s
}

// background runs something until the test ends.
func (s *site) background(run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-finished; err != nil {
			s.t.Error(err)
		}
	})
}

func (s *site) ingest(workers int) {
	service, err := ingest.New(ingest.Deps{Blob: s.store, Publisher: s.conn, Files: isolatedtest.New(s.t), Logger: slog.New(slog.DiscardHandler), Clock: time.Now},
		ingest.Config{SiteSecret: []byte("a secret of this site"), Workers: workers, ListEvery: 50 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	s.background(service.Run)
}

func (s *site) put(key string, data []byte) {
	s.t.Helper()
	if err := s.store.PutBytes(s.t.Context(), s.store.Buckets().Inbox, key, data, blob.PutOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// count counts a bucket's objects by suffix.
func (s *site) count(bucket, prefix, suffix string) int {
	s.t.Helper()
	n := 0
	for info, err := range s.store.List(s.t.Context(), bucket, prefix) {
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.HasSuffix(info.Key, suffix) {
			n++
		}
	}
	return n
}

// expect waits for the inbox to be empty and the events to be there, then compares buckets and events.
func (s *site) expect(images, quarantined, duplicates int) {
	s.t.Helper()
	b := s.store.Buckets()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.count(b.Inbox, "", "") > 0 || s.total() < images+quarantined+duplicates {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("after 90 s: %d in the inbox, events %v", s.count(b.Inbox, "", ""), s.events)
		}
	}
	got := [7]int{s.count(b.Archive, "images/", ".dcm"), s.count(b.Archive, "images/", ".json"), s.count(b.Quarantine, "", ".json"),
		s.count(b.Archive, "duplicates/", ".json")}
	s.mu.Lock()
	got[4], got[5], got[6] = s.events[event.TypeImageAccepted], s.events[event.TypeImageRejected], s.events[event.TypeImageDuplicate]
	s.mu.Unlock()
	if want := [7]int{images, images, quarantined, duplicates, images, quarantined, duplicates}; got != want {
		s.t.Errorf("images, documents, reasons, receipts, accepted, rejected, duplicate events: %v, want %v", got, want)
	}
}

func (s *site) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.events {
		n += c
	}
	return n
}

func read(t *testing.T, elem ...string) map[string][]byte {
	t.Helper()
	dir := shared.Dir(t, append([]string{"dicom"}, elem...)...)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestNightOfAClinic: 40 files; the same again; the same in a ZIP with one bad file; the same bytes twice at once.
func TestNightOfAClinic(t *testing.T) {
	t.Parallel()
	clinic := read(t, "clinic")
	s := newSite(t)
	for name, data := range clinic {
		s.put("north/night/"+name, data)
	}
	started := time.Now()
	s.ingest(2)
	s.expect(40, 0, 0)
	t.Logf("40 files in %v", time.Since(started).Round(time.Millisecond))

	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for name, data := range clinic {
		add(t, z, "night/"+name, data)
		s.put("north/again/"+name, data)
	}
	add(t, z, "night/bad.dcm", clinic["chase_01L.dcm"][:5000])
	add(t, z, "__MACOSX/night/._bad.dcm", []byte("litter"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s.put("north/night.zip", archive.Bytes())
	s.expect(40, 1, 80)
}

func add(t *testing.T, z *zip.Writer, name string, data []byte) {
	t.Helper()
	w, err := z.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
}

func TestSameBytesAtOnceForReal(t *testing.T) {
	t.Parallel()
	clinic := read(t, "clinic")
	s := newSite(t)
	for i := range 12 {
		s.put(fmt.Sprintf("north/%d", i), clinic["chase_01L.dcm"])
		s.put(fmt.Sprintf("south/%d", i), clinic["chase_02R.dcm"])
	}
	s.ingest(8)
	s.expect(2, 0, 22)
}

// TestHostileFolder: every hostile file ends in quarantine with a reason that people can read, and is kept as it came.
func TestHostileFolder(t *testing.T) {
	t.Parallel()
	hostile := read(t, "hostile")
	s := newSite(t)
	for name, data := range hostile {
		s.put("north/"+name, data)
	}
	s.ingest(2)
	different := map[string]bool{} // two of the files hold the same bytes
	for _, data := range hostile {
		different[string(data)] = true
	}
	s.expect(0, len(different), len(hostile)-len(different))
	bucket := s.store.Buckets().Quarantine
	for info, err := range s.store.List(t.Context(), bucket, "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(info.Key, ".json") {
			continue
		}
		raw, err := s.store.GetBytes(t.Context(), bucket, info.Key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		q, err := record.Decode[record.Quarantine](record.QuarantineSchema, raw)
		if err != nil {
			t.Fatal(err)
		}
		if q.Code == ingest.CodeProcessing || q.Reason == "" || q.Action == "" {
			t.Errorf("%s: %s, %q, %q", q.InboxKey, q.Code, q.Reason, q.Action)
		}
		body, _, err := s.store.Get(t.Context(), bucket, strings.TrimSuffix(info.Key, ".json"))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(kept, hostile[strings.TrimPrefix(q.InboxKey, "north/")]) {
			t.Errorf("%s was not kept as it came: %v", q.InboxKey, err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
}
