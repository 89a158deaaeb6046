package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// numberDigits of an object's key: enough for a billion entries.
	numberDigits = 9
	suffix       = ".json"
	// maxEntryBytes bounds an entry; Noctua's own are below 2 KB.
	maxEntryBytes = 64 << 10
	// maxTogether entries share an object.
	maxTogether    = 200
	maxObjectBytes = maxTogether * maxEntryBytes
	// maxWaiting entries wait to be written. Each has a request that waits, so that this bounds what is asked for, not what is kept.
	maxWaiting = 2000
	// maxRaces is how many objects of other processes one may come behind; each costs two requests.
	maxRaces = 100
	// writeTimeout bounds the write of an object: it is not the request's alone whose turn it is.
	writeTimeout = 30 * time.Second
)

// bucket is what a log uses of the object store.
type bucket interface {
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
}

var _ bucket = (*blob.Store)(nil)

// Head is where a log ends.
type Head struct {
	Number int    // of the last entry; 0: there is none
	Sha256 string // of the last entry
}

// Log appends entries. It may be used by many goroutines at once, and by many processes on one bucket.
type Log struct {
	store bucket
	name  string
	clock func() time.Time

	// turn is taken by the goroutine that writes what waits.
	turn  chan struct{}
	found bool // head is known; guarded by turn

	mu      sync.Mutex
	waiting []*waiter
	head    Head
}

// waiter is an entry that waits to be written.
type waiter struct {
	entry record.Audit
	done  chan error // gets one value
}

// New makes a log in the bucket of that name.
func New(store bucket, name string, clock func() time.Time) *Log {
	return &Log{store: store, name: name, clock: clock, turn: make(chan struct{}, 1)}
}

// Append writes an entry, and returns once the store has it. Of the entry, who, what and the outcome are the caller's; the rest is the log's.
//
// Faults: Transient audit-unavailable; Internal where the entry does not fit its schema.
func (l *Log) Append(ctx context.Context, entry record.Audit) error {
	entry.Schema, entry.RecordedAt, entry.Number, entry.PreviousSha256 = record.AuditSchema, l.clock().UTC(), 1, ""
	// Looked at by itself, so that one that does not fit takes no other along.
	if _, err := record.Encode(record.AuditSchema, entry); err != nil {
		return err
	}
	w := &waiter{entry: entry, done: make(chan error, 1)}
	if !l.enqueue(w) {
		return unavailable(fmt.Errorf("%d entries wait already", maxWaiting))
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		l.forget(w)
		return ctx.Err()
	case l.turn <- struct{}{}:
	}
	defer func() { <-l.turn }()
	for {
		select {
		case err := <-w.done: // by the one before, or in this turn
			return err
		default:
		}
		l.writeWaiting(ctx)
	}
}

func (l *Log) enqueue(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		return false
	}
	l.waiting = append(l.waiting, w)
	return true
}

// forget takes an entry back if nobody writes it yet: what it tells of is not shown.
func (l *Log) forget(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(o *waiter) bool { return o == w })
}

// writeWaiting writes what waits as one object and tells those who wait. The caller has the turn.
func (l *Log) writeWaiting(ctx context.Context) {
	l.mu.Lock()
	n := min(len(l.waiting), maxTogether)
	batch := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.mu.Unlock()
	// The entries are those of other requests, too, which outlive this one.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	err := l.write(ctx, batch)
	for _, w := range batch {
		w.done <- err
	}
}

func (l *Log) write(ctx context.Context, batch []*waiter) error {
	head := l.Head()
	if !l.found {
		var err error
		if head, err = Find(ctx, l.store, l.name); err != nil {
			return unavailable(err)
		}
		l.found = true
	}
	for range maxRaces {
		raw, end, err := chain(head, batch)
		if err != nil {
			return err
		}
		key := keyOf(head.Number + 1)
		err = l.store.PutBytes(ctx, l.name, key, raw, blob.PutOptions{ContentType: "application/json", IfNoneMatch: true})
		if fault.Is(err, fault.Conflict) { // another process was faster, or the answer to an earlier try was lost
			if head, err = endOf(ctx, l.store, l.name, key); err == nil {
				l.setHead(head)
				continue
			}
		}
		if err != nil {
			return unavailable(err)
		}
		l.setHead(end)
		return nil
	}
	return unavailable(fmt.Errorf("%d other objects came first", maxRaces))
}

// chain encodes entries as those that follow head, and tells where the log ends then.
func chain(head Head, batch []*waiter) ([]byte, Head, error) {
	var lines [][]byte
	for _, w := range batch {
		w.entry.Number, w.entry.PreviousSha256 = head.Number+1, head.Sha256
		raw, err := record.Encode(record.AuditSchema, w.entry)
		if err != nil {
			return nil, Head{}, err
		}
		lines = append(lines, raw)
		head = Head{Number: w.entry.Number, Sha256: hashOf(raw)}
	}
	return bytes.Join(lines, []byte("\n")), head, nil
}

func unavailable(err error) error {
	if fault.Interrupted(err) {
		return err
	}
	return fault.Wrap(fault.Transient, "audit-unavailable", err, "this is not shown, because it cannot be recorded that you saw it; try again in a few seconds")
}

// Head is where the log ended when this process last wrote or found it; zero before that.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Waiting is how many entries wait for their turn.
func (l *Log) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

func (l *Log) setHead(h Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = h
}

// Find looks for the end of a log, digit by digit: the store lists upwards only, and the log may be long.
func Find(ctx context.Context, store bucket, name string) (Head, error) {
	prefix := ""
	for len(prefix) < numberDigits {
		digit := 9
		for ; digit >= 0; digit-- {
			found, err := anyWith(ctx, store, name, prefix+strconv.Itoa(digit))
			if err != nil {
				return Head{}, err
			}
			if found {
				break
			}
		}
		if digit < 0 { // the log is empty
			return Head{}, nil
		}
		prefix += strconv.Itoa(digit)
	}
	number, err := strconv.Atoi(prefix)
	if err != nil {
		return Head{}, fmt.Errorf("reading the number of the last entry: %w", err)
	}
	return endOf(ctx, store, name, keyOf(number))
}

// endOf is the last entry of an object.
func endOf(ctx context.Context, store bucket, name, key string) (Head, error) {
	raw, err := store.GetBytes(ctx, name, key, maxObjectBytes)
	if err != nil {
		return Head{}, fmt.Errorf("reading the last entry of the audit log: %w", err)
	}
	last := raw[bytes.LastIndexByte(raw, '\n')+1:]
	entry, err := record.Decode[record.Audit](record.AuditSchema, last)
	if err != nil {
		return Head{}, fault.Wrap(fault.Invalid, CodeBroken, err, "the audit log's object %s cannot be read", key)
	}
	return Head{Number: entry.Number, Sha256: hashOf(last)}, nil
}

// anyWith tells whether there is a key with a prefix.
func anyWith(ctx context.Context, store bucket, name, prefix string) (bool, error) {
	for _, err := range store.List(ctx, name, prefix) {
		if err != nil {
			return false, fmt.Errorf("listing the audit log: %w", err)
		}
		return true, nil
	}
	return false, nil
}

func keyOf(number int) string { return fmt.Sprintf("%0*d%s", numberDigits, number, suffix) }

func hashOf(raw []byte) string {
	digest := sha256.Sum256(raw)
	return hex.EncodeToString(digest[:])
}
