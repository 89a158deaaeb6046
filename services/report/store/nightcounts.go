package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// ClinicCounts are the numbers of a clinic in a span of time.
type ClinicCounts struct {
	Clinic string
	Counts
	// FirstAt and LastAt are when the first and the last file came, FinishedAt when the last image was first reported with its outcome; zero: none.
	FirstAt, LastAt, FinishedAt time.Time
	// WaitingSince is when the oldest image that is pending came; zero: none is.
	WaitingSince time.Time
}

// settledStates are all values of images.settled: with them a span of receipt goes by the index on both.
const settledStates = `settled IN (0, 1, 2)`

// CountClinics returns what Count counts, clinic by clinic in the order of their names, of what came in a span. Where the span has no end, what is pending or being
// released counts whenever it came, and reports are those of which the newest version was issued in it, as in Count. Where it has one, it is a night that is over:
// all of that counts by when it came, and reports are those that were first issued in it.
func (s *SQL) CountClinics(ctx context.Context, clinics []string, in Span) ([]ClinicCounts, error) {
	open := in.To.IsZero()
	found := map[string]*ClinicCounts{}
	of := func(clinic string) *ClinicCounts {
		if found[clinic] == nil {
			found[clinic] = &ClinicCounts{Clinic: clinic}
		}
		return found[clinic]
	}
	group := func(what, from string, c conditions, by string, scan func(*sql.Rows) error) error {
		c.among(clinics)
		rows, err := s.query(ctx, `SELECT `+what+` FROM `+from+` WHERE `+c.where()+` GROUP BY `+by, c.args...)
		_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) { return struct{}{}, scan(r) })
		return err
	}
	images := func(settled string, spans ...Span) error {
		var c conditions
		c.add(settled)
		c.times(`received_ms`, spans, false)
		return group(`clinic, settled, status, COUNT(*), MIN(received_ms), MAX(received_ms), MAX(reported_ms)`, `images`, c, `clinic, settled, status`, func(r *sql.Rows) error {
			var clinic, status string
			var state, n int
			var first, last, reported int64
			if err := r.Scan(&clinic, &state, &status, &n, &first, &last, &reported); err != nil {
				return err
			}
			x := of(clinic)
			came := Span{fromMs(first), fromMs(last)}
			switch state {
			case 0:
				x.Pending += n
				x.WaitingSince = earliest(x.WaitingSince, came.From)
				if open && came.To.Before(in.From) {
					return nil // it came before the span
				}
				if open && came.From.Before(in.From) {
					came.From = time.Time{} // which of them was the first of the span is not known
				}
			case 1:
				x.Done += n
				switch record.ImageStatus(status) {
				case record.ImageUngradable:
					x.Ungradable += n
				case record.ImageNotAnalysed:
					x.NotAnalysed += n
				default:
				}
			default:
				x.Failed += n
			}
			x.FirstAt, x.LastAt, x.FinishedAt = earliest(x.FirstAt, came.From), later(x.LastAt, came.To), later(x.FinishedAt, fromMs(reported))
			return nil
		})
	}
	var err error
	if open {
		if err = images(`settled IN (1, 2)`, in); err == nil {
			err = images(`settled = 0`)
		}
	} else {
		err = images(settledStates, in)
	}
	if err != nil {
		return nil, err
	}
	came := func() conditions {
		var c conditions
		c.times(`received_ms`, []Span{in}, false)
		return c
	}
	if err := group(`clinic, COUNT(*), MIN(received_ms), MAX(received_ms)`, `duplicates`, came(), `clinic`, func(r *sql.Rows) error {
		var clinic string
		var n int
		var first, last int64
		if err := r.Scan(&clinic, &n, &first, &last); err != nil {
			return err
		}
		x := of(clinic)
		x.Duplicate += n
		x.FirstAt, x.LastAt = earliest(x.FirstAt, fromMs(first)), later(x.LastAt, fromMs(last))
		return nil
	}); err != nil {
		return nil, err
	}
	rejected := func(c conditions) error {
		return group(`clinic, state, COUNT(*), MIN(received_ms), MAX(received_ms)`, `rejected`, c, `clinic, state`, func(r *sql.Rows) error {
			var clinic, state string
			var n int
			var first, last int64
			if err := r.Scan(&clinic, &state, &n, &first, &last); err != nil {
				return err
			}
			x := of(clinic)
			switch quarantine.State(state) {
			case quarantine.Open:
				x.Quarantined += n
			case quarantine.Releasing:
				x.Releasing += n
			case quarantine.Discarded:
				x.Discarded += n
			case quarantine.Released: // what came of it counts
				x.Released += n
				return nil
			}
			if came := fromMs(first); !came.Before(in.From) {
				x.FirstAt = earliest(x.FirstAt, came)
			}
			if came := fromMs(last); !came.Before(in.From) {
				x.LastAt = later(x.LastAt, came)
			}
			return nil
		})
	}
	c := came()
	if open {
		c.add(`state <> ?`, string(quarantine.Releasing))
	}
	if err := rejected(c); err != nil {
		return nil, err
	}
	if open {
		var c conditions
		c.add(`state = ?`, string(quarantine.Releasing))
		if err := rejected(c); err != nil {
			return nil, err
		}
	}
	var issued conditions
	if open {
		issued.add(`superseded_ms = ?`, forever)
	} else {
		issued.add(`version = 1`)
	}
	issued.times(`issued_ms`, []Span{in}, false)
	if err := group(`clinic, COUNT(*), COUNT(DISTINCT patient_key)`, `reports`, issued, `clinic`, func(r *sql.Rows) error {
		var clinic string
		var reports, patients int
		if err := r.Scan(&clinic, &reports, &patients); err != nil {
			return err
		}
		x := of(clinic)
		x.Reports, x.Patients = reports, patients
		return nil
	}); err != nil {
		return nil, err
	}
	all := make([]ClinicCounts, 0, len(found))
	for _, x := range found {
		all = append(all, *x)
	}
	slices.SortFunc(all, func(a, b ClinicCounts) int { return cmp.Compare(a.Clinic, b.Clinic) })
	return all, nil
}

// earliest is the earlier one of two moments that are not zero; zero if both are.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Pulse is what came and what was dealt with in a step of time.
type Pulse struct {
	Received int // images, duplicates and files that went into quarantine
	Dealt    int // images that were first reported with their outcome, and of the others those that came: they are dealt with as they come
}

// Course returns the pulses of clinics (nil: all) in a span, step by step from its beginning on. The span needs both ends.
func (s *SQL) Course(ctx context.Context, clinics []string, in Span, step time.Duration) ([]Pulse, error) {
	steps := int((in.To.Sub(in.From) + step - 1) / step)
	course := make([]Pulse, max(0, steps))
	for _, part := range []struct {
		table, column, where string
		received, dealt      bool
	}{
		{`images`, `received_ms`, settledStates, true, false},
		{`images`, `reported_ms`, `settled > 0`, false, true},
		{`duplicates`, `received_ms`, `1 = 1`, true, true},
		{`rejected`, `received_ms`, `state <> 'released'`, true, true},
	} {
		var c conditions
		c.add(part.where)
		c.times(part.column, []Span{in}, false)
		c.among(clinics)
		rows, err := s.query(ctx, `SELECT (`+part.column+` - ?) / ? AS pulse, COUNT(*) FROM `+part.table+` WHERE `+c.where()+` GROUP BY pulse`,
			append([]any{ms(in.From), step.Milliseconds()}, c.args...)...)
		_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
			var at, n int
			if err := r.Scan(&at, &n); err != nil {
				return struct{}{}, err
			}
			if at >= 0 && at < len(course) {
				if part.received {
					course[at].Received += n
				}
				if part.dealt {
					course[at].Dealt += n
				}
			}
			return struct{}{}, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return course, nil
}

// Reason counts the files in quarantine for one reason.
type Reason struct {
	Code string
	Came int // in the span that was asked for, whatever became of them
	Open int // still needs a person
	// Example is the newest of them.
	Example Rejected
}

// Reasons returns why files of clinics (nil: all) are in quarantine, the most frequent first: of all that are open whenever they came, and with ended of those that
// came in the span, open or not.
func (s *SQL) Reasons(ctx context.Context, clinics []string, in Span, ended bool, limit int) ([]Reason, error) {
	var c conditions
	if ended {
		c.times(`received_ms`, []Span{in}, false)
	} else {
		c.add(`state = 'open'`)
	}
	c.among(clinics)
	rows, err := s.query(ctx, `SELECT code, SUM(CASE WHEN received_ms >= ? THEN 1 ELSE 0 END), SUM(CASE WHEN state = 'open' THEN 1 ELSE 0 END)
		FROM rejected WHERE `+c.where()+` GROUP BY code ORDER BY COUNT(*) DESC, code LIMIT ?`, append(append([]any{ms(in.From)}, c.args...), limit)...)
	all, err := collect(rows, err, func(r *sql.Rows) (x Reason, err error) {
		err = r.Scan(&x.Code, &x.Came, &x.Open)
		return x, err
	})
	if err != nil {
		return nil, err
	}
	for n := range all {
		q := RejectedQuery{Codes: []string{all[n].Code}, Clinics: clinics, Descending: true, Limit: 1}
		if ended {
			q.Received = []Span{in}
		} else {
			q.States = []quarantine.State{quarantine.Open}
		}
		examples, err := s.SearchRejected(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(examples) > 0 { // it may have been decided about meanwhile
			all[n].Example = examples[0]
		}
	}
	return all, nil
}

// ReportsWith returns the ids of the reports of clinics (nil: all) that have images of a status among those that came in a span, the latest image first.
func (s *SQL) ReportsWith(ctx context.Context, clinics []string, statuses []record.ImageStatus, in Span, limit int) ([]string, error) {
	var c conditions
	c.add(`settled IN (1, 2)`)
	names := make([]string, len(statuses))
	for n, status := range statuses {
		names[n] = string(status)
	}
	c.in(`status`, names)
	c.times(`received_ms`, []Span{in}, false)
	c.among(clinics)
	rows, err := s.query(ctx, `SELECT report_id, MAX(received_ms) AS last FROM images WHERE `+c.where()+` GROUP BY report_id ORDER BY last DESC, report_id LIMIT ?`, append(c.args, limit)...)
	return collect(rows, err, func(r *sql.Rows) (id string, err error) {
		var last int64
		err = r.Scan(&id, &last)
		return id, err
	})
}

// Incomplete returns the ids of the reports of studies of which announced images did not come, the last deadline first, and how many there are: those of clinics
// (nil: all) whose deadline is in a span.
func (s *SQL) Incomplete(ctx context.Context, clinics []string, deadline Span, limit int) (ids []string, total int, err error) {
	var c conditions
	c.add(`missing > 0`) // as it stands in the index
	c.times(`await_ms`, []Span{deadline}, false)
	c.among(clinics)
	if err := s.queryRow(ctx, `SELECT COUNT(*) FROM studies WHERE `+c.where(), c.args...).Scan(&total); err != nil {
		return nil, 0, unavailable(err)
	}
	rows, err := s.query(ctx, `SELECT report_id FROM studies WHERE `+c.where()+` ORDER BY await_ms DESC, report_id LIMIT ?`, append(c.args, limit)...)
	ids, err = collect(rows, err, func(r *sql.Rows) (id string, err error) { err = r.Scan(&id); return id, err })
	return ids, total, err
}

// Unheard counts the studies that manifests of clinics (nil: all) announced in a span and of which nothing came at all, by clinic.
func (s *SQL) Unheard(ctx context.Context, clinics []string, announced Span) (map[string]int, error) {
	var c conditions
	c.times(`received_ms`, []Span{announced}, false)
	c.among(clinics)
	rows, err := s.query(ctx, `SELECT x.clinic, COUNT(DISTINCT x.study_uid) FROM (SELECT clinic, study_uid, document_key FROM expectations WHERE `+c.where()+`) AS x
		WHERE NOT EXISTS (SELECT 1 FROM studies s WHERE s.study_uid = x.study_uid AND s.clinic = x.clinic)
		AND NOT EXISTS (SELECT 1 FROM rejected r WHERE r.study_uid = x.study_uid AND r.clinic = x.clinic)
		AND NOT EXISTS (SELECT 1 FROM expected e JOIN rejected r ON r.sha256 = e.sha256 WHERE e.document_key = x.document_key AND e.sha256 <> '' AND r.clinic = x.clinic)
		GROUP BY x.clinic`, c.args...)
	found := map[string]int{}
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var clinic string
		var n int
		err := r.Scan(&clinic, &n)
		found[clinic] = n
		return struct{}{}, err
	})
	return found, err
}

// LastBefore returns when the last file of clinics (nil: all) before a moment came, and FirstAfter when the first one at it or after it did; zero: none.
func (s *SQL) LastBefore(ctx context.Context, clinics []string, at time.Time) (time.Time, error) {
	return s.nearest(ctx, clinics, `MAX(received_ms)`, Span{To: at}, later)
}

// FirstAfter is described with LastBefore.
func (s *SQL) FirstAfter(ctx context.Context, clinics []string, at time.Time) (time.Time, error) {
	return s.nearest(ctx, clinics, `MIN(received_ms)`, Span{From: at}, earliest)
}

func (s *SQL) nearest(ctx context.Context, clinics []string, what string, in Span, choose func(a, b time.Time) time.Time) (found time.Time, err error) {
	// One end of an index each: of each state of an image, of duplicates and of quarantine.
	for _, part := range []struct{ table, where string }{
		{`images`, `settled = 0`}, {`images`, `settled = 1`}, {`images`, `settled = 2`}, {`duplicates`, `1 = 1`}, {`rejected`, `1 = 1`},
	} {
		var c conditions
		c.add(part.where)
		c.times(`received_ms`, []Span{in}, false)
		c.among(clinics)
		var at sql.NullInt64
		if err := s.queryRow(ctx, `SELECT `+what+` FROM `+part.table+` WHERE `+c.where(), c.args...).Scan(&at); err != nil {
			return time.Time{}, unavailable(err)
		}
		if at.Valid {
			found = choose(found, fromMs(at.Int64))
		}
	}
	return found, nil
}
