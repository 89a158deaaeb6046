package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// testClinics: whoever is given some clinics finds and counts what is of them, and nothing else; of none, nothing.
func testClinics(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	for n, clinic := range []string{1: "north", 2: "south", 3: "south", 4: "west"} {
		if clinic == "" {
			continue
		}
		img := Image(n, 1)
		img.Clinic = clinic
		must(t, s.PutImage(t.Context(), img, Start))
		must(t, s.PutOutcome(t.Context(), Outcome(img, 1, false), Start))
		img = image(t, s, img)
		st := study(t, s, n)
		key, doc, raw := Report(n, 1, record.Final, Start.Add(time.Duration(n)*time.Minute), img)
		doc.Clinic = clinic
		must(t, s.PutReport(t.Context(), key, doc, raw, &st, false, doc.IssuedAt))
		must(t, s.PutDuplicate(t.Context(), store.Duplicate{DocumentKey: "d/" + clinic + hexOf(n, 4), Clinic: clinic, ReceivedAt: Start}))
		must(t, s.PutRejected(t.Context(), quarantine.History{Key: clinic + "/2026-11-23/" + hexOf(n, 4),
			Document: record.Quarantine{Schema: record.QuarantineSchema, Clinic: clinic, ReceivedAt: Start}}, Start))
	}
	for _, test := range []struct {
		clinics []string
		n       int
		reports string
	}{
		{nil, 4, "1/1 2/1 3/1 4/1"}, {[]string{}, 0, ""}, {[]string{"north"}, 1, "1/1"}, {[]string{"south"}, 2, "2/1 3/1"},
		{[]string{"west", "north"}, 2, "1/1 4/1"}, {[]string{"sou"}, 0, ""},
	} {
		if got := search(t, s, store.ReportQuery{Clinics: test.clinics}); got != test.reports {
			t.Errorf("%v: reports %q, want %q", test.clinics, got, test.reports)
		}
		patients, total, err := s.FindPatients(t.Context(), store.PatientQuery{Clinics: test.clinics, Limit: 100})
		must(t, err)
		files, rejected, err := s.FindRejected(t.Context(), test.clinics, quarantine.Open, time.Time{}, 100, 0)
		must(t, err)
		if len(patients) != test.n || total != test.n || len(files) != test.n || rejected != test.n {
			t.Errorf("%v: %d of %d patients, %d of %d files", test.clinics, len(patients), total, len(files), rejected)
		}
		for _, p := range patients {
			if test.clinics != nil && !slices.Contains(test.clinics, p.Clinic) {
				t.Errorf("%v: a patient of %s", test.clinics, p.Clinic)
			}
		}
		for _, f := range files {
			if test.clinics != nil && !slices.Contains(test.clinics, f.Document.Clinic) {
				t.Errorf("%v: a file of %s", test.clinics, f.Document.Clinic)
			}
		}
		got, err := s.Count(t.Context(), test.clinics, time.Time{})
		must(t, err)
		if want := (store.Counts{Done: test.n, Duplicate: test.n, Quarantined: test.n, Reports: test.n, Patients: test.n}); got != want {
			t.Errorf("%v: counts %+v, want %+v", test.clinics, got, want)
		}
		if n, _, err := s.Pace(t.Context(), test.clinics, Start); err != nil || n != test.n {
			t.Errorf("%v: pace %d, %v", test.clinics, n, err)
		}
	}
}
