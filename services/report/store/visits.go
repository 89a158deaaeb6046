package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// MaxEarlier is how many reports on earlier visits a report looks back on: so many are read for each, and so many are made again when one
// comes late.
const MaxEarlier = 12

// Visits name the versions of the reports on the visits before a study's.
type Visits struct {
	PatientKey string // whose they are
	StudyDate  string // of the study; "": it has none, and no visit is before it
	Versions   string // which they are, as a text that is equal only for the same ones
}

const earlierReports = ` FROM reports WHERE patient_key = ? AND superseded_ms = ? AND study_date > '' AND study_date < ?
	ORDER BY study_date DESC, study_uid DESC LIMIT ?`

// Earlier returns the newest versions of the reports on the visits before studyDate (yyyy-mm-dd) of a patient, the latest first, at most
// MaxEarlier, and names them. Of several studies on a day the one with the greatest UID is the latest.
func (s *SQL) Earlier(ctx context.Context, patientKey, studyDate string) ([]Report, Visits, error) {
	rows, err := s.query(ctx, `SELECT `+reportColumns+earlierReports, patientKey, forever, studyDate, MaxEarlier)
	found, err := collect(rows, err, func(r *sql.Rows) (Report, error) { return scanReport(r) })
	if err != nil {
		return nil, Visits{}, err
	}
	var names []string
	for _, v := range found {
		names = append(names, nameVersion(v.ReportID, v.Version))
	}
	return found, Visits{PatientKey: patientKey, StudyDate: studyDate, Versions: strings.Join(names, " ")}, nil
}

func nameVersion(reportID string, version int) string { return fmt.Sprintf("%s/%d", reportID, version) }

// checkVisits touches a study if the visits before it are not those any more that it was compared with: one came while the report was made.
func (t *tx) checkVisits(study Study, at time.Time, timing Timing) error {
	c := study.Compared
	if c.StudyDate == "" {
		return nil
	}
	rows, err := t.query(`SELECT report_id, version`+earlierReports, c.PatientKey, forever, c.StudyDate, MaxEarlier)
	names, err := collect(rows, err, func(r *sql.Rows) (string, error) {
		var id string
		var version int
		err := r.Scan(&id, &version)
		return nameVersion(id, version), err
	})
	if err != nil || strings.Join(names, " ") == c.Versions {
		return err
	}
	return t.touch(study.ReportID, at, timing)
}

// visit is where a version of a report stands among a patient's visits.
type visit struct{ patientKey, studyDate string }

// touchLater touches the reports on the visits after a report's, since they look back on it: the next MaxEarlier, however many there are.
// former is where the version before stood; the zero value if there was none.
func (t *tx) touchLater(doc *record.Report, former visit, at time.Time, timing Timing) error {
	visits := []visit{{doc.Patient.Key, doc.StudyDate}}
	if former != visits[0] {
		visits = append(visits, former)
	}
	for _, v := range visits {
		if v.studyDate == "" {
			continue
		}
		if err := t.touchAll(`SELECT report_id FROM reports WHERE patient_key = ? AND superseded_ms = ? AND report_id <> ? AND study_date > ?
			ORDER BY study_date, study_uid LIMIT ?`, at, timing, v.patientKey, forever, doc.ReportID, v.studyDate, MaxEarlier); err != nil {
			return err
		}
	}
	return nil
}
