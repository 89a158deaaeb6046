package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Kind is a kind of document that the index knows by key.
type Kind string

// Kinds of documents.
const (
	KindInstance  Kind = "instance"
	KindOutcome   Kind = "outcome"
	KindRejected  Kind = "rejected"
	KindDuplicate Kind = "duplicate"
	KindReport    Kind = "report"
	KindExpected  Kind = "expected"
	KindLink      Kind = "link"   // a decision about who a patient is
	KindRuling    Kind = "ruling" // a decision about a file in quarantine, or what became of its release
)

// keyColumns says where the keys of a kind are. The names are constants: no outside text reaches a statement.
func keyColumn(kind Kind) (table, column string, err error) {
	switch kind {
	case KindInstance:
		return "images", "instance_key", nil
	case KindOutcome:
		return "outcomes", "outcome_key", nil
	case KindRejected:
		return "rejected", "document_key", nil
	case KindDuplicate:
		return "duplicates", "document_key", nil
	case KindExpected:
		return "expectations", "document_key", nil
	case KindLink:
		return "patient_links", "document_key", nil
	case KindRuling:
		return "rulings", "document_key", nil
	case KindReport:
		return "reports", "document_key", nil
	}
	return "", "", fault.New(fault.Internal, "index-kind", "the report index has no documents of kind %q", kind)
}

// Unknown returns those of keys that the index does not hold, in the order given.
func (s *SQL) Unknown(ctx context.Context, kind Kind, keys []string) ([]string, error) {
	table, column, err := keyColumn(kind)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(keys))
	const batch = 500 // below the limit of arguments of every database
	for from := 0; from < len(keys); from += batch {
		part := keys[from:min(from+batch, len(keys))]
		rows, err := s.query(ctx, `SELECT `+column+` FROM `+table+` WHERE `+column+` IN (`+marks(len(part))+`)`, args(part)...)
		found, err := collect(rows, err, func(r *sql.Rows) (k string, err error) { err = r.Scan(&k); return k, err })
		if err != nil {
			return nil, err
		}
		for _, k := range found {
			known[k] = true
		}
	}
	var unknown []string
	for _, k := range keys {
		if !known[k] {
			unknown = append(unknown, k)
		}
	}
	return unknown, nil
}

// PutImage adds an archived revision; a second time it changes nothing. Its study becomes due, and with it every study that
// holds another revision of the same SOP instance.
func (s *SQL) PutImage(ctx context.Context, img Image, at time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		status, outcome, err := tx.derive(img.SOPUID, img.Sha256, img.Analyse, s.cfg.ModelSHA)
		if err != nil {
			return err
		}
		n, err := tx.exec(`INSERT INTO images (sop_uid, sha256, instance_key, archive_key, study_uid, clinic, patient_key, report_id,
			"analyse", received_ms, status, outcome_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			img.SOPUID, img.Sha256, img.InstanceKey, img.ArchiveKey, img.StudyUID, img.Clinic, img.PatientKey, img.ReportID,
			flag(img.Analyse), ms(img.ReceivedAt), string(status), outcome)
		if err != nil || n == 0 {
			return err
		}
		// The newest report may hold the image already, when the index is being rebuilt.
		newest, err := tx.newestStatus(img.ReportID)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO studies (report_id, clinic, patient_key, study_uid, changes, covered, dirty_ms, changed_ms,
			pending, status, due_ms) VALUES (?, ?, ?, ?, 0, 0, 0, 0, 0, ?, ?) ON CONFLICT (report_id) DO NOTHING`,
			img.ReportID, img.Clinic, img.PatientKey, img.StudyUID, newest, never); err != nil {
			return err
		}
		rows, err := tx.query(`SELECT DISTINCT report_id FROM images WHERE sop_uid = ?`, img.SOPUID)
		touched, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { err = r.Scan(&id); return id, err })
		if err != nil {
			return err
		}
		for _, id := range touched {
			if err := tx.touch(id, at, s.cfg.Timing); err != nil {
				return err
			}
		}
		return nil
	})
}

// PutOutcome adds what a model said of an image; a second time it changes nothing. The image may be unknown yet.
func (s *SQL) PutOutcome(ctx context.Context, o Outcome, at time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(`INSERT INTO outcomes (outcome_key, sop_uid, sha256, failed, status, model_sha256, model_name, model_version,
			finished_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, o.Key, o.SOPUID, o.Sha256, flag(o.Failed),
			string(o.Status), o.Model.Sha256, clean(o.Model.Name), clean(o.Model.Version), ms(o.FinishedAt))
		if err != nil || n == 0 {
			return err
		}
		reportID, changed, err := tx.refresh(o.SOPUID, o.Sha256, s.cfg.ModelSHA)
		if err != nil || !changed {
			return err
		}
		return tx.touch(reportID, at, s.cfg.Timing)
	})
}

// derive finds the status of an image: of the outcomes that count a result comes before a failure, then the newest. Equal
// times are told apart by key, so that every process says the same.
func (t *tx) derive(sop, sha string, analyse bool, model string) (record.ImageStatus, string, error) {
	if !analyse {
		return record.ImageNotAnalysed, "", nil
	}
	var status, key string
	err := t.queryRow(`SELECT status, outcome_key FROM outcomes WHERE sop_uid = ? AND sha256 = ? AND (? = '' OR model_sha256 = ?)
		ORDER BY failed, finished_ms DESC, outcome_key DESC LIMIT 1`, sop, sha, model, model).Scan(&status, &key)
	if errors.Is(err, sql.ErrNoRows) {
		return record.ImagePending, "", nil
	}
	return record.ImageStatus(status), key, err
}

// refresh derives an image's status again and tells whether it changed. An unknown image changes nothing.
func (t *tx) refresh(sop, sha, model string) (reportID string, changed bool, err error) {
	var analyse int
	var oldStatus, oldKey string
	err = t.queryRow(`SELECT report_id, "analyse", status, outcome_key FROM images WHERE sop_uid = ? AND sha256 = ?`, sop, sha).
		Scan(&reportID, &analyse, &oldStatus, &oldKey)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	status, key, err := t.derive(sop, sha, analyse == 1, model)
	if err != nil || (string(status) == oldStatus && key == oldKey) {
		return reportID, false, err
	}
	_, err = t.exec(`UPDATE images SET status = ?, outcome_key = ? WHERE sop_uid = ? AND sha256 = ?`, string(status), key, sop, sha)
	if err != nil {
		return "", false, err
	}
	return reportID, true, t.settle(sop, sha)
}

// settle brings the image's settled column in line with Image.Settled.
func (t *tx) settle(sop, sha string) error {
	_, err := t.exec(`UPDATE images SET settled = CASE
		WHEN status = 'pending' OR status <> reported_status OR outcome_key <> reported_outcome THEN 0
		WHEN status = 'failed' THEN 2 ELSE 1 END WHERE sop_uid = ? AND sha256 = ?`, sop, sha)
	return err
}

// deriveAll derives the status of every image again.
func (t *tx) deriveAll(model string, at time.Time, timing Timing) error {
	type id struct{ sop, sha string }
	rows, err := t.query(`SELECT sop_uid, sha256 FROM images WHERE "analyse" = 1`)
	images, err := collect(rows, err, func(r *sql.Rows) (i id, err error) { err = r.Scan(&i.sop, &i.sha); return i, err })
	if err != nil {
		return err
	}
	spoken := map[string]bool{}
	for _, i := range images {
		reportID, changed, err := t.refresh(i.sop, i.sha, model)
		if err != nil {
			return err
		}
		if changed {
			spoken[reportID] = true
		}
	}
	if _, err = t.exec(`UPDATE studies SET pending = (SELECT COUNT(*) FROM images
		WHERE images.report_id = studies.report_id AND images.status = 'pending')`); err != nil {
		return err
	}
	for reportID := range spoken {
		study, err := t.study(reportID)
		if err != nil {
			return err
		}
		if study.Pending > 0 {
			continue
		}
		if err := t.touch(reportID, at, timing); err != nil {
			return err
		}
	}
	return nil
}

const imageColumns = `sop_uid, sha256, instance_key, archive_key, study_uid, clinic, patient_key, report_id, "analyse", received_ms,
	status, outcome_key, reported_status, reported_outcome, reported_ms`

func scanImage(r interface{ Scan(...any) error }) (Image, error) {
	var i Image
	var analyse int
	var received, reported int64
	var status, reportedStatus string
	err := r.Scan(&i.SOPUID, &i.Sha256, &i.InstanceKey, &i.ArchiveKey, &i.StudyUID, &i.Clinic, &i.PatientKey, &i.ReportID, &analyse,
		&received, &status, &i.OutcomeKey, &reportedStatus, &i.ReportedOutcome, &reported)
	i.Analyse, i.ReceivedAt, i.ReportedAt = analyse == 1, fromMs(received), fromMs(reported)
	i.Status, i.ReportedStatus = record.ImageStatus(status), record.ImageStatus(reportedStatus)
	return i, err
}

// ImagesOf returns the archived revisions of a report's study, ordered by SOP instance, time of receipt and bytes.
func (s *SQL) ImagesOf(ctx context.Context, reportID string) ([]Image, error) {
	rows, err := s.query(ctx, `SELECT `+imageColumns+` FROM images WHERE report_id = ? ORDER BY sop_uid, received_ms, sha256`, reportID)
	return collect(rows, err, func(r *sql.Rows) (Image, error) { return scanImage(r) })
}

// Revisions returns all archived revisions of an SOP instance, the newest last.
func (s *SQL) Revisions(ctx context.Context, sop string) ([]Image, error) {
	rows, err := s.query(ctx, `SELECT `+imageColumns+` FROM images WHERE sop_uid = ? ORDER BY received_ms, sha256`, sop)
	return collect(rows, err, func(r *sql.Rows) (Image, error) { return scanImage(r) })
}

// Image returns the revision of an SOP instance whose SHA-256 starts with prefix.
func (s *SQL) Image(ctx context.Context, sop, prefix string) (Image, error) {
	img, err := scanImage(s.queryRow(ctx, `SELECT `+imageColumns+` FROM images WHERE sop_uid = ? AND sha256 >= ? AND sha256 < ?
		ORDER BY sha256 LIMIT 1`, sop, prefix, after(prefix)))
	if errors.Is(err, sql.ErrNoRows) {
		return Image{}, fault.New(fault.NotFound, "not-indexed", "there is no such image")
	}
	return img, unavailable(err)
}

// after is the end of the range of hexadecimal texts that start with prefix: g comes after f.
func after(prefix string) string { return prefix + "g" }

// Model returns the model whose SHA-256 starts with prefix, if any outcome names it.
func (s *SQL) Model(ctx context.Context, prefix string) (record.ModelReference, error) {
	var m record.ModelReference
	err := s.queryRow(ctx, `SELECT model_name, model_version, model_sha256 FROM outcomes WHERE model_sha256 >= ? AND model_sha256 < ?
		ORDER BY model_sha256, outcome_key LIMIT 1`, prefix, after(prefix)).Scan(&m.Name, &m.Version, &m.Sha256)
	if errors.Is(err, sql.ErrNoRows) {
		return m, fault.New(fault.NotFound, "not-indexed", "there is no such model")
	}
	return m, unavailable(err)
}
