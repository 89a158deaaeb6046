package ingest

import (
	"context"
	"io"
	"sync"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func storeOptions() blob.PutOptions { return blob.PutOptions{} }

// Get fails for one object for ever.
func (s stubborn) Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Info, error) {
	if key == s.key {
		return nil, blob.Info{}, fault.New(fault.Transient, "storage-unavailable", "away on purpose")
	}
	return s.world.Get(ctx, bucket, key)
}

// replacing puts other bytes under an inbox key as soon as its first bytes were fetched.
type replacing struct {
	*world
	data []byte
	once sync.Once
}

func (r *replacing) Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Info, error) {
	body, info, err := r.world.Get(ctx, bucket, key)
	if bucket == r.Buckets().Inbox {
		r.once.Do(func() { r.drop(key, r.data) })
	}
	return body, info, err
}

// interfering does something while an object is put.
type interfering struct {
	*world
	during func(key string)
}

func (i *interfering) Put(ctx context.Context, bucket, key string, r io.Reader, size int64, opts blob.PutOptions) error {
	err := i.world.Put(ctx, bucket, key, r, size, opts)
	i.during(key)
	return err
}
