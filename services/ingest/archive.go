package ingest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// maxMemberBytes bounds what is written down of a member's path: a path may have 64 KiB.
const maxMemberBytes = 512

// isZIP tells whether a file that starts with head is a ZIP: with members, empty, or split.
func isZIP(head []byte) bool {
	return len(head) >= 4 && slices.Contains([]string{localSignature, endSignature, splitSignature}, string(head[:4]))
}

// endsZIP tells whether a file that ends in end is a ZIP behind something else, such as the program that unpacks it.
func endsZIP(end []byte) bool { return len(end) == endBytes && string(end[:4]) == endSignature }

// admitArchive gives each member of a ZIP its own outcome. What is refused then is the ZIP itself: where none of its members can be
// read for one and the same reason, or where it may hold more than can be listed. Members are read one after the other, and their
// paths are only written down, never used.
func (s *Service) admitArchive(ctx context.Context, it item, info blob.Info) (admission, error) {
	list, code, err := listArchive(it.bytes.reader(), it.bytes.size, s.archiveLimits())
	if err != nil {
		return admission{}, err
	}
	if code != "" {
		return it.refuse(code, "", record.Instance{}), nil
	}
	times := map[string]int{} // how often a path was there; at most MaxArchiveMembers
	done := 0
	for _, m := range list.members {
		leaveOut, err := m.litter()
		if err != nil {
			return admission{}, err
		}
		if leaveOut {
			s.deps.Logger.Info("a member of a ZIP is no picture by its name and is left out", "receipt", it.receipt)
			continue
		}
		times[m.file.Name]++
		identity := []string{m.file.Name}
		if n := times[m.file.Name]; n > 1 {
			identity = append(identity, strconv.Itoa(n))
		}
		member := item{clinic: it.clinic, inboxKey: it.inboxKey, member: memberPath(m.file.FileHeader), receipt: receiptOf(info, identity...), dropped: it.dropped, notes: it.notes}
		if err := s.processMember(ctx, member, m); err != nil {
			return admission{}, err
		}
		done++
	}
	s.deps.Logger.Info("a ZIP is taken apart", "receipt", it.receipt, "clinic", it.clinic, "members", done, "complete", !list.incomplete)
	switch {
	case list.incomplete:
		return it.refuse(CodeArchiveIncomplete, strconv.Itoa(done)+" files of it were found", record.Instance{}), nil
	case done == 0:
		return it.refuse(CodeArchiveEmpty, "", record.Instance{}), nil
	}
	return admission{result: record.ReleaseUnpacked}, nil
}

func (s *Service) archiveLimits() archiveLimits {
	return archiveLimits{members: s.config.MaxArchiveMembers, memberBytes: s.config.MaxObjectBytes, totalBytes: s.config.MaxArchiveBytes}
}

// litter tells whether a member is what operating systems and media put beside pictures: by its name, and not a picture under such
// a name. Of directories, those with content are none.
func (m archiveMember) litter() (bool, error) {
	name := strings.ReplaceAll(m.file.Name, `\`, "/")
	base := strings.ToLower(path.Base(name))
	switch {
	case strings.HasSuffix(name, "/"):
		return m.file.UncompressedSize64 == 0, nil
	case strings.HasPrefix(name, "__MACOSX/"), strings.Contains(name, "/__MACOSX/"), strings.HasPrefix(base, "._"),
		slices.Contains([]string{".ds_store", "thumbs.db", "desktop.ini", "dicomdir"}, base):
		picture, err := m.startsAsPicture()
		return !picture, err
	}
	return false, nil
}

// directoryClass is the SOP class of a DICOMDIR: DICOM, but a list of pictures (PS3.4, I.4).
const directoryClass = "1.2.840.10008.1.3.10"

// startsAsPicture tells whether a member that can be read begins as a DICOM file does that is no DICOMDIR.
func (m archiveMember) startsAsPicture() (bool, error) {
	if m.code != "" {
		return false, nil
	}
	body, err := m.file.Open()
	if err != nil {
		return false, m.source.failure()
	}
	defer func() { _ = body.Close() }() // only read from
	const metaBytes = 1024              // the SOP class stands behind the first few elements
	head, err := io.ReadAll(io.LimitReader(body, metaBytes))
	if err != nil {
		return false, m.source.failure() // damaged
	}
	return dicom.IsPart10(head) && !bytes.Contains(head, []byte(directoryClass)), nil
}

// memberPath is a member's path as it is written down: UTF-8, without control characters, and not longer than anybody reads. What is
// no UTF-8 is code page 437 (APPNOTE 6.3.10, D.1).
func memberPath(h zip.FileHeader) string {
	name := h.Name
	if !utf8.ValidString(name) {
		if decoded, err := charmap.CodePage437.NewDecoder().String(name); err == nil {
			name = decoded
		}
	}
	name = dicom.Printable(name)
	if len(name) > maxMemberBytes {
		name = strings.ToValidUTF8(name[:maxMemberBytes], "") + "…"
	}
	return name
}

// processMember brings one member to its outcome. A member that cannot be extracted goes to quarantine as it lies in the ZIP,
// compressed: nothing is lost.
func (s *Service) processMember(ctx context.Context, it item, m archiveMember) (err error) {
	code := m.code
	if code == "" {
		it.bytes, err = m.extract(s.config.SpoolDir)
		switch {
		case err == nil:
		case errors.Is(err, errMember):
			code = CodeMemberDamaged
		default:
			return err
		}
	}
	if code != "" {
		if it.bytes, err = m.extractRaw(s.config.SpoolDir); err != nil {
			return err
		}
		defer it.bytes.close()
		return s.settle(ctx, it, it.refuse(code, "", record.Instance{}))
	}
	defer it.bytes.close()
	head, err := it.bytes.head(4)
	if err != nil {
		return err
	}
	if isZIP(head) {
		return s.settle(ctx, it, it.refuse(CodeArchiveNested, "", record.Instance{}))
	}
	outcome, err := s.admitOne(ctx, it, m.file.Name)
	if err != nil {
		return err
	}
	return s.settle(ctx, it, outcome)
}

// errMember tells that a member does not hold what the directory declares.
var errMember = errors.New("the member is damaged")

// extract spools a member. Its size and checksum must be as declared: else errMember.
func (m archiveMember) extract(dir string) (*spool, error) {
	body, err := m.file.Open()
	if err == nil {
		defer func() { _ = body.Close() }() // only read from
		var out *spool
		out, err = newSpool(dir, body, int64(m.file.UncompressedSize64))
		if err == nil || fault.Is(err, fault.Transient) {
			return out, err // archive/zip has compared size and checksum
		}
	}
	if failure := m.source.failure(); failure != nil {
		return nil, failure
	}
	return nil, errMember
}

// extractRaw spools a member as it lies in the ZIP, as far as it is there.
func (m archiveMember) extractRaw(dir string) (*spool, error) {
	out, err := newSpool(dir, m.raw, m.raw.Size())
	if err != nil {
		return nil, fmt.Errorf("keeping a member as it lies in its ZIP: %w", err)
	}
	return out, nil
}
