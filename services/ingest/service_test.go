package ingest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	deps := Deps{Blob: w, Publisher: w, Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: w.now}
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

func TestAcceptedImage(t *testing.T) {
	t.Parallel()
	w := newWorld()
	data := instance(t, "P1")
	w.drop("north/Secretfile 1.dcm", data)
	l := drain(t, w)
	w.check(t, "one image", 1, 0, 0)
	for _, key := range w.keys(w.Buckets().Archive) {
		raw, err := w.GetBytes(t.Context(), w.Buckets().Archive, key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(key, ".dcm"):
			if !bytes.Equal(raw, data) {
				t.Error("the archived bytes differ")
			}
		case strings.HasPrefix(key, "images/"):
			i, err := record.Decode[record.Instance](record.InstanceSchema, raw)
			if err != nil {
				t.Fatal(err)
			}
			if i.Clinic != "north" || i.Patient.ID != "P1" || i.Patient.Key != PatientKey(secret(), "north", "HRF", "P1") || len(i.PixelSha256) != 64 || i.SizeBytes != len(data) {
				t.Errorf("%+v", i)
			}
		}
	}
	noPatients(t, w, l)
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

func TestDropAgain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 5 {
		w.drop(fmt.Sprintf("north/a/%d", i), instance(t, fmt.Sprint("P", i)))
	}
	drain(t, w)
	w.check(t, "first", 5, 0, 0)
	w.advance(time.Hour)
	for i := range 5 {
		w.drop(fmt.Sprintf("north/b/%d", i), instance(t, fmt.Sprint("P", i)))
	}
	drain(t, w)
	w.check(t, "again", 5, 0, 5)
}

func TestSameBytesAtOnce(t *testing.T) {
	t.Parallel()
	for round := range 20 {
		w := newWorld()
		for i := range 8 {
			w.drop(fmt.Sprintf("north/%d", i), instance(t, "P1"))
			w.drop(fmt.Sprintf("north/bad%d", i), []byte("no picture"))
		}
		s, _ := newService(t, w, func(_ *Deps, c *Config) { c.Workers = 8 })
		run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
		w.check(t, fmt.Sprint("round ", round), 1, 1, 14)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	sound := instance(t, "P1")
	tests := []struct {
		key    string
		data   []byte
		clinic string
		code   string
	}{
		{"north/x.dcm", sound[:len(sound)-100], "north", dicom.CodeTruncated},
		{"north/x.txt", []byte("hello"), "north", dicom.CodeNotDICOM},
		{"north/empty", nil, "north", dicom.CodeNotDICOM},
		{"x.dcm", sound, unassignedClinic, CodeClinicMissing},
		{"north west/x.dcm", sound, unassignedClinic, CodeClinicInvalid},
		{"north/z.zip", archiveOf(t)[:10], "north", CodeArchiveDamaged},
		{"north/z.zip", archiveOf(t), "north", CodeArchiveEmpty},
		{"north/z.zip", archiveOf(t, "__MACOSX/x", []byte("x"), "a/.DS_Store", []byte("x"), "DICOMDIR", []byte("x")), "north", CodeArchiveEmpty},
		{"north/z.zip", archiveOf(t, "bomb", make([]byte, 2<<20)), "north", CodeArchiveBomb},
		{"north/z.zip", archiveOf(t, "inner.zip", archiveOf(t, "x", sound)), "north", CodeArchiveNested},
		{"north/z.zip", encrypted(archiveOf(t, "x", sound)), "north", CodeArchiveEncrypted},
	}
	for _, test := range tests {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop(test.key, test.data)
			l := drain(t, w)
			w.check(t, test.code, 0, 1, 0)
			if got := w.reasons(t); len(got) != 1 || got[0] != test.code {
				t.Errorf("codes %v", got)
			}
			if key := w.keys(w.Buckets().Quarantine)[0]; !strings.HasPrefix(key, test.clinic+"/2026-11-23/") {
				t.Errorf("key %s", key)
			}
			noPatients(t, w, l)
		})
	}
}

// encrypted sets the encryption flag of every member.
func encrypted(archive []byte) []byte {
	out := bytes.Clone(archive)
	for i := range out {
		if bytes.HasPrefix(out[i:], []byte("PK\x03\x04")) {
			out[i+6] |= 1
		}
		if bytes.HasPrefix(out[i:], []byte("PK\x01\x02")) {
			out[i+8] |= 1
		}
	}
	return out
}

func TestTooLargeIsNotSpooled(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/large", make([]byte, 5000))
	s, _ := newService(t, w, func(_ *Deps, c *Config) {
		c.MaxObjectBytes = 4999
		c.SpoolDir = "/nonexistent" // any spooling would fail
	})
	run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
	w.check(t, "large", 0, 1, 0)
	if got := w.reasons(t); got[0] != CodeObjectTooLarge {
		t.Errorf("codes %v", got)
	}
}

func TestArchiveMembers(t *testing.T) {
	t.Parallel()
	a, b := instance(t, "P1"), instance(t, "P2")
	damaged := archiveOf(t, "a.dcm", a, "b.dcm", b, "c.dcm", instance(t, "P3"))
	// A byte in the middle of the second member's compressed data.
	r, err := zip.NewReader(bytes.NewReader(damaged), int64(len(damaged)))
	if err != nil {
		t.Fatal(err)
	}
	at, err := r.File[1].DataOffset()
	if err != nil {
		t.Fatal(err)
	}
	damaged[at+int64(r.File[1].CompressedSize64)/2] ^= 0x55
	tests := []struct {
		name                            string
		data                            []byte
		images, quarantined, duplicates int
	}{
		{"two good, litter, one bad", archiveOf(t, "x/a.dcm", a, "x/.DS_Store", []byte("x"), "x/b.dcm", b, "readme.txt", []byte("hello"), "x/", []byte{}), 2, 1, 0},
		{"one member damaged", damaged, 2, 1, 0},
		{"same picture twice", archiveOf(t, "a.dcm", a, "b.dcm", a), 1, 0, 1},
		{"same name twice", archiveOf(t, "a.dcm", a, "a.dcm", b, "a.dcm", a), 2, 0, 1},
		{"names that climb", archiveOf(t, "../../a.dcm", a, "/etc/b.dcm", b, `..\..\c.dcm`, []byte("x")), 2, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/night.zip", test.data)
			drain(t, w)
			w.check(t, test.name, test.images, test.quarantined, test.duplicates)
			w.advance(time.Second)
			w.drop("north/night.zip", test.data) // the same night again
			drain(t, w)
			w.check(t, test.name+" again", test.images, test.quarantined, test.duplicates+test.images+test.quarantined+test.duplicates)
		})
	}
}

func TestArchiveLimits(t *testing.T) {
	t.Parallel()
	var many []any
	for i := range 30 {
		many = append(many, fmt.Sprint("f", i), []byte("x"))
	}
	for name, change := range map[string]func(*Config){
		"members": func(c *Config) { c.MaxArchiveMembers = 29 },
		"total":   func(c *Config) { c.MaxArchiveBytes = 29 },
	} {
		w := newWorld()
		w.drop("north/night.zip", archiveOf(t, many...))
		s, _ := newService(t, w, func(_ *Deps, c *Config) { change(c) })
		run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
		if got := w.reasons(t); len(got) != 1 || got[0] != CodeArchiveTooLarge {
			t.Errorf("%s: codes %v", name, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	same := func(a *dicom.FundusAttributes) { a.SOPUID, a.StudyUID = "1.2.3.4", "1.2.3" }
	first := instance(t, "P1", same)
	t.Run("corrected header", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.drop("north/1", first)
		drain(t, w)
		w.drop("north/2", instance(t, "P1", same, func(a *dicom.FundusAttributes) { a.PatientName = "Corrected" }))
		drain(t, w)
		w.check(t, "a second revision", 2, 0, 0)
	})
	for name, other := range map[string][]byte{
		"other pixels": instance(t, "P2", same),
		"other study":  instance(t, "P1", same, func(a *dicom.FundusAttributes) { a.StudyUID = "1.2.4" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/1", first)
			drain(t, w)
			w.drop("north/2", other)
			drain(t, w)
			w.check(t, name, 1, 1, 0)
			if got := w.reasons(t); got[0] != CodeIdentity {
				t.Errorf("codes %v", got)
			}
		})
	}
}

// TestKilledAnywhere kills the process at every write of every kind of intake, before and after the write is done, starts it
// again (and kills it once more at the next write), and looks whether the outcome is the same as without.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	a, b := instance(t, "P1"), instance(t, "P2")
	tests := []struct {
		name                            string
		prepare, drop                   func(w *world)
		images, quarantined, duplicates int
	}{
		{"accepted", nil, func(w *world) { w.drop("north/1", a) }, 1, 0, 0},
		{"rejected", nil, func(w *world) { w.drop("north/1", []byte("x")) }, 0, 1, 0},
		{"duplicate", func(w *world) { w.drop("north/1", a) }, func(w *world) { w.drop("north/2", a) }, 1, 0, 1},
		{"duplicate in quarantine", func(w *world) { w.drop("north/1", []byte("x")) }, func(w *world) { w.drop("north/2", []byte("x")) }, 0, 1, 1},
		{"identity conflict", func(w *world) {
			w.drop("north/1", instance(t, "P1", func(a *dicom.FundusAttributes) { a.SOPUID = "1.2.3" }))
		}, func(w *world) {
			w.drop("north/2", instance(t, "P2", func(a *dicom.FundusAttributes) { a.SOPUID = "1.2.3" }))
		}, 1, 1, 0},
		{"two at once", nil, func(w *world) { w.drop("north/1", a); w.drop("north/2", a) }, 1, 0, 1},
		{"ZIP", nil, func(w *world) { w.drop("north/z", archiveOf(t, "a", a, "x", []byte("x"), "b", b, "a2", a)) }, 2, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for at := 1; ; at++ {
				reached := false
				for _, after := range []bool{false, true} {
					w := newWorld()
					if test.prepare != nil {
						test.prepare(w)
						drain(t, w)
						w.advance(time.Second)
					}
					test.drop(w)
					for again := range 2 {
						w.revive(at+again, after)
						s, _ := newService(t, w, nil)
						run(t, s, func() bool { return w.isKilled() || len(w.keys(w.Buckets().Inbox)) == 0 })
						reached = reached || w.isKilled()
						if w.isKilled() {
							kills++
						}
						w.advance(time.Minute) // past midnight: days must not change
					}
					w.revive(0, false)
					drain(t, w)
					w.check(t, fmt.Sprintf("killed at write %d, after %v", at, after), test.images, test.quarantined, test.duplicates)
				}
				if !reached {
					break
				}
			}
			t.Logf("%d kills", kills)
			if kills < 6 {
				t.Errorf("only %d kills", kills)
			}
		})
	}
}

func (w *world) isKilled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}

// TestServersAway lets each operation fail for a while: nothing is lost, and nothing is done twice.
func TestServersAway(t *testing.T) {
	t.Parallel()
	b := newWorld().Buckets()
	for _, operation := range []string{"list " + b.Inbox, "get " + b.Inbox, "put " + b.Archive, "get " + b.Archive, "put " + b.Quarantine, "publish", "remove " + b.Inbox} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/1", instance(t, "P1"))
			w.drop("north/2", []byte("x"))
			w.drop("north/3", instance(t, "P3"))
			w.fail[operation] = 2
			s, _ := newService(t, w, func(d *Deps, _ *Config) {
				// Time flies, so that retries come at once.
				d.Clock = func() time.Time { w.advance(time.Second); return w.now() }
			})
			run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
			w.check(t, operation, 2, 1, 0)
		})
	}
}

// TestOneBadObjectBlocksNobody has an object that can never be fetched.
func TestOneBadObjectBlocksNobody(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/0", instance(t, "P0"))
	for i := 1; i < 10; i++ {
		w.drop(fmt.Sprint("north/", i), instance(t, fmt.Sprint("P", i)))
	}
	s, _ := newService(t, w, func(d *Deps, c *Config) {
		d.Blob = stubborn{w, "north/0"}
		c.Workers = 1
	})
	run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 1 })
	w.check(t, "the others", 9, 0, 0)
}

type stubborn struct {
	*world
	key string
}

func TestReplacedWhileRead(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/1", instance(t, "P1"))
	w.advance(time.Minute)
	s, _ := newService(t, w, func(d *Deps, _ *Config) { d.Blob = &replacing{world: w, data: instance(t, "P2")} })
	run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
	w.check(t, "both", 2, 0, 0)
}

func TestWakes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	wake := make(chan struct{})
	s, _ := newService(t, w, func(d *Deps, c *Config) {
		d.Wake = wake
		c.ListEvery = time.Hour
	})
	run(t, s, func() bool {
		if len(w.outcomesOf(event.TypeImageAccepted)) == 1 {
			return true
		}
		if len(w.keys(w.Buckets().Inbox)) == 0 {
			w.drop("north/1", instance(t, "P1"))
		}
		select {
		case wake <- struct{}{}:
		default:
		}
		return false
	})
}

func (w *world) outcomesOf(typ string) []string { return w.published(typ) }

// TestReconcile wipes the stream: images without a result are announced again, others are not.
func TestReconcile(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"", strings.Repeat("a", 64)} {
		w := newWorld()
		for i := range 4 {
			w.drop(fmt.Sprint("north/", i), instance(t, fmt.Sprint("P", i), func(a *dicom.FundusAttributes) { a.NotColour = i == 3 }))
		}
		drain(t, w)
		w.check(t, "archived", 4, 0, 0)
		announced := map[string]event.ImageAccepted{}
		for _, e := range w.events {
			data, err := event.DataOf[event.ImageAccepted](e, event.TypeImageAccepted)
			if err != nil {
				t.Fatal(err)
			}
			announced[data.SOPUID] = data
		}
		w.events = nil
		// One has a result, one a failure.
		left := 2
		for _, data := range announced {
			if data.Analyse && left > 0 {
				name := []string{"failure.json", "result.json"}[left-1]
				key := "images/" + data.SOPUID + "/" + data.Sha256[:16] + "/" + strings.Repeat("a", 12) + "/" + name
				if err := w.PutBytes(t.Context(), w.Buckets().Results, key, []byte("{}"), storeOptions()); err != nil {
					t.Fatal(err)
				}
				left--
			}
		}
		w.advance(time.Hour)
		lag := 1
		s, _ := newService(t, w, func(d *Deps, c *Config) {
			d.Lag = func(context.Context) (int, error) { return lag, nil }
			c.ModelSHA256 = model
		})
		if n, err := s.reconcile(t.Context()); err != nil || n != 0 {
			t.Errorf("while workers are busy: %d, %v", n, err)
		}
		lag = 0
		if n, err := s.reconcile(t.Context()); err != nil || n != 1 {
			t.Errorf("model %q: %d announced, %v; want 1", model, n, err)
		}
		if got := w.published(event.TypeImageAccepted); len(got) != 1 {
			t.Errorf("events %v", got)
		}
	}
}

func TestStopLeavesTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 200 {
		w.drop(fmt.Sprintf("north/%03d", i), instance(t, fmt.Sprint("P", i)))
	}
	s, _ := newService(t, w, nil)
	run(t, s, func() bool { return len(w.published(event.TypeImageAccepted)) > 3 })
	o := w.outcomes()
	if left := len(w.keys(w.Buckets().Inbox)); left == 0 || o.images+left != 200 || o.accepted != o.images {
		t.Errorf("%d left, %+v", left, o)
	}
	drain(t, w)
	w.check(t, "after the restart", 200, 0, 0)
}

func TestEveryCodeHasAReason(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{".", "../../pkg/dicom", "../../pkg/dicom/pixel"} {
		for _, code := range codesIn(t, dir) {
			r, known := reasonOf(code)
			if !known || r.sentence == "" || r.action == "" {
				t.Errorf("%s has no reason or action", code)
			}
		}
	}
}

// codesIn reads the Code… constants off a package's source; CodeNote… are notes and file-unreadable is never a refusal.
func codesIn(t *testing.T, dir string) (codes []string) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			fields := strings.Fields(line)
			if len(fields) >= 3 && strings.HasPrefix(fields[0], "Code") && !strings.HasPrefix(fields[0], "CodeNote") && fields[1] == "=" && fields[0] != "CodeUnreadable" {
				codes = append(codes, strings.Trim(fields[2], `"`))
			}
		}
	}
	if len(codes) < 3 {
		t.Fatalf("only %d codes in %s", len(codes), dir)
	}
	return codes
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"secret":  {SiteSecret: []byte("short")},
		"workers": {SiteSecret: secret(), Workers: -1},
		"model":   {SiteSecret: secret(), ModelSHA256: "abc"},
		"times":   {SiteSecret: secret(), ListEvery: -1},
	} {
		if _, err := New(Deps{}, c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Deps{}, Config{SiteSecret: secret()}); err == nil {
		t.Error("no error without dependencies")
	}
}

func TestPatientKey(t *testing.T) {
	t.Parallel()
	a := PatientKey(secret(), "north", "HRF", "P1")
	if len(a) != 64 || a != PatientKey(secret(), "north", "HRF", "P1") {
		t.Errorf("%s", a)
	}
	for _, other := range []string{PatientKey(secret(), "south", "HRF", "P1"), PatientKey(secret(), "north", "", "HRFP1"), PatientKey(secret(), "north", "HR", "FP1"), PatientKey([]byte("another secret"), "north", "HRF", "P1")} {
		if other == a {
			t.Error("two patients share a key")
		}
	}
}
