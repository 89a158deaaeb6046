package ingest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
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
	"sync/atomic"
	"time"
	"unicode"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// localClinic is the clinic of files that lie at the top of the folder.
const localClinic = "local"

const (
	// folderRetry is how long a file that could not be taken, or not be removed, is left alone at first; each time twice as long, up to
	// lastFolderRetry.
	folderRetry     = 10 * time.Second
	lastFolderRetry = 10 * time.Minute
	// maxFolderSegment bounds what is kept of a file's or folder's name that cannot be part of a key.
	maxFolderSegment = 200
)

// FolderDeps are what the folder watcher works with; all are required.
type FolderDeps struct {
	Blob   store
	Logger *slog.Logger
	Clock  func() time.Time
}

// FolderConfig of the watcher. Zero values but Dir mean the default.
type FolderConfig struct {
	// Dir is the folder: <Dir>/<clinic>/…; files at the top go to clinic "local". It must exist.
	Dir string
	// Clinic, if not "", is the clinic of all files of the folder, which then is a share that others own: it may be away at first and
	// in between, and folders in it are never removed.
	Clinic string
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
	seen   map[string]sighting // files that are in the folder and are not done with
	said   string              // what was last said about the folder
	// pending counts the files of seen that are not in the inbox, kept those that are.
	pending, kept atomic.Int64
}

// sighting is how a file looked, and since when.
type sighting struct {
	size     int64
	modified time.Time
	since    time.Time
	taken    bool          // it is in the inbox, but could not be removed
	retry    time.Duration // how long it was left alone last
}

// later leaves a file alone that could not be taken or removed.
func (s sighting) later(now time.Time, settle time.Duration) sighting {
	s.retry = min(max(2*s.retry, folderRetry), lastFolderRetry)
	s.since = now.Add(s.retry - settle)
	return s
}

// NewFolder makes the watcher.
func NewFolder(deps FolderDeps, config FolderConfig) (*Folder, error) {
	if deps.Blob == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "config-invalid", "the folder watcher needs a store, a logger and a clock")
	}
	if config.Clinic != "" && !event.ValidClinic(config.Clinic) {
		return nil, fault.New(fault.Invalid, "config-invalid", "the clinic %q of a watched folder should be 1 to 64 letters, digits, - and _", config.Clinic)
	}
	info, err := os.Stat(config.Dir)
	away := err != nil && config.Clinic != ""
	if !away && (err != nil || !info.IsDir()) {
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
		if err := f.poll(ctx); !fault.Interrupted(err) {
			f.say(err)
		}
		sleep(ctx, f.config.PollEvery, nil)
	}
	return nil
}

// say logs what is wrong with the folder, once for as long as it stays the same.
func (f *Folder) say(err error) {
	taken, waiting := 0, false
	for _, s := range f.seen {
		if s.taken {
			taken++
		}
		waiting = waiting || s.retry > 0
	}
	text := ""
	switch {
	case err != nil:
		text = withoutPath(err) // no paths: file names may hold names of patients
	case waiting:
		return // nothing was tried that had failed before
	}
	if text == f.said {
		return
	}
	f.said = text
	switch {
	case text == "":
		f.deps.Logger.Info("the watched folder can be read again, and its files can be taken")
	case taken > 0:
		f.deps.Logger.Warn("files of the watched folder are in the inbox, but cannot be removed from the folder; they are not taken again. Give Noctua the right to remove them, or remove them",
			"files", taken, "error", text)
	default:
		f.deps.Logger.Warn("files of the watched folder could not be taken; trying again", "code", fault.CodeOf(err), "error", text)
	}
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
	unread := map[string]struct{}{}
	var folders []string
	var failures []error
	err = walk(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failures = append(failures, err) // a folder that vanished or may not be read; the others go on
			unread[name] = struct{}{}
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
		info, err := root.Lstat(name)
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
		switch last, err := f.take(ctx, root, name, batch, last); {
		case fault.Interrupted(err):
			return err
		case errors.Is(err, fs.ErrNotExist): // it vanished: somebody else took it, or it was being renamed
		case err != nil:
			present[name] = last.later(f.deps.Clock(), f.config.SettleFor)
			failures = append(failures, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.remember(present, unread)
	if f.config.Clinic == "" {
		f.tidy(root, folders, now)
	}
	return errors.Join(failures...)
}

// walk is fs.WalkDir within a root, but for the root itself. Names may hold any bytes, whereas an fs.FS takes valid UTF-8 alone.
func walk(root *os.Root, dir string, visit fs.WalkDirFunc) error {
	var entries []fs.DirEntry
	folder, err := root.Open(dir)
	if err == nil {
		entries, err = folder.ReadDir(-1)
		_ = folder.Close() // only read from
	}
	if err != nil {
		if err := visit(dir, nil, err); err != nil {
			return err
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		name := entry.Name()
		if dir != "." {
			name = dir + "/" + name
		}
		err := visit(name, entry, nil)
		if err == nil && entry.IsDir() {
			err = walk(root, name, visit)
		}
		if err != nil && !errors.Is(err, fs.SkipDir) {
			return err
		}
	}
	return nil
}

// remember keeps what is known of the files that are present, and of those in folders that could not be read: when they can be again,
// what was taken is not taken again.
func (f *Folder) remember(present map[string]sighting, unread map[string]struct{}) {
	for name, last := range f.seen {
		for dir := path.Dir(name); len(unread) > 0; dir = path.Dir(dir) {
			if _, ok := unread[dir]; ok {
				if _, ok := present[name]; !ok {
					present[name] = last
				}
			}
			if dir == "." {
				break
			}
		}
	}
	f.seen = present
	kept := int64(0)
	for _, s := range present {
		if s.taken {
			kept++
		}
	}
	f.kept.Store(kept)
	f.pending.Store(int64(len(present)) - kept)
}

// Pending counts the files that the last look at the folder found and that are not in the inbox. It does not look itself, since a
// share may be away. It may be called while Run works.
func (f *Folder) Pending() int { return int(f.pending.Load()) }

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
	return max(0, waiting-int(f.kept.Load())), nil
}

// unfinished tells whether a name says that its file is still being written.
func unfinished(name string) bool {
	return slices.Contains([]string{".part", ".tmp", ".crdownload"}, strings.ToLower(path.Ext(name)))
}

// take uploads a file, unless that was done before, and removes it. It returns what is known of the file then.
func (f *Folder) take(ctx context.Context, root *os.Root, name, batch string, last sighting) (sighting, error) {
	if !last.taken {
		uploaded, err := f.upload(ctx, root, name, batch, last)
		if err != nil {
			return last, err
		}
		now, err := root.Lstat(name)
		if err != nil {
			return last, fmt.Errorf("looking at a file that was taken: %w", err)
		}
		if now.Size() != last.size || !now.ModTime().Equal(last.modified) || !os.SameFile(now, uploaded) {
			// It was written to after all: it stays and is taken again when it has settled. What was uploaded gets its own outcome.
			f.deps.Logger.Warn("a file of the watched folder changed while it was taken; it is taken again")
			return last, nil
		}
		last.taken, last.retry = true, 0
	}
	if err := root.Remove(name); err != nil {
		return last, fmt.Errorf("removing a file that was taken: %w", err)
	}
	return last, nil
}

// upload puts a file into the inbox and tells which one it was.
func (f *Folder) upload(ctx context.Context, root *os.Root, name, batch string, expected sighting) (fs.FileInfo, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening a file: %w", err)
	}
	defer func() { _ = file.Close() }() // only read from
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening a file: %w", err)
	}
	if err := f.deps.Blob.Put(ctx, f.deps.Blob.Buckets().Inbox, f.key(name, batch), file, expected.size, blob.PutOptions{IfNoneMatch: true}); err != nil {
		return nil, fmt.Errorf("uploading a file: %w", err)
	}
	return info, nil
}

// key is where a file goes in the inbox.
func (f *Folder) key(name, batch string) string {
	clinic, rest, found := strings.Cut(name, "/")
	switch {
	case f.config.Clinic != "":
		clinic, rest = f.config.Clinic, name
	case !found:
		clinic, rest = localClinic, name
	}
	key := clinic + "/" + batch + "/" + rest
	if blob.CheckKey(key) == nil {
		return key
	}
	// A file system takes names that no key may have: they are written down as far as they can be, with a hash that keeps them apart.
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		segments[i] = plain(segment)
	}
	if key = plain(clinic) + "/" + batch + "/" + strings.Join(segments, "/"); blob.CheckKey(key) == nil {
		return key
	}
	return plain(clinic) + "/" + batch + "/" + hashed("", rest) // the path is too long
}

// plain is a name that can be part of a key: itself, if it can.
func plain(name string) string {
	if blob.CheckKey(name) == nil {
		return name
	}
	readable := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	return hashed(strings.ToValidUTF8(readable[:min(len(readable), maxFolderSegment)], ""), name)
}

// hashed puts a hash of a name behind what can be read of it.
func hashed(readable, name string) string {
	digest := sha256.Sum256([]byte(name))
	return readable + "~" + hex.EncodeToString(digest[:8])
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
