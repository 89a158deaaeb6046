package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// reports are the newest reports by PatientID as the clinic gave it.
func (n *noctua) reports() map[string]record.Report {
	n.t.Helper()
	var list struct {
		Reports []struct {
			ID string `json:"report_id"`
		} `json:"reports"`
	}
	getJSON(n.t, n.web, n.token, "/api/reports", &list)
	all := map[string]record.Report{}
	for _, line := range list.Reports {
		var r record.Report
		getJSON(n.t, n.web, n.token, "/api/reports/"+line.ID, &r)
		id := r.Patient.ID
		if r.PatientAsIssued != nil {
			id = r.PatientAsIssued.ID
		}
		all[id] = r
	}
	return all
}

// TestRecord: an operator joins two patients and undoes it; another model measures the night beside the first, and speaks for it when it is
// the one in use. Nothing is measured twice, no version changes, and reports say for whom and by which model they speak.
func TestRecord(t *testing.T) {
	t.Parallel()
	clinic := clinicFolder(t)
	tiny, err := filepath.Abs(filepath.FromSlash("../../pkg/unet/testdata/tiny"))
	if err != nil {
		t.Fatal(err)
	}
	n := startAllInOne(t, t.TempDir())
	mustCommand(t, "submit", filepath.Join(clinic, "chase_01L.dcm"), filepath.Join(clinic, "chase_01R.dcm"), filepath.Join(clinic, "chase_02L.dcm"), "--clinic", "north", "--data", n.data)
	if s := n.status("--wait"); s.Done != 3 {
		t.Fatalf("%+v", s)
	}
	amended := func(what string, check func(map[string]record.Report) bool) map[string]record.Report {
		t.Helper()
		var got map[string]record.Report
		eventually(t, time.Minute, what, func() error {
			if got = n.reports(); !check(got) {
				return fmt.Errorf("%d reports", len(got))
			}
			return nil
		})
		return got
	}
	before := amended("two final reports", func(all map[string]record.Report) bool {
		for _, r := range all {
			if r.Status == record.Preliminary {
				return false
			}
		}
		return len(all) == 2
	})
	var ids []string
	for id, r := range before {
		ids = append(ids, id)
		if len(r.Models) != 1 || r.Models[0].Name == "tiny" || len(r.Eyes) != 2 || len(r.Images) == 2 && (r.Eyes[0].Status != "measured" || r.Eyes[1].Status != "measured") {
			t.Errorf("the report of %s: models %v, eyes %+v", id, r.Models, r.Eyes)
		}
	}
	if len(ids) != 2 {
		t.Fatalf("patients %v", ids)
	}

	decide := []string{"--clinic", "north", "--by", "Nurse", "--reason", "One person", "--data", n.data}
	mustCommand(t, append([]string{"patient", "merge", ids[0], ids[1]}, decide...)...)
	joined := amended("the report of the joined patient", func(r map[string]record.Report) bool { return r[ids[0]].Patient.ID == ids[1] })
	if r := joined[ids[0]]; r.Status != record.Amended || r.Version != before[ids[0]].Version+1 || len(r.PatientLinks) != 1 || joined[ids[1]].Version != before[ids[1]].Version {
		t.Errorf("joined: version %d, %s, %v", r.Version, r.Status, r.PatientLinks)
	}
	links := strings.Fields(strings.Split(mustCommand(t, "patient", "links", "--data", n.data), "\n")[1])
	mustCommand(t, append([]string{"patient", "undo", links[0], links[1]}, decide...)...)
	amended("the patients apart again", func(r map[string]record.Report) bool { return r[ids[0]].Patient.ID == ids[0] })

	shipped := len(n.files("results"))
	out := mustCommand(t, "reprocess", "--model", tiny, "--since", time.Now().Add(-time.Hour).Format(time.RFC3339), "--data", n.data)
	if !strings.Contains(out, "3 images by tiny 1") || !strings.Contains(out, "3 measured now, 0 before, 0 cannot") {
		t.Errorf("%s", out)
	}
	if out = mustCommand(t, "reprocess", "--model", tiny, "--since", time.Now().Add(-time.Hour).Format(time.RFC3339), "--data", n.data); !strings.Contains(out, "0 measured now, 3 before") {
		t.Errorf("again: %s", out)
	}
	if out = mustCommand(t, "reprocess", "--model", tiny, "--since", "2100-01-01", "--data", n.data); !strings.Contains(out, "0 images") {
		t.Errorf("of no day: %s", out)
	}
	beside := n.files("results")
	if len(beside) <= shipped {
		t.Fatalf("%d files of results, %d before", len(beside), shipped)
	}
	for id, r := range n.reports() {
		if len(r.Models) != 1 || r.Models[0].Name == "tiny" {
			t.Errorf("the report of %s speaks for %v before the model is in use", id, r.Models)
		}
	}
	versions := map[string]int{}
	for id, r := range n.reports() {
		versions[id] = r.Version
	}
	n.stop()
	n = startAllInOne(t, n.data, "--model", tiny)
	now := amended("reports by the other model", func(all map[string]record.Report) bool {
		for _, r := range all {
			if len(r.Models) != 1 || r.Models[0].Name != "tiny" {
				return false
			}
		}
		return len(all) == 2
	})
	for id, r := range now {
		if r.Version != versions[id]+1 || r.Status != record.Amended {
			t.Errorf("%s: version %d after %d, %s", id, r.Version, versions[id], r.Status)
		}
		code, raw := get(t, n.web, n.token, fmt.Sprintf("/api/reports/%s?version=%d", r.ReportID, versions[id]))
		var old record.Report
		if err := json.Unmarshal(raw, &old); err != nil || code != http.StatusOK || old.Models[0].Name == "tiny" {
			t.Errorf("the version before speaks for %v, %v", old.Models, err)
		}
	}
	if after := n.files("results"); len(after) != len(beside) {
		t.Errorf("%d files of results, %d before the model was in use", len(after), len(beside))
	}
	n.stop()
}
