package store

import (
	"context"

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
	Limit int
}

// RejectedPosition is a place in the order of a search.
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
	return c
}

// SearchRejected returns the files in quarantine that the query selects, in its order.
func (s *SQL) SearchRejected(ctx context.Context, q RejectedQuery) ([]Rejected, error) {
	compare, order := `>`, `ASC`
	if q.Descending {
		compare, order = `<`, `DESC`
	}
	c := q.conditions()
	if q.After != nil {
		c.add(`(received_ms, document_key) `+compare+` (?, ?)`, q.After.ReceivedMs, q.After.DocumentKey)
	}
	rows, err := s.query(ctx, `SELECT `+rejectedColumns+` FROM rejected WHERE `+c.where()+` ORDER BY received_ms `+order+`, document_key `+order+` LIMIT ?`, append(c.args, q.Limit)...)
	return collect(rows, err, scanRejected)
}

// CountRejected returns how many files the query selects, whatever its page.
func (s *SQL) CountRejected(ctx context.Context, q RejectedQuery) (int, error) {
	c := q.conditions()
	var n int
	err := s.queryRow(ctx, `SELECT COUNT(*) FROM rejected WHERE `+c.where(), c.args...).Scan(&n)
	return n, unavailable(err)
}
