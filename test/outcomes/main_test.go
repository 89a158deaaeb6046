package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
)

func TestMain(m *testing.M) {
	isolated.Serve()
	os.Exit(m.Run())
}

// TestTable: every file is in one row, with the code that intake would give it and what it cost.
func TestTable(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	native := dicomtest.Native()
	for name, data := range map[string][]byte{
		"sound":       native.Encode(false),
		"deep/16 bit": native.With(native.Sixteen(16)).Encode(true),
		"angiography": native.With(dicomtest.Elements{0x00080008: dicomtest.Text("CS", `ORIGINAL\PRIMARY\\FA`)}).Encode(false),
		"no eye":      native.With(dicomtest.Elements{0x00200062: {}}).Encode(false),
		"text":        []byte("no picture"),
		"undecodable": native.With(dicomtest.Elements{0x00280100: dicomtest.Number(32), 0x7FE00010: {VR: "OW", Value: make([]byte, 144)}}).Encode(false),
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := judge(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.cost.PeakBytes < 1<<20 || f.cost.Duration <= 0 {
			t.Errorf("%s cost %+v", f.path, f.cost)
		}
	}
	var out strings.Builder
	if err := write(&out, folder, files); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`\d+ (MB|ms)`).ReplaceAllString(out.String(), "N $1")
	got = regexp.MustCompile(`, (16 bit|sound) \|`).ReplaceAllString(got, ", one |")
	want := "\n" + filepath.Base(folder) + `: 6 files

| outcome | code | files | most memory | longest |
|---|---|---|---|---|
| analysed |  | 2 | N MB, one | N ms, one |
| archived only | ` + "`image-not-colour`" + ` | 1 | N MB, angiography | N ms, angiography |
| quarantine | ` + "`laterality-missing`" + ` | 1 | N MB, no eye | N ms, no eye |
| quarantine | ` + "`not-dicom`" + ` | 1 | N MB, text | N ms, text |
| quarantine | ` + "`pixel-format-unsupported`" + ` | 1 | N MB, undecodable | N ms, undecodable |
`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
