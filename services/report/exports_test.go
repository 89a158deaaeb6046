package report

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/export"
)

// archives are exports that say what they are told to. The real ones are tested in package export.
type archives struct {
	status []record.ExportStatus
	asked  []export.Request
	fail   error
}

func (a *archives) Status(context.Context) ([]record.ExportStatus, error) { return a.status, a.fail }

func (a *archives) Request(_ context.Context, r export.Request) ([]export.Requested, error) {
	a.asked = append(a.asked, r)
	return []export.Requested{{Archive: "pacs", Results: 7}}, a.fail
}

func TestExportsAPI(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	if w := k.ask(http.MethodPost, "/api/exports", ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "archive-unknown") {
		t.Errorf("without archives: %d %s", w.Code, w.Body)
	}
	a := &archives{}
	k.deps.Exports = a
	if w := k.ask(http.MethodPost, "/api/exports?archive=pacs&since=2026-11-20&until=2026-11-21&again=true", ""); w.Code != http.StatusOK ||
		strings.TrimSpace(w.Body.String()) != `{"requested":[{"archive":"pacs","results":7}]}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	want := export.Request{Archive: "pacs", Since: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Again: true}
	if len(a.asked) != 1 || a.asked[0] != want {
		t.Errorf("asked for %+v", a.asked)
	}
	for _, query := range []string{"since=yesterday", "until=x", "again=maybe"} {
		if w := k.ask(http.MethodPost, "/api/exports?"+query, ""); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	a.fail = fault.New(fault.Transient, "storage-unavailable", "the store is away")
	if w := k.ask(http.MethodPost, "/api/exports", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(a.asked) != 2 {
		t.Errorf("bad requests were passed on: %+v", a.asked)
	}
}

// TestDeliveriesBesideExports: archives and receivers are one list to those who ask, each by its name.
func TestDeliveriesBesideExports(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	a, d := &archives{}, &archives{status: []record.ExportStatus{{Archive: "ehr", Kind: record.ReceiverHL7, Failed: 2}, {Archive: "hook", Kind: record.ReceiverWebhook, Pending: 1, Code: "receiver-gone", Reason: "It wants no more."}}}
	k.deps.Exports, k.deps.Deliveries = a, d
	if w := k.ask(http.MethodPost, "/api/exports", ""); w.Code != http.StatusOK || strings.Count(w.Body.String(), `"results":7`) != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	a.fail = fault.New(fault.NotFound, "archive-unknown", "there is no such archive")
	if w := k.ask(http.MethodPost, "/api/exports?archive=ehr", ""); w.Code != http.StatusOK || strings.Count(w.Body.String(), `"results":7`) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	d.fail = a.fail
	if w := k.ask(http.MethodPost, "/api/exports?archive=nobody", ""); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	a.fail, d.fail = nil, nil
	p := picture{1, 1}
	k.tell(k.accept(p), k.segment(p))
	k.quiet()
	k.move(time.Minute)
	got := k.get("/", "Accept", "text/html").Body.String()
	for _, want := range []string{"Reports did not reach a receiver", "reports were not taken by the HL7 receiver ehr", "report waits for the webhook hook, which takes nothing at the moment: It wants no more."} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q:\n%s", want, got)
		}
	}
	if w := k.get("/api/status"); !strings.Contains(w.Body.String(), `"kind":"hl7"`) {
		t.Errorf("%s", w.Body)
	}
}

func TestExportsInTheStatus(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	p := picture{1, 1}
	k.tell(k.accept(p), k.segment(p))
	k.quiet()
	page := func() string {
		t.Helper()
		k.move(time.Minute) // beyond the life of the numbers on the page
		w := k.get("/", "Accept", "text/html")
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	a := &archives{status: []record.ExportStatus{{Archive: "pacs", Sent: 5}, {Archive: "vna", Pending: 2}}}
	k.deps.Exports = a
	if got := page(); !strings.Contains(got, "The night went well") || strings.Contains(got, "archive") {
		t.Errorf("when all is well the page says:\n%s", got)
	}
	a.status = []record.ExportStatus{{Archive: "pacs", Sent: 5, Failed: 1}, {Archive: "vna", Pending: 2, Code: "archive-unreachable", Reason: "it does not answer <b>", DownSince: kitStart}}
	got := page()
	for _, want := range []string{"Results did not reach an archive", "result was not taken by the archive pacs", "results wait for the archive vna, which takes nothing at the moment: it does not answer &lt;b&gt;."} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q:\n%s", want, got)
		}
	}
	var s record.Status
	w := k.get("/api/status")
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || len(s.Exports) != 2 || s.Exports[1] != a.status[1] {
		t.Errorf("%v, %s", err, w.Body)
	}
	if _, err := record.Encode("noctua.status.v1", s); err != nil {
		t.Error(err)
	}
}
