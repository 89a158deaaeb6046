package report

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// fields are the hidden fields of the form on a page that asks or goes on, as a browser would send them.
func fields(page string) url.Values {
	out := url.Values{}
	_, form, _ := strings.Cut(page, "data-batches")
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(form, -1) {
		out.Add(m[1], html.UnescapeString(m[2]))
	}
	return out
}

// TestAllOfAReason discards all files of a reason, a batch a request; what cannot be decided about is named in the end, what came meanwhile stays.
func TestAllOfAReason(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	const many = 2*rulingBatch + 20 // more than a page of the list, too
	var keys []string
	for n := range many {
		keys = append(keys, k.quarantined(picture{1, n}, "file-truncated"))
	}
	other := k.quarantined(picture{2, 1}, "not-dicom")
	post := func(form url.Values) string {
		t.Helper()
		w := k.ask(http.MethodPost, "/quarantine/discard", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return html.UnescapeString(w.Body.String())
	}
	list := k.get("/quarantine?code=file-truncated", "Accept", "text/html").Body.String()
	if !strings.Contains(list, "All 70 of this reason") || !strings.Contains(list, "<b>70</b>") || !strings.Contains(list, "<b>1</b>") || strings.Contains(list, quarantineID(other)) {
		t.Fatalf("the list: %s", list)
	}
	until := regexp.MustCompile(`name="until" value="([^"]*)"`).FindStringSubmatch(list)[1]
	form := url.Values{"list": {"1"}, "all": {"1"}, "filter_code": {"file-truncated"}, "until": {until}, "by": {"Anna"}, "reason": {"Cut off."}}
	page := post(form)
	if !strings.Contains(page, "Discard 70 files?") || k.openFiles() != many+1 {
		t.Fatalf("unasked, %d files are open: %s", k.openFiles(), page)
	}
	// Somebody changes the history of one behind Noctua's back, and one comes meanwhile.
	k.putDocument(k.blob.Buckets().Quarantine, blob.QuarantineDocument{Key: keys[3], Kind: blob.QuarantineDecision, Number: 2}.DocumentKey(), record.DecisionSchema, record.Decision{
		Schema: record.DecisionSchema, Action: record.ActionDiscard, By: "x", Reason: "x", Clinic: "north", Number: 2, QuarantineKey: keys[3], DecidedAt: k.now(), PreviousSha256: strings.Repeat("a", 64)})
	k.move(1 << 30)
	k.quarantined(picture{1, 900}, "file-truncated")
	page = post(fields(page))
	if want := "25 files"; !strings.Contains(page, "24 done, 1 could not be, 45 left") || !strings.Contains(page, "data-go-on") {
		t.Fatalf("after the first batch of %s: %s", want, page)
	}
	page = post(fields(page))
	page = post(fields(page))
	if !strings.Contains(page, "69 files are discarded") || !strings.Contains(page, "1 could not be decided about and stays") || !strings.Contains(page, quarantineID(keys[3])+"</a>: the history of this file was changed") {
		t.Errorf("in the end: %s", page)
	}
	if strings.Contains(page, "data-batches") {
		t.Error("the page goes on for ever")
	}
	if n := k.openFiles(); n != 3 { // the one with the broken history, the one of another reason, and the one that came meanwhile
		t.Errorf("%d files are open", n)
	}
	if w := k.ask(http.MethodPost, "/quarantine/discard", url.Values{"list": {"1"}, "all": {"1"}, "by": {"A"}, "reason": {"r"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded"); w.Code != http.StatusBadRequest {
		t.Errorf("all of every reason: %d", w.Code)
	}
}

func (k *kit) openFiles() int {
	k.t.Helper()
	_, n, err := k.deps.Store.FindRejected(k.t.Context(), nil, quarantine.Open, kitStart.AddDate(-1, 0, 0), 1, 0)
	k.must(err)
	return n
}

// TestQuarantineLists: filters, what was decided lately, and taking back what was discarded.
func TestQuarantineLists(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	id := data["north"].file
	page := func(address, bearer string) string {
		t.Helper()
		w := k.send(asked{method: http.MethodGet, address: address}, bearer)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", address, w.Code)
		}
		return html.UnescapeString(w.Body.String())
	}
	all := page("/quarantine", testToken)
	if !strings.Contains(all, `<option value="south">`) || !strings.Contains(all, id) {
		t.Errorf("the list: %s", all)
	}
	if got := page("/quarantine?of=south", testToken); strings.Contains(got, id) || !strings.Contains(got, data["south"].file) || !strings.Contains(got, "Remove: Clinic south") {
		t.Errorf("of south: %s", got)
	}
	if got := page("/quarantine?day=2026-11-20", testToken); strings.Contains(got, id) || !strings.Contains(got, "meets these filters") {
		t.Errorf("of another day: %s", got)
	}
	if w := k.send(asked{method: http.MethodGet, address: "/quarantine?day=x"}, testToken); w.Code != http.StatusBadRequest {
		t.Errorf("of no day: %d", w.Code)
	}
	nurse := k.grant("nurse", "operate:south", 0)
	for _, address := range []string{"/quarantine", "/quarantine?of=north", "/quarantine?state=decided"} {
		if got := page(address, nurse); strings.Contains(got, "north/") || strings.Contains(got, `name="of"`) && !strings.Contains(address, "of=") {
			t.Errorf("%s shows a nurse of south: %s", address, got)
		}
	}
	if got := page("/quarantine?state=decided", testToken); !strings.Contains(got, "Nobody has decided") {
		t.Errorf("nothing decided: %s", got)
	}
	k.ruleBy("discard", `{"ids": ["`+id+`"], "by": "Anna", "reason": "A test picture."}`)
	if got := page("/quarantine", testToken); strings.Contains(got, `value="`+id+`"`) {
		t.Error("a discarded file is still in the list")
	}
	got := page("/quarantine?state=decided", testToken)
	for _, want := range []string{"Anna", "A test picture.", "discarded", "Take back", `value="` + id + `"`} {
		if !strings.Contains(got, want) {
			t.Errorf("what was decided lacks %q: %s", want, got)
		}
	}
	if got := page("/quarantine?state=decided", nurse); strings.Contains(got, "Anna") {
		t.Error("a nurse of south sees what was decided in north")
	}
	form := url.Values{"list": {"1"}, "filter_state": {"decided"}, "id": {id}, "by": {"Berta"}, "reason": {"It is needed."}}
	w := k.send(asked{method: http.MethodPost, address: "/quarantine/release", body: form.Encode(), form: true}, testToken)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/quarantine?state=decided" {
		t.Errorf("taking back: %d %s", w.Code, w.Header().Get("Location"))
	}
	if got := page("/quarantine?state=decided", testToken); !strings.Contains(got, "Berta") || !strings.Contains(got, "is being released") || strings.Contains(got, `name="id"`) {
		t.Errorf("taken back: %s", got)
	}
}

// TestThumbnails: a picture is as small as it is asked for, and none is looked for where there is none.
func TestThumbnails(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	eye, letter := k.quarantined(picture{1, 2}, "laterality-missing"), k.quarantined(picture{1, 3}, "not-dicom")
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Quarantine, eye, []byte("DICOM"), blob.PutOptions{}))
	list := k.get("/quarantine", "Accept", "text/html").Body.String()
	at := "/api/quarantine/" + quarantineID(eye) + "/photo.jpg"
	if !strings.Contains(list, at+"?width=400") || strings.Contains(list, quarantineID(letter)+"/photo.jpg") {
		t.Errorf("the list: %s", list)
	}
	small, large := k.get(at+"?width=100"), k.get(at)
	if small.Code != http.StatusOK || large.Code != http.StatusOK || small.Body.Len() >= large.Body.Len() {
		t.Errorf("small: %d, %d bytes; large: %d, %d bytes", small.Code, small.Body.Len(), large.Code, large.Body.Len())
	}
	if w := k.get(at + "?width=x"); w.Code != http.StatusBadRequest {
		t.Errorf("of no width: %d", w.Code)
	}
}
