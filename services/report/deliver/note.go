package deliver

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Keys in the reports bucket. What became of patients/<patient-key>/<report-id>/v<N>/report.json at a receiver lies in
// deliveries/<receiver>/patients/<patient-key>/<report-id>/v<N>/<state>.json: the same order, so that two listings side by side tell what was
// not sent.
const (
	reportsPrefix    = "patients/"
	deliveriesPrefix = "deliveries/"
	reportName       = "report.json"
	begunName        = "begun.json"
	stoppedName      = "stopped.json"

	documentLimit = 8 << 20 // bytes of a JSON document; far above any
)

// state is what is known of a version at a receiver.
type state int

// Of two notes, as a process that dies between writing one and removing the other leaves them, the later state counts.
const (
	waiting state = iota
	failed
	superseded
	sent
)

// noteNames are the names of notes, by the states that documents have.
var noteNames = map[record.DeliveryState]string{record.DeliveryFailed: "failed.json", record.DeliverySuperseded: "superseded.json", record.DeliverySent: "sent.json"}

func stateOf(name string) state {
	switch name {
	case noteNames[record.DeliveryFailed]:
		return failed
	case noteNames[record.DeliverySuperseded]:
		return superseded
	case noteNames[record.DeliverySent]:
		return sent
	}
	return waiting
}

// version is a version of a report.
type version struct {
	patient, report string
	number          int
	at              time.Time // when it was written, by the store's clock; zero where it is not known
	state           state
}

var keyPattern = regexp.MustCompile(`^patients/([A-Za-z0-9_-]{1,128})/([A-Za-z0-9_-]{1,128})/v([1-9][0-9]{0,8})/`)

// parseVersion takes the key of a version's document, or of a note on it without its prefix, apart.
func parseVersion(key string) (version, bool) {
	m := keyPattern.FindStringSubmatch(key)
	if m == nil || strings.Count(key, "/") != 4 {
		return version{}, false
	}
	number, err := strconv.Atoi(m[3])
	return version{patient: m[1], report: m[2], number: number}, err == nil
}

func (v version) folder() string {
	return reportsPrefix + v.patient + "/" + v.report + "/v" + strconv.Itoa(v.number) + "/"
}

func (v version) key() string { return v.folder() + reportName }

// before tells whether a version of one patient was issued before another: of a report by the number, of several by the time that they were
// written, which stores tell to the second. Within one, neither is before the other, and the stream's order holds.
func (v version) before(o version) bool {
	if v.report == o.report {
		return v.number < o.number
	}
	return v.at.Before(o.at)
}

// inOrder sorts versions of one patient so that none is before one that it follows: by time, and within a report by number, even where a
// store's clock was put back in between.
func inOrder(versions []version) {
	slices.SortFunc(versions, func(a, b version) int {
		return cmp.Or(cmp.Compare(a.report, b.report), cmp.Compare(a.number, b.number))
	})
	for i := 1; i < len(versions); i++ {
		if prev := versions[i-1]; prev.report == versions[i].report && versions[i].at.Before(prev.at) {
			versions[i].at = prev.at
		}
	}
	slices.SortStableFunc(versions, func(a, b version) int { return a.at.Compare(b.at) })
}

// notes are the documents about one receiver.
type notes struct {
	blob     storage
	receiver string
	clock    func() time.Time
}

func (n notes) bucket() string { return n.blob.Buckets().Reports }

func (n notes) root() string { return deliveriesPrefix + n.receiver + "/" }

// begin notes since when reports are sent to the receiver, unless it is noted, and returns that moment by the store's clock, which
// versions are compared with.
func (n notes) begin(ctx context.Context) (time.Time, error) {
	err := n.put(ctx, n.root()+begunName, record.Delivery{State: record.DeliveryBegun}, true)
	if err != nil && !fault.Is(err, fault.Conflict) {
		return time.Time{}, fmt.Errorf("noting the beginning of deliveries to %s: %w", n.receiver, err)
	}
	info, err := n.blob.Stat(ctx, n.bucket(), n.root()+begunName)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the beginning of deliveries to %s: %w", n.receiver, err)
	}
	return info.LastModified, nil
}

func (n notes) put(ctx context.Context, key string, doc record.Delivery, once bool) error {
	doc.Schema, doc.Receiver, doc.At = record.DeliverySchema, n.receiver, n.clock().UTC()
	raw, err := record.Encode(record.DeliverySchema, doc)
	if err != nil {
		return err
	}
	return n.blob.PutBytes(ctx, n.bucket(), key, raw, blob.PutOptions{ContentType: "application/json", IfNoneMatch: once})
}

// stoppedSince tells since when the receiver wants no more; zero: it does.
func (n notes) stoppedSince(ctx context.Context) (time.Time, error) {
	info, err := n.blob.Stat(ctx, n.bucket(), n.root()+stoppedName)
	if fault.Is(err, fault.NotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("looking whether %s wants reports: %w", n.receiver, err)
	}
	return info.LastModified, nil
}

// write notes an outcome in place of others. The new one is there before they go.
func (n notes) write(ctx context.Context, v version, doc record.Delivery) error {
	doc.ReportKey = v.key()
	if err := n.put(ctx, n.root()+v.folder()+noteNames[doc.State], doc, false); err != nil {
		return fmt.Errorf("noting what became of %s: %w", doc.ReportKey, err)
	}
	for state, name := range noteNames {
		if state == doc.State {
			continue
		}
		if err := n.blob.Remove(ctx, n.bucket(), n.root()+v.folder()+name); err != nil {
			return fmt.Errorf("noting what became of %s: %w", doc.ReportKey, err)
		}
	}
	return nil
}

// noted yields the versions below a prefix of the reports that have notes, in the order of keys.
func (n notes) noted(ctx context.Context, prefix string) iter.Seq2[version, error] {
	return func(yield func(version, error) bool) {
		var last version
		for info, err := range n.blob.List(ctx, n.bucket(), n.root()+prefix) {
			if err != nil {
				yield(version{}, err)
				return
			}
			key := strings.TrimPrefix(info.Key, n.root())
			now, ok := parseVersion(key)
			now.state = stateOf(path.Base(key))
			if !ok || now.state == waiting {
				continue // none of ours
			}
			if now.folder() == last.folder() {
				last.state = max(last.state, now.state)
				continue
			}
			if last.number > 0 && !yield(last, nil) {
				return
			}
			last = now
		}
		if last.number > 0 {
			yield(last, nil)
		}
	}
}

// counts are numbers of versions with a note.
type counts struct{ sent, failed int }

func (c *counts) add(s state, n int) {
	switch s {
	case sent:
		c.sent += n
	case failed:
		c.failed += n
	case waiting, superseded:
	}
}

// survey goes through all versions below a prefix of the reports with what is known of each, patient by patient; those of a patient are in the
// order in which they were issued. It returns how many versions have a note. Memory does not grow with the bucket.
func (n notes) survey(ctx context.Context, prefix string, visit func(ofPatient []version) error) (counts, error) {
	var total counts
	next, stop := iter.Pull2(n.noted(ctx, prefix))
	defer stop()
	note, err, more := next()
	advance := func() {
		total.add(note.state, 1)
		note, err, more = next()
	}
	var batch []version
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		inOrder(batch)
		err := visit(batch)
		batch = nil
		return err
	}
	for info, listErr := range n.blob.List(ctx, n.bucket(), prefix) {
		if listErr != nil {
			return total, fmt.Errorf("listing reports: %w", listErr)
		}
		v, ok := parseVersion(info.Key)
		if !ok || path.Base(info.Key) != reportName {
			continue
		}
		for more && err == nil && note.folder() < v.folder() {
			advance()
		}
		if err != nil {
			return total, fmt.Errorf("listing deliveries to %s: %w", n.receiver, err)
		}
		v.at = info.LastModified
		if more && note.folder() == v.folder() {
			v.state = note.state
		}
		if len(batch) > 0 && batch[0].patient != v.patient {
			if err := flush(); err != nil {
				return total, err
			}
		}
		batch = append(batch, v)
	}
	for more && err == nil {
		advance()
	}
	if err != nil {
		return total, fmt.Errorf("listing deliveries to %s: %w", n.receiver, err)
	}
	return total, flush()
}
