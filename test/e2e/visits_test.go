package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestVisits: a child's eyes are photographed in March, again in November, which comes first, and once more with vessels missing from one
// picture. The same pictures encoded anew are no change; half of the vessels gone is one.
func TestVisits(t *testing.T) {
	t.Parallel()
	pictures := map[record.Laterality]image.Image{
		record.RightEye: readPicture(t, shared.Dir(t, "data", "CHASE_DB1", "images", "Image_11R.jpg")),
		record.LeftEye:  readPicture(t, shared.Dir(t, "data", "CHASE_DB1", "images", "Image_11L.jpg")),
	}
	n := startAllInOne(t, t.TempDir())
	visit := func(date string, quality int, pictures map[record.Laterality]image.Image) {
		t.Helper()
		folder := t.TempDir()
		for side, picture := range pictures {
			writeVisit(t, filepath.Join(folder, string(side)+".dcm"), date, side, picture, quality)
		}
		mustCommand(t, "submit", folder, "--clinic", "north", "--data", n.data)
		n.status("--wait")
	}
	// said is what the newest report on a day says of the area density, by kind and eye, once it is final and has been issued.
	said := func(date string, ready func(map[string]string) bool) (map[string]string, *record.Report) {
		t.Helper()
		var found map[string]string
		var report *record.Report
		eventually(t, time.Minute, "the report on "+date, func() error {
			found, report = map[string]string{}, nil
			for _, r := range waitFinal(t, n.web, n.token) {
				if r.StudyDate == date {
					report = &r
				}
			}
			if report == nil {
				return fmt.Errorf("there is none")
			}
			for _, c := range report.Comparisons {
				name := string(c.Kind)
				if c.Kind == record.Change {
					name += " " + string(c.Image.Laterality)
				}
				if c.AbsentReason != nil {
					found[name] = c.AbsentReason.Code
				}
				for _, m := range c.Measures {
					if m.Name == vessel.AreaDensity {
						found[name] = m.Text
					}
				}
			}
			if !ready(found) {
				return fmt.Errorf("it says %v", found)
			}
			return nil
		})
		return found, report
	}

	visit("2026-11-22", 95, pictures)
	first, _ := said("2026-11-22", func(map[string]string) bool { return true })
	if first["change R"] != "no-earlier-visit" || first["change L"] != "no-earlier-visit" || first["asymmetry"] == "" || first["asymmetry"] == "eye-not-measured" {
		t.Errorf("the first report says %v", first)
	}
	visit("2026-03-04", 75, pictures) // late
	const none = "No change beyond measurement error since 2026-03-04."
	again, report := said("2026-11-22", func(s map[string]string) bool { return s["change R"] != "no-earlier-visit" })
	if again["change R"] != none || again["change L"] != none || report.Status != record.Amended {
		t.Errorf("once the visit before has come, the report is %s and says %v", report.Status, again)
	}
	earlier, _ := said("2026-03-04", func(map[string]string) bool { return true })
	if earlier["change R"] != "no-earlier-visit" {
		t.Errorf("the visit before says %v", earlier)
	}

	visit("2026-11-25", 95, map[record.Laterality]image.Image{record.RightEye: withoutLowerVessels(pictures[record.RightEye]), record.LeftEye: pictures[record.LeftEye]})
	last, report := said("2026-11-25", func(s map[string]string) bool { return s["change L"] != "" })
	if !strings.HasPrefix(last["change R"], "Lower by 0.0") || last["change L"] != "No change beyond measurement error since 2026-11-22." {
		t.Errorf("with half of the vessels gone the report says %v", last)
	}
	t.Logf("half of the vessels gone: %v", last)

	// The page and FHIR say the same.
	code, page := get(t, n.web, n.token, "/patients/"+report.Patient.Key[:32]+"?study="+report.ReportID)
	if code != http.StatusOK || !strings.Contains(string(page), `<td class="beyond">`+last["change R"]) {
		t.Errorf("the page (%d) does not say %q", code, last["change R"])
	}
	var bundle struct {
		Total int `json:"total"`
	}
	getJSON(t, n.web, n.token, "/fhir/Observation?code=vessel-area-density-change&date=2026-11-25", &bundle)
	if bundle.Total != 2 {
		t.Errorf("FHIR has %d changes on the last day", bundle.Total)
	}
	versions := n.versions()
	n.stop()

	// Without index and stream the same reports stand, and no other is issued.
	index, err := filepath.Glob(filepath.Join(n.data, "index.sqlite*"))
	if err != nil || len(index) == 0 {
		t.Fatalf("there is no index: %v", err)
	}
	for _, gone := range append(index, filepath.Join(n.data, "nats")) {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
	}
	n = startAllInOne(t, n.data)
	if s := n.status("--wait"); s.Done != 6 {
		t.Errorf("after the index was wiped: %+v", s)
	}
	if same, _ := said("2026-11-25", func(map[string]string) bool { return true }); fmt.Sprint(same) != fmt.Sprint(last) {
		t.Errorf("after the index was wiped the report says %v", same)
	}
	if now := n.versions(); now != versions {
		t.Errorf("%d versions of reports became %d", versions, now)
	}
	for _, secret := range []string{"VISITOR", "Child^Eleventh"} {
		if strings.Contains(n.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	n.stop()
}

// versions counts the versions of reports; what else lies in their bucket, such as tables of nights, may grow.
func (n *noctua) versions() (count int) {
	n.t.Helper()
	for _, file := range n.files("reports") {
		if strings.HasPrefix(file, "patients/") {
			count++
		}
	}
	return count
}

func readPicture(t *testing.T, file string) image.Image {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	picture, err := jpeg.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// writeVisit writes a picture as a camera would on that day.
func writeVisit(t *testing.T, file, date string, side record.Laterality, picture image.Image, quality int) {
	t.Helper()
	var encoded, out bytes.Buffer
	if err := jpeg.Encode(&encoded, picture, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.DateOnly, date)
	if err != nil {
		t.Fatal(err)
	}
	err = dicom.WriteOP(&out, dicom.FundusAttributes{PatientID: "VISITOR", Issuer: "TEST", PatientName: "Child^Eleventh", Laterality: side, AcquiredAt: at.Add(10 * time.Hour),
		HorizontalFOVDeg: 30, Device: record.AcquisitionDevice{Manufacturer: "Example Optics", Model: "FC-1"}}, encoded.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// withoutLowerVessels blurs the lower half of a photograph until no vessel is left, inside its field of view.
func withoutLowerVessels(picture image.Image) image.Image {
	const radius, step, dark = 20, 4, 25
	b := picture.Bounds()
	out := image.NewRGBA(b)
	draw.Draw(out, b, picture, b.Min, draw.Src)
	source := image.NewRGBA(b)
	draw.Draw(source, b, picture, b.Min, draw.Src)
	for y := b.Dy() / 2; y < b.Dy(); y++ {
		for x := range b.Dx() {
			if source.RGBAAt(x, y).R < dark {
				continue
			}
			var sum [3]int
			n := 0
			for v := max(0, y-radius); v <= min(b.Dy()-1, y+radius); v += step {
				for u := max(0, x-radius); u <= min(b.Dx()-1, x+radius); u += step {
					if c := source.RGBAAt(u, v); c.R >= dark {
						sum[0], sum[1], sum[2], n = sum[0]+int(c.R), sum[1]+int(c.G), sum[2]+int(c.B), n+1
					}
				}
			}
			out.SetRGBA(x, y, color.RGBA{R: uint8(sum[0] / max(1, n)), G: uint8(sum[1] / max(1, n)), B: uint8(sum[2] / max(1, n)), A: 255})
		}
	}
	return out
}
