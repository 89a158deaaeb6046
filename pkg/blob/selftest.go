package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// selfTestWriters race for one key: with fewer, a store that checks and then writes may pass by luck.
const selfTestWriters = 16

// SelfTest proves on the results bucket that the store lets exactly one of 16 concurrent conditional writers win, and that
// the winner's bytes are what is stored. All of Noctua's promises rest on that, so a store that fails is refused with
// a fault of kind Unsupported, "storage-without-conditional-put". It leaves nothing behind.
func (s *Store) SelfTest(ctx context.Context) error {
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fault.Wrap(fault.Internal, "random-unavailable", err, "reading random bytes for the storage self-test")
	}
	bucket, key := s.buckets.Results, "selftest/"+hex.EncodeToString(nonce[:])
	results := make([]error, selfTestWriters)
	content := func(i int) []byte { return fmt.Appendf(nil, "writer %d", i) }
	start := make(chan struct{})
	var writers sync.WaitGroup
	for i := range selfTestWriters {
		writers.Go(func() {
			<-start
			results[i] = s.PutBytes(ctx, bucket, key, content(i), PutOptions{IfNoneMatch: true})
		})
	}
	close(start)
	writers.Wait()
	err := s.judgeSelfTest(ctx, bucket, key, results, content)
	if removeErr := s.Remove(context.WithoutCancel(ctx), bucket, key); err == nil {
		err = removeErr
	}
	return err
}

func (s *Store) judgeSelfTest(ctx context.Context, bucket, key string, results []error, content func(int) []byte) error {
	winners, winner := 0, -1
	for i, err := range results {
		switch {
		case err == nil:
			winners, winner = winners+1, i
		case fault.CodeOf(err) == "object-exists":
		default:
			return fmt.Errorf("storage self-test: %w", err)
		}
	}
	if winners == 0 {
		// The winner's answer was lost and its repeated request met its own object; this says nothing about the store.
		return fault.New(fault.Transient, "storage-unavailable", "the storage self-test was disturbed by a broken connection; try again")
	}
	if winners != 1 {
		return fault.New(fault.Unsupported, "storage-without-conditional-put",
			"the S3 store let %d of %d concurrent conditional writers (If-None-Match: *) win, but exactly one must; Noctua would lose or double images on it. Use a store or a version with conditional PUT, e.g. AWS S3, MinIO, Ceph from 19, versitygw",
			winners, len(results))
	}
	got, err := s.GetBytes(ctx, bucket, key, 1<<10)
	if err != nil {
		return fmt.Errorf("storage self-test: %w", err)
	}
	if !bytes.Equal(got, content(winner)) {
		return fault.New(fault.Unsupported, "storage-without-conditional-put",
			"the S3 store told one conditional writer that it had won and stored another's bytes; Noctua would mix up images on it")
	}
	return nil
}
