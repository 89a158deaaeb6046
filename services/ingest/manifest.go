package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// manifestName is what the file that announces a study is called, in whatever folder it lies.
	manifestName = "manifest.json"
	// maxManifestDetail bounds what a refusal quotes of a manifest.
	maxManifestDetail = 300
	// manifestMemory is how far back manifests are looked at whose study did not come: what was not said in this time was said before.
	manifestMemory = 30 * 24 * time.Hour
	// quarantineDays is how many days before and after a manifest its files may have come to quarantine.
	quarantineDays = 1
)

// isManifest tells whether a file is a manifest by its name.
func isManifest(name string) bool {
	return strings.EqualFold(path.Base(strings.ReplaceAll(name, `\`, "/")), manifestName)
}

// admitManifest writes down what a manifest announces and tells the report service. The same manifest again is a duplicate.
func (s *Service) admitManifest(ctx context.Context, it item) (admission, error) {
	if it.bytes.size > maxDocumentBytes {
		return it.refuse(CodeManifestInvalid, fmt.Sprintf("it has %d bytes, but at most %d are read", it.bytes.size, maxDocumentBytes), record.Instance{}), nil
	}
	raw, err := it.bytes.head(maxDocumentBytes)
	if err != nil {
		return admission{}, err
	}
	manifest, err := readManifest(raw)
	if err != nil {
		return it.refuse(CodeManifestInvalid, inOneLine(err), record.Instance{}), nil //nolint:nilerr // it is the outcome of the file
	}
	archive := s.deps.Blob.Buckets().Archive
	key, err := blob.ExpectedKey(it.clinic, manifest.StudyUID, it.bytes.sha256)
	if err != nil {
		return admission{}, err
	}
	expected := record.Expected{
		Schema: record.ExpectedSchema, ReceiptID: it.receipt, Clinic: it.clinic, ReceivedAt: s.deps.Clock().UTC(), InboxKey: it.inboxKey,
		Sha256: it.bytes.sha256, StudyUID: manifest.StudyUID, Instances: manifest.Instances,
	}
	document, err := record.Encode(record.ExpectedSchema, expected)
	if err != nil {
		return admission{}, err
	}
	created, err := s.create(ctx, archive, key, document)
	if err != nil {
		return admission{}, err
	}
	if !created {
		first, err := s.readExpected(ctx, key)
		if err != nil {
			return admission{}, err
		}
		if first.ReceiptID != it.receipt {
			return admission{result: record.ReleaseDuplicate, archiveKey: key}, s.duplicate(ctx, it, it.bytes.sha256, key)
		}
	}
	s.deps.Logger.Info("a manifest is taken in", "receipt", it.receipt, "clinic", it.clinic, "study", manifest.StudyUID, "instances", len(manifest.Instances))
	return admission{result: record.ReleaseArchived, archiveKey: key}, s.publish(ctx, event.TypeStudyExpected,
		event.ID(event.TypeStudyExpected, it.clinic, manifest.StudyUID, it.bytes.sha256), it.clinic,
		event.StudyExpected{StudyUID: manifest.StudyUID, ExpectedKey: key, Instances: len(manifest.Instances)})
}

// readManifest reads a manifest. Properties that are not known are passed over; what is known must fit the schema, UIDs must be such
// as can become keys, and no SOP instance may be there twice.
func readManifest(raw []byte) (*record.Manifest, error) {
	// A byte order mark, as text editors write it, is against RFC 8259, which lets readers ignore it.
	manifest, err := record.Decode[record.Manifest](record.ManifestSchema, bytes.TrimPrefix(raw, []byte("\uFEFF")))
	if err != nil {
		return nil, err
	}
	if _, err := record.Encode(record.ManifestSchema, manifest); err != nil {
		return nil, err
	}
	if err := blob.CheckUID("study_uid", manifest.StudyUID); err != nil {
		return nil, err
	}
	seen := make(map[string]struct{}, len(manifest.Instances))
	for _, i := range manifest.Instances {
		if err := blob.CheckUID("sop_uid", i.SOPUID); err != nil {
			return nil, err
		}
		if _, twice := seen[i.SOPUID]; twice {
			return nil, fault.New(fault.Invalid, CodeManifestInvalid, "SOP instance %s is there twice", i.SOPUID)
		}
		seen[i.SOPUID] = struct{}{}
	}
	return manifest, nil
}

// inOneLine is an error about a manifest in one line that is not longer than anybody reads.
func inOneLine(err error) string {
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(err.Error(), "\uFFFD"))
	if len(line) > maxManifestDetail {
		line = strings.ToValidUTF8(line[:maxManifestDetail], "") + "…"
	}
	return line
}

func (s *Service) readExpected(ctx context.Context, key string) (*record.Expected, error) {
	raw, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Archive, key, maxDocumentBytes)
	if err != nil {
		return nil, fmt.Errorf("reading what a manifest announces: %w", err)
	}
	return record.Decode[record.Expected](record.ExpectedSchema, raw)
}

// reconcileManifests brings manifests to quarantine whose study did not come within Config.ManifestDeadline: where nothing of it is
// archived there is no report that could say so. Only reconcileForever calls it.
func (s *Service) reconcileManifests(ctx context.Context) (unmet int, err error) {
	now := s.deps.Clock()
	for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Archive, "expected/") {
		if err != nil {
			return unmet, fmt.Errorf("listing what manifests announce: %w", err)
		}
		age := now.Sub(info.LastModified)
		if age < s.config.ManifestDeadline || age > max(manifestMemory, 2*s.config.ManifestDeadline) || s.isFinished(info.Key) {
			continue
		}
		expected, err := s.readExpected(ctx, info.Key)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
			s.deps.Logger.Warn("a document about a manifest cannot be read and is left alone", "key", info.Key)
			s.finish(info.Key)
			continue
		}
		if err != nil {
			return unmet, err
		}
		came, err := s.anyCame(ctx, expected)
		if err != nil {
			return unmet, err
		}
		if !came {
			if err := s.rejectUnmet(ctx, expected); err != nil {
				return unmet, err
			}
			unmet++
		}
		s.finish(info.Key)
	}
	return unmet, nil
}

// anyCame tells whether anything of a study is archived, or one of its files is in quarantine.
func (s *Service) anyCame(ctx context.Context, expected *record.Expected) (bool, error) {
	for _, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Archive, "images/"+expected.StudyUID+"/") {
		if err != nil {
			return false, fmt.Errorf("looking for a study: %w", err)
		}
		return true, nil
	}
	for _, instance := range expected.Instances {
		for day := -quarantineDays; day <= quarantineDays; day++ {
			key, err := blob.QuarantineKey(expected.Clinic, expected.ReceivedAt.AddDate(0, 0, day), instance.Sha256)
			if err != nil {
				return false, err
			}
			_, err = s.deps.Blob.Stat(ctx, s.deps.Blob.Buckets().Quarantine, key)
			if err == nil {
				return true, nil
			}
			if !fault.Is(err, fault.NotFound) {
				return false, fmt.Errorf("looking for a file of a study in quarantine: %w", err)
			}
		}
	}
	return false, nil
}

// rejectUnmet brings a manifest to quarantine, as Noctua read it. Its receipt is made of that of its intake, so that a repetition
// finds its own traces.
func (s *Service) rejectUnmet(ctx context.Context, expected *record.Expected) error {
	raw, err := record.Encode(record.ManifestSchema, record.Manifest{Schema: record.ManifestSchema, StudyUID: expected.StudyUID, Instances: expected.Instances})
	if err != nil {
		return err
	}
	digest := sha256.Sum256(raw)
	receipt := sha256.Sum256([]byte(expected.ReceiptID + "\x00" + CodeManifestUnmet))
	it := item{clinic: expected.Clinic, inboxKey: expected.InboxKey, receipt: hex.EncodeToString(receipt[:16]), dropped: expected.ReceivedAt}
	if !isManifest(it.inboxKey) {
		it.member = manifestName // it came in a ZIP; by its name it is known when it is released
	}
	return s.quarantine(ctx, it, refusal{
		code: CodeManifestUnmet, detail: fmt.Sprintf("%d instances of study %s", len(expected.Instances), expected.StudyUID),
		sha256: hex.EncodeToString(digest[:]), size: int64(len(raw)),
		source: func() (io.Reader, func(), error) { return bytes.NewReader(raw), func() {}, nil },
	})
}
