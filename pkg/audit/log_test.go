package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/audit"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/servers"
)

var (
	somebody = record.AuditAgent{Via: "session", Session: "0123456789abcdef", Address: "127.0.0.1"}
	file     = record.AuditEntity{Kind: record.EntityQuarantineFile, QuarantineKey: "north/2026-11-23/" + strings.Repeat("a", 64)}
)

// look is an entry to be.
func look() record.Audit {
	return record.Audit{Action: record.AuditRead, Outcome: record.AuditSuccess, Agent: somebody, Entity: file}
}

func clock() time.Time { return time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC) }

// keyOf is the key of an entry.
func keyOf(number int) string { return fmt.Sprintf("%09d.json", number) }

func get(t *testing.T, s *blob.Store, number int) []byte {
	t.Helper()
	raw, err := s.GetBytes(t.Context(), s.Buckets().Audit, keyOf(number), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func put(t *testing.T, s *blob.Store, key string, raw []byte) {
	t.Helper()
	if err := s.PutBytes(t.Context(), s.Buckets().Audit, key, raw, blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, s *blob.Store, number int) {
	t.Helper()
	if err := s.Remove(t.Context(), s.Buckets().Audit, keyOf(number)); err != nil {
		t.Fatal(err)
	}
}

// numbers checks the log and returns the numbers of its entries.
func numbers(t *testing.T, store *blob.Store) (all []int) {
	t.Helper()
	_, err := audit.Check(t.Context(), store, store.Buckets().Audit, nil, func(e record.Audit) error {
		if e.Agent != somebody || e.Entity != file || !e.RecordedAt.Equal(clock()) {
			t.Errorf("entry %+v", e)
		}
		all = append(all, e.Number)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestManyWriters lets several processes' worth of logs write to one bucket at once: one chain without gaps comes out, and another process goes on with it.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	const writers, each = 4, 6
	var group sync.WaitGroup
	for range writers {
		l := audit.New(store, store.Buckets().Audit, clock)
		for range 2 {
			group.Go(func() {
				for range each / 2 {
					if err := l.Append(t.Context(), look()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	if err := audit.New(store, store.Buckets().Audit, clock).Append(t.Context(), look()); err != nil {
		t.Fatal(err)
	}
	all := numbers(t, store)
	if len(all) != writers*each+1 || all[0] != 1 || all[len(all)-1] != len(all) {
		t.Errorf("entries %v", all)
	}
}

// TestOldEntriesMayGo: a log whose beginning was removed goes on where it was.
func TestOldEntriesMayGo(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	l := audit.New(store, store.Buckets().Audit, clock)
	for range 12 {
		if err := l.Append(t.Context(), look()); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= 10; n++ {
		remove(t, store, n)
	}
	if err := audit.New(store, store.Buckets().Audit, clock).Append(t.Context(), look()); err != nil {
		t.Fatal(err)
	}
	if all := numbers(t, store); fmt.Sprint(all) != "[11 12 13]" {
		t.Errorf("entries %v", all)
	}
}

// TestALongLogIsFoundAtOnce: where a log ends is found by digits and not entry by entry.
func TestALongLogIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	const last = 120_999_187
	raw, err := record.Encode(record.AuditSchema, record.Audit{Schema: record.AuditSchema, Number: last, RecordedAt: clock(), Action: record.AuditRead, Outcome: record.AuditSuccess, Agent: somebody, Entity: file})
	if err != nil {
		t.Fatal(err)
	}
	put(t, store, keyOf(last), raw)
	if err := audit.New(store, store.Buckets().Audit, clock).Append(t.Context(), look()); err != nil {
		t.Fatal(err)
	}
	if all := numbers(t, store); fmt.Sprint(all) != fmt.Sprint([]int{last, last + 1}) {
		t.Errorf("entries %v", all)
	}
}

// TestChangesShow changes, removes and adds entries.
func TestChangesShow(t *testing.T) {
	t.Parallel()
	config := blobtest.ConfigOf(servers.StartS3(t))
	for name, change := range map[string]func(*testing.T, *blob.Store){
		"changed": func(t *testing.T, s *blob.Store) {
			raw := get(t, s, 2)
			put(t, s, keyOf(2), bytes.Replace(raw, []byte("127.0.0.1"), []byte("127.0.0.2"), 1))
		},
		"the first one changed": func(t *testing.T, s *blob.Store) { put(t, s, keyOf(1), append(get(t, s, 1), '\n')) },
		"removed":               func(t *testing.T, s *blob.Store) { remove(t, s, 2) },
		"swapped": func(t *testing.T, s *blob.Store) {
			two, three := get(t, s, 2), get(t, s, 3)
			put(t, s, keyOf(2), three)
			put(t, s, keyOf(3), two)
		},
		"made up":  func(t *testing.T, s *blob.Store) { put(t, s, keyOf(4), get(t, s, 3)) },
		"unknown":  func(t *testing.T, s *blob.Store) { put(t, s, "000000002.json.bak", nil) },
		"no entry": func(t *testing.T, s *blob.Store) { put(t, s, keyOf(3), []byte("{}")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := blobtest.Open(t, config)
			l := audit.New(store, store.Buckets().Audit, clock)
			for range 3 {
				if err := l.Append(t.Context(), look()); err != nil {
					t.Fatal(err)
				}
			}
			if all := numbers(t, store); len(all) != 3 {
				t.Fatalf("entries %v", all)
			}
			change(t, store)
			_, err := audit.Check(t.Context(), store, store.Buckets().Audit, nil, func(record.Audit) error { return nil })
			if fault.CodeOf(err) != audit.CodeBroken {
				t.Errorf("%v", err)
			}
		})
	}
}

// lossy is a store whose answers are lost after the write, once.
type lossy struct {
	*blob.Store
	lost bool
}

func (l *lossy) PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error {
	err := l.Store.PutBytes(ctx, bucket, key, data, opts)
	if err == nil && !l.lost {
		l.lost = true
		return errors.New("the answer was lost")
	}
	return err
}

// TestALostAnswer: what may not have been recorded is refused, and the log goes on behind it.
func TestALostAnswer(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	l := audit.New(&lossy{Store: store}, store.Buckets().Audit, clock)
	if err := l.Append(t.Context(), look()); !fault.Is(err, fault.Transient) || fault.CodeOf(err) != "audit-unavailable" {
		t.Errorf("a lost answer: %v", err)
	}
	if err := l.Append(t.Context(), look()); err != nil {
		t.Fatal(err)
	}
	if all := numbers(t, store); fmt.Sprint(all) != "[1 2]" {
		t.Errorf("entries %v", all)
	}
	if err := l.Append(t.Context(), record.Audit{Action: record.AuditRead, Outcome: record.AuditSuccess, Entity: file}); !fault.Is(err, fault.Internal) {
		t.Errorf("an entry about nobody: %v", err)
	}
}

// slow is a store that writes when it is told to, and counts.
type slow struct {
	*blob.Store
	began   chan struct{}
	release chan struct{}
	mu      sync.Mutex
	puts    int
}

func (s *slow) PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error {
	s.mu.Lock()
	s.puts++
	s.mu.Unlock()
	s.began <- struct{}{}
	<-s.release
	return s.Store.PutBytes(ctx, bucket, key, data, opts)
}

// TestEntriesShareAnObject: what waits while an object is written shares the next one; what nobody waits for any more is not written;
// what does not fit takes nothing along.
func TestEntriesShareAnObject(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	s := &slow{Store: store, began: make(chan struct{}), release: make(chan struct{})}
	l := audit.New(s, store.Buckets().Audit, clock)
	var group sync.WaitGroup
	add := func() {
		group.Go(func() {
			if err := l.Append(t.Context(), look()); err != nil {
				t.Error(err)
			}
		})
	}
	add()
	<-s.began
	const together = 50
	for range together {
		add()
	}
	gone, cancel := context.WithCancel(t.Context())
	group.Go(func() {
		if err := l.Append(gone, look()); !errors.Is(err, context.Canceled) {
			t.Errorf("a reader who went away: %v", err)
		}
	})
	for l.Waiting() < together+1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for l.Waiting() > together {
		time.Sleep(time.Millisecond)
	}
	s.release <- struct{}{}
	<-s.began
	s.release <- struct{}{}
	group.Wait()
	if all := numbers(t, store); len(all) != together+1 || s.puts != 2 {
		t.Errorf("%d entries in %d objects", len(all), s.puts)
	}
	// Each of them can be found, alone and from there on.
	for n := 1; n <= together+2; n++ {
		var got []int
		if err := audit.From(t.Context(), store, store.Buckets().Audit, n, func(e record.Audit) (bool, error) {
			got = append(got, e.Number)
			return len(got) < 2, nil
		}); err != nil {
			t.Fatal(err)
		}
		want := []int{n, n + 1}[:max(0, min(2, together+2-n))]
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("from %d: %v", n, got)
		}
	}
	// A change within an object shows.
	raw := get(t, store, 2)
	put(t, store, keyOf(2), bytes.Replace(raw, []byte("127.0.0.1"), []byte("127.0.0.2"), 1))
	if _, err := audit.Check(t.Context(), store, store.Buckets().Audit, nil, func(record.Audit) error { return nil }); fault.CodeOf(err) != audit.CodeBroken {
		t.Errorf("an entry in the middle of an object was changed: %v", err)
	}
}

// TestTheEndShowsToWhoNotedIt changes the last entry, and cuts it off.
func TestTheEndShowsToWhoNotedIt(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	l := audit.New(store, store.Buckets().Audit, clock)
	for range 3 {
		if err := l.Append(t.Context(), look()); err != nil {
			t.Fatal(err)
		}
	}
	noted := l.Head()
	check := func(known ...audit.Head) error {
		_, err := audit.Check(t.Context(), store, store.Buckets().Audit, known, func(record.Audit) error { return nil })
		return err
	}
	if found, err := audit.Find(t.Context(), store, store.Buckets().Audit); err != nil || found != noted || noted.Number != 3 {
		t.Fatalf("the log ends at %v, %v; noted %v", found, err, noted)
	}
	if err := check(noted); err != nil {
		t.Error(err)
	}
	raw := get(t, store, 3)
	put(t, store, keyOf(3), bytes.Replace(raw, []byte("127.0.0.1"), []byte("127.0.0.2"), 1))
	if without, with := check(), check(noted); without != nil || fault.CodeOf(with) != audit.CodeBroken {
		t.Errorf("changed: %v, %v", without, with)
	}
	remove(t, store, 3)
	if without, with := check(), check(noted); without != nil || fault.CodeOf(with) != audit.CodeBroken {
		t.Errorf("cut off: %v, %v", without, with)
	}
}

// TestSince finds entries by time, also behind a beginning that was removed.
func TestSince(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	at := clock()
	l := audit.New(store, store.Buckets().Audit, func() time.Time { at = at.Add(time.Minute); return at })
	const entries = 20
	for range entries {
		if err := l.Append(t.Context(), look()); err != nil {
			t.Fatal(err)
		}
	}
	remove(t, store, 1)
	remove(t, store, 2)
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{7 * time.Minute, 7}, {7*time.Minute + time.Second, 8}, {entries * time.Minute, entries}, {time.Hour, entries + 1}} {
		if n, err := audit.Since(t.Context(), store, store.Buckets().Audit, clock().Add(test.after)); err != nil || n != test.want {
			t.Errorf("since %s: %d, %v; want %d", test.after, n, err, test.want)
		}
	}
	n, err := audit.Since(t.Context(), store, store.Buckets().Audit, clock())
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	if err := audit.From(t.Context(), store, store.Buckets().Audit, n, func(e record.Audit) (bool, error) { first = e.Number; return false, nil }); err != nil || first != 3 {
		t.Errorf("the first one that is left is %d, %v", first, err)
	}
}
