package embedded

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// syncWatch records what is synced, and whether the object's name was there at that moment.
type syncWatch struct {
	mu     sync.Mutex
	object string // absolute path of the object that is put
	early  int    // syncs of files before the name was there
	late   []string
	fail   bool
}

var errDisk = errors.New("the disk does not sync")

func (w *syncWatch) sync(f *os.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.object == "" {
		return nil
	}
	if w.fail {
		return errDisk
	}
	if _, err := os.Lstat(w.object); err != nil {
		w.early++
	} else {
		w.late = append(w.late, f.Name())
	}
	return f.Sync()
}

func (w *syncWatch) watch(object string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.object, w.early, w.late = object, 0, nil
}

// TestDurableBeforeAnswered: when a put is answered, its bytes were synced before its name existed, and its attributes and every folder
// above it after that.
func TestDurableBeforeAnswered(t *testing.T) {
	for _, sidecar := range []bool{false, true} {
		dir := t.TempDir()
		watch := &syncWatch{}
		s := start(t, dir, func(c *Config) { c.sync, c.ForceSidecar = watch.sync, sidecar })
		store := blobtest.Open(t, s.blobConfig())
		bucket := store.Buckets().Archive
		root := filepath.Join(dir, "s3")
		client, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(testAccess, testSecret, ""), Region: Region})
		if err != nil {
			t.Fatal(err)
		}
		large := bytes.Repeat([]byte("x"), 11<<20)
		for way, put := range map[string]func(key string) error{
			"put": func(key string) error {
				return store.PutBytes(t.Context(), bucket, key, []byte("x"), blob.PutOptions{IfNoneMatch: true})
			},
			"multipart": func(key string) error {
				_, err := client.PutObject(t.Context(), bucket, key, bytes.NewReader(large), int64(len(large)), minio.PutObjectOptions{PartSize: 5 << 20})
				return err
			},
			"copy": func(key string) error {
				watch.watch("")
				if err := store.PutBytes(t.Context(), bucket, "source", []byte("x"), blob.PutOptions{}); err != nil {
					return err
				}
				watch.watch(filepath.Join(root, bucket, key))
				_, err := client.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: bucket, Object: key}, minio.CopySrcOptions{Bucket: bucket, Object: "source"})
				return err
			},
		} {
			key := "images/" + way + "/1.2.3/a.dcm"
			path := filepath.Join(root, bucket, filepath.FromSlash(key))
			watch.watch(path)
			if err := put(key); err != nil {
				t.Fatalf("%s: %v", way, err)
			}
			watch.mu.Lock()
			if watch.early == 0 && way != "copy" { // a copy is synced after its name exists; it is not ours to write
				t.Errorf("%s: the bytes were not synced before the name existed", way)
			}
			want := []string{path, filepath.Dir(path), filepath.Join(root, bucket, "images"), filepath.Join(root, bucket), root}
			if sidecar {
				meta := filepath.Join(dir, "meta-s3", bucket, filepath.FromSlash(key), "meta")
				want = append(want, meta, filepath.Join(meta, "etag"), filepath.Dir(meta), filepath.Join(dir, "meta-s3"))
			}
			for _, name := range want {
				if !slices.Contains(watch.late, name) {
					t.Errorf("%s: %s was not synced before the answer", way, strings.TrimPrefix(name, dir))
				}
			}
			watch.mu.Unlock()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSyncFailureIsNotAnswered: a put whose bytes cannot be synced fails, and nothing of it is seen.
func TestSyncFailureIsNotAnswered(t *testing.T) {
	watch := &syncWatch{}
	s := start(t, t.TempDir(), func(c *Config) { c.sync = watch.sync })
	store := blobtest.Open(t, s.blobConfig())
	watch.mu.Lock()
	watch.object, watch.fail = "/", true
	watch.mu.Unlock()
	err := store.PutBytes(t.Context(), store.Buckets().Archive, "images/a", []byte("x"), blob.PutOptions{})
	if !fault.Is(err, fault.Transient) || fault.CodeOf(err) != "storage-unavailable" {
		t.Fatalf("a put that was not synced was answered with %v", err)
	}
	watch.watch("")
	for info, err := range store.List(t.Context(), store.Buckets().Archive, "") {
		t.Fatalf("it is listed: %+v, %v", info, err)
	}
}
