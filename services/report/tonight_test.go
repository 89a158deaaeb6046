package report

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

// sse reads server-sent events.
type sse struct {
	t      *testing.T
	events chan [2]string // name and data; closed when the stream ends
	status int
	broken error // how it ended, if not as it should
}

// eventPatience is how long an event may take on a machine that has other things to do.
const eventPatience = time.Minute

// follow opens a stream of tonight's numbers.
func follow(t *testing.T, server string, headers ...string) *sse {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/tonight/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n+1 < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	f := &sse{t: t, events: make(chan [2]string, 100), status: answer.StatusCode}
	if answer.StatusCode == http.StatusOK {
		for name, want := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform"} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	go func() {
		defer close(f.events)
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, 8<<20)
		var event [2]string
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				event[0] = value
			case "data":
				event[1] += value + "\n"
			case "":
				f.events <- event
				event = [2]string{}
			}
		}
		f.broken = lines.Err()
	}()
	return f
}

// next returns the data of the next event of a name, passing over those of the time.
func (f *sse) next(name string) string {
	f.t.Helper()
	deadline := time.After(eventPatience)
	for {
		select {
		case event, ok := <-f.events:
			switch {
			case !ok:
				f.t.Fatalf("the stream ended before an event %q", name)
			case event[0] == name:
				return event[1]
			case event[0] != "asof":
				f.t.Fatalf("event %q before %q: %s", event[0], name, event[1])
			}
		case <-deadline:
			f.t.Fatalf("there is no event %q", name)
		}
	}
}

// ended waits for the end of the stream.
func (f *sse) ended() {
	f.t.Helper()
	deadline := time.After(eventPatience)
	for {
		select {
		case _, ok := <-f.events:
			if !ok {
				return
			}
		case <-deadline:
			f.t.Fatal("the stream does not end")
		}
	}
}

// served is a server whose deadlines are shorter than the pause between two looks.
func served(t *testing.T, k *kit) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(k.Handler())
	server.Config.ReadTimeout, server.Config.WriteTimeout = liveEvery/2, liveEvery/2
	server.Start()
	t.Cleanup(server.Close)
	return server
}

var bearer = []string{"Authorization", "Bearer " + testToken}

// TestEventsFollowTheNight: the first event is the whole, the others what changed, for longer than the deadlines of the server; no patient is in them.
func TestEventsFollowTheNight(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	server := served(t, k)
	f := follow(t, server.URL, bearer...)
	first := f.next("night")
	for _, part := range []string{"verdict", "needs", "numbers", "course", "clinics"} {
		if !strings.Contains(first, `data-part="`+part+`"`) {
			t.Errorf("the first event lacks %s: %s", part, first)
		}
	}
	if !strings.Contains(first, "Nothing has come in yet") {
		t.Errorf("an empty night: %s", first)
	}
	k.tell(k.accept(picture{1, 1}), k.reject(picture{2, 1}, "laterality-missing"))
	k.move(2 * time.Second)
	second := f.next("night")
	if !strings.Contains(second, "Screening is under way") || !strings.Contains(second, "The file does not say which eye it shows.") {
		t.Errorf("a picture came: %s", second)
	}
	k.move(liveLife)
	k.tell(k.segment(picture{1, 1}))
	k.settle()
	third := f.next("night")
	if !strings.Contains(third, "Finished. One picture needs a person.") || strings.Contains(third, `data-part="needs"`) && !strings.Contains(third, "data-people") {
		t.Errorf("it is dealt with: %s", third)
	}
	for n, html := range []string{first, second, third} {
		if strings.Contains(html, "FAMILY") || strings.Contains(html, "P1") || strings.Contains(html, "山田") {
			t.Errorf("event %d tells of patients: %s", n, html)
		}
	}
	again := follow(t, server.URL, bearer...).next("night")
	if !strings.Contains(again, `data-part="clinics"`) || !strings.Contains(again, `data-part="verdict"`) {
		t.Errorf("who comes later does not get the whole: %s", again)
	}
	// The service stops.
	k.live.endStreams()
	f.ended()
}

// TestViewersShareOneCount: many who look at the same clinics cost one count.
func TestViewersShareOneCount(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	var counts atomic.Int64
	k.deps.Upstream = func(context.Context) (int, error) { counts.Add(1); return 1, nil } // something is pending, so that a count is one
	server := served(t, k)
	for range 8 {
		follow(t, server.URL, bearer...).next("night")
	}
	if n := counts.Load(); n != 1 {
		t.Errorf("%d counts while the clock stands still", n)
	}
	k.grant("north", "report.read:north", 0)
	k.move(liveLife)
	follow(t, server.URL, bearer...).next("night")
	if n := counts.Load(); n != 2 {
		t.Errorf("%d counts a second later", n)
	}
}

// TestStreamsEndWithTheirSession: within seconds of the token's end, or of its clinics' change.
func TestStreamsEndWithTheirSession(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	server := served(t, k)
	nurse := k.grant("nurse", "report.read:north", 0)
	w := k.ask(http.MethodPost, "/signin", "token="+nurse, "Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
	cookie := w.Result().Cookies()[0]
	bySession := follow(t, server.URL, "Cookie", cookie.Name+"="+cookie.Value)
	bySession.next("night")
	byToken := follow(t, server.URL, "Authorization", "Bearer "+nurse)
	byToken.next("night")
	other := follow(t, server.URL, bearer...)
	other.next("night")
	k.revoke("nurse")
	for _, f := range []*sse{bySession, byToken} {
		f.next("over")
		f.ended()
	}
	k.tell(k.accept(picture{1, 1}))
	k.move(liveLife)
	other.next("night") // goes on
	if f := follow(t, server.URL, "Cookie", cookie.Name+"="+cookie.Value); f.status != http.StatusUnauthorized {
		t.Errorf("a stream after the end of the session: %d", f.status)
	}
}

// TestStreamsEndWithTheService: the service does not wait for those who look, and ends their streams as answers end.
func TestStreamsEndWithTheService(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	free, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	k := newKit(t, func(c *Config) { c.Listen = address })
	k.must(free.Close())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- k.serve(ctx) }()
	k.wait("the service to listen", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	f := follow(t, "http://"+address, bearer...)
	f.next("night")
	stop()
	f.ended()
	if f.broken != nil {
		t.Errorf("the stream was cut off: %v", f.broken)
	}
	select {
	case err := <-done:
		k.must(err)
	case <-time.After(eventPatience):
		t.Fatal("the service does not stop")
	}
}

// TestStreamsAreLimited: streams leave room for what people look at.
func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config) { c.MaxRequests, c.MaxRequestsPerCaller = 6, 4 })
	server := served(t, k)
	quiet := k.grant("quiet", "report.read", 0)
	var open []*sse
	for range 2 {
		f := follow(t, server.URL, bearer...)
		f.next("night")
		open = append(open, f)
	}
	if f := follow(t, server.URL, bearer...); f.status != http.StatusTooManyRequests {
		t.Errorf("a third stream of a caller: %d", f.status)
	}
	follow(t, server.URL, "Authorization", "Bearer "+quiet).next("night")
	if f := follow(t, server.URL, "Authorization", "Bearer "+quiet); f.status != http.StatusServiceUnavailable {
		t.Errorf("a fourth stream of all: %d", f.status)
	}
	if w := k.get("/api/me"); w.Code != http.StatusOK {
		t.Errorf("a request beside: %d", w.Code)
	}
	k.live.endStreams()
	for _, f := range open {
		f.ended()
	}
}

// TestNumbersThatCannotBeHad: the page and the stream say so, and go on when they can.
func TestNumbersThatCannotBeHad(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	server := served(t, k)
	var broken atomic.Bool
	k.deps.Upstream = func(context.Context) (int, error) {
		if broken.Load() {
			return 0, fault.New(fault.Transient, "folder-away", "the watched folder does not answer")
		}
		return 0, nil
	}
	f := follow(t, server.URL, bearer...)
	f.next("night")
	broken.Store(true)
	k.move(liveLife)
	if got := f.next("trouble"); got != "The watched folder does not answer.\n" {
		t.Errorf("trouble: %q", got)
	}
	if w := k.get("/", "Accept", "text/html"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Noctua cannot count at the moment") || !strings.Contains(w.Body.String(), "The watched folder does not answer.") {
		t.Errorf("the page: %d %s", w.Code, w.Body)
	}
	broken.Store(false)
	k.tell(k.accept(picture{8, 1}))
	k.move(liveLife)
	f.next("night")
	// While the index is made anew nothing is said that may be wrong.
	k.open(k.path + ".new")
	if body := k.get("/tonight/events").Body.String(); !strings.Contains(body, "Reading the archive") || strings.Contains(body, "received") {
		t.Errorf("while the index is made anew: %s", body)
	}
	for _, address := range []string{"/nights", "/nights/2026-11-20"} {
		if w := k.get(address, "Accept", "text/html"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "One moment") {
			t.Errorf("%s while the index is made anew: %d", address, w.Code)
		}
	}
}

// TestTonightAgreesWithStatus: page, clinics and status are one count.
func TestTonightAgreesWithStatus(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.tell(k.accept(picture{1, 1}), k.accept(picture{1, 2}), k.segment(picture{1, 1}), k.reject(picture{2, 1}, "a"), k.duplicate(picture{1, 1}), k.accept(picture{3, 1}), k.failImage(picture{3, 1}))
	k.settle()
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Inbox, "south/batch/x.dcm", []byte("x"), blob.PutOptions{}))
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Inbox, "north/batch/x.dcm", []byte("x"), blob.PutOptions{}))
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Inbox, "stray.dcm", []byte("x"), blob.PutOptions{}))
	status, err := k.Status(t.Context(), k.night())
	k.must(err)
	frame, err := k.liveFrame(t.Context(), viewer{clinics: access.AllClinics(), mayOperate: true})
	k.must(err)
	v := frame.view
	if v.Received != status.Received || v.Done != status.Done || v.Pending != status.Pending || v.Failed != status.Failed || v.Quarantined != status.Quarantined || v.Duplicate != status.Duplicate ||
		v.PatientsCovered != *status.Patients || v.Reports != *status.Reports {
		t.Errorf("page %+v, status %+v", v.NightNumbers, status)
	}
	var all, pending int
	var names []string
	for _, c := range v.Clinics {
		all, pending, names = all+c.Received, pending+c.Pending, append(names, c.Name)
	}
	if all != v.Received || pending != v.Pending || fmt.Sprint(names) != "[north  south]" {
		t.Errorf("clinics %v: %d received, %d pending, together %d and %d", names, all, pending, v.Received, v.Pending)
	}
	one, err := k.liveFrame(t.Context(), viewerOf(asker{Principal: principal(t, "report.read:south")}))
	k.must(err)
	if v := one.view; v.Received != 1 || len(v.Clinics) != 1 || v.Clinics[0].Name != "south" || len(v.Needs) > 0 {
		t.Errorf("of south alone: %+v", v)
	}
}

// TestNeeds: what a person should see to is grouped and says what to do.
func TestNeeds(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	k.queue.dead = []stream.DeadLetter{
		{Consumer: stream.ConsumerReport, Time: k.now()}, {Consumer: stream.ConsumerRelease, Time: k.now()}, {Consumer: stream.ConsumerSegment, Time: k.now()},
		{Consumer: stream.ConsumerReport, Time: k.night().Add(-time.Second)},
	}
	down := k.now()
	k.deps.Exports = &archives{status: []record.ExportStatus{{Archive: "pacs", Failed: 2, Pending: 3, Code: "archive-away", Reason: "it does not answer", DownSince: down}}}
	k.tell(k.reject(picture{2, 6}, "laterality-missing"), k.reject(picture{2, 7}, "not-dicom"))
	// A study lacks an announced picture, another one all of them.
	k.tell(k.expect(picture{1, 1}, picture{1, 9}), k.expect(picture{9, 1}))
	k.move(k.Service.cfg.ManifestDeadline + time.Second)
	k.issueAll()
	frame, err := k.liveFrame(t.Context(), viewer{clinics: access.AllClinics(), mayOperate: true})
	k.must(err)
	var got []string
	for _, n := range frame.view.Needs {
		if n.Do == "" {
			t.Errorf("it is not said what to do: %+v", n)
		}
		got = append(got, fmt.Sprintf("%d %s [%s]", n.Count, n.Text, n.Link))
	}
	want := []string{
		"2 files are in quarantine. The file does not say which eye it shows. [/quarantine?code=laterality-missing]",
		"1 file is in quarantine. The file does not say which eye it shows. [/quarantine?code=not-dicom]",
		"1 picture could not be analysed. [/patients?night=2026-11-22&only=failed]",
		"1 study lacks pictures that were announced. [#incomplete]",
		"1 study was announced, but nothing of it came: north (1). []",
		"1 decision about a file in quarantine could not be carried out. [/quarantine]",
		"1 message about a picture was given up after several attempts. []",
		"2 results were not taken by the archive pacs. []",
		"3 results wait for the archive pacs, which takes nothing at the moment: it does not answer. []",
		"2 reports were amended since Sun 22 Nov, 06:00. [#amended]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	body := k.get("/tonight/people").Body.String()
	for _, part := range []string{`id="again"`, "could not be analysed; send them again", `id="incomplete"`, "1 announced picture has not come as announced.", `id="amended"`, "1 announced picture is missing."} {
		if !strings.Contains(body, part) {
			t.Errorf("the lists of patients lack %q: %s", part, body)
		}
	}
	// A reader of one clinic sees no other's partners and no link to what they may not open.
	frame, err = k.liveFrame(t.Context(), viewerOf(asker{Principal: principal(t, "report.read:north")}))
	k.must(err)
	for _, n := range frame.view.Needs {
		if strings.Contains(n.Text, "pacs") || strings.Contains(n.Text, "message") || strings.HasPrefix(n.Link, "/quarantine") {
			t.Errorf("a reader of one clinic is told: %+v", n)
		}
	}
}

// TestPastNight: a night that is over says what it left for a person and what of it still is; to whom it is shown is recorded, and none sees another clinic's.
func TestPastNight(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	dark := picture{5, 1}
	k.tell(k.accept(dark), k.segment(dark, func(r *record.Result) {
		r.Status, r.Files = record.Ungradable, record.ResultFiles{}
		r.Warnings = []record.Note{{Code: "too-dark", Text: "The picture is too dark to be measured."}}
	}))
	k.quiet()
	before := k.night()
	k.move(24 * time.Hour)
	address := "/nights/" + before.Format(time.DateOnly)
	if w := k.get(address, "Accept", "text/html"); !strings.Contains(w.Body.String(), "Still to be photographed again.") {
		t.Errorf("an eye that nobody has photographed since: %s", w.Body)
	}
	k.tell(k.accept(picture{5, 3}, func(i *record.Instance) { i.StudyUID, i.StudyDate = "1.2.826.5.99", "2026-11-24" }))
	k.tell(k.segment(picture{5, 3}, func(r *record.Result) { r.StudyUID = "1.2.826.5.99" }))
	k.quiet()
	entries := len(k.readings())
	w := k.get(address, "Accept", "text/html")
	body := w.Body.String()
	for _, part := range []string{"The night was finished. 3 pictures were left for a person.", "2</b>\n", "files went into quarantine. Which eye? All still need a person.", "Photographed again: measured in the study of 2026-11-24.",
		"/api/nights/2026-11-22/north/measures.csv", "/api/nights/2026-11-22/south/measures.parquet", "$bulk-publish?night=2026-11-22", "/patients?night=2026-11-22", "Tonight →", "data-print"} {
		if !strings.Contains(body, part) {
			t.Errorf("the night lacks %q: %s", part, body)
		}
	}
	all := k.readings()
	if len(all) != entries+1 || all[entries].Entity.Kind != record.EntityReportList || all[entries].Entity.Files == 0 {
		t.Errorf("the night leaves entries %+v", all[entries:])
	}
	nurse := k.grant("nurse", "operate:north", 0)
	body = k.get(address, "Accept", "text/html", "Authorization", "Bearer "+nurse).Body.String()
	for _, mark := range data["south"].marks {
		if strings.Contains(body, mark) {
			t.Errorf("a nurse of north sees %q", mark)
		}
	}
	if !strings.Contains(body, "2 pictures were left for a person.") || strings.Contains(body, "south") {
		t.Errorf("a nurse of north sees %s", body)
	}
	list := k.get("/nights", "Accept", "text/html", "Authorization", "Bearer "+nurse).Body.String()
	if !strings.Contains(list, `<a href="/nights/2026-11-22">Sun 22 Nov 2026</a>`) || !strings.Contains(list, "2 left for a person") || !strings.Contains(list, "goes on") {
		t.Errorf("the list: %s", list)
	}
	k.blob.fail = func(op, at string) error {
		if op == "put" && strings.HasPrefix(at, "0000") {
			return fault.New(fault.Transient, "storage-unavailable", "the bucket is full")
		}
		return nil
	}
	if w := k.get(address, "Accept", "text/html"); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "FAMILY5") {
		t.Errorf("without the log: %d", w.Code)
	}
	k.blob.fail = nil
	for at, code := range map[string]int{"/nights/2026-11-23": http.StatusSeeOther, "/nights/2026-11-24": http.StatusNotFound, "/nights/x": http.StatusNotFound, "/nights/2026-02-31": http.StatusNotFound,
		"/nights/2001-01-01": http.StatusOK, "/nights?month=x": http.StatusBadRequest, "/nights?month=2026-02": http.StatusOK, "/nights?month=2099-01": http.StatusOK} {
		if w := k.get(at, "Accept", "text/html"); w.Code != code {
			t.Errorf("%s: %d, want %d", at, w.Code, code)
		}
	}
	if body := k.get("/nights/2001-01-01", "Accept", "text/html").Body.String(); !strings.Contains(body, "Nothing came in that night") {
		t.Errorf("a night without anything: %s", body)
	}
	if body := k.get("/", "Accept", "text/html").Body.String(); !strings.Contains(body, `href="/nights/2026-11-22">← Last night`) {
		t.Error("tonight has no link to the night before")
	}
}

// TestAmendment: what a version changed, in a sentence.
func TestAmendment(t *testing.T) {
	t.Parallel()
	image := func(sop, sha string, status record.ImageStatus, result string) record.ReportImage {
		return record.ReportImage{SOPUID: sop, Sha256: sha, Status: status, ResultKey: result}
	}
	base := func() *record.Report {
		return &record.Report{Images: []record.ReportImage{image("1", "a", record.ImageMeasured, "r"), image("2", "b", record.ImageUngradable, "s")}, Rejected: []record.ReportRejected{{}},
			Missing: []record.ReportMissing{{}}}
	}
	for want, change := range map[string]func(*record.Report){
		"1 picture came later.":                    func(r *record.Report) { r.Images = append(r.Images, image("3", "c", record.ImageMeasured, "t")) },
		"1 picture came again with other content.": func(r *record.Report) { r.Images = append(r.Images, image("2", "c", record.ImageMeasured, "t")) },
		"2 pictures have new results.":             func(r *record.Report) { r.Images[0].ResultKey, r.Images[1].Status = "x", record.ImageMeasured },
		"The patient's entry is another one.":      func(r *record.Report) { r.Patient.Name = "other" },
		"1 file left quarantine.":                  func(r *record.Report) { r.Rejected = nil },
		"1 more file is in quarantine.":            func(r *record.Report) { r.Rejected = append(r.Rejected, record.ReportRejected{}) },
		"0 announced pictures are missing.":        func(r *record.Report) { r.Missing = nil },
		"1 picture came later; 1 file left quarantine.": func(r *record.Report) {
			r.Rejected, r.Images = nil, append(r.Images, image("3", "c", record.ImageMeasured, "t"))
		},
		"What is said beside the pictures changed, e.g. how they compare with earlier visits.": func(*record.Report) {},
	} {
		next := base()
		change(next)
		if got := amendment(base(), next); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestClinicsInTheirOrder: those with trouble come first, each group by name; a bar is whole.
func TestClinicsInTheirOrder(t *testing.T) {
	t.Parallel()
	at := kitStart
	counts := func(clinic string, c store.Counts) store.ClinicCounts {
		return store.ClinicCounts{Clinic: clinic, Counts: c, LastAt: at}
	}
	waitsLong := counts("d", store.Counts{Pending: 2, Done: 8})
	waitsLong.WaitingSince = at.Add(-2 * time.Hour)
	lines := clinicLines([]store.ClinicCounts{counts("a", store.Counts{Done: 10}), counts("b", store.Counts{Done: 9, Ungradable: 1}), counts("c", store.Counts{Done: 1, Failed: 1}), waitsLong, counts("e", store.Counts{Released: 3}),
		counts("f", store.Counts{Quarantined: 1, Discarded: 1})}, map[string]waiting{"g": {3, at}, "a": {1, at}}, at, at)
	var got []string
	for _, l := range lines {
		width := 0.0
		for _, s := range l.Segments {
			width += s.Width
		}
		if width < 99.99 || width > 100.01 {
			t.Errorf("the bar of %s is %g wide", l.Name, width)
		}
		got = append(got, fmt.Sprintf("%s %d/%d %d%% %v %s", l.Name, l.Dealt, l.Received, l.Percent, l.Trouble, l.Oldest))
	}
	want := "c 2/2 100% true |f 2/2 100% true |b 9/9 100% false |a 10/11 90% false |d 8/10 80% false oldest waits 2.0 hours|g 0/3 0% false "
	if strings.Join(got, "|") != want {
		t.Errorf("%s, want %s", strings.Join(got, "|"), want)
	}
}

// TestCourseIsDrawn: hours are whole, nothing lies outside of the drawing, and the table has every picture.
func TestCourseIsDrawn(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Asia/Ho_Chi_Minh")
	if err != nil {
		t.Fatal(err)
	}
	night := time.Date(2026, 11, 22, 12, 0, 0, 0, zone)
	if drawCourse(make([]store.Pulse, 144), night, zone) != nil || drawCourse(nil, night, zone) != nil {
		t.Error("a night without anything is drawn")
	}
	for _, at := range [][]int{{0}, {143}, {37, 60, 100}, {0, 143}} {
		pulses := make([]store.Pulse, 144)
		for _, n := range at {
			pulses[n] = store.Pulse{Received: 17 * (n + 1), Dealt: n}
		}
		c := drawCourse(pulses, night, zone)
		received, dealt := 0, 0
		for _, row := range c.Table {
			received, dealt = received+row.Received, dealt+row.Dealt
		}
		wantReceived, wantDealt := 0, 0
		for _, n := range at {
			wantReceived, wantDealt = wantReceived+17*(n+1), wantDealt+n
		}
		if received != wantReceived || dealt != wantDealt || len(c.Bars) != len(at) || len(c.Hours) > courseHours+1 {
			t.Errorf("%v: %d and %d of %d and %d in the table, %d bars, %d labels", at, received, dealt, wantReceived, wantDealt, len(c.Bars), len(c.Hours))
		}
		for _, b := range c.Bars {
			if b.X < courseLeft || b.X+b.Width > courseRight || b.Y < courseTop-0.1 || b.Height <= 0 || b.Y+b.Height > courseBase+0.1 {
				t.Errorf("%v: a bar outside of the drawing: %+v", at, b)
			}
		}
		for _, h := range c.Hours {
			if !strings.HasSuffix(h.Text, ":00") {
				t.Errorf("%v: label %s", at, h.Text)
			}
		}
	}
	for n, want := range map[int]int{1: 2, 2: 2, 3: 4, 5: 6, 7: 10, 11: 20, 99: 100, 101: 200, 10000: 10000} {
		if got := niceAbove(n); got != want {
			t.Errorf("above %d: %d, want %d", n, got, want)
		}
	}
}

// TestPartsAreSafe: what came from outside is escaped in what is sent by itself.
func TestPartsAreSafe(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	parts, err := k.pages.LiveParts(web.LiveView{Known: true, Needs: []web.Need{{Count: 1, Text: "<script>alert(1)</script>"}}, NightNumbers: web.NightNumbers{Clinics: []web.ClinicLine{{Name: "<b>x</b>", Link: "javascript:alert(1)"}}}})
	k.must(err)
	for _, p := range parts {
		if html := string(p.HTML); strings.Contains(html, "<script>") || strings.Contains(html, "<b>x") || strings.Contains(html, `"javascript:`) {
			t.Errorf("%s", html)
		}
	}
}

// principal is somebody with scopes.
func principal(t *testing.T, scopes string) access.Principal {
	t.Helper()
	grants, err := access.ParseAll(scopes)
	if err != nil {
		t.Fatal(err)
	}
	return access.Principal{Grants: grants}
}
