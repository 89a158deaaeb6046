package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// errKilled is what every operation of a killed process gives.
var errKilled = errors.New("killed")

// world is a store and a stream in memory that can be killed at any write: the tests' process. What it holds survives.
type world struct {
	mu      sync.Mutex
	objects map[string]map[string]stored // by bucket and key
	events  []event.Envelope
	clock   time.Time

	writes    int            // so far
	killAt    int            // this write (from 1) is the last one; 0: never
	killAfter bool           // the last write is done, but its answer never arrives
	killed    bool           // nothing works any more
	fail      map[string]int // operation → how often it still fails as if the server were away
}

type stored struct {
	data     []byte
	modified time.Time
}

func newWorld() *world {
	return &world{objects: map[string]map[string]stored{}, clock: time.Date(2026, 11, 23, 23, 59, 58, 0, time.UTC), fail: map[string]int{}}
}

// revive starts the process again over the same objects and events; killAt counts from here.
func (w *world) revive(killAt int, after bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed, w.writes, w.killAt, w.killAfter = false, 0, killAt, after
}

// begin is called at the start of each operation, under the lock. finish must be called when it is done.
func (w *world) begin(operation string, write bool) (finish func() error, err error) {
	if w.killed {
		return nil, errKilled
	}
	if w.fail[operation] > 0 {
		w.fail[operation]--
		return nil, fault.New(fault.Transient, "storage-unavailable", "%s: away on purpose", operation)
	}
	done := func() error { return nil }
	if write {
		w.writes++
		if w.writes == w.killAt {
			w.killed = true
			if !w.killAfter {
				return nil, errKilled
			}
			done = func() error { return errKilled }
		}
	}
	return done, nil
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) Buckets() blob.Buckets { return blob.BucketsOf("") }

func (w *world) Put(_ context.Context, bucket, key string, r io.Reader, size int64, opts blob.PutOptions) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if int64(len(data)) != size {
		return fault.New(fault.Internal, "object-unreadable", "%d bytes instead of %d", len(data), size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	finish, err := w.begin("put "+bucket, true)
	if err != nil {
		return err
	}
	if _, exists := w.objects[bucket][key]; exists && opts.IfNoneMatch {
		return fault.New(fault.Conflict, "object-exists", "exists")
	}
	if w.objects[bucket] == nil {
		w.objects[bucket] = map[string]stored{}
	}
	w.objects[bucket][key] = stored{data, w.clock}
	return finish()
}

func (w *world) PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error {
	return w.Put(ctx, bucket, key, bytes.NewReader(data), int64(len(data)), opts)
}

func infoOf(key string, s stored) blob.Info {
	digest := sha256.Sum256(s.data)
	return blob.Info{Key: key, ETag: hex.EncodeToString(digest[:16]), Size: int64(len(s.data)), LastModified: s.modified.Truncate(time.Second)}
}

func (w *world) Get(_ context.Context, bucket, key string) (io.ReadCloser, blob.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.begin("get "+bucket, false); err != nil {
		return nil, blob.Info{}, err
	}
	s, ok := w.objects[bucket][key]
	if !ok {
		return nil, blob.Info{}, fault.New(fault.NotFound, "object-missing", "missing")
	}
	return io.NopCloser(bytes.NewReader(s.data)), infoOf(key, s), nil
}

func (w *world) GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error) {
	body, _, err := w.Get(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(body, limit))
}

func (w *world) Stat(ctx context.Context, bucket, key string) (blob.Info, error) {
	_, info, err := w.Get(ctx, bucket, key)
	return info, err
}

func (w *world) RemoveMatching(_ context.Context, bucket, key, etag string, modified time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	finish, err := w.begin("remove "+bucket, true)
	if err != nil {
		return err
	}
	s, ok := w.objects[bucket][key]
	if !ok {
		return finish()
	}
	if info := infoOf(key, s); info.ETag != etag || !info.LastModified.Equal(modified) {
		return fault.New(fault.Conflict, "object-changed", "changed")
	}
	delete(w.objects[bucket], key)
	return finish()
}

func (w *world) List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		w.mu.Lock()
		_, err := w.begin("list "+bucket, false)
		snapshot := maps.Clone(w.objects[bucket])
		w.mu.Unlock()
		if err != nil {
			yield(blob.Info{}, err)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(snapshot)) {
			if strings.HasPrefix(key, prefix) && !yield(infoOf(key, snapshot[key]), nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(blob.Info{}, ctx.Err())
		}
	}
}

func (w *world) Publish(_ context.Context, e event.Envelope) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	finish, err := w.begin("publish", true)
	if err != nil {
		return err
	}
	w.events = append(w.events, e)
	return finish()
}

// drop puts an object into the inbox as a clinic does.
func (w *world) drop(key string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	bucket := w.Buckets().Inbox
	if w.objects[bucket] == nil {
		w.objects[bucket] = map[string]stored{}
	}
	w.objects[bucket][key] = stored{data, w.clock}
}

// keys lists a bucket.
func (w *world) keys(bucket string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.objects[bucket]))
}

// published lists the distinct event ids of a type: a stream drops repeated ones.
func (w *world) published(typ string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := map[string]bool{}
	for _, e := range w.events {
		if e.Type == typ {
			ids[e.ID] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}
