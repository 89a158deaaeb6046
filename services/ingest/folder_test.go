package ingest

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

func newFolder(t *testing.T, w *world) (*Folder, string, *logs) {
	t.Helper()
	dir := t.TempDir()
	l := &logs{}
	f, err := NewFolder(FolderDeps{Blob: w, Logger: slog.New(slog.NewTextHandler(l, nil)), Clock: w.now}, FolderConfig{Dir: dir, PollEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return f, dir, l
}

// put writes a file whose time is far in the past, so that only the watcher's own clock counts.
func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
}

// poll lets some seconds pass and looks into the folder.
func poll(t *testing.T, f *Folder, w *world, seconds int) {
	t.Helper()
	w.advance(time.Duration(seconds) * time.Second)
	if err := f.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// inbox lists the inbox with batches cut out.
func (w *world) inboxWithoutBatches(t *testing.T) (keys []string) {
	t.Helper()
	batch := regexp.MustCompile(`^([^/]+)/\d{8}T\d{6}-[0-9a-f]{8}/`)
	for _, key := range w.keys(w.Buckets().Inbox) {
		if !batch.MatchString(key) {
			t.Errorf("key %s has no batch", key)
		}
		keys = append(keys, batch.ReplaceAllString(key, "$1/…/"))
	}
	slices.Sort(keys)
	return keys
}

func remaining(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path != dir {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFolderTakesSettledFiles(t *testing.T) {
	t.Parallel()
	w := newWorld()
	f, dir, l := newFolder(t, w)
	put(t, dir, "north/Secret 1.dcm", "a")
	put(t, dir, "north/night/deep/2.dcm", "b")
	put(t, dir, "3.dcm", "c")
	for _, name := range []string{"north/.hidden", "north/x.part", "north/y.TMP", "z.crdownload", ".trash/w.dcm"} {
		put(t, dir, name, "unfinished")
	}
	poll(t, f, w, 0)
	poll(t, f, w, 1)
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 {
		t.Fatalf("taken too early: %v", got)
	}
	poll(t, f, w, 1)
	want := []string{"local/…/3.dcm", "north/…/Secret 1.dcm", "north/…/night/deep/2.dcm"}
	if got := w.inboxWithoutBatches(t); !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	// Empty folders go once they have settled; the clinic's stays.
	w.advance(365 * 24 * time.Hour)
	for range 3 {
		poll(t, f, w, 10)
	}
	want = []string{".trash", ".trash/w.dcm", "north", "north/.hidden", "north/x.part", "north/y.TMP", "z.crdownload"}
	if got := remaining(t, dir); !slices.Equal(got, want) {
		t.Errorf("folder %v, want %v", got, want)
	}
	if strings.Contains(l.String(), "Secret") {
		t.Errorf("a file name is in the logs: %s", l)
	}
}

func TestFolderWaitsForGrowingFiles(t *testing.T) {
	t.Parallel()
	w := newWorld()
	f, dir, _ := newFolder(t, w)
	for i := range 10 {
		put(t, dir, "north/1.dcm", strings.Repeat("x", i+1))
		poll(t, f, w, 1)
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 {
		t.Fatalf("a growing file was taken: %v", got)
	}
	poll(t, f, w, 1)
	poll(t, f, w, 1)
	keys := w.keys(w.Buckets().Inbox)
	if len(keys) != 1 {
		t.Fatalf("inbox %v", keys)
	}
	if data, err := w.GetBytes(t.Context(), w.Buckets().Inbox, keys[0], 100); err != nil || !bytes.Equal(data, []byte("xxxxxxxxxx")) {
		t.Errorf("%q, %v", data, err)
	}
}

func TestFolderKeepsWhatTheStoreRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld()
	f, dir, _ := newFolder(t, w)
	put(t, dir, "north/1.dcm", "a")
	put(t, dir, "north/2.dcm", "b")
	poll(t, f, w, 0)
	w.advance(5 * time.Second)
	w.fail["put "+w.Buckets().Inbox] = 1
	if err := f.poll(t.Context()); !fault.Is(err, fault.Transient) {
		t.Errorf("got %v", err)
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 1 {
		t.Errorf("the other file should be taken: %v", got)
	}
	poll(t, f, w, 20)
	if got := w.keys(w.Buckets().Inbox); len(got) != 2 {
		t.Errorf("inbox %v", got)
	}
	if got := remaining(t, dir); !slices.Equal(got, []string{"north"}) {
		t.Errorf("folder %v", got)
	}
}

func TestFolderDoesNotFollowLinks(t *testing.T) {
	t.Parallel()
	w := newWorld()
	f, dir, _ := newFolder(t, w)
	outside := t.TempDir()
	put(t, outside, "secret.txt", "secret")
	if err := os.MkdirAll(filepath.Join(dir, "north"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"north/file": filepath.Join(outside, "secret.txt"), "north/folder": outside, "south": outside} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		poll(t, f, w, 5)
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 {
		t.Errorf("inbox %v", got)
	}
	if got := remaining(t, outside); !slices.Equal(got, []string{"secret.txt"}) {
		t.Errorf("outside %v", got)
	}
}

func TestFolderRuns(t *testing.T) {
	t.Parallel()
	w := newWorld()
	f, dir, _ := newFolder(t, w)
	put(t, dir, "north/1.dcm", "a")
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- f.Run(ctx) }()
	waitFor(t, func() bool { w.advance(time.Second); return len(w.keys(w.Buckets().Inbox)) == 1 })
	cancel()
	if err := <-finished; err != nil {
		t.Error(err)
	}
}

func TestFolderMustExist(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, err := NewFolder(FolderDeps{Blob: w, Logger: slog.New(slog.DiscardHandler), Clock: w.now}, FolderConfig{Dir: filepath.Join(t.TempDir(), "none")})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func TestFolderCountsWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld()
	f, dir, _ := newFolder(t, w)
	put(t, dir, "north/a.dcm", "a")
	put(t, dir, "north/deep/b.dcm", "b")
	put(t, dir, "north/c.part", "unfinished")
	put(t, dir, ".hidden/d.dcm", "d")
	want := func(n int) {
		t.Helper()
		if got, err := f.Waiting(); err != nil || got != n {
			t.Errorf("%d files wait, %v; want %d", got, err, n)
		}
	}
	want(2)
	poll(t, f, w, 0)
	want(2) // seen, not settled
	poll(t, f, w, 3)
	want(0)
}
