// Package blob holds Noctua's buckets and its key layout over any S3 store. It is the only importer of minio-go.
//
// Guarantees: a put is atomic (one PUT request, never multipart), so an object that lists is whole; a put with IfNoneMatch
// has at most one winner, on stores that pass SelfTest; every error carries a pkg/fault kind, so callers never look at
// status codes; keys are made from checked parts, so no UID or clinic name can step out of its folder.
// It imports pkg/fault, pkg/event (for clinic names) and minio-go.
package blob
