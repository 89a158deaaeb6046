// Package reread keeps what a small file holds, and reads it again when somebody has changed it.
package reread

import (
	"os"
	"sync"
	"time"
)

// settled is how long after its last change a file is read again whatever its time says: two changes may come within one tick of the
// file system's clock.
const settled = 2 * time.Second

// File is a file that others change while it is in use. It is safe for concurrent use.
type File[T any] struct {
	path string

	mu      sync.Mutex
	known   bool
	size    int64
	changed time.Time
	readAt  time.Time
	value   T
}

// New is the file at a path. Nothing is read yet.
func New[T any](path string) *File[T] { return &File[T]{path: path} }

// Get returns what read made of the file as it is now: read is called if the file has changed since, is missing, or could not be read. Its faults are
// passed on.
func (f *File[T]) Get(read func() (T, error)) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, statErr := os.Stat(f.path)
	if statErr == nil && f.known && info.Size() == f.size && info.ModTime().Equal(f.changed) && f.readAt.Sub(f.changed) > settled {
		return f.value, nil
	}
	f.known = false
	readAt := time.Now() // the file system's clock, and no injected one
	value, err := read()
	if err == nil && statErr == nil {
		f.known, f.size, f.changed, f.readAt, f.value = true, info.Size(), info.ModTime(), readAt, value
	}
	return value, err
}

// Forget has the file read again, for whoever has just written it.
func (f *File[T]) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = false
}
