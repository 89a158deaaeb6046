package store

import (
	"context"
	"database/sql"

	"github.com/noctua-screening/noctua/pkg/quarantine"
)

// RejectedQuery selects files in quarantine. Fields that are empty select everything; fields hold alternatives, except for spans, which
// must all hold.
type RejectedQuery struct {
	DocumentKeys []string
	Sha256       []string // whole hashes or their first digits
	Clinics      []string // nil: all; a list that is empty selects nothing
	States       []quarantine.State
	Codes        []string // of the last attempt to let the file in
	Received     []Span
	NotReceived  []Span

	// Descending gives the newest first. Files that came at the same moment are ordered by their keys.
	Descending bool
	// After continues behind the last file of the page before. Nothing ever moves in this order.
	After *RejectedPosition
	// ByDecision orders by the last decision instead, and selects files about which there is one.
	ByDecision bool
	Offset     int // for lists that people turn the pages of
	Limit      int
}

// RejectedPosition is a place in the order of a search by the moment of receipt.
type RejectedPosition struct {
	ReceivedMs  int64
	DocumentKey string
}

// RejectedPositionOf is where a file stands.
func RejectedPositionOf(r Rejected) RejectedPosition {
	return RejectedPosition{ReceivedMs: ms(r.Document.ReceivedAt), DocumentKey: r.DocumentKey}
}

func (q RejectedQuery) conditions() conditions {
	var c conditions
	c.add(`1 = 1`)
	c.among(q.Clinics)
	c.in(`document_key`, q.DocumentKeys)
	c.in(`code`, q.Codes)
	states := make([]string, len(q.States))
	for n, state := range q.States {
		states[n] = string(state)
	}
	c.in(`state`, states)
	var parts []string
	var values []any
	for _, sha := range q.Sha256 {
		parts, values = append(parts, `(sha256 >= ? AND sha256 < ?)`), append(values, sha, after(sha))
	}
	c.any(parts, values)
	c.times(`received_ms`, q.Received, false)
	c.times(`received_ms`, q.NotReceived, true)
	if q.ByDecision {
		c.add(`decided_ms > 0`)
	}
	return c
}

// behind are the conditions of what comes behind After.
func (q RejectedQuery) behind() conditions {
	c := q.conditions()
	if q.After != nil {
		compare := `>`
		if q.Descending {
			compare = `<`
		}
		c.add(`(received_ms, document_key) `+compare+` (?, ?)`, q.After.ReceivedMs, q.After.DocumentKey)
	}
	return c
}

// SearchRejected returns the files in quarantine that the query selects, in its order.
func (s *SQL) SearchRejected(ctx context.Context, q RejectedQuery) ([]Rejected, error) {
	order := `ASC`
	if q.Descending {
		order = `DESC`
	}
	c, column := q.behind(), `received_ms`
	if q.ByDecision {
		column = `decided_ms`
	}
	rows, err := s.query(ctx, `SELECT `+rejectedColumns+` FROM rejected WHERE `+c.where()+` ORDER BY `+column+` `+order+`, document_key `+order+` LIMIT ? OFFSET ?`, append(c.args, q.Limit, q.Offset)...)
	return collect(rows, err, scanRejected)
}

// CountRejected returns how many files the query selects, whatever its page.
func (s *SQL) CountRejected(ctx context.Context, q RejectedQuery) (int, error) {
	q.After = nil
	return s.CountRejectedBehind(ctx, q)
}

// CountRejectedBehind returns how many files the query selects behind its After.
func (s *SQL) CountRejectedBehind(ctx context.Context, q RejectedQuery) (int, error) {
	c := q.behind()
	var n int
	err := s.queryRow(ctx, `SELECT COUNT(*) FROM rejected WHERE `+c.where(), c.args...).Scan(&n)
	return n, unavailable(err)
}

// RejectedGroup is how many files of a clinic are in quarantine for one reason.
type RejectedGroup struct {
	Code, Clinic string
	Count        int
}

// GroupRejected counts the files that the query selects, whatever its page, by reason and clinic, ordered by these.
func (s *SQL) GroupRejected(ctx context.Context, q RejectedQuery) ([]RejectedGroup, error) {
	c := q.conditions()
	rows, err := s.query(ctx, `SELECT code, clinic, COUNT(*) FROM rejected WHERE `+c.where()+` GROUP BY code, clinic ORDER BY code, clinic`, c.args...)
	return collect(rows, err, func(r *sql.Rows) (g RejectedGroup, err error) {
		err = r.Scan(&g.Code, &g.Clinic, &g.Count)
		return g, err
	})
}
