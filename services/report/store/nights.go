package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Issue is a version of a report that came into the index, and when the report was first issued.
type Issue struct {
	ReportID, Clinic string
	UpdatedAt        time.Time
	FirstIssuedAt    time.Time
}

// IssuesAfter returns the versions that came into the index after a moment, in that order.
func (s *SQL) IssuesAfter(ctx context.Context, after time.Time, limit int) ([]Issue, error) {
	rows, err := s.query(ctx, `SELECT r.report_id, r.clinic, r.updated_ms, f.issued_ms FROM reports r JOIN reports f ON f.report_id = r.report_id AND f.version = 1
		WHERE r.updated_ms > ? ORDER BY r.updated_ms LIMIT ?`, ms(after), limit)
	return collect(rows, err, func(r *sql.Rows) (i Issue, err error) {
		var updated, first int64
		err = r.Scan(&i.ReportID, &i.Clinic, &updated, &first)
		i.UpdatedAt, i.FirstIssuedAt = fromMs(updated), fromMs(first)
		return i, err
	})
}

// FirstIssued returns the newest versions of the reports of a clinic that were first issued in a span, in the order of their ids, from
// behind an id on.
func (s *SQL) FirstIssued(ctx context.Context, clinic string, in Span, afterID string, limit int) ([]Report, error) {
	rows, err := s.query(ctx, `SELECT `+reportColumns+` FROM reports WHERE superseded_ms = ? AND clinic = ? AND report_id > ? AND report_id IN
		(SELECT report_id FROM reports WHERE version = 1 AND issued_ms >= ? AND issued_ms < ?) ORDER BY report_id LIMIT ?`,
		forever, clinic, afterID, ms(in.From), ms(in.To), limit)
	return collect(rows, err, func(r *sql.Rows) (Report, error) { return scanReport(r) })
}

// Models returns models that outcomes name, in the order of their SHA-256, from behind one on.
func (s *SQL) Models(ctx context.Context, afterSHA string, limit int) ([]record.ModelReference, error) {
	var all []record.ModelReference
	for len(all) < limit {
		// One step in the index a model: an index has millions of outcomes and a handful of models.
		rows, err := s.query(ctx, `SELECT model_name, model_version, model_sha256 FROM outcomes WHERE model_sha256 > ? ORDER BY model_sha256 LIMIT 1`, afterSHA)
		found, err := collect(rows, err, func(r *sql.Rows) (m record.ModelReference, err error) {
			err = r.Scan(&m.Name, &m.Version, &m.Sha256)
			return m, err
		})
		if err != nil || len(found) == 0 {
			return all, err
		}
		all, afterSHA = append(all, found[0]), found[0].Sha256
	}
	return all, nil
}
