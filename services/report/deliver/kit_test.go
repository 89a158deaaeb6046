package deliver_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/hl7"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
	"github.com/noctua-screening/noctua/services/report/deliver"
	"github.com/noctua-screening/noctua/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout is a limit for broken code; nothing waits for it when all is well.
const testTimeout = 120 * time.Second

// world is a bucket and a stream with reports, and receivers that they are sent to.
type world struct {
	*blob.Store
	t      *testing.T
	server *streamtest.Server
	conn   *stream.Conn
	cfg    deliver.Config
	pdf    func(ctx context.Context, r *record.Report, key string) ([]byte, error)
	log    lockedBuffer

	stage  record.ReportStatus // of versions that are written; "": final
	mu     sync.Mutex
	offset time.Duration // of the service's clock
}

type lockedBuffer struct {
	mu  sync.Mutex
	raw bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.raw.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.raw.String()
}

func newWorld(t *testing.T, receivers ...deliver.Receiver) *world {
	t.Helper()
	w := &world{t: t, Store: blobtest.Open(t, blobtest.ConfigOf(servers.StartS3(t))), server: streamtest.Start(t), cfg: deliver.Config{
		Receivers: receivers, PublicURL: "https://noctua.example", RetryBase: time.Millisecond, RetryCap: 20 * time.Millisecond, MaxAttempts: 3, AnswerTimeout: testTimeout,
		SettleAfter: time.Nanosecond,
	}}
	w.connect()
	return w
}

func (w *world) connect() {
	topology := stream.DefaultTopology()
	topology.Consumers = append(topology.Consumers, w.cfg.Consumers()...)
	w.conn = w.server.Connect(topology)
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}

func (w *world) move(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
}

// start runs the service, and waits until it knows since when it sends; stop waits for its end.
func (w *world) start() (service *deliver.Service, stop func()) {
	w.t.Helper()
	service, err := deliver.New(deliver.Deps{Blob: w.Store, Conn: w.conn, Clock: w.now, PDF: w.pdf, Logger: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	for _, r := range w.cfg.Receivers {
		w.eventually(r.Name+" has begun", func() bool {
			_, err := w.Stat(w.t.Context(), w.Buckets().Reports, "deliveries/"+r.Name+"/begun.json")
			return err == nil
		})
	}
	return service, stop
}

// study is a report: of patient p, study n.
type study struct{ p, n int }

func (s study) patient() string { return fmt.Sprintf("%064x", s.p) }
func (s study) report() string  { return fmt.Sprintf("%016x%016x", s.p, s.n) }

// write leaves a version in the bucket, as the report service does before it tells of it, and returns its key.
func (w *world) write(s study, version int, clinic string) string {
	w.t.Helper()
	key, err := blob.ReportKey(s.patient(), s.report(), version)
	if err != nil {
		w.t.Fatal(err)
	}
	value := 0.5
	doc := record.Report{Schema: record.ReportSchema, ReportID: s.report(), Version: version, Status: record.Final, IssuedAt: time.Now().UTC(), FirstIssuedAt: time.Now().UTC(), Clinic: clinic,
		Patient: record.PatientIdentity{Key: s.patient(), ID: fmt.Sprintf("SecretID%d", s.p), Name: "Secret^Patient", BirthDate: "1950-03-04"}, StudyUID: fmt.Sprintf("1.2.826.%d.%d", s.p, s.n),
		AccessionNumber: "SecretAccession", Rejected: []record.ReportRejected{}, Notice: "Screening aid.", CodeVersion: "test", Counts: record.ReportCounts{Images: 1, Measured: 1},
		Images: []record.ReportImage{{SOPUID: "1.2.3", Sha256: strings.Repeat("1", 64), ArchiveKey: "images/x", Laterality: record.RightEye, Status: record.ImageMeasured,
			Measures: []record.Measure{{Name: "vessel-area-density", Display: "Vessel area density", Definition: "Share.", Unit: "1", Region: "field-of-view", Value: &value}}}}}
	if w.stage != "" {
		doc.Status = w.stage
	}
	raw, err := record.Encode(record.ReportSchema, doc)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.PutBytes(w.t.Context(), w.Buckets().Reports, key, raw, blob.PutOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return key
}

// issue leaves a version and tells of it.
func (w *world) issue(s study, version int) { w.t.Helper(); w.issueAt(s, version, "north") }

func (w *world) issueAt(s study, version int, clinic string) {
	w.t.Helper()
	w.tell(s, version, clinic, w.write(s, version, clinic))
}

func (w *world) tell(s study, version int, clinic, key string) {
	w.t.Helper()
	e, err := event.New(event.TypeReportIssued, event.ID(event.TypeReportIssued, s.report(), fmt.Sprint(version)), clinic, time.Now(), event.ReportIssued{
		PatientKey: s.patient(), ReportID: s.report(), ReportKey: key, Status: record.Final, StudyUID: "1.2.826", Version: version})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.conn.Publish(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
}

// notes lists the notes of one name (sent.json …) about a receiver.
func (w *world) notes(receiver, name string) (found []record.Delivery) {
	w.t.Helper()
	for info, err := range w.List(w.t.Context(), w.Buckets().Reports, "deliveries/"+receiver+"/") {
		if err != nil {
			w.t.Fatal(err)
		}
		if path.Base(info.Key) != name {
			continue
		}
		raw, err := w.GetBytes(w.t.Context(), w.Buckets().Reports, info.Key, 1<<20)
		if err != nil {
			w.t.Fatal(err)
		}
		doc, err := record.Decode[record.Delivery](record.DeliverySchema, raw)
		if err != nil {
			w.t.Fatal(err)
		}
		found = append(found, *doc)
	}
	return found
}

func (w *world) status(s *deliver.Service, receiver string) record.ExportStatus {
	w.t.Helper()
	all, err := s.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(e record.ExportStatus) bool { return e.Archive == receiver })
	if i < 0 {
		w.t.Fatalf("no receiver %s in %+v", receiver, all)
	}
	return all[i]
}

// dead are the consumers and codes of dead letters.
func (w *world) dead() (codes []string) {
	w.t.Helper()
	letters, err := w.conn.DeadLetters(w.t.Context(), 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range letters {
		codes = append(codes, l.Consumer+" "+l.Code)
	}
	return codes
}

func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(testTimeout)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %s\n%s", what, testTimeout, w.log.String())
		}
		<-ticker.C
	}
}

// settled waits until a receiver has what was told.
func (w *world) settled(s *deliver.Service, receiver string, sent, failed int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s has %d, %d failed", receiver, sent, failed), func() bool {
		e := w.status(s, receiver)
		return e.Pending == 0 && e.Sent == sent && e.Failed == failed
	})
	if got := len(w.notes(receiver, "sent.json")); got != sent {
		w.t.Errorf("%d versions are noted as sent to %s, want %d", got, receiver, sent)
	}
	if got := len(w.notes(receiver, "failed.json")); got != failed {
		w.t.Errorf("%d versions are noted as failed at %s, want %d", got, receiver, failed)
	}
	if strings.Contains(w.log.String(), "Secret") {
		w.t.Errorf("the log holds a patient's data:\n%s", w.log.String())
	}
}

// reaction is what a receiver does with a message.
type reaction string

const (
	accept  reaction = "AA"
	fail    reaction = "AE"
	reject  reaction = "AR"
	cut     reaction = "cut the connection"
	silence reaction = "say nothing"
	garbage reaction = "say what is no acknowledgement"
	strange reaction = "acknowledge another message"
	stray   reaction = "acknowledge another message, and then this one"
	noisy   reaction = "send bytes without end"
)

// ehr is an MLLP receiver that does as it is told.
type ehr struct {
	t        *testing.T
	listener net.Listener
	work     sync.WaitGroup
	conns    sync.Map

	mu       sync.Mutex
	next     []reaction          // of the next messages
	always   reaction            // after them; "": accept
	of       map[string]reaction // of messages with a control id
	hold     chan struct{}       // a message is answered when it is closed
	got      []string            // control ids as they came
	accepted []string            // of those that were accepted
	begun    chan string
	messages map[string]string // the last of each control id
}

func newEHR(t *testing.T) *ehr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &ehr{t: t, listener: listener, of: map[string]reaction{}, messages: map[string]string{}}
	e.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			e.conns.Store(conn, true)
			e.work.Go(func() { defer conn.Close(); e.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		e.conns.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		e.work.Wait()
	})
	return e
}

func (e *ehr) receiver(name string) deliver.Receiver {
	return deliver.Receiver{Name: name, Kind: record.ReceiverHL7, Address: "mllp://" + e.listener.Addr().String(), Header: hl7.Header{Receiver: hl7.Party{Application: "EHR"}}}
}

func (e *ehr) set(change func(*ehr)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *ehr) ids(accepted bool) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if accepted {
		return slices.Clone(e.accepted)
	}
	return slices.Clone(e.got)
}

func (e *ehr) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		raw, err := hl7.ReadFrame(reader)
		if err != nil {
			return
		}
		fields := strings.Split(strings.SplitN(string(raw), "\r", 2)[0], "|")
		id := fields[9]
		e.mu.Lock()
		e.got = append(e.got, id)
		e.messages[id] = string(raw)
		now, hold, begun := e.always, e.hold, e.begun
		if r, ok := e.of[id]; ok {
			now = r
		} else if len(e.next) > 0 {
			now, e.next = e.next[0], e.next[1:]
		}
		e.mu.Unlock()
		if begun != nil {
			begun <- id
		}
		if hold != nil {
			<-hold
		}
		ack := func(code, id string) {
			_, _ = conn.Write(hl7.Frame([]byte("MSH|^~\\&|EHR|H|NOCTUA|north|20261126||ACK^R01^ACK|1|P|2.5.1\rMSA|" + code + "|" + id + "|Secret Patient is unknown\rERR||PID^1|207^Application internal error^HL70357|E\r")))
		}
		switch now {
		case "", accept, stray:
			if now == stray {
				ack("AA", "LATE")
			}
			e.mu.Lock()
			e.accepted = append(e.accepted, id)
			e.mu.Unlock()
			ack("AA", id)
		case fail, reject:
			ack(string(now), id)
		case strange:
			for range 20 {
				ack("AA", "OTHER")
			}
		case garbage:
			_, _ = conn.Write([]byte("\x0bHTTP/1.1 400 Secret\r\n\x1c\r"))
		case noisy:
			for range 4 {
				if _, err := conn.Write(bytes.Repeat([]byte("x"), 40_000)); err != nil {
					return
				}
			}
		case cut:
			return
		case silence:
		}
	}
}

// id is the control id of a version.
func id(s study, version int) string { return hl7.ControlID(s.report(), version) }
