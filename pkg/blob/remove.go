package blob

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	presignExpiry  = time.Minute // a request signed now is sent now; clocks may differ a little
	maxErrorAnswer = 64 << 10    // bytes read of an error document
)

// RemoveMatching removes the object only if it still is the one that was read: same ETag, same LastModified (as Info gives
// them). An object that is gone is no error. One that was overwritten stays, and the fault is Conflict "object-changed".
//
// What holds: the comparison of LastModified is a Stat before the removal; the comparison of the ETag is made by the store
// within the removal (If-Match). On stores that do that atomically (Noctua's embedded server, AWS S3), other bytes put at any moment are
// never removed. versitygw as a server of its own compares and removes in two steps, MinIO ignores If-Match: there, other
// bytes put under the same key in the milliseconds between are lost, and clinics should not reuse keys.
// Identical bytes put again within the same second, or between Stat and removal, are removed together with the first
// on every store: nothing is lost, since they are in the archive.
func (s *Store) RemoveMatching(ctx context.Context, bucket, key, etag string, lastModified time.Time) error {
	info, err := s.Stat(ctx, bucket, key)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.ETag != etag || !info.LastModified.Equal(lastModified.UTC().Truncate(time.Second)) {
		return fault.New(fault.Conflict, "object-changed", "an object in %s was overwritten after it was read, so it stays", bucket)
	}
	return s.removeIfMatch(ctx, bucket, key, etag)
}

// removeIfMatch sends DELETE with If-Match. minio-go has no option for it, so the request is presigned with that header.
func (s *Store) removeIfMatch(ctx context.Context, bucket, key, etag string) error {
	const doing = "removing from"
	header := http.Header{"If-Match": {`"` + etag + `"`}}
	u, err := s.client.PresignHeader(ctx, http.MethodDelete, bucket, key, presignExpiry, nil, header)
	if err != nil {
		return s.fail(ctx, err, doing, bucket, key)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, u.String(), nil)
	if err != nil {
		return s.fail(ctx, err, doing, bucket, key)
	}
	request.Header = header
	response, err := s.http.Do(request)
	if err != nil {
		return s.fail(ctx, err, doing, bucket, key)
	}
	defer func() { _ = response.Body.Close() }() // the answer has been read
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxErrorAnswer))
	if err != nil {
		return s.fail(ctx, err, doing, bucket, key)
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusNoContent, http.StatusNotFound:
		return nil
	case http.StatusPreconditionFailed, http.StatusConflict:
		return fault.New(fault.Conflict, "object-changed", "an object in %s was overwritten while it was removed, so it stays", bucket)
	case http.StatusNotImplemented:
		// The store knows no conditional removal; the Stat before is all there is.
		return s.Remove(ctx, bucket, key)
	}
	var answer minio.ErrorResponse
	if err := xml.Unmarshal(raw, &answer); err != nil {
		answer.Code = "" // no S3 error document: the status alone decides
	}
	answer.StatusCode = response.StatusCode
	return s.failAnswer(answer, answer, doing, bucket, key)
}

// withoutURL cuts the URL, and so the key, off a transport error.
func withoutURL(err error) error {
	var transport *url.Error
	if errors.As(err, &transport) {
		return transport.Err
	}
	return err
}
