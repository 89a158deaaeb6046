package ingest

import (
	"context"
	"fmt"
	"strings"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// codeCorrected notes on an image that its header is not as the camera wrote it.
const codeCorrected = "header-corrected"

// codeClinic notes on an image that a person said whose upload it is.
const codeClinic = "clinic-assigned"

// HandleDecision carries out what quarantine.decided tells. Any other event is a fault of kind Invalid.
func (s *Service) HandleDecision(ctx context.Context, e event.Envelope) error {
	decided, err := event.DataOf[event.QuarantineDecided](e, event.TypeQuarantineDecided)
	if err != nil {
		return err
	}
	_, err = s.settleDecision(ctx, decided.QuarantineKey)
	return err
}

// settleDecision carries out the last decision about a file in quarantine, if that is a release: the file, with its header corrected, takes
// the way of every file from the inbox, and what became of it is written beside it. Doing it again, also from another process at
// the same time, ends the same way: the intake's receipt is made of the decision, and every write is conditional. pending tells
// that there was a release without an outcome.
func (s *Service) settleDecision(ctx context.Context, key string) (pending bool, err error) {
	history, err := quarantine.Load(ctx, s.deps.Blob, s.deps.Blob.Buckets().Quarantine, key)
	if err != nil || len(history.Steps) == 0 {
		return false, err
	}
	step := history.Steps[len(history.Steps)-1]
	switch history.State() {
	case quarantine.Releasing:
		pending = true
		step.Release, err = s.carryOut(ctx, history, step.Decision)
		if err != nil {
			return pending, err
		}
	case quarantine.Discarded:
		return false, nil
	case quarantine.Open, quarantine.Released: // written, but perhaps never told
	}
	number := step.Release.Number
	return pending, s.publish(ctx, event.TypeQuarantineReleased, event.ID(event.TypeQuarantineReleased, history.Document.ReceiptID, fmt.Sprint(number)), step.Release.Clinic,
		event.QuarantineReleased{QuarantineKey: key, Number: number})
}

// carryOut lets a file in and writes down what became of it.
func (s *Service) carryOut(ctx context.Context, history quarantine.History, decision record.Decision) (*record.Release, error) {
	// The intake is named by the decision, so that a repetition finds its own traces.
	intake := blob.Info{Key: history.Key, ETag: history.Last, LastModified: decision.DecidedAt}
	it := item{clinic: decision.Clinic, inboxKey: history.Document.InboxKey, member: history.Document.Member, receipt: receiptOf(intake), dropped: decision.DecidedAt}
	if assigned := history.Correction().Clinic; assigned != "" {
		it.clinic = assigned
		it.notes = append(it.notes, record.Note{Code: codeClinic, Text: "The file came without a clinic; a person assigned " + assigned + "."})
	}
	outcome, err := s.admitReleased(ctx, &it, intake, history)
	if it.bytes != nil {
		defer it.bytes.close()
	}
	if err != nil {
		return nil, err
	}
	release := record.Release{
		Schema: record.ReleaseSchema, Clinic: it.clinic, QuarantineKey: history.Key, Number: decision.Number,
		Result: outcome.result, ArchiveKey: outcome.archiveKey, FinishedAt: s.deps.Clock().UTC(), PreviousSha256: history.Last,
	}
	if outcome.refused != nil {
		reason, _ := reasonOf(outcome.refused.code) // codes without a reason never get here
		release.Result, release.Code = record.ReleaseRefused, outcome.refused.code
		release.Reason, release.Advice = reason.withDetail(outcome.refused.detail), reason.action
	} else if it.bytes != nil {
		release.Sha256 = it.bytes.sha256
	}
	document, err := record.Encode(record.ReleaseSchema, release)
	if err != nil {
		return nil, err
	}
	at := blob.QuarantineDocument{Key: history.Key, Kind: blob.QuarantineRelease, Number: decision.Number}.DocumentKey()
	if _, err := s.create(ctx, s.deps.Blob.Buckets().Quarantine, at, document); err != nil {
		return nil, err
	}
	s.deps.Logger.Info("a file was released from quarantine", "receipt", it.receipt, "clinic", it.clinic, "result", string(release.Result), "code", release.Code)
	return &release, nil
}

// admitReleased fetches the bytes, corrects them, and lets them in. it gets the bytes that were judged; they stay the caller's to close.
func (s *Service) admitReleased(ctx context.Context, it *item, intake blob.Info, history quarantine.History) (admission, error) {
	refuse := func(code string) admission { return admission{refused: &refusal{code: code}} }
	if int64(history.Document.SizeBytes) > s.config.MaxObjectBytes {
		return refuse(CodeObjectTooLarge), nil
	}
	body, info, err := s.deps.Blob.Get(ctx, s.deps.Blob.Buckets().Quarantine, history.Key)
	if fault.Is(err, fault.NotFound) {
		return refuse(CodeBytesMissing), nil
	}
	if err != nil {
		return admission{}, fmt.Errorf("fetching a file from quarantine: %w", err)
	}
	defer func() { _ = body.Close() }() // only read from
	if info.Size != int64(history.Document.SizeBytes) {
		return refuse(CodeBytesMissing), nil
	}
	if it.bytes, err = newSpool(s.config.SpoolDir, body, info.Size); err != nil {
		return admission{}, fmt.Errorf("fetching a file from quarantine: %w", err)
	}
	switch {
	case it.bytes.size != info.Size:
		return admission{}, fault.New(fault.Transient, "storage-unavailable", "a file of %d bytes ended after %d", info.Size, it.bytes.size)
	case it.bytes.sha256 != history.Document.Sha256:
		return refuse(CodeBytesMissing), nil
	}
	correction := history.Correction()
	correction.Clinic = "" // no part of the header
	if correction != (record.Correction{}) {
		err := s.correct(ctx, it, correction)
		switch {
		case fault.Interrupted(err) || fault.Is(err, fault.Transient):
			return admission{}, err
		case err != nil:
			code := fault.CodeOf(err)
			if _, known := reasonOf(code); !known {
				code = CodeProcessing
			}
			return it.refuse(code, fault.SentenceOf(err), record.Instance{}), nil
		}
	}
	wrongClinic := ""
	if it.clinic == unassignedClinic { // still; what came out of a ZIP whose clinic was assigned has that in its own document
		_, wrongClinic = clinicOf(history.Document.InboxKey)
	}
	return s.admit(ctx, *it, intake, wrongClinic)
}

// correct puts the corrected file in the place of the one that was spooled.
func (s *Service) correct(ctx context.Context, it *item, correction record.Correction) error {
	splices, err := s.deps.Files.Correct(ctx, it.bytes.file, it.bytes.size, correction)
	if err != nil {
		return err
	}
	content, size, err := dicom.Spliced(it.bytes.file, it.bytes.size, splices)
	if err != nil {
		return err
	}
	corrected, err := newSpool(s.config.SpoolDir, content, size)
	if err != nil {
		return fmt.Errorf("correcting a file: %w", err)
	}
	it.bytes.close()
	it.bytes = corrected
	var what []string
	if correction.Laterality != "" {
		what = append(what, "the eye")
	}
	if correction.PatientID != "" {
		what = append(what, "the patient's ID")
	}
	if correction.Issuer != "" {
		what = append(what, "the issuer of the patient's ID")
	}
	it.notes = append(it.notes, record.Note{Code: codeCorrected, Text: "A person assigned " + strings.Join(what, " and ") + ", which the file did not say with certainty. The file as it came is kept in quarantine."})
	return nil
}

// reconcileQuarantine carries out releases that were decided and whose event was lost. Only reconcileForever calls it.
func (s *Service) reconcileQuarantine(ctx context.Context) (released int, err error) {
	waiting := map[blob.QuarantineDocument]struct{}{} // decisions without a release beside them
	for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Quarantine, "") {
		if err != nil {
			return 0, fmt.Errorf("listing the quarantine: %w", err)
		}
		d, ok := blob.ParseQuarantineDocument(info.Key)
		switch {
		case !ok || s.isFinished(info.Key):
		case d.Kind == blob.QuarantineDecision:
			waiting[d] = struct{}{}
		case d.Kind == blob.QuarantineRelease: // listed behind its decision
			d.Kind = blob.QuarantineDecision
			delete(waiting, d)
		}
	}
	for d := range waiting {
		pending, err := s.settleDecision(ctx, d.Key)
		switch {
		case fault.Interrupted(err) || fault.Is(err, fault.Transient):
			return released, err
		case err != nil:
			s.deps.Logger.Error("a release from quarantine cannot be carried out", "key", d.Key, "code", fault.CodeOf(err), "error", err)
			continue
		case pending:
			released++
		}
		s.finish(d.DocumentKey()) // carried out, or a discard, which never has a release
	}
	return released, nil
}
