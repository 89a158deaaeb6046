package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// forever is the superseded_ms of the newest version.
const forever = int64(math.MaxInt64)

// PutReport adds a version of a report; a second time it changes nothing. study is the state that the version was made from,
// and nil where the version was found in the bucket. rebuilding keeps the moment of issue as the moment of update whatever the
// order of the documents; otherwise a version that comes late is updated now, after every other, so that readers that poll by
// `_lastUpdated` do not miss it. Reports on the patient's next visit become due at that moment, since they are compared with this one.
func (s *SQL) PutReport(ctx context.Context, key string, doc *record.Report, raw []byte, study *Study, rebuilding bool, at time.Time) error {
	write := s.writeLasting
	if rebuilding {
		write = s.write
	}
	return write(ctx, func(tx *tx) error {
		if err := tx.putVersion(key, doc, raw, rebuilding, at, s.cfg.Timing); err != nil {
			return err
		}
		if study != nil {
			return tx.cover(*study, at, s.cfg.Timing)
		}
		return tx.reschedule(doc.ReportID, s.cfg.Timing)
	})
}

func (t *tx) putVersion(key string, doc *record.Report, raw []byte, rebuilding bool, at time.Time, timing Timing) error {
	var n int
	if err := t.queryRow(`SELECT COUNT(*) FROM reports WHERE report_id = ? AND version = ?`, doc.ReportID, doc.Version).Scan(&n); err != nil || n > 0 {
		return err
	}
	updated, err := t.updateTime(doc.IssuedAt, rebuilding)
	if err != nil {
		return err
	}
	// A version that was superseded before it came was never the newest: its span is empty.
	superseded, content := forever, string(raw)
	var newer sql.NullInt64
	if err := t.queryRow(`SELECT MIN(updated_ms) FROM reports WHERE report_id = ? AND version > ?`, doc.ReportID, doc.Version).Scan(&newer); err != nil {
		return err
	}
	if newer.Valid {
		superseded, content = max(updated, newer.Int64), ""
	}
	var former visit
	err = t.queryRow(`SELECT patient_key, study_date FROM reports WHERE report_id = ? AND superseded_ms = ?`, doc.ReportID, forever).Scan(&former.patientKey, &former.studyDate)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, err := t.exec(`INSERT INTO reports (report_id, version, document_key, clinic, patient_key, patient_id, patient_issuer, study_uid,
		accession, study_date, status, fhir_status, issued_ms, updated_ms, superseded_ms, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		doc.ReportID, doc.Version, key, doc.Clinic, doc.Patient.Key, clean(doc.Patient.ID), clean(doc.Patient.Issuer), doc.StudyUID,
		clean(doc.AccessionNumber), doc.StudyDate, string(doc.Status), strings.TrimPrefix(fhir.ReportStatus(doc), string(doc.Status)),
		ms(doc.IssuedAt), updated, superseded, content); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE reports SET superseded_ms = ?, document = '' WHERE report_id = ? AND version < ? AND superseded_ms > ?`,
		updated, doc.ReportID, doc.Version, updated); err != nil {
		return err
	}
	if newer.Valid {
		// An older version still says when an image was first reported as it is now.
		return t.markFirst(doc)
	}
	if err := t.putPatient(doc, updated); err != nil {
		return err
	}
	if err := t.putLine(doc, updated); err != nil {
		return err
	}
	if former.patientKey != "" && former.patientKey != doc.Patient.Key {
		if err := t.refreshPatient(former.patientKey); err != nil {
			return err
		}
		if err := t.refreshLatest(former.patientKey); err != nil {
			return err
		}
	}
	if _, err := t.exec(`UPDATE studies SET status = ? WHERE report_id = ?`, string(doc.Status), doc.ReportID); err != nil {
		return err
	}
	if err := t.touchLater(doc, former, at, timing); err != nil {
		return err
	}
	return t.markReported(doc)
}

// updateTime gives a new row its place in the order of updates. There is one writing transaction at a time, and the next one begins when this one is
// visible: who reads a row has seen, or can see, every row of an earlier moment.
func (t *tx) updateTime(issued time.Time, rebuilding bool) (int64, error) {
	at := ms(issued)
	complete, err := t.setting(completeSetting)
	if err != nil {
		return 0, err
	}
	// Once the index was whole, somebody may go by its order, also if this process began when it was not.
	if !rebuilding || complete == isComplete {
		var last sql.NullInt64
		if err := t.queryRow(`SELECT MAX(updated_ms) FROM reports`).Scan(&last); err != nil {
			return 0, err
		}
		if last.Valid && last.Int64 >= at {
			at = last.Int64 + 1
		}
		return at, nil
	}
	for {
		var n int
		if err := t.queryRow(`SELECT COUNT(*) FROM reports WHERE updated_ms = ?`, at).Scan(&n); err != nil || n == 0 {
			return at, err
		}
		at++
	}
}

func (t *tx) newestStatus(reportID string) (string, error) {
	var status string
	err := t.queryRow(`SELECT status FROM reports WHERE report_id = ? AND superseded_ms = ?`, reportID, forever).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return status, err
}

// markReported notes what the newest report says of each image.
func (t *tx) markReported(doc *record.Report) error {
	for _, img := range doc.Images {
		if _, err := t.exec(`UPDATE images SET reported_ms = CASE
			WHEN reported_status = ? AND reported_outcome = ? AND reported_ms < ? THEN reported_ms ELSE ? END,
			reported_status = ?, reported_outcome = ? WHERE sop_uid = ? AND sha256 = ? AND report_id = ?`,
			string(img.Status), img.ResultKey, ms(doc.IssuedAt), ms(doc.IssuedAt), string(img.Status), img.ResultKey,
			img.SOPUID, img.Sha256, doc.ReportID); err != nil {
			return err
		}
		if err := t.settle(img.SOPUID, img.Sha256); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) markFirst(doc *record.Report) error {
	for _, img := range doc.Images {
		if _, err := t.exec(`UPDATE images SET reported_ms = ? WHERE sop_uid = ? AND sha256 = ? AND report_id = ?
			AND reported_status = ? AND reported_outcome = ? AND reported_ms > ?`, ms(doc.IssuedAt), img.SOPUID, img.Sha256,
			doc.ReportID, string(img.Status), img.ResultKey, ms(doc.IssuedAt)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putPatient(doc *record.Report, updated int64) error {
	p := doc.Patient
	_, err := t.exec(`INSERT INTO patients (patient_key, clinic, patient_id, issuer, name, search, birth_date, sex, updated_ms)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (patient_key) DO UPDATE SET clinic = excluded.clinic, patient_id = excluded.patient_id,
		issuer = excluded.issuer, name = excluded.name, search = excluded.search, birth_date = excluded.birth_date, sex = excluded.sex,
		updated_ms = excluded.updated_ms WHERE patients.updated_ms < excluded.updated_ms`,
		p.Key, doc.Clinic, clean(p.ID), clean(p.Issuer), clean(p.Name), searchText(p), p.BirthDate, string(p.Sex), updated)
	return err
}

const reportColumns = `report_id, document_key, version, clinic, patient_key, patient_id, patient_issuer, study_uid, study_date, status,
	issued_ms, updated_ms, superseded_ms, document`

func scanReport(r interface{ Scan(...any) error }) (Report, error) {
	var v Report
	var status, document string
	var issued, updated, superseded int64
	err := r.Scan(&v.ReportID, &v.DocumentKey, &v.Version, &v.Clinic, &v.PatientKey, &v.PatientID, &v.Issuer, &v.StudyUID, &v.StudyDate,
		&status, &issued, &updated, &superseded, &document)
	v.Status, v.IssuedAt, v.UpdatedAt = record.ReportStatus(status), fromMs(issued), fromMs(updated)
	v.Newest = superseded == forever
	if document != "" {
		v.Document = []byte(document)
	}
	return v, err
}

// Newest returns the newest version of a report.
func (s *SQL) Newest(ctx context.Context, reportID string) (Report, error) {
	return s.report(ctx, `superseded_ms = ?`, reportID, forever)
}

// Version returns one version of a report.
func (s *SQL) Version(ctx context.Context, reportID string, version int) (Report, error) {
	return s.report(ctx, `version = ?`, reportID, version)
}

func (s *SQL) report(ctx context.Context, where, reportID string, arg any) (Report, error) {
	r, err := scanReport(s.queryRow(ctx, `SELECT `+reportColumns+` FROM reports WHERE report_id = ? AND `+where, reportID, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return Report{}, fault.New(fault.NotFound, "not-indexed", "there is no such report")
	}
	return r, unavailable(err)
}

// Versions returns all versions of a report, the first one first.
func (s *SQL) Versions(ctx context.Context, reportID string) ([]Report, error) {
	rows, err := s.query(ctx, `SELECT `+reportColumns+` FROM reports WHERE report_id = ? ORDER BY version`, reportID)
	return collect(rows, err, func(r *sql.Rows) (Report, error) { return scanReport(r) })
}

// LastUpdate returns the moment of the last update of any report; zero if there is none. As ReportQuery.Snapshot it freezes
// what a search sees.
func (s *SQL) LastUpdate(ctx context.Context) (time.Time, error) {
	var last sql.NullInt64
	err := s.queryRow(ctx, `SELECT MAX(updated_ms) FROM reports`).Scan(&last)
	return fromMs(last.Int64), unavailable(err)
}
