package dicom

import (
	"errors"
	"io"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// windowBytes is how much of the file is read at once while its structure is walked.
const windowBytes = 64 << 10

// window reads small pieces of a file through one buffer.
type window struct {
	reader io.ReaderAt
	size   int64
	start  int64 // of the buffer in the file
	buffer []byte
}

// at returns n bytes at an offset, valid until the next call. n must be at most windowBytes, and offset + n at most size.
func (w *window) at(offset int64, n int) ([]byte, error) {
	if offset < w.start || offset+int64(n) > w.start+int64(len(w.buffer)) {
		if w.buffer == nil {
			w.buffer = make([]byte, 0, min(windowBytes, w.size))
		}
		length := min(int64(windowBytes), w.size-offset)
		w.buffer = w.buffer[:length]
		w.start = offset
		if err := readAt(w.reader, w.buffer, offset); err != nil {
			w.buffer = w.buffer[:0]
			return nil, err
		}
	}
	i := offset - w.start
	return w.buffer[i : i+int64(n)], nil
}

// readAt fills buffer. The caller has checked that the file is long enough, so that a short read is the disk's fault.
func readAt(r io.ReaderAt, buffer []byte, offset int64) error {
	n, err := r.ReadAt(buffer, offset)
	if n == len(buffer) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fault.Wrap(fault.Transient, CodeUnreadable, err, "reading %d bytes of the file at %d", len(buffer), offset)
}
