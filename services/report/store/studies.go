package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const studyColumns = `report_id, clinic, patient_key, study_uid, changes, covered, dirty_ms, changed_ms, pending, status, due_ms, expected, missing, await_ms, await_over_ms`

func scanStudy(r interface{ Scan(...any) error }) (Study, error) {
	var s Study
	var dirty, changed, due, await, awaitOver int64
	var status string
	err := r.Scan(&s.ReportID, &s.Clinic, &s.PatientKey, &s.StudyUID, &s.Changes, &s.Covered, &dirty, &changed, &s.Pending, &status, &due, &s.Expected, &s.Missing, &await, &awaitOver)
	s.DirtySince, s.ChangedAt, s.DueAt, s.Status = fromMs(dirty), fromMs(changed), fromMs(due), record.ReportStatus(status)
	s.AwaitUntil, s.AwaitOver = fromMs(await), fromMs(awaitOver)
	return s, err
}

// Study returns the state of a report to be.
func (s *SQL) Study(ctx context.Context, reportID string) (Study, error) {
	study, err := scanStudy(s.queryRow(ctx, `SELECT `+studyColumns+` FROM studies WHERE report_id = ?`, reportID))
	if errors.Is(err, sql.ErrNoRows) {
		return Study{}, fault.New(fault.NotFound, "not-indexed", "there is no such study")
	}
	return study, unavailable(err)
}

// Due returns up to limit studies that are due at that moment, the longest waiting first, with Study.Late as of it, and when the next one after them
// will be (zero: none).
func (s *SQL) Due(ctx context.Context, at time.Time, limit int) ([]Study, time.Time, error) {
	rows, err := s.query(ctx, `SELECT `+studyColumns+` FROM studies WHERE due_ms <= ? ORDER BY due_ms, report_id LIMIT ?`, now(at), limit)
	due, err := collect(rows, err, func(r *sql.Rows) (Study, error) { return scanStudy(r) })
	if err != nil {
		return nil, time.Time{}, err
	}
	for i := range due {
		due[i] = due[i].At(at)
	}
	var next sql.NullInt64
	if err := s.queryRow(ctx, `SELECT MIN(due_ms) FROM studies WHERE due_ms > ? AND due_ms < ?`, now(at), never).Scan(&next); err != nil {
		return nil, time.Time{}, unavailable(err)
	}
	return due, fromMs(next.Int64), nil
}

// Cover notes that a study was dealt with as of its changes, without a new version being needed. document is the newest
// report, or nil if none speaks for the study as it is.
func (s *SQL) Cover(ctx context.Context, study Study, document *record.Report, at time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		if document != nil {
			if err := tx.markReported(document); err != nil {
				return err
			}
		}
		return tx.cover(study, at, s.cfg.Timing)
	})
}

// Postpone looks at a study again at a later time, after it could not be dealt with.
func (s *SQL) Postpone(ctx context.Context, reportID string, until time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`UPDATE studies SET due_ms = ? WHERE report_id = ?`, now(until), reportID)
		return err
	})
}

// touch notes a change of a study. An unknown study is no error: a quarantined file may be all that came of it.
func (t *tx) touch(reportID string, at time.Time, timing Timing) error {
	if _, err := t.exec(`UPDATE studies SET changes = changes + 1, changed_ms = ?,
		dirty_ms = CASE WHEN dirty_ms = 0 THEN ? ELSE dirty_ms END WHERE report_id = ?`, now(at), now(at), reportID); err != nil {
		return err
	}
	return t.reschedule(reportID, timing)
}

// cover notes that the changes up to study.Changes were dealt with. Changes that came meanwhile stay due, from now on.
func (t *tx) cover(study Study, at time.Time, timing Timing) error {
	if _, err := t.exec(`UPDATE studies SET covered = CASE WHEN covered < ? THEN ? ELSE covered END WHERE report_id = ?`,
		study.Changes, study.Changes, study.ReportID); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE studies SET dirty_ms = CASE WHEN changes = covered THEN 0 ELSE changed_ms END WHERE report_id = ?`,
		study.ReportID); err != nil {
		return err
	}
	if study.Late {
		if _, err := t.exec(`UPDATE studies SET await_over_ms = ? WHERE report_id = ?`, ms(study.AwaitUntil), study.ReportID); err != nil {
			return err
		}
	}
	if err := t.reschedule(study.ReportID, timing); err != nil {
		return err
	}
	return t.checkVisits(study, at, timing)
}

// reschedule counts a study's pending images and missing instances, and applies the one rule of when it is due.
func (t *tx) reschedule(reportID string, timing Timing) error {
	if _, err := t.exec(`UPDATE studies SET pending = (SELECT COUNT(*) FROM images WHERE report_id = ? AND status = 'pending')
		WHERE report_id = ?`, reportID, reportID); err != nil {
		return err
	}
	study, err := t.study(reportID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.countExpected(study, timing); err != nil {
		return err
	}
	if study, err = t.study(reportID); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE studies SET due_ms = ? WHERE report_id = ?`, timing.due(study), reportID)
	return err
}

func (t *tx) study(reportID string) (Study, error) {
	return scanStudy(t.queryRow(`SELECT `+studyColumns+` FROM studies WHERE report_id = ?`, reportID))
}

// rescheduleOpen applies the rule to every study that is not at rest, e.g. after the timing was configured anew.
func (t *tx) rescheduleOpen(timing Timing) error {
	rows, err := t.query(`SELECT report_id FROM studies WHERE due_ms < ? OR changes > covered OR status = 'preliminary'`, never)
	open, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { err = r.Scan(&id); return id, err })
	if err != nil {
		return err
	}
	for _, id := range open {
		if err := t.reschedule(id, timing); err != nil {
			return err
		}
	}
	return nil
}
