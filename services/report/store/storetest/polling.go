package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// testPolling: processes whose clocks differ issue at the same time, and who polls by `_lastUpdated` misses nothing and sees moments that grow.
func testPolling(t *testing.T, open Open) {
	const processes, each = 4, 40
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var writers sync.WaitGroup
	for p := range processes {
		s := open(t, "a", store.Config{Timing: Timing})
		writers.Go(func() {
			for n := range each {
				// Each clock is another one's past.
				issued := Start.Add(time.Duration(n)*time.Millisecond - time.Duration(p)*time.Hour)
				key, doc, raw := Report(1+p*each+n, 1, record.Preliminary, issued)
				if err := s.PutReport(ctx, key, doc, raw, nil, false, issued); err != nil {
					t.Errorf("process %d: %v", p, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	reader := open(t, "a", store.Config{Timing: Timing})
	seen := map[string]bool{}
	var last time.Time
	for finished := false; !finished; {
		select {
		case <-done:
			finished = true // and looks once more
		default:
		}
		q := store.ReportQuery{Limit: 1000}
		if !last.IsZero() {
			q.Updated = []store.Span{{From: last.Add(time.Millisecond)}}
		}
		found, err := reader.FindReports(ctx, q)
		must(t, err)
		for _, r := range found {
			if seen[r.ReportID] || !r.UpdatedAt.After(last) {
				t.Fatalf("%s is seen twice, or at %v after %v", r.ReportID, r.UpdatedAt, last)
			}
			seen[r.ReportID], last = true, r.UpdatedAt
		}
	}
	if len(seen) != processes*each {
		t.Errorf("the poller saw %d reports, want %d", len(seen), processes*each)
	}
}

// testIssuing: one process issues at a time, and is told the last moment of all.
func testIssuing(t *testing.T, open Open) {
	const processes, each = 3, 15
	var group sync.WaitGroup
	for p := range processes {
		s := open(t, "a", store.Config{Timing: Timing})
		group.Go(func() {
			for n := range each {
				err := s.Issue(t.Context(), func(last time.Time) error {
					issued := Start
					if !last.IsZero() {
						issued = last.Add(time.Millisecond)
					}
					key, doc, raw := Report(1+p*each+n, 1, record.Final, issued)
					return s.PutReport(t.Context(), key, doc, raw, nil, false, issued)
				})
				if err != nil {
					t.Errorf("process %d: %v", p, err)
				}
			}
		})
	}
	group.Wait()
	s := open(t, "a", store.Config{Timing: Timing})
	found, err := s.FindReports(t.Context(), store.ReportQuery{Limit: 1000})
	must(t, err)
	if len(found) != processes*each {
		t.Errorf("%d reports, want %d", len(found), processes*each)
	}
	for _, r := range found {
		if !r.UpdatedAt.Equal(r.IssuedAt) {
			t.Errorf("%s is issued at %v and updated at %v: a rebuilt index would differ", r.ReportID, r.IssuedAt, r.UpdatedAt)
		}
	}
	failed := fmt.Errorf("failed on purpose")
	if err := s.Issue(t.Context(), func(time.Time) error { return failed }); err != failed { //nolint:errorlint // that very one
		t.Errorf("issuing says %v", err)
	}
}

// testCountTo: counting stops where it is told to, also over several clinics.
func testCountTo(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	for n := 1; n <= 9; n++ {
		key, doc, raw := Report(n, 1, record.Final, Start.Add(time.Duration(n)*time.Minute))
		doc.Clinic = []string{"north", "south", "west"}[n%3]
		must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, doc.IssuedAt))
	}
	for _, test := range []struct {
		clinics []string
		to      int
		want    int
	}{
		{nil, 0, 9}, {nil, 9, 9}, {nil, 8, 9}, {nil, 4, 5}, {[]string{"north"}, 2, 3}, {[]string{"north"}, 3, 3}, {[]string{"north", "west", "north"}, 0, 6},
		{[]string{"north", "west"}, 3, 4}, {[]string{"north", "west"}, 6, 6}, {[]string{}, 3, 0},
	} {
		n, err := s.CountReports(t.Context(), store.ReportQuery{Clinics: test.clinics, CountTo: test.to, Sort: store.SortStudyDate, Descending: true})
		must(t, err)
		_, patients, err := s.FindPatients(t.Context(), store.PatientQuery{Clinics: test.clinics, CountTo: test.to, Limit: 1})
		must(t, err)
		if n != test.want || patients != test.want {
			t.Errorf("%v counted to %d: %d reports and %d patients, want %d", test.clinics, test.to, n, patients, test.want)
		}
	}
	// The rows of several clinics are in one order, and pages of them join.
	for _, q := range []store.ReportQuery{{Sort: store.SortUpdated}, {Sort: store.SortStudyDate, Descending: true}, {Sort: store.SortIssued}} {
		q.Clinics = []string{"north", "south"}
		q.Limit = 100
		all, err := s.FindReports(t.Context(), q)
		must(t, err)
		var joined []store.Report
		q.Limit = 2
		for {
			page, err := s.FindReports(t.Context(), q)
			must(t, err)
			joined = append(joined, page...)
			if len(page) < q.Limit {
				break
			}
			at := store.PositionOf(page[1], q.Sort)
			q.After = &at
		}
		if len(all) != 6 || texts(joined) != texts(all) {
			t.Errorf("by %s: pages %s, all %s", q.Sort, texts(joined), texts(all))
		}
	}
	for _, q := range []store.PatientQuery{{ByKey: true}, {Changed: true}, {}} {
		q.Clinics = []string{"north", "south"}
		q.Limit, q.Offset = 3, 2
		page, _, err := s.FindPatients(t.Context(), q)
		must(t, err)
		q.Limit, q.Offset = 100, 0
		all, _, err := s.FindPatients(t.Context(), q)
		must(t, err)
		if len(all) != 6 || len(page) != 3 || page[0] != all[2] || page[2] != all[4] {
			t.Errorf("%+v: page %+v of %+v", q, page, all)
		}
	}
}

// testClear: what is emptied is not complete, holds nothing, and still knows what was noted.
func testClear(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	must(t, s.PutImage(t.Context(), Image(1, 1), Start))
	must(t, s.PutOutcome(t.Context(), Outcome(Image(1, 1), 1, false), Start))
	put(t, s, 1, 1, record.Final, Start, nil, Image(1, 1))
	must(t, s.SetComplete(t.Context()))
	must(t, s.SetNote(t.Context(), "audit", "7"))
	must(t, s.Clear(t.Context()))
	complete, err := s.Complete(t.Context())
	must(t, err)
	note, err := s.Note(t.Context(), "audit")
	must(t, err)
	c, err := s.Contents(t.Context())
	must(t, err)
	if complete || note != "7" || len(c.Images)+len(c.Outcomes)+len(c.Reports)+len(c.Patients) > 0 {
		t.Errorf("complete %v, note %q, contents %+v", complete, note, c)
	}
	// While the index is not whole versions keep their moments, and not any more after that, whatever the process thinks.
	put(t, s, 1, 1, record.Final, Start.Add(time.Hour), nil)
	must(t, s.SetComplete(t.Context()))
	key, doc, raw := Report(2, 1, record.Final, Start)
	must(t, s.PutReport(t.Context(), key, doc, raw, nil, true, Start))
	late, err := s.Newest(t.Context(), hexOf(2, 32))
	must(t, err)
	if !late.UpdatedAt.After(Start.Add(time.Hour)) {
		t.Errorf("a version that came after the index was whole is updated at %v", late.UpdatedAt)
	}
}
