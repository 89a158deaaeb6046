package dicom_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// deflated is a file whose data set is compressed.
func deflated(t testing.TB, dataset []byte) []byte {
	t.Helper()
	out := bytes.NewBuffer(header(dicom.DeflatedLittleEndian, "1.2.3.4"))
	w, err := flate.NewWriter(out, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(dataset); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDeflated(t *testing.T) {
	t.Parallel()
	dataset := native().Dataset(false)
	sound := deflated(t, dataset)
	trailer := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(dataset)), uint32(len(dataset)))
	// More than a chunk, with pixels across its border.
	large := native().With(elements{0x00280010: number(1000), 0x00280011: number(1000), 0x7FE00010: raw("OB", bytes.Repeat([]byte{1, 2, 3}, 1_000_000))})
	damaged := bytes.Clone(sound)
	damaged[len(damaged)/2+60] ^= 0xFF
	for _, test := range []struct {
		name, code string
		data       []byte
	}{
		{"sound", "", sound},
		{"padded", "", append(bytes.Clone(sound), 0)},
		{"gzip's trailer", "", append(bytes.Clone(sound), trailer...)},
		{"gzip's trailer of other data", dicom.CodeMalformed, append(append(bytes.Clone(sound), trailer[4:]...), trailer[:4]...)},
		{"gzip's trailer of another sum", dicom.CodeMalformed, append(append(bytes.Clone(sound), 1, 2, 3, 4), trailer[4:]...)},
		{"gzip's trailer of another length", dicom.CodeMalformed, append(append(bytes.Clone(sound), trailer[:4]...), 1, 2, 3, 4)},
		{"two bytes too many", dicom.CodeMalformed, append(bytes.Clone(sound), 0, 0)},
		{"several chunks", "", deflated(t, large.Dataset(false))},
		{"nothing", dicom.CodeTruncated, header(dicom.DeflatedLittleEndian, "1.2.3.4")},
		{"no deflate stream", dicom.CodeMalformed, append(header(dicom.DeflatedLittleEndian, "1.2.3.4"), 0xFF, 0xFF, 0xFF)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, instance, err := describe(t, test.data)
			if fault.CodeOf(err) != test.code {
				t.Fatalf("got %v, want %q", err, test.code)
			}
			if err != nil {
				return
			}
			if instance.Patient.ID != "P1" || instance.SizeBytes != len(test.data) {
				t.Errorf("%+v", instance)
			}
			picture, _, err := f.Decode()
			if err != nil {
				t.Fatal(err)
			}
			want := native()[0x7FE00010].Value
			if picture.Width == 1000 {
				want = bytes.Repeat([]byte{1, 2, 3}, 1_000_000)
			}
			if !bytes.Equal(picture.Pix, want) {
				t.Error("other pixels")
			}
		})
	}
	for cut := range len(sound) {
		if _, _, err := describe(t, sound[:cut]); fault.CodeOf(err) == "" {
			t.Fatalf("the first %d of %d bytes: %v", cut, len(sound), err)
		}
	}
}

// TestInflatedIsBounded: the limit counts the file as it is in memory.
func TestInflatedIsBounded(t *testing.T) {
	t.Parallel()
	dataset := native().With(elements{0x00091010: raw("OB", make([]byte, 8<<20))}).Dataset(false)
	data := deflated(t, dataset)
	whole := int64(len(header(dicom.DeflatedLittleEndian, "1.2.3.4")) + len(dataset))
	for _, test := range []struct {
		limit int64
		code  string
	}{{whole, ""}, {whole - 1, dicom.CodeInflated}, {1, dicom.CodeInflated}} {
		if _, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{MaxInflatedBytes: test.limit}); fault.CodeOf(err) != test.code {
			t.Errorf("limit %d of %d: %v, want %q", test.limit, whole, err, test.code)
		}
	}
}

// brokenAfter is a disk that breaks at an offset.
type brokenAfter struct {
	data   []byte
	offset int64
}

func (b brokenAfter) ReadAt(p []byte, offset int64) (int, error) {
	if offset+int64(len(p)) > b.offset {
		return 0, io.ErrClosedPipe
	}
	return copy(p, b.data[offset:]), nil
}

func TestDiskFailureWhileInflating(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	data := deflated(t, native().With(elements{0x00091010: raw("OB", noise)}).Dataset(false))
	if len(data) < 100_000 {
		t.Fatalf("the noise was compressed to %d bytes", len(data))
	}
	if _, err := dicom.Open(brokenAfter{data, 90_000}, int64(len(data)), dicom.Limits{}); fault.CodeOf(err) != dicom.CodeUnreadable || !fault.Is(err, fault.Transient) {
		t.Errorf("got %v", err)
	}
}
