package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Options say what a store promises beyond the rest.
type Options struct {
	// AtomicRemoval: a removal with If-Match never removes other bytes than it names.
	AtomicRemoval bool
}

// Conformance checks that a store keeps all that Noctua relies on. Run it against every S3 store that Noctua should use.
func Conformance(t *testing.T, cfg blob.Config, opts Options) {
	store := Open(t, cfg)
	for _, c := range []struct {
		name string
		test func(*testing.T, *blob.Store)
	}{
		{"SelfTest", testSelfTest},
		{"EnsureBucketsTwice", testEnsureTwice},
		{"RoundTrip", testRoundTrip},
		{"Missing", testMissing},
		{"OneWinner", testOneWinner},
		{"OverwriteAndRemoveMatching", testRemoveMatching},
		{"OverwriteAgainstRemoval", func(t *testing.T, s *blob.Store) { testRemovalRace(t, s, opts.AtomicRemoval) }},
		{"PutsAgainstEmptyingFolders", testEmptyingFolders},
		{"OddKeys", testOddKeys},
		{"ListOrderAndPages", testList},
		{"NoFoldersLeft", testNoFoldersLeft},
		{"PresignedPut", testPresigned},
		{"BrokenSource", testBrokenSource},
		{"Limit", testLimit},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, store) })
	}
}

func wantCode(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	if fault.KindOf(err) != kind || fault.CodeOf(err) != code {
		t.Fatalf("expected %s %q, got %s %q: %v", kind, code, fault.KindOf(err), fault.CodeOf(err), err)
	}
}

func put(t *testing.T, s *blob.Store, key, text string) {
	t.Helper()
	if err := s.PutBytes(t.Context(), s.Buckets().Inbox, key, []byte(text), blob.PutOptions{}); err != nil {
		t.Fatalf("putting %q: %v", key, err)
	}
}

func keys(t *testing.T, s *blob.Store, prefix string) []string {
	t.Helper()
	found := []string{}
	for info, err := range s.List(t.Context(), s.Buckets().Inbox, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, info.Key)
	}
	return found
}

func testSelfTest(t *testing.T, s *blob.Store) {
	if err := s.SelfTest(t.Context()); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.List(t.Context(), s.Buckets().Results, "") {
		t.Fatalf("the self-test left %v, %v", info, err)
	}
}

func testEnsureTwice(t *testing.T, s *blob.Store) {
	if err := s.EnsureBuckets(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func testRoundTrip(t *testing.T, s *blob.Store) {
	for _, size := range []int{0, 1, 100, 20 << 20} { // the last is above minio-go's multipart threshold
		data := bytes.Repeat([]byte("noctua!"), size/7+1)[:size]
		key := fmt.Sprintf("north/round-trip/%d", size)
		bucket := s.Buckets().Inbox
		// A pure reader cannot be rewound; both ways must work.
		if err := s.Put(t.Context(), bucket, key, io.MultiReader(bytes.NewReader(data)), int64(size), blob.PutOptions{IfNoneMatch: true}); err != nil {
			t.Fatal(err)
		}
		if err := s.PutBytes(t.Context(), bucket, key, data, blob.PutOptions{ContentType: "application/dicom"}); err != nil {
			t.Fatal(err)
		}
		got, err := s.GetBytes(t.Context(), bucket, key, 1<<30)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: got %d bytes, %v", size, len(got), err)
		}
		stat, err := s.Stat(t.Context(), bucket, key)
		if err != nil || stat.Size != int64(size) || stat.Key != key || stat.ETag == "" || time.Since(stat.LastModified).Abs() > time.Hour {
			t.Fatalf("stat: %+v, %v", stat, err)
		}
		body, info, err := s.Get(t.Context(), bucket, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := body.Close(); err != nil {
			t.Fatal(err)
		}
		for listed, err := range s.List(t.Context(), bucket, key) {
			if err != nil {
				t.Fatal(err)
			}
			if listed.Key == key && (listed != stat || info != stat) {
				t.Fatalf("listing %+v, get %+v and stat %+v of one object differ", listed, info, stat)
			}
		}
		if err := s.Remove(t.Context(), bucket, key); err != nil {
			t.Fatal(err)
		}
	}
}

func testMissing(t *testing.T, s *blob.Store) {
	bucket := s.Buckets().Archive
	_, _, err := s.Get(t.Context(), bucket, "images/none")
	wantCode(t, err, fault.NotFound, "object-missing")
	_, err = s.Stat(t.Context(), bucket, "images/none")
	wantCode(t, err, fault.NotFound, "object-missing")
	if err := s.Remove(t.Context(), bucket, "images/none"); err != nil {
		t.Fatalf("removing what is not there should be no error: %v", err)
	}
	if err := s.RemoveMatching(t.Context(), bucket, "images/none", "e", time.Now()); err != nil {
		t.Fatalf("removing what is not there should be no error: %v", err)
	}
	_, _, err = s.Get(t.Context(), bucket+"-none", "a")
	wantCode(t, err, fault.Internal, "bucket-missing")
}

func testOneWinner(t *testing.T, s *blob.Store) {
	const rounds, writers = 10, 16
	for round := range rounds {
		key := fmt.Sprintf("images/1.2/%d/result.json", round)
		results := make([]error, writers)
		var group sync.WaitGroup
		for i := range writers {
			group.Go(func() {
				results[i] = s.PutBytes(t.Context(), s.Buckets().Results, key, fmt.Appendf(nil, "%d", i), blob.PutOptions{IfNoneMatch: true})
			})
		}
		group.Wait()
		winner := -1
		for i, err := range results {
			if err == nil {
				if winner >= 0 {
					t.Fatalf("round %d: writers %d and %d both won", round, winner, i)
				}
				winner = i
				continue
			}
			wantCode(t, err, fault.Conflict, "object-exists")
		}
		got, err := s.GetBytes(t.Context(), s.Buckets().Results, key, 100)
		if err != nil || string(got) != fmt.Sprint(winner) {
			t.Fatalf("round %d: writer %d won but %q is stored, %v", round, winner, got, err)
		}
		if err := s.Remove(t.Context(), s.Buckets().Results, key); err != nil {
			t.Fatal(err)
		}
	}
}

func testRemoveMatching(t *testing.T, s *blob.Store) {
	bucket, key := s.Buckets().Inbox, "north/overwritten.dcm"
	put(t, s, key, "first")
	first, err := s.Stat(t.Context(), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, key, "second")
	wantCode(t, s.RemoveMatching(t.Context(), bucket, key, first.ETag, first.LastModified), fault.Conflict, "object-changed")
	second, err := s.Stat(t.Context(), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.RemoveMatching(t.Context(), bucket, key, second.ETag, second.LastModified.Add(-time.Hour)), fault.Conflict, "object-changed")
	if err := s.RemoveMatching(t.Context(), bucket, key, second.ETag, second.LastModified); err != nil {
		t.Fatal(err)
	}
	if left := keys(t, s, key); len(left) != 0 {
		t.Fatalf("still there: %v", left)
	}
}

// testRemovalRace overwrites an object while the one before is being removed. On stores that promise it the new bytes
// must stay, whoever is first; on others no fault may be misleading.
func testRemovalRace(t *testing.T, s *blob.Store, atomic bool) {
	bucket := s.Buckets().Inbox
	for round := range 40 {
		key := fmt.Sprintf("north/race/%d.dcm", round)
		put(t, s, key, "old")
		old, err := s.Stat(t.Context(), bucket, key)
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		var removal, overwrite error
		group.Go(func() { removal = s.RemoveMatching(t.Context(), bucket, key, old.ETag, old.LastModified) })
		group.Go(func() { overwrite = s.PutBytes(t.Context(), bucket, key, []byte("new"), blob.PutOptions{}) })
		group.Wait()
		if overwrite != nil {
			t.Fatal(overwrite)
		}
		if removal != nil {
			wantCode(t, removal, fault.Conflict, "object-changed")
		}
		got, err := s.GetBytes(t.Context(), bucket, key, 100)
		if atomic && (err != nil || string(got) != "new") {
			t.Fatalf("round %d: the overwriting bytes are lost: %q, %v", round, got, err)
		}
		if err := s.Remove(t.Context(), bucket, key); err != nil {
			t.Fatal(err)
		}
	}
}

// testEmptyingFolders puts objects one after the other into a folder that is emptied all the time, as ingest does.
func testEmptyingFolders(t *testing.T, s *blob.Store) {
	bucket := s.Buckets().Inbox
	var group sync.WaitGroup
	for writer := range 8 {
		group.Go(func() {
			for i := range 40 {
				key := fmt.Sprintf("north/morning/%d-%d.dcm", writer, i)
				if err := s.PutBytes(t.Context(), bucket, key, []byte(key), blob.PutOptions{}); err != nil {
					t.Errorf("a put into a folder that is being emptied fails: %v", err)
					return
				}
				if err := s.Remove(t.Context(), bucket, key); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if left := keys(t, s, ""); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// oddKeys are keys that clinics' software makes. Each must either be stored under exactly its name, or be refused with a fault.
func oddKeys() []string {
	return []string{
		"north/a b c.dcm", "north/Müller Łódź 眼底.dcm", "north/100%.dcm", "north/a+b&c=d?e#f.dcm", "north/'quoted\".dcm",
		"north/back\\slash.dcm", "north/..hidden", "north/a..b", "north/.dot", "north/trailing.", "north/tab\there", "north/" + strings.Repeat("x", 200),
		"north/../south/a", "north/./a", "north/..", "../escape", "/absolute", "north//double", "north/" + strings.Repeat("y", 300), strings.Repeat("z/", 600),
		"no-clinic", ".sgwtmp/x", "north/.sgwtmp/x",
	}
}

func testOddKeys(t *testing.T, s *blob.Store) {
	bucket := s.Buckets().Inbox
	for _, key := range oddKeys() {
		before := keys(t, s, "")
		err := s.PutBytes(t.Context(), bucket, key, []byte(key), blob.PutOptions{})
		if err != nil {
			if !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != "key-invalid" {
				t.Errorf("%.40q is refused as %s %s: %v", key, fault.KindOf(err), fault.CodeOf(err), err)
			}
			if strings.Contains(err.Error(), key) {
				t.Errorf("the refusal of %.40q holds the key, which may name a patient: %v", key, err)
			}
			if after := keys(t, s, ""); !slices.Equal(before, after) {
				t.Errorf("%.40q was refused, but the listing changed from %q to %q", key, before, after)
			}
			t.Logf("%.40q refused: %v", key, err)
			continue
		}
		got, err := s.GetBytes(t.Context(), bucket, key, 4096)
		if err != nil || string(got) != key {
			t.Errorf("%.40q was stored but reads %q, %v", key, got, err)
		}
		added := difference(keys(t, s, ""), before)
		if len(added) != 1 || added[0] != key {
			t.Errorf("%.40q was stored but is listed as %q", key, added)
		}
		for _, name := range append(added, key) {
			if err := s.Remove(t.Context(), bucket, name); err != nil {
				t.Errorf("removing %.40q: %v", name, err)
			}
		}
	}
	if left := keys(t, s, ""); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	// A store on a file system cannot hold both; one that can, may.
	put(t, s, "north/both", "file")
	if err := s.PutBytes(t.Context(), bucket, "north/both/below", []byte("x"), blob.PutOptions{}); err != nil {
		wantCode(t, err, fault.Conflict, "key-conflict")
	}
	put(t, s, "north/folder/below", "file")
	if err := s.PutBytes(t.Context(), bucket, "north/folder", []byte("x"), blob.PutOptions{}); err != nil {
		wantCode(t, err, fault.Conflict, "key-conflict")
	}
	for _, key := range keys(t, s, "") {
		if err := s.Remove(t.Context(), bucket, key); err != nil {
			t.Error(err)
		}
	}
}

func difference(after, before []string) []string {
	added := []string{}
	for _, key := range after {
		if !slices.Contains(before, key) {
			added = append(added, key)
		}
	}
	return added
}

func testList(t *testing.T, s *blob.Store) {
	want := []string{"list/a", "list/a b", "list/a!b/c", "list/a-b", "list/a.b", "list/b/a", "list/b/c/d", "list/b0", "list/ä", "list/眼"}
	for i := range 1100 { // beyond one page of 1000
		want = append(want, fmt.Sprintf("list/many/%04d", i))
	}
	slices.Sort(want)
	var group sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, key := range want {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := s.PutBytes(t.Context(), s.Buckets().Inbox, key, nil, blob.PutOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got := keys(t, s, "list/")
	if !slices.Equal(got, want) {
		t.Errorf("%d keys put, %d listed, in order: %v", len(want), len(got), slices.IsSorted(got))
	}
	if got := keys(t, s, "list/b/"); !slices.Equal(got, []string{"list/b/a", "list/b/c/d"}) {
		t.Errorf("prefix list/b/ gives %q", got)
	}
	seen := 0
	for _, err := range s.List(t.Context(), s.Buckets().Inbox, "list/") {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	for _, key := range want {
		if err := s.Remove(t.Context(), s.Buckets().Inbox, key); err != nil {
			t.Fatal(err)
		}
	}
}

func testNoFoldersLeft(t *testing.T, s *blob.Store) {
	put(t, s, "north/deep/er/file", "x")
	if err := s.Remove(t.Context(), s.Buckets().Inbox, "north/deep/er/file"); err != nil {
		t.Fatal(err)
	}
	if left := keys(t, s, ""); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	put(t, s, "north/deep", "a file where a folder was")
	if err := s.Remove(t.Context(), s.Buckets().Inbox, "north/deep"); err != nil {
		t.Fatal(err)
	}
}

func testPresigned(t *testing.T, s *blob.Store) {
	const key = "north/presigned ü.dcm"
	u, err := s.PresignPut(t.Context(), s.Buckets().Inbox, key, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, strings.NewReader("by address"))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", response.Status, raw, err)
	}
	got, err := s.GetBytes(t.Context(), s.Buckets().Inbox, key, 100)
	if err != nil || string(got) != "by address" {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := s.Remove(t.Context(), s.Buckets().Inbox, key); err != nil {
		t.Fatal(err)
	}
}

type failingReader struct{ left int }

var errSource = errors.New("the disk is gone")

func (r *failingReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errSource
	}
	n := min(r.left, len(p))
	r.left -= n
	return n, nil
}

// testBrokenSource: nothing of an upload that breaks may be seen, and the fault is the source's, not the store's.
func testBrokenSource(t *testing.T, s *blob.Store) {
	bucket := s.Buckets().Inbox
	err := s.Put(t.Context(), bucket, "north/broken", &failingReader{left: 100_000}, 200_000, blob.PutOptions{})
	wantCode(t, err, fault.Internal, "object-unreadable")
	if !errors.Is(err, errSource) {
		t.Fatalf("the source's error is lost: %v", err)
	}
	err = s.Put(t.Context(), bucket, "north/broken", io.MultiReader(strings.NewReader("short")), 200_000, blob.PutOptions{})
	wantCode(t, err, fault.Internal, "object-unreadable")
	if left := keys(t, s, ""); len(left) != 0 {
		t.Fatalf("an upload that broke is listed: %q", left)
	}
}

func testLimit(t *testing.T, s *blob.Store) {
	put(t, s, "north/large", strings.Repeat("x", 1001))
	_, err := s.GetBytes(t.Context(), s.Buckets().Inbox, "north/large", 1000)
	wantCode(t, err, fault.Invalid, "object-too-large")
	if err := s.Remove(t.Context(), s.Buckets().Inbox, "north/large"); err != nil {
		t.Fatal(err)
	}
}
