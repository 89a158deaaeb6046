package report

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	// issuePoll is the longest that the issuing loop sleeps: another process may have indexed something.
	issuePoll = 2 * time.Second
	// dueBatch studies are looked at before the loop asks again what is due.
	dueBatch = 64
	// retryTransient and retryOther are the pauses before a study that could not be issued is tried again.
	retryTransient = 5 * time.Second
	retryOther     = 5 * time.Minute
	// versionRaces bounds how often a version is made again because another process wrote that number first.
	versionRaces = 16
)

// issueLoop issues what is due. When that is comes from the index, never from memory.
func (s *Service) issueLoop(ctx context.Context) error {
	for {
		n, next, err := s.IssueDue(ctx)
		if err != nil {
			if fault.Interrupted(err) {
				return err
			}
			s.deps.Logger.Warn("the index does not say what is due; trying again", slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
			if err := pause(ctx, issuePoll); err != nil {
				return err
			}
			continue
		}
		if n > 0 {
			continue
		}
		wait := issuePoll
		if !next.IsZero() {
			// The moment is in whole milliseconds; being early by a fraction would spin.
			wait = min(wait, max(next.Sub(s.deps.Clock())+time.Millisecond, time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// IssueDue deals with every study that is due now, and returns how many those were and when the next one will be (zero: none). From an index that
// is not whole nothing is issued: a report could lack images.
func (s *Service) IssueDue(ctx context.Context) (int, time.Time, error) {
	complete, err := s.deps.Store.Complete(ctx)
	if err != nil || !complete {
		return 0, time.Time{}, err
	}
	due, next, err := s.deps.Store.Due(ctx, s.deps.Clock(), dueBatch)
	if err != nil {
		return 0, time.Time{}, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Issuers)
	for _, study := range due {
		group.Go(func() error {
			err := s.issueStudy(ctx, study)
			if err == nil || fault.Interrupted(err) {
				return err
			}
			wait := retryOther
			if fault.Is(err, fault.Transient) {
				wait = retryTransient
			}
			s.deps.Logger.Error("a report could not be issued and will be tried again", slog.String("report_id", study.ReportID),
				slog.Duration("after", wait), slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
			return s.deps.Store.Postpone(ctx, study.ReportID, s.deps.Clock().Add(wait))
		})
	}
	return len(due), next, group.Wait()
}

// issueStudy makes a new version of a study's report if there is something new to say.
func (s *Service) issueStudy(ctx context.Context, study store.Study) error {
	for race := range versionRaces {
		if race > 0 {
			// Another process was faster, and may know more than what was assembled here: a version of that would take it back.
			now, err := s.deps.Store.Study(ctx, study.ReportID)
			if err != nil {
				return err
			}
			study = now.At(s.deps.Clock())
		}
		next, compared, err := s.assembleStudy(ctx, study)
		if err != nil {
			return err
		}
		study.Compared = compared
		prev, err := s.newest(ctx, study.ReportID)
		if err != nil {
			return err
		}
		verdict, status, err := decide(prev, next, study, s.deps.Clock(), s.cfg.QuietPeriod)
		switch {
		case err != nil:
			return err
		case verdict == leave:
			return s.deps.Store.Cover(ctx, study, prev, s.deps.Clock())
		case verdict == hold:
			return s.deps.Store.Cover(ctx, study, nil, s.deps.Clock())
		}
		done := false
		if err := s.deps.Store.Issue(ctx, func(last time.Time) (err error) {
			done, err = s.writeVersion(ctx, study, prev, next, status, s.issueTime(last))
			return err
		}); err != nil || done {
			return err
		}
	}
	return fault.New(fault.Transient, "version-race", "other processes kept issuing versions of this report")
}

// writeVersion writes the version after prev, announces and indexes it, in that order, while no other process does. false: the study was dealt with
// since it was assembled, or that version is there already, written by another process or by this one before it was stopped; it is announced and
// indexed, and the caller looks again.
func (s *Service) writeVersion(ctx context.Context, study store.Study, prev, next *record.Report, status record.ReportStatus, issued time.Time) (bool, error) {
	now, err := s.deps.Store.Study(ctx, study.ReportID)
	if err != nil || now.Covered > study.Covered {
		return false, err
	}
	doc := *next
	doc.Version, doc.Status, doc.IssuedAt, doc.FirstIssuedAt = 1, status, issued, issued
	if prev != nil {
		doc.Version, doc.FirstIssuedAt = prev.Version+1, prev.FirstIssuedAt
	}
	raw, err := record.Encode(record.ReportSchema, doc)
	if err != nil {
		return false, err
	}
	// Beside the versions before, whoever the patient is taken to be by now.
	key, err := blob.ReportKey(study.PatientKey, doc.ReportID, doc.Version)
	if err != nil {
		return false, err
	}
	err = s.deps.Blob.PutBytes(ctx, s.deps.Blob.Buckets().Reports, key, raw, blob.PutOptions{ContentType: "application/json", IfNoneMatch: true})
	if fault.Is(err, fault.Conflict) {
		return false, s.adoptVersion(ctx, key)
	}
	if err != nil {
		return false, fmt.Errorf("writing version %d of report %s: %w", doc.Version, doc.ReportID, err)
	}
	if err := s.announce(ctx, &doc, key); err != nil {
		return false, err
	}
	return true, s.deps.Store.PutReport(ctx, key, &doc, raw, &study, false, s.deps.Clock())
}

// issueTime returns a moment after last that no report of this process has, in whole milliseconds as FHIR instants are. It is called within Store.Issue.
func (s *Service) issueTime(last time.Time) time.Time {
	if last.Before(s.lastIssued) {
		last = s.lastIssued // written to the bucket, but not indexed yet
	}
	at := s.deps.Clock().UTC().Truncate(time.Millisecond)
	if !at.After(last) {
		at = last.Add(time.Millisecond)
	}
	s.lastIssued = at
	return at
}

// adoptVersion announces and indexes a version that lies in the bucket. Announcing it twice is harmless: the id is the same.
func (s *Service) adoptVersion(ctx context.Context, key string) error {
	raw, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Reports, key, documentLimit)
	if err != nil {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	doc, err := record.Decode[record.Report](record.ReportSchema, raw)
	if err != nil {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	if err := s.announce(ctx, doc, key); err != nil {
		return err
	}
	return s.deps.Store.PutReport(ctx, key, doc, raw, nil, false, s.deps.Clock())
}

func (s *Service) announce(ctx context.Context, doc *record.Report, key string) error {
	e, err := event.New(event.TypeReportIssued, event.ID(event.TypeReportIssued, doc.ReportID, fmt.Sprint(doc.Version)), doc.Clinic, s.deps.Clock(),
		event.ReportIssued{PatientKey: doc.Patient.Key, ReportID: doc.ReportID, ReportKey: key, Status: doc.Status, StudyUID: doc.StudyUID, Version: doc.Version})
	if err != nil {
		return err
	}
	if err := s.deps.Queue.Publish(ctx, e); err != nil {
		return fmt.Errorf("announcing version %d of report %s: %w", doc.Version, doc.ReportID, err)
	}
	return nil
}

// newest returns the newest version of a report, or nil.
func (s *Service) newest(ctx context.Context, id string) (*record.Report, error) {
	r, err := s.deps.Store.Newest(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return record.Decode[record.Report](record.ReportSchema, r.Document)
}

// assembleStudy reads a study's documents from the buckets and makes the content of its report. It names the visits that the report is
// compared with.
func (s *Service) assembleStudy(ctx context.Context, study store.Study) (*record.Report, store.Visits, error) {
	images, err := s.deps.Store.ImagesOf(ctx, study.ReportID)
	if err != nil {
		return nil, store.Visits{}, err
	}
	parts := make([]part, len(images))
	for n, img := range images {
		if parts[n], err = s.readPart(ctx, img); err != nil {
			return nil, store.Visits{}, err
		}
	}
	rejected, err := s.deps.Store.RejectedOf(ctx, study.Clinic, study.StudyUID)
	if err != nil {
		return nil, store.Visits{}, err
	}
	expected, err := s.deps.Store.ExpectedOf(ctx, study.Clinic, study.StudyUID)
	if err != nil {
		return nil, store.Visits{}, err
	}
	next := assemble(study, parts, rejected, expected, s.cfg.Version)
	if err := s.followLinks(ctx, study, next); err != nil {
		return nil, store.Visits{}, err
	}
	visits, err := s.visits(ctx, study, next)
	return next, visits, err
}

// visits adds to a report what there is to say about the visits before, and names them.
func (s *Service) visits(ctx context.Context, study store.Study, r *record.Report) (store.Visits, error) {
	if r.StudyDate == "" {
		r.Comparisons = compare(r, nil)
		return store.Visits{}, nil
	}
	found, visits, err := s.deps.Store.Earlier(ctx, r.Patient.Key, r.StudyDate)
	if err != nil {
		return store.Visits{}, err
	}
	var earlier []*record.Report
	for _, v := range found {
		doc, err := s.documentOf(ctx, v)
		if err != nil {
			return store.Visits{}, fmt.Errorf("reading the report on an earlier visit: %w", err)
		}
		earlier = append(earlier, doc)
	}
	var previous *record.Report
	if len(earlier) > 0 {
		previous = earlier[0]
	}
	r.Comparisons, r.Series = compare(r, previous), series(r, earlier)
	return visits, nil
}

func (s *Service) readPart(ctx context.Context, img store.Image) (part, error) {
	p := part{image: img}
	buckets := s.deps.Blob.Buckets()
	var err error
	if p.instance, err = readDocument[record.Instance](ctx, s.deps.Blob, buckets.Archive, img.InstanceKey, record.InstanceSchema); err != nil {
		return p, err
	}
	switch {
	case img.OutcomeKey == "":
	case isFailure(img.OutcomeKey):
		p.failure, err = readDocument[record.Failure](ctx, s.deps.Blob, buckets.Results, img.OutcomeKey, record.FailureSchema)
	default:
		p.result, err = readDocument[record.Result](ctx, s.deps.Blob, buckets.Results, img.OutcomeKey, record.ResultSchema)
	}
	if err != nil {
		return p, err
	}
	revisions, err := s.deps.Store.Revisions(ctx, img.SOPUID)
	if err != nil {
		return p, err
	}
	p.superseded = len(revisions) > 1 && revisions[len(revisions)-1].Sha256 != img.Sha256
	return p, nil
}

func readDocument[T any](ctx context.Context, from storage, bucket, key, schema string) (*T, error) {
	raw, err := from.GetBytes(ctx, bucket, key, documentLimit)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	doc, err := record.Decode[T](schema, raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return doc, nil
}
