package ingest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated/isolatedtest"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

func TestMain(m *testing.M) {
	isolated.Serve()
	goleak.VerifyTestMain(m)
}

// instance is a small sound photograph of a patient.
func instance(t testing.TB, patient string, change ...func(*dicom.FundusAttributes)) []byte {
	t.Helper()
	p := raster.NewRGB(48, 40)
	for i := range p.Pix {
		p.Pix[i] = uint8(3*i + len(patient) + int(patient[len(patient)-1]))
	}
	jpeg, err := pixel.EncodeJPEG(p, 85)
	if err != nil {
		t.Fatal(err)
	}
	a := dicom.FundusAttributes{
		PatientID: patient, Issuer: "HRF", PatientName: "Secretname^" + patient, Laterality: record.RightEye,
		AcquiredAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}
	for _, c := range change {
		c(&a)
	}
	var b bytes.Buffer
	if err := dicom.WriteOP(&b, a, jpeg); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func archiveOf(t testing.TB, members ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w, err := z.Create(members[i].(string))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(members[i+1].([]byte)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// logs gathers what the service logs, to look for patients in it.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func secret() []byte { return []byte("a secret of this site") }

func newService(t testing.TB, w *world, change func(*Deps, *Config)) (*Service, *logs) {
	t.Helper()
	l := &logs{}
	deps := Deps{Blob: w, Publisher: w, Files: isolatedtest.New(t), Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: w.now}
	config := Config{SiteSecret: secret(), ListEvery: 5 * time.Millisecond, SpoolDir: t.TempDir(), StopGrace: 5 * time.Second}
	if change != nil {
		change(&deps, &config)
	}
	s, err := New(deps, config)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// run lets a service work until done says so.
func run(t testing.TB, s *Service, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- s.Run(ctx) }()
	waitFor(t, done)
	cancel()
	select {
	case err := <-finished:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run did not stop")
	}
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not done within 30 s")
		}
	}
}

// drain lets a service work until the inbox is empty.
func drain(t testing.TB, w *world) *logs {
	t.Helper()
	s, l := newService(t, w, nil)
	run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
	return l
}

// outcomes counts what is in the buckets.
type outcomes struct{ images, documents, quarantined, reasons, duplicates, accepted, rejected, duplicate int }

func (w *world) outcomes() outcomes {
	var o outcomes
	for _, key := range w.keys(w.Buckets().Archive) {
		switch {
		case strings.HasSuffix(key, ".dcm"):
			o.images++
		case strings.HasPrefix(key, "images/"):
			o.documents++
		case strings.HasPrefix(key, "duplicates/"):
			o.duplicates++
		}
	}
	for _, key := range w.keys(w.Buckets().Quarantine) {
		if strings.HasSuffix(key, ".json") {
			o.reasons++
		} else {
			o.quarantined++
		}
	}
	o.accepted, o.rejected, o.duplicate = len(w.published(event.TypeImageAccepted)), len(w.published(event.TypeImageRejected)), len(w.published(event.TypeImageDuplicate))
	return o
}

func (w *world) check(t testing.TB, name string, images, quarantined, duplicates int) {
	t.Helper()
	want := outcomes{images, images, quarantined, quarantined, duplicates, images, quarantined, duplicates}
	if got := w.outcomes(); got != want {
		t.Errorf("%s: %+v, want %+v", name, got, want)
	}
}

// reasons lists the codes in quarantine.
func (w *world) reasons(t testing.TB) (codes []string) {
	t.Helper()
	for _, key := range w.keys(w.Buckets().Quarantine) {
		if strings.HasSuffix(key, ".json") {
			raw, err := w.GetBytes(t.Context(), w.Buckets().Quarantine, key, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			q, err := record.Decode[record.Quarantine](record.QuarantineSchema, raw)
			if err != nil {
				t.Fatal(err)
			}
			if q.Reason == "" || q.Action == "" {
				t.Errorf("%s has no reason or action", q.Code)
			}
			codes = append(codes, q.Code)
		}
	}
	slices.Sort(codes)
	return codes
}

// noPatients looks for names, ids and inbox keys where they must not be.
func noPatients(t testing.TB, w *world, l *logs) {
	t.Helper()
	events, err := json.Marshal(w.events)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, bucket := range []string{w.Buckets().Archive, w.Buckets().Quarantine, w.Buckets().Results} {
		keys = append(keys, w.keys(bucket)...)
	}
	for where, text := range map[string]string{"logs": l.String(), "events": string(events), "keys": strings.Join(keys, " ")} {
		for _, private := range []string{"Secret", `"P1"`, "P1^", "=P1"} {
			if strings.Contains(text, private) {
				t.Errorf("the %s hold %q:\n%.2000s", where, private, text)
			}
		}
	}
}

func (w *world) isKilled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}

func (w *world) outcomesOf(typ string) []string { return w.published(typ) }
