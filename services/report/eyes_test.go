package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// with changes an image.
func with(img record.ReportImage, change func(*record.ReportImage)) record.ReportImage {
	change(&img)
	return img
}

func scored(score float64) func(*record.ReportImage) {
	return func(i *record.ReportImage) { i.Quality = &record.Quality{Score: score} }
}

func disc(i *record.ReportImage) {
	i.Regions = []record.Region{{Name: vessel.RegionZoneB, Measures: []record.RegionalMeasure{}}}
}

// TestBestPicture: the picture that can be read best stands for its eye; of those that can be read alike the one with the disc.
func TestBestPicture(t *testing.T) {
	t.Parallel()
	a, b, c := eyeImage("R", "1.1"), eyeImage("R", "1.2"), eyeImage("R", "1.3")
	a.AcquiredAt, b.AcquiredAt, c.AcquiredAt = "2026-11-22T10:00:01", "2026-11-22T10:00:02", "2026-11-22T10:00:03"
	noZone := func(i *record.ReportImage) {
		i.Regions = []record.Region{{Name: vessel.RegionZoneB, AbsentReason: &record.Note{Code: "region-outside", Text: "Outside."}}}
	}
	for name, test := range map[string]struct {
		images []record.ReportImage
		want   string
		why    string
	}{
		"better":                   {[]record.ReportImage{with(a, scored(.41)), with(b, scored(.82))}, "1.2", "Of 2 measured pictures of the right eye the one that can be read best."},
		"a disc decides":           {[]record.ReportImage{with(a, scored(.88)), with(with(b, scored(.81)), disc)}, "1.2", "Of 2 measured pictures of the right eye one that can be read as well as any and has the optic disc in its field."},
		"a disc that lies outside": {[]record.ReportImage{with(a, scored(.88)), with(with(b, scored(.81)), noZone)}, "1.1", "Of 2 measured pictures of the right eye the one that can be read best."},
		"quality before the disc":  {[]record.ReportImage{with(a, scored(.91)), with(with(b, scored(.89)), disc)}, "1.1", "Of 2 measured pictures of the right eye the one that can be read best."},
		"the first of equals":      {[]record.ReportImage{with(b, disc), with(a, disc), with(c, disc)}, "1.1", "Of 3 measured pictures of the right eye the one that was taken first; they can be read alike."},
		"an exact tenth":           {[]record.ReportImage{with(a, scored(.3)), with(with(b, scored(.3)), disc)}, "1.2", "Of 2 measured pictures of the right eye one that can be read as well as any and has the optic disc in its field."},
		"the only one":             {[]record.ReportImage{a}, "1.1", "The only measured picture of the right eye."},
	} {
		for range 2 {
			e := bothEyes(&record.Report{Images: test.images})[0]
			if e.SOPUID != test.want || e.Text != test.why || e.Status != "measured" || e.Images != len(test.images) {
				t.Errorf("%s: %+v", name, e)
			}
			slices.Reverse(test.images)
		}
	}
}

// TestEyesWithoutMeasures: why no picture stands for an eye, and what a person should do about it.
func TestEyesWithoutMeasures(t *testing.T) {
	t.Parallel()
	of := func(status record.ImageStatus) record.ReportImage {
		return with(eyeImage("L", "1.1"), func(i *record.ReportImage) {
			i.Status, i.Reason = status, &record.Note{Code: "blur", Text: "The picture is out of focus."}
		})
	}
	old := with(eyeImage("L", "1.2"), func(i *record.ReportImage) { i.Notes = []record.Note{{Code: supersededCode, Text: "Old."}} })
	for name, test := range map[string]struct {
		images []record.ReportImage
		status string
		task   string
	}{
		"none":                    {nil, "none", ""},
		"superseded":              {[]record.ReportImage{old}, "none", ""},
		"waits":                   {[]record.ReportImage{of(record.ImagePending), of(record.ImageFailed)}, "pending", ""},
		"ungradable":              {[]record.ReportImage{of(record.ImageUngradable)}, "ungradable", "Photograph the left eye again: the picture is out of focus."},
		"failed":                  {[]record.ReportImage{of(record.ImageFailed), of(record.ImageNotAnalysed)}, "failed", "could not be analysed"},
		"not analysed":            {[]record.ReportImage{of(record.ImageNotAnalysed)}, "not-analysed", ""},
		"ungradable and measured": {[]record.ReportImage{of(record.ImageUngradable), with(eyeImage("L", "1.3"), func(*record.ReportImage) {})}, "measured", ""},
	} {
		r := &record.Report{Images: test.images}
		r.Eyes = bothEyes(r)
		if e := r.Eyes[1]; e.Laterality != "L" || e.Status != test.status || !strings.Contains(e.Text, "left eye") {
			t.Errorf("%s: %+v", name, e)
		}
		tasks := needsPerson(r)
		if len(tasks) > 1 || (test.task == "") != (len(tasks) == 0) || test.task != "" && (!strings.Contains(tasks[0].Text, test.task) || tasks[0].Laterality != "L") {
			t.Errorf("%s: tasks %+v", name, tasks)
		}
	}
	r := &record.Report{Rejected: []record.ReportRejected{{}, {}}, Missing: []record.ReportMissing{{Code: awaitedCode}, {Code: missingCode}}}
	if tasks := fmt.Sprint(needsPerson(r)); !strings.Contains(tasks, "2 files of this study are in quarantine") || !strings.Contains(tasks, "1 announced picture of this study") {
		t.Errorf("tasks %s", tasks)
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	other := with(eyeImage("L", "1.2"), func(i *record.ReportImage) {
		i.Provenance = &record.Provenance{Model: record.ModelReference{Name: "unet", Version: "0", Sha256: testModel}}
	})
	waiting := with(eyeImage("L", "1.3"), func(i *record.ReportImage) { i.Provenance = nil })
	got := models(&record.Report{Images: []record.ReportImage{eyeImage("R", "1.1"), other, waiting, eyeImage("R", "1.4")}})
	if len(got) != 2 || got[0].Version != "0" || got[1].Version != "1" {
		t.Errorf("%v", got)
	}
}

// TestSeries: the visits of an eye in their order, each against this one, and what they say together.
func TestSeries(t *testing.T) {
	t.Parallel()
	visitAt := func(date string, value float64, change ...func(*record.ReportImage)) *record.Report {
		img := eyeImage("R", "1."+date, density(value, .03))
		for _, c := range change {
			c(&img)
		}
		return studyOf(date, img)
	}
	otherCamera := func(i *record.ReportImage) {
		i.Device = &record.AcquisitionDevice{Manufacturer: "Other", Model: "Cam 2"}
	}
	ungradable := func(i *record.ReportImage) { i.Status = record.ImageUngradable }
	for name, test := range map[string]struct {
		now     *record.Report
		earlier []*record.Report // the latest first
		points  string           // dates and verdicts
		text    string
	}{
		"no change": {visitAt("2026-11-22", .1), []*record.Report{visitAt("2026-01-01", .11), visitAt("2025-01-01", .12)},
			"2025-01-01 within-error, 2026-01-01 within-error, 2026-11-22 ", "No change beyond measurement error over 3 visits since 2025-01-01."},
		"slowly": {visitAt("2026-11-22", .1), []*record.Report{visitAt("2026-01-01", .13), visitAt("2025-01-01", .16)},
			"2025-01-01 lower, 2026-01-01 within-error, 2026-11-22 ", "Lower by 0.060 than on 2025-01-01, beyond the measurement error of 0.042."},
		"a gap": {visitAt("2026-11-22", .1), []*record.Report{visitAt("2026-01-01", .1, ungradable), visitAt("2025-01-01", .1)},
			"2025-01-01 within-error, 2026-11-22 ", "No change beyond measurement error over 2 visits since 2025-01-01."},
		"another camera": {visitAt("2026-11-22", .1), []*record.Report{visitAt("2026-01-01", .2, otherCamera)},
			"2026-01-01 other-camera, 2026-11-22 ", "No earlier visit can be compared with this one."},
		"another camera before": {visitAt("2026-11-22", .1), []*record.Report{visitAt("2026-01-01", .1), visitAt("2025-01-01", .2, otherCamera)},
			"2025-01-01 other-camera, 2026-01-01 within-error, 2026-11-22 ", "No change beyond measurement error over 2 visits since 2026-01-01."},
		"only of the other eye": {visitAt("2026-11-22", .1), []*record.Report{visitAt("2026-01-01", .1, func(i *record.ReportImage) { i.Laterality = "L" })}, "", ""},
		"the first visit":       {visitAt("2026-11-22", .1), nil, "", ""},
		"without date":          {visitAt("", .1), []*record.Report{visitAt("2026-01-01", .1)}, "", ""},
	} {
		var points []string
		text := ""
		for _, s := range series(test.now, test.earlier) {
			text = s.Text
			for _, p := range s.Points {
				verdict := string(p.Verdict)
				if p.AbsentReason != nil {
					verdict = p.AbsentReason.Code
				}
				if p.Value == nil || *p.Error != .03 {
					t.Errorf("%s: point %+v", name, p)
				}
				points = append(points, p.StudyDate+" "+verdict)
			}
		}
		if got := strings.Join(points, ", "); got != test.points || text != test.text {
			t.Errorf("%s: %q, %q", name, got, text)
		}
	}
}
