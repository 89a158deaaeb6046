package ingest

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// maxDirectoryBytes bounds what is read to list a ZIP's members: 10,000 of them with long names take 3 MB, and the list
	// of what fits into 16 MiB takes at most 150 MB of memory.
	maxDirectoryBytes = 16 << 20
	// maxRatio is the highest compression of a member larger than ratioFromBytes. A black uncompressed photograph reaches
	// 1,000, but a photograph with a retina on it stays below 20.
	maxRatio       = 200
	ratioFromBytes = 1 << 20
	// encryptedFlag is bit 0 of a member's flags (APPNOTE 4.4.4).
	encryptedFlag = 1
)

// isZIP tells whether a file that starts with head is a ZIP: with members, empty, or split.
func isZIP(head []byte) bool {
	return len(head) >= 4 && slices.Contains([]string{"PK\x03\x04", "PK\x05\x06", "PK\x07\x08"}, string(head[:4]))
}

// admitArchive gives each member of a ZIP its own outcome, or refuses the whole ZIP if it cannot be trusted. Members are read
// one after the other, and their paths are only written down, never used.
func (s *Service) admitArchive(ctx context.Context, it item, info blob.Info) (admission, error) {
	members, code := s.openArchive(it.bytes)
	if code != "" {
		return it.refuse(code, "", record.Instance{}), nil
	}
	times := map[string]int{} // how often a path was there; at most MaxArchiveMembers
	done := 0
	for _, f := range members {
		if litter(f.Name) {
			s.deps.Logger.Info("a member of a ZIP is no picture by its name and is left out", "receipt", it.receipt)
			continue
		}
		times[f.Name]++
		identity := []string{f.Name}
		if n := times[f.Name]; n > 1 {
			identity = append(identity, strconv.Itoa(n))
		}
		member := item{clinic: it.clinic, inboxKey: it.inboxKey, member: f.Name, receipt: receiptOf(info, identity...), dropped: it.dropped, notes: it.notes}
		if err := s.processMember(ctx, member, f); err != nil {
			return admission{}, err
		}
		done++
	}
	if done == 0 {
		return it.refuse(CodeArchiveEmpty, "", record.Instance{}), nil
	}
	s.deps.Logger.Info("a ZIP is taken apart", "receipt", it.receipt, "clinic", it.clinic, "members", done)
	return admission{result: record.ReleaseUnpacked}, nil
}

// openArchive lists a ZIP's members, or says why it is refused. All limits are checked on what the directory declares;
// extraction then holds the members to it.
func (s *Service) openArchive(bytes *spool) (members []*zip.File, code string) {
	budget := &budgetReader{reader: bytes.reader(), left: maxDirectoryBytes}
	archive, err := zip.NewReader(budget, bytes.size)
	switch {
	case budget.spent:
		return nil, CodeArchiveTooLarge
	case err != nil:
		return nil, CodeArchiveDamaged
	case len(archive.File) > s.config.MaxArchiveMembers:
		return nil, CodeArchiveTooLarge
	}
	budget.left = int64(^uint64(0) >> 1) // the members' bytes are bounded by their own checks
	total := uint64(0)
	for _, f := range archive.File {
		if f.Flags&encryptedFlag != 0 {
			return nil, CodeArchiveEncrypted
		}
		if f.UncompressedSize64 > ratioFromBytes && f.UncompressedSize64/maxRatio > f.CompressedSize64 {
			return nil, CodeArchiveBomb
		}
		if total += f.UncompressedSize64; total > uint64(s.config.MaxArchiveBytes) || total < f.UncompressedSize64 {
			return nil, CodeArchiveTooLarge
		}
	}
	return archive.File, ""
}

// budgetReader bounds how many bytes are read.
type budgetReader struct {
	reader io.ReaderAt
	left   int64
	spent  bool
}

func (b *budgetReader) ReadAt(p []byte, offset int64) (int, error) {
	if int64(len(p)) > b.left {
		b.spent = true
		return 0, errOverLimit
	}
	b.left -= int64(len(p))
	return b.reader.ReadAt(p, offset)
}

// litter tells whether a member is what operating systems and media put beside pictures.
func litter(name string) bool {
	name = strings.ReplaceAll(name, `\`, "/")
	if strings.HasSuffix(name, "/") || strings.HasPrefix(name, "__MACOSX/") || strings.Contains(name, "/__MACOSX/") {
		return true
	}
	base := strings.ToLower(path.Base(name))
	return strings.HasPrefix(base, "._") || slices.Contains([]string{".ds_store", "thumbs.db", "desktop.ini", "dicomdir"}, base)
}

// processMember brings one member to its outcome. A member that cannot be extracted goes to quarantine as it lies in the ZIP,
// compressed: nothing is lost.
func (s *Service) processMember(ctx context.Context, it item, f *zip.File) error {
	code := ""
	if f.UncompressedSize64 > uint64(s.config.MaxObjectBytes) {
		code = CodeObjectTooLarge
	} else {
		bytes, err := s.extract(f)
		switch {
		case err == nil:
			defer bytes.close()
			it.bytes = bytes
		case fault.Is(err, fault.Transient):
			return err
		default:
			code = CodeMemberDamaged
		}
	}
	if code != "" {
		raw, err := f.OpenRaw()
		if err != nil {
			// Not even its place in the ZIP is right: what can be kept is that it was there.
			raw = strings.NewReader("")
		}
		if it.bytes, err = newSpool(s.config.SpoolDir, raw, s.config.MaxObjectBytes); err != nil {
			return err
		}
		defer it.bytes.close()
		return s.settle(ctx, it, it.refuse(code, "", record.Instance{}))
	}
	head, err := it.bytes.head(4)
	if err != nil {
		return err
	}
	if isZIP(head) {
		return s.settle(ctx, it, it.refuse(CodeArchiveNested, "", record.Instance{}))
	}
	outcome, err := s.admitFile(ctx, it)
	if err != nil {
		return err
	}
	return s.settle(ctx, it, outcome)
}

// errMember tells that a member does not hold what the directory declares.
var errMember = errors.New("the member is damaged")

// extract spools a member. Its size and checksum must be as declared.
func (s *Service) extract(f *zip.File) (*spool, error) {
	body, err := f.Open()
	if err != nil {
		return nil, errMember
	}
	defer func() { _ = body.Close() }() // only read from
	bytes, err := newSpool(s.config.SpoolDir, body, int64(f.UncompressedSize64))
	if err != nil {
		return nil, err
	}
	if uint64(bytes.size) != f.UncompressedSize64 {
		bytes.close()
		return nil, errMember
	}
	return bytes, nil
}
