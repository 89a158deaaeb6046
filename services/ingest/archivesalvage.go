package ingest

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"math"
)

// directoryHeaderBytes is the fixed part of a member's entry in the directory.
const directoryHeaderBytes = 46

// salvageArchive finds the members of a ZIP without a directory, e.g. of one that was cut off, by following the local headers from its
// start to the first one that is not whole. It makes the directory that is missing, so that everything behind it is the same as for
// a sound ZIP. code says why nothing is found.
func salvageArchive(source *archiveSource, size int64, limits archiveLimits) (archive *zip.Reader, code string, err error) {
	if size >= math.MaxUint32 {
		return nil, CodeArchiveDamaged, nil // it would need a directory of 64 bits
	}
	var directory bytes.Buffer
	members := 0
	inflated := limits.totalBytes // what may still be inflated to find where members end
	at := int64(0)
	var signature [4]byte
	if _, err := source.ReadAt(signature[:], 0); err == nil && string(signature[:]) == splitSignature {
		at = int64(len(signature))
	}
	split := at > 0
	for members < limits.members {
		entry, next, ok := source.salvageMember(at, size, min(limits.memberBytes, inflated))
		if failure := source.failure(); failure != nil {
			return nil, "", failure
		}
		if !ok || directory.Len()+len(entry) > maxDirectoryBytes {
			break
		}
		directory.Write(entry)
		members++
		inflated -= int64(binary.LittleEndian.Uint32(entry[24:])) // what it has uncompressed
		at = next
	}
	switch {
	case members == 0 && split:
		return nil, CodeArchiveSplit, nil
	case members == 0:
		return nil, CodeArchiveDamaged, nil
	}
	var end [endBytes]byte // APPNOTE 4.3.16
	copy(end[:], endSignature)
	binary.LittleEndian.PutUint16(end[8:], uint16(members&math.MaxUint16)) // archive/zip compares 16 bits, too
	binary.LittleEndian.PutUint16(end[10:], uint16(members&math.MaxUint16))
	binary.LittleEndian.PutUint32(end[12:], uint32(directory.Len()))
	binary.LittleEndian.PutUint32(end[16:], uint32(size))
	directory.Write(end[:])
	source.reader = &appended{first: source.reader, size: size, second: bytes.NewReader(directory.Bytes())}
	if archive, err = zip.NewReader(source, size+int64(directory.Len())); err != nil {
		if failure := source.failure(); failure != nil {
			return nil, "", failure
		}
		return nil, CodeArchiveDamaged, nil
	}
	return archive, "", nil
}

// salvageMember reads the local header at a place, finds the member's end, and makes its entry for the directory. ok is false if there
// is no whole member.
func (s *archiveSource) salvageMember(at, size, inflateBytes int64) (entry []byte, next int64, ok bool) {
	var header [localHeaderBytes]byte
	if _, err := s.ReadAt(header[:], at); err != nil || string(header[:4]) != localSignature {
		return nil, 0, false
	}
	nameLength := int64(binary.LittleEndian.Uint16(header[26:]))
	data := at + localLength(header[:])
	name := make([]byte, nameLength)
	if _, err := s.ReadAt(name, at+localHeaderBytes); err != nil {
		return nil, 0, false
	}
	flags, method := binary.LittleEndian.Uint16(header[6:]), binary.LittleEndian.Uint16(header[8:])
	sums := header[14:26] // checksum, compressed and uncompressed size
	next = data + int64(binary.LittleEndian.Uint32(sums[4:]))
	if flags&descriptorFlag != 0 {
		if method != zip.Deflate || flags&encryptedFlag != 0 {
			return nil, 0, false // only deflated data say themselves where they end
		}
		if sums, next, ok = s.salvageDescriptor(data, size, inflateBytes); !ok {
			return nil, 0, false
		}
	}
	if next > size {
		return nil, 0, false
	}
	entry = make([]byte, directoryHeaderBytes, directoryHeaderBytes+len(name))
	copy(entry, directorySignature)
	copy(entry[6:], header[4:14]) // version needed, flags, method, time and date
	copy(entry[16:], sums)
	binary.LittleEndian.PutUint16(entry[28:], uint16(nameLength))
	binary.LittleEndian.PutUint32(entry[42:], uint32(at))
	return append(entry, name...), next, true
}

// salvageDescriptor inflates a member to find its end, and reads the data descriptor behind it.
func (s *archiveSource) salvageDescriptor(data, size, inflateBytes int64) (sums []byte, next int64, ok bool) {
	counted := &countedReader{Reader: bufio.NewReader(io.NewSectionReader(s, data, size-data))}
	inflater := flate.NewReader(counted)
	uncompressed, err := io.Copy(io.Discard, io.LimitReader(inflater, inflateBytes+1))
	if err != nil || uncompressed > inflateBytes || uncompressed > math.MaxUint32 {
		return nil, 0, false
	}
	compressed := counted.read
	next = data + compressed
	var descriptor [24]byte
	n, _ := s.ReadAt(descriptor[:], next) // at the end there may be less than the longest one
	fields := descriptor[:n]
	length := int64(0)
	if bytes.HasPrefix(fields, []byte(descriptorSignature)) {
		fields, length = fields[4:], 4
	}
	want := make([]byte, 8)
	binary.LittleEndian.PutUint32(want, uint32(compressed))
	binary.LittleEndian.PutUint32(want[4:], uint32(uncompressed))
	if len(fields) < 12 {
		return nil, 0, false
	}
	sums = append(bytes.Clone(fields[:4]), want...)
	switch {
	case bytes.Equal(fields[4:12], want):
		return sums, next + length + 12, true
	case len(fields) >= 20 && uint64(compressed) == binary.LittleEndian.Uint64(fields[4:]) && uint64(uncompressed) == binary.LittleEndian.Uint64(fields[12:]):
		return sums, next + length + 20, true
	}
	return nil, 0, false
}

// countedReader counts what is read. It gives single bytes, so that nothing behind the end of deflated data is taken.
type countedReader struct {
	*bufio.Reader
	read int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	return n, err
}

func (c *countedReader) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.read++
	}
	return b, err
}

// appended reads bytes and others behind them.
type appended struct {
	first  io.ReaderAt
	size   int64 // of first
	second *bytes.Reader
}

func (a *appended) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, io.EOF
	}
	if offset < a.size {
		n, err = a.first.ReadAt(p[:min(int64(len(p)), a.size-offset)], offset)
		if n == len(p) {
			return n, nil
		}
		if err != nil && err != io.EOF || offset+int64(n) < a.size {
			return n, err
		}
	}
	m, err := a.second.ReadAt(p[n:], offset+int64(n)-a.size)
	return n + m, err
}
