package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// maxFollowers bounds how many patients are looked at for those who are, by decision upon decision, one of them.
const maxFollowers = 1000

// PutPatientLink adds a decision about who a patient is; a second time it changes nothing. All studies that came under the patient become
// due, and those of patients who were joined to them.
func (s *SQL) PutPatientLink(ctx context.Context, key string, link record.PatientLink, at time.Time) error {
	document, err := json.Marshal(link)
	if err != nil {
		return fault.Wrap(fault.Internal, "document-invalid", err, "indexing a decision about a patient")
	}
	into := ""
	if link.Into != nil {
		into = link.Into.Key
	}
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(`INSERT INTO patient_links (document_key, patient_key, number, clinic, into_key, decided_ms, document) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`, key, link.PatientKey, link.Number, link.Clinic, into, ms(link.DecidedAt), string(document))
		if err != nil || n == 0 {
			return err
		}
		waiting, seen := []string{link.PatientKey}, map[string]bool{link.PatientKey: true}
		for len(waiting) > 0 && len(seen) <= maxFollowers {
			patient := waiting[0]
			waiting = waiting[1:]
			if err := tx.touchAll(`SELECT report_id FROM studies WHERE patient_key = ?`, at, s.cfg.Timing, patient); err != nil {
				return err
			}
			rows, err := tx.query(`SELECT DISTINCT patient_key FROM patient_links WHERE into_key = ?`, patient)
			followers, err := collect(rows, err, func(r *sql.Rows) (k string, err error) { err = r.Scan(&k); return k, err })
			if err != nil {
				return err
			}
			for _, f := range followers {
				if !seen[f] {
					seen[f] = true
					waiting = append(waiting, f)
				}
			}
		}
		return nil
	})
}

func scanLink(r *sql.Rows) (link record.PatientLink, err error) {
	var document string
	if err := r.Scan(&document); err != nil {
		return link, err
	}
	return link, json.Unmarshal([]byte(document), &link)
}

// PatientLinks returns the decisions about a patient as issued, in their order.
func (s *SQL) PatientLinks(ctx context.Context, patientKey string) ([]record.PatientLink, error) {
	rows, err := s.query(ctx, `SELECT document FROM patient_links WHERE patient_key = ? ORDER BY number`, patientKey)
	return collect(rows, err, scanLink)
}

// FindPatientLinks returns the decisions about patients of clinics (nil: all), the newest first.
func (s *SQL) FindPatientLinks(ctx context.Context, clinics []string, limit, offset int) ([]record.PatientLink, error) {
	var c conditions
	c.add(`1 = 1`)
	c.among(clinics)
	rows, err := s.query(ctx, `SELECT document FROM patient_links WHERE `+c.where()+` ORDER BY decided_ms DESC, document_key LIMIT ? OFFSET ?`, append(c.args, limit, offset)...)
	return collect(rows, err, scanLink)
}

// LinkedPatient returns the newest merge of the patient, as issued, whose key begins with prefix. NotFound "not-indexed" where there is none.
func (s *SQL) LinkedPatient(ctx context.Context, prefix string) (record.PatientLink, error) {
	rows, err := s.query(ctx, `SELECT document FROM patient_links WHERE patient_key >= ? AND patient_key < ? AND into_key <> '' ORDER BY patient_key, number DESC`, prefix, after(prefix))
	links, err := collect(rows, err, scanLink)
	if err != nil {
		return record.PatientLink{}, err
	}
	for _, l := range links {
		if l.StudyUID == "" {
			return l, nil
		}
	}
	return record.PatientLink{}, fault.New(fault.NotFound, "not-indexed", "there is no such patient")
}

// refreshPatient makes a patient's row anew of the report that was updated last, after another report of theirs became somebody else's.
// Where no report is left there is no row.
func (t *tx) refreshPatient(patientKey string) error {
	var document string
	var updated int64
	err := t.queryRow(`SELECT document, updated_ms FROM reports WHERE patient_key = ? AND superseded_ms = ? ORDER BY updated_ms DESC LIMIT 1`, patientKey, forever).Scan(&document, &updated)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, deleteErr := t.exec(`DELETE FROM patients WHERE patient_key = ?`, patientKey); deleteErr != nil || err != nil {
		return deleteErr
	}
	doc, err := record.Decode[record.Report](record.ReportSchema, []byte(document))
	if err != nil {
		return fmt.Errorf("reading the newest report of a patient: %w", err)
	}
	return t.putPatient(doc, updated)
}
