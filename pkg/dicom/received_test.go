package dicom_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"runtime"
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

// TestIdentityOfFiles: what is said of a file is what Describe says of it, for every real file, the compressed ones too.
func TestIdentityOfFiles(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(shared.Dir(t, "dicom"), "[cs]*", "*.dcm")) // clinic, syntaxes
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 55 {
		t.Fatalf("only %d files", len(paths))
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := dicom.Open(bytes.NewReader(raw), int64(len(raw)), dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		described, err := file.Describe()
		if err != nil {
			t.Fatal(err)
		}
		want := dicom.FileIdentity{Class: described.SOPClassUID, Instance: described.SOPUID, Study: described.StudyUID}
		if got := dicom.IdentityOfFile(bytes.NewReader(raw), int64(len(raw))); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
		// The beginning is enough: pixels are not looked at.
		if got := dicom.IdentityOfFile(bytes.NewReader(raw), int64(len(raw)/2)); got != want {
			t.Errorf("half of %s: %+v, want %+v", path, got, want)
		}
	}
}

func TestIdentityOfOddFiles(t *testing.T) {
	t.Parallel()
	sound := dicomtest.Native()
	whole := dicom.FileIdentity{Class: dicom.ClassOphthalmic8Bit, Instance: "1.2.3.4", Study: "1.2.3"}
	bare := dicom.FileIdentity{Class: dicom.ClassOphthalmic8Bit, Instance: "1.2.3.4"} // as group 2 says
	with := func(e dicomtest.Elements) []byte { return sound.With(e).Encode(false) }
	header := dicomtest.Header(dicom.ExplicitLittleEndian, "1.2.3.4")
	behind := func(data ...byte) []byte {
		return append(bytes.Clone(header), append(data, sound.Dataset(false)...)...)
	}
	deep := []byte{8, 0, 6, 0, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}
	for range 5000 {
		deep = append(deep, 0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF, 8, 0, 6, 0, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	}
	many := dicomtest.Elements{}
	for i := range 10_001 {
		many[0x00090000+uint32(i)] = dicomtest.Text("LO", "x")
	}
	for name, c := range map[string]struct {
		file []byte
		want dicom.FileIdentity
	}{
		"explicit":                 {sound.Encode(false), whole},
		"implicit":                 {sound.Encode(true), whole},
		"nothing":                  {nil, dicom.FileIdentity{}},
		"no DICOM":                 {bytes.Repeat([]byte{0xA5}, 500), dicom.FileIdentity{}},
		"a data set without head":  {sound.Dataset(false), dicom.FileIdentity{}},
		"group 2 alone":            {header, bare},
		"group 2 cut":              {header[:150], dicom.FileIdentity{}},
		"another name in group 2":  {append(dicomtest.Header(dicom.ExplicitLittleEndian, "9.9"), sound.Dataset(false)...), whole},
		"an instance that is none": {append(bytes.Clone(header), sound.With(dicomtest.Elements{0x00080018: dicomtest.Text("UI", "x")}).Dataset(false)...), whole},
		"an unknown syntax":        {append(dicomtest.Header("1.2.840.10008.1.2.4.110", "9.9"), sound.Dataset(false)...), whole},
		"no study":                 {with(dicomtest.Elements{0x0020000D: {}}), bare},
		"a study that is no UID":   {with(dicomtest.Elements{0x0020000D: dicomtest.Text("UI", "../x")}), bare},
		"a UID longer than a UID":  {with(dicomtest.Elements{0x0020000D: dicomtest.Text("UI", "1.2345678901234567890123456789012345678901234567890123456789012345")}), bare},
		"sequences before":         {with(dicomtest.Elements{0x00082218: dicomtest.Sequence(dicomtest.Elements{0x0020000D: dicomtest.Text("UI", "6.6")})}), whole},
		"an open sequence before":  {behind(8, 0, 6, 0, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0), whole},
		"a sequence without end":   {behind(8, 0, 6, 0, 'S', 'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF), bare},
		"sequences nested too far": {append(bytes.Clone(header), deep...), bare},
		"too much before":          {sound.With(many).Encode(false), bare},
		"damaged compression":      {append(dicomtest.Header(dicom.DeflatedLittleEndian, "1.2.3.4"), sound.Dataset(false)...), bare},
	} {
		if got := dicom.IdentityOfFile(bytes.NewReader(c.file), int64(len(c.file))); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestIdentityTakesLittle: hostile files cost no more than the bounds say. It is not parallel, since it counts what the process
// allocates.
func TestIdentityTakesLittle(t *testing.T) {
	const most = 8 << 20
	paths, err := filepath.Glob(filepath.Join(shared.Dir(t, "dicom", "hostile"), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		dicom.IdentityOfFile(bytes.NewReader(raw), int64(len(raw)))
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > most {
			t.Errorf("%s takes %d bytes", filepath.Base(path), got)
		}
	}
}

// FuzzIdentityOfFile: what is found is what Describe finds, wherever it finds anything.
func FuzzIdentityOfFile(f *testing.F) {
	f.Add(dicomtest.Native().Encode(false))
	f.Add(dicomtest.Native().Encode(true))
	f.Add(dicomtest.Native().With(dicomtest.Elements{0x00082218: dicomtest.Sequence(dicomtest.Elements{0x0020000D: dicomtest.Text("UI", "6.6")})}).Encode(false))
	f.Add(append(dicomtest.Header(dicom.DeflatedLittleEndian, "1.2.3.4"), 0x4B, 4, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		found := dicom.IdentityOfFile(bytes.NewReader(data), int64(len(data)))
		file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
		if err != nil {
			return
		}
		described, err := file.Describe()
		if err != nil {
			return
		}
		if found.Study != "" && found.Study != described.StudyUID {
			t.Errorf("study %q, but the file says %q", found.Study, described.StudyUID)
		}
		for _, note := range described.Notes {
			if note.Code == dicom.CodeNoteMeta {
				return // group 2 says otherwise, and may have been all that was found
			}
		}
		if found.Instance != "" && found.Instance != described.SOPUID || found.Class != "" && found.Class != described.SOPClassUID {
			t.Errorf("found %+v, but the file says %s, %s", found, described.SOPClassUID, described.SOPUID)
		}
	})
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
