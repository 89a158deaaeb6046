package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Expectation is what a manifest announces of a study.
type Expectation struct {
	DocumentKey      string // in the archive bucket
	Clinic, StudyUID string
	ReceivedAt       time.Time
	Instances        []ExpectedInstance
}

// ExpectedInstance is an announced SOP instance.
type ExpectedInstance struct {
	SOPUID, Sha256 string
	Arrival        Arrival // as of when it was asked for; not stored
}

// Arrival says what came of an announced SOP instance.
type Arrival int

// Arrivals. The numbers are those of arrivalOf.
const (
	Arrived          Arrival = iota // the announced bytes are archived or in quarantine
	ArrivedOtherwise                // the SOP instance is, with other bytes
	NotArrived
)

// arrivalOf is an Arrival of e, an expected instance. Its arguments are the clinic, twice.
const arrivalOf = `CASE
	WHEN EXISTS (SELECT 1 FROM images i WHERE i.sop_uid = e.sop_uid AND i.sha256 = e.sha256) THEN 0
	WHEN EXISTS (SELECT 1 FROM rejected r WHERE r.sha256 = e.sha256 AND r.clinic = ?) THEN 0
	WHEN EXISTS (SELECT 1 FROM images i WHERE i.sop_uid = e.sop_uid) THEN 1
	WHEN EXISTS (SELECT 1 FROM rejected r WHERE r.sop_uid = e.sop_uid AND r.clinic = ?) THEN 1
	ELSE 2 END`

// PutExpectation adds what a manifest announces; a second time it changes nothing. Of several manifests of a study the newest counts.
// Reports of the study at the clinic become due.
func (s *SQL) PutExpectation(ctx context.Context, x Expectation, at time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(`INSERT INTO expectations (document_key, clinic, study_uid, received_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			x.DocumentKey, x.Clinic, x.StudyUID, ms(x.ReceivedAt))
		if err != nil || n == 0 {
			return err
		}
		for _, i := range x.Instances {
			if _, err := tx.exec(`INSERT INTO expected (document_key, sop_uid, sha256) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
				x.DocumentKey, i.SOPUID, i.Sha256); err != nil {
				return err
			}
		}
		return tx.touchAll(`SELECT report_id FROM studies WHERE study_uid = ? AND clinic = ?`, at, s.cfg.Timing, x.StudyUID, x.Clinic)
	})
}

// touchAll touches the reports that a query names.
func (t *tx) touchAll(query string, at time.Time, timing Timing, args ...any) error {
	rows, err := t.query(query, args...)
	touched, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { err = r.Scan(&id); return id, err })
	if err != nil {
		return err
	}
	for _, id := range touched {
		if err := t.touch(id, at, timing); err != nil {
			return err
		}
	}
	return nil
}

const newestExpectation = `SELECT document_key, received_ms FROM expectations WHERE clinic = ? AND study_uid = ? ORDER BY received_ms DESC, document_key DESC LIMIT 1`

// ExpectedOf returns the SOP instances that the newest manifest of a study announces, with what came of them, ordered by UID; none if
// there is no manifest.
func (s *SQL) ExpectedOf(ctx context.Context, clinic, studyUID string) ([]ExpectedInstance, error) {
	var key string
	var received int64
	err := s.queryRow(ctx, newestExpectation, clinic, studyUID).Scan(&key, &received)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(err)
	}
	rows, err := s.query(ctx, `SELECT e.sop_uid, e.sha256, `+arrivalOf+` FROM expected e WHERE e.document_key = ? ORDER BY e.sop_uid`, clinic, clinic, key)
	return collect(rows, err, func(r *sql.Rows) (i ExpectedInstance, err error) {
		err = r.Scan(&i.SOPUID, &i.Sha256, &i.Arrival)
		return i, err
	})
}

// countExpected brings into a study what its newest manifest announces, and how much of it did not come.
func (t *tx) countExpected(study Study, timing Timing) error {
	var key string
	var received int64
	err := t.queryRow(newestExpectation, study.Clinic, study.StudyUID).Scan(&key, &received)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	var expected, missing int
	if err := t.queryRow(`SELECT COUNT(*), COALESCE(SUM(CASE WHEN arrival = 2 THEN 1 ELSE 0 END), 0) FROM (SELECT `+arrivalOf+` AS arrival
		FROM expected e WHERE e.document_key = ?) AS arrivals`, study.Clinic, study.Clinic, key).Scan(&expected, &missing); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE studies SET expected = ?, missing = ?, await_ms = ? WHERE report_id = ?`,
		expected, missing, received+timing.Await.Milliseconds(), study.ReportID)
	return err
}
