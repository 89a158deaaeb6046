package store

import (
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Image is an archived revision as the index knows it.
type Image struct {
	SOPUID, Sha256  string
	InstanceKey     string // instance document in the archive bucket
	ArchiveKey      string // DICOM bytes in the archive bucket
	StudyUID        string
	Clinic          string
	PatientKey      string
	ReportID        string
	Analyse         bool
	ReceivedAt      time.Time
	Status          record.ImageStatus
	OutcomeKey      string             // result.json or failure.json behind Status, or ""
	ReportedStatus  record.ImageStatus // status in the newest report, or ""
	ReportedOutcome string
	ReportedAt      time.Time // when a report first said so; zero if none does
}

// Settled tells whether the newest report says what is known of the image, and the image has an outcome.
func (i Image) Settled() bool {
	return i.Status != record.ImagePending && i.Status == i.ReportedStatus && i.OutcomeKey == i.ReportedOutcome
}

// Outcome is what a model said of an image.
type Outcome struct {
	Key            string // result.json or failure.json in the results bucket
	SOPUID, Sha256 string
	Failed         bool
	Status         record.ImageStatus // measured, ungradable or failed
	Model          record.ModelReference
	FinishedAt     time.Time
}

// Rejected is a quarantined file.
type Rejected struct {
	DocumentKey string // .json in the quarantine bucket
	Document    record.Quarantine
	State       quarantine.State
	Steps       []quarantine.Step // what people decided, and what became of it
}

// History is the file's history as the index knows it, without the hash that the next document needs.
func (r Rejected) History() quarantine.History {
	return quarantine.History{Key: strings.TrimSuffix(r.DocumentKey, ".json"), Document: r.Document, Steps: r.Steps}
}

// DecidedAt is when a person last decided about the file; zero: nobody has.
func (r Rejected) DecidedAt() time.Time {
	if len(r.Steps) == 0 {
		return time.Time{}
	}
	return r.Steps[len(r.Steps)-1].Decision.DecidedAt
}

// Duplicate is a receipt for bytes that were there already.
type Duplicate struct {
	DocumentKey string
	Clinic      string
	Sha256      string
	Of          string
	ReceivedAt  time.Time
}

// Report is a version of a report as the index knows it. UpdatedAt grows strictly from row to row and is what
// `_lastUpdated` means.
type Report struct {
	ReportID, DocumentKey string
	Version               int
	Clinic, PatientKey    string
	PatientID, Issuer     string
	StudyUID, StudyDate   string
	Status                record.ReportStatus
	IssuedAt, UpdatedAt   time.Time
	Newest                bool
	Document              []byte // report.json; nil once a newer version is there (read it from the bucket then)
}

// Patient is a person as the issuer named them.
type Patient struct {
	record.PatientIdentity
	Clinic    string
	UpdatedAt time.Time
}

// Study is a report to be and its state.
type Study struct {
	ReportID, Clinic, PatientKey, StudyUID string
	Changes, Covered                       int64
	DirtySince, ChangedAt                  time.Time // DirtySince is zero if everything was dealt with
	Pending                                int       // images without an outcome
	Status                                 record.ReportStatus
	DueAt                                  time.Time // zero: not due until something changes
	Expected, Missing                      int       // SOP instances of the newest manifest, and those of which nothing came
	AwaitUntil                             time.Time // until when the missing ones are waited for
	AwaitOver                              time.Time // AwaitUntil that was dealt with; zero: none
	Late                                   bool      // some are missing at the moment for which Due was asked, and are not waited for any more
	Compared                               Visits    // the visits that the report was compared with as it was made; not stored
}

// Counts are numbers of images (files, for the quarantined and the duplicates).
type Counts struct {
	Pending, Done, Failed, Duplicate, Quarantined int
	Ungradable, NotAnalysed                       int // of Done
	Releasing, Discarded                          int // files in quarantine that need nobody, and are not of Quarantined
	Released                                      int // files that were let out of quarantine: what came of them is counted as what it is; of CountClinics alone
	Reports, Patients                             int
}

// Timing says when a changed study is issued.
type Timing struct {
	Settle   time.Duration // wait this long after a change for more of them
	Debounce time.Duration // but no longer than this after the first
	Quiet    time.Duration // final after this long without a change, where no manifest says what there is
	Await    time.Duration // this long after a manifest missing instances are waited for
}

// Complete tells whether all that a manifest announces of a study has an outcome.
func (s Study) Complete() bool { return s.Expected > 0 && s.Missing == 0 && s.Pending == 0 }

// At is the study with Late as of a moment.
func (s Study) At(moment time.Time) Study {
	s.Late = s.Missing > 0 && !moment.Before(s.AwaitUntil)
	return s
}

// Awaiting tells whether instances are missing and still waited for.
func (s Study) Awaiting() bool { return s.Missing > 0 && !s.Late }

// never is the due time of what is not due.
const never = int64(1) << 62

// due is the one rule of when a study is looked at again. A study with changes is issued once they pause; a report that was
// final waits for its pending images, for a quiet period at most, so that one late image makes one amended version and not
// two. A preliminary report with nothing pending turns final after the quiet period. Where a manifest says what there is, nothing
// is guessed: the report is due at once when all of it has an outcome, and again when what is missing is not waited for any more.
func (t Timing) due(s Study) int64 {
	final := s.Status == record.Final || s.Status == record.Amended
	switch {
	case s.Changes > s.Covered && final && s.Pending > 0:
		return ms(s.DirtySince.Add(t.Quiet))
	case s.Changes > s.Covered && s.Complete():
		return ms(s.ChangedAt)
	case s.Changes > s.Covered:
		return ms(earlier(s.DirtySince.Add(t.Debounce), s.ChangedAt.Add(t.Settle)))
	case s.Missing > 0 && s.AwaitUntil.After(s.AwaitOver):
		return ms(s.AwaitUntil)
	case s.Status == record.Preliminary && s.Pending == 0 && s.Expected > 0:
		return ms(s.ChangedAt)
	case s.Status == record.Preliminary && s.Pending == 0:
		return ms(s.ChangedAt.Add(t.Quiet))
	}
	return never
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMs(v int64) time.Time {
	if v == 0 || v == never {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}
