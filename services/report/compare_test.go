package report

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/record"
)

func pointer[T any](v T) *T { return &v }

// density is a measure with a value and an error, on the grid that all pictures have.
func density(value, half float64) record.Measure {
	return record.Measure{Name: "vessel-area-density", Display: "Vessel area density", Definition: "Share.", Unit: "1", Region: "field-of-view",
		Value: &value, Error: &half, GridFOVPx: pointer(1024.0)}
}

// eyeImage is a measured image of an eye.
func eyeImage(side record.Laterality, sop string, measures ...record.Measure) record.ReportImage {
	return record.ReportImage{SOPUID: sop, Sha256: shaOf(sop), Laterality: side, Status: record.ImageMeasured, AcquiredAt: "2026-11-22T10:00:00", Measures: measures,
		Quality: &record.Quality{Score: .5}, Device: &record.AcquisitionDevice{Manufacturer: "Example", Model: "Cam 1", Serial: sop},
		Provenance: &record.Provenance{Model: record.ModelReference{Name: "unet", Version: "1", Sha256: testModel}}}
}

func studyOf(date string, images ...record.ReportImage) *record.Report {
	return &record.Report{ReportID: shaOf(date)[:32], StudyDate: date, Images: images}
}

func TestAsymmetry(t *testing.T) {
	t.Parallel()
	width := func(value, half float64) record.Measure {
		m := density(value, half)
		m.Unit = "%"
		return m
	}
	for name, test := range map[string]struct {
		right, left record.Measure
		difference  float64
		half        float64
		verdict     record.Verdict
		text        string
	}{
		"the same":             {density(.1, .03), density(.1, .04), 0, .05, record.WithinError, "No difference between the eyes beyond measurement error."},
		"inside":               {density(.1, .03), density(.149, .04), -.049, .05, record.WithinError, "No difference between the eyes beyond measurement error."},
		"beyond one error":     {density(.1, .03), density(.141, .04), -.041, .05, record.WithinError, "No difference between the eyes beyond measurement error."},
		"at the error":         {density(.5, .25), density(.25, 0), .25, .25, record.WithinError, "No difference between the eyes beyond measurement error."},
		"lower":                {density(.1, .03), density(.151, .04), -.051, .05, record.Lower, "Right eye lower by 0.051, beyond the measurement error of 0.050."},
		"higher":               {density(.2, .03), density(.1, .04), .1, .05, record.Higher, "Right eye higher by 0.100, beyond the measurement error of 0.050."},
		"with a unit":          {width(5, .3), width(4, .4), 1, .5, record.Higher, "Right eye higher by 1.00 %, beyond the measurement error of 0.50 %."},
		"an error above a ten": {density(100, 30), density(200, 40), -100, 50, record.Lower, "Right eye lower by 100, beyond the measurement error of 50."},
	} {
		got := compare(studyOf("2026-11-22", eyeImage("L", "1.2", test.left), eyeImage("R", "1.1", test.right)), nil)
		if len(got) != 3 || got[0].Kind != record.Asymmetry || len(got[0].Measures) != 1 || got[0].Image.SOPUID != "1.1" || got[0].Reference.SOPUID != "1.2" || got[0].Warnings != nil {
			t.Fatalf("%s: %+v", name, got)
		}
		m := got[0].Measures[0]
		if !near(m.Difference, test.difference) || !near(m.Error, test.half) || m.Verdict != test.verdict || m.Text != test.text || m.AbsentReason != nil {
			t.Errorf("%s: difference %v ± %v is %s: %s", name, *m.Difference, *m.Error, m.Verdict, m.Text)
		}
	}
}

func near(got *float64, want float64) bool {
	return got != nil && *got-want < 1e-12 && want-*got < 1e-12
}

// TestNoVerdict: what cannot be compared says why, and gives no number.
func TestNoVerdict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		now, before func(*record.ReportImage)
		previous    string // date of the visit before; "": there is none
		date        string
		code        string // of the comparison
		measure     string // of the measure
		warning     string
	}{
		"compared":                {previous: "2026-03-04", date: "2026-11-22"},
		"first visit":             {date: "2026-11-22", code: noEarlierVisitCode},
		"no date":                 {previous: "2026-03-04", code: noStudyDateCode},
		"eye not measured before": {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Laterality = "L" }, code: eyeNotMeasuredBeforeCode},
		"ungradable before":       {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Status = record.ImageUngradable }, code: eyeNotMeasuredBeforeCode},
		"superseded before": {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Notes = []record.Note{{Code: supersededCode}} },
			code: eyeNotMeasuredBeforeCode},
		"other model":   {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.Provenance.Model.Sha256 = shaOf("other") }, code: otherModelCode},
		"other version": {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.Provenance.Model.Version = "other" }, code: otherModelCode},
		"other name of the model": {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.Provenance.Model.Name = "w-net" },
			code: otherModelCode},
		"other camera": {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Device.Model = "Cam 2" }, code: otherCameraCode},
		"other field": {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.HorizontalFOVDeg = pointer(30.0) },
			before: func(i *record.ReportImage) { i.HorizontalFOVDeg = pointer(45.0) }, code: otherFieldCode},
		"same field": {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.HorizontalFOVDeg = pointer(45.0) },
			before: func(i *record.ReportImage) { i.HorizontalFOVDeg = pointer(44.5) }},
		"field not told":   {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.HorizontalFOVDeg = pointer(45.0) }},
		"unknown camera":   {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Device = nil }, warning: cameraUnknownCode},
		"camera half told": {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.Device.Manufacturer = " " }, warning: cameraUnknownCode},
		"warned":           {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Warnings = []record.Note{{Code: "x"}} }, warning: imageWarnedCode},
		"other grid":       {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Measures[0].GridFOVPx = pointer(768.0) }, measure: otherGridCode},
		"grid not known":   {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) { i.Measures[0].GridFOVPx = nil }, measure: otherGridCode},
		"no error": {previous: "2026-03-04", date: "2026-11-22", now: func(i *record.ReportImage) {
			i.Measures[0].Error, i.Measures[0].ErrorAbsentReason = nil, &record.Note{Code: "nobody-looked", Text: "Nobody looked."}
		}, measure: "nobody-looked"},
		"no error before": {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Measures[0].Error = nil }, measure: errorNotKnownCode},
		"no value before": {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) {
			i.Measures[0].Value, i.Measures[0].AbsentReason = nil, &record.Note{Code: "no-vessels", Text: "No vessels."}
		}, measure: "no-vessels"},
		"other unit":          {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Measures[0].Unit = "%" }, measure: measureMissingCode},
		"other region before": {previous: "2026-03-04", date: "2026-11-22", before: func(i *record.ReportImage) { i.Measures[0].Region = "zone-b" }, measure: measureMissingCode},
	} {
		now, before := eyeImage("R", "1.1", density(.1, .03)), eyeImage("R", "1.9", density(.1, .04))
		if test.now != nil {
			test.now(&now)
		}
		if test.before != nil {
			test.before(&before)
		}
		var previous *record.Report
		if test.previous != "" {
			previous = studyOf(test.previous, before)
		}
		all := compare(studyOf(test.date, now), previous)
		if len(all) != 2 || all[0].AbsentReason == nil || all[0].AbsentReason.Code != eyeNotMeasuredCode || all[0].Reference != nil {
			t.Fatalf("%s: %+v", name, all)
		}
		c := all[1]
		if code(c.AbsentReason) != test.code || (c.AbsentReason == nil) != (len(c.Measures) == 1) {
			t.Errorf("%s: withheld for %q with %d measures, want %q", name, code(c.AbsentReason), len(c.Measures), test.code)
			continue
		}
		if got := len(c.Warnings) > 0; got != (test.warning != "") || got && c.Warnings[0].Code != test.warning {
			t.Errorf("%s: warnings %+v, want %s", name, c.Warnings, test.warning)
		}
		if c.AbsentReason != nil {
			continue
		}
		m := c.Measures[0]
		withheld := m.AbsentReason != nil
		if code(m.AbsentReason) != test.measure || m.Text == "" || withheld != (m.Difference == nil) || withheld != (m.Error == nil) || withheld != (m.Verdict == "") {
			t.Errorf("%s: %+v, want %q", name, m, test.measure)
		}
		if !withheld && m.Text != "No change beyond measurement error since 2026-03-04." {
			t.Errorf("%s: %s", name, m.Text)
		}
	}
	// A part of the field is not compared.
	zone := density(.1, .03)
	zone.Region = "zone-b"
	if got := compare(studyOf("2026-11-22", eyeImage("R", "1.1", zone), eyeImage("L", "1.2", zone)), nil); len(got[0].Measures) != 0 {
		t.Errorf("%+v", got[0].Measures)
	}
	if got := compare(studyOf("2026-11-22", record.ReportImage{Status: record.ImagePending, Laterality: "R"}), nil); got != nil {
		t.Errorf("a study without measures has comparisons: %+v", got)
	}
}

func code(n *record.Note) string {
	if n == nil {
		return ""
	}
	return n.Code
}

// TestStanding: the best picture stands for an eye, whatever the order.
func TestStanding(t *testing.T) {
	t.Parallel()
	change := func(sop string, do func(*record.ReportImage)) record.ReportImage {
		img := eyeImage("R", sop, density(.1, .03))
		do(&img)
		return img
	}
	best := change("1.5", func(i *record.ReportImage) { i.Quality.Score = .9 })
	for name, images := range map[string][]record.ReportImage{
		"quality":      {best, change("1.1", func(*record.ReportImage) {}), change("1.2", func(i *record.ReportImage) { i.Quality = nil })},
		"time":         {best, change("1.1", func(i *record.ReportImage) { i.Quality.Score, i.AcquiredAt = .9, "2026-11-22T10:00:01" })},
		"UID":          {best, change("1.6", func(i *record.ReportImage) { i.Quality.Score = .9 })},
		"not measured": {best, change("1.1", func(i *record.ReportImage) { i.Quality.Score, i.Status = 1, record.ImageUngradable })},
		"superseded":   {best, change("1.1", func(i *record.ReportImage) { i.Quality.Score, i.Notes = 1, []record.Note{{Code: supersededCode}} })},
		"other eye":    {best, change("1.1", func(i *record.ReportImage) { i.Quality.Score, i.Laterality = 1, "L" })},
		"no eye":       {best, change("1.1", func(i *record.ReportImage) { i.Quality.Score, i.Laterality = 1, "" })},
	} {
		for range 2 {
			slices.Reverse(images)
			if got := standing(studyOf("2026-11-22", images...), "R"); got == nil || got.SOPUID != best.SOPUID {
				t.Errorf("%s: %+v stands for the eye", name, got)
			}
		}
	}
}

// visit is a study of the one patient of a test.
type visit struct {
	n     int
	date  string
	value float64
	sides string // of its pictures; "" is R
}

func (v visit) pictures() (all []picture) {
	for n, side := range strings.Split(v.sides, "") {
		all = append(all, picture{v.n, 2*n + map[string]int{"R": 1, "L": 2}[side]})
	}
	if all == nil {
		all = []picture{{v.n, 1}}
	}
	return all
}

func (v visit) id() string { return reportID("north", shaOf("the patient"), picture{v.n, 1}.study()) }

// archived and segmented are the events of a visit.
func (k *kit) archived(v visit) (events []event.Envelope) {
	for _, p := range v.pictures() {
		events = append(events, k.accept(p, func(i *record.Instance) {
			i.Patient.Key, i.Patient.ID, i.StudyDate = shaOf("the patient"), "P", v.date
			i.Device = &record.AcquisitionDevice{Manufacturer: "Example", Model: "Cam 1"}
		}))
	}
	return events
}

func (k *kit) segmented(v visit) (events []event.Envelope) {
	for _, p := range v.pictures() {
		events = append(events, k.segment(p, func(r *record.Result) { r.Measures = []record.Measure{density(v.value, .03)} }))
	}
	return events
}

func (k *kit) visitReport(v visit) *record.Report {
	k.t.Helper()
	doc, err := k.newest(k.t.Context(), v.id())
	k.must(err)
	if doc == nil {
		k.t.Fatalf("visit %d has no report", v.n)
	}
	return doc
}

// wantChange checks the newest version of a visit's report, and what it says of the change in the right eye.
func (k *kit) wantChange(v visit, version int, status record.ReportStatus, text string) {
	k.t.Helper()
	doc := k.visitReport(v)
	said := ""
	for _, c := range doc.Comparisons {
		switch {
		case c.Kind == record.Change && c.AbsentReason != nil:
			said = c.AbsentReason.Code
		case c.Kind == record.Change && len(c.Measures) > 0:
			said = c.Measures[0].Text
		}
	}
	if doc.Version != version || doc.Status != status || said != text {
		k.t.Errorf("visit %d: version %d, %s, says %q; want version %d, %s, %q", v.n, doc.Version, doc.Status, said, version, status, text)
	}
}

// TestEarlierVisitComesLate: a report is issued again when the visit before comes, is corrected, or moves.
func TestEarlierVisitComesLate(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	first, second, third := visit{1, "2025-01-02", .1, ""}, visit{2, "2025-06-07", .2, ""}, visit{3, "2026-11-22", .21, ""}
	k.tell(append(k.archived(third), k.segmented(third)...)...)
	k.quiet()
	k.wantChange(third, 1, record.Final, noEarlierVisitCode)
	k.tell(append(k.archived(first), k.segmented(first)...)...)
	k.quiet()
	k.quiet()
	k.wantChange(first, 1, record.Final, noEarlierVisitCode)
	k.wantChange(third, 2, record.Amended, "Higher by 0.110 than on 2025-01-02, beyond the measurement error of 0.042.")
	k.tell(k.archived(second)...)
	k.settle()
	k.quiet()
	k.wantChange(third, 3, record.Amended, eyeNotMeasuredBeforeCode)
	k.tell(k.segmented(second)...)
	k.quiet()
	k.quiet()
	k.wantChange(second, 2, record.Final, "Higher by 0.100 than on 2025-01-02, beyond the measurement error of 0.042.")
	k.wantChange(third, 4, record.Amended, "No change beyond measurement error since 2025-06-07.")
	k.wantChange(first, 1, record.Final, noEarlierVisitCode)

	// A better picture of the visit before.
	better := picture{2, 3}
	k.tell(k.accept(better, func(i *record.Instance) {
		i.Patient.Key, i.Patient.ID, i.StudyDate = shaOf("the patient"), "P", second.date
		i.Device = &record.AcquisitionDevice{Manufacturer: "Example", Model: "Cam 1"}
	}), k.segment(better, func(r *record.Result) {
		r.Measures = []record.Measure{density(.1, .03)}
		r.Quality = &record.Quality{Score: .9, Reasons: []record.Note{}, Figures: []record.QualityFigure{}}
	}))
	k.quiet()
	k.quiet()
	k.wantChange(second, 3, record.Amended, "No change beyond measurement error since 2025-01-02.")
	k.wantChange(third, 5, record.Amended, "Higher by 0.110 than on 2025-06-07, beyond the measurement error of 0.042.")
	k.quiet()
	k.wantChange(first, 1, record.Final, noEarlierVisitCode)

	// Without index and stream the same is known, and nothing is issued.
	issued := len(k.queue.published)
	k.open(filepath.Join(t.TempDir(), "other.db"))
	k.reconcile()
	k.quiet()
	k.quiet()
	if now := len(k.queue.published); now != issued {
		t.Errorf("wiping the index issued %d reports", now-issued)
	}
	k.wantChange(third, 5, record.Amended, "Higher by 0.110 than on 2025-06-07, beyond the measurement error of 0.042.")
	if logs := k.logs.String(); strings.Contains(logs, "FAMILY") || strings.Contains(logs, "2025-06-07") {
		t.Error("the log holds a name or the date of a study")
	}
}

// TestVisitsInAnyOrder tells three visits in many orders, with restarts and lost indexes in between; what the reports say must be the same.
func TestVisitsInAnyOrder(t *testing.T) {
	t.Parallel()
	visits := []visit{{1, "2025-01-02", .1, "RL"}, {2, "2025-06-07", .2, "R"}, {3, "2026-11-22", .21, "LR"}, {4, "2026-11-22", .12, "L"}, {5, "", .3, "R"}}
	var want []string
	for seed := range uint64(12) {
		k := newKit(t)
		var events []event.Envelope
		for _, v := range visits {
			events = append(append(events, k.archived(v)...), k.segmented(v)...)
		}
		random := rand.New(rand.NewPCG(seed, 0))
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for _, e := range events {
			k.tell(e)
			switch random.IntN(5) {
			case 0:
				k.settle()
			case 1:
				k.quiet()
			case 2:
				k.open(k.path)
				k.markReady()
			case 3:
				k.path = filepath.Join(t.TempDir(), "other.db")
				k.open(k.path)
				k.reconcile()
			}
		}
		k.quiet()
		k.quiet()
		k.quiet()
		var got []string
		for _, v := range visits {
			doc := k.visitReport(v)
			raw, err := content(doc)
			k.must(err)
			// What was received when depends on nothing here; the rest must be equal to the byte.
			got = append(got, string(raw))
			if doc.Status == record.Preliminary {
				t.Errorf("seed %d: visit %d is preliminary", seed, v.n)
			}
			if doc.StudyDate != "" && len(doc.Comparisons) < 2 {
				t.Errorf("visit %d has %d comparisons", v.n, len(doc.Comparisons))
			}
		}
		if want == nil {
			want = got
		}
		for n := range got {
			if got[n] != want[n] {
				t.Errorf("seed %d: visit %d\n%s\nelsewhere\n%s", seed, n+1, got[n], want[n])
			}
		}
	}
}

// TestVisitThatComesWhileAnotherIsIssued: the visit before is indexed between the moment at which a first version is made and that at which
// it is written.
func TestVisitThatComesWhileAnotherIsIssued(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	early, late := visit{1, "2025-01-02", .2, ""}, visit{2, "2026-11-22", .2, ""}
	k.tell(append(k.archived(late), k.segmented(late)...)...)
	events := append(k.archived(early), k.segmented(early)...)
	once := false
	k.blob.fail = func(op, key string) error {
		if op == "put" && strings.Contains(key, late.id()) && !once {
			once = true
			k.blob.fail = nil
			k.blob.mu.Unlock() // held by the store while it asks
			defer k.blob.mu.Lock()
			k.tell(events...)
			st, err := k.deps.Store.Study(t.Context(), early.id())
			k.must(err)
			doc, visit, err := k.assembleStudy(t.Context(), st)
			k.must(err)
			st.Compared = visit
			doc.Version, doc.Status, doc.IssuedAt, doc.FirstIssuedAt = 1, record.Preliminary, k.now(), k.now()
			raw, err := record.Encode(record.ReportSchema, doc)
			k.must(err)
			k.must(k.deps.Store.PutReport(t.Context(), "patients/x/v1/report.json", doc, raw, &st, false, k.now()))
		}
		return nil
	}
	k.quiet()
	if !once {
		t.Fatal("nothing was written")
	}
	k.quiet()
	k.wantChange(late, 2, record.Amended, "No change beyond measurement error since 2025-01-02.")
}

// TestManyVisitsCostOneRead: what a report reads does not grow with the visits.
func TestManyVisitsCostOneRead(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	var reads []int
	const visits = 100
	for n := range visits {
		v := visit{n + 1, fmt.Sprintf("%d-01-02", 1900+n), .1, ""}
		k.tell(append(k.archived(v), k.segmented(v)...)...)
		count := 0
		k.blob.fail = func(op, _ string) error {
			if op == "get" {
				count++
			}
			return nil
		}
		k.quiet()
		k.blob.fail = nil
		reads = append(reads, count)
	}
	if !reflect.DeepEqual(reads[1:], slices.Repeat(reads[1:2], visits-1)) || reads[0] != reads[1] {
		t.Errorf("reads by visit: %v", reads)
	}
	if got := len(k.queue.published); got != visits {
		t.Errorf("%d reports were issued", got)
	}
}

// TestNewProgramAloneIssuesNothing: reports that were made before there were comparisons stay as they are.
func TestNewProgramAloneIssuesNothing(t *testing.T) {
	t.Parallel()
	with := studyOf("2026-11-22", eyeImage("R", "1.1", density(.1, .03)))
	with.Comparisons, with.Images[0].HorizontalFOVDeg = compare(with, nil), pointer(45.0)
	pending := func() *record.Report {
		return studyOf("2026-11-22", record.ReportImage{Status: record.ImagePending, HorizontalFOVDeg: pointer(45.0)})
	}
	without := studyOf("2026-11-22", eyeImage("R", "1.1", density(.1, .03)))
	other := studyOf("2026-11-22", eyeImage("R", "1.1", density(.2, .03)))
	other.Comparisons = with.Comparisons
	for _, test := range []struct {
		name string
		a, b *record.Report
		same bool
	}{{"old and new", without, with, true}, {"new and old", with, without, false}, {"old and other", without, other, false}, {"new twice", with, with, true}, {"pending", pending(), pending(), true}} {
		if same, err := sameContent(test.a, test.b); err != nil || same != test.same {
			t.Errorf("%s: same %v, %v", test.name, same, err)
		}
	}
}

// TestWhichPictureCounts: where an eye has several pictures, the page names the one that is compared.
func TestWhichPictureCounts(t *testing.T) {
	t.Parallel()
	best := eyeImage("R", "1.2", density(.1, .03))
	best.Quality.Score, best.AcquiredAt = .9, "2026-11-22T10:07:00"
	doc := studyOf("2026-11-22", eyeImage("R", "1.1", density(.1, .03)), best, eyeImage("L", "1.3", density(.1, .03)))
	doc.Comparisons = compare(doc, nil)
	want := []string{"Of the right eye the photograph of 2026-11-22 10:07:00 is compared: of 2 it has the best quality.", "No earlier visit of this patient has a report."}
	if got := comparisonView(doc).Remarks; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestComparisonOnThePage: the page says in words what differs, what does not, and what is not compared.
func TestComparisonOnThePage(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	before, now := visit{1, "2026-03-04", .1, "R"}, visit{2, "2026-11-22", .2, "RL"}
	k.tell(append(k.archived(before), k.segmented(before)...)...)
	k.tell(k.archived(now)...)
	for _, p := range now.pictures() {
		k.tell(k.segment(p, func(r *record.Result) {
			odd := density(1.4, .1)
			odd.Name, odd.Display, odd.Error, odd.ErrorAbsentReason = "odd", "Odd measure", nil, &record.Note{Code: "error-not-known", Text: "Nobody looked."}
			r.Measures = []record.Measure{density(now.value, .03), odd}
		}))
	}
	k.quiet()
	k.quiet()
	page := k.get("/patients/"+shaOf("the patient")[:32]+"?study="+now.id(), "Accept", "text/html")
	text := page.Body.String()
	for _, want := range []string{
		`<th scope="col">Right eye beside left eye</th><th scope="col">Right eye since 2026-03-04</th></tr>`,
		`<tr><th scope="row">Vessel area density</th><td>No difference between the eyes beyond measurement error.</td><td class="beyond">Higher by 0.100 than on 2026-03-04, beyond the measurement error of 0.042.</td></tr>`,
		"The visit before, on 2026-03-04, has no measured picture of the left eye.",
		"<dt>Odd measure</dt><dd>Nobody looked.</dd>", "<dt>Odd measure</dt><dd>The other picture has no such measure.</dd>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %s", want)
		}
	}
	first := k.get("/patients/"+shaOf("the patient")[:32]+"?study="+before.id(), "Accept", "text/html").Body.String()
	if strings.Contains(first, `class="beyond"`) || !strings.Contains(first, "No earlier visit of this patient has a report.") {
		t.Error("the page of the first visit does not say that there is none before")
	}

	// Over FHIR the difference is found by its own code, and what it is derived from is there.
	var bundle struct {
		Entry []struct {
			Resource struct {
				ID            string `json:"id"`
				ValueQuantity struct {
					Value float64 `json:"value"`
				} `json:"valueQuantity"`
				DerivedFrom []struct {
					Reference string `json:"reference"`
				} `json:"derivedFrom"`
			} `json:"resource"`
		} `json:"entry"`
	}
	answer := k.get("/fhir/Observation?code=vessel-area-density-change")
	k.must(json.Unmarshal(answer.Body.Bytes(), &bundle))
	if len(bundle.Entry) != 1 || bundle.Entry[0].Resource.ValueQuantity.Value != .1 || len(bundle.Entry[0].Resource.DerivedFrom) != 3 {
		t.Fatalf("%s", answer.Body)
	}
	for _, from := range bundle.Entry[0].Resource.DerivedFrom {
		if w := k.get("/fhir/" + from.Reference); w.Code != http.StatusOK {
			t.Errorf("%s: %d", from.Reference, w.Code)
		}
	}
}
