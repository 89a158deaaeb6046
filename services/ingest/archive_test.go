package ingest

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// packed is a member of a ZIP as a test wants it; the zero value of every field but name and data is what a sound ZIP has.
type packed struct {
	name     string
	data     []byte
	method   uint16 // default Deflate
	mode     fs.FileMode
	flags    uint16
	declared uint64 // uncompressed size that the directory declares
	ratioLie uint64 // compressed size that the directory declares
	crc      uint32 // checksum that the directory declares
}

// pack makes a ZIP with sizes and checksums in the local headers, without data descriptors.
func pack(t testing.TB, members ...packed) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		var body bytes.Buffer
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Flags: m.flags, CRC32: crc32.ChecksumIEEE(m.data), UncompressedSize64: uint64(len(m.data))}
		h.SetMode(m.mode | 0o600)
		f, err := flate.NewWriter(&body, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(m.data); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		h.CompressedSize64 = uint64(body.Len())
		for _, lie := range []struct {
			field *uint64
			value uint64
		}{{&h.UncompressedSize64, m.declared}, {&h.CompressedSize64, m.ratioLie}} {
			if lie.value > 0 {
				*lie.field = lie.value
			}
		}
		if m.crc != 0 {
			h.CRC32 = m.crc
		}
		if m.method != 0 {
			h.Method = m.method
		}
		w, err := z.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encrypted sets the encryption flag of every member.
func encrypted(archive []byte) []byte {
	out := bytes.Clone(archive)
	for i := range out {
		if bytes.HasPrefix(out[i:], []byte(localSignature)) {
			out[i+6] |= 1
		}
		if bytes.HasPrefix(out[i:], []byte(directorySignature)) {
			out[i+8] |= 1
		}
	}
	return out
}

// withEntries changes the entries of a ZIP's directory in place.
func withEntries(archive []byte, change func(n int, entry []byte)) []byte {
	out := bytes.Clone(archive)
	n := 0
	for i := bytes.Index(out, []byte(directorySignature)); i >= 0 && i < len(out); n++ {
		change(n, out[i:])
		next := bytes.Index(out[i+4:], []byte(directorySignature))
		if next < 0 {
			break
		}
		i += 4 + next
	}
	return out
}

// cutBefore cuts a ZIP off before the n-th (from 0) part with a signature.
func cutBefore(archive []byte, signature string, n int) []byte {
	at := 0
	for ; n >= 0; n-- {
		at += 4 + bytes.Index(archive[at:], []byte(signature))
	}
	return bytes.Clone(archive[:at-4])
}

// commented puts a comment with an end record of its own behind a ZIP: an empty one's.
func commented(archive []byte) []byte {
	comment := archiveEnd(0, 0, 0)
	out := append(bytes.Clone(archive), comment...)
	binary.LittleEndian.PutUint16(out[len(archive)-2:], uint16(len(comment)))
	return out
}

func archiveEnd(members uint16, size, offset uint32) []byte {
	end := make([]byte, 22)
	copy(end, endSignature)
	binary.LittleEndian.PutUint16(end[8:], members)
	binary.LittleEndian.PutUint16(end[10:], members)
	binary.LittleEndian.PutUint32(end[12:], size)
	binary.LittleEndian.PutUint32(end[16:], offset)
	return end
}

// twice gives the first member a second entry in the directory.
func twice(archive []byte) []byte {
	start := bytes.Index(archive, []byte(directorySignature))
	second := start + 4 + bytes.Index(archive[start+4:], []byte(directorySignature))
	end := len(archive) - len(archiveEnd(0, 0, 0))
	directory := slices.Concat(archive[start:end], archive[start:second])
	return slices.Concat(archive[:start], directory, archiveEnd(binary.LittleEndian.Uint16(archive[end+8:])+1, uint32(len(directory)), uint32(start)))
}

// quoted makes a ZIP of three members that share one kernel: the first two are stored blocks that quote the local headers behind
// them, and go on into the kernel (Fifield 2019, A better zip bomb).
func quoted(t testing.TB, kernel []byte) []byte {
	t.Helper()
	plain := pack(t, packed{name: "3.dcm", data: kernel})
	directory := bytes.Index(plain, []byte(directorySignature))
	body, entry := plain[:directory], plain[directory:len(plain)-len(archiveEnd(0, 0, 0))]
	content := slices.Clone(kernel)
	entries := bytes.Clone(entry)
	var offsets []int
	for _, name := range []string{"2.dcm", "1.dcm"} {
		quote := make([]byte, 5) // a stored block that is not the last one
		binary.LittleEndian.PutUint16(quote[1:], uint16(localHeaderBytes+len(name)))
		binary.LittleEndian.PutUint16(quote[3:], ^uint16(localHeaderBytes+len(name)))
		content = slices.Concat(body[:localHeaderBytes+len(name)], content)
		compressed := slices.Concat(quote, body)
		sums := make([]byte, 12)
		binary.LittleEndian.PutUint32(sums, crc32.ChecksumIEEE(content))
		binary.LittleEndian.PutUint32(sums[4:], uint32(len(compressed)))
		binary.LittleEndian.PutUint32(sums[8:], uint32(len(content)))
		local, next := bytes.Clone(body[:localHeaderBytes]), bytes.Clone(entry)
		copy(local[14:], sums)
		copy(next[16:], sums)
		copy(next[directoryHeaderBytes:], name)
		body = slices.Concat(local, []byte(name), compressed)
		for i := range offsets {
			offsets[i] += localHeaderBytes + len(name) + len(quote)
		}
		offsets = append(offsets, 0)
		entries = append(entries, next...)
	}
	kernelAt := len(body) - directory
	for i, at := range append([]int{kernelAt}, offsets...) {
		binary.LittleEndian.PutUint32(entries[i*len(entry)+42:], uint32(at))
	}
	return slices.Concat(body, entries, archiveEnd(3, uint32(len(entries)), uint32(len(body))))
}

// flipped damages the middle of the n-th member.
func flipped(t testing.TB, archive []byte, n int) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	at, err := r.File[n].DataOffset()
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(archive)
	out[at+int64(r.File[n].CompressedSize64)/2] ^= 0x55
	return out
}

// noise cannot be compressed.
func noise(n int) []byte {
	out := make([]byte, n)
	state := uint32(1)
	for i := range out {
		state = state*1664525 + 1013904223
		out[i] = byte(state >> 24)
	}
	return out
}

type archiveCase struct {
	name               string
	data               []byte
	images, duplicates int
	codes              []string // of what is in quarantine, sorted
}

// archiveCases are ZIPs as clinics and attackers send them, each with pictures a, b and c somewhere in it.
func archiveCases(t testing.TB) []archiveCase {
	t.Helper()
	a, b, c := instance(t, "P1"), instance(t, "P2"), instance(t, "P3")
	three := archiveOf(t, "a.dcm", a, "b.dcm", b, "c.dcm", c)
	plain := pack(t, packed{name: "a.dcm", data: a}, packed{name: "b.dcm", data: b}, packed{name: "c.dcm", data: c})
	long := strings.Repeat("n", math.MaxUint16-4) + ".dcm"
	black := make([]byte, 2<<20)
	first := func(n int, entry []byte) { // all entries have the first one's place
		binary.LittleEndian.PutUint32(entry[42:], 0)
	}
	return []archiveCase{
		{"two good, litter, one bad", archiveOf(t, "x/a.dcm", a, "x/.DS_Store", []byte("x"), "x/b.dcm", b, "readme.txt", []byte("hello"), "x/", []byte{}), 2, 0, []string{"not-dicom"}},
		{"same picture twice", archiveOf(t, "a.dcm", a, "b.dcm", a), 1, 1, nil},
		{"same name twice", archiveOf(t, "a.dcm", a, "a.dcm", b, "a.dcm", a), 2, 1, nil},
		{"names that climb", archiveOf(t, "../../a.dcm", a, "/etc/b.dcm", b, `..\..\c.dcm`, []byte("x"), `C:\d.dcm`, c), 3, 0, []string{"not-dicom"}},
		{"names of odd bytes", archiveOf(t, "a\x00.dcm", a, "M\x81ller\xff.dcm", b, "a\x1b[31m\n", []byte("x")), 2, 0, []string{"not-dicom"}},
		{"a name of 64 KB", archiveOf(t, long, a, "long/"+long[:math.MaxUint16-5], []byte("x")), 1, 0, []string{"not-dicom"}},
		{"no name", archiveOf(t, "", a), 1, 0, nil},
		{"pictures under names of litter", archiveOf(t, "__MACOSX/a.dcm", a, "._b.dcm", b, "Thumbs.db", c, "__MACOSX/._c", []byte("x")), 3, 0, nil},
		{"a picture called DICOMDIR, and one", archiveOf(t, "x/DICOMDIR", a, "DICOMDIR", bytes.Replace(b, []byte(dicom.ClassOphthalmic8Bit), []byte(directoryClass+strings.Repeat("\x00", len(dicom.ClassOphthalmic8Bit)-len(directoryClass))), 1),
			"y/dicomdir", []byte("x")), 1, 0, nil},
		{"a folder with content", bytes.ReplaceAll(pack(t, packed{name: "a.dcm", data: a}, packed{name: "b.dcm_", data: b}), []byte("b.dcm_"), []byte("b.dcm/")), 1, 0, []string{CodeMemberDamaged}},
		{"a link", pack(t, packed{name: "a.dcm", data: a}, packed{name: "b.dcm", data: []byte("/etc/passwd"), mode: fs.ModeSymlink}), 1, 0, []string{"not-dicom"}},
		{"one member damaged", flipped(t, three, 1), 2, 0, []string{CodeMemberDamaged}},
		{"wrong checksum", pack(t, packed{name: "a.dcm", data: a, crc: 7}, packed{name: "b.dcm", data: b}), 1, 0, []string{CodeMemberDamaged}},
		{"more than declared", pack(t, packed{name: "a.dcm", data: a, declared: 100}, packed{name: "b.dcm", data: b}), 1, 0, []string{CodeMemberDamaged}},
		{"less than declared", pack(t, packed{name: "a.dcm", data: a, declared: uint64(len(a)) + 100}, packed{name: "b.dcm", data: b}), 1, 0, []string{CodeMemberDamaged}},
		{"absurd sizes", pack(t, packed{name: "a.dcm", data: a, declared: math.MaxUint64}, packed{name: "c.dcm", data: c}, packed{name: "b.dcm", data: b, declared: 1 << 63, ratioLie: math.MaxUint64}), 1, 0,
			[]string{CodeMemberDamaged, CodeObjectTooLarge}},
		{"one that reaches over the next", pack(t, packed{name: "a.dcm", data: a}, packed{name: "b.dcm", data: b, ratioLie: 5000}, packed{name: "c.dcm", data: c}), 2, 0, []string{CodeMemberOverlap}},
		{"all entries the same member", withEntries(plain, first), 3, 0, []string{CodeArchiveIncomplete}},
		{"two entries of one member", twice(plain), 3, 0, []string{CodeMemberOverlap}},
		{"members that share their bytes", quoted(t, a), 1, 0, []string{CodeMemberOverlap, CodeMemberOverlap}},
		{"one encrypted", pack(t, packed{name: "a.dcm", data: a}, packed{name: "b.dcm", data: b, flags: encryptedFlag}, packed{name: "c.dcm", data: c}), 2, 0, []string{CodeMemberEncrypted}},
		{"all encrypted", encrypted(archiveOf(t, "x/", []byte{}, "x/a.dcm", a, "x/b.dcm", b)), 0, 0, []string{CodeArchiveEncrypted}},
		{"one bomb", archiveOf(t, "a.dcm", a, "bomb", black, "b.dcm", b), 2, 0, []string{CodeMemberBomb}},
		{"all bombs", archiveOf(t, "bomb", black, "bomb2", black), 0, 0, []string{CodeArchiveBomb}},
		{"other methods", pack(t, packed{name: "a.dcm", data: a}, packed{name: "deflate64", data: b, method: 9}, packed{name: "bzip2", data: c, method: 12}, packed{name: "lzma", data: a, method: 14},
			packed{name: "ours", data: noise(99), method: 0xFFFF}), 1, 0, []string{CodeMemberMethod, CodeMemberMethod, CodeMemberMethod, CodeMemberMethod}},
		{"a ZIP inside", archiveOf(t, "inner.zip", archiveOf(t, "x", b), "a.dcm", a), 1, 0, []string{CodeArchiveNested}},
		{"nothing", archiveOf(t), 0, 0, []string{CodeArchiveEmpty}},
		{"folders alone", archiveOf(t, "x/", []byte{}, "x/y/", []byte{}), 0, 0, []string{CodeArchiveEmpty}},
		{"a signature alone", []byte(localSignature), 0, 0, []string{CodeArchiveDamaged}},
		{"directory cut off", cutBefore(three, directorySignature, 0), 3, 0, []string{CodeArchiveIncomplete}},
		{"end cut off", cutBefore(three, endSignature, 0), 3, 0, []string{CodeArchiveIncomplete}},
		{"third member cut off", cutBefore(three, descriptorSignature, 2), 2, 0, []string{CodeArchiveIncomplete}},
		{"third member cut off, no descriptors", cutBefore(plain, directorySignature, 0)[:len(cutBefore(plain, directorySignature, 0))-1], 2, 0, []string{CodeArchiveIncomplete}},
		{"cut in the first member", three[:200], 0, 0, []string{CodeArchiveDamaged}},
		{"first part of several", append([]byte(splitSignature), three[:300]...), 0, 0, []string{CodeArchiveSplit}},
		{"first part of several, with a picture", append([]byte(splitSignature), cutBefore(three, localSignature, 2)...), 2, 0, []string{CodeArchiveIncomplete}},
		{"an end record in the comment", commented(three), 3, 0, []string{CodeArchiveIncomplete}},
		{"a directory of less than all", withEntries(pack(t, packed{name: "a.dcm", data: a}, packed{name: "b.dcm", data: b}), func(n int, entry []byte) {
			if n == 1 { // the second entry is none any more
				entry[0] = 'X'
			}
		}), 2, 0, []string{CodeArchiveIncomplete}},
	}
}

func TestArchives(t *testing.T) {
	t.Parallel()
	for _, test := range archiveCases(t) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/night.zip", test.data)
			drain(t, w)
			w.check(t, test.name, test.images, len(test.codes), test.duplicates)
			if got := w.reasons(t); !slices.Equal(got, test.codes) {
				t.Errorf("codes %v, want %v", got, test.codes)
			}
			all := test.images + len(test.codes) + test.duplicates
			w.advance(time.Second)
			w.drop("north/night.zip", test.data) // the same night again
			drain(t, w)
			w.check(t, test.name+" again", test.images, len(test.codes), test.duplicates+all)
		})
	}
}

func TestArchiveLimits(t *testing.T) {
	t.Parallel()
	var many []any
	for i := range 30 {
		many = append(many, fmt.Sprint("f", i), []byte("x"))
	}
	for name, change := range map[string]func(*Config){
		"members": func(c *Config) { c.MaxArchiveMembers = 29 },
		"total":   func(c *Config) { c.MaxArchiveBytes = 29 },
	} {
		w := newWorld()
		w.drop("north/night.zip", archiveOf(t, many...))
		s, _ := newService(t, w, func(_ *Deps, c *Config) { change(c) })
		run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
		if got := w.reasons(t); len(got) != 1 || got[0] != CodeArchiveTooLarge {
			t.Errorf("%s: codes %v", name, got)
		}
	}
}

// TestArchiveDirectoryIsBounded: 300 members whose names have 64 KB make a directory of 19 MB.
func TestArchiveDirectoryIsBounded(t *testing.T) {
	t.Parallel()
	var many []packed
	for i := range 300 {
		many = append(many, packed{name: fmt.Sprintf("%05d", i) + strings.Repeat("x", math.MaxUint16-5), data: []byte("x")})
	}
	data := pack(t, many...)
	if _, code, err := listArchive(bytes.NewReader(data), int64(len(data)), defaultArchiveLimits()); code != CodeArchiveTooLarge || err != nil {
		t.Errorf("code %q, %v", code, err)
	}
}

// TestQuotedArchiveIsOne proves the test's own bomb: to a reader that does not look where members lie, it has three sound ones.
func TestQuotedArchiveIsOne(t *testing.T) {
	t.Parallel()
	data := quoted(t, instance(t, "P1"))
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	sizes := 0
	for _, f := range r.File {
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(body)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		sizes += len(all)
	}
	if len(r.File) != 3 || sizes < 3*len(instance(t, "P1")) {
		t.Errorf("%d members, %d bytes", len(r.File), sizes)
	}
}

// TestArchiveOfManyMembers: 10,000 members that are no pictures, and the same ones without their directory, are listed, opened and
// extracted in a time that grows with their number: a second is far above what a slow machine takes, and far below 10,000² steps of
// anything that reads.
func TestArchiveOfManyMembers(t *testing.T) {
	t.Parallel()
	const members = 10_000
	var many []any
	for i := range members {
		many = append(many, fmt.Sprintf("%05d.dcm", i), []byte(fmt.Sprint(i)))
	}
	data := archiveOf(t, many...)
	for name, data := range map[string][]byte{"whole": data, "without directory": cutBefore(data, directorySignature, 0)} {
		counted := &readCounter{reader: bytes.NewReader(data)}
		list, code, err := listArchive(counted, int64(len(data)), defaultArchiveLimits())
		if err != nil || code != "" || len(list.members) != members || list.incomplete != (name != "whole") {
			t.Fatalf("%s: %d members, code %q, incomplete %v, %v", name, len(list.members), code, list.incomplete, err)
		}
		for i, m := range list.members {
			body, err := m.file.Open()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(body); err != nil || string(got) != fmt.Sprint(i) {
				t.Fatalf("%s: member %d holds %q, %v", name, i, got, err)
			}
		}
		const readsEach = 16 // headers, name, data and the places behind the data
		if counted.reads > readsEach*members {
			t.Errorf("%s: %d reads for %d members", name, counted.reads, members)
		}
	}
}

// readCounter counts reads.
type readCounter struct {
	reader io.ReaderAt
	reads  int
}

func (c *readCounter) ReadAt(p []byte, offset int64) (int, error) {
	c.reads++
	return c.reader.ReadAt(p, offset)
}

func defaultArchiveLimits() archiveLimits {
	return archiveLimits{members: 10_000, memberBytes: 512 << 20, totalBytes: 4 << 30}
}

// TestArchiveOnABrokenDisk: what cannot be read now is not called damaged.
func TestArchiveOnABrokenDisk(t *testing.T) {
	t.Parallel()
	data := archiveOf(t, "a.dcm", instance(t, "P1"), "b.dcm", instance(t, "P2"))
	dir := t.TempDir()
	for good := range 40 { // the disk breaks at each read in turn
		source := &breaking{reader: bytes.NewReader(data), good: good}
		list, code, err := listArchive(source, int64(len(data)), defaultArchiveLimits())
		for _, m := range list.members {
			if err == nil {
				var bytes *spool
				if bytes, err = m.extract(dir); err == nil {
					bytes.close()
				}
			}
		}
		if source.broke && !fault.Is(err, fault.Transient) || !source.broke && err != nil || code != "" {
			t.Errorf("after %d reads: code %q, %v", good, code, err)
		}
	}
}

// breaking is a disk that breaks after some reads.
type breaking struct {
	reader io.ReaderAt
	good   int
	broke  bool
}

func (b *breaking) ReadAt(p []byte, offset int64) (int, error) {
	if b.good == 0 {
		b.broke = true
		return 0, errors.New("input/output error")
	}
	b.good--
	return b.reader.ReadAt(p, offset)
}

func TestMemberPath(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a/b.dcm":                                 "a/b.dcm",
		"../Mu\u0308ller.dcm":                     "../Mu\u0308ller.dcm",
		"M\x81ller.dcm":                           "Müller.dcm", // code page 437
		"a\x00b\nc\x1b":                           "a\uFFFDb\uFFFDc\uFFFD",
		strings.Repeat("ä", maxMemberBytes):       strings.Repeat("ä", maxMemberBytes/2) + "…",
		"x" + strings.Repeat("ä", maxMemberBytes): "x" + strings.Repeat("ä", maxMemberBytes/2-1) + "…",
	} {
		if got := memberPath(zip.FileHeader{Name: name}); got != want {
			t.Errorf("%.40q became %.40q, want %.40q", name, got, want)
		}
	}
}

// FuzzArchive lists and extracts whatever it is given, as the service does, under small limits.
func FuzzArchive(f *testing.F) {
	for _, c := range archiveCases(f) {
		if len(c.data) < 64<<10 {
			f.Add(c.data)
		}
	}
	f.Add(archiveOf(f, "a.dcm", noise(3000), "b", []byte("x")))
	f.Add(pack(f, packed{name: "a", data: []byte("hello")}, packed{name: "b", data: []byte("hello"), flags: descriptorFlag}))
	limits := archiveLimits{members: 64, memberBytes: 1 << 20, totalBytes: 4 << 20}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		list, code, err := listArchive(bytes.NewReader(data), int64(len(data)), limits)
		if err != nil {
			t.Fatalf("bytes in memory can be read: %v", err)
		}
		if code != "" {
			checkReason(t, code)
			return
		}
		if len(list.members) > limits.members {
			t.Fatalf("%d members", len(list.members))
		}
		if _, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err != nil && !list.incomplete {
			t.Fatalf("a ZIP that cannot be read (%v) counts as complete", err)
		}
		raw, extracted := int64(0), int64(0)
		for _, m := range list.members {
			raw += m.raw.Size()
			path := memberPath(m.file.FileHeader)
			if !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl) || len(path) > maxMemberBytes+len("…") {
				t.Errorf("path %q", path)
			}
			if _, err := m.litter(); err != nil {
				t.Errorf("litter: %v", err)
			}
			extracted += extractOrKeep(t, m, dir, limits)
		}
		if raw > int64(len(data)) {
			t.Errorf("%d bytes are kept of a ZIP of %d", raw, len(data))
		}
		if extracted > limits.totalBytes {
			t.Errorf("%d bytes are extracted", extracted)
		}
	})
}

// extractOrKeep takes a member out of its ZIP, or keeps it as it lies there, and returns the bytes that were extracted.
func extractOrKeep(t *testing.T, m archiveMember, dir string, limits archiveLimits) int64 {
	t.Helper()
	if m.code == "" {
		out, err := m.extract(dir)
		if err == nil {
			defer out.close()
			if uint64(out.size) != m.file.UncompressedSize64 || out.size > limits.memberBytes {
				t.Errorf("%d bytes come out of a member of %d", out.size, m.file.UncompressedSize64)
			}
			return out.size
		}
		if !errors.Is(err, errMember) {
			t.Errorf("extracting: %v", err)
		}
		m.code = CodeMemberDamaged
	}
	checkReason(t, m.code)
	out, err := m.extractRaw(dir)
	if err != nil {
		t.Fatalf("keeping: %v", err)
	}
	defer out.close()
	if out.size != m.raw.Size() {
		t.Errorf("%d bytes are kept of %d", out.size, m.raw.Size())
	}
	return 0
}

func checkReason(t *testing.T, code string) {
	t.Helper()
	if _, known := reasonOf(code); !known {
		t.Errorf("code %s has no reason", code)
	}
}

// TestMemberPathFitsItsDocument: whatever a member is called, its quarantine document can be written.
func TestMemberPathFitsItsDocument(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/z.zip", archiveOf(t, "\xff\x00\u202e"+strings.Repeat("\xfe/", 30_000)+"x", []byte("x")))
	drain(t, w)
	q := readOne[record.Quarantine](t, w, record.QuarantineSchema, w.Buckets().Quarantine, "north/")
	if !utf8.ValidString(q.Member) || len(q.Member) > maxMemberBytes+len("…") || strings.ContainsFunc(q.Member, unicode.IsControl) {
		t.Errorf("member %q", q.Member)
	}
}
