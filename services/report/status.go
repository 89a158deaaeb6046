package report

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// paceWindow is what the rate looks back over.
const paceWindow = time.Minute

// tally is the status with what the page shows beside it.
type tally struct {
	record.Status
	Ungradable, NotAnalysed int
	Inbox                   int
	// Waiting is what of Inbox lies in the folder of each clinic; "": of no clinic, or of too many.
	Waiting map[string]waiting
	// Unplaced is what of Pending nobody knows the clinic of yet.
	Unplaced int
}

// waiting is what lies in the inbox, and since when the oldest of it does; zero: there is nothing, or the store does not say.
type waiting struct {
	n     int
	since time.Time
}

// maxWaiting bounds memory: of more clinics than this the rest is counted together.
const maxWaiting = 2000

// wait counts an object of the inbox.
func (t *tally) wait(info blob.Info) {
	clinic, _, ok := strings.Cut(info.Key, "/")
	if _, known := t.Waiting[clinic]; !ok || !known && len(t.Waiting) >= maxWaiting {
		clinic = ""
	}
	w := t.Waiting[clinic]
	if w.n == 0 || !info.LastModified.IsZero() && info.LastModified.Before(w.since) {
		w.since = info.LastModified
	}
	w.n++
	t.Waiting[clinic] = w
	t.Inbox++
}

// Status counts images. Numbers of what is finished are of what came since a moment (zero: ever); what is pending counts
// whenever it came. Pending is zero only if nothing was under way at some moment during the call.
func (s *Service) Status(ctx context.Context, since time.Time) (record.Status, error) {
	t, err := s.tally(ctx, access.AllClinics(), since)
	return t.Status, err
}

func rebuildingFault() error {
	return fault.New(fault.Transient, "index-rebuilding", "the report index is being rebuilt from the buckets; try again in a few seconds")
}

// tally is Status for clinics.
func (s *Service) tally(ctx context.Context, clinics access.Clinics, since time.Time) (tally, error) {
	if !s.isReady() {
		return tally{}, rebuildingFault()
	}
	t, err := s.countOnce(ctx, clinics, since)
	if err == nil && t.Pending == 0 {
		// A consumer's lag is counted by the stream a moment after the message is stored. What was in that moment is found by
		// looking again.
		t, err = s.countOnce(ctx, clinics, since)
	}
	if err != nil || !clinics.All() { // archives and receivers are the whole site's
		return t, err
	}
	t.Exports, err = s.partnerStatus(ctx)
	return t, err
}

// countOnce reads upstream first: inbox, stream, index. What moves on meanwhile is seen twice rather than not at all: an object
// leaves the inbox after its event is stored, and an event is acknowledged after it is in the index.
func (s *Service) countOnce(ctx context.Context, clinics access.Clinics, since time.Time) (tally, error) {
	t := tally{Waiting: map[string]waiting{}}
	if s.deps.Upstream != nil && clinics.All() {
		waiting, err := s.deps.Upstream(ctx)
		if err != nil {
			return t, fmt.Errorf("counting what waits before the inbox: %w", err)
		}
		t.Inbox, t.Unplaced = t.Inbox+waiting, t.Unplaced+waiting
	}
	prefixes := []string{""}
	if !clinics.All() {
		prefixes = nil
		for _, clinic := range clinics.Names() {
			prefixes = append(prefixes, clinic+"/")
		}
	}
	for _, prefix := range prefixes {
		for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Inbox, prefix) {
			if err != nil {
				return t, fmt.Errorf("counting what is in the inbox: %w", err)
			}
			t.wait(info)
		}
	}
	segmentLag, err := s.deps.Queue.Lag(ctx, SegmentConsumer)
	if err != nil {
		return t, fmt.Errorf("counting what waits for the segment service: %w", err)
	}
	reportLag, err := s.deps.Queue.Lag(ctx, Consumer)
	if err != nil {
		return t, fmt.Errorf("counting what waits for the report service: %w", err)
	}
	counts, err := s.deps.Store.Count(ctx, clinics.Names(), since)
	if err != nil {
		return t, err
	}
	all := counts
	if !clinics.All() {
		if all, err = s.deps.Store.Count(ctx, nil, since); err != nil {
			return t, err
		}
	}
	// What waits for segmentation is pending in the index as well, unless the index has not seen it yet. Of that nobody knows the clinic:
	// it counts for each, so that none takes its night for finished that is not.
	unseen := max(reportLag, segmentLag-all.Pending)
	t.Unplaced += max(unseen, 0)
	t.fill(counts, t.Inbox+counts.Pending+unseen+counts.Releasing)
	return t, s.pace(ctx, clinics, &t)
}

func (t *tally) fill(c store.Counts, pending int) {
	t.Pending, t.Done, t.Failed, t.Duplicate, t.Quarantined = pending, c.Done, c.Failed, c.Duplicate, c.Quarantined
	t.Received = t.Pending + t.Done + t.Duplicate + t.Quarantined + t.Failed + c.Discarded
	if c.Discarded > 0 {
		t.Discarded = &c.Discarded
	}
	t.Ungradable, t.NotAnalysed = c.Ungradable, c.NotAnalysed
	t.Reports, t.Patients = &c.Reports, &c.Patients
}

// pace adds rate and time left. The rate is over the last minute, or since its first image if that is less long ago.
func (s *Service) pace(ctx context.Context, clinics access.Clinics, t *tally) error {
	at := s.deps.Clock()
	n, first, err := s.deps.Store.Pace(ctx, clinics.Names(), at.Add(-paceWindow))
	if err != nil {
		return err
	}
	rate := float64(n)
	t.RatePerMin = &rate
	if t.Pending == 0 {
		zero := 0.0
		t.EtaSeconds = &zero
		return nil
	}
	if n > 1 {
		span := at.Sub(first).Seconds()
		eta := float64(t.Pending) * span / float64(n)
		t.EtaSeconds = &eta
	}
	return nil
}
