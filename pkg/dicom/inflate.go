package dicom

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// chunkBytes is how an inflated file grows: without copying, as a growing slice would.
const chunkBytes = 1 << 20

// inflated is a file in memory: its beginning as it is, and the rest inflated.
type inflated struct {
	chunks [][]byte // all but the last of chunkBytes
	size   int64
}

var _ io.ReaderAt = (*inflated)(nil)

// ReadAt implements io.ReaderAt.
func (f *inflated) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 || offset > f.size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && offset < f.size {
		k := copy(p[n:], f.chunks[offset/chunkBytes][offset%chunkBytes:])
		n += k
		offset += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill appends all that a reader gives, but no more than limit bytes in all.
func (f *inflated) fill(r io.Reader, limit int64) error {
	for {
		if len(f.chunks) == 0 || len(f.chunks[len(f.chunks)-1]) == chunkBytes {
			f.chunks = append(f.chunks, make([]byte, 0, chunkBytes))
		}
		last := &f.chunks[len(f.chunks)-1]
		n, err := r.Read((*last)[len(*last):chunkBytes])
		*last = (*last)[:len(*last)+n]
		f.size += int64(n)
		if f.size > limit {
			return invalid(CodeInflated, "the file is compressed as a whole and would take more than %d bytes; a photograph takes less", limit)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// countingReader counts what the inflater takes, byte by byte where it must, so that the end of the stream is known.
type countingReader struct {
	window window
	pos    int64
	err    error // of the disk
}

// ReadByte implements io.ByteReader, which keeps the inflater from reading ahead.
func (r *countingReader) ReadByte() (byte, error) {
	if r.pos >= r.window.size {
		return 0, io.EOF
	}
	b, err := r.window.at(r.pos, 1)
	if err != nil {
		r.err = err
		return 0, err
	}
	r.pos++
	return b[0], nil
}

// Read implements io.Reader.
func (r *countingReader) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), r.window.size-r.pos, windowBytes))
	if n == 0 {
		return 0, io.EOF
	}
	b, err := r.window.at(r.pos, n)
	if err != nil {
		r.err = err
		return 0, err
	}
	r.pos += int64(n)
	return copy(p, b), nil
}

// inflate reads a file whose data set, from pos on, is compressed (PS3.5 A.5). At most a byte of padding may follow, or the
// checksum and length that gzip would write there, as some writers do.
func inflate(reader io.ReaderAt, size, pos, limit int64) (*inflated, error) {
	f := &inflated{}
	if err := f.fill(io.NewSectionReader(reader, 0, pos), limit); err != nil {
		if fault.CodeOf(err) != "" {
			return nil, err
		}
		return nil, fault.Wrap(fault.Transient, CodeUnreadable, err, "reading the file's header")
	}
	source := &countingReader{window: window{reader: reader, size: size}, pos: pos}
	err := f.fill(flate.NewReader(source), limit)
	var corrupt flate.CorruptInputError
	switch {
	case source.err != nil:
		return nil, source.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, invalid(CodeTruncated, "the file ends at byte %d in the middle of its compressed data; send it again", size)
	case errors.As(err, &corrupt):
		return nil, invalid(CodeMalformed, "the compressed data of the file are damaged: %v", err)
	case err != nil:
		return nil, err
	case size-source.pos == gzipTrailerBytes:
		return f, f.checkTrailer(source, pos)
	case size-source.pos > 1:
		return nil, invalid(CodeMalformed, "the compressed data end at byte %d, but the file at %d", source.pos, size)
	}
	return f, nil
}

// gzipTrailerBytes is a CRC-32 and a length modulo 2^32 (RFC 1952).
const gzipTrailerBytes = 8

// checkTrailer compares gzip's trailer with what was inflated, which begins at pos.
func (f *inflated) checkTrailer(source io.Reader, pos int64) error {
	var trailer [gzipTrailerBytes]byte
	if _, err := io.ReadFull(source, trailer[:]); err != nil {
		return fault.Wrap(fault.Transient, CodeUnreadable, err, "reading the end of the file")
	}
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(f, pos, f.size-pos)); err != nil {
		return fmt.Errorf("summing up the inflated file: %w", err)
	}
	if le := binary.LittleEndian; le.Uint32(trailer[:]) != sum.Sum32() || le.Uint32(trailer[4:]) != uint32(f.size-pos) {
		return invalid(CodeMalformed, "the compressed data of the file are damaged: their checksum is another")
	}
	return nil
}
