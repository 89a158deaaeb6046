package token

import (
	"errors"
	"io/fs"

	"github.com/noctua-screening/noctua/pkg/reread"
)

// File is a file of tokens that is read again when it changes, so that a new token works at once and a revoked one no longer. It may be
// used by many goroutines at once.
type File struct {
	path string
	// required: a file that is missing is a fault, and not one without tokens.
	required bool
	read     *reread.File[[]Entry]
}

// OpenFile is a file of tokens. Where it need not be there, it has no tokens until it is.
func OpenFile(path string, required bool) *File {
	return &File{path: path, required: required, read: reread.New[[]Entry](path)}
}

// Entries are the tokens now. The faults are those of Read.
func (f *File) Entries() ([]Entry, error) {
	return f.read.Get(func() ([]Entry, error) {
		entries, err := Read(f.path)
		if errors.Is(err, fs.ErrNotExist) && !f.required {
			return nil, nil
		}
		return entries, err
	})
}
