package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// numberDigits of an entry's key: enough for a billion reads.
	numberDigits = 9
	suffix       = ".json"
	// maxEntryBytes bounds an entry that is read; Noctua's own are below 1 KB.
	maxEntryBytes = 64 << 10
	// maxRaces is how many entries of other processes one may come behind; each costs two requests.
	maxRaces = 100
)

// bucket is what a log uses of the object store.
type bucket interface {
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
}

var _ bucket = (*blob.Store)(nil)

// Log appends entries. It may be used by many goroutines at once, and by many processes on one bucket.
type Log struct {
	store bucket
	name  string
	clock func() time.Time

	mu    sync.Mutex
	found bool   // last and hash are known
	last  int    // number of the last entry; 0: there is none
	hash  string // its SHA-256
}

// New makes a log in the bucket of that name.
func New(store bucket, name string, clock func() time.Time) *Log {
	return &Log{store: store, name: name, clock: clock}
}

// Append writes an entry about agent and entity, and returns once the store has it.
//
// Faults: Transient audit-unavailable; Internal where the entry does not fit its schema.
func (l *Log) Append(ctx context.Context, agent record.AuditAgent, entity record.AuditEntity) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.found {
		if err := l.find(ctx); err != nil {
			return unavailable(err)
		}
	}
	entry := record.Audit{Schema: record.AuditSchema, RecordedAt: l.clock().UTC(), Action: record.AuditRead, Outcome: record.AuditSuccess, Agent: agent, Entity: entity}
	for range maxRaces {
		entry.Number, entry.PreviousSha256 = l.last+1, l.hash
		raw, err := record.Encode(record.AuditSchema, entry)
		if err != nil {
			return err
		}
		key := keyOf(entry.Number)
		err = l.store.PutBytes(ctx, l.name, key, raw, blob.PutOptions{ContentType: "application/json", IfNoneMatch: true})
		if fault.Is(err, fault.Conflict) { // another process was faster, or the answer to an earlier try was lost
			if raw, err = l.store.GetBytes(ctx, l.name, key, maxEntryBytes); err == nil {
				l.last, l.hash = entry.Number, hashOf(raw)
				continue
			}
		}
		if err != nil {
			return unavailable(err)
		}
		l.last, l.hash = entry.Number, hashOf(raw)
		return nil
	}
	return unavailable(fmt.Errorf("%d other entries came first", maxRaces))
}

func unavailable(err error) error {
	if fault.Interrupted(err) {
		return err
	}
	return fault.Wrap(fault.Transient, "audit-unavailable", err, "this is not shown, because it cannot be recorded that you saw it; try again in a few seconds")
}

// find looks for the last entry, digit by digit: the store lists upwards only, and the log may be long.
func (l *Log) find(ctx context.Context) error {
	prefix := ""
	for len(prefix) < numberDigits {
		digit := 9
		for ; digit >= 0; digit-- {
			any, err := l.any(ctx, prefix+strconv.Itoa(digit))
			if err != nil {
				return err
			}
			if any {
				break
			}
		}
		if digit < 0 { // the log is empty
			l.found = true
			return nil
		}
		prefix += strconv.Itoa(digit)
	}
	number, err := strconv.Atoi(prefix)
	if err != nil {
		return fmt.Errorf("reading the number of the last entry: %w", err)
	}
	raw, err := l.store.GetBytes(ctx, l.name, keyOf(number), maxEntryBytes)
	if err != nil {
		return fmt.Errorf("reading the last entry of the audit log: %w", err)
	}
	l.found, l.last, l.hash = true, number, hashOf(raw)
	return nil
}

// any tells whether there is a key with a prefix.
func (l *Log) any(ctx context.Context, prefix string) (bool, error) {
	for _, err := range l.store.List(ctx, l.name, prefix) {
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

// Check reads the whole log and hands every entry to each, the first one first. Entries at the beginning may have been removed when
// their time was over.
//
// Faults: Invalid audit-broken where an entry was changed, is missing, or is none; those of the store; what each returns.
func Check(ctx context.Context, store bucket, name string, each func(record.Audit) error) error {
	previous, hash := 0, ""
	for info, err := range store.List(ctx, name, "") {
		if err != nil {
			return fmt.Errorf("listing the audit log: %w", err)
		}
		number, err := strconv.Atoi(strings.TrimSuffix(info.Key, suffix))
		if err != nil || number < 1 || keyOf(number) != info.Key {
			return broken(info.Key, "is no entry")
		}
		raw, err := store.GetBytes(ctx, name, info.Key, maxEntryBytes)
		if err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		entry, err := record.Decode[record.Audit](record.AuditSchema, raw)
		switch {
		case err != nil:
			return fault.Wrap(fault.Invalid, CodeBroken, err, "the audit log's entry %s cannot be read", info.Key)
		case previous > 0 && number != previous+1:
			return broken(info.Key, fmt.Sprintf("follows the entry %d: those between are missing", previous))
		case entry.Number != number:
			return broken(info.Key, fmt.Sprintf("says that it is the entry %d", entry.Number))
		case (previous > 0 || number == 1) && entry.PreviousSha256 != hash:
			return broken(info.Key, "does not fit the one before: one of them was changed")
		}
		previous, hash = number, hashOf(raw)
		if err := each(*entry); err != nil {
			return err
		}
	}
	return nil
}

// CodeBroken is the code of a log that somebody other than Noctua changed.
const CodeBroken = "audit-broken"

func broken(key, how string) error {
	return fault.New(fault.Invalid, CodeBroken, "the audit log's entry %s %s; an engineer should look at the audit bucket and at its copies", key, how)
}
