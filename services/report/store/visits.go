package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Visit names the version of the report on the visit before a study's.
type Visit struct {
	StudyDate string // of the study; "": it has none, and no visit is before it
	ReportID  string // "": there is none
	Version   int
}

const previousReport = ` FROM reports WHERE patient_key = ? AND superseded_ms = ? AND study_date > '' AND study_date < ?
	ORDER BY study_date DESC, study_uid DESC LIMIT 1`

// Previous returns the newest version of the report on the visit before studyDate (yyyy-mm-dd) of a patient, and names it; nil if there is
// none. Of several studies on that day it is the one with the greatest UID. It reads one row, however many visits there are.
func (s *SQL) Previous(ctx context.Context, patientKey, studyDate string) (*Report, Visit, error) {
	visit := Visit{StudyDate: studyDate}
	r, err := scanReport(s.queryRow(ctx, `SELECT `+reportColumns+previousReport, patientKey, forever, studyDate))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, visit, nil
	}
	if err != nil {
		return nil, visit, unavailable(err)
	}
	visit.ReportID, visit.Version = r.ReportID, r.Version
	return &r, visit, nil
}

// checkVisit touches a study if the visit before it is not the one any more that it was compared with: it came while the report was made.
func (t *tx) checkVisit(study Study, at time.Time, timing Timing) error {
	if study.Compared.StudyDate == "" {
		return nil
	}
	current := Visit{StudyDate: study.Compared.StudyDate}
	err := t.queryRow(`SELECT report_id, version`+previousReport, study.PatientKey, forever, current.StudyDate).Scan(&current.ReportID, &current.Version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if current == study.Compared {
		return nil
	}
	return t.touch(study.ReportID, at, timing)
}

// touchNext touches the reports on the visit after a report's date, since they are compared with it: those alone, however many visits
// there are. former is the date that the version before had.
func (t *tx) touchNext(doc *record.Report, former string, at time.Time, timing Timing) error {
	dates := []string{doc.StudyDate}
	if former != doc.StudyDate {
		dates = append(dates, former)
	}
	for _, date := range dates {
		if date == "" {
			continue
		}
		if err := t.touchAll(`SELECT report_id FROM reports WHERE patient_key = ? AND superseded_ms = ? AND report_id <> ? AND study_date =
			(SELECT MIN(study_date) FROM reports WHERE patient_key = ? AND superseded_ms = ? AND study_date > ?)`, at, timing,
			doc.Patient.Key, forever, doc.ReportID, doc.Patient.Key, forever, date); err != nil {
			return err
		}
	}
	return nil
}
