package dicom_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestFileHeaderIsRead: a header in front of a data set makes a file that is read without a note.
func TestFileHeaderIsRead(t *testing.T) {
	t.Parallel()
	for _, instance := range []string{"1.2.3.4", "1.2.3.45"} { // odd and even lengths
		for syntax, implicit := range map[string]bool{dicom.ImplicitLittleEndian: true, dicom.ExplicitLittleEndian: false} {
			data := dicomtest.Native().With(dicomtest.Elements{0x00080018: dicomtest.Text("UI", instance)}).Dataset(implicit)
			header := dicom.FileHeader(dicom.ClassOphthalmic8Bit, instance, syntax)
			if !bytes.Equal(header, dicom.FileHeader(dicom.ClassOphthalmic8Bit, instance, syntax)) {
				t.Error("two headers of one object differ")
			}
			whole := append(header, data...)
			file, err := dicom.Open(bytes.NewReader(whole), int64(len(whole)), dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			described, err := file.Describe()
			if err != nil {
				t.Fatal(err)
			}
			for _, note := range described.Notes {
				if note.Code == dicom.CodeNoteMeta || note.Code == dicom.CodeNotePreamble {
					t.Errorf("note %s: %s", note.Code, note.Text)
				}
			}
			if file.TransferSyntax != syntax || described.SOPUID != instance {
				t.Errorf("syntax %s, instance %s", file.TransferSyntax, described.SOPUID)
			}
			class, found := dicom.Identity(bytes.NewReader(whole), int64(len(header)), int64(len(whole)), syntax)
			if class != dicom.ClassOphthalmic8Bit || found != instance {
				t.Errorf("identity %q, %q", class, found)
			}
		}
	}
}

func TestIdentityOfBrokenDataSets(t *testing.T) {
	t.Parallel()
	sound := dicomtest.Native().Dataset(false)
	many := dicomtest.Elements{}
	for i := range 101 {
		many[0x00080000-0x10000+uint32(i)] = dicomtest.Text("LO", "x")
	}
	maps.Copy(many, dicomtest.Native())
	for name, data := range map[string][]byte{
		"empty":                   nil,
		"cut":                     sound[:30],
		"garbage":                 bytes.Repeat([]byte{0xA5}, 500),
		"too much before":         many.Dataset(false),
		"of another encoding":     dicomtest.Native().Dataset(true),
		"out of order":            append(dicomtest.Elements{0x00100020: dicomtest.Text("LO", "P1")}.Dataset(false), sound...),
		"a sequence without end":  append([]byte{8, 0, 6, 0, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, sound...),
		"a UID longer than a UID": dicomtest.Elements{0x00080016: dicomtest.Text("UI", "1.2345678901234567890123456789012345678901234567890123456789012345")}.Dataset(false),
	} {
		if class, instance := dicom.Identity(bytes.NewReader(data), 0, int64(len(data)), dicom.ExplicitLittleEndian); class != "" || instance != "" {
			t.Errorf("%s: %q, %q", name, class, instance)
		}
	}
}

// TestIdentityInEveryEncoding: the one SOP instance of the 15 encodings is found in all but the two that need more.
func TestIdentityInEveryEncoding(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(shared.Dir(t, "dicom", "syntaxes"), "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		syntax, start := encodingOf(t, raw)
		if class, instance := dicom.Identity(bytes.NewReader(raw), start, int64(len(raw)), syntax); class == dicom.ClassOphthalmic8Bit && instance != "" {
			found++
		} else if class != "" || instance != "" {
			t.Errorf("%s: %q, %q", path, class, instance)
		}
	}
	if found != len(paths)-1 {
		t.Errorf("found in %d of %d", found, len(paths))
	}
}

// encodingOf reads the transfer syntax of a file and where its data set starts, trusting its group length.
func encodingOf(t *testing.T, raw []byte) (syntax string, start int64) {
	t.Helper()
	start = 144 + int64(raw[140]) + int64(raw[141])<<8
	at := bytes.Index(raw[:start], []byte{2, 0, 0x10, 0, 'U', 'I'})
	if at < 0 {
		t.Fatal("no transfer syntax")
	}
	return string(bytes.TrimRight(raw[at+8:at+8+int(raw[at+6])], "\x00")), start
}

// TestStorageClasses: no class that doors take is refused for being one.
func TestStorageClasses(t *testing.T) {
	t.Parallel()
	for _, class := range dicom.StorageClasses() {
		data := dicomtest.Native().With(dicomtest.Elements{0x00080016: dicomtest.Text("UI", class)}).Encode(false)
		file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Describe(); fault.CodeOf(err) == dicom.CodeSOPClass {
			t.Errorf("%s is refused: %v", class, err)
		}
	}
}
