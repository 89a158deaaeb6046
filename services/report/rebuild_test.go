package report

import (
	"context"
	"database/sql"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/test/postgres"
)

// onPostgreSQL lets the kit open its indexes on a PostgreSQL server, a database for each path, and begins on a new one.
func (k *kit) onPostgreSQL() {
	k.t.Helper()
	server := postgres.Start(k.t)
	databases := map[string]string{}
	k.database = func(path string) (*sql.DB, store.Dialect) {
		if databases[path] == "" {
			databases[path] = server.Database()
		}
		return postgres.Open(k.t, databases[path]), store.PostgreSQL()
	}
	k.open(k.path)
	k.reconcile()
}

// onEachDatabase runs a test on SQLite and on PostgreSQL.
func onEachDatabase(t *testing.T, test func(*testing.T, *kit)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, newKit(t))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		k := newKit(t)
		k.onPostgreSQL()
		test(t, k)
	})
}

func (k *kit) contents() store.Contents {
	k.t.Helper()
	c, err := k.deps.Store.Contents(k.t.Context())
	k.must(err)
	for n := range c.Images {
		// Which version said something first can only be told from versions that the index held at the time.
		c.Images[n].ReportedAt = time.Time{}
	}
	return c
}

func (k *kit) rebuild(progress func(Rebuilding)) (Rebuilding, error) {
	k.t.Helper()
	return Rebuild(k.t.Context(), RebuildDeps{Blob: k.blob, Store: k.deps.Store, Logger: k.deps.Logger, Clock: k.now}, progress)
}

// night fills the index and the buckets with all kinds of documents.
func (k *kit) reportNight() {
	k.t.Helper()
	for p := 1; p <= 3; p++ {
		for n := 1; n <= 2; n++ {
			k.tell(k.accept(picture{p, n}))
			k.settle()
			if p == 2 && n == 2 {
				k.tell(k.failImage(picture{p, n}))
			} else {
				k.tell(k.segment(picture{p, n}))
			}
			k.settle()
		}
		if p < 3 {
			k.quiet()
		}
	}
	k.tell(k.reject(picture{1, 5}, "not-dicom"), k.duplicate(picture{1, 1}))
	k.settle()
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, k *kit) {
		k.reportNight()
		k.must(k.deps.Store.SetNote(t.Context(), "kept", "yes"))
		want := k.contents()
		documents := k.blob.keys(k.blob.Buckets().Reports)
		if len(want.Images) != 6 || len(want.Reports) < 6 || len(want.Rejected) != 1 || len(want.Duplicates) != 1 || len(want.Outcomes) != 6 {
			t.Fatalf("the night left %+v", want)
		}
		k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Archive, "images/1/1/junk.json", []byte("{"), blob.PutOptions{}))
		var told []Rebuilding
		at, err := k.rebuild(func(r Rebuilding) { told = append(told, r) })
		k.must(err)
		if got := k.contents(); !reflect.DeepEqual(got, want) {
			t.Errorf("the rebuilt index differs:\n%+v\nwant\n%+v", got, want)
		}
		total := len(want.Images) + len(want.Reports) + len(want.Rejected) + len(want.Duplicates) + len(want.Outcomes) + 1
		if at != (Rebuilding{Looked: total, Total: total, Bad: 1}) || told[0] != (Rebuilding{Total: total}) || told[len(told)-1] != at {
			t.Errorf("told %+v, and at the end %+v; there are %d documents", told, at, total)
		}
		if note, err := k.deps.Store.Note(t.Context(), "kept"); err != nil || note != "yes" {
			t.Errorf("the note is %q, %v", note, err)
		}
		// A service that starts on it has nothing new to say.
		k.open(k.path)
		k.reconcile()
		k.settle()
		if got := k.contents(); !reflect.DeepEqual(got, want) {
			t.Errorf("a service that started on it left\n%+v\nwant\n%+v", got, want)
		}
		if again := k.blob.keys(k.blob.Buckets().Reports); !reflect.DeepEqual(again, documents) {
			t.Errorf("it issued versions: %d, there were %d", len(again), len(documents))
		}
	})
}

// TestRebuildBreaksOff: nothing is issued from half an index, and whoever comes next makes it whole.
func TestRebuildBreaksOff(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, k *kit) {
		k.reportNight()
		want := k.contents()
		away := fault.New(fault.Transient, "away", "the store is away, on purpose")
		k.blob.fail = func(_, key string) error {
			if strings.HasSuffix(key, "/v2/report.json") {
				return away
			}
			return nil
		}
		if _, err := k.rebuild(func(Rebuilding) {}); fault.CodeOf(err) != "away" {
			t.Fatalf("rebuilding says %v", err)
		}
		k.blob.fail = nil
		k.move(time.Hour)
		if n, _, err := k.IssueDue(t.Context()); err != nil || n > 0 {
			t.Errorf("%d studies are issued from half an index, %v", n, err)
		}
		k.open(k.path)
		if w := k.get("/fhir/DiagnosticReport"); w.Code != 503 {
			t.Errorf("a search in half an index answers %d", w.Code)
		}
		k.reconcile()
		if got := k.contents(); !reflect.DeepEqual(got, want) {
			t.Errorf("the index that was made whole differs:\n%+v\nwant\n%+v", got, want)
		}
	})
}

// TestSlowerProcess: what one process assembled before another dealt with the study is not issued: it would take back what that one said.
func TestSlowerProcess(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, k *kit) {
		k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}))
		k.settle()
		k.tell(k.accept(picture{1, 2}))
		old, err := k.deps.Store.Study(t.Context(), picture{1, 1}.report())
		k.must(err)
		assembled, _, err := k.assembleStudy(t.Context(), old)
		k.must(err)

		k.tell(k.segment(picture{1, 2})) // the faster one knows of it
		k.settle()
		newest := k.report(picture{1, 1})
		issue := func(ctx context.Context, study store.Study, next *record.Report) (done bool) {
			k.must(k.deps.Store.Issue(ctx, func(last time.Time) (err error) {
				done, err = k.writeVersion(ctx, study, newest, next, record.Preliminary, k.issueTime(last))
				return err
			}))
			return done
		}
		if issue(t.Context(), old, assembled) {
			t.Errorf("the slower process took version %d back", newest.Version)
		}
		if again := k.report(picture{1, 1}); again.Version != newest.Version {
			t.Errorf("there is a version %d", again.Version)
		}
		// In its next round it sees that there is nothing to say.
		k.must(k.issueStudy(t.Context(), old))
		if again := k.report(picture{1, 1}); again.Version != newest.Version {
			t.Errorf("there is a version %d", again.Version)
		}
	})
}

// TestTwoProcessesOnPostgreSQL: two services on one index and one set of buckets issue each version once, and all that there is to say.
func TestTwoProcessesOnPostgreSQL(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.onPostgreSQL()
	db, dialect := k.database(k.path)
	index, err := store.Open(t.Context(), db, dialect, store.Config{Timing: k.cfg.StoreTiming()})
	k.must(err)
	deps := k.deps
	deps.Store = index
	other, err := New(deps, k.cfg)
	k.must(err)
	other.markReady()
	for round := 1; round <= 3; round++ {
		for p := 1; p <= 6; p++ {
			one, two := k.Service, other
			if p%2 == 0 {
				one, two = two, one
			}
			k.must(one.handle(t.Context(), k.accept(picture{p, round})))
			k.must(two.handle(t.Context(), k.segment(picture{p, round})))
		}
		k.move(k.Service.cfg.QuietPeriod)
		done := make(chan error)
		go func() {
			_, _, err := other.IssueDue(t.Context())
			done <- err
		}()
		_, _, err := k.IssueDue(t.Context())
		k.must(err)
		k.must(<-done)
	}
	k.settle()
	k.quiet()
	for p := 1; p <= 6; p++ {
		doc := k.report(picture{p, 1})
		if doc.Counts != (record.ReportCounts{Images: 3, Measured: 3}) {
			t.Errorf("report %d counts %+v", p, doc.Counts)
		}
		versions, err := k.deps.Store.Versions(t.Context(), doc.ReportID)
		k.must(err)
		images := 0
		for n, v := range versions {
			said, err := k.documentOf(t.Context(), v)
			k.must(err)
			if v.Version != n+1 || said.Counts.Measured < images || !v.UpdatedAt.Equal(v.IssuedAt) {
				t.Errorf("version %d of report %d counts %+v after %d images, issued %v, updated %v", v.Version, p, said.Counts, images, v.IssuedAt, v.UpdatedAt)
			}
			images = said.Counts.Measured
		}
	}
	want := k.contents()
	k.open(filepath.Join(t.TempDir(), "other"))
	_, err = k.rebuild(func(Rebuilding) {})
	k.must(err)
	if got := k.contents(); !reflect.DeepEqual(got, want) {
		t.Errorf("the rebuilt index differs:\n%+v\nwant\n%+v", got, want)
	}
}
