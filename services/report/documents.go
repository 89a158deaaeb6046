package report

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// rawDocument returns report.json: from the index while newest, else from the bucket.
func (s *Service) rawDocument(ctx context.Context, r store.Report) ([]byte, error) {
	if r.Document != nil {
		return r.Document, nil
	}
	return s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Reports, r.DocumentKey, documentLimit)
}

func (s *Service) documentOf(ctx context.Context, r store.Report) (*record.Report, error) {
	raw, err := s.rawDocument(ctx, r)
	if err != nil {
		return nil, err
	}
	return record.Decode[record.Report](record.ReportSchema, raw)
}

// cursor is a place in a search and the moment that the search is frozen at. Readers see it as an opaque text.
type cursor struct {
	SnapshotMs int64          `json:"s"`
	Position   store.Position `json:"p"`
	Skip       int            `json:"k,omitempty"` // observations of the report at Position that were given already
}

func encodeCursor(q store.ReportQuery, last store.Report) string {
	return cursor{SnapshotMs: q.Snapshot.UnixMilli(), Position: store.PositionOf(last, q.Sort)}.encode()
}

func (c cursor) encode() string {
	raw, err := json.Marshal(c)
	if err != nil {
		return "" // numbers and a text always encode
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func decodeCursor(text string) (cursor, error) {
	var c cursor
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil || c.SnapshotMs <= 0 || c.Skip < 0 {
		return c, fault.New(fault.Invalid, "cursor-invalid", "the cursor was not made by this service; begin again with the first page")
	}
	return c, nil
}

// place is a position in a list that is not frozen. Readers see it as an opaque text.
type place struct {
	Ms  int64  `json:"m,omitempty"`
	Key string `json:"k"`
}

func (p place) encode() string {
	raw, err := json.Marshal(p)
	if err != nil {
		return "" // a number and a text always encode
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func decodePlace(text string) (place, error) {
	var p place
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil || p.Key == "" || p.Ms < 0 {
		return p, fault.New(fault.Invalid, "cursor-invalid", "the cursor was not made by this service; begin again with the first page")
	}
	return p, nil
}

// timeOfMs is a moment in milliseconds since 1970; 0 is none.
func timeOfMs(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// resume freezes a search at its first page, or goes on where a cursor says. Frozen, it neither skips nor repeats a report
// while others are being issued.
func (s *Service) resume(r *http.Request, q *store.ReportQuery, text string) error {
	if text == "" {
		if !s.isReady() {
			// Reports come in any order: who went by the last one that is there would miss others.
			return rebuildingFault()
		}
		last, err := s.deps.Store.LastUpdate(r.Context())
		if err != nil {
			return err
		}
		if last.IsZero() {
			last = time.UnixMilli(1)
		}
		q.Snapshot = last
		return nil
	}
	c, err := decodeCursor(text)
	if err != nil {
		return err
	}
	q.Snapshot, q.After = time.UnixMilli(c.SnapshotMs), &c.Position
	return nil
}
