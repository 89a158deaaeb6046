package report

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

func TestLifeOfAReport(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	right, left, late := picture{1, 1}, picture{1, 2}, picture{1, 3}
	k.tell(k.accept(right), k.accept(left))
	k.wantStatus(2, 0, 0, 0, 0)
	k.settle()
	k.wantReport(right, 1, record.Preliminary, record.ReportCounts{Images: 2, Pending: 2})
	k.tell(k.segment(right))
	k.wantStatus(2, 0, 0, 0, 0) // known, but in no report yet
	k.settle()
	k.wantReport(right, 2, record.Preliminary, record.ReportCounts{Images: 2, Measured: 1, Pending: 1})
	k.wantStatus(1, 1, 0, 0, 0)
	k.quiet()
	k.quiet()
	k.wantReport(right, 2, record.Preliminary, record.ReportCounts{Images: 2, Measured: 1, Pending: 1}) // never final while pending
	k.tell(k.segment(left))
	k.settle()
	k.wantReport(right, 3, record.Preliminary, record.ReportCounts{Images: 2, Measured: 2})
	k.wantStatus(0, 2, 0, 0, 0)
	k.quiet()
	final := k.wantReport(right, 4, record.Final, record.ReportCounts{Images: 2, Measured: 2})
	if final.Images[0].Laterality != record.RightEye || final.FirstIssuedAt.Equal(final.IssuedAt) {
		t.Errorf("final report: %+v", final)
	}
	k.quiet()
	k.wantReport(right, 4, record.Final, record.ReportCounts{Images: 2, Measured: 2})
	// A late image that is measured soon makes one amended version.
	k.tell(k.accept(late))
	k.settle()
	k.wantReport(right, 4, record.Final, record.ReportCounts{Images: 2, Measured: 2})
	k.wantStatus(1, 2, 0, 0, 0)
	k.tell(k.segment(late))
	k.settle()
	k.wantReport(right, 5, record.Amended, record.ReportCounts{Images: 3, Measured: 3})
	k.quiet()
	k.wantReport(right, 5, record.Amended, record.ReportCounts{Images: 3, Measured: 3})
	// A file in quarantine of the study amends it as well, once.
	k.tell(k.reject(picture{1, 9}, "laterality-missing"))
	k.settle()
	k.wantReport(right, 6, record.Amended, record.ReportCounts{Images: 3, Measured: 3, Rejected: 1})
	k.wantStatus(0, 3, 0, 1, 0)
	for n, e := range k.queue.published {
		data, err := event.DataOf[event.ReportIssued](e, event.TypeReportIssued)
		k.must(err)
		if data.Version != n+1 || e.ID != event.ID(event.TypeReportIssued, right.report(), fmt.Sprint(n+1)) {
			t.Errorf("event %d tells version %d under id %s", n, data.Version, e.ID)
		}
		if raw := string(e.Data); strings.Contains(raw, "FAMILY") || strings.Contains(raw, "1950") {
			t.Errorf("patient data in an event: %s", raw)
		}
	}
}

func TestLateImageThatNobodyMeasuresIsReportedAfterTheQuietPeriod(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}))
	k.quiet()
	k.wantReport(picture{1, 1}, 1, record.Final, record.ReportCounts{Images: 1, Measured: 1})
	k.tell(k.accept(picture{1, 2}))
	k.quiet()
	k.wantReport(picture{1, 1}, 2, record.Amended, record.ReportCounts{Images: 2, Measured: 1, Pending: 1})
}

func TestEveryOutcomeGetsIntoAReport(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	note := record.Note{Code: "not-colour", Text: "This is an angiogram."}
	k.tell(
		k.accept(picture{1, 1}), k.segment(picture{1, 1}),
		k.accept(picture{1, 2}), k.failImage(picture{1, 2}),
		k.accept(picture{1, 3}, func(i *record.Instance) { i.Analyse, i.NotAnalysed, i.Laterality = false, &note, "" }),
		k.accept(picture{1, 4}), k.segment(picture{1, 4}, func(r *record.Result) {
			r.Status, r.Files = record.Ungradable, record.ResultFiles{Sr: "sr.dcm"}
			r.Warnings = []record.Note{{Code: "field-of-view-not-found", Text: "No field of view was found."}}
			for n := range r.Measures {
				r.Measures[n].Value, r.Measures[n].AbsentReason = nil, &r.Warnings[0]
			}
		}),
		k.duplicate(picture{1, 1}), k.reject(picture{2, 1}, "not-dicom"))
	k.quiet()
	doc := k.wantReport(picture{1, 1}, 1, record.Final, record.ReportCounts{Images: 4, Measured: 1, Ungradable: 1, NotAnalysed: 1, Failed: 1})
	reasons := map[record.ImageStatus]string{}
	for _, i := range doc.Images {
		if i.Reason != nil {
			reasons[i.Status] = i.Reason.Code
		}
		if (i.MaskKey != "") != (i.Status == record.ImageMeasured) {
			t.Errorf("an image that is %s has mask %q", i.Status, i.MaskKey)
		}
		if strings.HasSuffix(i.SegKey, "/seg.dcm") != (i.Status == record.ImageMeasured) || strings.HasSuffix(i.SrKey, "/sr.dcm") != (i.Status == record.ImageMeasured || i.Status == record.ImageUngradable) {
			t.Errorf("an image that is %s has SEG %q and SR %q", i.Status, i.SegKey, i.SrKey)
		}
	}
	want := map[record.ImageStatus]string{record.ImageFailed: "pixels-undecodable", record.ImageNotAnalysed: "not-colour", record.ImageUngradable: "field-of-view-not-found"}
	if !reflect.DeepEqual(reasons, want) {
		t.Errorf("reasons %v, want %v", reasons, want)
	}
	k.wantStatus(0, 3, 1, 1, 1)
	if got := doc.Images[len(doc.Images)-1].Status; got != record.ImageNotAnalysed {
		t.Errorf("the image without eye should be last, but that is %s", got)
	}
}

// TestAnyOrder tells the same facts in many orders, twice each, with restarts in between; the report must be the same.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	var want *record.Report
	for seed := range uint64(12) {
		k := newKit(t)
		var events []event.Envelope
		for n := 1; n <= 4; n++ {
			events = append(events, k.accept(picture{1, n}))
			if n == 4 {
				events = append(events, k.failImage(picture{1, n}))
			} else {
				events = append(events, k.segment(picture{1, n}))
			}
		}
		events = append(events, k.reject(picture{1, 7}, "laterality-missing"))
		events = append(events, events...)
		random := rand.New(rand.NewPCG(seed, 0))
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for _, e := range events {
			k.tell(e)
			switch random.IntN(4) {
			case 0:
				k.settle()
			case 1:
				k.open(k.path) // a restart: only index and buckets remain
				k.markReady()
			}
		}
		k.quiet()
		k.quiet()
		doc := k.report(picture{1, 1})
		if doc.Status == record.Preliminary {
			t.Errorf("seed %d: the report stays %s", seed, doc.Status)
		}
		if want == nil {
			want = doc
		}
		same, err := sameContent(doc, want)
		k.must(err)
		if !same {
			t.Errorf("seed %d: the content differs", seed)
		}
		k.wantStatus(0, 3, 0, 1, 1)
	}
}

func TestMissedEventsAreFoundByReconciliation(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.accept(picture{1, 1})
	k.segment(picture{1, 1})
	k.accept(picture{1, 2})
	k.failImage(picture{1, 2})
	k.reject(picture{1, 3}, "not-dicom")
	k.duplicate(picture{1, 1})
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Archive, "images/1/1/junk.json", []byte("{"), blob.PutOptions{}))
	k.reconcile()
	k.quiet()
	k.wantReport(picture{1, 1}, 1, record.Final, record.ReportCounts{Images: 2, Measured: 1, Failed: 1, Rejected: 1})
	k.wantStatus(0, 1, 1, 1, 1)
	reads := 0
	k.blob.fail = func(op, _ string) error {
		if op == "get" {
			reads++
		}
		return nil
	}
	k.reconcile()
	if reads != 1 { // the junk, which stays unknown
		t.Errorf("a second reconciliation read %d documents, want 1", reads)
	}
}

func TestRebuildGivesTheSameIndex(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for p := 1; p <= 3; p++ {
		for n := 1; n <= 2; n++ {
			k.tell(k.accept(picture{p, n}))
			k.settle()
			k.tell(k.segment(picture{p, n}))
			k.settle()
		}
		if p < 3 {
			k.quiet()
		}
	}
	k.tell(k.reject(picture{1, 5}, "not-dicom"), k.duplicate(picture{1, 1}))
	k.settle()
	want, err := k.deps.Store.Contents(t.Context())
	k.must(err)
	objects := k.blob.keys(k.blob.Buckets().Reports)
	k.open(filepath.Join(t.TempDir(), "new.db"))
	if _, err := k.Status(t.Context(), time.Time{}); fault.CodeOf(err) != "index-rebuilding" {
		t.Errorf("a status before the index is whole: %v", err)
	}
	k.reconcile()
	k.settle()
	got, err := k.deps.Store.Contents(t.Context())
	k.must(err)
	for _, c := range []*store.Contents{&got, &want} {
		for n := range c.Images {
			c.Images[n].ReportedAt = time.Time{}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the rebuilt index differs:\n%+v\nwant\n%+v", got, want)
	}
	if again := k.blob.keys(k.blob.Buckets().Reports); !reflect.DeepEqual(again, objects) {
		t.Errorf("rebuilding issued versions: %d objects, want %d", len(again), len(objects))
	}
	k.quiet()
	k.wantReport(picture{3, 1}, k.report(picture{3, 1}).Version, record.Final, record.ReportCounts{Images: 2, Measured: 2})
}

// TestStoppedBetweenSteps stops issuing after each of its steps, and checks that the version is told and indexed after all.
func TestStoppedBetweenSteps(t *testing.T) {
	t.Parallel()
	stop := fault.New(fault.Transient, "stopped", "stopped on purpose")
	for name, arm := range map[string]func(*kit){
		"before the write": func(k *kit) {
			k.blob.fail = func(op, key string) error {
				if op == "put" && strings.HasPrefix(key, "patients/") {
					return stop
				}
				return nil
			}
		},
		"after the write": func(k *kit) {
			k.blob.fail = func(op, key string) error {
				if op == "after put" && strings.HasPrefix(key, "patients/") {
					return stop
				}
				return nil
			}
		},
		"before the event": func(k *kit) { k.queue.fail = stop },
	} {
		k := newKit(t)
		k.tell(k.accept(picture{1, 1}))
		arm(k)
		k.settle()
		if len(k.queue.published) != 0 {
			t.Errorf("%s: the event was published", name)
		}
		k.wantStatus(1, 0, 0, 0, 0)
		k.blob.fail, k.queue.fail = nil, nil
		k.open(k.path)
		k.markReady()
		k.tell(k.segment(picture{1, 1})) // the world went on meanwhile
		k.move(retryTransient)
		k.settle()
		doc := k.report(picture{1, 1})
		if doc.Counts.Measured != 1 || len(k.queue.published) != doc.Version || len(k.blob.keys(k.blob.Buckets().Reports)) != doc.Version {
			t.Errorf("%s: version %d, %d events, %d objects", name, doc.Version, len(k.queue.published), len(k.blob.keys(k.blob.Buckets().Reports)))
		}
		k.wantStatus(0, 1, 0, 0, 0)
	}
}

// TestTwoProcesses issues the same study from two processes with an index of their own each.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	a := newKit(t)
	b := &kit{t: t, blob: a.blob, queue: &line{lag: map[string]int{}}, at: a.at, cfg: a.cfg, photo: photo, logs: &logBuffer{}}
	b.open(filepath.Join(t.TempDir(), "b.db"))
	b.reconcile()
	first, second := a.accept(picture{1, 1}), a.segment(picture{1, 1})
	a.tell(first)
	b.tell(first)
	a.settle()
	b.settle()
	a.tell(second)
	a.settle()
	b.tell(second)
	b.settle()
	b.quiet()
	a.quiet()
	for name, k := range map[string]*kit{"first": a, "second": b} {
		if doc := k.wantReport(picture{1, 1}, 3, record.Final, record.ReportCounts{Images: 1, Measured: 1}); doc.Version != 3 {
			t.Errorf("%s process: %+v", name, doc)
		}
	}
	if keys := a.blob.keys(a.blob.Buckets().Reports); len(keys) != 3 {
		t.Errorf("two processes wrote %v", keys)
	}
}

func TestCorrectedHeaderSupersedes(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	first := picture{1, 1}
	k.tell(k.accept(first), k.segment(first))
	k.quiet()
	k.move(time.Minute)
	// The same SOP instance again with other bytes: the id of picture 3, the UID of picture 1.
	corrected := picture{1, 3}
	e := k.accept(corrected, func(i *record.Instance) { i.SOPUID = first.sop() })
	k.tell(e)
	k.settle()
	k.quiet()
	doc := k.report(first)
	if len(doc.Images) != 2 {
		t.Fatalf("%d images, want both revisions", len(doc.Images))
	}
	for _, i := range doc.Images {
		if isSuperseded(i) != (i.Sha256 == first.sha()) {
			t.Errorf("revision %s superseded: %v", i.Sha256[:8], isSuperseded(i))
		}
	}
	if c := doc.Counts; c.Images != 1 || c.Pending != 1 || c.Measured != 0 {
		t.Errorf("counts %+v: the newest revision alone counts", c)
	}
	if text := summary(doc); text != "1 picture: 0 measured, 1 pending; 1 earlier version." {
		t.Errorf("the page says %q", text)
	}
}

func TestNewModelDoesNotUnlearn(t *testing.T) {
	t.Parallel()
	prev := &record.Report{Status: record.Final, Images: []record.ReportImage{{SOPUID: "1", Sha256: "a", Status: record.ImageMeasured}}}
	next := &record.Report{Counts: record.ReportCounts{Pending: 1}, Images: []record.ReportImage{{SOPUID: "1", Sha256: "a", Status: record.ImagePending}}}
	verdict, _, err := decide(prev, next, store.Study{}, kitStart, time.Second)
	if err != nil || verdict != hold {
		t.Errorf("verdict %v, %v; want to hold", verdict, err)
	}
}

func TestStatusCountsUpstreamFirst(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Inbox, "north/a.dcm", nil, blob.PutOptions{}))
	k.wantStatus(1, 0, 0, 0, 0)
	k.queue.lag[Consumer] = 2
	k.wantStatus(3, 0, 0, 0, 0)
	k.queue.lag[SegmentConsumer] = 5
	k.wantStatus(6, 0, 0, 0, 0)
	k.queue.lag = map[string]int{}
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Inbox, "north/b.dcm", nil, blob.PutOptions{}))
	k.wantStatus(2, 0, 0, 0, 0)
}

func TestRunStops(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config) { c.Listen = "127.0.0.1:0" })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	cancel()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the service did not stop")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{}.WithDefaults()
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"rate": func(c *Config) { c.RequestsPerSecond = -1 }, "address": func(c *Config) { c.Listen = "nowhere" },
		"quiet": func(c *Config) { c.QuietPeriod = -1 }, "issuers": func(c *Config) { c.Issuers = -1 },
	} {
		bad := good
		change(&bad)
		if err := bad.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
