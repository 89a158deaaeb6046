package e2e

import (
	"bytes"
	"encoding/binary"
	"image"
	_ "image/jpeg" // overlays and photographs
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestDepthsAndBurnedInNames brings one photograph through the whole of Noctua as Ophthalmic Photography of 8 and of 16 bits, with 12
// and with 16 of them stored: mask, overlay and measures are the same. A grey one is reported as not analysed. Where the file says that
// a name is burned in, no picture that Noctua shows has it.
func TestDepthsAndBurnedInNames(t *testing.T) {
	t.Parallel()
	rgb := photograph(t)
	named := &raster.RGB{Width: rgb.Width, Height: rgb.Height, Pix: bytes.Clone(rgb.Pix)}
	for y := range nameHeightPx {
		for x := range 3 * nameWidthPx {
			named.Pix[3*y*named.Width+x] = 255
		}
	}
	eight := dicomtest.Native().With(dicomtest.Picture(rgb.Width, rgb.Height, rgb.Pix))
	text := dicomtest.Text
	grey := make([]byte, 2*rgb.Width*rgb.Height)
	for i := range rgb.Width * rgb.Height {
		binary.LittleEndian.PutUint16(grey[2*i:], uint16(rgb.Pix[3*i+1])<<8)
	}
	files := map[string]dicomtest.Elements{
		sop8:       {},
		sop12:      eight.Sixteen(12),
		sop16:      planar(eight.Sixteen(16)),
		sopGrey:    eight.Sixteen(16).With(dicomtest.Elements{0x00280002: dicomtest.Number(1), 0x00280004: text("CS", "MONOCHROME2"), 0x7FE00010: {VR: "OW", Value: grey}}),
		sopNamed:   dicomtest.Picture(rgb.Width, rgb.Height, named.Pix).With(dicomtest.Elements{0x00280301: text("CS", "YES")}),
		sopUnnamed: dicomtest.Picture(rgb.Width, rgb.Height, named.Pix).With(dicomtest.Elements{0x00280301: text("CS", "NO")}),
	}
	folder := t.TempDir()
	for sop, changes := range files {
		data := eight.With(changes).With(dicomtest.Elements{0x00080018: text("UI", sop)}).Encode(false)
		if err := os.WriteFile(filepath.Join(folder, sop), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := startAllInOne(t, t.TempDir())
	mustCommand(t, "submit", folder, "--clinic", "north", "--data", n.data)
	if s := n.status("--wait"); s.Done != len(files) || s.Quarantined+s.Failed != 0 {
		t.Fatalf("%+v", s)
	}
	reports := waitFinal(t, n.web, n.token)
	if len(reports) != 1 || reports[0].Counts.Measured != len(files)-1 || reports[0].Counts.NotAnalysed != 1 {
		t.Fatalf("reports %+v", reports)
	}
	images := map[string]record.ReportImage{}
	for _, i := range reports[0].Images {
		images[i.SOPUID] = i
	}
	if r := images[sopGrey].Reason; r == nil || r.Code != dicom.CodeNoteColour {
		t.Errorf("the grey picture: %+v", r)
	}
	picture := func(sop, file string) []byte {
		code, raw := get(t, n.web, n.token, "/api/images/"+sop+"/"+images[sop].Sha256[:16]+"/"+file)
		if code != http.StatusOK {
			t.Fatalf("%s of %s: %d %s", file, sop, code, raw)
		}
		return raw
	}
	for _, sop := range []string{sop12, sop16} {
		for _, file := range []string{"mask.png", "overlay.jpg", "photo.jpg"} {
			if !bytes.Equal(picture(sop, file), picture(sop8, file)) {
				t.Errorf("%s of %s is not that of the 8-bit original", file, sop)
			}
		}
		for i, m := range images[sop].Measures {
			if want := images[sop8].Measures[i]; !reflect.DeepEqual(m, want) || i == 0 && m.Value == nil {
				t.Errorf("%s of %s is %+v, of the 8-bit original %+v", m.Name, sop, m, want)
			}
		}
	}
	mask, _, err := image.Decode(bytes.NewReader(picture(sop16, "mask.png")))
	if err != nil || brightest(mask, mask.Bounds()) != 255 {
		t.Errorf("the mask is empty, %v", err)
	}
	corner := image.Rect(0, 0, nameWidthPx, nameHeightPx)
	for sop, shown := range map[string]bool{sopNamed: false, sopUnnamed: true} {
		for _, file := range []string{"overlay.jpg", "photo.jpg", "photo.jpg?width=400", "mask.png"} {
			img, _, err := image.Decode(bytes.NewReader(picture(sop, file)))
			if err != nil {
				t.Fatal(err)
			}
			part := corner
			part.Max = part.Max.Mul(img.Bounds().Dx()).Div(rgb.Width)
			name := brightest(img, part)
			if visible := name > 60; visible != (shown && file != "mask.png") {
				t.Errorf("%s of %s reaches %d where the name is", file, sop, name)
			}
		}
	}
	var study struct{ NumberOfInstances int }
	getJSON(t, n.web, n.token, "/fhir/ImagingStudy/"+reports[0].ReportID, &study)
	var observations struct{ Total int }
	getJSON(t, n.web, n.token, "/fhir/Observation?_count=1", &observations)
	if wanted := (len(files) - 1) * len(images[sop8].Measures); study.NumberOfInstances != len(files) || observations.Total != wanted {
		t.Errorf("FHIR: %d instances, %d observations; want %d, %d", study.NumberOfInstances, observations.Total, len(files), wanted)
	}
	n.stop()
}

// The instances of TestDepthsAndBurnedInNames.
const (
	sop8       = "1.2.3.8"
	sop12      = "1.2.3.12"
	sop16      = "1.2.3.16"
	sopGrey    = "1.2.3.1"
	sopNamed   = "1.2.3.2"
	sopUnnamed = "1.2.3.3"
)

// Size of the name that is burned into a corner.
const nameWidthPx, nameHeightPx = 60, 24

// photograph is the CC0 photograph of 640 × 640 pixels.
func photograph(t *testing.T) *raster.RGB {
	t.Helper()
	data, err := os.ReadFile(shared.Dir(t, "dicom", "syntaxes", "explicit-le.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	rgb, _, err := f.Decode()
	if err != nil {
		t.Fatal(err)
	}
	return rgb
}

// planar sorts the 16-bit samples of a picture by component.
func planar(e dicomtest.Elements) dicomtest.Elements {
	words := e[0x7FE00010].Value
	out := make([]byte, 0, len(words))
	for c := range 3 {
		for i := 2 * c; i < len(words); i += 6 {
			out = append(out, words[i], words[i+1])
		}
	}
	return e.With(dicomtest.Elements{0x00280006: dicomtest.Number(1), 0x7FE00010: {VR: "OW", Value: out}})
}

// brightest is the highest green of a part of a picture, 0 to 255.
func brightest(img image.Image, part image.Rectangle) (most uint32) {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			_, g, _, _ := img.At(x, y).RGBA()
			most = max(most, g>>8)
		}
	}
	return most
}
