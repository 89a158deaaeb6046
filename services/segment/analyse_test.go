package segment_test

import (
	"bytes"
	"encoding/csv"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/schemas"
	"github.com/noctua-screening/noctua/services/segment"
	"github.com/noctua-screening/noctua/test/shared"
)

func TestMain(m *testing.M) {
	isolated.Serve()
	goleak.VerifyTestMain(m)
}

const shippedModel = "../../models/noctua-vessel-2"

// newEngine loads the shipped model.
func newEngine(t testing.TB) *segment.Engine {
	t.Helper()
	return newEngineOf(t, shippedModel)
}

// newEngineOf loads a model. Without ONNX Runtime the test says so; under CI that is a failure.
func newEngineOf(t testing.TB, dir string) *segment.Engine {
	t.Helper()
	engine, err := segment.OpenEngine(t.Context(), segment.EngineConfig{ModelDir: dir})
	if fault.CodeOf(err) == "onnxruntime-missing" && os.Getenv("CI") != "true" {
		t.Skipf("SKIPPED, NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func newAnalyser(t testing.TB, engine *segment.Engine) *segment.Analyser {
	t.Helper()
	a, err := segment.NewAnalyser(engine, time.Now, "test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func dice(a, b *raster.Mask) float64 {
	both, sum := 0, 0
	for i := range a.Pix {
		x, y := a.Pix[i] != 0, b.Pix[i] != 0
		if x && y {
			both++
		}
		if x {
			sum++
		}
		if y {
			sum++
		}
	}
	return 2 * float64(both) / float64(max(1, sum))
}

// TestAnalyseRealPictures runs the shipped model over test pictures of both sets: masks near to the observer's, on the
// photograph's own grid, with plausible measures and a result that fits its schema. The bars are far below what the model
// reaches; `noctua evaluate` measures that.
func TestAnalyseRealPictures(t *testing.T) {
	t.Parallel()
	engine := newEngine(t)
	analyser := newAnalyser(t, engine)
	for picture, label := range map[string]string{
		"CHASE_DB1/images/Image_11L.jpg": "CHASE_DB1/manual1/Image_11L_1stHO.png",
		"CHASE_DB1/images/Image_14R.jpg": "CHASE_DB1/manual1/Image_14R_1stHO.png",
		"HRF/images/06_h.jpg":            "HRF/manual1/06_h.tif",
	} {
		t.Run(filepath.Base(picture), func(t *testing.T) {
			t.Parallel()
			p, subject, err := segment.ReadFile(shared.Dir(t, "data", picture))
			if err != nil {
				t.Fatal(err)
			}
			analysis, err := analyser.Analyse(t.Context(), p, subject)
			if err != nil {
				t.Fatal(err)
			}
			unscaled := []string{vessel.WidthMicrometres, vessel.LengthPerMillimetre, vessel.WidthDegrees, vessel.LengthPerDegree}
			intervals := 0
			for _, m := range analysis.Result.Measures {
				switch {
				case m.Value == nil:
					if !slices.Contains(unscaled, m.Name) { // a plain picture states no scale
						t.Errorf("%s has no value: %+v", m.Name, m.AbsentReason)
					}
				case m.Error == nil:
					if m.ErrorAbsentReason == nil || m.Name == vessel.AreaDensity || m.Name == vessel.LengthDensity {
						t.Errorf("%s has neither an error nor a reason, or is a density without one", m.Name)
					}
				default:
					intervals++
					if *m.Error <= 0 || *m.Error > *m.Value || m.ErrorAbsentReason != nil {
						t.Errorf("%s has the value %v and the error %v", m.Name, *m.Value, *m.Error)
					}
				}
			}
			if len(analysis.Result.Regions) != len(vessel.Regions()) {
				t.Errorf("%d regions, want %d", len(analysis.Result.Regions), len(vessel.Regions()))
			}
			for _, r := range analysis.Result.Regions {
				// A plain picture states no eye, and a zone may reach beyond the field.
				if r.AbsentReason != nil && r.AbsentReason.Code != vessel.ReasonEyeUnknown && r.Name != vessel.RegionZoneC {
					t.Errorf("%s has no values: %+v", r.Name, r.AbsentReason)
				}
			}
			for _, r := range analysis.Result.Regions {
				for _, m := range r.Measures {
					unsteady := m.AbsentReason != nil && m.AbsentReason.Code == vessel.ReasonUnsteady
					if unsteady == vessel.Repeatable(m.Name, r.Name) {
						t.Errorf("%s in %s: withheld %v", m.Name, r.Name, unsteady)
					}
				}
			}
			if intervals < 3 {
				t.Errorf("only %d measures have an interval", intervals)
			}
			if disc := analysis.Result.OpticDisc; disc == nil || disc.Confidence < fundus.DiscConfidence {
				t.Errorf("optic disc %+v, want one with confidence", disc)
			}
			for _, w := range analysis.Result.Warnings {
				if strings.HasSuffix(w.Code, "-outside-training-range") {
					t.Errorf("a picture of a camera that the model knows is called unknown: %s", w.Text)
				}
			}
			mask, err := analysis.Mask()
			if err != nil {
				t.Fatal(err)
			}
			want, err := pixel.ReadMask(shared.Dir(t, "data", label), pixel.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			d := dice(mask, want)
			t.Logf("Dice %.3f  fov %v  canvas %v  network %v  inference %v  measures %v", d, analysis.Timings.FieldOfView, analysis.Timings.Canvas, analysis.Timings.Network, analysis.Timings.Inference, analysis.Timings.Measures)
			if d < .65 {
				t.Errorf("Dice %.3f against the observer", d)
			}
			raw, err := record.Encode(record.ResultSchema, analysis.Result)
			if err != nil {
				t.Fatal(err)
			}
			validator, err := schemas.Default()
			if err != nil {
				t.Fatal(err)
			}
			if err := validator.Validate("measures.v1", raw); err != nil {
				t.Error(err)
			}
			if len(analysis.Result.Measures) == 0 {
				t.Error("no measures")
			}
			for _, m := range analysis.Result.Measures {
				if m.Value == nil {
					continue // see above
				}
				t.Logf("%s %.4f", m.Name, *m.Value)
				if m.Name == "vessel-area-density" && (*m.Value < .04 || *m.Value > .2) {
					t.Errorf("area density %.4f", *m.Value)
				}
			}
		})
	}
}

func TestUngradablePictures(t *testing.T) {
	t.Parallel()
	analyser := newAnalyser(t, newEngine(t))
	red := raster.NewRGB(400, 400) // an empty disc: a field of view without any vessel
	for y := range 400 {
		for x := range 400 {
			if (x-200)*(x-200)+(y-200)*(y-200) < 180*180 {
				copy(red.Pix[3*(y*400+x):], []uint8{180, 90, 40})
			}
		}
	}
	for name, c := range map[string]struct {
		picture *raster.RGB
		code    string // of the reason that leads
		fov     bool
	}{
		"black":         {raster.NewRGB(500, 400), "field-of-view-not-found", false},
		"empty disc":    {red, "low-contrast", true},
		"tiny":          {raster.NewRGB(3, 3), "field-of-view-not-found", false},
		"one long line": {raster.NewRGB(9000, 2), "field-of-view-not-found", false},
		"blurred":       {phantomPicture(t, phantom.Blurred), "blur", true},
		"dark":          {phantomPicture(t, phantom.Dark), "field-of-view-not-found", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			analysis, err := analyser.Analyse(t.Context(), c.picture, segment.Subject{StudyUID: "1.2", SOPUID: "1.3", SHA256: strings.Repeat("ab", 32), Decoder: "none"})
			if err != nil {
				t.Fatal(err)
			}
			r := analysis.Result
			if r.Status != record.Ungradable || analysis.Measured() || !reflect.ValueOf(r.Files).IsZero() || (r.FOV != nil) != c.fov {
				t.Errorf("result %+v", r)
			}
			if len(r.Warnings) == 0 || r.Warnings[0].Code != c.code {
				t.Errorf("warnings %+v", r.Warnings)
			}
			if q := r.Quality; q == nil || q.Score >= q.Limit || q.Limit != fundus.DefaultMinScore || len(q.Reasons) == 0 || q.Reasons[0] != r.Warnings[0] || (len(q.Figures) > 0) != c.fov {
				t.Errorf("quality %+v", q)
			}
			// The network ran all the same, so that it can be judged.
			if (analysis.Probability != nil) != c.fov || (analysis.Vessels != nil) != c.fov {
				t.Errorf("map %v, vessels %v", analysis.Probability != nil, analysis.Vessels != nil)
			}
			if len(r.Measures) == 0 {
				t.Error("the withheld measures are not named")
			}
			for _, m := range r.Measures {
				if m.Value != nil || m.AbsentReason == nil || m.AbsentReason.Code != c.code {
					t.Errorf("measure %+v", m)
				}
			}
			if _, err := record.Encode(record.ResultSchema, r); err != nil {
				t.Error(err)
			}
		})
	}
}

func phantomPicture(t *testing.T, defect phantom.Defect) *raster.RGB {
	t.Helper()
	p, err := phantom.Draw(phantom.Options{Seed: 5, Defect: defect})
	if err != nil {
		t.Fatal(err)
	}
	return p.Picture
}

// TestMinQuality moves the limit over one picture: 0 measures everything in which the network finds vessels.
func TestMinQuality(t *testing.T) {
	t.Parallel()
	engine := newEngine(t)
	small, err := phantom.Draw(phantom.Options{Seed: 5, Width: 256, Height: 256}) // few pixels: a little soft
	if err != nil {
		t.Fatal(err)
	}
	subject := segment.Subject{StudyUID: "1.2", SOPUID: "1.3", SHA256: strings.Repeat("ab", 32), Decoder: "none"}
	for limit, want := range map[float64]record.AnalysisStatus{0: record.Measured, .3: record.Measured, 1: record.Ungradable} {
		analyser, err := segment.NewConfiguredAnalyser(engine, time.Now, "test", segment.AnalyserConfig{MinQuality: &limit})
		if err != nil {
			t.Fatal(err)
		}
		analysis, err := analyser.Analyse(t.Context(), small.Picture, subject)
		if err != nil {
			t.Fatal(err)
		}
		r := analysis.Result
		if r.Status != want || r.Quality.Limit != limit {
			t.Errorf("limit %g: %s, %+v", limit, r.Status, r.Quality)
		}
		if _, err := record.Encode(record.ResultSchema, r); err != nil {
			t.Error(err)
		}
	}
	for _, limit := range []float64{-.1, 1.1, math.NaN()} {
		if _, err := segment.NewConfiguredAnalyser(engine, time.Now, "test", segment.AnalyserConfig{MinQuality: &limit}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a limit of %g: %v", limit, err)
		}
		if err := (segment.Config{Analyser: segment.AnalyserConfig{MinQuality: &limit}}).Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("a service with a limit of %g: %v", limit, err)
		}
	}
}

func TestPredict(t *testing.T) {
	t.Parallel()
	analyser := newAnalyser(t, newEngine(t))
	clinic := shared.Dir(t, "dicom", "clinic")
	dicoms, err := filepath.Glob(filepath.Join(clinic, "chase_*.dcm"))
	if err != nil || len(dicoms) == 0 {
		t.Fatalf("no DICOM files in %s: %v", clinic, err)
	}
	bad := filepath.Join(t.TempDir(), "Image_12L.jpg")
	if err := os.WriteFile(bad, []byte("this is no picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	photograph := shared.Dir(t, "data", "CHASE_DB1", "images", "Image_12L.jpg")
	files := []string{photograph, bad, dicoms[0], filepath.Join(t.TempDir(), "missing.png")}
	out := filepath.Join(t.TempDir(), "out")
	var got []segment.Prediction
	if err := analyser.Predict(t.Context(), files, segment.PredictOptions{Out: out, Explain: true}, func(p segment.Prediction) { got = append(got, p) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(files) {
		t.Fatalf("%d outcomes of %d files", len(got), len(files))
	}
	for i, want := range []string{"", "picture-unsupported", "", "picture-missing"} {
		p := got[i]
		if p.Path != files[i] || fault.CodeOf(p.Err) != want || (p.Err == nil) != (want == "") {
			t.Errorf("outcome %d: %+v, expected code %q", i, p, want)
			continue
		}
		if want != "" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(p.Dir, segment.ResultFile))
		if err != nil {
			t.Fatal(err)
		}
		result, err := record.Decode[record.Result](record.ResultSchema, raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{segment.SEGFile, segment.SRFile} {
			if _, err := os.Stat(filepath.Join(p.Dir, name)); (err == nil) != (files[i] == dicoms[0]) {
				t.Errorf("%s of %s: %v", name, files[i], err) // a plain photograph has no patient and study to belong to
			}
		}
		overlay, err := pixel.ReadPicture(filepath.Join(p.Dir, result.Files.Overlay), pixel.Limits{})
		if err != nil || overlay.Width != result.Columns || overlay.Height != result.Rows {
			t.Errorf("overlay: %v", err)
		}
		data, err := os.ReadFile(filepath.Join(p.Dir, result.Files.Mask))
		if err != nil {
			t.Fatal(err)
		}
		mask, err := png.Decode(bytes.NewReader(data))
		if err != nil || mask.Bounds().Dx() != result.Columns || mask.Bounds().Dy() != result.Rows {
			t.Fatalf("mask: %v", err)
		}
		vesselMap, err := pixel.ReadPicture(filepath.Join(p.Dir, result.Files.VesselMap), pixel.Limits{})
		if err != nil || vesselMap.Width != result.Provenance.CanvasWidthPx {
			t.Errorf("map of the vessels: %v", err)
		}
		data, err = os.ReadFile(filepath.Join(p.Dir, result.Files.Segments))
		if err != nil {
			t.Fatal(err)
		}
		segments, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		cut := 0
		for _, row := range segments[1:] {
			// The ends, in pixels of the photograph, are no further apart than the centre line is long.
			var n [6]float64
			for i, column := range []int{1, 2, 4, 5, 7, 9} {
				if row[column] == "" && column == 9 {
					continue // too short to have a tortuosity
				}
				if n[i], err = strconv.ParseFloat(row[column], 64); err != nil {
					t.Fatal(err)
				}
			}
			chord := 100 * math.Hypot(n[2]-n[0], n[3]-n[1]) / (2 * result.FOV.Radius)
			if n[0] < 0 || n[1] < 0 || n[0] > float64(result.Columns) || n[1] > float64(result.Rows) || chord > n[4]+.05 || n[5] > 0 && math.Abs(n[4]/n[5]-chord) > .05 {
				t.Errorf("%s: a segment whose ends are %.3f %% apart: %v", p.Path, chord, row)
			}
			if row[len(row)-1] == "true" {
				cut++
			}
		}
		for _, m := range result.Measures {
			if m.Name == vessel.SegmentCount && (float64(len(segments)-1) != *m.Value || cut == 0) {
				t.Errorf("the table has %d segments, of which the field cuts %d; counted were %v", len(segments)-1, cut, *m.Value)
			}
			if _, err := pixel.ReadPicture(filepath.Join(p.Dir, "measures", m.Name+".png"), pixel.Limits{}); err != nil {
				t.Errorf("picture of %s: %v", m.Name, err)
			}
		}
		values := map[uint32]int{}
		for y := range result.Rows {
			for x := range result.Columns {
				v, _, _, _ := mask.At(x, y).RGBA()
				values[v>>8]++
			}
		}
		if len(values) != 2 || values[0] == 0 || values[255] == 0 {
			t.Errorf("mask values %v", values)
		}
	}
	if got[0].Result.StudyUID == "" || !strings.HasPrefix(got[0].Result.SOPUID, "2.25.") || strings.HasPrefix(got[2].Result.SOPUID, "2.25.") || got[2].Result.Laterality == "" {
		t.Errorf("identities: %+v, %+v", got[0].Result, got[2].Result)
	}
}

func TestPictureFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"b.jpg": "x", "a.PNG": "x", "notes.txt": "x", ".hidden.jpg": "x", "sub/c.dcm": "x",
		"IM0001": strings.Repeat("\x00", 128) + "DICM", "README": "x", "1.2.840.17": strings.Repeat("\x00", 128) + "DICM",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := segment.PictureFiles([]string{filepath.Join(dir, "notes.txt"), dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i], _ = filepath.Rel(dir, files[i])
	}
	if got := strings.Join(files, " "); got != "notes.txt 1.2.840.17 IM0001 a.PNG b.jpg sub/c.dcm" {
		t.Errorf("got %s", got)
	}
	if _, err := segment.PictureFiles([]string{filepath.Join(dir, "none")}); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing path: %v", err)
	}
	if _, err := segment.PictureFiles([]string{t.TempDir()}); !fault.Is(err, fault.NotFound) {
		t.Errorf("empty folder: %v", err)
	}
}
