package report

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// visitOf archives and measures a picture of patient p at a date, with an error so that visits can be compared.
func (k *kit) visitOf(p picture, date string, value float64) {
	k.t.Helper()
	k.tell(k.accept(p, func(i *record.Instance) {
		i.StudyDate, i.Device = date, &record.AcquisitionDevice{Manufacturer: "Example", Model: "Cam 1"}
	}), k.segment(p, func(r *record.Result) { r.Measures = []record.Measure{density(value, .01)} }))
}

// decide posts a decision and returns the status and answer.
func (k *kit) decide(action, body string) (int, string) {
	k.t.Helper()
	w := k.ask(http.MethodPost, "/api/patients/"+action, body)
	return w.Code, w.Body.String()
}

func ref(n int) string { return fmt.Sprintf(`{"clinic": "north", "id": "P%d", "issuer": "CLINIC"}`, n) }

// TestPatientsAreJoinedAndParted: a person says that one patient is another, takes a study out of it, and takes both back. Reports are
// amended each time, none is changed, and the index can be made again at any time.
func TestPatientsAreJoinedAndParted(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.deps.PatientKey = func(clinic, issuer, id string) string {
		return shaOf("patient", strings.TrimPrefix(id, "P"))
	}
	first, second := picture{1, 1}, picture{2, 1}
	k.visitOf(first, "2025-01-01", .1)
	k.visitOf(second, "2026-01-01", .2)
	k.quiet()
	one, two := shaOf("patient", 1), shaOf("patient", 2)
	whose := func(p picture, version int, status record.ReportStatus, key string, issued bool, change string) {
		t.Helper()
		r := k.report(p)
		text := ""
		for _, c := range r.Comparisons {
			if c.Kind == record.Change && c.AbsentReason != nil {
				text = c.AbsentReason.Code
			} else if c.Kind == record.Change {
				text = string(c.Measures[0].Verdict)
			}
		}
		if r.Version != version || r.Status != status || r.Patient.Key != key || (r.PatientAsIssued != nil) != issued || (len(r.PatientLinks) > 0) != issued || text != change {
			t.Fatalf("version %d, %s, of %s as issued %+v by %v, %s", r.Version, r.Status, r.Patient.ID, r.PatientAsIssued, r.PatientLinks, text)
		}
	}
	whose(second, 1, record.Final, two, false, noEarlierVisitCode)

	if code, body := k.decide("merge", `{"patient": `+ref(2)+`, "into": `+ref(1)+`, "by": "Nurse", "reason": "Two IDs of one person."}`); code != http.StatusOK || !strings.Contains(body, `"number":1`) {
		t.Fatalf("%d %s", code, body)
	}
	k.quiet()
	whose(first, 1, record.Final, one, false, noEarlierVisitCode)
	whose(second, 2, record.Amended, one, true, "higher")
	if r := k.report(second); r.PatientAsIssued.ID != "P2" || len(r.Series) != 1 || len(r.Series[0].Points) != 2 {
		t.Errorf("as issued %+v, series %+v", r.PatientAsIssued, r.Series)
	}
	// Asking twice is asking once, whoever is gone by now.
	if code, body := k.decide("merge", `{"patient": `+ref(2)+`, "into": `+ref(1)+`, "by": "Nurse", "reason": "Again."}`); code != http.StatusNotFound {
		t.Errorf("%d %s", code, body)
	}
	k.quiet()
	whose(second, 2, record.Amended, one, true, "higher")
	patient := k.get("/fhir/Patient/" + fhir.PatientID(two))
	if patient.Code != http.StatusOK || !strings.Contains(patient.Body.String(), `"replaced-by"`) || !strings.Contains(patient.Body.String(), fhir.PatientID(one)) || strings.Contains(patient.Body.String(), "P2") {
		t.Errorf("the patient who was joined: %d %s", patient.Code, patient.Body)
	}
	if body := k.get("/fhir/DiagnosticReport?patient=" + fhir.PatientID(one)).Body.String(); !strings.Contains(body, `"total":2`) {
		t.Errorf("reports of the patient: %s", body)
	}
	// What comes later under the old ID is of the patient, too.
	third := picture{2, 2}
	k.tell(k.accept(third, func(i *record.Instance) { i.StudyUID, i.StudyDate = "1.2.826.99", "2026-02-01" }), k.segment(third, func(r *record.Result) { r.StudyUID = "1.2.826.99" }))
	k.quiet()
	late, err := k.newest(t.Context(), reportID("north", two, "1.2.826.99"))
	k.must(err)
	if late == nil || late.Patient.Key != one || late.PatientAsIssued.ID != "P2" {
		t.Fatalf("a later study: %+v", late)
	}

	// One study is of a third patient, who has not been seen yet.
	if code, body := k.decide("split", `{"study": "`+second.report()+`", "into": {"clinic": "north", "id": "P3", "issuer": "CLINIC"}, "by": "Nurse", "reason": "Swapped at the camera."}`); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	k.quiet()
	whose(second, 3, record.Amended, shaOf("patient", "3"), true, noEarlierVisitCode)
	if k.report(second).Patient.ID != "P3" {
		t.Errorf("of %+v", k.report(second).Patient)
	}
	k.rebuilt()

	for _, number := range []int{1, 2} {
		if code, body := k.decide("undo", fmt.Sprintf(`{"patient": %s, "undoes": %d, "by": "Nurse", "reason": "It was right."}`, ref(2), number)); code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
		k.quiet()
	}
	whose(second, 4, record.Amended, two, false, noEarlierVisitCode)
	if patient := k.get("/fhir/Patient/" + fhir.PatientID(two)); !strings.Contains(patient.Body.String(), `"P2"`) || strings.Contains(patient.Body.String(), "replaced-by") {
		t.Errorf("the patient is back: %s", patient.Body)
	}
	k.rebuilt()
	links := k.get("/api/patients/links").Body.String()
	for _, want := range []string{"Swapped at the camera.", `"undoes":1`, `"action":"merge"`} {
		if !strings.Contains(links, want) {
			t.Errorf("the decisions lack %s: %s", want, links)
		}
	}
}

// TestJoinedToOneWhoIsJoined: where A became B and B becomes C, A's reports are C's as well, in new versions, until B is B again.
func TestJoinedToOneWhoIsJoined(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.deps.PatientKey = func(_, _, id string) string { return shaOf("patient", strings.TrimPrefix(id, "P")) }
	for n := 1; n <= 3; n++ {
		k.visitOf(picture{n, 1}, fmt.Sprintf("202%d-01-01", n), .1)
	}
	k.quiet()
	whose := func(version, patient int) {
		t.Helper()
		if r := k.report(picture{1, 1}); r.Version != version || r.Patient.Key != shaOf("patient", patient) {
			t.Fatalf("version %d of %s; want %d of P%d", r.Version, r.Patient.ID, version, patient)
		}
	}
	for n := 1; n <= 2; n++ { // P1 becomes P2, then P2 becomes P3
		if code, body := k.decide("merge", fmt.Sprintf(`{"patient": %s, "into": %s, "by": "Nurse", "reason": "One person."}`, ref(n), ref(n+1))); code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
		k.quiet()
		whose(n+1, n+1)
	}
	k.rebuilt()
	if code, body := k.decide("undo", fmt.Sprintf(`{"patient": %s, "undoes": 1, "by": "Nurse", "reason": "Another person."}`, ref(2))); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	k.quiet()
	whose(4, 2)
	k.rebuilt()
}

// rebuilt makes the index again from the buckets, and wants it equal.
func (k *kit) rebuilt() {
	k.t.Helper()
	before, err := k.deps.Store.Contents(k.t.Context())
	k.must(err)
	old := k.Service
	k.open(filepath.Join(k.t.TempDir(), "again.db"))
	k.deps.PatientKey = old.deps.PatientKey
	k.reconcile()
	k.issueAll()
	after, err := k.deps.Store.Contents(k.t.Context())
	k.must(err)
	a, err := json.Marshal(before)
	k.must(err)
	b, err := json.Marshal(after)
	k.must(err)
	if !reflect.DeepEqual(before, after) {
		k.t.Errorf("the index that was made again differs:\n%s\n%s", a, b)
	}
}

// TestRefusedLinks: what makes no sense, and what is another clinic's.
func TestRefusedLinks(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.visitOf(picture{1, 1}, "2025-01-01", .1)
	k.visitOf(picture{2, 1}, "2026-01-01", .2)
	k.quiet()
	why := `, "by": "Nurse", "reason": "x"}`
	for name, test := range map[string]struct {
		action, body, code string
	}{
		"an unknown patient":    {"merge", `{"patient": ` + ref(9) + `, "into": ` + ref(1) + why, "patient-unknown"},
		"into an unknown one":   {"merge", `{"patient": ` + ref(1) + `, "into": ` + ref(9) + why, "patient-unknown"},
		"into itself":           {"merge", `{"patient": ` + ref(1) + `, "into": ` + ref(1) + why, "link-invalid"},
		"another clinic":        {"merge", `{"patient": ` + ref(1) + `, "into": {"clinic": "south", "id": "P1"}` + why, "clinic-differs"},
		"by nobody":             {"merge", `{"patient": ` + ref(1) + `, "into": ` + ref(2) + `, "reason": "x"}`, "link-invalid"},
		"nowhere":               {"merge", `{"patient": ` + ref(1) + why, "patient-invalid"},
		"no study":              {"split", `{"study": "0000", "into": ` + ref(1) + why, "not-indexed"},
		"to whom nobody knows":  {"split", `{"study": "` + (picture{1, 1}).report() + `", "into": ` + ref(9) + why, "patient-unknown"},
		"to another clinic":     {"split", `{"study": "` + (picture{1, 1}).report() + `", "into": {"clinic": "south", "id": "P1"}` + why, "clinic-differs"},
		"undoing nothing":       {"undo", `{"patient": ` + ref(1) + `, "undoes": 1` + why, "link-unknown"},
		"words without meaning": {"merge", `{"patents": 1}`, "body-invalid"},
	} {
		if code, body := k.decide(test.action, test.body); code < 400 || !strings.Contains(body, test.code) {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if code, body := k.decide("merge", `{"patient": `+ref(2)+`, "into": `+ref(1)+why); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := k.decide("merge", `{"patient": `+ref(1)+`, "into": `+ref(2)+why); code != http.StatusConflict || !strings.Contains(body, "link-circle") {
		t.Errorf("a circle: %d %s", code, body)
	}
	k.quiet()
	// The list shows the id by which a decision without the patient can be undone.
	if code, body := k.decide("undo", `{"patient": {"clinic": "north", "id": "`+fhir.PatientID(shaOf("patient", 2))+`"}, "undoes": 1`+why); code != http.StatusOK {
		t.Errorf("undoing by id: %d %s", code, body)
	}
	south := k.grant("south", "operate:south", 0)
	k.deps.PatientKey = func(_, _, id string) string { return shaOf("patient", strings.TrimPrefix(id, "P")) } // by which an undo finds the patient
	for _, action := range []string{"merge", "split", "undo"} {
		body := `{"patient": ` + ref(2) + `, "into": ` + ref(1) + `, "study": "` + (picture{1, 1}).report() + `", "undoes": 1` + why
		if w := k.send(asked{method: http.MethodPost, address: "/api/patients/" + action, body: body}, south); w.Code != http.StatusNotFound {
			t.Errorf("%s by another clinic: %d %s", action, w.Code, w.Body)
		}
	}
}
