package app

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/lifecycle"
	"github.com/noctua-screening/noctua/services/ingest"
)

// watchFlags configure the door by which cameras export to a share: plain folders that are watched.
type watchFlags struct {
	Watch       []string      `help:"Folder that a clinic's cameras export to; its files are moved into the inbox. Repeat it for each folder." env:"NOCTUA_WATCH" placeholder:"CLINIC=DIR" sep:";"`
	WatchSettle time.Duration `help:"How long a file of such a folder must stay as it is before it is taken." default:"10s" env:"NOCTUA_WATCH_SETTLE"`
}

// looksPerSettle is how often a folder is looked at while a file settles: each look lists a share that may be slow.
const looksPerSettle = 5

// folders checks the flags. dataDir is the data folder, which no watched folder may touch; "" if there is none.
func (f watchFlags) folders(dataDir string) ([]ingest.FolderConfig, error) {
	if f.WatchSettle <= 0 {
		return nil, usageError{fmt.Errorf("--watch-settle should be above zero, not %s", f.WatchSettle)}
	}
	var folders []ingest.FolderConfig
	for _, entry := range f.Watch {
		clinic, dir, found := strings.Cut(entry, "=")
		switch {
		case !found || dir == "":
			return nil, usageError{fmt.Errorf("--watch should name a clinic and its folder, e.g. --watch north=/srv/camera, not %q", entry)}
		case !event.ValidClinic(clinic):
			return nil, usageError{fmt.Errorf("the clinic %q of --watch should be 1 to 64 letters, digits, - and _, starting with a letter or digit", clinic)}
		}
		// Absolute, since the S3 server changes the working directory of the process.
		dir, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("finding the folder of --watch: %w", err)
		}
		if dataDir != "" {
			if overlap, err := overlapping(dir, dataDir); err != nil || overlap {
				return nil, errors.Join(err, usageError{fmt.Errorf("--watch %s: the folder and the data folder %s must lie beside each other, since files of watched folders are removed", entry, dataDir)})
			}
		}
		for _, other := range folders {
			if overlap, err := overlapping(dir, other.Dir); err != nil || overlap {
				return nil, errors.Join(err, usageError{fmt.Errorf("--watch %s: the folder lies in another watched one, %s; watch each folder once", entry, other.Dir)})
			}
		}
		folders = append(folders, ingest.FolderConfig{Dir: dir, Clinic: clinic, SettleFor: f.WatchSettle, PollEvery: f.WatchSettle / looksPerSettle})
	}
	return folders, nil
}

// overlapping tells whether two folders are the same, or one lies in the other, links followed. What is not there yet is judged by its
// name alone.
func overlapping(a, b string) (bool, error) {
	for _, path := range []*string{&a, &b} {
		resolved, err := filepath.EvalSymlinks(*path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return false, fmt.Errorf("finding the folder %s: %w", *path, err)
		default:
			*path = resolved
		}
	}
	within := func(inner, outer string) bool {
		relative, err := filepath.Rel(outer, inner)
		return err == nil && (relative == "." || filepath.IsLocal(relative))
	}
	return within(a, b) || within(b, a), nil
}

// newWatchers builds the watchers of the folders.
func newWatchers(b *backbone, folders []ingest.FolderConfig) (watchers []*ingest.Folder, components []lifecycle.Component, err error) {
	for n, config := range folders {
		logger := b.logger.With("service", "folder", "clinic", config.Clinic, "folder", n+1)
		watcher, err := ingest.NewFolder(ingest.FolderDeps{Blob: b.blobs, Logger: logger, Clock: time.Now}, config)
		if err != nil {
			return nil, nil, err
		}
		watchers = append(watchers, watcher)
		components = append(components, lifecycle.Component{Name: fmt.Sprintf("watched folder %d", n+1), Run: watcher.Run})
	}
	return watchers, components, nil
}

// announcement tells people which folders are watched; "" where there are none.
func (f watchFlags) announcement() string {
	var b strings.Builder
	for _, entry := range f.Watch {
		clinic, dir, _ := strings.Cut(entry, "=")
		fmt.Fprintf(&b, "  Watched       %s   for clinic %s; files are moved into the inbox\n", dir, clinic)
	}
	return b.String()
}
