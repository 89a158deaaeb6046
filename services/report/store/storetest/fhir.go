package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// testFHIRStatus: a report that is preliminary is found as what FHIR calls it, by how many pictures wait.
func testFHIRStatus(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	for n, pending := range []int{2, 1, 0} {
		key, doc, raw := Report(n+1, 1, record.Preliminary, Start.Add(time.Duration(n)*time.Minute), Image(n+1, 1), Image(n+1, 2))
		doc.Counts = record.ReportCounts{Images: 2, Measured: 2 - pending, Pending: pending}
		must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, doc.IssuedAt))
	}
	put(t, s, 4, 1, record.Final, Start.Add(time.Hour), nil)
	for status, want := range map[string]string{"registered": "1/1", "partial": "2/1", "preliminary": "3/1", "final": "4/1", "amended": ""} {
		if got := search(t, s, store.ReportQuery{FHIRStatuses: []string{status}}); got != want {
			t.Errorf("%s: %q, want %q", status, got, want)
		}
	}
	if got := search(t, s, store.ReportQuery{Statuses: []string{"preliminary"}}); got != "1/1 2/1 3/1" {
		t.Errorf("preliminary, as Noctua says it: %q", got)
	}
}

// testRejectedPages: files in quarantine in the order in which they came, whatever is decided meanwhile.
func testRejectedPages(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	const files = 9
	history := func(n int) quarantine.History {
		sha := fmt.Sprintf("%02x", n) + strings.Repeat("a", 62)
		return quarantine.History{Key: "north/2026-11-23/" + sha, Document: record.Quarantine{Schema: record.QuarantineSchema, Clinic: "north", Code: "code-" + fmt.Sprint(n%2),
			Sha256: sha, ReceivedAt: Start.Add(time.Duration(n/3) * time.Minute)}} // three at a time
	}
	for n := range files {
		must(t, s.PutRejected(t.Context(), history(n), Start))
	}
	for _, descending := range []bool{false, true} {
		var seen []string
		q := store.RejectedQuery{Descending: descending, Limit: 2}
		for round := 0; ; round++ {
			found, err := s.SearchRejected(t.Context(), q)
			must(t, err)
			for _, f := range found {
				seen = append(seen, f.DocumentKey)
				at := store.RejectedPositionOf(f)
				q.After = &at
			}
			if len(found) < q.Limit {
				break
			}
			h := history(round)
			h.Steps = []quarantine.Step{{Decision: record.Decision{Action: record.ActionDiscard}}}
			must(t, s.PutRejected(t.Context(), h, Start))
		}
		if descending {
			slices.Reverse(seen)
		}
		if len(seen) != files || !slices.IsSorted(seen) {
			t.Errorf("descending %v: %v", descending, seen)
		}
	}
	for name, test := range map[string]struct {
		q    store.RejectedQuery
		want int
	}{
		"all": {store.RejectedQuery{}, files}, "code": {store.RejectedQuery{Codes: []string{"code-1"}}, 4}, "hash": {store.RejectedQuery{Sha256: []string{"03a", "04"}}, 2},
		"discarded": {store.RejectedQuery{States: []quarantine.State{quarantine.Discarded}}, 4}, "no clinic": {store.RejectedQuery{Clinics: []string{}}, 0},
		"key": {store.RejectedQuery{DocumentKeys: []string{history(5).Key + ".json"}}, 1}, "received": {store.RejectedQuery{Received: []store.Span{{From: Start.Add(time.Minute), To: Start.Add(2 * time.Minute)}}}, 3},
		"not received": {store.RejectedQuery{NotReceived: []store.Span{{From: Start.Add(time.Minute), To: Start.Add(2 * time.Minute)}}}, 6},
	} {
		test.q.Limit = 100
		found, err := s.SearchRejected(t.Context(), test.q)
		must(t, err)
		total, err := s.CountRejected(t.Context(), test.q)
		must(t, err)
		if len(found) != test.want || total != test.want {
			t.Errorf("%s: %d of %d, want %d", name, len(found), total, test.want)
		}
	}
	// The code is that of the last attempt to let the file in.
	h := history(0)
	h.Steps = []quarantine.Step{{Decision: record.Decision{Action: record.ActionDiscard}}, {Decision: record.Decision{Action: record.ActionRelease}, Release: &record.Release{Result: record.ReleaseRefused, Code: "code-new"}}}
	must(t, s.PutRejected(t.Context(), h, Start))
	if n, err := s.CountRejected(t.Context(), store.RejectedQuery{Codes: []string{"code-new"}}); err != nil || n != 1 {
		t.Errorf("with the new code: %d, %v", n, err)
	}
}

// testNights: what was first issued in a night, and what has changed since it was looked at.
func testNights(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	for n := range 5 {
		put(t, s, n+1, 1, record.Final, Start.Add(time.Duration(n)*time.Hour), nil)
	}
	put(t, s, 2, 2, record.Amended, Start.Add(10*time.Hour), nil)
	var after string
	var all []store.Report
	for {
		found, err := s.FirstIssued(t.Context(), "north", store.Span{From: Start, To: Start.Add(3 * time.Hour)}, after, 2)
		must(t, err)
		all = append(all, found...)
		if len(found) < 2 {
			break
		}
		after = found[1].ReportID
	}
	if got := texts(all); got != "1/1 2/2 3/1" {
		t.Errorf("first issued: %q", got)
	}
	if found, err := s.FirstIssued(t.Context(), "south", store.Span{From: Start, To: Start.Add(3 * time.Hour)}, "", 9); err != nil || len(found) > 0 {
		t.Errorf("at another clinic: %v %v", found, err)
	}
	issues, err := s.IssuesAfter(t.Context(), Start.Add(3*time.Hour), 9)
	must(t, err)
	if len(issues) != 2 || !issues[0].FirstIssuedAt.Equal(Start.Add(4*time.Hour)) || !issues[1].FirstIssuedAt.Equal(Start.Add(time.Hour)) || !issues[1].UpdatedAt.Equal(Start.Add(10*time.Hour)) || issues[1].Clinic != "north" {
		t.Errorf("issues %+v", issues)
	}
}

// testPatientsByUpdate: who is changed moves to the end, so that pages miss nobody.
func testPatientsByUpdate(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	for n := range 6 {
		key, doc, raw := Report(n, 1, record.Final, Start.Add(time.Duration(n)*time.Minute))
		doc.Patient.BirthDate, doc.Patient.Sex = fmt.Sprintf("19%d0-03-04", 3+n), "F"
		if n == 5 {
			doc.Patient.BirthDate, doc.Patient.Sex = "", ""
		}
		must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, doc.IssuedAt))
	}
	first, _, err := s.FindPatients(t.Context(), store.PatientQuery{ByUpdate: true, Limit: 3})
	must(t, err)
	put(t, s, 4, 2, record.Amended, Start.Add(time.Hour), nil)
	rest, _, err := s.FindPatients(t.Context(), store.PatientQuery{ByUpdate: true, AfterUpdate: first[2].UpdatedAt, Limit: 9})
	must(t, err)
	if len(first) != 3 || len(rest) != 3 || rest[2].Key != hexOf(4, 64) {
		t.Errorf("pages of %d and %d", len(first), len(rest))
	}
	for name, test := range map[string]struct {
		q    store.PatientQuery
		want int
	}{
		"born":     {store.PatientQuery{BirthDates: []store.TextSpan{{From: "1940", To: "1961"}}}, 3},
		"not born": {store.PatientQuery{NotBirthDates: []store.TextSpan{{From: "1940", To: "1961"}}}, 1},
		"sex":      {store.PatientQuery{Sexes: []string{"F"}}, 4},
		"updated":  {store.PatientQuery{Updated: []store.Span{{From: Start.Add(2 * time.Minute)}}}, 4},
	} {
		test.q.Limit = 9
		if found, total, err := s.FindPatients(t.Context(), test.q); err != nil || len(found) != test.want || total != test.want {
			t.Errorf("%s: %d of %d, want %d (%v)", name, len(found), total, test.want, err)
		}
	}
}

// testModels: each model once, in the order of their hashes.
func testModels(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	for n := range 6 {
		must(t, s.PutOutcome(t.Context(), Outcome(Image(n, 1), 1+n%3, false), Start))
	}
	all, err := s.Models(t.Context(), "", 9)
	must(t, err)
	if len(all) != 3 {
		t.Fatalf("%d models", len(all))
	}
	if rest, err := s.Models(t.Context(), all[0].Sha256, 1); err != nil || len(rest) != 1 || rest[0] != all[1] {
		t.Errorf("behind the first: %v %v", rest, err)
	}
}
