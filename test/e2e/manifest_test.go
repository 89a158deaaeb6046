package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/record"
)

// TestStudiesWithManifests come by a watched share. One that is all there is reported at once, though nothing is final by silence for a
// thousand hours; one that lacks a picture is reported with that at the manifest's deadline; one that does not come at all is said in
// quarantine, and so is a manifest that is none.
func TestStudiesWithManifests(t *testing.T) {
	t.Parallel()
	share := t.TempDir()
	picture := func(study, n int, patient string) []byte {
		return dicomtest.Native().With(dicomtest.Elements{
			0x00080018: dicomtest.Text("UI", fmt.Sprintf("1.2.%d.%d", study, n)), 0x0020000D: dicomtest.Text("UI", fmt.Sprintf("1.2.%d", study)),
			0x00100020: dicomtest.Text("LO", patient),
		}).Encode(false)
	}
	drop := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(share, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	manifest := func(study int, files ...[]byte) {
		t.Helper()
		m := record.Manifest{Schema: record.ManifestSchema, StudyUID: fmt.Sprintf("1.2.%d", study)}
		for n, file := range files {
			digest := sha256.Sum256(file)
			m.Instances = append(m.Instances, record.ExpectedInstance{SOPUID: fmt.Sprintf("1.2.%d.%d", study, n+1), Sha256: hex.EncodeToString(digest[:]), SizeBytes: len(file)})
		}
		raw, err := record.Encode(record.ManifestSchema, m)
		if err != nil {
			t.Fatal(err)
		}
		drop(fmt.Sprintf("%d/manifest.json", study), raw)
	}
	junk := []byte("not a picture, but announced")
	first, second, lone := picture(1, 1, "P1"), picture(1, 2, "P1"), picture(2, 1, "P2")
	drop("1/first.dcm", first)
	drop("1/second.dcm", second)
	drop("1/third.dcm", junk)
	manifest(1, first, second, junk)
	drop("2/lone.dcm", lone)
	manifest(2, lone, picture(2, 2, "P2"))
	manifest(3, picture(3, 1, "P3"))
	drop("4/manifest.json", []byte("{}"))

	n := startAllInOne(t, t.TempDir(), "--watch", "north="+share, "--watch-settle", "500ms", "--quiet-period", "1000h", "--manifest-deadline", "15s")
	submitted := filepath.Join(t.TempDir(), "5.dcm")
	if err := os.WriteFile(submitted, picture(5, 1, "P5"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustCommand(t, "submit", submitted, "--clinic", "north", "--manifest", "--data", n.data); !strings.Contains(out, "1 picture(s) of 1 study(ies) are announced; 0 other") {
		t.Errorf("submit says %q", out)
	}
	var reports []record.Report
	eventually(t, nightTimeout, "three final reports", func() error {
		reports = waitFinal(t, n.web, n.token)
		if len(reports) != 3 {
			return fmt.Errorf("%d reports", len(reports))
		}
		return nil
	})
	for _, r := range reports {
		switch {
		case r.Clinic != "north":
			t.Errorf("a report of clinic %s", r.Clinic)
		case r.StudyUID == "1.2.5" && (len(r.Images) != 1 || len(r.Missing) != 0):
			t.Errorf("the submitted study: %d images, missing %+v", len(r.Images), r.Missing)
		case r.StudyUID == "1.2.1" && (len(r.Images) != 2 || len(r.Missing) != 0):
			t.Errorf("the study that is all there: %d images, missing %+v", len(r.Images), r.Missing)
		case r.StudyUID == "1.2.2" && (len(r.Images) != 1 || len(r.Missing) != 1 || r.Missing[0].Code != "instance-missing" || r.Missing[0].SOPUID != "1.2.2.2"):
			t.Errorf("the study that lacks one: %d images, missing %+v", len(r.Images), r.Missing)
		}
	}
	if left, err := filepath.Glob(filepath.Join(share, "*", "*")); err != nil || len(left) != 0 {
		t.Errorf("the share still holds %v, %v", left, err)
	}
	n.stop()
	// The intake looks for studies that did not come at its start and every few minutes.
	n = startAllInOne(t, n.data, "--manifest-deadline", "15s")
	eventually(t, nightTimeout, "what did not come is in quarantine", func() error {
		if s := n.status(); s.Quarantined != 3 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	n.stop()
}
