package report

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// expect leaves what a manifest announces as ingest does, and returns the event.
func (k *kit) expect(pictures ...picture) event.Envelope {
	k.t.Helper()
	doc := record.Expected{Schema: record.ExpectedSchema, Clinic: "north", InboxKey: "north/study/manifest.json", ReceiptID: shaOf("manifest", pictures)[:32],
		ReceivedAt: k.now(), Sha256: shaOf("manifest", pictures), StudyUID: pictures[0].study()}
	for _, p := range pictures {
		doc.Instances = append(doc.Instances, record.ExpectedInstance{SOPUID: p.sop(), Sha256: p.sha(), SizeBytes: 1000})
	}
	key, err := blob.ExpectedKey("north", doc.StudyUID, doc.Sha256)
	k.must(err)
	k.putDocument(k.blob.Buckets().Archive, key, record.ExpectedSchema, doc)
	return k.event(event.TypeStudyExpected, doc.Sha256, event.StudyExpected{StudyUID: doc.StudyUID, ExpectedKey: key, Instances: len(pictures)})
}

// wantMissing compares the newest report's missing instances, each as "n code".
func (k *kit) wantMissing(p picture, want ...string) {
	k.t.Helper()
	var got []string
	for _, m := range k.report(p).Missing {
		if m.Reason == "" {
			k.t.Errorf("%s has no reason", m.Code)
		}
		got = append(got, m.SOPUID[strings.LastIndex(m.SOPUID, ".")+1:]+" "+m.Code)
	}
	if !slices.Equal(got, want) {
		k.t.Fatalf("missing %q, want %q", got, want)
	}
}

// newHour is a kit whose quiet period is so long that nothing becomes final by silence.
func newHour(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(c *Config) { c.QuietPeriod, c.ManifestDeadline = 100*time.Hour, time.Hour })
}

// TestManifestEndsWaiting: whenever the manifest comes, the report is final as soon as its last instance has an outcome.
func TestManifestEndsWaiting(t *testing.T) {
	t.Parallel()
	right, left := picture{1, 1}, picture{1, 2}
	steps := []func(*kit) event.Envelope{
		func(k *kit) event.Envelope { return k.accept(right) }, func(k *kit) event.Envelope { return k.segment(right) },
		func(k *kit) event.Envelope { return k.accept(left) }, func(k *kit) event.Envelope { return k.segment(left) },
	}
	for at := range len(steps) + 1 {
		t.Run(fmt.Sprintf("manifest after %d events", at), func(t *testing.T) {
			t.Parallel()
			k := newHour(t)
			for n, step := range slices.Insert(slices.Clone(steps), at, func(k *kit) event.Envelope { return k.expect(right, left) }) {
				k.tell(step(k))
				if n < len(steps) {
					k.settle()
				} else {
					k.issueAll() // the clock stands still: nothing is waited for
				}
			}
			doc := k.report(right)
			if doc.Status != record.Final || doc.Counts != (record.ReportCounts{Images: 2, Measured: 2}) || doc.Missing != nil {
				t.Errorf("report is %s, %+v, missing %v", doc.Status, doc.Counts, doc.Missing)
			}
			for version := doc.Version; version > 0; version-- {
				key, err := blob.ReportKey(doc.Patient.Key, doc.ReportID, version)
				k.must(err)
				raw, err := k.blob.GetBytes(t.Context(), k.blob.Buckets().Reports, key, documentLimit)
				k.must(err)
				earlier, err := record.Decode[record.Report](record.ReportSchema, raw)
				k.must(err)
				if version < doc.Version && earlier.Status != record.Preliminary {
					t.Errorf("version %d of %d is %s", version, doc.Version, earlier.Status)
				}
			}
			k.tell(k.expect(right, left)) // again
			k.quiet()
			k.wantReport(right, doc.Version, record.Final, doc.Counts)
		})
	}
}

func TestMissingInstances(t *testing.T) {
	t.Parallel()
	k := newHour(t)
	right, left, third := picture{1, 1}, picture{1, 2}, picture{1, 3}
	k.tell(k.expect(right, left, third), k.accept(right), k.segment(right))
	k.settle()
	k.wantReport(right, 1, record.Preliminary, record.ReportCounts{Images: 1, Measured: 1})
	k.wantMissing(right, "2 instance-awaited", "3 instance-awaited")
	k.move(30 * time.Minute)
	k.issueAll()
	k.wantReport(right, 1, record.Preliminary, record.ReportCounts{Images: 1, Measured: 1})
	k.tell(k.accept(left), k.segment(left))
	k.settle()
	k.wantMissing(right, "3 instance-awaited")
	// The deadline counts from the manifest.
	k.move(30 * time.Minute)
	k.issueAll()
	k.wantReport(right, 3, record.Final, record.ReportCounts{Images: 2, Measured: 2})
	k.wantMissing(right, "3 instance-missing")
	if n, next, err := k.IssueDue(t.Context()); n != 0 || !next.IsZero() || err != nil {
		t.Errorf("still due: %d, %v, %v", n, next, err)
	}
	page := k.get("/patients/" + fhir.PatientID(shaOf("patient", 1))).Body.String()
	if !strings.Contains(page, "instance-missing") || !strings.Contains(page, third.sop()) || !strings.Contains(page, "did not come") {
		t.Error("the page does not say what is missing")
	}
	if text := fhir.Convert(k.report(right), k.now(), "").Report.Conclusion; !strings.Contains(text, "not here as announced: 1.") {
		t.Errorf("conclusion %q", text)
	}
	// An index that is made anew says the same, and issues nothing.
	k.open(filepath.Join(t.TempDir(), "again.db"))
	k.reconcile()
	k.settle()
	k.wantReport(right, 3, record.Final, record.ReportCounts{Images: 2, Measured: 2})
	// Late, but here.
	k.tell(k.accept(third), k.segment(third))
	k.settle()
	k.wantReport(right, 4, record.Amended, record.ReportCounts{Images: 3, Measured: 3})
	k.wantMissing(right)
}

// TestOtherBytes: what came with other bytes has come, and is said; a file in quarantine is an outcome.
func TestOtherBytes(t *testing.T) {
	t.Parallel()
	k := newHour(t)
	right, left, third := picture{1, 1}, picture{1, 2}, picture{1, 3}
	k.tell(k.accept(right), k.segment(right))
	e := k.expect(right, left, third)
	k.tell(e, k.reject(third, "file-truncated")) // the kit's rejected files have other bytes than its pictures
	k.settle()
	k.wantMissing(right, "2 instance-awaited", "3 instance-differs")
	// The announced bytes of the other one are in quarantine, and do not say of which study they are.
	key, err := blob.QuarantineKey("north", k.now(), left.sha())
	k.must(err)
	k.putDocument(k.blob.Buckets().Quarantine, key+documentSuffix, record.QuarantineSchema, record.Quarantine{Schema: record.QuarantineSchema, Clinic: "north", Code: "not-dicom",
		Reason: "This is not a DICOM file.", Action: "Send it again.", InboxKey: "north/x", ReceiptID: shaOf("left")[:32], ReceivedAt: k.now(), Sha256: left.sha(), SizeBytes: 1})
	k.tell(k.event(event.TypeImageRejected, "left", event.ImageRejected{Code: "not-dicom", QuarantineKey: key, Sha256: left.sha()}))
	k.issueAll()
	k.wantReport(right, 2, record.Final, record.ReportCounts{Images: 1, Measured: 1, Rejected: 1})
	k.wantMissing(right, "3 instance-differs")
}

// TestNewestManifestCounts: a manifest that was wrong is corrected by another one.
func TestNewestManifestCounts(t *testing.T) {
	t.Parallel()
	k := newHour(t)
	right := picture{1, 1}
	k.tell(k.expect(right, picture{1, 2}), k.accept(right), k.segment(right))
	k.settle()
	k.wantMissing(right, "2 instance-awaited")
	k.tell(k.expect(right))
	k.issueAll()
	k.wantReport(right, 2, record.Final, record.ReportCounts{Images: 1, Measured: 1})
	k.wantMissing(right)
}
