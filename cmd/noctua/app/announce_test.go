package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

func TestAnnounce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	picture := func(study, n int, change dicomtest.Elements) []byte {
		return dicomtest.Native().With(dicomtest.Elements{
			0x00080018: dicomtest.Text("UI", fmt.Sprintf("1.2.%d.%d", study, n)), 0x0020000D: dicomtest.Text("UI", fmt.Sprintf("1.2.%d", study)),
		}).With(change).Encode(false)
	}
	content := map[string][]byte{
		"b/2.dcm": picture(1, 2, nil), "a/1.dcm": picture(1, 1, nil),
		"no-eye.dcm":   picture(2, 1, dicomtest.Elements{0x00200062: {}}), // in quarantine later, which is an outcome
		"again.dcm":    picture(1, 1, dicomtest.Elements{0x00100020: dicomtest.Text("LO", "P9")}),
		"no-study.dcm": picture(3, 1, dicomtest.Elements{0x0020000D: {}}),
		"notes.txt":    []byte("no picture"),
		"empty":        {},
	}
	for name, data := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := collect([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	a, err := announce(t.Context(), t.TempDir(), files)
	if err != nil || a.instances != 3 || a.left != 4 || len(a.manifests) != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	announced := map[string]record.ExpectedInstance{}
	for _, u := range a.manifests {
		raw, err := os.ReadFile(u.path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := record.Decode[record.Manifest](record.ManifestSchema, raw)
		if err != nil || u.size != int64(len(raw)) || u.name != "manifests/"+m.StudyUID+"/manifest.json" {
			t.Fatalf("%+v, %v", u, err)
		}
		for n, i := range m.Instances {
			if n > 0 && i.SOPUID <= m.Instances[n-1].SOPUID {
				t.Errorf("instances of study %s are out of order", m.StudyUID)
			}
			announced[m.StudyUID+" "+i.SOPUID] = i
		}
	}
	for key, name := range map[string]string{"1.2.1 1.2.1.1": "a/1.dcm", "1.2.1 1.2.1.2": "b/2.dcm", "1.2.2 1.2.2.1": "no-eye.dcm"} {
		digest := sha256.Sum256(content[name])
		if i := announced[key]; i.Sha256 != hex.EncodeToString(digest[:]) || i.SizeBytes != len(content[name]) {
			t.Errorf("%s is announced as %+v", key, i)
		}
	}

	// What is shorter by now than when it was found, or gone, is an error.
	files[0].size++
	if _, err := announce(t.Context(), t.TempDir(), files[:1]); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	files[0].path += " gone"
	if _, err := announce(t.Context(), t.TempDir(), files[:1]); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}
