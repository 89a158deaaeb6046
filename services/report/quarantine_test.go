package report

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// ended writes what became of the last release of a file, as ingest does, and returns the event.
func (k *kit) ended(key string, result record.ReleaseResult) event.Envelope {
	k.t.Helper()
	h, err := quarantine.Load(k.t.Context(), k.blob, k.blob.Buckets().Quarantine, key)
	k.must(err)
	d := h.Steps[len(h.Steps)-1].Decision
	doc := record.Release{Schema: record.ReleaseSchema, Clinic: "north", QuarantineKey: key, Number: d.Number, Result: result, FinishedAt: k.now(), PreviousSha256: h.Last}
	if result == record.ReleaseRefused {
		doc.Code, doc.Reason, doc.Advice = "identity-conflict", "Another picture has the same number.", "Find out which is right."
	}
	k.putDocument(k.blob.Buckets().Quarantine, blob.QuarantineDocument{Key: key, Kind: blob.QuarantineRelease, Number: d.Number}.DocumentKey(), record.ReleaseSchema, doc)
	return k.event(event.TypeQuarantineReleased, key, event.QuarantineReleased{QuarantineKey: key, Number: d.Number})
}

func (k *kit) quarantined(p picture, code string) (key string) {
	k.t.Helper()
	e := k.reject(p, code)
	k.tell(e)
	data, err := event.DataOf[event.ImageRejected](e, event.TypeImageRejected)
	k.must(err)
	return data.QuarantineKey
}

// ruleBy posts a decision and returns the results.
func (k *kit) ruleBy(action, body string) []ruled {
	k.t.Helper()
	w := k.ask(http.MethodPost, "/api/quarantine/"+action, body)
	var out struct{ Files []ruled }
	if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &out) != nil {
		k.t.Fatalf("%s: %d %s", action, w.Code, w.Body)
	}
	return out.Files
}

// TestReleaseAndDiscard follows files through decisions: one is released, one comes back, one is discarded.
func TestReleaseAndDiscard(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}))
	a, b := k.quarantined(picture{1, 2}, "laterality-missing"), k.quarantined(picture{1, 3}, "not-dicom")
	k.quiet()
	k.wantStatus(0, 1, 0, 2, 0)
	if n := k.report(picture{1, 1}).Counts.Rejected; n != 2 {
		t.Fatalf("the report names %d files in quarantine", n)
	}

	release := `{"ids": ["` + quarantineID(a) + `"], "by": " Anna ", "reason": "Seen.", "correction": {"laterality": "R"}}`
	for range 2 { // twice is once
		if got := k.ruleBy("release", release); got[0].State != quarantine.Releasing || got[0].Error != nil {
			t.Fatalf("released: %+v", got[0].Error)
		}
	}
	k.wantStatus(1, 1, 0, 1, 0)
	if keys := k.blob.keys(k.blob.Buckets().Quarantine); len(keys) != 3 {
		t.Fatalf("documents %v", keys)
	}
	if got := k.ruleBy("discard", `{"ids": ["`+a+`"], "by": "Anna", "reason": "x"}`); got[0].Error == nil || got[0].Error.Code != "release-under-way" {
		t.Errorf("a discard meanwhile: %+v", got[0])
	}
	k.tell(k.ended(a, record.ReleaseRefused))
	k.wantStatus(0, 1, 0, 2, 0)
	if w := k.get("/api/quarantine/" + quarantineID(a)); !strings.Contains(w.Body.String(), `"code":"identity-conflict"`) || !strings.Contains(w.Body.String(), `"by":"Anna"`) {
		t.Errorf("after a refusal: %s", w.Body)
	}
	k.ruleBy("release", release)
	k.tell(k.ended(a, record.ReleaseArchived))
	for _, again := range k.ruleBy("release", release) {
		if again.State != quarantine.Released || again.Error != nil {
			t.Errorf("released again: %+v", again)
		}
	}

	many := k.ruleBy("discard", `{"ids": ["`+b+`", "`+a+`", "north/2026-01-01/aaaaaaa"], "by": "Anna", "reason": "A test picture."}`)
	if many[0].State != quarantine.Discarded || many[1].Error == nil || many[1].Error.Code != "already-released" || many[2].Error == nil || many[2].Error.Code != "not-indexed" {
		t.Errorf("several at once: %+v", many)
	}
	got, err := k.Status(t.Context(), kitStart.AddDate(-1, 0, 0))
	k.must(err)
	if got.Quarantined != 0 || got.Discarded == nil || *got.Discarded != 1 || got.Received != 2 {
		t.Errorf("status %+v", got)
	}
	k.quiet()
	if n := k.report(picture{1, 1}).Counts.Rejected; n != 0 {
		t.Errorf("the report still names %d files in quarantine", n)
	}

	// The index is made anew of the buckets alone.
	before, err := k.deps.Store.Contents(t.Context())
	k.must(err)
	k.open(t.TempDir() + "/new.db")
	k.reconcile()
	after, err := k.deps.Store.Contents(t.Context())
	k.must(err)
	x, _ := json.Marshal(before.Rejected)
	if y, _ := json.Marshal(after.Rejected); string(x) != string(y) {
		t.Errorf("rebuilt:\n%s\nwas\n%s", y, x)
	}
	if strings.Contains(k.logs.String(), "Anna") {
		t.Error("the log names people")
	}
}

func TestRulingsThatAreRefused(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	id := quarantineID(k.quarantined(picture{1, 2}, "laterality-missing"))
	for body, code := range map[string]string{
		`"by": "A", "reason": "r", "correction": {"patient_id": "P9"}`: "correction-not-wanted",
		`"by": "A", "reason": "r", "correction": {"laterality": "B"}`:  "decision-invalid",
		`"by": "  ", "reason": "r"`:                                    "decision-invalid",
		`"by": "A", "reason": ""`:                                      "decision-invalid",
		`"by": "A", "reason": "` + strings.Repeat("r", 1001) + `"`:     "decision-invalid",
	} {
		if got := k.ruleBy("release", `{"ids": ["`+id+`"], `+body+`}`); got[0].Error == nil || got[0].Error.Code != code {
			t.Errorf("%s: %+v", body, got[0].Error)
		}
	}
	if got := k.ruleBy("release", `{"ids": ["north/x/1"], "by": "A", "reason": "r"}`); got[0].Error == nil || got[0].Error.Code != "id-invalid" {
		t.Errorf("no id: %+v", got[0])
	}
	if w := k.ask(http.MethodPost, "/api/quarantine/release", `{"ids": [], "by": "A", "reason": "r"}`); w.Code != http.StatusBadRequest {
		t.Errorf("no files: %d", w.Code)
	}
	if keys := k.blob.keys(k.blob.Buckets().Quarantine); len(keys) != 1 {
		t.Errorf("a refused decision left %v", keys)
	}
}

// TestQuarantinePages uses the forms as a browser without JavaScript does.
func TestQuarantinePages(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	eye, other, patient := k.quarantined(picture{1, 2}, "laterality-missing"), k.quarantined(picture{1, 3}, "not-dicom"), k.quarantined(picture{1, 4}, "patient-id-missing")
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Quarantine, eye, []byte("DICOM"), blob.PutOptions{}))
	page := func(key string) string {
		t.Helper()
		w := k.get("/quarantine/"+quarantineID(key), "Accept", "text/html")
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("page: %d", w.Code)
		}
		return w.Body.String()
	}
	if body := page(eye); !strings.Contains(body, `name="laterality"`) || strings.Contains(body, `name="patient_id"`) || strings.Contains(body, "<b>x</b>") || !strings.Contains(body, "山田") {
		t.Errorf("the page of a file without eye: %s", body)
	}
	if body := page(patient); strings.Contains(body, `name="laterality"`) || !strings.Contains(body, `name="patient_id"`) {
		t.Errorf("the page of a file without patient: %s", body)
	}
	if w := k.get("/api/quarantine/" + quarantineID(eye) + "/photo.jpg"); w.Code != http.StatusOK || w.Header().Get("Content-Type") != "image/jpeg" {
		t.Errorf("picture: %d", w.Code)
	}
	if w := k.get("/api/quarantine/" + quarantineID(other) + "/photo.jpg"); w.Code != http.StatusNotFound {
		t.Errorf("picture of a file without bytes: %d", w.Code)
	}
	post := func(action string, form url.Values, headers ...string) int {
		t.Helper()
		w := k.ask(http.MethodPost, "/quarantine/"+action, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html"}, headers...)...)
		return w.Code
	}
	form := url.Values{"id": {quarantineID(eye)}, "laterality": {"R"}, "by": {"Anna"}, "reason": {"Seen."}}
	if code := post("release", form, "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("from another site: %d", code)
	}
	if code := post("release", url.Values{"id": {quarantineID(other)}, "laterality": {"R"}, "by": {"Anna"}, "reason": {"x"}}); code != http.StatusConflict {
		t.Errorf("an eye for a file that is no picture: %d", code)
	}
	if len(k.blob.keys(k.blob.Buckets().Quarantine)) != 4 {
		t.Error("a refused form left a decision")
	}
	if code := post("release", form, "Sec-Fetch-Site", "same-origin"); code != http.StatusSeeOther {
		t.Errorf("release: %d", code)
	}
	if body := page(eye); !strings.Contains(body, "is being released") || !strings.Contains(body, "Anna") || strings.Contains(body, "<form class=\"ruling\"") {
		t.Errorf("the page after the release: %s", body)
	}
	// Two at once are asked about first.
	two := url.Values{"id": {quarantineID(other), quarantineID(patient)}, "by": {"Anna"}, "reason": {"x"}}
	if code := post("discard", two); code != http.StatusOK || len(k.blob.keys(k.blob.Buckets().Quarantine)) != 5 {
		t.Errorf("discard of two, unasked: %d", code)
	}
	two.Set("sure", "1")
	if code := post("discard", two); code != http.StatusSeeOther {
		t.Errorf("discard of two: %d", code)
	}
	k.wantQuarantineEmpty()
}

func (k *kit) wantQuarantineEmpty() {
	k.t.Helper()
	if w := k.get("/quarantine", "Accept", "text/html"); !strings.Contains(w.Body.String(), "The quarantine is empty.") {
		k.t.Errorf("the list: %s", w.Body)
	}
}

// TestClinicByForm assigns a clinic to several files of a list; one that has a clinic stays as it was, and all is there again to be mended.
func TestClinicByForm(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	a, b, other := k.strayed("a"), k.strayed("b"), k.quarantined(picture{1, 3}, "not-dicom")
	post := func(action string, form url.Values) (int, string) {
		t.Helper()
		form.Set("list", "1")
		w := k.ask(http.MethodPost, "/quarantine/"+action, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
		return w.Code, w.Body.String()
	}
	ids := []string{quarantineID(a), quarantineID(other)}
	for name, test := range map[string]struct {
		form url.Values
		code int
		want []string
	}{
		"no file":   {url.Values{"clinic": {"north"}, "by": {"Anna"}, "reason": {"r"}}, http.StatusBadRequest, []string{"Choose the files first", `value="Anna"`}},
		"no clinic": {url.Values{"id": ids, "clinic": {"north/west"}, "by": {"Anna"}, "reason": {"r"}}, http.StatusBadRequest, []string{`id="clinic-wrong"`, `aria-invalid="true"`, `value="north/west"`, `value="` + ids[0] + `" checked`}},
		"too long":  {url.Values{"id": ids, "by": {strings.Repeat("A", 101)}, "reason": {""}}, http.StatusBadRequest, []string{`id="by-wrong"`, `id="reason-wrong"`}},
	} {
		if code, body := post("release", test.form); code != test.code || slices.ContainsFunc(test.want, func(s string) bool { return !strings.Contains(body, s) }) {
			t.Errorf("%s: %d, and the page should hold %q: %s", name, code, test.want, body)
		}
	}
	if n := len(k.blob.keys(k.blob.Buckets().Quarantine)); n != 3 {
		t.Fatalf("refused forms left %d documents", n-3)
	}
	code, body := post("release", url.Values{"id": {quarantineID(a), quarantineID(b), quarantineID(other)}, "clinic": {" north "}, "by": {"Anna"}, "reason": {"Seen."}})
	if code != http.StatusConflict || !strings.Contains(body, ids[1]+": only what the file does not say") || !strings.Contains(body, `value="`+ids[1]+`" checked`) {
		t.Errorf("one with a clinic among them: %d %s", code, body)
	}
	for _, key := range []string{a, b, other} {
		h, err := quarantine.Load(t.Context(), k.blob, k.blob.Buckets().Quarantine, key)
		k.must(err)
		if want := map[bool]string{true: "", false: "north"}[key == other]; h.Correction().Clinic != want {
			t.Errorf("%s: %+v", key, h.Correction())
		}
	}
	if w := k.get("/quarantine/"+quarantineID(a), "Accept", "text/html"); !strings.Contains(w.Body.String(), "clinic north") || !strings.Contains(w.Body.String(), "north (assigned)") {
		t.Errorf("the page of a file with an assigned clinic: %s", w.Body)
	}
	if w := k.get("/quarantine", "Accept", "text/html"); strings.Contains(w.Body.String(), `name="clinic"`) {
		t.Error("the list asks for a clinic that no file lacks")
	}
}
