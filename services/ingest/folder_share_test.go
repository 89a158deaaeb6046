package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// newShare watches a share of clinic north, dir.
func newShare(t *testing.T, w *world, dir string) (*Folder, *logs) {
	t.Helper()
	l := &logs{}
	f, err := NewFolder(FolderDeps{Blob: w, Logger: slog.New(slog.NewTextHandler(l, nil)), Clock: w.now}, FolderConfig{Dir: dir, Clinic: "north", PollEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return f, l
}

// look lets seconds pass and looks into the folder as Run does.
func look(t *testing.T, f *Folder, w *world, seconds int) error {
	t.Helper()
	w.advance(time.Duration(seconds) * time.Second)
	err := f.poll(t.Context())
	f.say(err)
	return err
}

// asNobody calls do with the rights that everybody has on files, so that modes count also where tests run as root.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Getuid() != 0 {
		do()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // the right is the thread's
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

// openToAll lets everybody into a temporary folder.
func openToAll(t *testing.T, dir string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, mode)); err != nil { //nolint:gosec // it is empty of secrets
		t.Fatal(err)
	}
}

func TestShareBelongsToItsClinic(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	f, _ := newShare(t, w, dir)
	put(t, dir, "1.dcm", "a")
	put(t, dir, "south/2.dcm", "b")
	put(t, dir, "patient 7/right eye/3.dcm", "c")
	for range 3 {
		poll(t, f, w, 3)
	}
	want := []string{"north/…/1.dcm", "north/…/patient 7/right eye/3.dcm", "north/…/south/2.dcm"}
	if got := w.inboxWithoutBatches(t); !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	w.advance(365 * 24 * time.Hour)
	poll(t, f, w, 3)
	// The camera's folders are its own.
	if got, want := remaining(t, dir), []string{"patient 7", "patient 7/right eye", "south"}; !slices.Equal(got, want) {
		t.Errorf("folder %v, want %v", got, want)
	}
}

// TestShareThatCannotBeEmptied: what cannot be removed is taken once, is not waited for, and goes when it can.
func TestShareThatCannotBeEmptied(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	put(t, dir, "1.dcm", "a")
	put(t, dir, "2.dcm", "b")
	if err := errors.Join(os.Chmod(filepath.Join(dir, "1.dcm"), 0o644), os.Chmod(filepath.Join(dir, "2.dcm"), 0o644)); err != nil { //nolint:gosec // it is a test's file
		t.Fatal(err)
	}
	openToAll(t, dir, 0o555) //nolint:gosec // read-only for everybody is the point
	f, l := newShare(t, w, dir)
	asNobody(t, func() {
		for range 500 { // most of an hour
			if err := look(t, f, w, 7); err != nil && !errors.Is(err, fs.ErrPermission) {
				t.Fatal(err)
			}
		}
	})
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/1.dcm", "north/…/2.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	if n := f.Pending(); n != 0 {
		t.Errorf("%d files are waited for", n)
	}
	if n, err := f.Waiting(); n != 0 || err != nil {
		t.Errorf("%d files are waited for, %v", n, err)
	}
	if n := strings.Count(l.String(), "cannot be removed"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, l)
	}
	// What the camera writes anew is new.
	if err := os.WriteFile(filepath.Join(dir, "1.dcm"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	openToAll(t, dir, 0o777)                                             //nolint:gosec // writable for everybody is the point
	if err := os.Chmod(filepath.Join(dir, "1.dcm"), 0o666); err != nil { //nolint:gosec // it is a test's file
		t.Fatal(err)
	}
	asNobody(t, func() {
		for range 100 {
			if err := look(t, f, w, 7); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/1.dcm", "north/…/1.dcm", "north/…/2.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	if got := remaining(t, dir); len(got) != 0 {
		t.Errorf("folder %v", got)
	}
	if !strings.Contains(l.String(), "can be read again") {
		t.Errorf("it is not said that all is well:\n%s", l)
	}
}

// TestUnreadableFilesHoldUpNobody: a file that may not be read stays, is tried ever more rarely, and is taken when it may.
func TestUnreadableFilesHoldUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	put(t, dir, "1.dcm", "a")
	put(t, dir, "2.dcm", "b")
	put(t, dir, "closed/3.dcm", "c")
	closed := filepath.Join(dir, "closed")
	if err := errors.Join(os.Chmod(filepath.Join(dir, "1.dcm"), 0o000), os.Chmod(filepath.Join(dir, "2.dcm"), 0o644), os.Chmod(closed, 0o000)); err != nil { //nolint:gosec // it is a test's file
		t.Fatal(err)
	}
	openToAll(t, dir, 0o777) //nolint:gosec // writable for everybody is the point
	f, l := newShare(t, w, dir)
	tries := 0
	asNobody(t, func() {
		for range 600 {
			if err := look(t, f, w, 6); err == nil {
				t.Fatal("the closed folder is passed over in silence")
			}
			if last := f.seen["1.dcm"]; last.retry > 0 && last.since.Add(f.config.SettleFor).Equal(w.now().Add(last.retry)) {
				tries++
			}
		}
	})
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/2.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	if tries < 6 || tries > 15 { // 10 s, 20 s, … 10 min in an hour
		t.Errorf("%d tries", tries)
	}
	if f.Pending() != 1 || strings.Contains(l.String(), ".dcm") {
		t.Errorf("%d files pending, log:\n%s", f.Pending(), l)
	}
	if err := errors.Join(os.Chmod(filepath.Join(dir, "1.dcm"), 0o644), os.Chmod(closed, 0o777)); err != nil { //nolint:gosec // it is a test's file
		t.Fatal(err)
	}
	for range 150 {
		poll(t, f, w, 6)
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/1.dcm", "north/…/2.dcm", "north/…/closed/3.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
}

// TestShareComesAndGoes: a share may be away at the start and later. What was taken and could not be removed is not taken again.
func TestShareComesAndGoes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	base := t.TempDir()
	dir, away := filepath.Join(base, "share"), filepath.Join(base, "away")
	f, l := newShare(t, w, dir)
	for range 5 {
		if err := look(t, f, w, 3); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("got %v", err)
		}
	}
	if n := strings.Count(l.String(), "could not be taken"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, l)
	}
	put(t, dir, "1.dcm", "a")
	f.seen["1.dcm"] = sighting{size: 1, modified: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), taken: true, retry: time.Hour, since: w.now().Add(time.Hour)}
	if err := look(t, f, w, 3); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := look(t, f, w, 3); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := look(t, f, w, 3); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 {
		t.Errorf("inbox %v", got)
	}
}

// TestClosedFolderIsRemembered: while a folder of the share may not be read, what was taken of it is not forgotten.
func TestClosedFolderIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	put(t, dir, "a/b/1.dcm", "a")
	a := filepath.Join(dir, "a")
	if err := errors.Join(os.Chmod(filepath.Join(a, "b", "1.dcm"), 0o644), os.Chmod(filepath.Join(a, "b"), 0o555)); err != nil { //nolint:gosec // it is a test's file
		t.Fatal(err)
	}
	openToAll(t, dir, 0o555) //nolint:gosec // read-only for everybody is the point
	f, _ := newShare(t, w, dir)
	for _, mode := range []fs.FileMode{0o555, 0o000, 0o555} {
		if err := os.Chmod(a, mode); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			for range 5 {
				if err := look(t, f, w, 7); err != nil && !errors.Is(err, fs.ErrPermission) {
					t.Fatal(err)
				}
			}
		})
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/a/b/1.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
}

// TestOddNames: a file system takes names that no key may have.
func TestOddNames(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	f, l := newShare(t, w, dir)
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 6)
	names := []string{"M\xfcller.dcm", "M\xf6ller.dcm", "a\nb.dcm", "a\x01b.dcm", "\xff/\xfe/1.dcm", "Größe λ.dcm", "two  spaces .dcm", `back\slash.dcm`, deep + "1.dcm", deep + "2.dcm", strings.Repeat("\x7f", 255)}
	for _, name := range names {
		put(t, dir, name, name)
	}
	for range 2 {
		poll(t, f, w, 3)
	}
	if got := remaining(t, dir); slices.ContainsFunc(got, func(name string) bool { return strings.HasSuffix(name, ".dcm") }) {
		t.Errorf("folder %q", got)
	}
	keys := w.keys(w.Buckets().Inbox)
	if len(keys) != len(names) {
		t.Errorf("%d keys of %d files: %q", len(keys), len(names), keys)
	}
	for _, key := range keys {
		if err := blob.CheckKey(key); err != nil || !strings.HasPrefix(key, "north/") {
			t.Errorf("%q: %v", key, err)
		}
	}
	if strings.Contains(l.String(), "ller") {
		t.Errorf("a file name is in the logs: %s", l)
	}

	drop, dropDir, _ := newFolder(t, w)
	put(t, dropDir, "n\xf6rth/1.dcm", "x")
	for range 2 {
		poll(t, drop, w, 3)
	}
	if keys := w.keys(w.Buckets().Inbox); !slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, "n_rth~") }) {
		t.Errorf("inbox %q", keys)
	}
}

// FuzzFolderKey: whatever files are called, each has a key of its own at its clinic.
func FuzzFolderKey(f *testing.F) {
	f.Add("a.dcm", "b.dcm")
	f.Add("\xff", "\xfe")
	f.Add("a/\x00", "a/_")
	f.Add(strings.Repeat("x/", 600)+"a", strings.Repeat("x/", 600)+"b")
	f.Add(strings.Repeat("ä", 200), strings.Repeat("ä", 201))
	folder := &Folder{config: FolderConfig{Clinic: "north"}}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !fs.ValidPath(strings.ToValidUTF8(a, "x")) || !fs.ValidPath(strings.ToValidUTF8(b, "x")) || a == "." || b == "." {
			return
		}
		keyA, keyB := folder.key(a, "batch"), folder.key(b, "batch")
		if err := blob.CheckKey(keyA); err != nil && !strings.Contains("/"+a+"/", "/.sgwtmp/") || !strings.HasPrefix(keyA, "north/batch/") {
			t.Errorf("%q becomes %q: %v", a, keyA, err)
		}
		if a != b && keyA == keyB {
			t.Errorf("%q and %q become %q", a, b, keyA)
		}
	})
}

// TestFileThatVanishes: a camera may rename or remove a file while it is looked at.
func TestFileThatVanishes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	l := &logs{}
	vanishing := &interfering{world: w, during: func(key string) {
		if strings.HasSuffix(key, "1.dcm") {
			_ = os.Remove(filepath.Join(dir, "2.dcm")) // the next one
		}
		if strings.HasSuffix(key, "3.dcm") {
			_ = os.Remove(filepath.Join(dir, "3.dcm")) // itself
		}
	}}
	f, err := NewFolder(FolderDeps{Blob: vanishing, Logger: slog.New(slog.NewTextHandler(l, nil)), Clock: w.now}, FolderConfig{Dir: dir, Clinic: "north"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.dcm", "2.dcm", "3.dcm"} {
		put(t, dir, name, name)
	}
	for range 3 {
		if err := look(t, f, w, 3); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/1.dcm", "north/…/3.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	if l.String() != "" {
		t.Errorf("log:\n%s", l)
	}
}

// TestFileThatIsReplaced while it is taken stays, though size and time are the same.
func TestFileThatIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	replaced := false
	replacing := &interfering{world: w, during: func(string) {
		if !replaced {
			replaced = true
			put(t, dir, "new", "b")
			if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "1.dcm")); err != nil {
				t.Error(err)
			}
		}
	}}
	f, err := NewFolder(FolderDeps{Blob: replacing, Logger: slog.New(slog.DiscardHandler), Clock: w.now}, FolderConfig{Dir: dir, Clinic: "north"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "1.dcm", "a")
	for range 4 {
		if err := look(t, f, w, 3); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, key := range w.keys(w.Buckets().Inbox) {
		data, err := w.GetBytes(t.Context(), w.Buckets().Inbox, key, 10)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(data))
	}
	if slices.Sort(got); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("inbox holds %q", got)
	}
}

// TestLinksInCircles: links are not followed, so that circles of them are none.
func TestLinksInCircles(t *testing.T) {
	t.Parallel()
	w := newWorld()
	dir := t.TempDir()
	f, _ := newShare(t, w, dir)
	put(t, dir, "a/1.dcm", "x")
	for _, link := range []string{"a/up", "a/self"} {
		if err := os.Symlink("..", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		poll(t, f, w, 3)
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/a/1.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
}

// TestTenThousandFiles come in two looks, and a third one finds nothing.
func TestTenThousandFiles(t *testing.T) {
	t.Parallel()
	const files = 10_000
	w := newWorld()
	dir := t.TempDir()
	f, _ := newShare(t, w, dir)
	for n := range files {
		put(t, dir, fmt.Sprintf("%03d/%05d.dcm", n%100, n), "x")
	}
	poll(t, f, w, 0)
	if n := f.Pending(); n != files {
		t.Errorf("%d files are pending", n)
	}
	poll(t, f, w, 3)
	if n := len(w.keys(w.Buckets().Inbox)); n != files || f.Pending() != 0 || len(f.seen) != 0 {
		t.Errorf("%d files in the inbox, %d pending, %d remembered", n, f.Pending(), len(f.seen))
	}
}

func TestShareNeedsAClinic(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, config := range []FolderConfig{{Dir: t.TempDir(), Clinic: "no/rth"}, {Dir: file, Clinic: "north"}} {
		w := newWorld()
		if _, err := NewFolder(FolderDeps{Blob: w, Logger: slog.New(slog.DiscardHandler), Clock: w.now}, config); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", config, err)
		}
	}
}
