package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/dimse/dimsetest"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// receiving is a receiver that runs.
type receiving struct {
	*logs
	receiver *Receiver
	address  string
	spool    string
	stop     func() // and wait
}

// receive starts a receiver of the clinics north (CAMERA, ARCHIVE) and south (OTHER).
func receive(t *testing.T, s store, change func(*ReceiverDeps, *ReceiverConfig)) *receiving {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{}
	deps := ReceiverDeps{Blob: s, Listener: listener, Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: time.Now}
	config := ReceiverConfig{Clinics: map[string]string{"CAMERA": "north", "ARCHIVE": "north", "OTHER": "south"}, SpoolDir: t.TempDir(), StopGrace: 10 * time.Second}
	if change != nil {
		change(&deps, &config)
	}
	receiver, err := NewReceiver(deps, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- receiver.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-finished:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run did not stop")
		}
	})
	t.Cleanup(stop)
	return &receiving{l, receiver, listener.Addr().String(), config.SpoolDir, stop}
}

// storage proposes the class of a fundus photograph as context 3.
func storage(syntaxes ...string) []byte {
	if len(syntaxes) == 0 {
		syntaxes = []string{dicom.ExplicitLittleEndian}
	}
	return dimsetest.Context(3, dicom.ClassOphthalmic8Bit, syntaxes...)
}

// camera is a sender with an association.
func (r *receiving) camera(t *testing.T, calling string, contexts ...[]byte) *dimsetest.Client {
	t.Helper()
	client := dimsetest.Dial(t, r.address)
	if len(contexts) == 0 {
		contexts = [][]byte{storage()}
	}
	client.Associate(calling, "NOCTUA", contexts...)
	return client
}

// settle waits until there are as many connections without and with an association.
func (r *receiving) settle(t *testing.T, waiting, associations int) {
	t.Helper()
	waitFor(t, func() bool {
		r.receiver.mu.Lock()
		defer r.receiver.mu.Unlock()
		total := 0
		for _, n := range r.receiver.open {
			total += n
		}
		return r.receiver.waiting == waiting && total == associations
	})
}

// whenFree associates as CAMERA, again and again on new connections while there is no place: one becomes free a moment after its
// sender has closed.
func (r *receiving) whenFree(t *testing.T, client *dimsetest.Client) *dimsetest.Client {
	t.Helper()
	waitFor(t, func() bool {
		client.Send(dimsetest.Request("CAMERA", "NOCTUA", storage()))
		kind, _, err := client.Receive()
		if err == nil && kind == dimsetest.Accept {
			return true
		}
		_ = client.Close()
		client = dimsetest.Dial(t, r.address)
		return false
	})
	return client
}

func send(client *dimsetest.Client, instance string, data []byte) dimse.Status {
	client.Send(dimsetest.Store(3, 1, dicom.ClassOphthalmic8Bit, instance, data, 4096))
	return client.Status()
}

// rejected asks for an association and returns result, source and reason of its refusal.
func (r *receiving) rejected(t *testing.T, calling, called string) []byte {
	t.Helper()
	client := dimsetest.Dial(t, r.address)
	client.Send(dimsetest.Request(calling, called, storage()))
	body := client.Expect(dimsetest.Reject)
	_ = client.Close()
	return body[1:]
}

func dataset() []byte { return dicomtest.Native().Dataset(false) }

func TestReceiverKnowsItsSenders(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := receive(t, w, nil)
	for _, c := range []struct {
		calling, called string
		want            []byte
	}{
		{"CAMERA", "ELSEWHERE", []byte{1, 1, 7}},
		{"CAMERA", "noctua", []byte{1, 1, 7}},
		{"STRANGER", "NOCTUA", []byte{1, 1, 3}},
		{"", "NOCTUA", []byte{1, 1, 3}},
		{"STRANGER", "ELSEWHERE", []byte{1, 1, 7}},
	} {
		if got := r.rejected(t, c.calling, c.called); !bytes.Equal(got, c.want) {
			t.Errorf("%q calling %q: % X, want % X", c.calling, c.called, got, c.want)
		}
	}
	for _, calling := range []string{"CAMERA", " ARCHIVE", "OTHER"} { // spaces around a title mean nothing
		client := r.camera(t, calling)
		if got := send(client, "1.2.3.4", dataset()); got != dimse.Success {
			t.Errorf("%s: %04X", calling, uint16(got))
		}
		client.Release()
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/0001.dcm", "north/…/0001.dcm", "south/…/0001.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
}

// TestReceivedObjects: what was sent becomes a file that is read like any other, and the same file each time.
func TestReceivedObjects(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := receive(t, w, nil)
	file := instance(t, "P1")
	opened, err := dicom.Open(bytes.NewReader(file), int64(len(file)), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	described, err := opened.Describe()
	if err != nil {
		t.Fatal(err)
	}
	start := opened.Data.Elements[0].Offset - 8 // behind the first element's tag, type and length
	for range 2 {
		client := r.camera(t, "CAMERA", storage(dicom.JPEGBaseline))
		for range 2 {
			if got := send(client, described.SOPUID, file[start:]); got != dimse.Success {
				t.Fatalf("%04X", uint16(got))
			}
		}
		client.Release()
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/0001.dcm", "north/…/0001.dcm", "north/…/0002.dcm", "north/…/0002.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	want := append(dicom.FileHeader(dicom.ClassOphthalmic8Bit, described.SOPUID, dicom.JPEGBaseline), file[start:]...)
	for _, key := range w.keys(w.Buckets().Inbox) {
		if got, err := w.GetBytes(t.Context(), w.Buckets().Inbox, key, 1<<20); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s holds %d bytes, %v; want %d others", key, len(got), err, len(want))
		}
	}
	drain(t, w)
	w.check(t, "received four times", 1, 0, 3)
	r.stop()
	noPatients(t, w, r.logs)
}

// TestUnreadableSyntaxIsSeen: an object that cannot be read is taken, and ends in quarantine with a reason.
func TestUnreadableSyntaxIsSeen(t *testing.T) {
	t.Parallel()
	const jpegXL = "1.2.840.10008.1.2.4.110"
	w := newWorld()
	r := receive(t, w, nil)
	client := r.camera(t, "CAMERA", storage(jpegXL))
	if got := send(client, "1.2.3.4", dataset()); got != dimse.Success {
		t.Errorf("%04X", uint16(got))
	}
	client.Release()
	drain(t, w)
	w.check(t, "JPEG XL", 0, 1, 0)
	if got := w.reasons(t); !slices.Equal(got, []string{dicom.CodeTransferSyntax}) {
		t.Errorf("codes %v", got)
	}
}

func TestReceiverNegotiates(t *testing.T) {
	t.Parallel()
	const private = "1.2.3.4.5"
	for _, c := range []struct {
		class    string
		proposed []string
		syntax   string
		result   dimse.ContextResult
	}{
		{dicom.ClassOphthalmic8Bit, []string{dicom.JPEGBaseline, dicom.ExplicitLittleEndian}, dicom.JPEGBaseline, dimse.ContextAccepted},
		{dicom.ClassOphthalmic8Bit, []string{private, dicom.ImplicitLittleEndian, dicom.ExplicitLittleEndian}, dicom.ImplicitLittleEndian, dimse.ContextAccepted},
		{dicom.ClassOphthalmic8Bit, []string{private, "1.2.840.10008.1.2.4.110"}, private, dimse.ContextAccepted},
		{dicom.ClassOphthalmic8Bit, nil, "", dimse.ContextTransferSyntaxes},
		{dimse.VerificationClass, []string{dicom.ImplicitLittleEndian}, dicom.ImplicitLittleEndian, dimse.ContextAccepted},
		{"1.2.840.10008.5.1.4.1.1.2", []string{dicom.ImplicitLittleEndian}, "", dimse.ContextAbstractSyntax}, // CT
		{"1.2.840.10008.1.20.1", []string{dicom.ImplicitLittleEndian}, "", dimse.ContextAbstractSyntax},      // storage commitment
	} {
		syntax, result := (&sender{}).Negotiate(dimse.Context{ID: 1, AbstractSyntax: c.class, TransferSyntaxes: c.proposed})
		if syntax != c.syntax || result != c.result {
			t.Errorf("%s %v: %q, %d; want %q, %d", c.class, c.proposed, syntax, result, c.syntax, c.result)
		}
	}
	for _, class := range dicom.StorageClasses() {
		if _, result := (&sender{}).Negotiate(dimse.Context{ID: 1, AbstractSyntax: class, TransferSyntaxes: []string{dicom.ExplicitLittleEndian}}); result != dimse.ContextAccepted {
			t.Errorf("%s: %d", class, result)
		}
	}
}

// TestRefusedClassesAreLogged: what a sender cannot get rid of, an operator can see.
func TestRefusedClassesAreLogged(t *testing.T) {
	t.Parallel()
	r := receive(t, newWorld(), nil)
	r.camera(t, "CAMERA", storage(), dimsetest.Context(5, "1.2.840.10008.5.1.4.1.1.2", dicom.ExplicitLittleEndian)).Release()
	waitFor(t, func() bool { return strings.Contains(r.String(), "an association ended") })
	if log := r.String(); !strings.Contains(log, "classes=1 for_instance=1.2.840.10008.5.1.4.1.1.2") {
		t.Errorf("log %s", log)
	}
}

// TestReceiverStatuses: what cannot be stored is answered with what the sender should do, leaves nothing behind, and the
// association goes on.
func TestReceiverStatuses(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := receive(t, w, func(_ *ReceiverDeps, c *ReceiverConfig) { c.MaxObjectBytes = 10_000 })
	client := r.camera(t, "CAMERA")
	for name, c := range map[string]struct {
		data []byte
		want dimse.Status
	}{
		"another instance": {dicomtest.Native().With(dicomtest.Elements{0x00080018: dicomtest.Text("UI", "1.2.3.5")}).Dataset(false), dimse.DataSetMismatch},
		"another class":    {dicomtest.Native().With(dicomtest.Elements{0x00080016: dicomtest.Text("UI", "1.2.840.10008.5.1.4.1.1.7")}).Dataset(false), dimse.DataSetMismatch},
		"too large":        {make([]byte, 12_000), dimse.CannotUnderstand},
	} {
		if got := send(client, "1.2.3.4", c.data); got != c.want {
			t.Errorf("%s: %04X, want %04X", name, uint16(got), uint16(c.want))
		}
	}
	w.mu.Lock()
	w.fail["put "+w.Buckets().Inbox] = 1
	w.mu.Unlock()
	if got := send(client, "1.2.3.4", dataset()); got != dimse.OutOfResources {
		t.Errorf("a store that is away: %04X", uint16(got))
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 {
		t.Errorf("inbox %v", got)
	}
	for name, data := range map[string][]byte{"sound": dataset(), "garbage": bytes.Repeat([]byte{0xA5}, 500), "nothing": nil} {
		if got := send(client, "1.2.3.4", data); got != dimse.Success { // garbage is for quarantine to tell
			t.Errorf("%s: %04X", name, uint16(got))
		}
	}
	client.Release()
	if got := w.keys(w.Buckets().Inbox); len(got) != 3 {
		t.Errorf("inbox %v", got)
	}
}

func TestReceiverWithoutSpool(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := receive(t, w, func(_ *ReceiverDeps, c *ReceiverConfig) { c.SpoolDir += "/missing" })
	client := r.camera(t, "CAMERA")
	if got := send(client, "1.2.3.4", dataset()); got != dimse.OutOfResources {
		t.Errorf("%04X", uint16(got))
	}
	client.Release()
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 || !strings.Contains(r.String(), "spool-failed") {
		t.Errorf("inbox %v, log %s", got, r)
	}
}

// TestReceiverForgetsHalfObjects: a sender that dies in an object leaves nothing in the inbox.
func TestReceiverForgetsHalfObjects(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := receive(t, w, nil)
	client := r.camera(t, "CAMERA")
	if got := send(client, "1.2.3.4", dataset()); got != dimse.Success {
		t.Fatalf("%04X", uint16(got))
	}
	whole := dimsetest.Store(3, 2, dicom.ClassOphthalmic8Bit, "1.2.3.5", make([]byte, 50_000), 10_000)
	client.Send(whole[:len(whole)-20_000])
	_ = client.Close()
	waitFor(t, func() bool { return strings.Contains(r.String(), dimse.CodeBroken) })
	r.stop()
	if got := w.keys(w.Buckets().Inbox); len(got) != 1 {
		t.Errorf("inbox %v", got)
	}
	if entries, err := os.ReadDir(r.spool); err != nil || len(entries) > 0 {
		t.Errorf("the spool folder holds %v, %v", entries, err)
	}
	if log := r.String(); !strings.Contains(log, "stored=1 failed=1") {
		t.Errorf("log %s", log)
	}
}

func TestReceiverLimits(t *testing.T) {
	t.Parallel()
	busy := []byte{2, 3, 2}
	r := receive(t, newWorld(), func(_ *ReceiverDeps, c *ReceiverConfig) { c.MaxAssociations, c.MaxClinicAssociations = 3, 2 })
	first, second := r.camera(t, "CAMERA"), r.camera(t, "ARCHIVE")
	if got := r.rejected(t, "CAMERA", "NOCTUA"); !bytes.Equal(got, busy) {
		t.Errorf("a third of the clinic: % X", got)
	}
	third := r.camera(t, "OTHER")
	if got := r.rejected(t, "OTHER", "NOCTUA"); !bytes.Equal(got, busy) {
		t.Errorf("a fourth of all: % X", got)
	}
	r.settle(t, 0, 3)
	// Connections without association are bounded on their own.
	var silent []*dimsetest.Client
	for range 3 {
		silent = append(silent, dimsetest.Dial(t, r.address))
	}
	r.settle(t, 3, 3)
	if _, _, err := dimsetest.Dial(t, r.address).Receive(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("a fourth silent connection: %v", err)
	}
	for _, client := range silent {
		_ = client.Close()
	}
	for _, client := range []*dimsetest.Client{first, second, third} {
		client.Release()
	}
	waitFor(t, func() bool {
		return strings.Count(r.String(), "an association ended") == 3 && strings.Count(r.String(), "was not used") == 3
	})
	for range 10 { // more than there are places
		r.whenFree(t, dimsetest.Dial(t, r.address)).Release()
	}
}

// TestReceiverFreesPlaces: nothing keeps the place of a connection that failed, was refused, or never spoke.
func TestReceiverFreesPlaces(t *testing.T) {
	t.Parallel()
	r := receive(t, newWorld(), func(_ *ReceiverDeps, c *ReceiverConfig) {
		c.MaxAssociations, c.ARTIM, c.IdleTimeout = 1, 50*time.Millisecond, 50*time.Millisecond
	})
	say := func(b ...byte) func(*dimsetest.Client) *dimsetest.Client {
		return func(c *dimsetest.Client) *dimsetest.Client { c.Send(b); return c }
	}
	for round := range 3 {
		for name, begin := range map[string]func(*dimsetest.Client) *dimsetest.Client{
			"silent":   say(),
			"half":     say(dimsetest.Request("CAMERA", "NOCTUA", storage())[:40]...),
			"idle":     func(c *dimsetest.Client) *dimsetest.Client { return r.whenFree(t, c) },
			"refused":  say(dimsetest.Request("STRANGER", "NOCTUA")...),
			"oversize": say(1, 0, 0xFF, 0xFF, 0xFF, 0xFF),
			"garbage":  say([]byte("GET / HTTP/1.1\r\n\r\n")...),
		} {
			client := begin(dimsetest.Dial(t, r.address))
			for { // until the receiver has had enough, although the sender never closes
				if _, _, err := client.Receive(); err != nil {
					break
				}
			}
			r.whenFree(t, dimsetest.Dial(t, r.address)).Release()
			if t.Failed() {
				t.Fatalf("round %d, after %s", round, name)
			}
		}
	}
}

// gate is a store whose inbox takes objects only when it is opened.
type gate struct {
	*world
	reached, open chan struct{}
}

func (g gate) Put(ctx context.Context, bucket, key string, r io.Reader, size int64, opts blob.PutOptions) error {
	g.reached <- struct{}{}
	select {
	case <-g.open:
		return g.world.Put(ctx, bucket, key, r, size, opts)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestReceiverStops: idle associations end at once, an object under way becomes durable and is answered, and nothing outlives
// the grace.
func TestReceiverStops(t *testing.T) {
	t.Parallel()
	for name, grace := range map[string]time.Duration{"in time": 10 * time.Second, "cut off": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate{newWorld(), make(chan struct{}, 1), make(chan struct{})}
			r := receive(t, g, func(_ *ReceiverDeps, c *ReceiverConfig) { c.StopGrace = grace })
			idle, busy := r.camera(t, "CAMERA"), r.camera(t, "CAMERA")
			busy.Send(dimsetest.Store(3, 1, dicom.ClassOphthalmic8Bit, "1.2.3.4", dataset(), 4096))
			<-g.reached
			stopped := make(chan struct{})
			go func() { defer close(stopped); r.stop() }()
			idle.Expect(dimsetest.Abort)
			if name == "in time" {
				close(g.open)
				if got := busy.Status(); got != dimse.Success {
					t.Errorf("%04X", uint16(got))
				}
				busy.Expect(dimsetest.Abort)
			} else if kind, body, err := busy.Receive(); err == nil && !bytes.Contains(body, []byte{0, 0, 0, 9, 2, 0, 0, 0, 0, 0xA7}) {
				// There may be time to say Out of Resources, but nothing else.
				t.Errorf("PDU %d % X after the grace", kind, body)
			}
			<-stopped
			if got := len(g.keys(g.Buckets().Inbox)); (got == 1) != (name == "in time") {
				t.Errorf("%d objects in the inbox", got)
			}
			if _, err := net.DialTimeout("tcp", r.address, time.Second); err == nil {
				t.Error("the receiver still listens")
			}
		})
	}
}

// faulty is a store that panics.
type faulty struct{ *world }

func (faulty) Put(context.Context, string, string, io.Reader, int64, blob.PutOptions) error {
	panic("on purpose")
}

func TestReceiverOutlivesPanics(t *testing.T) {
	t.Parallel()
	r := receive(t, faulty{newWorld()}, func(_ *ReceiverDeps, c *ReceiverConfig) { c.MaxAssociations = 1 })
	for range 2 {
		client := r.whenFree(t, dimsetest.Dial(t, r.address))
		client.Send(dimsetest.Store(3, 1, dicom.ClassOphthalmic8Bit, "1.2.3.4", dataset(), 4096))
		if kind, _, err := client.Receive(); err == nil {
			t.Errorf("PDU %d", kind)
		}
	}
	r.stop()
	if strings.Count(r.String(), "an association panicked") != 2 {
		t.Errorf("log %s", r)
	}
}

// stumbling is a listener that fails before it works.
type stumbling struct {
	net.Listener
	mu    sync.Mutex
	times int
}

func (s *stumbling) Accept() (net.Conn, error) {
	s.mu.Lock()
	s.times++
	n := s.times
	s.mu.Unlock()
	if n == 1 {
		return nil, errors.New("too many open files")
	}
	return s.Listener.Accept()
}

func TestReceiverOutlivesAcceptErrors(t *testing.T) {
	t.Parallel()
	r := receive(t, newWorld(), func(d *ReceiverDeps, _ *ReceiverConfig) { d.Listener = &stumbling{Listener: d.Listener} })
	r.camera(t, "CAMERA").Release()
}

// TestReceiverFailsWithoutListener: a listener that somebody else closed ends the service, so that its supervisor sees it.
func TestReceiverFailsWithoutListener(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := NewReceiver(ReceiverDeps{Blob: newWorld(), Listener: listener, Logger: slog.New(slog.DiscardHandler), Clock: time.Now},
		ReceiverConfig{Clinics: map[string]string{"CAMERA": "north"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if err := receiver.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

func TestReceiverConfig(t *testing.T) {
	t.Parallel()
	sound := func() ReceiverConfig { return ReceiverConfig{Clinics: map[string]string{"CAMERA 1": "north"}} }
	if err := sound().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*ReceiverConfig){
		"no sender":              func(c *ReceiverConfig) { c.Clinics = nil },
		"a long title":           func(c *ReceiverConfig) { c.Title = "SEVENTEEN LETTERS" },
		"a backslash":            func(c *ReceiverConfig) { c.Title = `A\B` },
		"a title beyond ASCII":   func(c *ReceiverConfig) { c.Clinics["KAMERÁ"] = "north" },
		"an empty sender":        func(c *ReceiverConfig) { c.Clinics[""] = "north" },
		"a sender with spaces":   func(c *ReceiverConfig) { c.Clinics[" A"] = "north" },
		"a clinic that is none":  func(c *ReceiverConfig) { c.Clinics["A"] = "no/rth" },
		"a negative limit":       func(c *ReceiverConfig) { c.MaxAssociations = -1 },
		"a negative time":        func(c *ReceiverConfig) { c.IdleTimeout = -1 },
		"a clinic without name":  func(c *ReceiverConfig) { c.Clinics["A"] = "" },
		"a negative object size": func(c *ReceiverConfig) { c.MaxObjectBytes = -1 },
	} {
		c := sound()
		change(&c)
		if err := c.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewReceiver(ReceiverDeps{}, sound()); !fault.Is(err, fault.Internal) {
		t.Errorf("without dependencies: %v", err)
	}
}

// TestThousandAssociations: neither goroutines nor descriptors nor spooled files are left of associations that end in order, are
// refused, break in an object, or never begin. It is not parallel, since it counts what the process has.
func TestThousandAssociations(t *testing.T) {
	w := newWorld()
	r := receive(t, w, func(_ *ReceiverDeps, c *ReceiverConfig) { c.MaxAssociations, c.MaxClinicAssociations = 1000, 1000 })
	associate := func(i int) {
		client := dimsetest.Dial(t, r.address)
		switch i % 4 {
		case 0:
			_ = client.Close()
			return
		case 1:
			client.Send(dimsetest.Request("STRANGER", "NOCTUA", storage()))
			client.Expect(dimsetest.Reject)
			_ = client.Close()
			return
		}
		client.Associate("CAMERA", "NOCTUA", storage())
		store := dimsetest.Store(3, 1, dicom.ClassOphthalmic8Bit, "1.2.3.4", dataset(), 100)
		if i%4 == 2 {
			client.Send(store[:len(store)-50])
			_ = client.Close()
			return
		}
		client.Send(store)
		if got := client.Status(); got != dimse.Success {
			t.Fatalf("%04X", uint16(got))
		}
		client.Release()
	}
	ended := regexp.MustCompile(`an association ended|was refused|was not used`)
	settled := func(n int) {
		t.Helper()
		waitFor(t, func() bool { return len(ended.FindAllString(r.String(), -1)) >= n })
	}
	const before, associations = 20, 1000
	for i := range before {
		associate(i)
	}
	settled(before)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close files that nobody closed
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	started := time.Now()
	for i := range associations {
		associate(i)
	}
	settled(before + associations)
	t.Logf("%d associations in %v", associations, time.Since(started).Round(time.Millisecond))
	waitFor(t, func() bool { return runtime.NumGoroutine() <= goroutines && openDescriptors(t) <= descriptors })
	if entries, err := os.ReadDir(r.spool); err != nil || len(entries) > 0 {
		t.Errorf("the spool folder holds %v, %v", entries, err)
	}
	if got := len(w.keys(w.Buckets().Inbox)); got != (before+associations)/4 {
		t.Errorf("%d objects in the inbox", got)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("SKIPPED, NOT RUN: open descriptors cannot be counted: %v", err)
	}
	return len(entries)
}
