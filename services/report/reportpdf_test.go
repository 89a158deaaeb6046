package report

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/pdf/pdftest"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// overlay leaves a picture of vessels as segment does: of one colour, so that it is found on the page.
func (k *kit) overlay(p picture, c color.Color) {
	k.t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			img.Set(x, y, c)
		}
	}
	raw, err := encodeJPEG(img)
	k.must(err)
	prefix, err := blob.ResultPrefix(p.sop(), p.sha(), testModel)
	k.must(err)
	k.must(k.blob.PutBytes(k.t.Context(), k.blob.Buckets().Results, prefix+"overlay.jpg", raw, blob.PutOptions{}))
}

// pdfs are the keys of documents in the bucket.
func (k *kit) pdfs() []string {
	return slices.DeleteFunc(k.blob.keys(k.blob.Buckets().Reports), func(key string) bool { return path.Base(key) != pdfName })
}

// shades counts which part of a page is of a colour, in percent.
func shades(t *testing.T, raw []byte, is func(c color.RGBA) bool) float64 {
	t.Helper()
	page, _, err := image.Decode(bytes.NewReader(pdftest.PNG(t, raw)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for y := range page.Bounds().Dy() {
		for x := range page.Bounds().Dx() {
			if is(color.RGBAModel.Convert(page.At(x, y)).(color.RGBA)) {
				n++
			}
		}
	}
	return 100 * float64(n) / float64(page.Bounds().Dx()*page.Bounds().Dy())
}

// TestReportPDF: the page of each version is made when it is asked for, kept, and the same for everybody; it has the pictures and what the report says.
func TestReportPDF(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	blue := func(context.Context, []byte) (*raster.RGB, error) {
		p := raster.NewRGB(640, 480)
		for i := 2; i < len(p.Pix); i += 3 {
			p.Pix[i] = 255
		}
		return p, nil
	}
	k.photo = blue
	p, late := picture{1, 1}, picture{1, 2}
	address := "/api/reports/" + p.report() + "/report.pdf"
	k.tell(k.accept(p), k.segment(p))
	k.overlay(p, color.RGBA{G: 255, A: 255})
	k.quiet()
	if got := k.pdfs(); len(got) != 0 {
		t.Fatalf("issued, and %v is there: somebody waited for it", got)
	}
	first := k.get(address)
	if first.Code != http.StatusOK || first.Header().Get("Content-Type") != "application/pdf" || !strings.Contains(first.Header().Get("Content-Disposition"), "v1.pdf") {
		t.Fatalf("%d %v", first.Code, first.Header())
	}
	raw := first.Body.Bytes()
	if got := k.pdfs(); len(got) != 1 || !strings.HasSuffix(got[0], p.report()+"/v1/report.pdf") {
		t.Fatalf("%v", got)
	}
	text := pdftest.Text(t, raw)
	for _, want := range []string{"FAMILY1 Given", "P1", "0.083", "FINAL", "2026-11-22", p.sop(), "Version 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(text, "patient key") || strings.Contains(text, shaOf("patient", 1)) {
		t.Error("the page shows the key")
	}
	if part := shades(t, raw, func(c color.RGBA) bool { return c.B > 200 && c.R < 60 && c.G < 60 }); part < 1 {
		t.Errorf("%.2f %% of the page is the photograph", part)
	}
	if part := shades(t, raw, func(c color.RGBA) bool { return c.G > 200 && c.R < 60 && c.B < 60 }); part < 1 {
		t.Errorf("%.2f %% of the page is the overlay", part)
	}
	// It is kept: the same again, also without the picture, after a restart.
	k.photo = func(context.Context, []byte) (*raster.RGB, error) { return nil, errors.New("asked for") }
	k.open(k.path)
	k.markReady()
	if again := k.get(address); again.Code != http.StatusOK || !bytes.Equal(again.Body.Bytes(), raw) {
		t.Errorf("again it is %d", again.Code)
	}
	if w := k.get(address, "If-None-Match", first.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("%d", w.Code)
	}
	// Lost, it is made again, from the same pictures as the same bytes.
	delete(k.blob.objects, k.blob.Buckets().Reports+"/"+k.pdfs()[0])
	k.photo = blue
	k.open(k.path)
	k.markReady()
	// Who has it already gets none, and none is made for them; that they see it is recorded.
	before := len(k.readings())
	if w := k.get(address, "If-None-Match", first.Header().Get("ETag")); w.Code != http.StatusNotModified || len(k.pdfs()) != 0 || len(k.readings()) != before+1 {
		t.Errorf("%d, there are %v, and %d more entries", w.Code, k.pdfs(), len(k.readings())-before)
	}
	if again := k.get(address); !bytes.Equal(again.Body.Bytes(), raw) {
		t.Error("made again it has other bytes")
	}
	// A version of its own has a page of its own, and the first one stays.
	k.tell(k.accept(late))
	k.settle()
	k.tell(k.segment(late))
	k.quiet()
	newest := k.report(p)
	if newest.Version < 2 || newest.Status != record.Amended {
		t.Fatalf("%d %s", newest.Version, newest.Status)
	}
	if w := k.get(address); !strings.Contains(pdftest.Text(t, w.Body.Bytes()), "AMENDED") {
		t.Error("the newest page does not say that the report is amended")
	}
	if w := k.get(address + "?version=1"); !bytes.Equal(w.Body.Bytes(), raw) {
		t.Error("the first version is another page now")
	}
	for address, want := range map[string]int{address + "?version=99": 404, address + "?version=x": 400, "/api/reports/" + strings.Repeat("0", 32) + "/report.pdf": 404} {
		if w := k.get(address); w.Code != want {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
	seen := 0
	for _, a := range k.readings() {
		if a.Entity.Resource == p.report()+"/report.pdf" && a.Entity.PatientKey == shaOf("patient", 1) {
			seen++
		}
	}
	if seen != 7 {
		t.Errorf("the audit log has %d looks at it, want 7", seen)
	}
	if w := k.get("/patients/" + fhir.PatientID(shaOf("patient", p.p))); !strings.Contains(w.Body.String(), address+"?version=") {
		t.Error("the patient's page has no link to it")
	}
}

// TestReportPDFWithoutPictures: a picture that cannot be shown leaves its place empty; one that may be shown later is waited for.
func TestReportPDFWithoutPictures(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	p := picture{1, 1}
	address := "/api/reports/" + p.report() + "/report.pdf"
	k.tell(k.accept(p), k.segment(p))
	k.quiet()
	k.photo = func(context.Context, []byte) (*raster.RGB, error) {
		return nil, fault.New(fault.Transient, "busy", "not now")
	}
	if w := k.get(address); w.Code != http.StatusServiceUnavailable || len(k.pdfs()) != 0 {
		t.Fatalf("%d, %v", w.Code, k.pdfs())
	}
	k.photo = func(context.Context, []byte) (*raster.RGB, error) {
		return nil, fault.New(fault.Invalid, "pixels-undecodable", "never")
	}
	w := k.get(address)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	text := strings.Join(strings.Fields(pdftest.Text(t, w.Body.Bytes())), " ")
	if !strings.Contains(text, "The photograph cannot be") || !strings.Contains(text, "The vessels cannot be") {
		t.Error(text)
	}
}

// TestReportPDFRace: of two who make it at once both get what was written first.
func TestReportPDFRace(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	p := picture{1, 1}
	k.tell(k.accept(p), k.segment(p))
	k.quiet()
	doc := k.report(p)
	found, err := k.deps.Store.Newest(t.Context(), p.report())
	k.must(err)
	other := []byte("%PDF of another process")
	var once sync.Once
	k.photo = func(ctx context.Context, raw []byte) (*raster.RGB, error) {
		once.Do(func() {
			k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Reports, path.Dir(found.DocumentKey)+"/"+pdfName, other, blob.PutOptions{}))
		})
		return photo(ctx, raw)
	}
	got, err := k.PDF(t.Context(), doc, found.DocumentKey)
	if err != nil || !bytes.Equal(got, other) {
		t.Errorf("%.20q, %v", got, err)
	}
}
