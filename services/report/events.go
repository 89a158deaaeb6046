package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// documentLimit bounds what is read of a JSON document: far above any real one.
const documentLimit = 8 << 20

const documentSuffix = ".json"

// reportID names the report of a study: the same study of the same patient at the same clinic is the same report, for ever.
func reportID(clinic, patientKey, studyUID string) string {
	sum := sha256.Sum256([]byte(clinic + "\n" + patientKey + "\n" + studyUID))
	return hex.EncodeToString(sum[:16])
}

// handle brings what an event tells into the index. The event only names the document; the document is the truth. Returning
// nil acknowledges: the index holds the fact by then, and what is due because of it.
func (s *Service) handle(ctx context.Context, e event.Envelope) error {
	kind, key, err := documentOf(e)
	if err != nil {
		return err
	}
	if kind == "" {
		return nil // an event that says nothing about images or studies
	}
	unknown, err := s.deps.Store.Unknown(ctx, kind, []string{key})
	if err != nil || len(unknown) == 0 {
		return err
	}
	if err := s.index(ctx, kind, key, false); err != nil {
		return fmt.Errorf("indexing what event %s tells: %w", e.ID, err)
	}
	s.poke()
	return nil
}

// documentOf finds the document that an event speaks of.
func documentOf(e event.Envelope) (store.Kind, string, error) {
	switch e.Type {
	case event.TypeImageAccepted:
		data, err := event.DataOf[event.ImageAccepted](e, e.Type)
		if err != nil {
			return "", "", err
		}
		key, err := blob.InstanceKey(data.StudyUID, data.SOPUID, data.Sha256)
		return store.KindInstance, key, err
	case event.TypeImageSegmented:
		data, err := event.DataOf[event.ImageSegmented](e, e.Type)
		return store.KindOutcome, data.ResultKey, err
	case event.TypeImageFailed:
		data, err := event.DataOf[event.ImageFailed](e, e.Type)
		return store.KindOutcome, data.FailureKey, err
	case event.TypeImageRejected:
		data, err := event.DataOf[event.ImageRejected](e, e.Type)
		return store.KindRejected, data.QuarantineKey + documentSuffix, err
	case event.TypeQuarantineDecided:
		data, err := event.DataOf[event.QuarantineDecided](e, e.Type)
		return store.KindRuling, blob.QuarantineDocument{Key: data.QuarantineKey, Kind: blob.QuarantineDecision, Number: data.Number}.DocumentKey(), err
	case event.TypeQuarantineReleased:
		data, err := event.DataOf[event.QuarantineReleased](e, e.Type)
		return store.KindRuling, blob.QuarantineDocument{Key: data.QuarantineKey, Kind: blob.QuarantineRelease, Number: data.Number}.DocumentKey(), err
	case event.TypeStudyExpected:
		data, err := event.DataOf[event.StudyExpected](e, e.Type)
		return store.KindExpected, data.ExpectedKey, err
	case event.TypeImageDuplicate:
		data, err := event.DataOf[event.ImageDuplicate](e, e.Type)
		return store.KindDuplicate, data.ReceiptKey, err
	}
	return "", "", nil
}

// index reads a document from its bucket and adds it to the index.
func (s *Service) index(ctx context.Context, kind store.Kind, key string, rebuilding bool) error {
	buckets := s.deps.Blob.Buckets()
	if kind == store.KindRejected || kind == store.KindRuling {
		d, ok := blob.ParseQuarantineDocument(key)
		if !ok {
			return fault.New(fault.Invalid, "key-invalid", "%s is not the key of a document in quarantine", key)
		}
		// Whichever of its documents is new, the file's whole history is what is known of it.
		history, err := quarantine.Load(ctx, s.deps.Blob, buckets.Quarantine, d.Key)
		if err != nil {
			return fmt.Errorf("reading the history of %s: %w", d.Key, err)
		}
		return s.deps.Store.PutRejected(ctx, history, s.deps.Clock())
	}
	bucket := map[store.Kind]string{
		store.KindInstance: buckets.Archive, store.KindDuplicate: buckets.Archive, store.KindExpected: buckets.Archive, store.KindOutcome: buckets.Results,
		store.KindReport: buckets.Reports, store.KindLink: buckets.Reports,
	}[kind]
	raw, err := s.deps.Blob.GetBytes(ctx, bucket, key, documentLimit)
	if err != nil {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	at := s.deps.Clock()
	switch kind {
	case store.KindInstance:
		doc, err := record.Decode[record.Instance](record.InstanceSchema, raw)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		return s.deps.Store.PutImage(ctx, store.Image{
			SOPUID: doc.SOPUID, Sha256: doc.Sha256, InstanceKey: key, ArchiveKey: doc.ArchiveKey, StudyUID: doc.StudyUID,
			Clinic: doc.Clinic, PatientKey: doc.Patient.Key, ReportID: reportID(doc.Clinic, doc.Patient.Key, doc.StudyUID),
			Analyse: doc.Analyse, ReceivedAt: doc.ReceivedAt,
		}, at)
	case store.KindOutcome:
		outcome, err := decodeOutcome(key, raw)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		return s.deps.Store.PutOutcome(ctx, outcome, at)
	case store.KindExpected:
		doc, err := record.Decode[record.Expected](record.ExpectedSchema, raw)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		x := store.Expectation{DocumentKey: key, Clinic: doc.Clinic, StudyUID: doc.StudyUID, ReceivedAt: doc.ReceivedAt}
		for _, i := range doc.Instances {
			x.Instances = append(x.Instances, store.ExpectedInstance{SOPUID: i.SOPUID, Sha256: i.Sha256})
		}
		return s.deps.Store.PutExpectation(ctx, x, at)
	case store.KindLink:
		doc, err := record.Decode[record.PatientLink](record.PatientLinkSchema, raw)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		return s.deps.Store.PutPatientLink(ctx, key, *doc, at)
	case store.KindDuplicate:
		doc, err := record.Decode[record.Duplicate](record.DuplicateSchema, raw)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		return s.deps.Store.PutDuplicate(ctx, store.Duplicate{
			DocumentKey: key, Clinic: doc.Clinic, Sha256: doc.Sha256, Of: doc.Of, ReceivedAt: doc.ReceivedAt,
		})
	default:
		doc, err := record.Decode[record.Report](record.ReportSchema, raw)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		return s.deps.Store.PutReport(ctx, key, doc, raw, nil, rebuilding, at)
	}
}

// Names of the documents that a model leaves beside its pictures.
const (
	resultName  = "result.json"
	failureName = "failure.json"
)

func decodeOutcome(key string, raw []byte) (store.Outcome, error) {
	if isFailure(key) {
		doc, err := record.Decode[record.Failure](record.FailureSchema, raw)
		if err != nil {
			return store.Outcome{}, err
		}
		return store.Outcome{Key: key, SOPUID: doc.SOPUID, Sha256: doc.Sha256, Failed: true, Status: record.ImageFailed,
			Model: doc.Model, FinishedAt: doc.FailedAt}, nil
	}
	doc, err := record.Decode[record.Result](record.ResultSchema, raw)
	if err != nil {
		return store.Outcome{}, err
	}
	return store.Outcome{Key: key, SOPUID: doc.SOPUID, Sha256: doc.Sha256, Status: record.ImageStatus(doc.Status),
		Model: doc.Provenance.Model, FinishedAt: doc.Provenance.FinishedAt}, nil
}
