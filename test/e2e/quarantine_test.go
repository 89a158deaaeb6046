package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
)

// TestReleaseFromQuarantine has a nurse say which eye a picture shows: it becomes a report.
func TestReleaseFromQuarantine(t *testing.T) {
	t.Parallel()
	n := startAllInOne(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "camera.dcm")
	if err := os.WriteFile(file, dicomtest.Native().With(dicomtest.Elements{0x00200062: {}}).Encode(false), 0o600); err != nil {
		t.Fatal(err)
	}
	mustCommand(t, "submit", file, "--clinic", "north", "--data", n.data)
	if s := n.status("--wait"); s.Quarantined != 1 || s.Done != 0 {
		t.Fatalf("status %+v", s)
	}
	var listed struct{ ID, Code string }
	if err := json.Unmarshal([]byte(mustCommand(t, "quarantine", "list", "--json", "--data", n.data)), &listed); err != nil || listed.Code != "laterality-missing" {
		t.Fatalf("listed %+v, %v", listed, err)
	}
	if out := mustCommand(t, "quarantine", "show", listed.ID, "--data", n.data); !strings.Contains(out, "What to do") || !strings.Contains(out, "Müller") {
		t.Errorf("shown: %s", out)
	}
	if code, _ := get(t, n.web, n.token, "/api/quarantine/"+listed.ID+"/photo.jpg"); code != 200 {
		t.Errorf("picture: %d", code)
	}
	if _, err := command(t, "quarantine", "release", listed.ID, "--patient-id", "P9", "--reason", "x", "--data", n.data); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a correction that is not wanted: %v", err)
	}
	for range 2 { // twice is once
		mustCommand(t, "quarantine", "release", listed.ID, "--laterality", "R", "--reason", "Seen at the camera.", "--by", "Anna", "--data", n.data)
	}
	if s := n.status("--wait"); s.Quarantined != 0 || s.Done+s.Failed != 1 || s.Received != 1 || s.Duplicate != 0 {
		t.Fatalf("after the release: %+v", s)
	}
	reports := waitFinal(t, n.web, n.token)
	if len(reports) != 1 || len(reports[0].Images) != 1 || reports[0].Images[0].Laterality != "R" || len(reports[0].Rejected) != 0 {
		t.Errorf("reports %+v", reports)
	}
	if out := mustCommand(t, "quarantine", "list", "--state", "released", "--data", n.data); !strings.Contains(out, listed.ID) {
		t.Errorf("released: %s", out)
	}
	n.stop()
}
