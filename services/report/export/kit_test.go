package export_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
	"github.com/noctua-screening/noctua/services/report/export"
	"github.com/noctua-screening/noctua/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	classSEG = "1.2.840.10008.5.1.4.1.1.66.4"
	classSR  = "1.2.840.10008.5.1.4.1.1.88.33"
	model    = "abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcd"
	other    = "0123450123450123450123450123450123450123450123450123450123450123"
	// testTimeout is a limit for broken code; nothing waits for it when all is well.
	testTimeout = 60 * time.Second
)

// world is a bucket and a stream with results, and archives that they are sent to.
type world struct {
	*blob.Store
	t      *testing.T
	server *streamtest.Server
	conn   *stream.Conn
	cfg    export.Config
	put    func(key string) error // fails puts of the service, if not nil
	// surveys counts the service's listings of results.
	surveys atomic.Int64
	log     lockedBuffer
}

// flaky is a bucket whose puts may fail on purpose.
type flaky struct{ *world }

func (f flaky) PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error {
	if f.put != nil {
		if err := f.put(key); err != nil {
			return err
		}
	}
	return f.Store.PutBytes(ctx, bucket, key, data, opts)
}

func (f flaky) List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error] {
	if prefix == "images/" {
		f.surveys.Add(1)
	}
	return f.Store.List(ctx, bucket, prefix)
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

func newWorld(t *testing.T, archives ...export.Archive) *world {
	t.Helper()
	return newWorldOn(t, blobtest.ConfigOf(servers.StartS3(t)), archives...)
}

// newWorldOn is newWorld on an S3 server that tests share.
func newWorldOn(t *testing.T, cfg blob.Config, archives ...export.Archive) *world {
	t.Helper()
	w := &world{t: t, Store: blobtest.Open(t, cfg), server: streamtest.Start(t), cfg: export.Config{
		Archives: archives, ModelSHA256: model, RetryBase: time.Millisecond, RetryCap: 20 * time.Millisecond, MaxAttempts: 3,
	}}
	topology := stream.DefaultTopology()
	topology.Consumers = append(topology.Consumers, w.cfg.Consumers()...)
	w.conn = w.server.Connect(topology)
	return w
}

// start runs the service; stop waits for its end.
func (w *world) start() (service *export.Service, stop func()) {
	w.t.Helper()
	deps := export.Deps{Blob: flaky{w}, Conn: w.conn, Clock: time.Now, Logger: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	service, err := export.New(deps, w.cfg)
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
	return service, stop
}

// sop is the instance of the n-th picture.
func sop(n int) string { return fmt.Sprintf("1.2.826.%d", n) }

// dicomFile is the SEG or SR of a picture.
func dicomFile(class string, n int) []byte {
	elements := dicomtest.Elements{
		0x00080016: dicomtest.Text("UI", class), 0x00080018: dicomtest.Text("UI", fmt.Sprintf("2.25.%d.%d", n, len(class))),
		0x00100010: dicomtest.Text("PN", "Secret^Patient"), 0x00100020: dicomtest.Text("LO", "SecretID"), 0x0020000D: dicomtest.Text("UI", "1.2.826"),
		0x0020000E: dicomtest.Text("UI", "1.2.826.9"), 0x00080060: dicomtest.Text("CS", "SEG"), 0x00420011: {VR: "OB", Value: bytes.Repeat([]byte{byte(n), 7}, 50_000)},
	}
	return append(dicom.FileHeader(class, string(bytes.TrimRight(elements[0x00080018].Value, "\x00")), dicom.ExplicitLittleEndian), elements.Dataset(false)...)
}

// result leaves the result of the n-th picture with its files, of model sha, and returns its key.
func (w *world) result(n int, clinic, sha string, files ...string) string {
	w.t.Helper()
	prefix, err := blob.ResultPrefix(sop(n), fmt.Sprintf("%064x", n), sha)
	if err != nil {
		w.t.Fatal(err)
	}
	doc := record.Result{Schema: record.ResultSchema, Clinic: clinic, Columns: 640, Rows: 480, Sha256: fmt.Sprintf("%064x", n), SOPUID: sop(n), StudyUID: "1.2.826",
		Status: record.Measured, Warnings: []record.Note{}, Measures: []record.Measure{}, Provenance: record.Provenance{CanvasFOVDiameterPx: 768, CanvasHeightPx: 800,
			CanvasWidthPx: 800, ChannelMean: []float64{1, 2, 3}, ChannelStd: []float64{1, 2, 3}, CodeVersion: "test", Decoder: "test", ExecutionProvider: "cpu",
			FinishedAt: time.Now(), StartedAt: time.Now(), InputSha256: fmt.Sprintf("%064x", n), Model: record.ModelReference{Name: "m", Version: "1", Sha256: sha},
			Normalisation: "mean-std", OnnxruntimeVersion: "1", Resampling: "triangle", Threshold: 0.5}}
	put := func(name string, raw []byte) {
		w.t.Helper()
		if err := w.PutBytes(w.t.Context(), w.Buckets().Results, prefix+name, raw, blob.PutOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, name := range files {
		switch name {
		case "seg.dcm":
			doc.Files.Seg = name
			put(name, dicomFile(classSEG, n))
		case "sr.dcm":
			doc.Files.Sr = name
			put(name, dicomFile(classSR, n))
		}
	}
	raw, err := record.Encode(record.ResultSchema, doc)
	if err != nil {
		w.t.Fatal(err)
	}
	put("result.json", raw)
	return prefix + "result.json"
}

// segmented leaves a result and tells of it, as the segment service does.
func (w *world) segmented(from, to int) {
	w.t.Helper()
	for n := from; n < to; n++ {
		w.tell(n, "north", w.result(n, "north", model, "seg.dcm", "sr.dcm"))
	}
}

func (w *world) tell(n int, clinic, key string) { w.t.Helper(); w.tellAs("", n, clinic, key) }

// tellAs tells of a result by an event of its own.
func (w *world) tellAs(id string, n int, clinic, key string) {
	w.t.Helper()
	sha := model
	if strings.Contains(key, other[:12]) {
		sha = other
	}
	e, err := event.New(event.TypeImageSegmented, event.ID(event.TypeImageSegmented, key, id), clinic, time.Now(), event.ImageSegmented{
		StudyUID: "1.2.826", SOPUID: sop(n), Sha256: fmt.Sprintf("%064x", n), ResultKey: key, Status: record.Measured, Model: "m", ModelSha256: sha})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.conn.Publish(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
}

// notes lists the notes on results of one name (sent.json, failed.json) by archive.
func (w *world) notes(name string) map[string][]record.Export {
	w.t.Helper()
	found := map[string][]record.Export{}
	for info, err := range w.List(w.t.Context(), w.Buckets().Results, "exports/") {
		if err != nil {
			w.t.Fatal(err)
		}
		if path.Base(info.Key) != name {
			continue
		}
		raw, err := w.GetBytes(w.t.Context(), w.Buckets().Results, info.Key, 1<<20)
		if err != nil {
			w.t.Fatal(err)
		}
		doc, err := record.Decode[record.Export](record.ExportSchema, raw)
		if err != nil {
			w.t.Fatal(err)
		}
		found[doc.Archive] = append(found[doc.Archive], *doc)
	}
	return found
}

func (w *world) sent(archive string) int   { w.t.Helper(); return len(w.notes("sent.json")[archive]) }
func (w *world) failed(archive string) int { w.t.Helper(); return len(w.notes("failed.json")[archive]) }

// status is that of one archive.
func (w *world) status(s *export.Service, archive string) record.ExportStatus {
	w.t.Helper()
	all, err := s.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(e record.ExportStatus) bool { return e.Archive == archive })
	if i < 0 {
		w.t.Fatalf("no archive %s in %+v", archive, all)
	}
	return all[i]
}

// dead are the codes of dead letters.
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

// settled waits until an archive has what was told.
func (w *world) settled(s *export.Service, archive string, sent, failed int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s has %d, %d failed", archive, sent, failed), func() bool {
		e := w.status(s, archive)
		return e.Pending == 0 && e.Sent == sent && e.Failed == failed
	})
	if got := w.sent(archive); got != sent {
		w.t.Errorf("%d results are noted as sent to %s, want %d", got, archive, sent)
	}
	if got := w.failed(archive); got != failed {
		w.t.Errorf("%d results are noted as failed at %s, want %d", got, archive, failed)
	}
}

// pacs is an archive that does as it is told, on pkg/dimse's accepting side.
type pacs struct {
	t        *testing.T
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	reject   dimse.Rejection
	statuses []dimse.Status      // of the next objects; then success
	always   dimse.Status        // in place of success
	refuse   string              // class without a presentation context
	hold     chan struct{}       // an object is answered when something comes from it, or it is closed
	begun    chan string         // told of instances that arrive, if not nil
	stored   map[string][][]byte // data sets by instance
	asked    int                 // objects
	calls    int                 // associations
}

func newPACS(t *testing.T) *pacs {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pacs{t: t, listener: listener, stored: map[string][][]byte{}}
	ctx, cancel := context.WithCancel(context.Background())
	p.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() {
				_ = dimse.New(conn, p, dimse.Config{ImplementationUID: "1.2", ImplementationVersion: "PACS", ARTIM: testTimeout, IdleTimeout: testTimeout, MaxDiscardBytes: 1 << 30}).Serve(ctx)
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = listener.Close(); p.work.Wait() })
	return p
}

func (p *pacs) archive(name string) export.Archive {
	return export.Archive{Name: name, Address: "dicom://PACS@" + p.listener.Addr().String()}
}

func (p *pacs) set(change func(*pacs)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *pacs) read(look func(*pacs) int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return look(p)
}

func (p *pacs) Associate(r *dimse.Request) dimse.Rejection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls++; r.Called != "PACS" || r.Calling != "NOCTUA" {
		return dimse.RejectCalledTitle
	}
	return p.reject
}

func (p *pacs) Negotiate(c dimse.Context) (string, dimse.ContextResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.AbstractSyntax == p.refuse {
		return "", dimse.ContextAbstractSyntax
	}
	return c.TransferSyntaxes[0], dimse.ContextAccepted
}

func (p *pacs) Store(ctx context.Context, o dimse.Object, data io.Reader) dimse.Response {
	raw, err := io.ReadAll(data)
	if err != nil {
		return dimse.Response{}
	}
	p.mu.Lock()
	hold, begun := p.hold, p.begun
	p.mu.Unlock()
	if begun != nil {
		begun <- o.Instance
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	status := p.always
	if len(p.statuses) > 0 {
		status, p.statuses = p.statuses[0], p.statuses[1:]
	}
	if status.Stored() {
		p.stored[o.Instance] = append(p.stored[o.Instance], raw)
	}
	return dimse.Response{Status: status, Comment: "Secret comment"}
}

// has checks that the archive holds the files of the pictures, each data set as it was made, and returns how often instances came.
func (p *pacs) has(from, to int) (copies int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.stored) != 2*(to-from) {
		p.t.Errorf("the archive has %d instances, want %d", len(p.stored), 2*(to-from))
	}
	for n := from; n < to; n++ {
		for _, class := range []string{classSEG, classSR} {
			want, err := dicom.TakeApart(dicomFile(class, n))
			if err != nil {
				p.t.Fatal(err)
			}
			got := p.stored[want.Instance]
			copies += len(got)
			if len(got) == 0 || !bytes.Equal(got[0], want.Dataset) {
				p.t.Errorf("the file of class %s of picture %d is not there as it was made", class, n)
			}
		}
	}
	return copies
}
