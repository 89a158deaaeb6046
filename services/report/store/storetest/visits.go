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

// testVisits: the visit before is found by date, and a new version of a report makes those on the next visit due, and no others.
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
	before := func(date string, report, version int) {
		t.Helper()
		found, named, err := s.Previous(t.Context(), patient, date)
		must(t, err)
		want := store.Visit{StudyDate: date}
		if report > 0 {
			want.ReportID, want.Version = hexOf(report, 32), version
		}
		if named != want || (found != nil) != (report > 0) || found != nil && (found.ReportID != want.ReportID || found.Document == nil) {
			t.Errorf("before %s is %+v %v, want %+v", date, named, found != nil, want)
		}
	}
	before("2025-03-04", 0, 0)
	before("2025-03-05", twin, 1)
	before("2026-11-22", middle, 1)
	before("2026-11-23", late, 1)
	if _, named, err := s.Previous(t.Context(), hexOf(8, 64), "2026-11-23"); err != nil || named.ReportID != "" {
		t.Errorf("another patient's visit before is %+v, %v", named, err)
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
	touches(early, 2, "2025-03-04", middle)
	touches(later, 2, "2026-11-23")
	touches(undated, 2, "")
	touches(middle, 2, "2026-01-01", late)
	touches(middle, 3, "2026-11-22", late, later) // between late, which loses it as the visit before, and later
	touches(middle, 2, "2026-01-01")              // known
	before("2026-11-23", late, 1)
	before("2026-11-22", twin, 1)

	// What was compared with another version than the one that is there by now is due again.
	rest()
	st := study(t, s, late)
	st.Compared = store.Visit{StudyDate: "2026-11-22", ReportID: hexOf(twin, 32), Version: 1}
	must(t, s.Cover(t.Context(), st, nil, at))
	dueAt(t, s, late, time.Time{})
	st.Compared.Version = 0
	must(t, s.Cover(t.Context(), st, nil, at))
	dueAt(t, s, late, at.Add(Timing.Quiet)) // final, and its picture has no outcome
}
