package token

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// File is a file of tokens that is read again when it changes, so that a new token works at once and a revoked one no longer. It may be
// used by many goroutines at once.
type File struct {
	path string
	// required: a file that is missing is a fault, and not one without tokens.
	required bool

	mu      sync.Mutex
	known   bool
	size    int64
	changed time.Time
	readAt  time.Time
	entries []Entry
}

// settled is how long after its last change a file is read again whatever its time says: two changes may come within one tick of the
// file system's clock.
const settled = 2 * time.Second

// OpenFile is a file of tokens. Where it need not be there, it has no tokens until it is.
func OpenFile(path string, required bool) *File { return &File{path: path, required: required} }

// Entries are the tokens now. The faults are those of Read.
func (f *File) Entries() ([]Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !f.required:
		f.known = false
		return nil, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fault.Wrap(fault.Transient, "tokens-unreadable", err, "the file of tokens cannot be read")
	case err == nil && f.known && info.Size() == f.size && info.ModTime().Equal(f.changed) && f.readAt.Sub(f.changed) > settled:
		return f.entries, nil
	}
	readAt := time.Now()
	entries, err := Read(f.path)
	if errors.Is(err, fs.ErrNotExist) && !f.required {
		f.known = false
		return nil, nil // it went between the two looks
	}
	if err != nil {
		f.known = false
		return nil, err
	}
	if info != nil {
		f.known, f.size, f.changed, f.readAt, f.entries = true, info.Size(), info.ModTime(), readAt, entries
	}
	return entries, nil
}
