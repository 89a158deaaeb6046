package e2e

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
)

// TestDemo: the drawn night goes through the real pipeline and shows each kind of outcome; drawn again, it is the same files, and nothing is computed twice.
func TestDemo(t *testing.T) {
	t.Parallel()
	n := startAllInOne(t, t.TempDir())
	night := []string{"demo", "--data", n.data, "--patients", "3", "--clinics", "north,south", "--day", "2026-11-23"}
	out := mustCommand(t, night...)
	if !strings.Contains(out, "Look at "+n.web) || !strings.Contains(out, "5 files in quarantine, 1 sent twice, 0 pending") {
		t.Errorf("the demo says %q", out)
	}
	changed, amended, ungradable, clinics, visits := false, 0, 0, map[string]bool{}, 0
	for _, r := range waitFinal(t, n.web, n.token) {
		clinics[r.Clinic] = true
		visits++
		ungradable += r.Counts.Ungradable
		if r.Status == record.Amended {
			amended++
			if r.Patient.ID != "PHANTOM-0002" || r.StudyDate != "2026-11-23" {
				t.Errorf("the report of %s on %s is amended", r.Patient.ID, r.StudyDate)
			}
		}
		for _, c := range r.Comparisons {
			beyond := slices.ContainsFunc(c.Measures, func(m record.ComparedMeasure) bool { return m.Verdict == record.Lower || m.Verdict == record.Higher })
			if c.Kind != record.Change || !beyond {
				continue
			}
			// Vessels were lost, of the first patient and before the last visit alone.
			if lower := slices.ContainsFunc(c.Measures, func(m record.ComparedMeasure) bool { return m.Verdict == record.Higher }); lower || r.Patient.ID != "PHANTOM-0001" || r.StudyDate != "2026-11-23" {
				t.Errorf("the report of %s on %s says %+v", r.Patient.ID, r.StudyDate, c.Measures)
			}
			changed = true
		}
	}
	if !changed || amended != 1 || ungradable != 1 || len(clinics) != 2 || visits != 8 {
		t.Errorf("changed %v, amended %d, ungradable %d, clinics %v, visits %d", changed, amended, ungradable, clinics, visits)
	}
	var kept struct {
		Files []struct {
			Code string `json:"code"`
		} `json:"files"`
	}
	getJSON(t, n.web, n.token, "/api/quarantine", &kept)
	var codes []string
	for _, f := range kept.Files {
		codes = append(codes, f.Code)
	}
	slices.Sort(codes)
	if want := []string{"file-truncated", "laterality-missing", "not-dicom", "patient-id-missing", "sop-class-unsupported"}; !slices.Equal(codes, want) {
		t.Errorf("in quarantine are %v", codes)
	}
	// The list has who needs a person, and who has changed.
	for address, want := range map[string]string{"/patients?only=changed": "Bóng Ma", "/patients?only=ungradable": "רוח", "/patients?status=amended": "شبح", "/quarantine": "What to do"} {
		if code, page := get(t, n.web, n.token, address); code != http.StatusOK || !strings.Contains(string(page), want) {
			t.Errorf("%s (%d) lacks %s", address, code, want)
		}
	}
	results := len(n.files("results"))
	if out := mustCommand(t, night...); !strings.Contains(out, "were here already") {
		t.Errorf("the same demo again says %q", out)
	}
	if again := len(n.files("results")); again != results {
		t.Errorf("%d files of results became %d", results, again)
	}
	// Without a server, the same bytes in folders.
	folder := t.TempDir()
	mustCommand(t, "demo", "--out", folder, "--patients", "1", "--clinics", "north", "--day", "2026-11-23")
	for part, want := range map[string]int{"1-earlier-visits": 6, "2-tonight": 7, "3-late": 1} {
		if found, err := filepath.Glob(filepath.Join(folder, part, "north", "*")); err != nil || len(found) != want {
			t.Errorf("%s has %d files, %v", part, len(found), err)
		}
	}
	n.stop()
}
