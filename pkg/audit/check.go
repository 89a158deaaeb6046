package audit

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// CodeBroken is the code of a log that somebody other than Noctua changed.
const CodeBroken = "audit-broken"

func broken(where, how string) error {
	return fault.New(fault.Invalid, CodeBroken, "the audit log's %s %s; an engineer should look at the audit bucket and at its copies", where, how)
}

// Check reads the whole log and hands every entry to each, the first one first; it returns where the log ends. Entries at the beginning
// may have been removed when their time was over. known are earlier ends, which the log must still have as they were: without one, what
// was changed in the last entry or cut off at the end does not show.
//
// Faults: Invalid audit-broken where an entry was changed, is missing, or is none; those of the store; what each returns.
func Check(ctx context.Context, store bucket, name string, known []Head, each func(record.Audit) error) (Head, error) {
	var head Head
	for info, err := range store.List(ctx, name, "") {
		if err != nil {
			return head, fmt.Errorf("listing the audit log: %w", err)
		}
		first, err := strconv.Atoi(strings.TrimSuffix(info.Key, suffix))
		if err != nil || first < 1 || keyOf(first) != info.Key {
			return head, broken("object "+info.Key, "is none of Noctua's")
		}
		raw, err := store.GetBytes(ctx, name, info.Key, maxObjectBytes)
		if err != nil {
			return head, fmt.Errorf("reading the audit log: %w", err)
		}
		for i, line := range bytes.Split(raw, []byte("\n")) {
			entry, err := record.Decode[record.Audit](record.AuditSchema, line)
			where := fmt.Sprintf("entry %d of %s", first+i, info.Key)
			switch {
			case err != nil:
				return head, fault.Wrap(fault.Invalid, CodeBroken, err, "the audit log's %s cannot be read", where)
			case head.Number > 0 && first+i != head.Number+1:
				return head, broken(where, fmt.Sprintf("follows the entry %d: those between are missing", head.Number))
			case entry.Number != first+i:
				return head, broken(where, fmt.Sprintf("says that it is the entry %d", entry.Number))
			case (head.Number > 0 || entry.Number == 1) && entry.PreviousSha256 != head.Sha256:
				return head, broken(where, "does not fit the one before: one of them was changed")
			}
			head = Head{Number: entry.Number, Sha256: hashOf(line)}
			for _, k := range known {
				if k.Number == head.Number && k.Sha256 != head.Sha256 {
					return head, broken(where, "is not what it was when the end of the log was noted")
				}
			}
			if err := each(*entry); err != nil {
				return head, err
			}
		}
	}
	for _, k := range known {
		if k.Number > head.Number {
			return head, broken("end", fmt.Sprintf("is the entry %d, but once it was the entry %d: those after it are missing", head.Number, k.Number))
		}
	}
	return head, nil
}

// From hands the entries from a number on to each, the first one first, until it returns false. What lies before is not read, and where
// it was removed, the first one that is left is where it begins.
func From(ctx context.Context, store bucket, name string, number int, each func(record.Audit) (bool, error)) error {
	first, err := objectOf(ctx, store, name, number)
	if err != nil || first == 0 {
		return err
	}
	for {
		raw, err := store.GetBytes(ctx, name, keyOf(first), maxObjectBytes)
		if fault.Is(err, fault.NotFound) {
			return nil // the object before was the last one
		}
		if err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		for line := range bytes.SplitSeq(raw, []byte("\n")) {
			entry, err := record.Decode[record.Audit](record.AuditSchema, line)
			if err != nil || entry.Number != first {
				return fault.Wrap(fault.Invalid, CodeBroken, err, "the audit log's entry %d cannot be read", first)
			}
			if first++; entry.Number < number {
				continue
			}
			if more, err := each(*entry); err != nil || !more {
				return err
			}
		}
	}
}

// objectOf finds the object that holds an entry, and returns the number of its first entry: 0 if the log ends before. Where the entry
// was removed, it is the first object after it.
func objectOf(ctx context.Context, store bucket, name string, number int) (int, error) {
	// The object begins at most maxTogether entries before; keys of so near a number have the same first digits, or the next ones.
	const digits = numberDigits - 3
	low, high := keyOf(max(0, number-maxTogether))[:digits], keyOf(number)[:digits]
	found := 0
	look := func(prefix string) error {
		for info, err := range store.List(ctx, name, prefix) {
			if err != nil {
				return fmt.Errorf("listing the audit log: %w", err)
			}
			at, err := strconv.Atoi(strings.TrimSuffix(info.Key, suffix))
			if err != nil || keyOf(at) != info.Key {
				return broken("object "+info.Key, "is none of Noctua's")
			}
			if found == 0 || at <= number {
				found = at
			}
			if at > number {
				return nil
			}
		}
		return nil
	}
	if err := look(low); err != nil {
		return 0, err
	}
	if high != low {
		if err := look(high); err != nil {
			return 0, err
		}
	}
	if found == 0 { // everything near it was removed, or the log ends before
		return found, look("")
	}
	return found, nil
}

// Since finds the number of the first entry that was recorded at a moment or later; one more than the last if there is none.
func Since(ctx context.Context, store bucket, name string, at time.Time) (int, error) {
	head, err := Find(ctx, store, name)
	if err != nil {
		return 0, err
	}
	var failed error
	// Entries of several processes are in the order of their clocks but for what these differ.
	n := sort.Search(head.Number, func(i int) bool {
		late := true
		if failed == nil {
			failed = From(ctx, store, name, i+1, func(e record.Audit) (bool, error) {
				late = !e.RecordedAt.Before(at)
				return false, nil
			})
		}
		return late
	})
	return n + 1, failed
}
