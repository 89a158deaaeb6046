package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// visitOf is the report of a study of one patient at a date.
func visitOf(report, version int, date string) (string, *record.Report, []byte) {
	key, doc, _ := Report(report, version, record.Final, Start.Add(time.Duration(100*report+version)*time.Second))
	doc.StudyDate, doc.Patient.Key = date, hexOf(7, 64)
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err) // plain data always encodes
	}
	return key, doc, raw
}

// testVisits: the visits before are found by date, and a new version of a report makes those on the visits after it due, and no others.
func testVisits(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	patient := hexOf(7, 64)
	visit := func(report, version int, date string) {
		t.Helper()
		key, doc, raw := visitOf(report, version, date)
		must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, Start))
	}
	const undated, early, twin, middle, late, later = 1, 2, 3, 4, 5, 6
	dates := map[int]string{undated: "", early: "2025-03-04", twin: "2025-03-04", middle: "2026-01-01", late: "2026-11-22", later: "2026-11-23"}
	for report := undated; report <= later; report++ {
		img := Image(report, 1)
		img.PatientKey = patient
		must(t, s.PutImage(t.Context(), img, Start))
		visit(report, 1, dates[report])
	}
	before := func(date, want string) {
		t.Helper()
		found, named, err := s.Earlier(t.Context(), patient, date)
		must(t, err)
		if texts(found) != want || named.PatientKey != patient || named.StudyDate != date || (named.Versions == "") != (want == "") {
			t.Errorf("before %s are %q, named %+v; want %q", date, texts(found), named, want)
		}
		for _, v := range found {
			if v.Document == nil {
				t.Errorf("before %s: %s has no document", date, v.ReportID)
			}
		}
	}
	before("2025-03-04", "")
	before("2025-03-05", "3/1 2/1")
	before("2026-11-22", "4/1 3/1 2/1")
	before("2026-11-23", "5/1 4/1 3/1 2/1")
	if found, named, err := s.Earlier(t.Context(), hexOf(8, 64), "2026-11-23"); err != nil || len(found) != 0 || named.Versions != "" {
		t.Errorf("another patient's visits before are %+v, %v", named, err)
	}

	at := Start.Add(time.Hour)
	rest := func() {
		t.Helper()
		at = at.Add(time.Hour)
		for report := undated; report <= later; report++ {
			must(t, s.Cover(t.Context(), study(t, s, report), nil, at))
		}
	}
	touches := func(report, version int, date string, want ...int) {
		t.Helper()
		rest()
		key, doc, raw := visitOf(report, version, date)
		must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, at))
		var got []int
		for r := undated; r <= later; r++ {
			if st := study(t, s, r); st.Changes > st.Covered {
				got = append(got, r)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("version %d of the visit on %q makes %v due, want %v", version, date, got, want)
		}
	}
	touches(early, 2, "2025-03-04", middle, late, later)
	touches(later, 2, "2026-11-23")
	touches(undated, 2, "")
	touches(middle, 2, "2026-01-01", late, later)
	touches(middle, 3, "2026-11-22", late, later) // between late, which loses it as a visit before, and later
	touches(middle, 2, "2026-01-01")              // known
	before("2026-11-23", "5/1 4/3 3/1 2/2")
	before("2026-11-22", "3/1 2/2")

	// What was compared with another version than the one that is there by now is due again.
	rest()
	st := study(t, s, late)
	_, compared, err := s.Earlier(t.Context(), patient, "2026-11-22")
	must(t, err)
	st.Compared = compared
	must(t, s.Cover(t.Context(), st, nil, at))
	dueAt(t, s, late, time.Time{})
	st.Compared.Versions = hexOf(twin, 32) + "/1"
	must(t, s.Cover(t.Context(), st, nil, at))
	dueAt(t, s, late, at.Add(Timing.Quiet)) // final, and its picture has no outcome
}

// testManyVisits: however many visits there are, so many are looked back on, and so many are touched.
func testManyVisits(t *testing.T, open Open) {
	s := open(t, "a", store.Config{Timing: Timing})
	const visits = store.MaxEarlier + 5
	at := Start.Add(time.Hour)
	for n := 1; n <= visits; n++ {
		img := Image(n, 1)
		img.PatientKey = hexOf(7, 64)
		must(t, s.PutImage(t.Context(), img, Start))
		key, doc, raw := visitOf(n, 1, fmt.Sprintf("2026-01-%02d", n))
		must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, at))
	}
	found, _, err := s.Earlier(t.Context(), hexOf(7, 64), "2027-01-01")
	must(t, err)
	if len(found) != store.MaxEarlier || found[0].ReportID != hexOf(visits, 32) {
		t.Errorf("%d visits, the latest %s", len(found), found[0].ReportID)
	}
	for n := 1; n <= visits; n++ {
		must(t, s.Cover(t.Context(), study(t, s, n), nil, at))
	}
	key, doc, raw := visitOf(1, 2, "2026-01-01")
	must(t, s.PutReport(t.Context(), key, doc, raw, nil, false, at))
	for n := 2; n <= visits; n++ {
		if st := study(t, s, n); (st.Changes > st.Covered) != (n <= 1+store.MaxEarlier) {
			t.Errorf("visit %d is due: %v", n, st.Changes > st.Covered)
		}
	}
}
