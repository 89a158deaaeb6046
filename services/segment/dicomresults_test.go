package segment_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/segment"
	"github.com/noctua-screening/noctua/test/judges"
	"github.com/noctua-screening/noctua/test/shared"
)

var everyPicture = flag.Bool("every-picture", false, "ask the judges about the DICOM results of all pictures of the clinic's night, not of a few")

// fewPictures are of both cameras, with names in Latin, Vietnamese and Japanese.
var fewPictures = []string{"chase_11L.dcm", "chase_12R.dcm", "hrf_06_h.dcm", "hrf_07_g.dcm"}

// TestDICOMResultsOpenElsewhere analyses pictures of a clinic's night with the shipped model and asks other people's programs about
// the SEG and the SR of each: no judge may find a fault, and every reader must find the pixels of mask.png and the values of
// result.json.
func TestDICOMResultsOpenElsewhere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("asks other programs, which have no goroutines of ours to race")
	}
	clinic := shared.Dir(t, "dicom", "clinic")
	var files []string
	for _, name := range fewPictures {
		files = append(files, filepath.Join(clinic, name))
	}
	if *everyPicture {
		var err error
		if files, err = filepath.Glob(filepath.Join(clinic, "*.dcm")); err != nil || len(files) != 40 {
			t.Fatalf("%d pictures: %v", len(files), err)
		}
	}
	var predictions []segment.Prediction
	err := newAnalyser(t, newEngine(t)).Predict(t.Context(), files, segment.PredictOptions{Out: t.TempDir()}, func(p segment.Prediction) { predictions = append(predictions, p) })
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range predictions {
		if p.Err != nil || p.Result.Status != record.Measured {
			t.Errorf("%s: %v, %+v", p.Path, p.Err, p.Result)
			continue
		}
		seg, sr := filepath.Join(p.Dir, p.Result.Files.Seg), filepath.Join(p.Dir, p.Result.Files.Sr)
		mask, err := pixel.ReadMask(filepath.Join(p.Dir, p.Result.Files.Mask), pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		source := sourceOf(t, p.Path)
		judges.Conforms(t, seg, "Segmentation")
		judges.Conforms(t, sr, "ComprehensiveSR")
		judges.Dump(t, seg)
		judges.Dump(t, sr)
		want := []judges.Segment{judges.SegmentOf(1, "Vessel", mask)}
		object := judges.Pydicom(t, seg)
		if !reflect.DeepEqual(object.Segments, want) {
			t.Errorf("%s: pydicom finds %+v, mask.png has %+v", p.Path, object.Segments, want)
		}
		if got := judges.OHIF(t, seg, p.Path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: OHIF finds %+v, mask.png has %+v", p.Path, got, want)
		}
		for _, o := range []judges.Object{object, judges.Pydicom(t, sr)} {
			a := o.Attributes
			if a["PatientName"] != source.PatientName || a["PatientID"] != source.PatientID || a["IssuerOfPatientID"] != source.Issuer || a["StudyInstanceUID"] != source.StudyUID || source.PatientName == "" {
				t.Errorf("%s: another patient or study: %v", p.Path, a)
			}
		}
		checkReport(t, judges.ReportDump(t, sr), p.Result)
	}
	t.Logf("%d pictures", len(predictions))
}

// sourceOf reads what the file says of itself.
func sourceOf(t *testing.T, path string) dicom.Source {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	instance, err := file.Describe()
	if err != nil {
		t.Fatal(err)
	}
	source, err := file.Source(&instance)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// numberLine is how dsrdump prints a number: its name, value and unit.
var numberLine = regexp.MustCompile(`<(contains|has properties) NUM:\(,,"([^"]*)"\)="?([^" ]*)"? \(([^,]*),`)

// checkReport compares the numbers of a dump with the result's.
func checkReport(t *testing.T, dump string, result *record.Result) {
	t.Helper()
	var want []string
	decimal := func(v float64) string { return fmt.Sprintf("%.6g", v) }
	for _, m := range result.Everywhere() {
		if m.Value == nil {
			want = append(want, m.Display+" none")
			continue
		}
		want = append(want, m.Display+" "+decimal(*m.Value)+" "+m.Unit)
		if m.Error != nil {
			want = append(want, "+/-, range of measurement uncertainty "+decimal(*m.Error)+" "+m.Unit)
		}
	}
	var got []string
	for _, m := range numberLine.FindAllStringSubmatch(dump, -1) {
		var v float64
		if _, err := fmt.Sscan(m[3], &v); err != nil {
			got = append(got, m[2]+" none")
			continue
		}
		got = append(got, m[2]+" "+decimal(v)+" "+m[4])
	}
	if !reflect.DeepEqual(got, want) || len(got) == 0 {
		t.Errorf("the report has the numbers\n%s\nand the result\n%s\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), dump)
	}
	if eye := map[record.Laterality]string{"L": `(7771000,SCT,"Left")`, "R": `(24028007,SCT,"Right")`}[result.Laterality]; !strings.Contains(dump, eye) {
		t.Errorf("the report does not say that the eye is %s", result.Laterality)
	}
}

// TestReportOfAnUngradablePicture: it has no SEG, and an SR that says why there are no values.
func TestReportOfAnUngradablePicture(t *testing.T) {
	t.Parallel()
	path := shared.Dir(t, "dicom", "clinic", "chase_11L.dcm")
	picture, subject, err := segment.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(picture.Pix) // the shutter stayed closed
	analysis, err := newAnalyser(t, newEngine(t)).Analyse(t.Context(), picture, subject)
	if err != nil {
		t.Fatal(err)
	}
	files, err := analysis.Render(picture, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files[0].Name != segment.SRFile || !reflect.DeepEqual(analysis.Result.Files, record.ResultFiles{Sr: segment.SRFile}) {
		t.Fatalf("%d files, named %+v", len(files), analysis.Result.Files)
	}
	sr := filepath.Join(t.TempDir(), segment.SRFile)
	if err := os.WriteFile(sr, files[0].Data, 0o600); err != nil {
		t.Fatal(err)
	}
	judges.Conforms(t, sr, "ComprehensiveSR")
	dump := judges.ReportDump(t, sr)
	checkReport(t, dump, &analysis.Result)
	for _, reason := range []string{analysis.Result.Measures[0].AbsentReason.Code, analysis.Result.Measures[0].AbsentReason.Text} {
		if !strings.Contains(dump, reason) {
			t.Errorf("the report does not say %q:\n%s", reason, dump)
		}
	}
}

// TestNoSeriesNoDICOMResults: what no object can refer to is analysed all the same, and the result says what is missing.
func TestNoSeriesNoDICOMResults(t *testing.T) {
	t.Parallel()
	picture, subject, err := segment.ReadFile(shared.Dir(t, "dicom", "clinic", "chase_11L.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	subject.Source.SeriesUID = ""
	analysis, err := newAnalyser(t, newEngine(t)).Analyse(t.Context(), picture, subject)
	if err != nil {
		t.Fatal(err)
	}
	files, err := analysis.Render(picture, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 || analysis.Result.Files.Seg != "" || analysis.Result.Files.Sr != "" || analysis.Result.Status != record.Measured {
		t.Errorf("%d files, %+v", len(files), analysis.Result.Files)
	}
	if w := analysis.Result.Warnings; len(w) != 1 || w[0].Code != dicom.CodeNoteReference {
		t.Errorf("warnings %+v", w)
	}
}
