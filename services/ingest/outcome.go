package ingest

import (
	"context"
	"fmt"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	jsonType = "application/json"
	// maxDocumentBytes bounds the documents that ingest reads back; its own are a few KB.
	maxDocumentBytes = 1 << 20
)

// admission is what became of an item that was let in, or why it was not.
type admission struct {
	refused    *refusal
	result     record.ReleaseResult // of what was not refused
	archiveKey string               // of an archived image, or of the one that it is a duplicate of
}

// accept archives an instance: identity, document, bytes, event. Each write is conditional, so that doing it again, or two
// intakes of the same bytes at once, end the same way.
func (s *Service) accept(ctx context.Context, it item, instance record.Instance, content string) (admission, error) {
	archive := s.deps.Blob.Buckets().Archive
	bytesKey, err := blob.ArchiveKey(instance.StudyUID, instance.SOPUID, it.bytes.sha256)
	if err != nil {
		return admission{}, err
	}
	documentKey, err := blob.InstanceKey(instance.StudyUID, instance.SOPUID, it.bytes.sha256)
	if err != nil {
		return admission{}, err
	}
	instance.Clinic, instance.ReceiptID, instance.ReceivedAt = it.clinic, it.receipt, s.deps.Clock().UTC()
	instance.Sha256, instance.SizeBytes, instance.ArchiveKey = it.bytes.sha256, int(it.bytes.size), bytesKey
	instance.Patient.Key = record.PatientKey(s.config.SiteSecret, it.clinic, instance.Patient.Issuer, instance.Patient.ID)
	document, err := record.Encode(record.InstanceSchema, instance)
	if err != nil {
		// Something in the file fits DICOM but not Noctua's own document: the file cannot be handled, now or later.
		s.deps.Logger.Error("an instance document does not fit its schema", "receipt", it.receipt)
		return it.refuse(CodeProcessing, "", record.Instance{}), nil //nolint:nilerr // it is the outcome of the file
	}

	conflict, err := s.claim(ctx, instance, content, documentKey)
	if err != nil {
		return admission{}, err
	}
	if conflict != "" {
		return it.refuse(conflict, "", instance), nil
	}

	owner := instance
	created, err := s.create(ctx, archive, documentKey, document)
	if err != nil {
		return admission{}, err
	}
	if !created {
		if owner, err = s.readInstance(ctx, archive, documentKey); err != nil {
			return admission{}, err
		}
	}
	archived, err := s.copy(ctx, archive, bytesKey, it.bytes.size, it.bytes.source())
	if err != nil {
		return admission{}, err
	}
	ours := owner.ReceiptID == it.receipt
	// The first intake of these bytes may have died between document and bytes, with its inbox object removed by hand since:
	// whoever completes the archive announces it. Announcing twice is harmless.
	if ours || archived {
		if err := s.announce(ctx, owner); err != nil {
			return admission{}, err
		}
	}
	if ours {
		s.deps.Logger.Info("an image is archived", "receipt", it.receipt, "clinic", it.clinic, "sop", instance.SOPUID, "analyse", instance.Analyse)
		return admission{result: record.ReleaseArchived, archiveKey: bytesKey}, nil
	}
	return admission{result: record.ReleaseDuplicate, archiveKey: bytesKey}, s.duplicate(ctx, it, it.bytes.sha256, bytesKey)
}

// announce publishes image.accepted.
func (s *Service) announce(ctx context.Context, i record.Instance) error {
	return s.publish(ctx, event.TypeImageAccepted, event.ID(event.TypeImageAccepted, i.SOPUID, i.Sha256), i.Clinic, event.ImageAccepted{
		StudyUID: i.StudyUID, SOPUID: i.SOPUID, Sha256: i.Sha256, ArchiveKey: i.ArchiveKey, SizeBytes: i.SizeBytes, Analyse: i.Analyse,
	})
}

func (s *Service) publish(ctx context.Context, typ, id, clinic string, data any) error {
	e, err := event.New(typ, id, clinic, s.deps.Clock(), data)
	if err != nil {
		return err
	}
	if err := s.deps.Publisher.Publish(ctx, e); err != nil {
		return fmt.Errorf("publishing %s: %w", typ, err)
	}
	return nil
}

// claim writes down what a SOPInstanceUID stands for, or compares with what is written. conflict is the code of what does not agree:
// another study or picture under the same UID, or a corrected header from another clinic than the picture's, whose report it would
// change.
func (s *Service) claim(ctx context.Context, instance record.Instance, content, documentKey string) (conflict string, err error) {
	archive := s.deps.Blob.Buckets().Archive
	key, err := blob.SOPKey(instance.SOPUID)
	if err != nil {
		return "", err
	}
	document, err := record.Encode(record.IdentitySchema, record.Identity{
		Schema: record.IdentitySchema, SOPUID: instance.SOPUID, StudyUID: instance.StudyUID, ContentSha256: content, Clinic: instance.Clinic,
	})
	if err != nil {
		return "", err
	}
	created, err := s.create(ctx, archive, key, document)
	if err != nil || created {
		return "", err
	}
	raw, err := s.deps.Blob.GetBytes(ctx, archive, key, maxDocumentBytes)
	if err != nil {
		return "", fmt.Errorf("reading an identity: %w", err)
	}
	first, err := record.Decode[record.Identity](record.IdentitySchema, raw)
	if err != nil {
		return "", err
	}
	// Of what is not decoded an earlier version hashed the whole file.
	if first.StudyUID != instance.StudyUID || first.ContentSha256 != content && first.ContentSha256 != instance.Sha256 {
		return CodeIdentity, nil
	}
	if first.Clinic == "" || first.Clinic == instance.Clinic {
		return "", nil
	}
	_, err = s.deps.Blob.Stat(ctx, archive, documentKey)
	if fault.Is(err, fault.NotFound) {
		return CodeOtherClinic, nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for earlier bytes: %w", err)
	}
	return "", nil // the same bytes are a duplicate, whoever sends them
}

// create writes a document under a key that nothing has yet; created is false if something has.
func (s *Service) create(ctx context.Context, bucket, key string, document []byte) (created bool, err error) {
	err = s.deps.Blob.PutBytes(ctx, bucket, key, document, blob.PutOptions{ContentType: jsonType, IfNoneMatch: true})
	if fault.Is(err, fault.Conflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("writing a document: %w", err)
	}
	return true, nil
}

// copy writes bytes under a key that nothing has yet; created is false if something has. What is there is not sent again.
func (s *Service) copy(ctx context.Context, bucket, key string, size int64, bytes source) (created bool, err error) {
	_, err = s.deps.Blob.Stat(ctx, bucket, key)
	if err == nil {
		return false, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return false, fmt.Errorf("looking for earlier bytes: %w", err)
	}
	reader, closeReader, err := bytes()
	if err != nil {
		return false, fmt.Errorf("reading the bytes again: %w", err)
	}
	defer closeReader()
	err = s.deps.Blob.Put(ctx, bucket, key, reader, size, blob.PutOptions{ContentType: "application/dicom", IfNoneMatch: true})
	if fault.Is(err, fault.Conflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("writing the bytes: %w", err)
	}
	return true, nil
}

func (s *Service) readInstance(ctx context.Context, bucket, key string) (record.Instance, error) {
	raw, err := s.deps.Blob.GetBytes(ctx, bucket, key, maxDocumentBytes)
	if err != nil {
		return record.Instance{}, fmt.Errorf("reading an instance document: %w", err)
	}
	i, err := record.Decode[record.Instance](record.InstanceSchema, raw)
	if err != nil {
		return record.Instance{}, err
	}
	return *i, nil
}

// duplicate notes that the bytes were there already, under key of.
func (s *Service) duplicate(ctx context.Context, it item, sha256, of string) error {
	key, err := blob.DuplicateKey(it.clinic, it.dropped, it.receipt)
	if err != nil {
		return err
	}
	document, err := record.Encode(record.DuplicateSchema, record.Duplicate{
		Schema: record.DuplicateSchema, Clinic: it.clinic, InboxKey: dicom.Printable(it.inboxKey), Of: of, ReceiptID: it.receipt,
		ReceivedAt: s.deps.Clock().UTC(), Sha256: sha256,
	})
	if err != nil {
		return err
	}
	if _, err := s.create(ctx, s.deps.Blob.Buckets().Archive, key, document); err != nil {
		return err
	}
	s.deps.Logger.Info("a duplicate is noted", "receipt", it.receipt, "clinic", it.clinic, "of", of)
	return s.publish(ctx, event.TypeImageDuplicate, event.ID(event.TypeImageDuplicate, it.receipt), it.clinic, event.ImageDuplicate{Of: of, ReceiptKey: key, Sha256: sha256})
}

// refusal is why and what goes to quarantine.
type refusal struct {
	code, detail string
	sha256       string
	size         int64
	source       source
	instance     record.Instance // what could be read of it
}

// refuse makes the refusal of a spooled item.
func (it item) refuse(code, detail string, instance record.Instance) admission {
	return admission{refused: &refusal{
		code: code, detail: detail, sha256: it.bytes.sha256, size: it.bytes.size, instance: instance,
		source: it.bytes.source(),
	}}
}

// settle brings what was refused to quarantine.
func (s *Service) settle(ctx context.Context, it item, a admission) error {
	if a.refused == nil {
		return nil
	}
	return s.quarantine(ctx, it, *a.refused)
}

// quarantine writes bytes, reason and event. The reason is the commit marker: whose receipt it holds has the outcome, others
// with the same bytes on the same day are duplicates.
func (s *Service) quarantine(ctx context.Context, it item, r refusal) error {
	bucket := s.deps.Blob.Buckets().Quarantine
	key, err := blob.QuarantineKey(it.clinic, it.dropped, r.sha256)
	if err != nil {
		return err
	}
	reason, _ := reasonOf(r.code) // codes without a reason never get here
	document := record.Quarantine{
		Schema: record.QuarantineSchema, Clinic: it.clinic, InboxKey: dicom.Printable(it.inboxKey), Member: dicom.Printable(it.member), ReceiptID: it.receipt,
		ReceivedAt: s.deps.Clock().UTC(), Sha256: r.sha256, SizeBytes: int(r.size), Code: r.code, Reason: reason.withDetail(r.detail), Action: reason.action,
		StudyUID: r.instance.StudyUID, SOPUID: r.instance.SOPUID,
	}
	if p := r.instance.Patient; p.ID != "" {
		p.Key = record.PatientKey(s.config.SiteSecret, it.clinic, p.Issuer, p.ID)
		document.Patient = &p
	}
	raw, err := record.Encode(record.QuarantineSchema, document)
	if err != nil {
		return err
	}
	if _, err := s.copy(ctx, bucket, key, r.size, r.source); err != nil {
		return err
	}
	created, err := s.create(ctx, bucket, key+".json", raw)
	if err != nil {
		return err
	}
	if !created {
		earlier, err := s.deps.Blob.GetBytes(ctx, bucket, key+".json", maxDocumentBytes)
		if err != nil {
			return fmt.Errorf("reading a quarantine document: %w", err)
		}
		first, err := record.Decode[record.Quarantine](record.QuarantineSchema, earlier)
		if err != nil {
			return err
		}
		if first.ReceiptID != it.receipt {
			return s.duplicate(ctx, it, r.sha256, key)
		}
		document = *first // what was announced before a crash is announced again, and nothing else
	}
	s.deps.Logger.Info("a file is in quarantine", "receipt", it.receipt, "clinic", it.clinic, "code", document.Code)
	return s.publish(ctx, event.TypeImageRejected, event.ID(event.TypeImageRejected, it.receipt), it.clinic, event.ImageRejected{
		Code: document.Code, QuarantineKey: key, Sha256: r.sha256, StudyUID: document.StudyUID, SOPUID: document.SOPUID,
	})
}
