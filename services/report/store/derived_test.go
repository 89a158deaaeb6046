package store_test

import (
	"database/sql"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/store/storetest"
	"github.com/noctua-screening/noctua/test/postgres"
)

// TestOlderIndex: an index from before there were lines of the list, and moments of decisions, has them once it is opened.
func TestOlderIndex(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		db, err := sql.Open("sqlite", store.SQLiteDSN(filepath.Join(t.TempDir(), "index.db")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		olderIndex(t, db, store.SQLite())
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		olderIndex(t, postgres.Open(t, postgres.Start(t).Database()), store.PostgreSQL())
	})
}

func olderIndex(t *testing.T, db *sql.DB, dialect store.Dialect) {
	t.Helper()
	cfg := store.Config{Timing: storetest.Timing}
	s, err := store.Open(t.Context(), db, dialect, cfg)
	if err != nil {
		t.Fatal(err)
	}
	const reports = 1200 // more than two batches
	for n := 1; n <= reports; n++ {
		key, doc, raw := storetest.Report(n, 1, record.Final, storetest.Start)
		if err := s.PutReport(t.Context(), key, doc, raw, nil, true, doc.IssuedAt); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutRejected(t.Context(), storetest.Quarantined(1), storetest.Start); err != nil {
		t.Fatal(err)
	}
	before, err := s.Contents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, forget := range []string{`DELETE FROM lines`, `UPDATE rejected SET decided_ms = 0`, `DELETE FROM settings WHERE name = 'derived'`} {
		if _, err := db.ExecContext(t.Context(), forget); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.CountLines(t.Context(), store.LineQuery{}); err != nil || n != 0 {
		t.Fatalf("forgotten, there are %d lines, %v", n, err)
	}
	if s, err = store.Open(t.Context(), db, dialect, cfg); err != nil {
		t.Fatal(err)
	}
	after, err := s.Contents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Lines) != reports || !reflect.DeepEqual(before.Lines, after.Lines) {
		t.Errorf("%d lines are derived, and are not those of before", len(after.Lines))
	}
	decided, err := s.SearchRejected(t.Context(), store.RejectedQuery{ByDecision: true, Limit: 9})
	if err != nil || len(decided) != 1 {
		t.Errorf("%d files were decided about, %v", len(decided), err)
	}
}
