// Package storetest holds the conformance suite of the report index: what every database behind store.SQL must do.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// Open opens an empty index with a configuration. A second call in the same test with the same name opens the same index again.
type Open func(t *testing.T, name string, cfg store.Config) *store.SQL

// Timing is the timing of the suite.
var Timing = store.Timing{Settle: 500 * time.Millisecond, Debounce: 2 * time.Second, Quiet: 30 * time.Second, Await: time.Hour}

// Start is the suite's beginning of time.
var Start = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"unknown keys":                 testUnknown,
		"outcome before image":         testOutcomeFirst,
		"result before failure":        testResultWins,
		"model of the configuration":   testModel,
		"change of model":              testModelChange,
		"due times":                    testDue,
		"changes while issuing":        testCoverKeepsLater,
		"late image waits":             testLateImageWaits,
		"settled only when reported":   testSettled,
		"revisions touch each other":   testRevisions,
		"rejected touches its study":   testRejected,
		"announced instances":          testExpected,
		"versions in any order":        testVersionOrder,
		"late version is updated now":  testLateVersion,
		"visits":                       testVisits,
		"many visits":                  testManyVisits,
		"search":                       testSearch,
		"frozen search":                testSnapshot,
		"paging":                       testPaging,
		"patients":                     testPatients,
		"clinics":                      testClinics,
		"text from outside":            testText,
		"counts and pace":              testCounts,
		"everything twice is once":     testIdempotent,
		"rebuild in any order":         testRebuild,
		"writers and readers together": testConcurrent,
		"reopened":                     testReopen,
		"not found":                    testNotFound,
		"statuses of FHIR":             testFHIRStatus,
		"pages of quarantine":          testRejectedPages,
		"quarantine by reason":         testRejectedGroups,
		"lines of the list":            testLines,
		"pages of the list":            testLinePages,
		"nights":                       testNights,
		"patients by update":           testPatientsByUpdate,
		"models":                       testModels,
		"polling several processes":    testPolling,
		"counting stops":               testCountTo,
		"emptied":                      testClear,
		"numbers by clinic":            testClinicCounts,
		"course of a night":            testCourse,
		"reasons of a night":           testReasons,
		"nights beside":                testBeside,
		"what did not come":            testLacking,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// RunShared runs what a database that several processes share must do besides.
func RunShared(t *testing.T, open Open) {
	t.Run("one issues at a time", func(t *testing.T) {
		t.Parallel()
		testIssuing(t, open)
	})
}

func hexOf(n int, digits int) string { return fmt.Sprintf("%0*x", digits, n) }

// Image makes the n-th image of a report.
func Image(report, n int) store.Image {
	sop, sha := fmt.Sprintf("1.2.%d.%d", report, n), hexOf(1000*report+n, 64)
	key := fmt.Sprintf("images/1.%d/%s/%s", report, sop, sha[:16])
	return store.Image{SOPUID: sop, Sha256: sha, InstanceKey: key + ".json", ArchiveKey: key + ".dcm", StudyUID: fmt.Sprintf("1.%d", report),
		Clinic: "north", PatientKey: hexOf(report, 64), ReportID: hexOf(report, 32), Analyse: true, ReceivedAt: Start.Add(time.Duration(n) * time.Second)}
}

// Outcome makes what a model said of an image.
func Outcome(img store.Image, model int, failed bool) store.Outcome {
	name, status := "result.json", record.ImageMeasured
	if failed {
		name, status = "failure.json", record.ImageFailed
	}
	sha := hexOf(model, 64)
	return store.Outcome{Key: fmt.Sprintf("images/%s/%s/%s/%s", img.SOPUID, img.Sha256[48:], sha[52:], name), SOPUID: img.SOPUID, Sha256: img.Sha256,
		Failed: failed, Status: status, Model: record.ModelReference{Name: "unet", Version: fmt.Sprint(model), Sha256: sha},
		FinishedAt: Start.Add(time.Duration(model) * time.Minute)}
}

// Report makes a version of a report of images as the index knows them.
func Report(report, version int, status record.ReportStatus, issued time.Time, images ...store.Image) (string, *record.Report, []byte) {
	doc := &record.Report{Schema: record.ReportSchema, ReportID: hexOf(report, 32), Version: version, Status: status, IssuedAt: issued, FirstIssuedAt: issued,
		Clinic: "north", StudyUID: fmt.Sprintf("1.%d", report), StudyDate: fmt.Sprintf("2026-11-%02d", 1+report%28), CodeVersion: "test", Notice: "test",
		Patient: record.PatientIdentity{Key: hexOf(report, 64), ID: fmt.Sprintf("P%d", report), Issuer: "ISS", Name: fmt.Sprintf("NAME%d^Given", report)},
		Images:  []record.ReportImage{}, Rejected: []record.ReportRejected{}}
	for _, img := range images {
		doc.Images = append(doc.Images, record.ReportImage{SOPUID: img.SOPUID, Sha256: img.Sha256, ArchiveKey: img.ArchiveKey, Status: img.Status, ResultKey: img.OutcomeKey})
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err) // plain data always encodes
	}
	return fmt.Sprintf("patients/%s/%s/v%d/report.json", doc.Patient.Key, doc.ReportID, version), doc, raw
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s *store.SQL, report, version int, status record.ReportStatus, issued time.Time, study *store.Study, images ...store.Image) {
	t.Helper()
	key, doc, raw := Report(report, version, status, issued, images...)
	must(t, s.PutReport(t.Context(), key, doc, raw, study, false, doc.IssuedAt))
}

func image(t *testing.T, s *store.SQL, img store.Image) store.Image {
	t.Helper()
	got, err := s.Image(t.Context(), img.SOPUID, img.Sha256)
	must(t, err)
	return got
}

func study(t *testing.T, s *store.SQL, report int) store.Study {
	t.Helper()
	got, err := s.Study(t.Context(), hexOf(report, 32))
	must(t, err)
	return got
}

func dueAt(t *testing.T, s *store.SQL, report int, want time.Time) {
	t.Helper()
	if got := study(t, s, report).DueAt; !got.Equal(want) {
		t.Fatalf("report %d is due at %v, want %v", report, got, want)
	}
}

func testUnknown(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	keys := []string{"x", img.InstanceKey, "y"}
	for range 600 { // more than one batch
		keys = append(keys, img.InstanceKey)
	}
	got, err := s.Unknown(t.Context(), store.KindInstance, append(keys, "z"))
	must(t, err)
	if want := []string{"x", "y", "z"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("unknown %v, want %v", got, want)
	}
	if _, err := s.Unknown(t.Context(), "nonsense", keys); err == nil {
		t.Fatal("an unknown kind must be an error")
	}
}

func testOutcomeFirst(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	o := Outcome(img, 1, false)
	must(t, s.PutOutcome(t.Context(), o, Start))
	must(t, s.PutImage(t.Context(), img, Start))
	if got := image(t, s, img); got.Status != record.ImageMeasured || got.OutcomeKey != o.Key {
		t.Fatalf("image is %s by %q", got.Status, got.OutcomeKey)
	}
	archived := Image(1, 2)
	archived.Analyse = false
	must(t, s.PutImage(t.Context(), archived, Start))
	if got := image(t, s, archived); got.Status != record.ImageNotAnalysed {
		t.Fatalf("an image that is only archived is %s", got.Status)
	}
}

func testResultWins(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), Start))
	must(t, s.PutOutcome(t.Context(), Outcome(img, 2, true), Start))
	if got := image(t, s, img); got.Status != record.ImageMeasured {
		t.Fatalf("a result and a later failure give %s", got.Status)
	}
	must(t, s.PutOutcome(t.Context(), Outcome(img, 3, false), Start))
	if got := image(t, s, img); got.OutcomeKey != Outcome(img, 3, false).Key {
		t.Fatal("the newest result must count")
	}
}

func testModel(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing, ModelSHA: hexOf(1, 64)})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	must(t, s.PutOutcome(t.Context(), Outcome(img, 2, false), Start))
	if got := image(t, s, img); got.Status != record.ImagePending {
		t.Fatalf("a result of another model makes the image %s", got.Status)
	}
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, true), Start))
	if got := image(t, s, img); got.Status != record.ImageFailed {
		t.Fatalf("a failure of the model makes the image %s", got.Status)
	}
	m, err := s.Model(t.Context(), hexOf(2, 64)[:64])
	must(t, err)
	if m.Version != "2" {
		t.Fatalf("model %v", m)
	}
}

func testModelChange(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing, ModelSHA: hexOf(1, 64)})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), Start))
	st := study(t, s, 1)
	put(t, s, 1, 1, record.Final, Start, &st, image(t, s, img))
	s = open(t, "a", store.Config{Timing: Timing, ModelSHA: hexOf(2, 64)})
	if got := image(t, s, img); got.Status != record.ImagePending {
		t.Fatalf("after a change of model the image is %s", got.Status)
	}
	dueAt(t, s, 1, time.Time{}) // the report speaks for the old model until the new one has spoken
	c, err := s.Count(t.Context(), nil, time.Time{})
	must(t, err)
	if c.Pending != 1 || c.Done != 0 {
		t.Fatalf("counts after a change of model: %+v", c)
	}
	must(t, s.PutOutcome(t.Context(), Outcome(img, 2, false), Start.Add(time.Hour)))
	dueAt(t, s, 1, Start.Add(time.Hour).Add(Timing.Settle))
	// Back to the first model: it has spoken of the image already, so that the report is due. Of another image of another study it has not.
	st = study(t, s, 1)
	put(t, s, 1, 2, record.Amended, Start.Add(2*time.Hour), &st, image(t, s, img))
	other := Image(2, 1)
	must(t, s.PutImage(t.Context(), other, Start))
	must(t, s.PutOutcome(t.Context(), Outcome(other, 2, false), Start))
	otherStudy := study(t, s, 2)
	put(t, s, 2, 1, record.Final, Start.Add(3*time.Hour), &otherStudy, image(t, s, other))
	s = open(t, "a", store.Config{Timing: Timing, ModelSHA: hexOf(1, 64)})
	if st := study(t, s, 1); st.DueAt.IsZero() || image(t, s, img).OutcomeKey != Outcome(img, 1, false).Key {
		t.Errorf("the model that has spoken: due %v, %+v", st.DueAt, image(t, s, img))
	}
	if st := study(t, s, 2); !st.DueAt.IsZero() {
		t.Errorf("the model that has not: due %v", st.DueAt)
	}
}

func testDue(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img, second := Image(1, 1), Image(1, 2)
	must(t, s.PutImage(t.Context(), img, Start))
	dueAt(t, s, 1, Start.Add(Timing.Settle))
	// Steady changes postpone it, but not beyond the debounce.
	must(t, s.PutImage(t.Context(), second, Start.Add(400*time.Millisecond)))
	dueAt(t, s, 1, Start.Add(900*time.Millisecond))
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), Start.Add(1900*time.Millisecond)))
	dueAt(t, s, 1, Start.Add(Timing.Debounce))
	due, next, err := s.Due(t.Context(), Start, 10)
	must(t, err)
	if len(due) != 0 || !next.Equal(Start.Add(Timing.Debounce)) {
		t.Fatalf("due %v, next %v", due, next)
	}
	due, _, err = s.Due(t.Context(), Start.Add(Timing.Debounce), 10)
	must(t, err)
	if len(due) != 1 || due[0].Pending != 1 {
		t.Fatalf("due %+v", due)
	}
	// Preliminary with something pending: not due by itself.
	put(t, s, 1, 1, record.Preliminary, Start.Add(2*time.Second), &due[0], image(t, s, img), image(t, s, second))
	dueAt(t, s, 1, time.Time{})
	// Nothing pending: final after the quiet period.
	changed := Start.Add(time.Minute)
	must(t, s.PutOutcome(t.Context(), Outcome(second, 1, true), changed))
	st := study(t, s, 1)
	put(t, s, 1, 2, record.Preliminary, changed, &st, image(t, s, img), image(t, s, second))
	dueAt(t, s, 1, changed.Add(Timing.Quiet))
	st = study(t, s, 1)
	put(t, s, 1, 3, record.Final, changed.Add(Timing.Quiet), &st, image(t, s, img), image(t, s, second))
	dueAt(t, s, 1, time.Time{})
	must(t, s.Postpone(t.Context(), hexOf(1, 32), changed))
	dueAt(t, s, 1, changed)
	must(t, s.Cover(t.Context(), study(t, s, 1), nil, Start))
	dueAt(t, s, 1, time.Time{})
}

func testCoverKeepsLater(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	st := study(t, s, 1)
	later := Start.Add(time.Second)
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), later))
	put(t, s, 1, 1, record.Preliminary, later, &st, Image(1, 1))
	dueAt(t, s, 1, later.Add(Timing.Settle))
}

func testLateImageWaits(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img, late := Image(1, 1), Image(1, 2)
	must(t, s.PutImage(t.Context(), img, Start))
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), Start))
	st := study(t, s, 1)
	put(t, s, 1, 1, record.Final, Start, &st, image(t, s, img))
	hour := Start.Add(time.Hour)
	must(t, s.PutImage(t.Context(), late, hour))
	dueAt(t, s, 1, hour.Add(Timing.Quiet))
	must(t, s.PutOutcome(t.Context(), Outcome(late, 1, false), hour.Add(3*time.Second)))
	dueAt(t, s, 1, hour.Add(Timing.Debounce))
}

func testSettled(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	counts := func(pending, done, failed int) {
		t.Helper()
		c, err := s.Count(t.Context(), nil, time.Time{})
		must(t, err)
		if c.Pending != pending || c.Done != done || c.Failed != failed {
			t.Fatalf("counts %+v, want pending %d, done %d, failed %d", c, pending, done, failed)
		}
	}
	counts(1, 0, 0)
	st := study(t, s, 1)
	put(t, s, 1, 1, record.Preliminary, Start, &st, image(t, s, img)) // in a report, but as pending
	counts(1, 0, 0)
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, true), Start))
	counts(1, 0, 0) // known, but in no report yet
	st = study(t, s, 1)
	put(t, s, 1, 2, record.Preliminary, Start.Add(time.Second), &st, image(t, s, img))
	counts(0, 0, 1)
	must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), Start))
	counts(1, 0, 0)
	_, doc, _ := Report(1, 2, record.Preliminary, Start, image(t, s, img))
	must(t, s.Cover(t.Context(), study(t, s, 1), doc, Start))
	counts(0, 1, 0)
}

func testRevisions(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	must(t, s.Cover(t.Context(), study(t, s, 1), nil, Start))
	// A corrected header moves the picture to another patient, and so to another report.
	corrected := Image(2, 1)
	corrected.SOPUID, corrected.ReceivedAt = img.SOPUID, img.ReceivedAt.Add(time.Hour)
	must(t, s.PutImage(t.Context(), corrected, Start.Add(time.Minute)))
	for _, report := range []int{1, 2} {
		dueAt(t, s, report, Start.Add(time.Minute).Add(Timing.Settle))
	}
	all, err := s.Revisions(t.Context(), img.SOPUID)
	must(t, err)
	if len(all) != 2 || all[1].Sha256 != corrected.Sha256 {
		t.Fatalf("revisions %+v", all)
	}
}

func testRejected(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	must(t, s.PutImage(t.Context(), img, Start))
	must(t, s.Cover(t.Context(), study(t, s, 1), nil, Start))
	r := quarantine.History{Key: "north/2026-11-23/aa", Document: record.Quarantine{Schema: record.QuarantineSchema, Clinic: "north",
		Code: "laterality-missing", Reason: "Which eye?", Action: "Say which.", StudyUID: img.StudyUID, ReceivedAt: Start}}
	must(t, s.PutRejected(t.Context(), r, Start.Add(time.Minute)))
	dueAt(t, s, 1, Start.Add(time.Minute).Add(Timing.Settle))
	must(t, s.Cover(t.Context(), study(t, s, 1), nil, Start))
	elsewhere := r
	elsewhere.Key, elsewhere.Document.Clinic = "south/2026-11-23/aa", "south"
	must(t, s.PutRejected(t.Context(), elsewhere, Start.Add(time.Hour)))
	dueAt(t, s, 1, time.Time{}) // another clinic's study is another study
	got, err := s.RejectedOf(t.Context(), "north", img.StudyUID)
	must(t, err)
	if len(got) != 1 || !reflect.DeepEqual(got[0].History(), r) || got[0].State != quarantine.Open {
		t.Fatalf("rejected %+v", got)
	}
	find := func(state quarantine.State, want int) {
		t.Helper()
		_, total, err := s.FindRejected(t.Context(), nil, state, time.Time{}, 1, 0)
		must(t, err)
		if total != want {
			t.Fatalf("%d rejected in state %q, want %d", total, state, want)
		}
	}
	find("", 2)
	find(quarantine.Open, 2)

	// Histories grow, and an older one that comes late changes nothing.
	decided := r
	decided.Steps = []quarantine.Step{{Decision: record.Decision{Number: 1, Action: record.ActionRelease, DecidedAt: Start}}}
	released := r
	released.Steps = []quarantine.Step{{Decision: decided.Steps[0].Decision, Release: &record.Release{Number: 1, Result: record.ReleaseArchived, FinishedAt: Start}}}
	must(t, s.PutRejected(t.Context(), decided, Start.Add(2*time.Hour)))
	dueAt(t, s, 1, Start.Add(2*time.Hour).Add(Timing.Settle))
	find(quarantine.Releasing, 1)
	if c, err := s.Count(t.Context(), nil, time.Time{}); err != nil || c.Quarantined != 1 || c.Releasing != 1 {
		t.Fatalf("counts %+v, %v", c, err)
	}
	must(t, s.PutRejected(t.Context(), released, Start.Add(2*time.Hour)))
	must(t, s.PutRejected(t.Context(), decided, Start.Add(3*time.Hour)))
	find(quarantine.Released, 1)
	unknown, err := s.Unknown(t.Context(), store.KindRuling, []string{r.Key + ".decision-1.json", r.Key + ".release-1.json", r.Key + ".decision-2.json"})
	must(t, err)
	if len(unknown) != 1 || unknown[0] != r.Key+".decision-2.json" {
		t.Fatalf("unknown rulings %v", unknown)
	}
	if got, err = s.RejectedOf(t.Context(), "north", img.StudyUID); err != nil || len(got) != 0 {
		t.Fatalf("a released file is still named by its study: %+v, %v", got, err)
	}
	discarded := elsewhere
	discarded.Steps = []quarantine.Step{{Decision: record.Decision{Number: 1, Action: record.ActionDiscard, DecidedAt: Start}}}
	must(t, s.PutRejected(t.Context(), discarded, Start))
	if c, err := s.Count(t.Context(), nil, time.Time{}); err != nil || c.Quarantined != 0 || c.Releasing != 0 || c.Discarded != 1 {
		t.Fatalf("counts %+v, %v", c, err)
	}
	if one, err := s.RejectedBy(t.Context(), "south", "south/2026-11-23/a"); err != nil || !reflect.DeepEqual(one.History(), discarded) {
		t.Fatalf("by prefix %+v, %v", one, err)
	}
}

// expectation makes what a manifest announces of images of a study.
func expectation(key string, received time.Time, images ...store.Image) store.Expectation {
	x := store.Expectation{DocumentKey: key, Clinic: "north", StudyUID: images[0].StudyUID, ReceivedAt: received}
	for _, img := range images {
		x.Instances = append(x.Instances, store.ExpectedInstance{SOPUID: img.SOPUID, Sha256: img.Sha256})
	}
	return x
}

func testExpected(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	first, second := Image(1, 1), Image(1, 2)
	other := second
	other.Sha256 = hexOf(77, 64)
	arrivals := func(want ...store.Arrival) {
		t.Helper()
		got, err := s.ExpectedOf(t.Context(), "north", first.StudyUID)
		must(t, err)
		var have []store.Arrival
		for _, i := range got {
			have = append(have, i.Arrival)
		}
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("arrivals %v, want %v", have, want)
		}
	}
	arrivals()
	received := Start.Add(-time.Minute)
	must(t, s.PutExpectation(t.Context(), expectation("m1", received, first, other), Start)) // before the study
	arrivals(store.NotArrived, store.NotArrived)
	must(t, s.PutImage(t.Context(), first, Start))
	must(t, s.PutOutcome(t.Context(), Outcome(first, 1, false), Start))
	arrivals(store.Arrived, store.NotArrived)
	st := study(t, s, 1)
	if st.Expected != 2 || st.Missing != 1 || st.Complete() || !st.Awaiting() {
		t.Fatalf("study %+v", st)
	}
	dueAt(t, s, 1, Start.Add(Timing.Settle))
	put(t, s, 1, 1, record.Preliminary, Start, &st, image(t, s, first))
	dueAt(t, s, 1, received.Add(Timing.Await)) // the end of waiting, not of a quiet period
	must(t, s.PutImage(t.Context(), second, Start.Add(time.Second)))
	arrivals(store.Arrived, store.ArrivedOtherwise)
	dueAt(t, s, 1, Start.Add(time.Second).Add(Timing.Settle)) // it is pending
	must(t, s.PutOutcome(t.Context(), Outcome(second, 1, false), Start.Add(2*time.Second)))
	dueAt(t, s, 1, Start.Add(2*time.Second)) // all are here: at once
	st = study(t, s, 1)
	put(t, s, 1, 2, record.Final, Start.Add(2*time.Second), &st, image(t, s, first), image(t, s, second))
	dueAt(t, s, 1, time.Time{})
	must(t, s.PutExpectation(t.Context(), expectation("m1", received, first, other), Start.Add(time.Hour)))
	dueAt(t, s, 1, time.Time{}) // the same manifest again

	// A newer one counts, and a file in quarantine of the announced bytes, of whatever study.
	third := Image(1, 3)
	must(t, s.PutExpectation(t.Context(), expectation("m2", Start, third), Start.Add(time.Hour)))
	arrivals(store.NotArrived)
	dueAt(t, s, 1, Start.Add(time.Hour).Add(Timing.Settle))
	due, _, err := s.Due(t.Context(), Start.Add(2*time.Hour), 10)
	must(t, err)
	if len(due) != 1 || !due[0].Late || due[0].Awaiting() {
		t.Fatalf("due %+v", due)
	}
	must(t, s.Cover(t.Context(), due[0], nil, Start))
	dueAt(t, s, 1, time.Time{}) // the end of waiting was dealt with
	r := quarantine.History{Key: "north/2026-11-23/" + third.Sha256, Document: record.Quarantine{Schema: record.QuarantineSchema, Clinic: "south", Sha256: third.Sha256, ReceivedAt: Start}}
	must(t, s.PutRejected(t.Context(), r, Start.Add(3*time.Hour)))
	arrivals(store.NotArrived) // another clinic's file
	r.Key, r.Document.Clinic = "north/2026-11-24/"+third.Sha256, "north"
	must(t, s.PutRejected(t.Context(), r, Start.Add(3*time.Hour)))
	arrivals(store.Arrived)
	dueAt(t, s, 1, Start.Add(3*time.Hour))
}

func testNotFound(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	ctx := t.Context()
	for name, err := range map[string]error{
		"report": second(s.Newest(ctx, "x")), "version": second(s.Version(ctx, "x", 1)), "image": second(s.Image(ctx, "1", "ab")),
		"study": second(s.Study(ctx, "x")), "model": second(s.Model(ctx, "ab")),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v, want a fault of kind not-found", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func testText(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	key, doc, raw := Report(1, 1, record.Final, Start)
	doc.Patient.Name, doc.Patient.ID = "NGUY\u1EC4N^Th\u1ECB\x00\xff", "100%_!'; DROP TABLE reports; --"
	must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, doc.IssuedAt))
	for search, want := range map[string]int{"nguyen thi": 1, "THI nguy\u1EC5n": 1, "100%_!": 1, "'; drop": 1, "%": 1, "_x": 0, "yamada": 0, "": 1} {
		_, n, err := s.FindPatients(t.Context(), store.PatientQuery{Search: search, Limit: 10})
		must(t, err)
		if n != want {
			t.Errorf("searching %q finds %d, want %d", search, n, want)
		}
	}
}

func testConcurrent(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const writers, each = 8, 20
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := range each {
				img := Image(w, n)
				if err := s.PutImage(ctx, img, Start); err != nil {
					t.Errorf("writing: %v", err)
				}
				if _, err := s.Count(ctx, nil, time.Time{}); err != nil {
					t.Errorf("reading: %v", err)
				}
			}
		})
	}
	group.Wait()
	c, err := s.Count(ctx, nil, time.Time{})
	must(t, err)
	if c.Pending != writers*each {
		t.Fatalf("%d images, want %d", c.Pending, writers*each)
	}
}

func testReopen(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	must(t, s.PutImage(t.Context(), Image(1, 1), Start))
	complete, err := s.Complete(t.Context())
	must(t, err)
	if complete {
		t.Fatal("a new index calls itself complete")
	}
	must(t, s.SetComplete(t.Context()))
	slow := Timing
	slow.Settle, slow.Debounce = time.Minute, time.Hour
	s = open(t, "a", store.Config{Timing: slow})
	if complete, err = s.Complete(t.Context()); err != nil || !complete {
		t.Fatalf("complete is %v after reopening: %v", complete, err)
	}
	dueAt(t, s, 1, Start.Add(time.Minute)) // timers live in the index, and follow the configuration
	must(t, s.Ping(t.Context()))
}

func testIdempotent(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	img := Image(1, 1)
	key, doc, raw := Report(1, 1, record.Preliminary, Start, img)
	for range 2 {
		must(t, s.PutImage(t.Context(), img, Start))
		must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), Start))
		must(t, s.PutDuplicate(t.Context(), store.Duplicate{DocumentKey: "d", Clinic: "north", Sha256: img.Sha256, Of: "x", ReceivedAt: Start}))
		must(t, s.PutRejected(t.Context(), quarantine.History{Key: "r", Document: record.Quarantine{Clinic: "north", ReceivedAt: Start}}, Start))
		must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, doc.IssuedAt))
	}
	c, err := s.Contents(t.Context())
	must(t, err)
	if len(c.Images) != 1 || len(c.Outcomes) != 1 || len(c.Duplicates) != 1 || len(c.Rejected) != 1 || len(c.Reports) != 1 || len(c.Patients) != 1 {
		t.Fatalf("contents %+v", c)
	}
	if got := study(t, s, 1).Changes; got != 2 {
		t.Fatalf("%d changes, want 2: one image and one outcome", got)
	}
}

func texts(reports []store.Report) string {
	var out []string
	for _, r := range reports {
		out = append(out, fmt.Sprintf("%s/%d", strings.TrimLeft(r.ReportID, "0"), r.Version))
	}
	return strings.Join(out, " ")
}
