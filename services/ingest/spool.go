package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// spool is an object's bytes in a temporary file without a name.
type spool struct {
	file   *os.File
	size   int64
	sha256 string
}

// errOverLimit tells that a source holds more than it may.
var errOverLimit = errors.New("more bytes than allowed")

// newSpool copies at most limit bytes of r into a file of dir and hashes them. More is errOverLimit; a failing disk is a
// Transient fault "spool-failed"; r's own errors are wrapped.
func newSpool(dir string, r io.Reader, limit int64) (*spool, error) {
	file, err := os.CreateTemp(dir, "noctua-spool-")
	if err != nil {
		return nil, fault.Wrap(fault.Transient, "spool-failed", err, "a temporary file cannot be made; check space and rights of the spool folder")
	}
	s := &spool{file: file}
	// The file lives as long as it is open: a crash leaves no patient's picture behind.
	if err := os.Remove(file.Name()); err != nil {
		s.close()
		return nil, fault.Wrap(fault.Transient, "spool-failed", err, "a temporary file cannot be unlinked")
	}
	hash := sha256.New()
	sink := &diskWriter{file: file}
	s.size, err = io.Copy(io.MultiWriter(sink, hash), io.LimitReader(r, limit+1))
	switch {
	case sink.err != nil:
		err = fault.Wrap(fault.Transient, "spool-failed", sink.err, "a temporary file cannot be written; make room in the spool folder")
	case err != nil:
		err = fmt.Errorf("spooling: %w", err)
	case s.size > limit:
		err = errOverLimit
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.sha256 = hex.EncodeToString(hash.Sum(nil))
	return s, nil
}

// diskWriter remembers its own failure, which would otherwise pass for one of the source.
type diskWriter struct {
	file *os.File
	err  error
}

func (d *diskWriter) Write(p []byte) (int, error) {
	n, err := d.file.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

// reader returns a new reader over all bytes.
func (s *spool) reader() *io.SectionReader { return io.NewSectionReader(s.file, 0, s.size) }

// source opens bytes for a put, with what must be called afterwards.
type source func() (io.Reader, func(), error)

func (s *spool) source() source {
	return func() (io.Reader, func(), error) { return s.reader(), func() {}, nil }
}

// head returns up to n first bytes.
func (s *spool) head(n int) ([]byte, error) {
	b := make([]byte, min(int64(n), s.size))
	if _, err := io.ReadFull(s.reader(), b); err != nil {
		return nil, fault.Wrap(fault.Transient, "spool-failed", err, "a temporary file cannot be read")
	}
	return b, nil
}

// tail returns up to n last bytes.
func (s *spool) tail(n int) ([]byte, error) {
	b := make([]byte, min(int64(n), s.size))
	if _, err := s.file.ReadAt(b, s.size-int64(len(b))); err != nil {
		return nil, fault.Wrap(fault.Transient, "spool-failed", err, "a temporary file cannot be read")
	}
	return b, nil
}

// close lets the bytes go.
func (s *spool) close() { _ = s.file.Close() } // the file has no name any more; nothing can be lost
