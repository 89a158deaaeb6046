package embedded

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
)

// Tests here are not parallel: there is one embedded S3 server a process, and it owns the working directory.

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp keeps the date of its headers in a goroutine of the package, started once and never ended.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// fasthttp's janitor of a stopped server sleeps up to 10 s before it sees that it is stopped.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const (
	testAccess = "noctua"
	testSecret = "noctua-secret"
)

func start(t testing.TB, dir string, change func(*Config)) *Servers {
	t.Helper()
	cfg := Config{DataDir: dir, S3Listen: "127.0.0.1:0", AccessKey: testAccess, SecretKey: testSecret}
	if change != nil {
		change(&cfg)
	}
	begin := time.Now()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("ready after %s", time.Since(begin))
	return s
}

func (s *Servers) blobConfig() blob.Config {
	return blob.Config{Endpoint: s.Endpoint, AccessKey: testAccess, SecretKey: testSecret}
}

func TestConformance(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	blobtest.Conformance(t, s.blobConfig(), blobtest.Options{AtomicRemoval: true})
}

func TestConformanceWithSidecar(t *testing.T) {
	s := start(t, t.TempDir(), func(c *Config) { c.ForceSidecar = true })
	blobtest.Conformance(t, s.blobConfig(), blobtest.Options{AtomicRemoval: true})
}

// TestRestartKeepsEverything: objects, their ETags and times, messages and consumer positions are there after a restart.
func TestRestartKeepsEverything(t *testing.T) {
	for _, sidecar := range []bool{false, true} {
		dir := t.TempDir()
		s := start(t, dir, func(c *Config) { c.ForceSidecar = sidecar })
		cfg := s.blobConfig()
		cfg.BucketPrefix = blob.DefaultBucketPrefix
		store := blobtest.Open(t, cfg)
		if err := store.PutBytes(t.Context(), store.Buckets().Inbox, "north/a.dcm", []byte("bytes"), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		before, err := store.Stat(t.Context(), store.Buckets().Inbox, "north/a.dcm")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = start(t, dir, nil) // without ForceSidecar: the folder says what it is
		cfg.Endpoint = s.Endpoint
		store = blobtest.Open(t, cfg)
		after, err := store.Stat(t.Context(), store.Buckets().Inbox, "north/a.dcm")
		if err != nil || after != before {
			t.Fatalf("before %+v, after %+v, %v", before, after, err)
		}
		// The wake-up of the put has waited, too, unless the server was closed before it was published: then ingest lists.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInboxWakes: a put into the inbox by any way wakes ingest once for many, and the message names no key.
func TestInboxWakes(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	cfg := s.blobConfig()
	cfg.BucketPrefix = blob.DefaultBucketPrefix
	store := blobtest.Open(t, cfg)
	conn, err := stream.Connect(t.Context(), stream.Config{InProcess: s.Queue})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.EnsureTopology(t.Context(), stream.DefaultTopology()); err != nil {
		t.Fatal(err)
	}
	wake := func(what string) {
		t.Helper()
		woken, err := conn.WaitWake(t.Context(), stream.ConsumerIngest, 10*time.Second)
		if err != nil || !woken {
			t.Fatalf("%s does not wake ingest: %v, %v", what, woken, err)
		}
	}
	inbox := store.Buckets().Inbox
	if err := store.PutBytes(t.Context(), inbox, "north/Meier^Anna.dcm", []byte("x"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	wake("a put")

	client, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(testAccess, testSecret, ""), Region: Region})
	if err != nil {
		t.Fatal(err)
	}
	// A multipart upload, as every S3 client does it for large files.
	data := bytes.Repeat([]byte("0123456789abcdef"), (17<<20)/16)
	if _, err := client.PutObject(t.Context(), inbox, "north/large.zip", bytes.NewReader(data), int64(len(data)),
		minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
		t.Fatal(err)
	}
	wake("a multipart upload")
	got, err := store.GetBytes(t.Context(), inbox, "north/large.zip", 1<<30)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the multipart upload reads back %d bytes, %v", len(got), err)
	}
	if _, err := client.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: inbox, Object: "north/copy.zip"},
		minio.CopySrcOptions{Bucket: inbox, Object: "north/large.zip"}); err != nil {
		t.Fatal(err)
	}
	wake("a copy")
	// Other buckets wake nobody.
	if err := store.PutBytes(t.Context(), store.Buckets().Archive, "images/a", []byte("x"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if woken, err := conn.WaitWake(t.Context(), stream.ConsumerIngest, 300*time.Millisecond); woken || err != nil {
		t.Fatalf("a put into the archive woke ingest: %v, %v", woken, err)
	}
	assertNoNames(t, s)
}

// assertNoNames reads the broker's files: no key of the inbox may be in them.
func assertNoNames(t *testing.T, s *Servers) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(s.nats.StoreDir(), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte("Meier")) || bytes.Contains(raw, []byte("large.zip")) {
			t.Errorf("%s holds a key of the inbox", path)
		}
		found += bytes.Count(raw, []byte("inbox.changed"))
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("the broker's files were not looked into: %d, %v", found, err)
	}
}

// TestKeysStayInTheirBucket: no key, however it is spelled, may reach another bucket or the outside. The keys go out unescaped
// by our client and as they are.
func TestKeysStayInTheirBucket(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	cfg := s.blobConfig()
	cfg.BucketPrefix = blob.DefaultBucketPrefix
	store := blobtest.Open(t, cfg)
	client, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(testAccess, testSecret, ""), Region: Region})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"../escape", "north/../../escape", "north/../../../escape", "north/../../noctua-archive/escape", "..%2f..%2fescape",
		"north/%2e%2e/%2e%2e/escape", "../../../../../../tmp/noctua-escape", "north/.sgwtmp/escape", ".sgwtmp/escape", "north/" + strings.Repeat("escape", 60),
	} {
		_, err := client.PutObject(t.Context(), store.Buckets().Inbox, key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
		t.Logf("%.50q: %v", key, err)
	}
	inbox := filepath.Join("s3", store.Buckets().Inbox) + string(filepath.Separator)
	for _, path := range tree(t, dir) {
		if strings.Contains(path, "escape") && (!strings.HasPrefix(path, inbox) || strings.Contains(path, ".sgwtmp")) {
			t.Errorf("a key got out of the inbox or out of sight: %s", path)
		}
	}
	if _, err := os.Stat("/tmp/noctua-escape"); err == nil {
		t.Error("a key got out of the data folder")
	}
}

// tree lists the files below dir, relative to it.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		paths = append(paths, relative)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

func TestAddressInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dir := t.TempDir()
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Config{DataDir: dir, S3Listen: listener.Addr().String(), AccessKey: testAccess, SecretKey: testSecret})
	if fault.CodeOf(err) != "address-in-use" || !strings.Contains(err.Error(), "choose another") {
		t.Fatalf("expected address-in-use with what to do, got %v", err)
	}
	if files := tree(t, dir); len(files) != 0 {
		t.Errorf("a start that was refused wrote %v", files)
	}
	if after, err := os.Getwd(); err != nil || after != before {
		t.Errorf("the working directory went from %s to %s, %v", before, after, err)
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no folder": {AccessKey: testAccess, SecretKey: testSecret},
		"no key":    {DataDir: "x", SecretKey: testSecret},
		"address":   {DataDir: "x", AccessKey: testAccess, SecretKey: testSecret, S3Listen: "9090"},
	} {
		if err := cfg.Validate(); fault.CodeOf(err) != "config-invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPrivateFiles: what is stored is patient data and nobody else's business.
func TestPrivateFiles(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	store := blobtest.Open(t, s.blobConfig())
	if err := store.PutBytes(t.Context(), store.Buckets().Inbox, "north/a", []byte("x"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "s3", store.Buckets().Inbox, "north", "a"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if info, err = os.Stat(filepath.Join(dir, "s3")); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info, err)
	}
}

// BenchmarkPut measures what durability costs: the same puts with and without sync. Run it by `make bench`.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		for _, writers := range []int{1, 8} {
			for _, synced := range []bool{true, false} {
				b.Run(fmt.Sprintf("%dKiB/writers=%d/synced=%t", size>>10, writers, synced), func(b *testing.B) {
					s := start(b, b.TempDir(), func(c *Config) {
						if !synced {
							c.sync = func(*os.File) error { return nil }
						}
					})
					store := blobtest.Open(b, s.blobConfig())
					data := bytes.Repeat([]byte{1}, size)
					b.SetBytes(int64(size))
					work := make(chan int)
					done := make(chan error, writers)
					b.ResetTimer()
					for range writers {
						go func() {
							var err error
							for i := range work {
								if err == nil {
									err = store.PutBytes(context.Background(), store.Buckets().Archive, fmt.Sprintf("images/1.2.%d/1.2.3.%d/a.dcm", i/10, i), data, blob.PutOptions{IfNoneMatch: true})
								}
							}
							done <- err
						}()
					}
					for i := range b.N {
						work <- i
					}
					close(work)
					for range writers {
						if err := <-done; err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
				})
			}
		}
	}
}
