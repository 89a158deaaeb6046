package report

import (
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/record"
)

// TestVersionChanges says of each way in which a report changes what a reader is told.
func TestVersionChanges(t *testing.T) {
	t.Parallel()
	right, left := eyeImage("R", "1.1", density(.1, .02)), eyeImage("L", "1.2", density(.1, .02))
	base := func() *record.Report {
		r := studyOf("2026-11-22", right, left)
		r.Status, r.CodeVersion, r.Patient = record.Final, "v1", record.PatientIdentity{Key: "k1", ID: "P1", Name: "A^B", Sex: "F"}
		r.Rejected = []record.ReportRejected{{Sha256: "q", Code: "laterality-missing", Reason: "The file does not say which eye it shows."}}
		r.Missing = []record.ReportMissing{{SOPUID: "1.9", Code: awaitedCode}}
		r.Eyes = bothEyes(r)
		r.Counts = record.ReportCounts{Images: 2, Measured: 2}
		return r
	}
	added := func(side record.Laterality, sop string, status record.ImageStatus) record.ReportImage {
		i := eyeImage(side, sop, density(.2, .02))
		i.Status = status
		return i
	}
	pending := func(r *record.Report) { r.Status, r.Images[0].Status = record.Preliminary, record.ImagePending }
	for name, test := range map[string]struct {
		before, after func(*record.Report)
		want          []string
	}{
		"nothing": {nil, nil, []string{"Details were changed that are in report.json alone."}},
		"program": {nil, func(r *record.Report) { r.CodeVersion = "v2" }, []string{"Details were changed that are in report.json alone; made by Noctua v2, before v1."}},
		"final": {func(r *record.Report) { r.Status, r.Missing = record.Preliminary, nil }, func(r *record.Report) { r.Missing = nil },
			[]string{"Final: nothing of the study was pending any more."}},
		"final, not all came": {func(r *record.Report) { r.Status = record.Preliminary }, func(r *record.Report) { r.Missing[0].Code = missingCode },
			[]string{"1 announced picture did not come in time.", "Final: what was announced and did not come was not waited for any longer."}},
		"measured":   {pending, nil, []string{"1 picture of the right eye measured.", "Final: what was announced and did not come was not waited for any longer."}},
		"failed":     {func(r *record.Report) { r.Images[0].Status = record.ImagePending }, func(r *record.Report) { r.Images[0].Status = record.ImageFailed }, []string{"1 picture of the right eye could not be analysed."}},
		"ungradable": {nil, func(r *record.Report) { r.Images[1].Status = record.ImageUngradable }, []string{"1 picture of the left eye ungradable, before measured."}},
		"added": {nil, func(r *record.Report) {
			r.Images = append(r.Images, added("L", "1.3", record.ImageMeasured), added("L", "1.4", record.ImageMeasured), added("R", "1.5", record.ImagePending))
		}, []string{"2 pictures of the left eye added and measured.", "1 picture of the right eye added."}},
		"gone": {nil, func(r *record.Report) { r.Images = r.Images[:1] }, []string{"1 picture of the left eye not in the study any more."}},
		"sent again": {nil, func(r *record.Report) {
			again := added("R", "1.1", record.ImageMeasured)
			again.Sha256 = shaOf("again")
			r.Images = append(r.Images, again)
		}, []string{"1 picture of the right eye sent again, with a corrected header or other pixels; the newer file counts."}},
		"the other eye's": {nil, func(r *record.Report) {
			again := added("L", "1.1", record.ImageMeasured)
			again.Sha256 = shaOf("again")
			r.Images = append(r.Images, again)
		}, []string{"1 picture of the left eye sent again as another eye's."}},
		"model": {nil, func(r *record.Report) {
			for n := range r.Images {
				p := *r.Images[n].Provenance
				p.Model.Version = "100%s"
				r.Images[n].Provenance = &p
			}
		}, []string{"1 picture of the right eye measured by the model unet 100%s, before unet 1.", "1 picture of the left eye measured by the model unet 100%s, before unet 1."}},
		"anew":         {nil, func(r *record.Report) { r.Images[0].Measures = []record.Measure{density(.3, .02)} }, []string{"1 picture of the right eye measured anew."}},
		"stands":       {nil, func(r *record.Report) { r.Eyes = slices.Clone(r.Eyes); r.Eyes[0].SOPUID = "1.7" }, []string{"Another picture stands for the right eye."}},
		"released":     {nil, func(r *record.Report) { r.Rejected = nil }, []string{"1 file of the study left quarantine, released or discarded."}},
		"quarantined":  {func(r *record.Report) { r.Rejected = nil }, nil, []string{"A file of the study went to quarantine: the file does not say which eye it shows."}},
		"name":         {nil, func(r *record.Report) { r.Patient.Name, r.Patient.BirthDate, r.Patient.Sex = "A^C", "1950-03-04", "M" }, []string{"The patient's name, birth date and sex came otherwise than before."}},
		"merged":       {nil, func(r *record.Report) { r.Patient.Key, r.PatientLinks = "k2", []string{"a"} }, []string{"By a decision of a person the study is of another patient than before."}},
		"undone":       {func(r *record.Report) { r.Patient.Key, r.PatientLinks = "k2", []string{"a"} }, nil, []string{"A decision about patients was undone: the study is of another patient again."}},
		"came":         {nil, func(r *record.Report) { r.Missing = nil }, []string{"1 announced picture is here now, or not announced any more."}},
		"announced":    {func(r *record.Report) { r.Missing = nil }, nil, []string{"1 picture is announced that is not here."}},
		"study date":   {nil, func(r *record.Report) { r.StudyDate = "" }, []string{"Study date: unknown, before 2026-11-22."}},
		"accession":    {nil, func(r *record.Report) { r.AccessionNumber = "A1" }, []string{"The accession number was changed."}},
		"series":       {nil, func(r *record.Report) { r.Series = []record.ReportSeries{{Name: "x"}} }, []string{"An earlier visit came in or was changed: the series over the visits is another one."}},
		"comparisons":  {nil, func(r *record.Report) { r.Comparisons = []record.ReportComparison{{}} }, []string{"What it is compared with was changed: the comparisons are others."}},
		"eye unknown":  {nil, func(r *record.Report) { r.Images = append(r.Images, added("", "1.8", record.ImageNotAnalysed)) }, []string{"1 picture without an eye added and not analysed."}},
		"series, with": {nil, func(r *record.Report) { r.Series, r.AccessionNumber = []record.ReportSeries{{Name: "x"}}, "A1" }, []string{"The accession number was changed."}},
	} {
		before, after := base(), base()
		if test.before != nil {
			test.before(before)
		}
		if test.after != nil {
			test.after(after)
		}
		if got := versionChanges(before, after); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if got := versionChanges(nil, base()); !slices.Equal(got, []string{"First version, of 2 pictures: 2 measured."}) {
		t.Errorf("the first: %q", got)
	}
}
