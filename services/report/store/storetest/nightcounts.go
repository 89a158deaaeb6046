package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// nightIndex has something of every kind at two clinics, in three nights that begin at Start and a day and two days later.
func nightIndex(t *testing.T, open Open) *store.SQL {
	t.Helper()
	s := open(t, "a", store.Config{Timing: Timing})
	report := 0
	for night := range 3 {
		at := Start.AddDate(0, 0, night)
		for _, clinic := range []string{"north", "south"} {
			for _, status := range []record.ImageStatus{record.ImageMeasured, record.ImageUngradable, record.ImageFailed, record.ImagePending} {
				report++
				img := Image(report, 1)
				img.Clinic, img.ReceivedAt = clinic, at.Add(time.Duration(report)*time.Minute)
				must(t, s.PutImage(t.Context(), img, img.ReceivedAt))
				if status == record.ImagePending {
					continue
				}
				outcome := Outcome(img, 1, status == record.ImageFailed)
				outcome.Status = status
				must(t, s.PutOutcome(t.Context(), outcome, img.ReceivedAt))
				st := study(t, s, report)
				key, doc, raw := Report(report, 1, record.Final, img.ReceivedAt.Add(time.Hour), image(t, s, img))
				doc.Clinic = clinic
				must(t, s.PutReport(t.Context(), key, doc, raw, &st, false, doc.IssuedAt))
				if night == 1 && status == record.ImageMeasured { // amended the night after
					key, doc, raw := Report(report, 2, record.Amended, img.ReceivedAt.Add(25*time.Hour), image(t, s, img))
					doc.Clinic, doc.FirstIssuedAt = clinic, img.ReceivedAt.Add(time.Hour)
					must(t, s.PutReport(t.Context(), key, doc, raw, &st, false, doc.IssuedAt))
				}
			}
			must(t, s.PutDuplicate(t.Context(), store.Duplicate{DocumentKey: fmt.Sprintf("d/%s/%d", clinic, night), Clinic: clinic, ReceivedAt: at.Add(2 * time.Hour)}))
			for n, steps := range [][]quarantine.Step{nil, {{Decision: record.Decision{Action: record.ActionDiscard}}}, {{Decision: record.Decision{Action: record.ActionRelease}}}} {
				code := []string{"laterality-missing", "not-dicom", "not-dicom"}[n]
				must(t, s.PutRejected(t.Context(), quarantine.History{Key: fmt.Sprintf("%s/2026-11-23/%d%d", clinic, night, n), Steps: steps,
					Document: record.Quarantine{Schema: record.QuarantineSchema, Clinic: clinic, Code: code, Reason: code, ReceivedAt: at.Add(3 * time.Hour), Sha256: hexOf(100+10*report+n, 64)}}, at))
			}
		}
	}
	return s
}

// testClinicCounts: what is counted clinic by clinic is what is counted together, and of a night that is over what came in it.
func testClinicCounts(t *testing.T, open Open) {
	s := nightIndex(t, open)
	for _, clinics := range [][]string{nil, {"north"}, {"north", "south"}, {}} {
		for night := range 4 {
			since := Start.AddDate(0, 0, night)
			want, err := s.Count(t.Context(), clinics, since)
			must(t, err)
			parts, err := s.CountClinics(t.Context(), clinics, store.Span{From: since})
			must(t, err)
			var got store.Counts
			for _, p := range parts {
				got.Pending += p.Pending
				got.Done += p.Done
				got.Failed += p.Failed
				got.Duplicate += p.Duplicate
				got.Quarantined += p.Quarantined
				got.Ungradable += p.Ungradable
				got.NotAnalysed += p.NotAnalysed
				got.Releasing += p.Releasing
				got.Discarded += p.Discarded
				got.Reports += p.Reports
				got.Patients += p.Patients
			}
			if got != want {
				t.Errorf("%v since night %d: %+v, together %+v", clinics, night, got, want)
			}
		}
	}
	parts, err := s.CountClinics(t.Context(), nil, store.Span{From: Start.AddDate(0, 0, 1), To: Start.AddDate(0, 0, 2)})
	must(t, err)
	at := Start.AddDate(0, 0, 1)
	want := store.ClinicCounts{Clinic: "south", Counts: store.Counts{Pending: 1, Done: 2, Failed: 1, Ungradable: 1, Duplicate: 1, Quarantined: 1, Releasing: 1, Discarded: 1, Reports: 3, Patients: 3},
		FirstAt: at.Add(13 * time.Minute), LastAt: at.Add(3 * time.Hour), FinishedAt: at.Add(75 * time.Minute), WaitingSince: at.Add(16 * time.Minute)}
	if len(parts) != 2 || parts[0].Clinic != "north" || parts[1] != want {
		t.Errorf("a night that is over: %+v", parts)
	}
	since, err := s.CountClinics(t.Context(), []string{"south"}, store.Span{From: Start.AddDate(0, 0, 2)})
	must(t, err)
	if len(since) != 1 || since[0].Pending != 3 || !since[0].WaitingSince.Equal(Start.Add(8*time.Minute)) || !since[0].FirstAt.Equal(Start.AddDate(0, 0, 2).Add(21*time.Minute)) {
		t.Errorf("since the last night: %+v", since)
	}
	none, err := s.CountClinics(t.Context(), nil, store.Span{From: Start.AddDate(0, 0, 9), To: Start.AddDate(0, 0, 10)})
	must(t, err)
	if len(none) != 0 {
		t.Errorf("a night in which nothing came: %+v", none)
	}
}

// testCourse: each step has what came and what was dealt with in it.
func testCourse(t *testing.T, open Open) {
	s := nightIndex(t, open)
	course, err := s.Course(t.Context(), []string{"north"}, store.Span{From: Start, To: Start.Add(4 * time.Hour)}, time.Hour)
	must(t, err)
	// Four images within minutes; three of them reported an hour later; the duplicate after two hours, three files in quarantine after three.
	if want := []store.Pulse{{Received: 4}, {Dealt: 3}, {Received: 1, Dealt: 1}, {Received: 3, Dealt: 3}}; !slices.Equal(course, want) {
		t.Errorf("course %+v, want %+v", course, want)
	}
	all, err := s.Course(t.Context(), nil, store.Span{From: Start, To: Start.Add(100 * time.Minute)}, time.Hour)
	must(t, err)
	if want := []store.Pulse{{Received: 8}, {Dealt: 6}}; !slices.Equal(all, want) {
		t.Errorf("course %+v, want %+v", all, want)
	}
	if none, err := s.Course(t.Context(), []string{}, store.Span{From: Start, To: Start.Add(time.Hour)}, time.Hour); err != nil || !slices.Equal(none, []store.Pulse{{}}) {
		t.Errorf("course of no clinic %+v, %v", none, err)
	}
}

// testReasons: files by reason, those that are open whenever they came, or those of a night whatever became of them.
func testReasons(t *testing.T, open Open) {
	s := nightIndex(t, open)
	at := Start.AddDate(0, 0, 2)
	got := func(clinics []string, in store.Span, ended bool, limit int) string {
		t.Helper()
		reasons, err := s.Reasons(t.Context(), clinics, in, ended, limit)
		must(t, err)
		text := ""
		for _, r := range reasons {
			text += fmt.Sprintf("%s %d %d %s; ", r.Code, r.Came, r.Open, r.Example.Document.Reason)
		}
		return text
	}
	for _, test := range []struct{ got, want string }{
		{got(nil, store.Span{From: at}, false, 9), "laterality-missing 2 6 laterality-missing; "},
		{got([]string{"north"}, store.Span{From: at}, false, 9), "laterality-missing 1 3 laterality-missing; "},
		{got(nil, store.Span{From: Start, To: Start.AddDate(0, 0, 1)}, true, 9), "not-dicom 4 0 not-dicom; laterality-missing 2 2 laterality-missing; "},
		{got(nil, store.Span{From: Start, To: Start.AddDate(0, 0, 1)}, true, 1), "not-dicom 4 0 not-dicom; "},
		{got([]string{}, store.Span{From: at}, false, 9), ""},
	} {
		if test.got != test.want {
			t.Errorf("reasons %q, want %q", test.got, test.want)
		}
	}
	ids, err := s.ReportsWith(t.Context(), []string{"south"}, []record.ImageStatus{record.ImageUngradable, record.ImageFailed}, store.Span{From: Start.AddDate(0, 0, 1), To: at}, 9)
	must(t, err)
	if want := []string{hexOf(15, 32), hexOf(14, 32)}; !slices.Equal(ids, want) {
		t.Errorf("reports %v, want %v", ids, want)
	}
}

// testBeside: the last moment before one and the first after it at which something came.
func testBeside(t *testing.T, open Open) {
	s := nightIndex(t, open)
	for _, test := range []struct {
		clinics     []string
		at          time.Time
		last, first time.Time
	}{
		{nil, Start, time.Time{}, Start.Add(time.Minute)},
		{nil, Start.AddDate(0, 0, 1), Start.Add(3 * time.Hour), Start.AddDate(0, 0, 1).Add(9 * time.Minute)},
		{[]string{"south"}, Start.AddDate(0, 0, 1), Start.Add(3 * time.Hour), Start.AddDate(0, 0, 1).Add(13 * time.Minute)},
		{nil, Start.AddDate(0, 0, 9), Start.AddDate(0, 0, 2).Add(3 * time.Hour), time.Time{}},
		{[]string{}, Start.AddDate(0, 0, 1), time.Time{}, time.Time{}},
	} {
		last, err := s.LastBefore(t.Context(), test.clinics, test.at)
		must(t, err)
		first, err := s.FirstAfter(t.Context(), test.clinics, test.at)
		must(t, err)
		if !last.Equal(test.last) || !first.Equal(test.first) {
			t.Errorf("%v at %s: last %s, first %s", test.clinics, test.at, last, first)
		}
	}
}

// testLacking: studies that lack announced images, and announced studies of which nothing came.
func testLacking(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	expect := func(report int, clinic string, at time.Time, images ...int) {
		t.Helper()
		x := store.Expectation{DocumentKey: fmt.Sprintf("expected/%s/%d", clinic, report), Clinic: clinic, StudyUID: fmt.Sprintf("1.%d", report), ReceivedAt: at}
		for _, n := range images {
			img := Image(report, n)
			x.Instances = append(x.Instances, store.ExpectedInstance{SOPUID: img.SOPUID, Sha256: img.Sha256})
		}
		must(t, s.PutExpectation(t.Context(), x, at))
	}
	expect(1, "north", Start, 1, 2)                   // one of two comes
	expect(2, "north", Start, 1)                      // all of it comes
	expect(3, "north", Start, 1)                      // nothing comes
	expect(4, "south", Start, 1)                      // nothing, elsewhere
	expect(5, "north", Start, 1)                      // it is in quarantine, without its study
	expect(6, "north", Start.Add(48*time.Hour), 1, 2) // later
	for _, report := range []int{1, 2, 6} {
		must(t, s.PutImage(t.Context(), Image(report, 1), Start))
	}
	must(t, s.PutRejected(t.Context(), quarantine.History{Key: "north/2026-11-23/5", Document: record.Quarantine{Schema: record.QuarantineSchema, Clinic: "north", ReceivedAt: Start, Sha256: Image(5, 1).Sha256}}, Start))
	await := Timing.Await
	for _, test := range []struct {
		clinics []string
		in      store.Span
		ids     []string
		total   int
		unheard map[string]int
	}{
		{nil, store.Span{From: Start, To: Start.Add(24 * time.Hour)}, []string{hexOf(1, 32)}, 1, map[string]int{"north": 1, "south": 1}},
		{nil, store.Span{From: Start, To: Start.Add(72 * time.Hour)}, []string{hexOf(6, 32)}, 2, map[string]int{"north": 1, "south": 1}},
		{[]string{"south"}, store.Span{From: Start, To: Start.Add(72 * time.Hour)}, nil, 0, map[string]int{"south": 1}},
		{nil, store.Span{From: Start.Add(72 * time.Hour)}, nil, 0, map[string]int{}},
	} {
		ids, total, err := s.Incomplete(t.Context(), test.clinics, test.in, 1)
		must(t, err)
		if !slices.Equal(ids, test.ids) || total != test.total {
			t.Errorf("%v %v: incomplete %v of %d, want %v of %d", test.clinics, test.in, ids, total, test.ids, test.total)
		}
		in := store.Span{From: test.in.From.Add(-await)}
		if !test.in.To.IsZero() {
			in.To = test.in.To.Add(-await)
		}
		unheard, err := s.Unheard(t.Context(), test.clinics, in)
		must(t, err)
		if fmt.Sprint(unheard) != fmt.Sprint(test.unheard) {
			t.Errorf("%v %v: unheard of %v, want %v", test.clinics, test.in, unheard, test.unheard)
		}
	}
}
