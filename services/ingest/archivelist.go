package ingest

import (
	"archive/zip"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	// maxDirectoryBytes bounds what is read to list a ZIP's members: 10,000 of them with long names take 3 MB, and the list
	// of what fits into 16 MiB takes at most 150 MB of memory.
	maxDirectoryBytes = 16 << 20
	// maxRatio is the highest compression of a member larger than ratioFromBytes. A black uncompressed photograph reaches
	// 1,000, but a photograph with a retina on it stays below 20.
	maxRatio       = 200
	ratioFromBytes = 1 << 20
	// Bits of a member's flags (APPNOTE 4.4.4).
	encryptedFlag  = 1 << 0
	descriptorFlag = 1 << 3
)

// Signatures of a ZIP's parts (APPNOTE 4.3). A ZIP in several parts begins with that of a data descriptor.
const (
	localSignature      = "PK\x03\x04"
	directorySignature  = "PK\x01\x02"
	endSignature        = "PK\x05\x06"
	descriptorSignature = "PK\x07\x08"
	splitSignature      = descriptorSignature
	// localHeaderBytes is the fixed part of a member's local header.
	localHeaderBytes = 30
	// endBytes is the fixed part of the end record.
	endBytes = 22
)

// archiveLimits bound what a ZIP may cost.
type archiveLimits struct {
	members     int   // members
	memberBytes int64 // bytes of one member
	totalBytes  int64 // bytes of all members that are extracted together
}

// archiveList is what a ZIP holds.
type archiveList struct {
	members []archiveMember
	// incomplete tells that there may be more in the ZIP than its members.
	incomplete bool
}

// archiveMember is a file in a ZIP.
type archiveMember struct {
	file   *zip.File
	source *archiveSource
	// raw are the member's bytes as they lie in the ZIP; those of different members have no byte in common.
	raw *io.SectionReader
	// code says why the member must not be extracted; "" if it may.
	code string
}

// listArchive lists a ZIP's members, or says by code why the ZIP is refused as a whole. All limits are checked on what the directory
// declares; extraction then holds the members to it. Where the directory is missing or damaged, or does not name all that is there,
// the members are found by their local headers, as far as these go. err is Transient: the ZIP cannot be read now.
func listArchive(r io.ReaderAt, size int64, limits archiveLimits) (list archiveList, code string, err error) {
	source := &archiveSource{reader: r, budget: maxDirectoryBytes}
	var end [endBytes]byte
	if _, err := source.ReadAt(end[:], size-endBytes); err == nil && endsZIP(end[:]) && binary.LittleEndian.Uint16(end[4:]) > 0 {
		return list, CodeArchiveSplit, nil // the last part of several: its members begin in others
	}
	archive, err := zip.NewReader(source, size)
	if failure := source.failure(); failure != nil {
		return list, "", failure
	}
	if source.spent {
		return list, CodeArchiveTooLarge, nil
	}
	source.budget = math.MaxInt64                           // the members' bytes are bounded by their own checks
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // paths are never used
		archive, code, err := salvageArchive(source, size, limits)
		if code != "" || err != nil {
			return list, code, err
		}
		return source.list(archive.File, size, limits, true)
	}
	if list, code, err = source.list(archive.File, size, limits, false); code != "" || err != nil || !list.incomplete {
		return list, code, err
	}
	archive, code, err = salvageArchive(source, size, limits)
	if err != nil || code != "" {
		return list, "", err
	}
	salvaged, code, err := source.list(archive.File, size, limits, true)
	if err != nil || code != "" || salvaged.readable() <= list.readable() {
		return list, "", err
	}
	return salvaged, "", nil
}

// readable counts the members that may be extracted.
func (l archiveList) readable() (n int) {
	for _, m := range l.members {
		if m.code == "" {
			n++
		}
	}
	return n
}

// list judges a ZIP's members. incomplete tells that there may be more; if it is false, that is found out.
func (s *archiveSource) list(files []*zip.File, size int64, limits archiveLimits, incomplete bool) (list archiveList, code string, err error) {
	if len(files) > limits.members {
		return list, CodeArchiveTooLarge, nil
	}
	if list.members, err = s.locate(files, size); err != nil {
		return list, "", err
	}
	total := uint64(0) // cannot overflow: at most limits.members of at most limits.memberBytes
	for i := range list.members {
		m := &list.members[i]
		if m.code == "" {
			m.code = m.refusal(limits)
		}
		if m.code == "" {
			total += m.file.UncompressedSize64
		}
	}
	if total > uint64(limits.totalBytes) {
		return list, CodeArchiveTooLarge, nil
	}
	if code := list.common(); code != "" {
		return list, code, nil
	}
	if list.incomplete = incomplete; !incomplete {
		list.incomplete, err = s.hasMore(list.members)
	}
	return list, "", err
}

// locate finds where the members lie. A member that reaches into the one behind it, as in bombs whose members share their bytes, is
// cut off there and not extracted: whatever the directory says, no byte of the ZIP is read for two members.
func (s *archiveSource) locate(files []*zip.File, size int64) ([]archiveMember, error) {
	members := make([]archiveMember, len(files))
	starts := make([]int64, len(files))
	var order []int // of the members that have a place, by it
	for i, f := range files {
		members[i] = archiveMember{file: f, source: s, raw: io.NewSectionReader(s, 0, 0)}
		var err error
		if starts[i], err = f.DataOffset(); err != nil || starts[i] < 0 || starts[i] > size {
			members[i].code = CodeMemberDamaged // no local header: what can be kept is that it was there
			continue
		}
		order = append(order, i)
	}
	if failure := s.failure(); failure != nil {
		return nil, failure
	}
	// Of several at one place, the first one of the directory counts, and so comes last.
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(starts[a], starts[b]), cmp.Compare(b, a)) })
	for n, i := range order {
		end, code := size, CodeMemberDamaged
		if n+1 < len(order) {
			end, code = starts[order[n+1]], CodeMemberOverlap
		}
		room := end - starts[i]
		length := room
		if declared := members[i].file.CompressedSize64; declared <= uint64(room) {
			length, code = int64(declared), ""
		}
		members[i].raw, members[i].code = io.NewSectionReader(s, starts[i], length), code
	}
	return members, nil
}

// refusal says why a member must not be extracted, by what the directory declares; "" if it may.
func (m archiveMember) refusal(limits archiveLimits) string {
	f := m.file
	switch {
	case f.Flags&encryptedFlag != 0:
		return CodeMemberEncrypted
	case f.UncompressedSize64 > uint64(limits.memberBytes):
		return CodeObjectTooLarge
	case f.UncompressedSize64 > ratioFromBytes && f.UncompressedSize64/maxRatio > f.CompressedSize64:
		return CodeMemberBomb
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return CodeMemberMethod
	}
	return ""
}

// common is the one reason for which none of the members can be read, as the ZIP's own; "" if some can, or if there are several reasons.
func (l archiveList) common() string {
	whole := map[string]string{CodeMemberEncrypted: CodeArchiveEncrypted, CodeMemberBomb: CodeArchiveBomb}
	code := ""
	for _, m := range l.members {
		switch {
		case m.file.UncompressedSize64 == 0 && m.raw.Size() == 0: // directories
		case whole[m.code] == "" || code != "" && code != m.code:
			return ""
		default:
			code = m.code
		}
	}
	return whole[code]
}

// hasMore tells whether there are local headers, at the ZIP's start or right behind a member, that are no member's: an end record that
// stands in a comment, or a directory that is not the ZIP's own, would hide pictures.
func (s *archiveSource) hasMore(members []archiveMember) (bool, error) {
	starts := make(map[int64]struct{}, len(members))
	for _, m := range members {
		_, start, _ := m.raw.Outer()
		starts[start] = struct{}{}
	}
	places := []int64{0}
	for _, m := range members {
		_, start, length := m.raw.Outer()
		switch {
		case m.code == CodeMemberDamaged || m.code == CodeMemberOverlap: // nobody knows where it ends
		case m.file.Flags&descriptorFlag == 0:
			places = append(places, start+length)
		default: // with or without signature, of 32 or 64 bits (APPNOTE 4.3.9)
			for _, descriptorBytes := range []int64{12, 16, 20, 24} {
				places = append(places, start+length+descriptorBytes)
			}
		}
	}
	for _, at := range places {
		var header [localHeaderBytes]byte
		if _, err := s.ReadAt(header[:], at); err != nil {
			if failure := s.failure(); failure != nil {
				return false, failure
			}
			continue // the ZIP ends before
		}
		if string(header[:4]) != localSignature {
			continue
		}
		if _, listed := starts[at+localLength(header[:])]; !listed {
			return true, nil
		}
	}
	return false, nil
}

// localLength is the length of a local header with its name and extra field, that is where the member's data begin.
func localLength(header []byte) int64 {
	return localHeaderBytes + int64(binary.LittleEndian.Uint16(header[26:])) + int64(binary.LittleEndian.Uint16(header[28:]))
}

// archiveSource reads a ZIP. It bounds how many bytes are read, and remembers its own failure, which would otherwise pass for damage
// of the ZIP.
type archiveSource struct {
	reader io.ReaderAt
	budget int64 // bytes that may still be read
	spent  bool
	failed error
}

func (s *archiveSource) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, io.EOF // a directory may point in front of the ZIP; that is no failure of the disk
	}
	if int64(len(p)) > s.budget {
		s.spent = true
		return 0, errOverLimit
	}
	s.budget -= int64(len(p))
	n, err := s.reader.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// failure is nil as long as the ZIP's bytes could be read.
func (s *archiveSource) failure() error {
	if s.failed == nil {
		return nil
	}
	return fault.Wrap(fault.Transient, "spool-failed", s.failed, "a temporary file cannot be read")
}
