package store

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// TestPreviousReadsOneRow: the visit before is the first row of an index, so that a patient with many visits costs no more.
func TestPreviousReadsOneRow(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", SQLiteDSN(filepath.Join(t.TempDir(), "index.db")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	s, err := Open(t.Context(), db, SQLite(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.query(t.Context(), `EXPLAIN QUERY PLAN SELECT `+reportColumns+earlierReports, "p", forever, "2026-11-22", MaxEarlier)
	plan, err := collect(rows, err, func(r *sql.Rows) (detail string, err error) {
		var ignored int
		err = r.Scan(&ignored, &ignored, &ignored, &detail)
		return detail, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan) != 1 || !strings.Contains(plan[0], "reports_visits (patient_key=? AND superseded_ms=? AND study_date>? AND study_date<?)") {
		t.Errorf("the plan is %q", plan)
	}
}
