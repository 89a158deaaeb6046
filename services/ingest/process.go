package ingest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// item is what gets one outcome: an inbox object, or a member of a ZIP.
type item struct {
	clinic   string
	inboxKey string
	member   string // path inside the ZIP
	receipt  string
	dropped  time.Time // LastModified of the inbox object
	bytes    *spool
	notes    []record.Note // on what was done to the bytes before
}

// unassignedClinic holds what came without a usable clinic name, until a person assigns one.
const unassignedClinic = quarantine.Unassigned

// receiptOf identifies an intake: the same object, tried again, has the same receipt. member are the path inside a ZIP and,
// where a path is there twice, which one it is.
func receiptOf(info blob.Info, member ...string) string {
	parts := append([]string{info.Key, info.ETag, info.LastModified.UTC().Format(time.RFC3339Nano)}, member...)
	digest := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(digest[:16])
}

// process brings an inbox object to its outcome and removes it. An error means that it stays in the inbox.
func (s *Service) process(ctx context.Context, info blob.Info) error {
	it := item{inboxKey: info.Key, receipt: receiptOf(info), dropped: info.LastModified}
	clinic, wrongClinic := clinicOf(info.Key)
	it.clinic = clinic

	if info.Size > s.config.MaxObjectBytes {
		if err := s.rejectLarge(ctx, it, info); err != nil {
			return err
		}
		return s.remove(ctx, info)
	}
	var err error
	if it.bytes, err = s.fetch(ctx, info); err != nil {
		if errors.Is(err, errGone) {
			return nil
		}
		return err
	}
	defer it.bytes.close()

	outcome, err := s.admit(ctx, it, info, wrongClinic)
	if err == nil {
		err = s.settle(ctx, it, outcome)
	}
	if err != nil {
		return err
	}
	return s.remove(ctx, info)
}

// admit lets an object in, or says why not: one file, or a ZIP of them. info names the intake; wrongClinic is the code of a clinic
// that is none.
func (s *Service) admit(ctx context.Context, it item, info blob.Info, wrongClinic string) (admission, error) {
	head, err := it.bytes.head(part10HeadBytes)
	if err != nil {
		return admission{}, err
	}
	end, err := it.bytes.tail(endBytes)
	switch {
	case err != nil:
		return admission{}, err
	case wrongClinic != "":
		return it.refuse(wrongClinic, "", record.Instance{}), nil
	case isZIP(head), !dicom.IsPart10(head) && endsZIP(end):
		return s.admitArchive(ctx, it, info)
	}
	name := it.inboxKey
	if it.member != "" { // a member of a ZIP that is released from quarantine
		name = it.member
	}
	return s.admitOne(ctx, it, name)
}

// admitOne lets one file in that is no ZIP: a manifest by its name, or a picture.
func (s *Service) admitOne(ctx context.Context, it item, name string) (admission, error) {
	head, err := it.bytes.head(part10HeadBytes)
	switch {
	case err != nil:
		return admission{}, err
	case isManifest(name) && !dicom.IsPart10(head):
		return s.admitManifest(ctx, it)
	}
	return s.admitFile(ctx, it)
}

// clinicOf reads the clinic off an inbox key. code says what is wrong with it.
func clinicOf(key string) (clinic, code string) {
	first, rest, found := strings.Cut(key, "/")
	switch {
	case !found || rest == "":
		return unassignedClinic, CodeClinicMissing
	case !event.ValidClinic(first) || first == unassignedClinic:
		return unassignedClinic, CodeClinicInvalid
	}
	return first, ""
}

// errGone tells that the object was removed or replaced after it was listed; a replacement is listed again.
var errGone = errors.New("the object is gone")

// fetch spools an inbox object.
func (s *Service) fetch(ctx context.Context, info blob.Info) (*spool, error) {
	body, got, err := s.deps.Blob.Get(ctx, s.deps.Blob.Buckets().Inbox, info.Key)
	if fault.Is(err, fault.NotFound) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("fetching the object: %w", err)
	}
	defer func() { _ = body.Close() }() // only read from
	if got.ETag != info.ETag || got.Size != info.Size {
		return nil, errGone
	}
	bytes, err := newSpool(s.config.SpoolDir, body, info.Size)
	if err != nil {
		return nil, fmt.Errorf("fetching the object: %w", err)
	}
	if bytes.size != info.Size {
		bytes.close()
		return nil, fault.New(fault.Transient, "storage-unavailable", "an object of %d bytes ended after %d", info.Size, bytes.size)
	}
	return bytes, nil
}

// remove takes the object off the inbox if it still is the one that was handled. A replacement stays and is listed again.
func (s *Service) remove(ctx context.Context, info blob.Info) error {
	err := s.deps.Blob.RemoveMatching(ctx, s.deps.Blob.Buckets().Inbox, info.Key, info.ETag, info.LastModified)
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// admitFile judges one file and archives it if it is accepted.
func (s *Service) admitFile(ctx context.Context, it item) (admission, error) {
	instance, content, err := s.judge(ctx, it)
	switch {
	case err == nil:
		instance.Notes = append(instance.Notes, it.notes...)
		return s.accept(ctx, it, instance, content)
	case fault.Interrupted(err) || fault.Is(err, fault.Transient):
		return admission{}, err
	}
	code := fault.CodeOf(err)
	if _, known := reasonOf(code); !known {
		s.deps.Logger.Error("a file could not be processed because of a defect in Noctua", "receipt", it.receipt, "error", err)
		code = CodeProcessing
	}
	return it.refuse(code, fault.SentenceOf(err), instance), nil
}

// part10HeadBytes are a preamble and DICM (PS3.10, 7.1).
const part10HeadBytes = 128 + 4

// judge reads a file. content is the hash of what makes the picture: its pixels; where they are not decoded, the pixel data or the
// document as they are encoded; where there is neither, the whole file.
func (s *Service) judge(ctx context.Context, it item) (instance record.Instance, content string, err error) {
	head, err := it.bytes.head(part10HeadBytes)
	if err != nil {
		return record.Instance{}, "", err
	}
	if !dicom.IsPart10(head) {
		// Said here, since a child that was given a bad file is ended: thousands of such members of a ZIP would start thousands.
		_, err := dicom.Open(bytes.NewReader(head), int64(len(head)), dicom.Limits{})
		return record.Instance{}, "", err
	}
	file, err := s.deps.Files.Read(ctx, it.bytes.file, it.bytes.size, isolated.Judgement)
	if err != nil {
		return record.Instance{}, "", err
	}
	instance = file.Instance
	if err := file.Judgement(); err != nil {
		return instance, "", err
	}
	if file.PixelSHA256 == "" {
		return instance, cmp.Or(file.ContentSHA256, it.bytes.sha256), nil // kept for people to look at; its pixels are not needed
	}
	instance.PixelSha256 = file.PixelSHA256
	instance.Notes = append(instance.Notes, file.Notes...)
	return instance, instance.PixelSha256, nil
}

// rejectLarge brings an object over the limit to quarantine without holding it: it is read once for its hash and once more
// on its way to the other bucket.
func (s *Service) rejectLarge(ctx context.Context, it item, info blob.Info) error {
	body, got, err := s.deps.Blob.Get(ctx, s.deps.Blob.Buckets().Inbox, info.Key)
	if fault.Is(err, fault.NotFound) || err == nil && got.ETag != info.ETag {
		if err == nil {
			_ = body.Close() // only read from
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetching a large object: %w", err)
	}
	hash := sha256.New()
	_, err = io.Copy(hash, body)
	_ = body.Close() // only read from
	if err != nil {
		return fmt.Errorf("hashing a large object: %w", err)
	}
	again := func() (io.Reader, func(), error) {
		body, _, err := s.deps.Blob.Get(ctx, s.deps.Blob.Buckets().Inbox, info.Key)
		if err != nil {
			return nil, nil, err
		}
		return body, func() { _ = body.Close() }, nil // only read from
	}
	return s.quarantine(ctx, it, refusal{
		code: CodeObjectTooLarge, detail: "it has " + strconv.FormatInt(info.Size, 10) + " bytes", sha256: hex.EncodeToString(hash.Sum(nil)), size: info.Size, source: again,
	})
}
