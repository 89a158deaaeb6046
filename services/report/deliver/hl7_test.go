package deliver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/deliver"
	"github.com/noctua-screening/noctua/services/report/export"
)

// TestOrder: whatever a receiver does, versions are accepted in the order in which they were issued, each once.
func TestOrder(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	e.next = []reaction{fail, cut, garbage, accept, stray, fail, fail, strange, noisy, cut, cut, accept, fail}
	w := newWorld(t, e.receiver("ehr"))
	s, _ := w.start()
	var want []string
	for version := 1; version <= 3; version++ {
		for p := 1; p <= 3; p++ {
			w.issue(study{p, 1}, version)
			want = append(want, id(study{p, 1}, version))
		}
	}
	w.settled(s, "ehr", 9, 0)
	if got := e.ids(true); !slices.Equal(got, want) {
		t.Errorf("accepted %v\nwant %v", got, want)
	}
	if got := e.ids(false); len(got) != 9+10 { // of the reactions three accept
		t.Errorf("%d messages came, want 19", len(got))
	}
	if dead := w.dead(); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
	for info, err := range w.List(t.Context(), w.Buckets().Reports, "") {
		if err != nil || strings.Contains(info.Key, "Secret") || strings.Contains(info.Key, "1.2.826") {
			t.Errorf("key %s, %v", info.Key, err)
		}
	}
	if n := w.notes("ehr", "sent.json")[0]; n.Answer != "AA" || n.Clinic != "north" || n.ReportKey == "" {
		t.Errorf("noted %+v", n)
	}
}

// TestErrorsAndRejections: AE is tried again some times, AR is not; others go on, and a person sends again.
func TestErrorsAndRejections(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	a, b, c := study{1, 1}, study{2, 1}, study{3, 1}
	e.of = map[string]reaction{id(a, 1): reject, id(b, 1): fail}
	w := newWorld(t, e.receiver("ehr")) // with 3 attempts
	s, _ := w.start()
	for _, r := range []study{a, b, c} {
		w.issue(r, 1)
	}
	w.settled(s, "ehr", 1, 2)
	if got, want := e.ids(false), []string{id(a, 1), id(b, 1), id(b, 1), id(b, 1), id(c, 1)}; !slices.Equal(got, want) {
		t.Errorf("came %v, want %v", got, want)
	}
	if got := w.dead(); !slices.Equal(got, []string{"receiver-ehr receiver-rejects", "receiver-ehr receiver-errors"}) {
		t.Errorf("dead letters %v", got)
	}
	for _, n := range w.notes("ehr", "failed.json") {
		if n.Reason == "" || n.Answer != map[string]string{deliver.CodeRejects: "AR", deliver.CodeErrors: "AE"}[n.Code] || n.Attempts != map[string]int{"AR": 1, "AE": 3}[n.Answer] {
			t.Errorf("noted %+v", n)
		}
	}
	if e := w.status(s, "ehr"); e.Code != "" || e.Kind != record.ReceiverHL7 {
		t.Errorf("it answers, so that it is not away: %+v", e)
	}
	// a goes on to a second version, which is taken; then what failed is sent again: b, but not a's first version.
	w.issue(a, 2)
	w.settled(s, "ehr", 2, 2)
	e.set(func(e *ehr) { clear(e.of) })
	if got, err := s.Request(t.Context(), export.Request{}); err != nil || len(got) != 1 || got[0] != (export.Requested{Archive: "ehr", Results: 2}) {
		t.Errorf("%v, %v", got, err)
	}
	w.settled(s, "ehr", 3, 0)
	if got, want := e.ids(true), []string{id(c, 1), id(a, 2), id(b, 1)}; !slices.Equal(got, want) {
		t.Errorf("accepted %v, want %v", got, want)
	}
	if got := w.notes("ehr", "superseded.json"); len(got) != 1 {
		t.Errorf("superseded: %+v", got)
	}
}

// TestOneReceiverHoldsUpNoOther: one that never answers, one that is slow, one that is not there, one that cuts, and a good one.
func TestOneReceiverHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	slow, cutting, good := newEHR(t), newEHR(t), newEHR(t)
	slow.hold, slow.begun, cutting.always = make(chan struct{}), make(chan string, 100), cut
	w := newWorld(t, deliver.Receiver{Name: "silent", Kind: record.ReceiverHL7, Address: "mllp://" + silent.Addr().String()}, slow.receiver("slow"),
		deliver.Receiver{Name: "gone", Kind: record.ReceiverHL7, Address: "mllp://127.0.0.1:1"}, cutting.receiver("cutting"), good.receiver("good"))
	s, _ := w.start()
	// Screening goes on: the report service's own consumer is served.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- stream.Worker{Conn: w.conn, Consumer: stream.ConsumerReport, Handler: func(context.Context, stream.Delivery) error { return nil }}.Run(ctx)
	}()
	for p := range 5 {
		w.issue(study{p, 1}, 1)
	}
	<-slow.begun
	w.settled(s, "good", 5, 0)
	for _, name := range []string{"silent", "slow", "gone", "cutting"} {
		if e := w.status(s, name); e.Pending < 5 || e.Sent+e.Failed != 0 {
			t.Errorf("meanwhile %+v", e)
		}
	}
	for name, code := range map[string]string{"gone": deliver.CodeUnreachable, "cutting": deliver.CodeSilent} {
		w.eventually("the status says what is away", func() bool { e := w.status(s, name); return e.Code == code && !e.DownSince.IsZero() })
	}
	close(slow.hold)
	cutting.set(func(e *ehr) { e.always = accept })
	w.settled(s, "slow", 5, 0)
	w.settled(s, "cutting", 5, 0)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSilentAndLate: a receiver that never answers is left after the timeout; what it says too late goes nowhere, and the message comes again
// under the same id.
func TestSilentAndLate(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	e.hold, e.begun = make(chan struct{}), make(chan string, 1000)
	w := newWorld(t, e.receiver("ehr"))
	w.cfg.AnswerTimeout = 50 * time.Millisecond
	s, _ := w.start()
	w.issue(study{1, 1}, 1)
	w.issue(study{1, 1}, 2)
	for range 3 {
		if got := <-e.begun; got != id(study{1, 1}, 1) {
			t.Errorf("%s came although the first version is not acknowledged", got)
		}
	}
	w.eventually("the status says so", func() bool { return w.status(s, "ehr").Code == deliver.CodeSilent })
	close(e.hold) // all answers come now: those to the attempts before are late
	w.settled(s, "ehr", 2, 0)
	got := e.ids(true)
	if last := slices.Index(got, id(study{1, 1}, 2)); last < 0 || slices.Contains(got[last:], id(study{1, 1}, 1)) {
		t.Errorf("accepted %v", got)
	}
}

// TestStoppedInTheMiddle: a service that is stopped while the receiver has a message sends it again, and in order.
func TestStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	hold := make(chan struct{})
	e.hold, e.begun = hold, make(chan string, 100)
	w := newWorld(t, e.receiver("ehr"))
	_, stop := w.start()
	for version := 1; version <= 3; version++ {
		w.issue(study{1, 1}, version)
	}
	<-e.begun
	stop()
	e.set(func(e *ehr) { e.hold = nil })
	close(hold)
	s, _ := w.start()
	w.settled(s, "ehr", 3, 0)
	want := []string{id(study{1, 1}, 1), id(study{1, 1}, 2), id(study{1, 1}, 3)}
	if got := slices.Compact(e.ids(false)); !slices.Equal(got, want) {
		t.Errorf("came %v, want %v", got, want)
	}
}

// TestWipedStream: what the stream has lost is found in the bucket, in order, also when a later version's event comes first.
func TestWipedStream(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	w := newWorld(t, e.receiver("ehr"))
	s, stop := w.start()
	w.issue(study{1, 1}, 1)
	w.settled(s, "ehr", 1, 0)
	stop()
	for version := 2; version <= 11; version++ { // v10 is before v2 in a listing
		w.issue(study{1, 1}, version)
	}
	w.issue(study{2, 1}, 1)
	w.server.Wipe()
	w.connect()
	w.issue(study{1, 1}, 12)
	s, _ = w.start()
	w.eventually("all of the first patient are there", func() bool { return w.status(s, "ehr").Sent >= 12 })
	var want []string
	for version := 1; version <= 12; version++ {
		want = append(want, id(study{1, 1}, version))
	}
	got := slices.DeleteFunc(e.ids(true), func(i string) bool { return i == id(study{2, 1}, 1) })
	if !slices.Equal(got, want) {
		t.Errorf("accepted %v, want %v", got, want)
	}
	// While something waited, nothing was asked for; a restart looks again.
	w.cfg.ReconcileEvery = 20 * time.Millisecond
	s, _ = w.start()
	w.eventually("the second patient's is there", func() bool { return len(w.notes("ehr", "sent.json")) == 13 })
	if dead := w.dead(); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
	_ = s
}

// TestStuckVersionInTheWay: the version in the way is given up, and the one behind it is sent after all.
func TestStuckVersionInTheWay(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	r := study{1, 1}
	e.of = map[string]reaction{id(r, 1): reject}
	w := newWorld(t, e.receiver("ehr"))
	s, _ := w.start()
	w.write(r, 1, "north") // nobody tells of it
	w.issue(r, 2)
	w.settled(s, "ehr", 1, 1)
	if got, want := e.ids(false), []string{id(r, 1), id(r, 2)}; !slices.Equal(got, want) {
		t.Errorf("came %v, want %v", got, want)
	}
	if n := w.notes("ehr", "failed.json"); n[0].Code != deliver.CodeRejects {
		t.Errorf("noted %+v", n)
	}
}

// TestAskingForOlderOnes: reports from before a receiver was named are sent when somebody asks, in their newest version; those of other clinics
// are not.
func TestAskingForOlderOnes(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	r := e.receiver("ehr")
	r.Clinics = []string{"north"}
	w := newWorld(t, r)
	for version := 1; version <= 3; version++ {
		w.write(study{1, 1}, version, "north")
	}
	w.write(study{2, 1}, 1, "south")
	w.eventually("the store's second is over", func() bool { // its times are whole seconds
		at, err := w.Stat(t.Context(), w.Buckets().Reports, w.write(study{9, 9}, 1, "south"))
		first, err2 := w.Stat(t.Context(), w.Buckets().Reports, "patients/"+study{1, 1}.patient()+"/"+study{1, 1}.report()+"/v3/report.json")
		return err == nil && err2 == nil && at.LastModified.After(first.LastModified.Add(time.Second))
	})
	s, _ := w.start()
	w.issueAt(study{3, 1}, 1, "south")
	w.issue(study{4, 1}, 1)
	w.settled(s, "ehr", 1, 0)
	for _, asked := range []struct {
		again bool
		want  int
	}{{false, 1}, {true, 2}} { // in this order: what the first has sent, only again sends once more
		r := export.Request{Archive: "ehr", Since: time.Unix(1, 0), Again: asked.again}
		if got, err := s.Request(t.Context(), r); err != nil || got[0].Results != asked.want {
			t.Errorf("again %v: %v, %v; want %d", asked.again, got, err, asked.want)
		}
		w.settled(s, "ehr", 2, 0)
	}
	for _, got := range e.ids(true) {
		if got != id(study{4, 1}, 1) && got != id(study{1, 1}, 3) {
			t.Errorf("%s was sent", got)
		}
	}
	if _, err := s.Request(t.Context(), export.Request{Archive: "other"}); err == nil {
		t.Error("an unknown receiver is none")
	}
	if _, err := s.Request(t.Context(), export.Request{Again: true}); err == nil {
		t.Error("again without since passes")
	}
}

// TestVersionThatBreaksTheReceiver: what gets no answer for long counts at last, so that others go on.
func TestVersionThatBreaksTheReceiver(t *testing.T) {
	t.Parallel()
	e := newEHR(t)
	e.of = map[string]reaction{id(study{1, 1}, 1): cut}
	w := newWorld(t, e.receiver("ehr"))
	s, _ := w.start()
	w.issue(study{1, 1}, 1)
	w.issue(study{2, 1}, 1)
	w.eventually("it was tried more often than attempts count", func() bool { return len(e.ids(false)) > 6 })
	if e := w.status(s, "ehr"); e.Failed != 0 || e.Pending < 2 {
		t.Errorf("%+v", e)
	}
	w.move(7 * time.Hour)
	w.settled(s, "ehr", 1, 1)
	if got := e.ids(true); !slices.Equal(got, []string{id(study{2, 1}, 1)}) {
		t.Errorf("accepted %v", got)
	}
	if n := w.notes("ehr", "failed.json"); n[0].Code != deliver.CodeSilent {
		t.Errorf("noted %+v", n)
	}
}

// TestTLS: MLLP within TLS, with a certificate that is checked.
func TestTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS() // for its certificate alone
	certificate := web.TLS.Certificates[0]
	authority, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	web.Close()
	e := newEHR(t)
	inner := e.receiver("x").Address[len("mllp://"):]
	front, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	go forward(front, inner)
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	address := "mllps://" + front.Addr().String()
	w := newWorld(t, deliver.Receiver{Name: "trusted", Kind: record.ReceiverHL7, Address: address, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		deliver.Receiver{Name: "stranger", Kind: record.ReceiverHL7, Address: address})
	s, _ := w.start()
	w.issue(study{1, 1}, 1)
	w.settled(s, "trusted", 1, 0)
	w.eventually("a stranger's certificate is refused", func() bool { return w.status(s, "stranger").Code == deliver.CodeUnreachable })
	if got := e.ids(false); len(got) != 1 {
		t.Errorf("came %v", got)
	}
}

// forward takes TLS off connections, one after the other, until the listener is closed.
func forward(front net.Listener, to string) {
	for {
		outer, err := front.Accept()
		if err != nil {
			return
		}
		inner, err := net.Dial("tcp", to)
		if err != nil {
			_ = outer.Close()
			continue
		}
		done := make(chan struct{}, 2)
		pump := func(a, b net.Conn) {
			buffer := make([]byte, 4096)
			for {
				n, err := a.Read(buffer)
				if n > 0 {
					_, _ = b.Write(buffer[:n])
				}
				if err != nil {
					_, _ = a.Close(), b.Close()
					done <- struct{}{}
					return
				}
			}
		}
		go pump(outer, inner)
		go pump(inner, outer)
		<-done
		<-done
	}
}

// TestDocument: a receiver gets the page for people with the figures, unless it wants none; one that cannot be made does not keep the figures back, and one
// that cannot be made yet is waited for.
func TestDocument(t *testing.T) {
	t.Parallel()
	with, without := newEHR(t), newEHR(t)
	wants := with.receiver("wants")
	wants.Document = true
	w := newWorld(t, wants, without.receiver("plain"))
	good, broken, busy := study{1, 1}, study{2, 1}, study{3, 1}
	var asked sync.Map
	w.pdf = func(_ context.Context, r *record.Report, key string) ([]byte, error) {
		if want, err := blob.ReportKey(r.Patient.Key, r.ReportID, r.Version); err != nil || key != want {
			t.Errorf("the page of %s is asked for, want %s, %v", key, want, err)
		}
		_, again := asked.Swap(r.ReportID, true)
		switch {
		case r.ReportID == broken.report():
			return nil, fault.New(fault.Internal, "page-broken", "it cannot be drawn")
		case r.ReportID == busy.report() && !again:
			return nil, fault.New(fault.Transient, "store-busy", "not now")
		}
		return []byte("%PDF of " + r.ReportID), nil
	}
	s, _ := w.start()
	early := study{4, 1}
	for _, r := range []study{good, broken, busy} {
		w.issue(r, 1)
	}
	w.stage = record.Preliminary
	w.issue(early, 1)
	w.settled(s, "wants", 4, 0)
	w.settled(s, "plain", 4, 0)
	for r, has := range map[study]bool{good: true, broken: false, busy: true, early: false} {
		page := "^AP^PDF^Base64^" + base64.StdEncoding.EncodeToString([]byte("%PDF of "+r.report()))
		if got := strings.Contains(with.message(r), page); got != has || strings.Contains(with.message(r), "|ED|") != has {
			t.Errorf("%s has its page: %v, want %v", r.report(), got, has)
		}
		if strings.Contains(without.message(r), "|ED|") {
			t.Errorf("%s has a page that nobody wants", r.report())
		}
		if !strings.Contains(with.message(r), "0.50000") {
			t.Errorf("%s lacks its figures", r.report())
		}
	}
	if log := w.log.String(); strings.Count(log, "goes without its PDF") != 1 || !strings.Contains(log, "page-broken") {
		t.Errorf("the log says\n%s", log)
	}
}

func (e *ehr) message(s study) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.messages[id(s, 1)]
}
