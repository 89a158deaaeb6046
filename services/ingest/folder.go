package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// localClinic is the clinic of files that lie at the top of the folder.
const localClinic = "local"

// folderRetry is how long a file that could not be taken is left alone.
const folderRetry = 10 * time.Second

// FolderDeps are what the folder watcher works with; all are required.
type FolderDeps struct {
	Blob   store
	Logger *slog.Logger
	Clock  func() time.Time
}

// FolderConfig of the watcher. Zero values but Dir mean the default.
type FolderConfig struct {
	// Dir is the folder: <Dir>/<clinic>/…; files at the top go to clinic "local".
	Dir string
	// PollEvery is how often it is looked at; default 1 s.
	PollEvery time.Duration
	// SettleFor is how long size and time of a file must stay the same before it is taken; default 2 s. Exporters that pause
	// for longer should write under a name that starts with a dot or ends in .part or .tmp and rename.
	SettleFor time.Duration
}

// Folder brings files from a plain folder into the inbox, for cameras that can only export to a share.
type Folder struct {
	deps   FolderDeps
	config FolderConfig
	seen   map[string]sighting // files that are not settled yet
}

// sighting is how a file looked, and since when.
type sighting struct {
	size     int64
	modified time.Time
	since    time.Time
}

// NewFolder makes the watcher.
func NewFolder(deps FolderDeps, config FolderConfig) (*Folder, error) {
	if deps.Blob == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "config-invalid", "the folder watcher needs a store, a logger and a clock")
	}
	if info, err := os.Stat(config.Dir); err != nil || !info.IsDir() {
		return nil, fault.New(fault.Invalid, "config-invalid", "%q is not a folder that can be watched; create it or name another", config.Dir)
	}
	setDefault(&config.PollEvery, time.Second)
	setDefault(&config.SettleFor, 2*time.Second)
	return &Folder{deps: deps, config: config, seen: map[string]sighting{}}, nil
}

// Run watches until ctx is cancelled and returns nil then. A file is removed only after the inbox has it durably; a file that
// cannot be taken stays and is tried again.
func (f *Folder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := f.poll(ctx); err != nil && !fault.Interrupted(err) {
			// No paths: file names may hold names of patients.
			f.deps.Logger.Warn("files of the watched folder could not be taken; trying again", "code", fault.CodeOf(err), "error", withoutPath(err))
		}
		sleep(ctx, f.config.PollEvery, nil)
	}
	return nil
}

// poll takes the files that have settled. os.Root keeps symbolic links from leading out of the folder.
func (f *Folder) poll(ctx context.Context) error {
	root, err := os.OpenRoot(f.config.Dir)
	if err != nil {
		return fmt.Errorf("opening the watched folder: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	batch, err := newBatch(f.deps.Clock())
	if err != nil {
		return err
	}
	now := f.deps.Clock()
	present := map[string]sighting{}
	var folders []string
	var failures []error
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failures = append(failures, err) // a folder that vanished or may not be read; the others go on
			return nil
		case name == ".":
			return nil
		case strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			if strings.Contains(name, "/") {
				folders = append(folders, name)
			}
			return nil
		case !entry.Type().IsRegular() || unfinished(entry.Name()):
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // removed since the folder was read: nothing to take
		}
		last, known := f.seen[name]
		if !known || last.size != info.Size() || !last.modified.Equal(info.ModTime()) {
			last = sighting{size: info.Size(), modified: info.ModTime(), since: now}
		}
		if now.Sub(last.since) < f.config.SettleFor {
			present[name] = last
			return nil
		}
		if err := f.take(ctx, root, name, batch, last); err != nil {
			last.since = now.Add(folderRetry)
			present[name] = last
			failures = append(failures, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.seen = present
	f.tidy(root, folders, now)
	return errors.Join(failures...)
}

// Waiting counts the files that lie in the folder and are not in the inbox yet. It may be called while Run works; a file that
// is being taken is still counted.
func (f *Folder) Waiting() (int, error) {
	waiting := 0
	err := filepath.WalkDir(f.config.Dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // taken or tidied away meanwhile
			return nil
		case err != nil:
			return err
		case strings.HasPrefix(entry.Name(), ".") && name != f.config.Dir:
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.Type().IsRegular() && !unfinished(entry.Name()):
			waiting++
		}
		return nil
	})
	if err != nil {
		return 0, fault.New(fault.Transient, "folder-unreadable", "the watched folder cannot be counted: %s", withoutPath(err))
	}
	return waiting, nil
}

// unfinished tells whether a name says that its file is still being written.
func unfinished(name string) bool {
	return slices.Contains([]string{".part", ".tmp", ".crdownload"}, strings.ToLower(path.Ext(name)))
}

// take uploads a file and removes it.
func (f *Folder) take(ctx context.Context, root *os.Root, name, batch string, expected sighting) error {
	file, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("opening a file: %w", err)
	}
	defer func() { _ = file.Close() }() // only read from
	clinic, rest, found := strings.Cut(name, "/")
	if !found {
		clinic, rest = localClinic, name
	}
	key := clinic + "/" + batch + "/" + rest
	if err := f.deps.Blob.Put(ctx, f.deps.Blob.Buckets().Inbox, key, file, expected.size, blob.PutOptions{IfNoneMatch: true}); err != nil {
		return fmt.Errorf("uploading a file: %w", err)
	}
	now, err := root.Lstat(name)
	if err != nil || now.Size() != expected.size || !now.ModTime().Equal(expected.modified) {
		// It was written to after all: it stays and is taken again when it has settled. What was uploaded gets its own outcome.
		f.deps.Logger.Warn("a file of the watched folder changed while it was taken; it is taken again")
		return nil
	}
	if err := root.Remove(name); err != nil {
		return fmt.Errorf("removing a file that was taken: %w", err)
	}
	return nil
}

// tidy removes empty folders below the clinics' folders, deepest first, once they have settled.
func (f *Folder) tidy(root *os.Root, folders []string, now time.Time) {
	for _, name := range slices.Backward(folders) {
		info, err := root.Lstat(name)
		if err != nil || now.Sub(info.ModTime()) < f.config.SettleFor {
			continue
		}
		_ = root.Remove(name) // fails if it is not empty, which is right
	}
}

// newBatch names what is taken in one round: time for people, chance against collisions.
func newBatch(now time.Time) (string, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	return now.UTC().Format("20060102T150405") + "-" + hex.EncodeToString(b[:]), nil
}

// withoutPath cuts the paths off errors of the file system.
func withoutPath(err error) string {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) && len(joined.Unwrap()) > 0 {
		return fmt.Sprintf("%d failures, the first: %s", len(joined.Unwrap()), withoutPath(joined.Unwrap()[0]))
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Op + ": " + at.Err.Error()
	}
	return err.Error()
}
