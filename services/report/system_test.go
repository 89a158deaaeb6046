package report

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
	"github.com/noctua-screening/noctua/services/report/board"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/test/servers"
)

// system reads /api/system.
func readSystem(t *testing.T, handler http.Handler, bearer string) systemDocument {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/system", nil)
	r.Header.Set("Authorization", "Bearer "+bearer)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	var doc systemDocument
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return doc
}

func (d systemDocument) part(name string) partDocument {
	for _, p := range d.Parts {
		if p.Name == name {
			return p
		}
	}
	return partDocument{}
}

// TestSystemWithPartsThatStop stops real servers, the workers and the database one after the other, and reads what is said of them.
func TestSystemWithPartsThatStop(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	nats, s3 := streamtest.Start(t), servers.StartS3(t)
	conn, storage := nats.Connect(stream.DefaultTopology()), blobtest.Open(t, blobtest.ConfigOf(s3))
	db, err := sql.Open("sqlite", store.SQLiteDSN(filepath.Join(t.TempDir(), "index.db")))
	k.must(err)
	t.Cleanup(func() { _ = db.Close() })
	index, err := store.Open(t.Context(), db, store.SQLite(), store.Config{Timing: Config{}.StoreTiming()})
	k.must(err)
	queue := Stream{Conn: conn, Logger: slog.New(slog.DiscardHandler)}
	answers := func(ask func(context.Context) error) func(context.Context) (board.Finding, error) {
		return func(ctx context.Context) (board.Finding, error) { return board.Finding{Lamp: board.Green}, ask(ctx) }
	}
	s, err := New(Deps{Blob: storage, Queue: queue, Store: index, Authority: k.authority, Photo: photo, Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
		System: &System{Queue: queue.State, Parts: []board.Part{{Name: "NATS", Do: "start it", Check: answers(conn.Ready)}, {Name: "S3", Do: "start it", Check: answers(storage.Ready)}}}}, Config{Version: "test", RequestBurst: 1 << 20})
	k.must(err)
	s.markReady()
	handler := s.Handler()
	// eventually reads until the lamps are as they should be; others do not matter.
	eventually := func(what string, lamps map[string]board.Lamp) systemDocument {
		t.Helper()
		deadline := time.Now().Add(2 * time.Minute)
		for {
			doc := readSystem(t, handler, testToken)
			wrong := ""
			for name, lamp := range lamps {
				if p := doc.part(name); p.Lamp != lamp || lamp != board.Green && p.Do == "" {
					wrong += fmt.Sprintf("%+v ", p)
				}
			}
			ready := httptest.NewRecorder()
			handler.ServeHTTP(ready, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
			if agrees := (ready.Code == http.StatusOK) == doc.Ready; wrong == "" && agrees {
				return doc
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: %s; ready %v, /readyz %d", what, wrong, doc.Ready, ready.Code)
			}
			k.must(pause(t.Context(), 100*time.Millisecond))
		}
	}
	working, stop := context.WithCancel(t.Context())
	var worker sync.WaitGroup
	worker.Go(func() {
		w := stream.Worker{Conn: conn, Consumer: SegmentConsumer, Handler: func(context.Context, stream.Delivery) error { return nil }}
		if err := w.Run(working); err != nil && !fault.Interrupted(err) {
			t.Error(err)
		}
	})
	doc := eventually("all is well", map[string]board.Lamp{"Report index": board.Green, "NATS": board.Green, "S3": board.Green, "Segment workers": board.Green, "Dead letters": board.Green})
	if doc.Lamp != board.Green || !doc.Ready || len(doc.Queue) != 4 || doc.Inbox == nil || doc.Inbox.Waiting != 0 {
		t.Errorf("%+v", doc)
	}
	stop()
	worker.Wait()
	doc = eventually("no worker", map[string]board.Lamp{"Segment workers": board.Red, "NATS": board.Green})
	if p := doc.part("Segment workers"); !strings.Contains(p.Text, "There is no worker") {
		t.Errorf("%+v", p)
	}
	k.must(conn.Publish(t.Context(), k.accept(picture{1, 1})))
	for !strings.Contains(doc.part("Segment workers").Text, "Pictures wait, and there is no worker") {
		k.must(pause(t.Context(), 100*time.Millisecond))
		doc = eventually("pictures wait", map[string]board.Lamp{"Segment workers": board.Red})
	}
	for _, line := range doc.Queue {
		if line.Consumer == SegmentConsumer && (line.Waiting != 1 || line.OldestAt.IsZero() || time.Since(line.OldestAt) < 0) {
			t.Errorf("%+v", line)
		}
	}
	nats.Stop()
	doc = eventually("no NATS", map[string]board.Lamp{"NATS": board.Red, "Segment workers": board.Red, "S3": board.Green, "Report index": board.Green})
	if !doc.Ready || doc.Queue != nil {
		t.Errorf("%+v", doc)
	}
	// The page of people comes as well, and says what to do.
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/system", nil)
	r.Header.Set("Authorization", "Bearer "+testToken)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	for _, want := range []string{"Needs somebody now: NATS", "What to do", "start it", "does not work"} {
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d, the page lacks %q", w.Code, want)
		}
	}
	nats.Restart()
	eventually("NATS again", map[string]board.Lamp{"NATS": board.Green, "Dead letters": board.Green})
	s3.Kill()
	doc = eventually("no S3", map[string]board.Lamp{"S3": board.Red, "NATS": board.Green, "Report index": board.Green})
	if doc.Inbox != nil {
		t.Errorf("%+v", doc.Inbox)
	}
	k.must(db.Close())
	if doc = eventually("no index", map[string]board.Lamp{"Report index": board.Red}); doc.Ready {
		t.Error("it is ready without its index")
	}
}

// withSystem gives a service a system.
func withSystem(k *kit, sys *System) {
	k.deps.System = sys
	k.Service.board = board.New(k.parts(), 0, 0, k.now)
}

func TestJudgingWorkers(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	ago := func(d time.Duration) time.Time { return k.now().Add(-d) }
	for name, c := range map[string]struct {
		QueueConsumer
		lamp board.Lamp
		text string
	}{
		"idle":    {QueueConsumer{Waiting: 0, IdleSlots: 2}, board.Green, "has time"},
		"busy":    {QueueConsumer{Waiting: 9, InProgress: 2, LastActive: ago(stuckAfter - time.Second)}, board.Green, "busy"},
		"stuck":   {QueueConsumer{Waiting: 9, InProgress: 2, LastActive: ago(stuckAfter)}, board.Red, "no worker hands in"},
		"away":    {QueueConsumer{Waiting: 9, LastActive: ago(time.Hour)}, board.Red, "Pictures wait"},
		"nobody":  {QueueConsumer{}, board.Red, "There is no worker"},
		"missing": {QueueConsumer{Name: "another"}, board.Red, "is not there"},
	} {
		withSystem(k, &System{Queue: func(context.Context) (QueueState, error) {
			if c.Name == "" {
				c.Name = SegmentConsumer
			}
			return QueueState{Consumers: []QueueConsumer{c.QueueConsumer}}, nil
		}})
		if f, err := k.checkWorkers(t.Context()); err != nil || f.Lamp != c.lamp || !strings.Contains(f.Text, c.text) || (f.Do == "") != (c.lamp == board.Green) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestNightsLeft(t *testing.T) {
	t.Parallel()
	const gb = 1_000_000_000
	week := []used{{"2026-11-16", 100 * gb}, {"2026-11-22", 112 * gb}}
	for name, c := range map[string]struct {
		before      []used
		tonight     string
		bytes, free uint64
		want        float64
	}{
		"two a night":      {week, "2026-11-23", 114 * gb, 20 * gb, 10},
		"nothing known":    {nil, "2026-11-23", 114 * gb, 20 * gb, 0},
		"the first night":  {[]used{{"2026-11-23", 100 * gb}}, "2026-11-23", 101 * gb, 20 * gb, 0},
		"nothing added":    {week, "2026-11-23", 100 * gb, 20 * gb, 0},
		"something erased": {week, "2026-11-23", 90 * gb, 20 * gb, 0},
		"a damaged note":   {[]used{{"x", 1}}, "2026-11-23", 90 * gb, 20 * gb, 0},
	} {
		if got := nightsLeft(c.before, c.tonight, c.bytes, c.free); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestDisk: what is free, and for how long, over nights and restarts.
func TestDisk(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	free := uint64(500e9)
	sys := &System{Disk: Disk{Name: "a disk", Free: func() (uint64, uint64, error) { return free, 1000e9, nil }}}
	withSystem(k, sys)
	look := func(lamp board.Lamp, detail string) {
		t.Helper()
		if f, err := k.checkDisk(t.Context()); err != nil || f.Lamp != lamp || f.Detail != detail || !strings.Contains(f.Text, "a disk") || (f.Do == "") != (lamp == board.Green) {
			t.Errorf("%+v, %v; want %s %q", f, err, lamp, detail)
		}
	}
	k.must(k.noteUsage(t.Context()))
	look(board.Green, "")
	for range 3 {
		k.move(24 * time.Hour)
		free -= 20e9
		k.must(k.noteUsage(t.Context()))
		k.must(k.noteUsage(t.Context())) // once a night
	}
	look(board.Green, "At the rate of the last nights that lasts for 22 nights.")
	k.open(k.path)
	withSystem(k, sys)
	free = 250e9
	look(board.Yellow, "At the rate of the last nights that lasts for 3 nights.")
	free = 90e9
	look(board.Red, "At the rate of the last nights that lasts for a night.")
	for range 2 * usageNights {
		k.move(24 * time.Hour)
		k.must(k.noteUsage(t.Context()))
	}
	if all, err := k.usage(t.Context()); err != nil || len(all) != usageNights {
		t.Errorf("%d nights are remembered, %v", len(all), err)
	}
	look(board.Yellow, "")
	free = 10e9
	look(board.Red, "At the rate of the last nights that lasts for a night.")
	sys.Disk.Free = func() (uint64, uint64, error) { return 0, 0, fault.New(fault.Transient, "x", "the disk is gone") }
	if _, err := k.checkDisk(t.Context()); fault.CodeOf(err) != "disk-unknown" {
		t.Errorf("a disk that is gone: %v", err)
	}
}

// fullSystem is one of which every number can be found again.
func fullSystem(k *kit) *System {
	m := record.ModelManifest{Name: "unet-16", Version: "1", Sha256: testModel, Licence: "Apache-2.0", Threshold: 0.5, TrainingData: []record.TrainingSet{{Name: "HRF", Images: 12, Split: "training", Licence: "CC BY 4.0"}},
		Metrics: []record.ModelMetric{{Set: "HRF test", Name: "dice", Value: 0.81234}}}
	m.Output.Classes = []string{"background", "vessel"}
	return &System{
		Parts: []board.Part{{Name: "NATS", Check: func(context.Context) (board.Finding, error) {
			return board.Finding{Lamp: board.Green, Text: "It answers.", Detail: "4711 connections"}, nil
		}}},
		Queue: func(context.Context) (QueueState, error) {
			return QueueState{Dead: 4712, DeadNewest: k.now(), Consumers: []QueueConsumer{{Name: SegmentConsumer, Waiting: 4713, InProgress: 4714, IdleSlots: 1, Redelivered: 4715, Oldest: k.now().Add(-90 * time.Minute)}, {Name: "export-pacs", Waiting: 4716}}}, nil
		},
		Disk:     Disk{Name: "a disk", Free: func() (uint64, uint64, error) { return 500e9, 1000e9, nil }},
		Card:     ModelCard{Manifest: m, Text: "# unet-16\n\n## Use\n\nA screening\naid <b>only</b>.\n\n## Network\n\nSmall.\n"},
		Versions: []Version{{"Go", "1.99"}},
	}
}

// TestSystemOfOneClinic: who may see one clinic sees how the parts are, and no number of all clinics together.
func TestSystemOfOneClinic(t *testing.T) {
	t.Parallel()
	k, _ := twoClinics(t)
	withSystem(k, fullSystem(k))
	all, north := "operator", k.grant("on", "operate:north", 0)
	for who, bearer := range map[string]string{all: testToken, "north": north} {
		for _, address := range []string{"/system", "/api/system"} {
			body := k.get(address, "Authorization", "Bearer "+bearer, "Accept", "text/html").Body.String()
			for _, number := range []string{"4711", "4712", "4713", "4714", "4715", "4716", "Archives and receivers", "Dead letters"} {
				if strings.Contains(body, number) != (who == all) {
					t.Errorf("%s, %s: %q: %v", who, address, number, !(who == all))
				}
			}
			for _, want := range []string{"Report index", "Segment workers", "Disk", "unet-16", "A screening aid", "1.99", "SQLite 3"} {
				if !strings.Contains(body, want) {
					t.Errorf("%s, %s lacks %q", who, address, want)
				}
			}
			if strings.Contains(body, "<b>only") {
				t.Errorf("%s: the model card is not escaped", address)
			}
		}
	}
	body := k.get("/system", "Accept", "text/html").Body.String()
	for _, want := range []string{"pictures to be segmented", "1 h 30 min", "results for the archive pacs", "0.8123", "HRF", "500 GB free of 1.0 TB"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if doc := readSystem(t, k.Handler(), testToken); doc.Lamp != board.Yellow || doc.DeadLetters.Count != 4712 || doc.Storage.FreeBytes != 500e9 || len(doc.Models) != 1 || !doc.Models[0].InUse {
		t.Errorf("%+v", doc)
	}
}

// TestSystemInABrowser: the page follows, keeps open what was opened, and says when nobody answers.
func TestSystemInABrowser(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	var mu sync.Mutex
	dead := 0
	sys := fullSystem(k)
	sys.Queue = func(context.Context) (QueueState, error) {
		mu.Lock()
		defer mu.Unlock()
		return QueueState{Dead: dead, Consumers: []QueueConsumer{{Name: SegmentConsumer, IdleSlots: 1}}}, nil
	}
	withSystem(k, sys)
	b := open(t, k, &eyes{drawn: map[string]*phantom.Photograph{}})
	b.run("signing in", chromedp.SendKeys("#token", testToken+"\r"), chromedp.WaitVisible(".verdict"), chromedp.Click(`nav a[href="/system"]`), chromedp.WaitVisible(".overall.green"))
	b.shot("system-green")
	b.run("opening the card", chromedp.Click("#card summary"), chromedp.WaitVisible("#card pre"))
	evaluate[string](b.ctx, t, `document.querySelector("#queue-lines").focus(); document.querySelector("#model").dataset.same = "1"`)
	mu.Lock()
	dead = 3
	mu.Unlock()
	k.move(board.DefaultFresh)
	b.run("a dead letter", chromedp.WaitVisible(".overall.yellow"), chromedp.WaitVisible(".part.yellow"))
	if got := evaluate[string](b.ctx, t, `[document.querySelector("#card").open, document.querySelector("#model").dataset.same, document.activeElement.id, document.querySelector(".part h3").innerText].join("|")`); !strings.HasPrefix(got, "true|1|queue-lines|Dead letters") {
		t.Errorf("after it followed: %s", got)
	}
	b.shot("system-yellow")
	evaluate[bool](b.ctx, t, `(window.fetch = () => Promise.reject(new Error("gone"))) !== undefined`)
	b.run("nobody answers", chromedp.WaitVisible("#stale"))
	b.shot("system-stale")
}
