package store

import (
	"context"
	"database/sql"
	"fmt"
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
	c.among(q.Clinics)
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
	column := map[SortBy]string{SortIssued: `issued_ms`, SortStudyDate: `study_date`}[q.Sort]
	if column == "" {
		column = `updated_ms`
	}
	compare, order := `>`, `ASC`
	if q.Descending {
		compare, order = `<`, `DESC`
	}
	c := q.conditions()
	if q.After != nil {
		var value any = q.After.ValueMs
		if q.Sort == SortStudyDate {
			value = q.After.Value
		}
		c.add(fmt.Sprintf(`(%[1]s %[2]s ? OR (%[1]s = ? AND updated_ms %[2]s ?))`, column, compare), value, value, q.After.UpdatedMs)
	}
	rows, err := s.query(ctx, fmt.Sprintf(`SELECT %s FROM reports WHERE %s ORDER BY %s %s, updated_ms %s LIMIT ?`,
		reportColumns, c.where(), column, order, order), append(c.args, q.Limit)...)
	return collect(rows, err, func(r *sql.Rows) (Report, error) { return scanReport(r) })
}

// CountReports returns how many reports the query selects, whatever its page.
func (s *SQL) CountReports(ctx context.Context, q ReportQuery) (int, error) {
	c := q.conditions()
	var n int
	err := s.queryRow(ctx, `SELECT COUNT(*) FROM reports WHERE `+c.where(), c.args...).Scan(&n)
	return n, unavailable(err)
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
}

func (q PatientQuery) conditions() conditions {
	var c conditions
	c.add(`1 = 1`)
	c.among(q.Clinics)
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

// FindPatients returns the patients that the query selects, and how many there are in all.
func (s *SQL) FindPatients(ctx context.Context, q PatientQuery) ([]Patient, int, error) {
	c := q.conditions()
	var total int
	if err := s.queryRow(ctx, `SELECT COUNT(*) FROM patients WHERE `+c.where(), c.args...).Scan(&total); err != nil {
		return nil, 0, unavailable(err)
	}
	order := `search, patient_key`
	if q.Changed {
		order = `updated_ms DESC, patient_key`
	}
	if q.ByKey {
		order = `patient_key`
		c.add(`patient_key > ?`, q.AfterKey)
	}
	if q.ByUpdate {
		order = `updated_ms`
		c.add(`updated_ms > ?`, ms(q.AfterUpdate))
	}
	rows, err := s.query(ctx, `SELECT patient_key, clinic, patient_id, issuer, name, birth_date, sex, updated_ms FROM patients
		WHERE `+c.where()+` ORDER BY `+order+` LIMIT ? OFFSET ?`, append(c.args, q.Limit, q.Offset)...)
	patients, err := collect(rows, err, func(r *sql.Rows) (p Patient, err error) {
		var updated int64
		err = r.Scan(&p.Key, &p.Clinic, &p.ID, &p.Issuer, &p.Name, &p.BirthDate, &p.Sex, &updated)
		p.UpdatedAt = fromMs(updated)
		return p, err
	})
	return patients, total, err
}
