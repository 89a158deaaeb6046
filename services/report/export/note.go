package export

import (
	"context"
	"fmt"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Keys in the results bucket. What became of images/<SOPUID>/<sha256:16>/<model-sha:12>/result.json at an archive lies in
// exports/<archive>/images/<SOPUID>/<sha256:16>/<model-sha:12>/sent.json or failed.json: the same order, so that two listings side by side
// tell what was not sent.
const (
	resultsPrefix = "images/"
	exportsPrefix = "exports/"
	resultName    = "result.json"
	sentName      = "sent.json"
	failedName    = "failed.json"
	begunName     = "begun.json"

	documentLimit = 4 << 20 // bytes of a JSON document; far above any
	modelDigits   = 12      // of the model's SHA-256 in keys
)

// state is what is known of a result at an archive.
type state int

const (
	waiting state = iota
	failed
	sent // counts more than failed: once there, it is there
)

// notes are the documents about one archive.
type notes struct {
	blob    storage
	archive string
	clock   func() time.Time
}

func (n notes) bucket() string { return n.blob.Buckets().Results }

// prefix is the folder of the notes on a result.
func (n notes) prefix(resultKey string) string {
	return exportsPrefix + n.archive + "/" + strings.TrimSuffix(resultKey, resultName)
}

// begin notes since when the archive's results are sent, unless it is noted, and returns that moment by the store's clock, which
// results are compared with.
func (n notes) begin(ctx context.Context) (time.Time, error) {
	key := exportsPrefix + n.archive + "/" + begunName
	raw, err := record.Encode(record.ExportSchema, record.Export{Schema: record.ExportSchema, Archive: n.archive, State: record.ExportBegun, At: n.clock().UTC()})
	if err != nil {
		return time.Time{}, err
	}
	err = n.blob.PutBytes(ctx, n.bucket(), key, raw, blob.PutOptions{ContentType: "application/json", IfNoneMatch: true})
	if err != nil && !fault.Is(err, fault.Conflict) {
		return time.Time{}, fmt.Errorf("noting the beginning of exports to %s: %w", n.archive, err)
	}
	info, err := n.blob.Stat(ctx, n.bucket(), key)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the beginning of exports to %s: %w", n.archive, err)
	}
	return info.LastModified, nil
}

func (n notes) state(ctx context.Context, resultKey string) (state, error) {
	for _, look := range []struct {
		name  string
		state state
	}{{sentName, sent}, {failedName, failed}} {
		_, err := n.blob.Stat(ctx, n.bucket(), n.prefix(resultKey)+look.name)
		if err == nil {
			return look.state, nil
		}
		if !fault.Is(err, fault.NotFound) {
			return waiting, fmt.Errorf("looking whether %s was sent: %w", resultKey, err)
		}
	}
	return waiting, nil
}

// write notes an outcome in place of an earlier one. The new one is there before the old one goes.
func (n notes) write(ctx context.Context, doc record.Export) error {
	name, other := sentName, failedName
	if doc.State == record.ExportFailed {
		name, other = failedName, sentName
	}
	doc.Schema, doc.Archive, doc.At = record.ExportSchema, n.archive, n.clock().UTC()
	raw, err := record.Encode(record.ExportSchema, doc)
	if err != nil {
		return err
	}
	if err := n.blob.PutBytes(ctx, n.bucket(), n.prefix(doc.ResultKey)+name, raw, blob.PutOptions{ContentType: "application/json"}); err != nil {
		return fmt.Errorf("noting what became of %s: %w", doc.ResultKey, err)
	}
	if err := n.blob.Remove(ctx, n.bucket(), n.prefix(doc.ResultKey)+other); err != nil {
		return fmt.Errorf("noting what became of %s: %w", doc.ResultKey, err)
	}
	return nil
}

// noted yields the results that have notes, in the order of keys.
func (n notes) noted(ctx context.Context) iter.Seq2[noted, error] {
	root := exportsPrefix + n.archive + "/"
	return func(yield func(noted, error) bool) {
		var last noted
		for info, err := range n.blob.List(ctx, n.bucket(), root+resultsPrefix) {
			if err != nil {
				yield(noted{}, err)
				return
			}
			now := noted{folder: strings.TrimPrefix(path.Dir(info.Key), root) + "/"}
			switch path.Base(info.Key) {
			case sentName:
				now.state = sent
			case failedName:
				now.state = failed
			default:
				continue // none of ours
			}
			if now.folder == last.folder {
				last.state = max(last.state, now.state)
				continue
			}
			if last.folder != "" && !yield(last, nil) {
				return
			}
			last = now
		}
		if last.folder != "" {
			yield(last, nil)
		}
	}
}

// noted is a result that has a note. folder is that of its result.json, with the slash.
type noted struct {
	folder string
	state  state
}

// counts are numbers of results with a note.
type counts struct{ sent, failed int }

func (c *counts) add(s state, n int) {
	switch s {
	case sent:
		c.sent += n
	case failed:
		c.failed += n
	case waiting:
	}
}

// survey goes through the results of a model that were made from since until until (zero: now), in the order of keys, with what is known of
// each. It returns how many results have a note, of whatever model and time. Memory does not grow with the bucket.
func (n notes) survey(ctx context.Context, modelSHA256 string, since, until time.Time, visit func(resultKey string, s state) error) (counts, error) {
	var total counts
	next, stop := iter.Pull2(n.noted(ctx))
	defer stop()
	note, err, more := next()
	total.add(note.state, 1)
	advance := func() {
		if note, err, more = next(); more {
			total.add(note.state, 1)
		}
	}
	for info, listErr := range n.blob.List(ctx, n.bucket(), resultsPrefix) {
		if listErr != nil {
			return total, fmt.Errorf("listing results: %w", listErr)
		}
		folder := path.Dir(info.Key) + "/"
		if path.Base(info.Key) != resultName || path.Base(path.Dir(info.Key)) != modelSHA256[:modelDigits] ||
			info.LastModified.Before(since) || !until.IsZero() && !info.LastModified.Before(until) {
			continue
		}
		for more && err == nil && note.folder < folder {
			advance()
		}
		if err != nil {
			return total, fmt.Errorf("listing exports to %s: %w", n.archive, err)
		}
		s := waiting
		if more && note.folder == folder {
			s = note.state
		}
		if err := visit(info.Key, s); err != nil {
			return total, err
		}
	}
	for more && err == nil {
		advance()
	}
	if err != nil {
		return total, fmt.Errorf("listing exports to %s: %w", n.archive, err)
	}
	return total, nil
}
