package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// SortBy is the order of a search. Equal values are ordered by UpdatedAt, which is unique.
type SortBy string

// Orders of a search.
const (
	SortUpdated   SortBy = "updated"
	SortIssued    SortBy = "issued"
	SortStudyDate SortBy = "date"
)

// Span is a half-open span of time; a zero bound is open.
type Span struct{ From, To time.Time }

// TextSpan is a half-open span of texts that sort by time (yyyy-mm-dd); an empty bound is open.
type TextSpan struct{ From, To string }

// Identifier is a patient identifier; Issuer nil means any.
type Identifier struct {
	ID     string
	Issuer *string
	Clinic string // "" means any
}

// ReportQuery selects reports. Fields that are empty select everything; fields hold alternatives, except for spans, which
// must all hold.
type ReportQuery struct {
	ReportIDs       []string
	PatientKeys     []string // whole keys or their first digits
	Identifiers     []Identifier
	StudyUIDs       []string
	Accessions      []string
	Statuses        []string
	FHIRStatuses    []string // as fhir.ReportStatus says
	StudyDates      []TextSpan
	NotStudyDates   []TextSpan
	Issued, Updated []Span
	NotIssued       []Span
	NotUpdated      []Span
	Clinics         []string // nil: all; a list that is empty selects nothing

	// Snapshot freezes the versions that were newest at that moment; zero: now.
	Snapshot   time.Time
	Sort       SortBy // default SortUpdated
	Descending bool
	// After continues behind the last report of the page before.
	After *Position
	Limit int
	// CountTo is how far CountReports counts; 0: to the end, which reads all that is selected.
	CountTo int
}

// Position is a place in the order of a search.
type Position struct {
	Value     string // of the sort column, for SortStudyDate
	ValueMs   int64  // of the sort column otherwise
	UpdatedMs int64
}

// PositionOf is where a report stands in an order.
func PositionOf(r Report, sort SortBy) Position {
	p := Position{UpdatedMs: ms(r.UpdatedAt)}
	switch sort {
	case SortStudyDate:
		p.Value = r.StudyDate
	case SortIssued:
		p.ValueMs = ms(r.IssuedAt)
	default:
		p.ValueMs = p.UpdatedMs
	}
	return p
}

// conditions builds a WHERE clause; the texts are constants, the values arguments.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) add(sql string, args ...any) {
	c.parts = append(c.parts, sql)
	c.args = append(c.args, args...)
}

func (c *conditions) in(column string, values []string) {
	if len(values) > 0 {
		c.add(column+` IN (`+marks(len(values))+`)`, args(values)...)
	}
}

// among keeps to clinics, where it is not all of them.
func (c *conditions) among(clinics []string) {
	switch {
	case clinics == nil:
	case len(clinics) == 0:
		c.add(`1 = 0`)
	default:
		c.in(`clinic`, clinics)
	}
}

func (c *conditions) any(parts []string, args []any) {
	if len(parts) > 0 {
		c.add(`(`+strings.Join(parts, ` OR `)+`)`, args...)
	}
}

// spans adds spans of a column; negate excludes them.
func (c *conditions) spans(column string, from, to any, hasFrom, hasTo, negate bool) {
	var parts []string
	var values []any
	if hasFrom {
		parts, values = append(parts, column+` >= ?`), append(values, from)
	}
	if hasTo {
		parts, values = append(parts, column+` < ?`), append(values, to)
	}
	if len(parts) == 0 {
		return
	}
	clause := `(` + strings.Join(parts, ` AND `) + `)`
	if negate {
		clause = `NOT ` + clause
	}
	c.add(clause, values...)
}

func (c *conditions) times(column string, spans []Span, negate bool) {
	for _, s := range spans {
		c.spans(column, ms(s.From), ms(s.To), !s.From.IsZero(), !s.To.IsZero(), negate)
	}
}

// days adds spans of a column of dates, which is empty where none is known.
func (c *conditions) days(column string, spans []TextSpan, negate bool) {
	for _, s := range spans {
		c.add(column + ` <> ''`)
		c.spans(column, s.From, s.To, s.From != "", s.To != "", negate)
	}
}

func (c *conditions) where() string { return strings.Join(c.parts, ` AND `) }

func (q ReportQuery) conditions() conditions {
	var c conditions
	if q.Snapshot.IsZero() {
		c.add(`superseded_ms = ?`, forever)
	} else {
		c.add(`updated_ms <= ? AND superseded_ms > ?`, ms(q.Snapshot), ms(q.Snapshot))
	}
	c.in(`report_id`, q.ReportIDs)
	c.in(`study_uid`, q.StudyUIDs)
	c.in(`accession`, q.Accessions)
	c.in(`status`, q.Statuses)
	c.in(`COALESCE(NULLIF(fhir_status, ''), status)`, q.FHIRStatuses)
	var parts []string
	var values []any
	for _, key := range q.PatientKeys {
		parts, values = append(parts, `(patient_key >= ? AND patient_key < ?)`), append(values, key, after(key))
	}
	c.any(parts, values)
	parts, values = nil, nil
	for _, id := range q.Identifiers {
		part := `(patient_id = ?`
		values = append(values, id.ID)
		if id.Issuer != nil {
			part, values = part+` AND patient_issuer = ?`, append(values, *id.Issuer)
		}
		if id.Clinic != "" {
			part, values = part+` AND clinic = ?`, append(values, id.Clinic)
		}
		parts = append(parts, part+`)`)
	}
	c.any(parts, values)
	c.days(`study_date`, q.StudyDates, false)
	c.days(`study_date`, q.NotStudyDates, true)
	c.times(`issued_ms`, q.Issued, false)
	c.times(`issued_ms`, q.NotIssued, true)
	c.times(`updated_ms`, q.Updated, false)
	c.times(`updated_ms`, q.NotUpdated, true)
	return c
}

// FindReports returns the reports that the query selects, in its order.
func (s *SQL) FindReports(ctx context.Context, q ReportQuery) ([]Report, error) {
	text, args := q.page(reportColumns, q.Limit)
	rows, err := s.query(ctx, text, args...)
	return collect(rows, err, func(r *sql.Rows) (Report, error) { return scanReport(r) })
}

// CountReports returns how many reports the query selects, whatever its page. It counts no further than q.CountTo: one more than that means that
// there are more.
func (s *SQL) CountReports(ctx context.Context, q ReportQuery) (int, error) {
	q.After = nil
	return s.count(ctx, `reports`, q.Clinics, q.conditions(), q.CountTo, func() (string, []any) { return q.page("", q.CountTo+1) })
}

// count counts the rows of a table that meet conditions and are of clinics (nil: all), or else those of a page that is one longer than limit.
func (s *SQL) count(ctx context.Context, table string, clinics []string, c conditions, limit int, page func() (string, []any)) (int, error) {
	c.among(clinics)
	text, args := `SELECT COUNT(*) FROM `+table+` WHERE `+c.where(), c.args
	if limit > 0 {
		text, args = page()
		text = `SELECT COUNT(*) FROM (` + text + `) AS found`
	}
	var n int
	err := s.queryRow(ctx, text, args...).Scan(&n)
	return n, unavailable(err)
}

// page is the statement for the first rows of a query behind its After. columns "": those of its order.
func (q ReportQuery) page(columns string, limit int) (string, []any) {
	column := map[SortBy]string{SortIssued: `issued_ms`, SortStudyDate: `study_date`}[q.Sort]
	order := []string{column, `updated_ms`}
	if column == "" {
		order = order[1:]
	}
	compare, direction := `>`, ` ASC`
	if q.Descending {
		compare, direction = `<`, ` DESC`
	}
	c := q.conditions()
	if q.After != nil {
		switch {
		case column == "":
			c.add(`updated_ms `+compare+` ?`, q.After.UpdatedMs)
		case q.Sort == SortStudyDate:
			c.add(`(study_date, updated_ms) `+compare+` (?, ?)`, q.After.Value, q.After.UpdatedMs)
		default:
			c.add(`(`+column+`, updated_ms) `+compare+` (?, ?)`, q.After.ValueMs, q.After.UpdatedMs)
		}
	}
	if columns == "" {
		columns = strings.Join(order, `, `)
	}
	return pageOf(`reports`, columns, q.Clinics, c, strings.Join(order, direction+`, `)+direction, limit)
}

// branchClinics is how many clinics are searched one by one; more are searched together, which reads more rows than it finds.
const branchClinics = 32

// pageOf is the statement for the first rows of a table that meet conditions and are of clinics (nil: all). The rows of one clinic lie in their
// order in an index, those of several together do not: so the first rows of each are taken, and the first ones of those.
func pageOf(table, columns string, clinics []string, c conditions, order string, limit int) (string, []any) {
	first := func(c conditions, clinics []string) (string, []any) {
		c = conditions{parts: slices.Clone(c.parts), args: slices.Clone(c.args)}
		c.among(clinics)
		return fmt.Sprintf(`SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT ?`, columns, table, c.where(), order), append(c.args, limit)
	}
	if each := slices.Compact(slices.Sorted(slices.Values(clinics))); len(each) > 1 && len(each) <= branchClinics {
		var branches []string
		var args []any
		for n, clinic := range each {
			branch, values := first(c, []string{clinic})
			branches = append(branches, fmt.Sprintf(`SELECT * FROM (%s) AS clinic%d`, branch, n))
			args = append(args, values...)
		}
		return `SELECT * FROM (` + strings.Join(branches, ` UNION ALL `) + `) AS clinics ORDER BY ` + order + ` LIMIT ?`, append(args, limit)
	}
	return first(c, clinics)
}

// PatientQuery selects patients.
type PatientQuery struct {
	Keys        []string // whole keys or their first digits
	Identifiers []Identifier
	Clinics     []string // nil: all; a list that is empty selects nothing
	Search      string   // part of the name or ID, folded
	// ImageStatuses selects patients who have an image of one of these statuses in a report.
	ImageStatuses []string
	// BirthDates and Sexes select by what is known of them; who has no birth date has none of BirthDates.
	BirthDates, NotBirthDates []TextSpan
	Sexes                     []string
	Updated, NotUpdated       []Span
	// Changed orders by the last update, newest first; else by name.
	Changed bool
	Offset  int
	Limit   int
	// ByKey orders by key instead and continues behind AfterKey: such pages stay right while patients are added.
	ByKey    bool
	AfterKey string
	// ByUpdate orders by the last update instead, the oldest first, and continues behind AfterUpdate: such pages miss nobody, since who
	// is changed meanwhile moves to their end.
	ByUpdate    bool
	AfterUpdate time.Time
	// CountTo is how far FindPatients counts; 0: to the end, which reads all that is selected. Of more than that whom Search finds, that many are
	// ordered by name: who searches so says more of the name.
	CountTo int
}

func (q PatientQuery) conditions() conditions {
	var c conditions
	c.add(`1 = 1`)
	var parts []string
	var values []any
	for _, key := range q.Keys {
		parts, values = append(parts, `(patient_key >= ? AND patient_key < ?)`), append(values, key, after(key))
	}
	c.any(parts, values)
	parts, values = nil, nil
	for _, id := range q.Identifiers {
		part := `(patient_id = ?`
		values = append(values, id.ID)
		if id.Issuer != nil {
			part, values = part+` AND issuer = ?`, append(values, *id.Issuer)
		}
		if id.Clinic != "" {
			part, values = part+` AND clinic = ?`, append(values, id.Clinic)
		}
		parts = append(parts, part+`)`)
	}
	c.any(parts, values)
	if len(q.ImageStatuses) > 0 {
		c.add(`patient_key IN (SELECT patient_key FROM images WHERE settled > 0 AND status IN (`+marks(len(q.ImageStatuses))+`))`, args(q.ImageStatuses)...)
	}
	c.days(`birth_date`, q.BirthDates, false)
	c.days(`birth_date`, q.NotBirthDates, true)
	c.in(`sex`, q.Sexes)
	c.times(`updated_ms`, q.Updated, false)
	c.times(`updated_ms`, q.NotUpdated, true)
	// Every word must occur; the order of family and given name differs between people.
	for _, word := range strings.Fields(Fold(q.Search)) {
		c.add(`search LIKE ? ESCAPE '!'`, `%`+strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(word)+`%`)
	}
	return c
}

// FindPatients returns the patients that the query selects, and how many there are in all. It counts no further than q.CountTo: one more than that
// means that there are more.
func (s *SQL) FindPatients(ctx context.Context, q PatientQuery) ([]Patient, int, error) {
	c := q.conditions()
	columns, order := `search, patient_key`, `page.search, page.patient_key`
	switch {
	case q.ByKey:
		columns, order = `patient_key`, `page.patient_key`
	case q.ByUpdate:
		columns, order = `updated_ms, patient_key`, `page.updated_ms, page.patient_key`
	case q.Changed:
		columns, order = `updated_ms, patient_key`, `page.updated_ms DESC, page.patient_key`
	}
	// Whom a part of a name finds are no beginning of an index; in the order of keys they are found quickly.
	inner, most := strings.ReplaceAll(order, `page.`, ``), q.Offset+q.Limit
	if q.Search != "" && q.CountTo > 0 && !q.ByKey && !q.ByUpdate {
		inner, most = `patient_key`, q.CountTo
	}
	page := func(c conditions, limit int) (string, []any) {
		if q.Search == "" {
			return pageOf(`patients`, columns, q.Clinics, c, inner, limit)
		}
		// To find a part of a name once for all clinics is less work than for each.
		c = conditions{parts: slices.Clone(c.parts), args: slices.Clone(c.args)}
		c.among(q.Clinics)
		return pageOf(`patients`, columns, nil, c, inner, limit)
	}
	total, err := s.count(ctx, `patients`, q.Clinics, c, q.CountTo, func() (string, []any) {
		return page(c, q.CountTo+1)
	})
	if err != nil {
		return nil, 0, err
	}
	if q.ByKey {
		c.add(`patient_key > ?`, q.AfterKey)
	}
	if q.ByUpdate {
		c.add(`updated_ms > ?`, ms(q.AfterUpdate))
	}
	// The index alone tells which rows they are; only those that are shown are read.
	text, args := page(c, most)
	rows, err := s.query(ctx, `SELECT p.patient_key, p.clinic, p.patient_id, p.issuer, p.name, p.birth_date, p.sex, p.updated_ms
		FROM (SELECT * FROM (`+text+`) AS found ORDER BY `+strings.ReplaceAll(order, `page.`, ``)+` LIMIT ? OFFSET ?) AS page
		JOIN patients p ON p.patient_key = page.patient_key ORDER BY `+order, append(args, q.Limit, q.Offset)...)
	patients, err := collect(rows, err, func(r *sql.Rows) (p Patient, err error) {
		var updated int64
		err = r.Scan(&p.Key, &p.Clinic, &p.ID, &p.Issuer, &p.Name, &p.BirthDate, &p.Sex, &updated)
		p.UpdatedAt = fromMs(updated)
		return p, err
	})
	return patients, total, err
}
