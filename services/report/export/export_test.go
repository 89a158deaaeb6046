package export_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/export"
	"github.com/noctua-screening/noctua/test/servers"
)

// TestResultsArrive: each file once, as it was made, and what there is to know is noted; nothing of a patient's is logged.
func TestResultsArrive(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	p.statuses = []dimse.Status{dimse.Success, 0xB000, dimse.DuplicateInstance}
	w := newWorld(t, p.archive("pacs"))
	s, _ := w.start()
	w.settled(s, "pacs", 0, 0)
	w.segmented(1, 4)
	w.settled(s, "pacs", 3, 0)
	w.tellAs("again", 1, "north", w.result(1, "north", model, "seg.dcm", "sr.dcm")) // as another attempt of the segment service does
	w.settled(s, "pacs", 3, 0)
	if copies := p.has(1, 4); copies != 6 {
		t.Errorf("%d objects were sent for 6 instances", copies)
	}
	var first record.Export
	for _, doc := range w.notes("sent.json")["pacs"] {
		if strings.Contains(doc.ResultKey, sop(1)+"/") {
			first = doc
		}
	}
	want := []record.ExportedInstance{{File: "seg.dcm", SOPUID: "2.25.1.28"}, {File: "sr.dcm", SOPUID: "2.25.1.29", Status: "B000"}}
	if !slices.Equal(first.Instances, want) || first.State != record.ExportSent || first.Clinic != "north" || first.At.IsZero() {
		t.Errorf("noted %+v, want %v", first, want)
	}
	if strings.Contains(w.log.String(), "Secret") {
		t.Errorf("the log holds a patient's data:\n%s", w.log.String())
	}
	if dead := w.dead(); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

// TestWhatIsNotSent: results without files, of other clinics and of other models.
func TestWhatIsNotSent(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	a := p.archive("pacs")
	a.Clinics = []string{"north", "east"}
	w := newWorld(t, a)
	s, _ := w.start()
	w.tell(1, "north", w.result(1, "north", model))
	w.tell(2, "south", w.result(2, "south", model, "seg.dcm", "sr.dcm"))
	w.tell(3, "north", w.result(3, "north", other, "seg.dcm", "sr.dcm"))
	w.tell(4, "east", w.result(4, "east", model, "sr.dcm"))
	w.settled(s, "pacs", 2, 0)
	if got := p.read(func(p *pacs) int { return p.asked }); got != 1 {
		t.Errorf("%d objects were sent, want 1", got)
	}
	// Asked for, they are not sent either.
	if got, err := s.Request(t.Context(), export.Request{Since: time.Unix(1, 0)}); err != nil || got[0].Results != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestOneArchiveHoldsUpNoOther: one that never answers, one that is slow, one that is not there, and a good one.
func TestOneArchiveHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	slow, good := newPACS(t), newPACS(t)
	slow.hold, slow.begun = make(chan struct{}), make(chan string, 100)
	w := newWorld(t, export.Archive{Name: "silent", Address: "dicom://PACS@" + silent.Addr().String()}, slow.archive("slow"),
		export.Archive{Name: "gone", Address: "dicom://PACS@127.0.0.1:1"}, good.archive("good"))
	s, stop := w.start()
	// Screening goes on: the report service's own consumer gets everything.
	reported := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- stream.Worker{Conn: w.conn, Consumer: stream.ConsumerReport, Handler: func(_ context.Context, d stream.Delivery) error {
			reported <- d.Envelope.ID
			return nil
		}}.Run(ctx)
	}()
	w.segmented(1, 4)
	<-slow.begun
	w.segmented(4, 8)
	for range 7 {
		<-reported
	}
	w.settled(s, "good", 7, 0)
	good.has(1, 8)
	for _, name := range []string{"silent", "slow", "gone"} {
		if e := w.status(s, name); e.Pending != 7 || e.Sent+e.Failed != 0 {
			t.Errorf("meanwhile %+v", e)
		}
	}
	w.eventually("the status says what is away", func() bool {
		e := w.status(s, "gone")
		return e.Code == "archive-unreachable" && !e.DownSince.IsZero()
	})
	if e := w.status(s, "slow"); e.Code != "" {
		t.Errorf("slow is not away: %+v", e)
	}
	close(slow.hold)
	w.settled(s, "slow", 7, 0)
	slow.has(1, 8)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stop()
}

// TestSilentArchiveIsLeft: an archive that accepts and never answers is left after the timeout, and gets everything once it answers.
func TestSilentArchiveIsLeft(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	p.hold, p.begun = make(chan struct{}), make(chan string, 1000)
	w := newWorld(t, p.archive("pacs"))
	w.cfg.AnswerTimeout = 30 * time.Millisecond
	s, _ := w.start()
	w.segmented(1, 3)
	for range 3 {
		<-p.begun
	}
	w.eventually("the status says so", func() bool { return w.status(s, "pacs").Code == dimse.CodeTimeout })
	if e := w.status(s, "pacs"); e.Failed != 0 || e.Sent != 0 {
		t.Errorf("%+v", e)
	}
	close(p.hold)
	w.settled(s, "pacs", 2, 0)
	if e := w.status(s, "pacs"); e.Code != "" || !e.DownSince.IsZero() {
		t.Errorf("afterwards %+v", e)
	}
}

// TestTriedAgain: what an archive cannot take at the moment, and an archive that does not know us yet, cost no attempts.
func TestTriedAgain(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	w := newWorld(t, p.archive("pacs")) // with 3 attempts
	p.statuses = slices.Repeat([]dimse.Status{dimse.OutOfResources}, 9)
	s, _ := w.start()
	w.segmented(1, 2)
	w.settled(s, "pacs", 1, 0)
	// Nine times no room, which the SEG and the SR get each; then both.
	if asked := p.read(func(p *pacs) int { return p.asked }); asked < 10 || asked > 12 {
		t.Errorf("%d objects were sent", asked)
	}
	p.set(func(p *pacs) { p.reject, p.calls = dimse.RejectCallingTitle, 0 })
	w.segmented(2, 4)
	w.eventually("asked more often than attempts count", func() bool { return p.read(func(p *pacs) int { return p.calls }) > 10 })
	if e := w.status(s, "pacs"); e.Code != dimse.CodeRejected || e.Failed != 0 {
		t.Errorf("while refused: %+v", e)
	}
	p.set(func(p *pacs) { p.reject = 0 })
	w.settled(s, "pacs", 3, 0)
	p.has(1, 4)
	if dead := w.dead(); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

// TestAwayIsLeftAlone: an archive that is away is asked once after each pause, however much waits for it.
func TestAwayIsLeftAlone(t *testing.T) {
	t.Parallel()
	away, good := newPACS(t), newPACS(t)
	away.reject = dimse.RejectBusy
	w := newWorld(t, away.archive("away"), good.archive("good"))
	w.cfg.RetryBase, w.cfg.RetryCap = time.Hour, time.Hour
	s, stop := w.start()
	w.segmented(1, 6)
	w.eventually("the archive is away", func() bool { return w.status(s, "away").Code == dimse.CodeRejected })
	w.segmented(6, 9)
	w.settled(s, "good", 8, 0)
	if calls := away.read(func(p *pacs) int { return p.calls }); calls != 1 {
		t.Errorf("it was asked %d times", calls)
	}
	if e := w.status(s, "away"); e.Pending != 8 {
		t.Errorf("%+v", e)
	}
	stop() // at once, although the pause is an hour
}

// TestRefused: what an archive will not take is noted, a dead letter, and is sent again when a person asks.
func TestRefused(t *testing.T) {
	t.Parallel()
	s3 := blobtest.ConfigOf(servers.StartS3(t))
	for name, c := range map[string]struct {
		change func(*pacs)
		code   string
		asked  int // objects, for one result
		says   []string
	}{
		"cannot understand":   {func(p *pacs) { p.always = dimse.CannotUnderstand }, export.CodeRejects, 2, []string{"C000", "C000"}},
		"data set mismatch":   {func(p *pacs) { p.always = dimse.DataSetMismatch }, export.CodeRejects, 2, []string{"A900", "A900"}},
		"no SEG":              {func(p *pacs) { p.refuse = classSEG }, export.CodeRejects, 1, []string{"0122", ""}},
		"an archive's defect": {func(p *pacs) { p.always = dimse.ProcessingFailure }, export.CodeFails, 6, []string{"0110", "0110"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPACS(t)
			c.change(p)
			w := newWorldOn(t, s3, p.archive("pacs"))
			s, _ := w.start()
			w.segmented(1, 2)
			w.settled(s, "pacs", 0, 1)
			note := w.notes("failed.json")["pacs"][0]
			if note.Code != c.code || note.Reason == "" || strings.Contains(note.Reason, "Secret") {
				t.Errorf("%+v", note)
			}
			if len(note.Instances) != 2 || note.Instances[0].Status != c.says[0] || note.Instances[1].Status != c.says[1] {
				t.Errorf("noted of files %+v, want %q", note.Instances, c.says)
			}
			if asked := p.read(func(p *pacs) int { return p.asked }); asked != c.asked {
				t.Errorf("%d objects were sent, want %d", asked, c.asked)
			}
			if dead := w.dead(); !slices.Equal(dead, []string{"export-pacs " + c.code}) {
				t.Errorf("dead letters: %v", dead)
			}
			if e := w.status(s, "pacs"); e.Code != "" {
				t.Errorf("the archive is not away: %+v", e)
			}
			p.set(func(p *pacs) { p.always, p.refuse = 0, "" })
			if got, err := s.Request(t.Context(), export.Request{}); err != nil || !slices.Equal(got, []export.Requested{{Archive: "pacs", Results: 1}}) {
				t.Fatalf("%v, %v", got, err)
			}
			w.settled(s, "pacs", 1, 0)
			p.has(1, 2)
		})
	}
}

// TestBrokenResult: a file that is missing is the result's fault.
func TestBrokenResult(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	w := newWorld(t, p.archive("pacs"))
	s, _ := w.start()
	key := w.result(1, "north", model, "seg.dcm", "sr.dcm")
	if err := w.Remove(t.Context(), w.Buckets().Results, strings.Replace(key, "result.json", "sr.dcm", 1)); err != nil {
		t.Fatal(err)
	}
	w.tell(1, "north", key)
	w.tell(2, "north", "images/9.9/0123456789abcdef/"+model[:12]+"/result.json")
	w.settled(s, "pacs", 0, 2)
	if dead := w.dead(); len(dead) != 2 || dead[0] != "export-pacs "+export.CodeUnusable {
		t.Errorf("dead letters: %v", dead)
	}
}

// TestRestart: what waits when the service stops is sent by the next one, and what was sent is not sent again.
func TestRestart(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	w := newWorld(t, p.archive("pacs"))
	s, stop := w.start()
	w.segmented(1, 3)
	w.settled(s, "pacs", 2, 0)
	p.set(func(p *pacs) { p.reject = dimse.RejectBusy })
	w.segmented(3, 6)
	w.eventually("the archive is away", func() bool { return w.status(s, "pacs").Code != "" })
	stop()
	w.segmented(6, 8) // while nobody sends
	p.set(func(p *pacs) { p.reject = 0 })
	s, stop = w.start()
	w.settled(s, "pacs", 7, 0)
	if copies := p.has(1, 8); copies != 14 {
		t.Errorf("%d objects were sent for 14 instances", copies)
	}
	stop()
}

// TestDeathBeforeTheNote: a service that dies between the archive's answer and the note sends once more, and notes once.
func TestDeathBeforeTheNote(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	w := newWorld(t, p.archive("pacs"))
	var dying atomic.Bool
	dying.Store(true)
	w.put = func(key string) error {
		if strings.HasSuffix(key, "/sent.json") && dying.Load() {
			return fault.New(fault.Transient, "storage-unavailable", "dying")
		}
		return nil
	}
	_, stop := w.start()
	w.segmented(1, 2)
	w.eventually("sent", func() bool { return p.read(func(p *pacs) int { return p.asked }) >= 2 })
	stop()
	if n := w.sent("pacs"); n != 0 {
		t.Fatalf("%d notes", n)
	}
	dying.Store(false)
	s, _ := w.start()
	w.settled(s, "pacs", 1, 0)
	if copies := p.has(1, 2); copies < 4 {
		t.Errorf("%d objects", copies)
	}
}

// TestWipedStream: the bucket is the truth. What the stream has lost is found, and what was there before exports were configured is not sent
// unless a person asks.
func TestWipedStream(t *testing.T) {
	t.Parallel()
	p := newPACS(t)
	w := newWorld(t, p.archive("pacs"))
	w.cfg.ReconcileEvery, w.cfg.SettleAfter = 20*time.Millisecond, time.Nanosecond
	w.result(1, "north", model, "seg.dcm", "sr.dcm") // of a night before
	first := time.Now()
	w.eventually("a second by the store's clock", func() bool { return time.Since(first) > 1100*time.Millisecond })
	s, stop := w.start()
	w.settled(s, "pacs", 0, 0)
	stop() // what looks for what is forgotten must not come between a result and its event, as no result here is too young for it
	p.set(func(p *pacs) { p.reject = dimse.RejectBusy })
	w.segmented(2, 5)
	s, stop = w.start()
	w.eventually("the archive is away", func() bool { return w.status(s, "pacs").Code != "" })
	// What waits in the stream is not forgotten, and not asked for.
	surveys := w.surveys.Load()
	w.eventually("looked for what is forgotten", func() bool { return w.surveys.Load() > surveys+3 })
	if e := w.status(s, "pacs"); e.Pending != 3 {
		t.Errorf("3 results wait: %+v", e)
	}
	stop()
	w.server.Wipe()
	w.result(5, "north", model, "seg.dcm", "sr.dcm") // its event was lost
	p.set(func(p *pacs) { p.reject = 0 })
	s, _ = w.start()
	w.settled(s, "pacs", 4, 0)
	p.has(2, 6)
	if got, err := s.Request(t.Context(), export.Request{Since: first.Add(-time.Hour), Archive: "pacs"}); err != nil || got[0].Results != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	w.settled(s, "pacs", 5, 0)
	p.has(1, 6)
}

// TestRequests: what was sent is sent again only if a person says so.
func TestRequests(t *testing.T) {
	t.Parallel()
	one, two := newPACS(t), newPACS(t)
	w := newWorld(t, one.archive("one"), two.archive("two"))
	s, _ := w.start()
	w.segmented(1, 4)
	w.settled(s, "one", 3, 0)
	w.settled(s, "two", 3, 0)
	ask := func(r export.Request, want ...export.Requested) {
		t.Helper()
		if got, err := s.Request(t.Context(), r); err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: %v, %v", r, got, err)
		}
	}
	hour := time.Now().Add(-time.Hour)
	ask(export.Request{Since: hour}, export.Requested{Archive: "one"}, export.Requested{Archive: "two"})
	ask(export.Request{Since: hour, Until: hour, Again: true}, export.Requested{Archive: "one"}, export.Requested{Archive: "two"})
	ask(export.Request{Since: hour, Again: true, Archive: "two"}, export.Requested{Archive: "two", Results: 3})
	w.eventually("sent again", func() bool { return two.read(func(p *pacs) int { return p.asked }) == 12 })
	w.settled(s, "two", 3, 0)
	if one.has(1, 4) != 6 {
		t.Error("the other archive got something, too")
	}
	// What is refused the second time is failed.
	two.set(func(p *pacs) { p.always = dimse.CannotUnderstand })
	ask(export.Request{Since: hour, Again: true, Archive: "two"}, export.Requested{Archive: "two", Results: 3})
	w.settled(s, "two", 0, 3)
	for _, bad := range []struct {
		request export.Request
		code    string
	}{{export.Request{Archive: "three"}, "archive-unknown"}, {export.Request{Again: true}, "export-request"}, {export.Request{Until: hour}, "export-request"}} {
		if _, err := s.Request(t.Context(), bad.request); fault.CodeOf(err) != bad.code {
			t.Errorf("%+v: %v", bad.request, err)
		}
	}
}

// TestBySTOW: a DICOMweb server that answers otherwise each time.
func TestBySTOW(t *testing.T) {
	t.Parallel()
	reference := func(n, class int) string {
		return fmt.Sprintf(`{"00081155":{"vr":"UI","Value":["2.25.%d.%d"]}}`, n, class)
	}
	failure := func(n, class, reason int) string {
		return fmt.Sprintf(`{"00081155":{"vr":"UI","Value":["2.25.%d.%d"]},"00081197":{"vr":"US","Value":[%d]}}`, n, class, reason)
	}
	answers := func(stored, failed string) string {
		return `{"00081199":{"vr":"SQ","Value":[` + stored + `]},"00081198":{"vr":"SQ","Value":[` + failed + `]}}`
	}
	s3 := blobtest.ConfigOf(servers.StartS3(t))
	both := answers(reference(1, 28)+","+reference(1, 29), "")
	for name, c := range map[string]struct {
		statuses []int
		bodies   []string
		failed   string // code
	}{
		"at once":                {[]int{200}, []string{both}, ""},
		"busy, away, no room":    {[]int{503, 429, 401, 302, 202, 200}, []string{"", "", "", "", answers(reference(1, 28), failure(1, 29, 0xA700)), both}, ""},
		"one is forgotten":       {[]int{200, 200}, []string{answers(reference(1, 28), ""), both}, ""},
		"one is forgotten often": {[]int{200, 200, 200}, slices.Repeat([]string{answers(reference(1, 28), "")}, 3), export.CodeFails},
		"one is refused":         {[]int{202}, []string{answers(reference(1, 28), failure(1, 29, 0x0122))}, export.CodeRejects},
		"both are refused":       {[]int{409}, []string{answers("", failure(1, 28, 0xC000)+","+failure(1, 29, 0xC000))}, export.CodeRejects},
		"not this type":          {[]int{415}, []string{""}, export.CodeRejects},
		"a failure that is none": {[]int{202, 200}, []string{answers(reference(1, 28), failure(1, 29, 0)), both}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				raw, err := io.ReadAll(r.Body)
				n := int(asked.Add(1)) - 1
				if err != nil || r.URL.Path != "/web/studies" || r.Header.Get("Authorization") != "Bearer secret" || !strings.Contains(string(raw), "Secret^Patient") || n >= len(c.statuses) {
					t.Errorf("request %d to %s: %v", n, r.URL.Path, err)
					return
				}
				rw.Header().Set("Content-Type", "application/dicom+json")
				rw.Header().Set("Location", "http://"+r.Host+"/elsewhere")
				rw.WriteHeader(c.statuses[n])
				_, _ = io.WriteString(rw, c.bodies[n])
			}))
			t.Cleanup(server.Close)
			w := newWorldOn(t, s3, export.Archive{Name: "web", Address: server.URL + "/web", Token: "secret"})
			s, stop := w.start()
			w.segmented(1, 2)
			if c.failed == "" {
				w.settled(s, "web", 1, 0)
			} else {
				w.settled(s, "web", 0, 1)
				if note := w.notes("failed.json")["web"][0]; note.Code != c.failed {
					t.Errorf("%+v", note)
				}
			}
			if n := int(asked.Load()); n != len(c.statuses) {
				t.Errorf("%d requests, want %d", n, len(c.statuses))
			}
			stop()
			if strings.Contains(w.log.String(), "secret") || strings.Contains(w.log.String(), "Secret") {
				t.Errorf("the log holds what it must not:\n%s", w.log.String())
			}
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := export.Archive{Name: "pacs", Address: "dicom://PACS@10.0.0.1:11112"}
	for name, c := range map[string]struct {
		change func(*export.Config)
		says   string
	}{
		"no name":              {func(c *export.Config) { c.Archives[0].Name = "" }, "name"},
		"a name with capitals": {func(c *export.Config) { c.Archives[0].Name = "PACS" }, "small letters"},
		"twice":                {func(c *export.Config) { c.Archives = append(c.Archives, good) }, "two archives"},
		"too many": {func(c *export.Config) {
			for i := range 16 {
				c.Archives = append(c.Archives, export.Archive{Name: fmt.Sprint("a", i), Address: good.Address})
			}
		}, "at most 16"},
		"a clinic":              {func(c *export.Config) { c.Archives[0].Clinics = []string{"no/rth"} }, "no/rth"},
		"a title":               {func(c *export.Config) { c.Title = "A TITLE THAT IS TOO LONG" }, "AE title"},
		"no title of theirs":    {func(c *export.Config) { c.Archives[0].Address = "dicom://10.0.0.1:11112" }, "dicom://TITLE@host"},
		"no port":               {func(c *export.Config) { c.Archives[0].Address = "dicom://PACS@10.0.0.1" }, "dicom://TITLE@host"},
		"a path":                {func(c *export.Config) { c.Archives[0].Address += "/studies" }, "dicom://TITLE@host"},
		"a password":            {func(c *export.Config) { c.Archives[0].Address = "https://noctua:hidden@host/dicom-web" }, "without password"},
		"a password for a PACS": {func(c *export.Config) { c.Archives[0].Address = "dicom://PACS:hidden@host:104" }, "without password"},
		"a token for a PACS":    {func(c *export.Config) { c.Archives[0].Token = "hidden" }, "no tokens"},
		"token and password": {func(c *export.Config) {
			c.Archives[0] = export.Archive{Name: "web", Address: "https://host", Token: "hidden", User: "u"}
		}, "not both"},
		"ftp": {func(c *export.Config) { c.Archives[0].Address = "ftp://host" }, "dicom://TITLE@host"},
	} {
		cfg := export.Config{Archives: []export.Archive{good}}
		c.change(&cfg)
		err := cfg.WithDefaults().Validate()
		if fault.CodeOf(err) != "config-export" || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (export.Config{Archives: []export.Archive{good, {Name: "web", Address: "https://host/dicom-web", Token: "t"}}}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
	for address, clear := range map[string]bool{"dicom://A@127.0.0.1:1": false, "dicom://A@localhost:1": false, "dicom://A@pacs:1": true, "dicoms://A@pacs:1": false,
		"http://[::1]:80/x": false, "http://pacs/x": true, "https://pacs/x": false} {
		if got := (export.Archive{Address: address}).InTheClear(); got != clear {
			t.Errorf("%s in the clear: %v", address, got)
		}
	}
	if _, err := export.New(export.Deps{}, export.Config{}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("without dependencies: %v", err)
	}
}
