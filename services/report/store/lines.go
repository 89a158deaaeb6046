package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Line is a study in the list of patients, as the newest version of its report has it.
type Line struct {
	ReportID, Clinic, PatientKey string
	StudyUID, StudyDate          string
	Status                       record.ReportStatus
	FirstIssuedAt, UpdatedAt     time.Time
	Marks                        []Mark // sorted as Marks has them
	Latest                       bool   // the patient's latest study: by date, and of several on a day the one with the greatest UID
	Document                     []byte // report.json; nil in Contents
}

// Mark is what a list is searched for.
type Mark string

// Marks of a study.
const (
	MarkUngradable Mark = "ungradable" // it has an ungradable picture
	MarkFailed     Mark = "failed"     // it has one that could not be analysed
	MarkWaiting    Mark = "waiting"    // a file of it is in quarantine, or was announced and is missing
	MarkPerson     Mark = "person"     // any of these: somebody has to see to it
	MarkChanged    Mark = "changed"    // a measure of an eye differs from the visit before beyond error
)

// Marks are all of them; the columns have their names.
func Marks() []Mark { return []Mark{MarkUngradable, MarkFailed, MarkWaiting, MarkPerson, MarkChanged} }

// MarksOf tells the marks of a report.
func MarksOf(doc *record.Report) []Mark {
	has := map[Mark]bool{
		MarkUngradable: doc.Counts.Ungradable > 0, MarkFailed: doc.Counts.Failed > 0, MarkWaiting: doc.Counts.Rejected > 0 || len(doc.Missing) > 0,
		MarkChanged: slices.ContainsFunc(doc.Comparisons, func(c record.ReportComparison) bool {
			return c.Kind == record.Change && slices.ContainsFunc(c.Measures, func(m record.ComparedMeasure) bool { return m.Verdict == record.Lower || m.Verdict == record.Higher })
		}),
	}
	has[MarkPerson] = has[MarkUngradable] || has[MarkFailed] || has[MarkWaiting]
	return slices.DeleteFunc(Marks(), func(m Mark) bool { return !has[m] })
}

// LineSort is the order of a list. Equal values are ordered by report.
type LineSort string

// Orders of a list.
const (
	LineUpdated   LineSort = "updated"
	LineName      LineSort = "name"
	LineID        LineSort = "id"
	LineStudyDate LineSort = "date"
)

var lineColumn = map[LineSort]string{LineUpdated: `updated_ms`, LineName: `search`, LineID: `patient_id`, LineStudyDate: `study_date`}

// LineQuery selects studies. What is empty selects everything; what is not must all hold.
type LineQuery struct {
	Clinics  []string // nil: all; a list that is empty selects nothing
	Search   string   // parts of the name or ID, each of which must occur
	First    Span     // when the report was first issued; without it, the latest study of each patient is selected alone
	Statuses []string // one of them
	Marks    []Mark   // all of them

	Sort       LineSort // default LineUpdated
	Descending bool
	// After continues behind a line, Before ends before it. At most one of them.
	After, Before *LinePosition
	Limit         int
	// CountTo is how far CountLines counts; 0: to the end.
	CountTo int
}

// LinePosition is where a line stood in a list. It holds nothing of the patient: what else is needed the index knows.
type LinePosition struct {
	ReportID string
	// UpdatedMs is the line's moment of update, which changes. Only for LineUpdated.
	UpdatedMs int64
}

func (q LineQuery) conditions() conditions {
	var c conditions
	if q.First == (Span{}) {
		c.add(`latest = 1`)
	} else {
		c.times(`first_ms`, []Span{q.First}, false)
	}
	c.in(`status`, q.Statuses)
	for _, mark := range q.Marks {
		if slices.Contains(Marks(), mark) {
			c.add(string(mark) + ` = 1`) // no argument: the index of what is marked is found by it
		}
	}
	// Every word must occur; the order of family and given name differs between people.
	for _, word := range strings.Fields(Fold(q.Search)) {
		c.add(`search LIKE ? ESCAPE '!'`, `%`+strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(word)+`%`)
	}
	return c
}

// CountLines returns how many studies the query selects, whatever its page. It counts no further than q.CountTo: one more than that means that there
// are more.
func (s *SQL) CountLines(ctx context.Context, q LineQuery) (int, error) {
	c := q.conditions()
	return s.count(ctx, `lines`, q.Clinics, c, q.CountTo, func() (string, []any) {
		c.among(q.Clinics)
		return `SELECT 1 AS one FROM lines WHERE ` + c.where() + ` LIMIT ?`, append(c.args, q.CountTo+1)
	})
}

const lineColumns = `report_id, clinic, patient_key, study_uid, study_date, status, first_ms, updated_ms, ungradable, failed, waiting, person, changed, latest`

// FindLines returns the studies that the query selects, in its order. NotFound "not-indexed" where After or Before is a line that is not there.
func (s *SQL) FindLines(ctx context.Context, q LineQuery) ([]Line, error) {
	column := lineColumn[q.Sort]
	if column == "" {
		column = lineColumn[LineUpdated]
	}
	c := q.conditions()
	at, backwards := q.After, q.Before != nil
	if backwards {
		at = q.Before
	}
	ascending := q.Descending == backwards
	compare, direction := `>`, ` ASC`
	if !ascending {
		compare, direction = `<`, ` DESC`
	}
	if at != nil {
		value := any(at.UpdatedMs)
		if column != lineColumn[LineUpdated] {
			var text string
			err := s.queryRow(ctx, `SELECT `+column+` FROM lines WHERE report_id = ?`, at.ReportID).Scan(&text)
			if errors.Is(err, sql.ErrNoRows) {
				return nil, fault.New(fault.NotFound, "not-indexed", "the row that the page begins behind is not there any more; begin again with the first page")
			}
			if err != nil {
				return nil, unavailable(err)
			}
			value = text
		}
		c.add(`(`+column+`, report_id) `+compare+` (?, ?)`, value, at.ReportID)
	}
	order := column + direction + `, report_id` + direction
	columns := lineColumns
	if !strings.Contains(columns, column) {
		columns += `, ` + column
	}
	var text string
	var args []any
	if q.Search == "" {
		text, args = pageOf(`lines`, columns, q.Clinics, c, order, q.Limit)
	} else { // to find a part of a name once for all clinics is less work than for each
		c.among(q.Clinics)
		text, args = pageOf(`lines`, columns, nil, c, order, q.Limit)
	}
	rows, err := s.query(ctx, `SELECT page.`+strings.ReplaceAll(lineColumns, `, `, `, page.`)+`, r.document FROM (`+text+`) AS page
		JOIN reports r ON r.report_id = page.report_id AND r.superseded_ms = ? ORDER BY page.`+column+direction+`, page.report_id`+direction, append(args, forever)...)
	found, err := collect(rows, err, func(r *sql.Rows) (Line, error) {
		var document string
		line, err := scanLine(r, &document)
		line.Document = []byte(document)
		return line, err
	})
	if backwards {
		slices.Reverse(found)
	}
	return found, err
}

func scanLine(r *sql.Rows, more ...any) (Line, error) {
	var l Line
	var status string
	var first, updated int64
	var latest int
	marked := make([]int, len(Marks()))
	err := r.Scan(append([]any{&l.ReportID, &l.Clinic, &l.PatientKey, &l.StudyUID, &l.StudyDate, &status, &first, &updated,
		&marked[0], &marked[1], &marked[2], &marked[3], &marked[4], &latest}, more...)...)
	l.Status, l.FirstIssuedAt, l.UpdatedAt, l.Latest = record.ReportStatus(status), fromMs(first), fromMs(updated), latest == 1
	for n, mark := range Marks() {
		if marked[n] == 1 {
			l.Marks = append(l.Marks, mark)
		}
	}
	return l, err
}

// Clinics returns the clinics that have a report, among those that are given (nil: all), sorted.
func (s *SQL) Clinics(ctx context.Context, among []string) ([]string, error) {
	var all []string
	for last := ""; ; last = all[len(all)-1] {
		// One step in the index a clinic.
		var next string
		err := s.queryRow(ctx, `SELECT clinic FROM lines WHERE latest = 1 AND clinic > ? ORDER BY clinic LIMIT 1`, last).Scan(&next)
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err != nil {
			return nil, unavailable(err)
		}
		all = append(all, next)
	}
	if among != nil {
		all = slices.DeleteFunc(all, func(clinic string) bool { return !slices.Contains(among, clinic) })
	}
	return all, nil
}

// LineValues are the columns of a report's line and their values, without latest, which depends on the patient's other studies.
func LineValues(doc *record.Report, updatedMs int64) (columns []string, values []any) {
	columns = []string{"report_id", "clinic", "patient_key", "study_uid", "study_date", "search", "patient_id", "status", "first_ms", "updated_ms"}
	values = []any{doc.ReportID, doc.Clinic, doc.Patient.Key, doc.StudyUID, doc.StudyDate, searchText(doc.Patient), clean(doc.Patient.ID), string(doc.Status), ms(doc.FirstIssuedAt), updatedMs}
	has := MarksOf(doc)
	for _, mark := range Marks() {
		columns, values = append(columns, string(mark)), append(values, flag(slices.Contains(has, mark)))
	}
	return columns, values
}

// searchText is what a patient is found by.
func searchText(p record.PatientIdentity) string { return Fold(clean(p.Name) + " " + clean(p.ID)) }

// putLine makes a report's line anew, and finds out which study of the patient is the latest one now.
func (t *tx) putLine(doc *record.Report, updatedMs int64) error {
	columns, values := LineValues(doc, updatedMs)
	var set []string
	for _, column := range columns[1:] {
		set = append(set, column+` = excluded.`+column)
	}
	if _, err := t.exec(`INSERT INTO lines (`+strings.Join(columns, `, `)+`) VALUES (`+marks(len(columns))+`) ON CONFLICT (report_id) DO UPDATE SET `+strings.Join(set, `, `), values...); err != nil {
		return err
	}
	return t.refreshLatest(doc.Patient.Key)
}

func (t *tx) refreshLatest(patientKey string) error {
	_, err := t.exec(`UPDATE lines SET latest = 1 - latest WHERE patient_key = ? AND latest <> CASE WHEN report_id =
		(SELECT report_id FROM lines WHERE patient_key = ? ORDER BY study_date DESC, study_uid DESC LIMIT 1) THEN 1 ELSE 0 END`, patientKey, patientKey)
	return err
}

const (
	// derivedSetting says by which rules columns were derived from documents that the index has; an index of older rules derives them anew.
	derivedSetting = "derived"
	derivedRules   = "1"
	// deriveBatch rows are derived in a transaction, so that none is long.
	deriveBatch = 500
)

// derive fills the lines, and when files in quarantine were decided about, in an index from before there were such columns.
func (s *SQL) derive(ctx context.Context) error {
	var rules string
	err := s.queryRow(ctx, `SELECT value FROM settings WHERE name = ?`, derivedSetting).Scan(&rules)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return unavailable(err)
	}
	if rules == derivedRules {
		return nil
	}
	last := ""
	for more := true; more; {
		if err := s.write(ctx, func(tx *tx) error {
			type source struct {
				id, document string
				updated      int64
			}
			rows, err := tx.query(`SELECT report_id, document, updated_ms FROM reports WHERE superseded_ms = ? AND report_id > ? ORDER BY report_id LIMIT ?`, forever, last, deriveBatch)
			found, err := collect(rows, err, func(r *sql.Rows) (x source, err error) {
				err = r.Scan(&x.id, &x.document, &x.updated)
				return x, err
			})
			if err != nil {
				return err
			}
			for _, x := range found {
				var doc record.Report
				if err := json.Unmarshal([]byte(x.document), &doc); err != nil {
					return fault.Wrap(fault.Internal, "index-damaged", err, "the report %s in the index cannot be read; make the index anew with noctua rebuild", x.id)
				}
				if err := tx.putLine(&doc, x.updated); err != nil {
					return err
				}
				last = x.id
			}
			more = len(found) == deriveBatch
			return nil
		}); err != nil {
			return fmt.Errorf("filling the list of patients: %w", err)
		}
	}
	return s.write(ctx, func(tx *tx) error {
		rows, err := tx.query(`SELECT ` + rejectedColumns + ` FROM rejected WHERE rulings > 0`)
		decided, err := collect(rows, err, scanRejected)
		if err != nil {
			return err
		}
		for _, r := range decided {
			if _, err := tx.exec(`UPDATE rejected SET decided_ms = ? WHERE document_key = ?`, ms(r.DecidedAt()), r.DocumentKey); err != nil {
				return err
			}
		}
		return tx.set(derivedSetting, derivedRules)
	})
}
