package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// PutRejected adds a quarantined file with its history, or brings in what is new of its history; a second time it changes nothing.
// Reports of the same study at the same clinic become due, since they name it, and those of a study that announces it.
func (s *SQL) PutRejected(ctx context.Context, h quarantine.History, at time.Time) error {
	document, err := json.Marshal(h.Document)
	if err != nil {
		return fault.Wrap(fault.Internal, "document-invalid", err, "indexing a quarantine document")
	}
	steps, err := json.Marshal(h.Steps)
	if err != nil {
		return fault.Wrap(fault.Internal, "document-invalid", err, "indexing what was decided about a file in quarantine")
	}
	var rulings []string
	for i, step := range h.Steps {
		d := blob.QuarantineDocument{Key: h.Key, Kind: blob.QuarantineDecision, Number: i + 1}
		rulings = append(rulings, d.DocumentKey())
		if d.Kind = blob.QuarantineRelease; step.Release != nil {
			rulings = append(rulings, d.DocumentKey())
		}
	}
	key := blob.QuarantineDocument{Key: h.Key, Kind: blob.QuarantineReason}.DocumentKey()
	d := h.Document
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(`INSERT INTO rejected (document_key, clinic, code, study_uid, sop_uid, sha256, received_ms, document, state, steps, rulings, decided_ms)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (document_key) DO UPDATE SET code = excluded.code, state = excluded.state, steps = excluded.steps, rulings = excluded.rulings, decided_ms = excluded.decided_ms
			WHERE excluded.rulings > rejected.rulings`, key, d.Clinic, h.Finding().Code, d.StudyUID, d.SOPUID, d.Sha256, ms(d.ReceivedAt), string(document), string(h.State()), string(steps), len(rulings), ms(Rejected{Steps: h.Steps}.DecidedAt()))
		if err != nil || n == 0 {
			return err
		}
		for _, ruling := range rulings {
			if _, err := tx.exec(`INSERT INTO rulings (document_key) VALUES (?) ON CONFLICT DO NOTHING`, ruling); err != nil {
				return err
			}
		}
		// A file that does not say its study may be one that a manifest announces.
		return tx.touchAll(`SELECT report_id FROM studies WHERE clinic = ? AND (study_uid = ? AND study_uid <> '' OR study_uid IN
			(SELECT x.study_uid FROM expectations x JOIN expected e ON e.document_key = x.document_key WHERE x.clinic = ? AND e.sha256 = ? AND e.sha256 <> ''))`,
			at, s.cfg.Timing, d.Clinic, d.StudyUID, d.Clinic, d.Sha256)
	})
}

const rejectedColumns = `document_key, document, state, steps`

// RejectedOf returns the files of a study at a clinic that are still in quarantine for somebody to see to, the first one first.
func (s *SQL) RejectedOf(ctx context.Context, clinic, studyUID string) ([]Rejected, error) {
	rows, err := s.query(ctx, `SELECT `+rejectedColumns+` FROM rejected WHERE study_uid = ? AND clinic = ? AND state IN ('open', 'releasing')
		ORDER BY received_ms, document_key`, studyUID, clinic)
	return collect(rows, err, scanRejected)
}

// FindRejected returns quarantined files of a state ("": all) at clinics (nil: all), the newest first, and how many there are in all.
// since zero: all.
func (s *SQL) FindRejected(ctx context.Context, clinics []string, state quarantine.State, since time.Time, limit, offset int) ([]Rejected, int, error) {
	var c conditions
	c.add(`received_ms >= ?`, ms(since))
	c.among(clinics)
	if state != "" {
		c.add(`state = ?`, string(state))
	}
	var total int
	if err := s.queryRow(ctx, `SELECT COUNT(*) FROM rejected WHERE `+c.where(), c.args...).Scan(&total); err != nil {
		return nil, 0, unavailable(err)
	}
	rows, err := s.query(ctx, `SELECT `+rejectedColumns+` FROM rejected WHERE `+c.where()+` ORDER BY received_ms DESC, document_key LIMIT ? OFFSET ?`,
		append(c.args, limit, offset)...)
	found, err := collect(rows, err, scanRejected)
	return found, total, err
}

// RejectedBy returns the file in quarantine whose key begins with prefix. NotFound "not-indexed" where there is none, Invalid
// "id-ambiguous" where there are several.
func (s *SQL) RejectedBy(ctx context.Context, clinic, prefix string) (Rejected, error) {
	rows, err := s.query(ctx, `SELECT `+rejectedColumns+` FROM rejected WHERE clinic = ? AND document_key >= ? AND document_key < ? LIMIT 2`, clinic, prefix, after(prefix))
	found, err := collect(rows, err, scanRejected)
	switch {
	case err != nil:
		return Rejected{}, err
	case len(found) == 0:
		return Rejected{}, fault.New(fault.NotFound, "not-indexed", "there is no such file in quarantine")
	case len(found) > 1:
		return Rejected{}, fault.New(fault.Invalid, "id-ambiguous", "several files in quarantine begin with that id; give more of its letters")
	}
	return found[0], nil
}

func scanRejected(r *sql.Rows) (Rejected, error) {
	var v Rejected
	var document, steps string
	if err := r.Scan(&v.DocumentKey, &document, &v.State, &steps); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(steps), &v.Steps); err != nil {
		return v, err
	}
	return v, json.Unmarshal([]byte(document), &v.Document)
}

// PutDuplicate adds a receipt for bytes that were there already; a second time it changes nothing.
func (s *SQL) PutDuplicate(ctx context.Context, d Duplicate) error {
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO duplicates (document_key, clinic, sha256, of_key, received_ms) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`, d.DocumentKey, d.Clinic, d.Sha256, d.Of, ms(d.ReceivedAt))
		return err
	})
}

// Count returns the numbers of what came to clinics (nil: all) since a moment (zero: ever); what is pending counts whenever it came.
func (s *SQL) Count(ctx context.Context, clinics []string, since time.Time) (Counts, error) {
	var out Counts
	from := ms(since)
	patients, whose, whoseArgs := `COUNT(DISTINCT patient_key) FROM reports`, `superseded_ms = ? AND issued_ms >= ?`, []any{forever, from}
	if since.IsZero() {
		// Everybody who has a report.
		patients, whose, whoseArgs = `COUNT(*) FROM patients`, `1 = 1`, nil
	}
	for _, part := range []struct {
		into  *int
		what  string // and from where
		where string
		args  []any
	}{
		{&out.Pending, `COUNT(*) FROM images`, `settled = 0`, nil},
		{&out.Done, `COUNT(*) FROM images`, `settled = 1 AND received_ms >= ?`, []any{from}},
		{&out.Failed, `COUNT(*) FROM images`, `settled = 2 AND received_ms >= ?`, []any{from}},
		{&out.Ungradable, `COUNT(*) FROM images`, `settled = 1 AND received_ms >= ? AND status = 'ungradable'`, []any{from}},
		{&out.NotAnalysed, `COUNT(*) FROM images`, `settled = 1 AND received_ms >= ? AND status = 'not-analysed'`, []any{from}},
		{&out.Duplicate, `COUNT(*) FROM duplicates`, `received_ms >= ?`, []any{from}},
		{&out.Quarantined, `COUNT(*) FROM rejected`, `state = 'open' AND received_ms >= ?`, []any{from}},
		{&out.Releasing, `COUNT(*) FROM rejected`, `state = 'releasing'`, nil},
		{&out.Discarded, `COUNT(*) FROM rejected`, `state = 'discarded' AND received_ms >= ?`, []any{from}},
		{&out.Reports, `COUNT(*) FROM reports`, `superseded_ms = ? AND issued_ms >= ?`, []any{forever, from}},
		{&out.Patients, patients, whose, whoseArgs},
	} {
		var c conditions
		c.add(part.where, part.args...)
		c.among(clinics)
		if err := s.queryRow(ctx, `SELECT `+part.what+` WHERE `+c.where(), c.args...).Scan(part.into); err != nil {
			return Counts{}, unavailable(err)
		}
	}
	return out, nil
}

// Pace returns how many images of clinics (nil: all) were first reported with an outcome since a moment, and when the first of them was.
func (s *SQL) Pace(ctx context.Context, clinics []string, since time.Time) (int, time.Time, error) {
	var c conditions
	c.add(`reported_ms >= ? AND settled > 0`, ms(since))
	c.among(clinics)
	var n int
	var first sql.NullInt64
	err := s.queryRow(ctx, `SELECT COUNT(*), MIN(reported_ms) FROM images WHERE `+c.where(), c.args...).Scan(&n, &first)
	return n, fromMs(first.Int64), unavailable(err)
}

// Contents is all that the index holds of the buckets, for comparing two indexes. It reads everything: for tests and small
// sites.
type Contents struct {
	Images     []Image
	Rejected   []Rejected
	Duplicates []Duplicate
	Reports    []Report
	Patients   []Patient
	Lines      []Line // without documents
	Outcomes   []Outcome
	Expected   []ExpectedInstance // of all studies, as their newest manifests announce them
	Links      []record.PatientLink
}

// Contents reads the whole index, each part ordered by its key.
func (s *SQL) Contents(ctx context.Context) (Contents, error) {
	var c Contents
	rows, err := s.query(ctx, `SELECT `+imageColumns+` FROM images ORDER BY sop_uid, sha256`)
	if c.Images, err = collect(rows, err, func(r *sql.Rows) (Image, error) { return scanImage(r) }); err != nil {
		return c, err
	}
	rows, err = s.query(ctx, `SELECT `+rejectedColumns+` FROM rejected ORDER BY document_key`)
	if c.Rejected, err = collect(rows, err, scanRejected); err != nil {
		return c, err
	}
	rows, err = s.query(ctx, `SELECT document_key, clinic, sha256, of_key, received_ms FROM duplicates ORDER BY document_key`)
	if c.Duplicates, err = collect(rows, err, func(r *sql.Rows) (d Duplicate, err error) {
		var received int64
		err = r.Scan(&d.DocumentKey, &d.Clinic, &d.Sha256, &d.Of, &received)
		d.ReceivedAt = fromMs(received)
		return d, err
	}); err != nil {
		return c, err
	}
	rows, err = s.query(ctx, `SELECT `+reportColumns+` FROM reports ORDER BY report_id, version`)
	if c.Reports, err = collect(rows, err, func(r *sql.Rows) (Report, error) { return scanReport(r) }); err != nil {
		return c, err
	}
	rows, err = s.query(ctx, `SELECT outcome_key, sop_uid, sha256, failed, status, model_name, model_version, model_sha256, finished_ms
		FROM outcomes ORDER BY outcome_key`)
	if c.Outcomes, err = collect(rows, err, func(r *sql.Rows) (o Outcome, err error) {
		var failed int
		var finished int64
		var status string
		err = r.Scan(&o.Key, &o.SOPUID, &o.Sha256, &failed, &status, &o.Model.Name, &o.Model.Version, &o.Model.Sha256, &finished)
		o.Failed, o.FinishedAt, o.Status = failed == 1, fromMs(finished), record.ImageStatus(status)
		return o, err
	}); err != nil {
		return c, err
	}
	rows, err = s.query(ctx, `SELECT DISTINCT clinic, study_uid FROM expectations ORDER BY clinic, study_uid`)
	studies, err := collect(rows, err, func(r *sql.Rows) (x Expectation, err error) { err = r.Scan(&x.Clinic, &x.StudyUID); return x, err })
	if err != nil {
		return c, err
	}
	for _, x := range studies {
		instances, err := s.ExpectedOf(ctx, x.Clinic, x.StudyUID)
		if err != nil {
			return c, err
		}
		c.Expected = append(c.Expected, instances...)
	}
	rows, err = s.query(ctx, `SELECT `+lineColumns+` FROM lines ORDER BY report_id`)
	if c.Lines, err = collect(rows, err, func(r *sql.Rows) (Line, error) { return scanLine(r) }); err != nil {
		return c, err
	}
	const everybody = 1 << 30
	rows, err = s.query(ctx, `SELECT document FROM patient_links ORDER BY document_key`)
	if c.Links, err = collect(rows, err, scanLink); err != nil {
		return c, err
	}
	c.Patients, _, err = s.FindPatients(ctx, PatientQuery{Limit: everybody})
	return c, err
}
