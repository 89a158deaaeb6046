package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestClinicFromQuarantine has somebody say which clinic a picture is from: it becomes that clinic's report, and the audit log knows who looked.
func TestClinicFromQuarantine(t *testing.T) {
	t.Parallel()
	n := startAllInOne(t, t.TempDir())
	folder := filepath.Join(n.data, "drop", "north west") // no clinic's name
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "camera.dcm"), dicomtest.Native().Encode(false), 0o600); err != nil {
		t.Fatal(err)
	}
	var listed struct{ ID, Code, Clinic string }
	eventually(t, time.Minute, "the file is in quarantine", func() error {
		out := mustCommand(t, "quarantine", "list", "--json", "--data", n.data)
		if out == "" {
			return errors.New("the list is empty")
		}
		return json.Unmarshal([]byte(out), &listed)
	})
	if listed.Code != "clinic-invalid" || listed.Clinic != "unassigned" {
		t.Fatalf("listed %+v", listed)
	}
	if _, err := command(t, "quarantine", "release", listed.ID, "--clinic", "north west", "--reason", "x", "--data", n.data); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("no clinic's name: %v", err)
	}
	mustCommand(t, "quarantine", "release", listed.ID, "--clinic", "north", "--reason", "The camera stands there.", "--by", "Anna", "--data", n.data)
	if s := n.status("--wait"); s.Quarantined != 0 || s.Done+s.Failed != 1 || s.Received != 1 {
		t.Fatalf("after the release: %+v", s)
	}
	reports := waitFinal(t, n.web, n.token)
	if len(reports) != 1 || reports[0].Clinic != "north" || len(reports[0].Images) != 1 {
		t.Errorf("reports %+v", reports)
	}
	if out := mustCommand(t, "quarantine", "show", listed.ID, "--data", n.data); !strings.Contains(out, "[clinic north]") || !strings.Contains(out, "archived") {
		t.Errorf("shown: %s", out)
	}
	entries := n.files("audit")
	if len(entries) < 2 {
		t.Fatalf("the audit log holds %v", entries)
	}
	raw, err := os.ReadFile(filepath.Join(n.data, "s3", "noctua-audit", entries[len(entries)-1]))
	if err != nil || !strings.Contains(string(raw), `"via":"token"`) || !strings.Contains(string(raw), `"kind":"quarantine-file"`) || strings.Contains(string(raw), "Müller") {
		t.Errorf("the last entry of the audit log: %s, %v", raw, err)
	}
	n.stop()
}
