package blob

import (
	"context"
	"errors"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// isPassingConflict tells 409s that may be gone a moment later. "object-exists" is 412 and never passes.
func isPassingConflict(err error) bool {
	answer := minio.ToErrorResponse(err)
	if answer.StatusCode != http.StatusConflict {
		return false
	}
	switch answer.Code {
	case "ConditionalRequestConflict", "OperationAborted", "ExistingObjectIsDirectory", "ObjectParentIsFile":
		return true
	}
	return false
}

// fail gives an answer of the store its kind. Keys of the inbox are chosen by clinics and may hold names, so no sentence
// holds a key; the causes of minio-go hold none either, except for transport errors, whose URL is cut off here.
func (s *Store) fail(ctx context.Context, err error, doing, bucket, key string) error {
	if cause := ctx.Err(); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return fault.Wrap(fault.Transient, "storage-unavailable", cause, "%s %s took longer than allowed", doing, bucket)
		}
		return cause
	}
	answer := minio.ToErrorResponse(err)
	return s.failAnswer(answer, withoutURL(err), doing, bucket, key)
}

func (s *Store) failAnswer(answer minio.ErrorResponse, cause error, doing, bucket, key string) error {
	switch {
	case answer.Code == minio.NoSuchBucket:
		return fault.Wrap(fault.Internal, "bucket-missing", cause, "the bucket %s is missing; create it or let Noctua create its buckets at start", bucket)
	case answer.Code == minio.NoSuchKey || (key != "" && answer.StatusCode == http.StatusNotFound):
		return fault.Wrap(fault.NotFound, "object-missing", cause, "%s %s: there is no such object", doing, bucket)
	case answer.StatusCode == http.StatusPreconditionFailed || answer.Code == minio.PreconditionFailed:
		return fault.Wrap(fault.Conflict, "object-exists", cause, "%s %s: an object of that key exists", doing, bucket)
	case answer.Code == "ExistingObjectIsDirectory" || answer.Code == "ObjectParentIsFile":
		// A file-system store cannot hold "a" beside "a/b".
		return fault.Wrap(fault.Conflict, "key-conflict", cause, "%s %s: the key is the folder of another object, or one of its folders is an object; choose another key", doing, bucket)
	case answer.StatusCode == http.StatusConflict:
		return fault.Wrap(fault.Transient, "storage-busy", cause, "%s %s: another writer is at the same key; try again", doing, bucket)
	case answer.Code == "KeyTooLongError" || answer.Code == "InvalidObjectName" || answer.Code == "XMinioInvalidObjectName":
		return fault.Wrap(fault.Invalid, "key-invalid", cause, "%s %s: the store refuses the key; choose a shorter or plainer one", doing, bucket)
	case answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusUnauthorized:
		return fault.Wrap(fault.Internal, "storage-refused", cause, "%s %s: the store refuses the access key; check key, secret and policy", doing, bucket)
	case answer.StatusCode == http.StatusInsufficientStorage || answer.Code == "XMinioStorageFull" || answer.Code == "QuotaExceeded":
		return fault.Wrap(fault.Transient, "storage-full", cause, "%s %s: the store is full; make room", doing, bucket)
	case answer.StatusCode == http.StatusRequestTimeout, answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= 500,
		answer.Code == "IncompleteBody", answer.Code == "RequestTimeout", answer.Code == "SlowDown":
		return fault.Wrap(fault.Transient, "storage-unavailable", cause, "%s %s: the store cannot do it now", doing, bucket)
	case answer.StatusCode != 0:
		return fault.Wrap(fault.Internal, "storage-answer", cause, "%s %s: the store answered %d %s", doing, bucket, answer.StatusCode, answer.Code)
	case answer.Code != "":
		// minio-go's own checks, before anything is sent.
		return fault.Wrap(fault.Invalid, "key-invalid", cause, "%s %s: the request is not valid in S3", doing, bucket)
	default:
		return fault.Wrap(fault.Transient, "storage-unavailable", cause, "%s %s: the store cannot be reached", doing, bucket)
	}
}
