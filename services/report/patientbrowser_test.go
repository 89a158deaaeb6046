package report

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Size of a photograph as cameras take them.
const cameraWidth, cameraHeight = 3500, 2300

// maxFirstSight bounds the bytes until both eyes are seen on a laptop: a twentieth of the two photographs.
const maxFirstSight = 1_000_000

// traffic counts what a tab loads.
type traffic struct {
	mu    sync.Mutex
	bytes float64
	files map[string]int // requests by last element of their address
}

func (l *traffic) watch(ctx context.Context) error {
	return chromedp.Listen(ctx, func(ev any) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch ev := ev.(type) {
		case *network.EventLoadingFinished:
			l.bytes += ev.EncodedDataLength
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(ev.Request.URL); err == nil {
				if l.files == nil {
					l.files = map[string]int{}
				}
				l.files[u.Path[strings.LastIndex(u.Path, "/")+1:]]++
			}
		}
	})
}

// take returns what was loaded since it was last asked.
func (l *traffic) take() (bytes float64, files map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes, files = l.bytes, l.files
	l.bytes, l.files = 0, nil
	return bytes, files
}

// ready waits until both eyes show all that there is to see.
func ready() chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(`html:has(.eye:nth-of-type(1) .image:not([hidden]) [data-ready=yes]):has(.eye:nth-of-type(2) .image:not([hidden]) [data-ready=yes]) .reading`)
}

// drawnOn are the pixels of the n-th eye's canvas (from 1), counted by a condition on r, g, b and i, the index of the pixel.
func drawnOn(eye int, condition string) string {
	return fmt.Sprintf(`(() => { const c = document.querySelector(".eye:nth-of-type(%d) .image:not([hidden]) canvas");
		const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; let n = 0;
		for (let i = 0; i < d.length / 4; i++) { const r = d[4*i], g = d[4*i+1], b = d[4*i+2]; if (%s) n++; } return n; })()`, eye, condition)
}

// patientNight is a patient with three visits; on the last one an eye has three pictures. The photographs are as large as cameras take them.
func patientNight(t *testing.T) (k *kit, drawn map[string]*phantom.Photograph, grid picture) {
	t.Helper()
	k = newKit(t)
	drawn, grid = map[string]*phantom.Photograph{}, picture{2, 3}
	who := func(date string) func(*record.Instance) {
		return func(i *record.Instance) {
			i.Patient.Key, i.Patient.ID, i.Patient.Name, i.StudyDate = shaOf("the patient"), "PHANTOM-7", "NGUYỄN^Thị Ánh", date
			i.Columns, i.Rows = cameraWidth, cameraHeight
			i.Device = &record.AcquisitionDevice{Manufacturer: "Example", Model: "Cam 1"}
			i.AcquiredAt = date + strings.TrimPrefix(i.AcquiredAt, "2026-11-22")
		}
	}
	measure := func(p picture, value, length float64, quality float64) {
		t.Helper()
		eye := map[int]phantom.Eye{0: phantom.Left, 1: phantom.Right}[p.n%2]
		size := map[bool][2]int{false: {350, 230}, true: {cameraWidth, cameraHeight}}[p.p == 2] // pictures of the visit before are not looked at
		d, err := phantom.Draw(phantom.Options{Seed: 7, Eye: eye, Width: size[0], Height: size[1]})
		k.must(err)
		drawn[p.sop()] = d
		k.tell(k.segment(p, func(r *record.Result) {
			r.Columns, r.Rows = cameraWidth, cameraHeight
			r.FOV = &record.FieldOfView{CenterX: d.CenterX, CenterY: d.CenterY, Radius: d.Radius, Right: cameraWidth, Bottom: cameraHeight}
			r.OpticDisc = &record.OpticDisc{CenterX: d.DiscX, CenterY: d.DiscY, Diameter: 2 * d.DiscRadiusPx, Confidence: .9}
			r.Quality = &record.Quality{Score: quality, Limit: .3, Reasons: []record.Note{}, Figures: []record.QualityFigure{}}
			l := density(length, .9)
			l.Name, l.Display, l.Definition, l.Source, l.Unit = "vessel-length-density", "Vessel length density", "Length of the centre lines by the area of the field.", "Smoothed centre lines", "1"
			f := density(1.44, .03)
			f.Name, f.Display, f.Definition = "fractal-dimension", "Fractal dimension", "Box-counting dimension of the vessel tree."
			w := density(0.9, 0)
			w.Name, w.Display, w.Unit, w.Error, w.ErrorAbsentReason = "vessel-width-mean", "Mean vessel width", "%", nil, &record.Note{Code: "error-not-known", Text: "The error of this measure is not known."}
			a := density(value, .02)
			a.Definition, a.Source = "Vessel pixels inside the field of view divided by the pixels of the field of view.", "Pixel count"
			r.Measures = []record.Measure{a, l, f, w}
		}))
		k.putMask(p, maskPNG(t, size[0], size[1], d.Vessels.On))
	}
	// The first visit was measured by another model, with which nothing is compared.
	for _, p := range []picture{{3, 1}, {3, 2}} {
		k.tell(k.accept(p, who("2024-09-12")), k.segment(p, func(r *record.Result) {
			r.Files, r.Provenance.Model = record.ResultFiles{}, record.ModelReference{Name: "unet-8", Version: "1", Sha256: strings.Repeat("b", len(testModel))}
			r.Measures = []record.Measure{density(.07, .03)}
		}))
	}
	k.quiet()
	early := []picture{{1, 1}, {1, 2}}
	for _, p := range early {
		k.tell(k.accept(p, who("2025-10-05")))
		measure(p, .085, 12.1, .8)
	}
	k.quiet()
	for _, p := range []picture{{2, 1}, {2, 2}} {
		k.tell(k.accept(p, who("2026-11-22")))
		measure(p, .081+.01*float64(p.n), 11.8, .8)
	}
	k.quiet()
	k.move(time.Hour)
	k.tell(k.accept(grid, who("2026-11-22")), k.accept(picture{2, 5}, who("2026-11-22"), func(i *record.Instance) {
		i.Analyse, i.NotAnalysed = false, &record.Note{Code: "not-colour", Text: "This picture is in grey, so that it is not measured."}
	}))
	k.tell(k.segment(grid, func(r *record.Result) {
		r.Columns, r.Rows, r.Measures = cameraWidth, cameraHeight, []record.Measure{density(.09, .02)}
		r.Quality = &record.Quality{Score: .35, Limit: .3, Reasons: []record.Note{}, Figures: []record.QualityFigure{}}
	}))
	k.putMask(grid, maskPNG(t, cameraWidth, cameraHeight, onGrid))
	drawn[grid.sop()] = &phantom.Photograph{Picture: bars()}
	drawn[picture{2, 5}.sop()] = drawn[grid.sop()]
	k.quiet()
	k.quiet()
	return k, drawn, grid
}

// onGrid are bars that are neither at the same place nor as wide when they are off by a pixel or two.
func onGrid(x, y int) bool { return x%350 < 40 || y%290 < 24 }

// bars is a photograph of which exactly the mask is white.
func bars() *raster.RGB {
	p := raster.NewRGB(cameraWidth, cameraHeight)
	for y := range cameraHeight {
		for x := range cameraWidth {
			if onGrid(x, y) {
				i := 3 * (y*cameraWidth + x)
				p.Pix[i], p.Pix[i+1], p.Pix[i+2] = 255, 255, 255
			}
		}
	}
	return p
}

func TestPatientPageInABrowser(t *testing.T) {
	t.Parallel()
	k, drawn, grid := patientNight(t)
	b := open(t, k, &eyes{drawn: drawn})
	ctx, run := b.ctx, b.run
	page := b.server + "/patients/" + fhir.PatientID(shaOf("the patient"))
	run("signing in", chromedp.SendKeys("#token", testToken+"\n"), chromedp.WaitVisible(".verdict"))
	var loaded traffic
	k.must(loaded.watch(ctx))

	// First sight.
	before := len(k.readings())
	run("the patient", chromedp.Navigate(page), ready())
	bytes, files := loaded.take()
	tiles, requests := 0, 0
	for name, n := range files {
		requests += n
		if strings.Contains(name, "_") {
			tiles += n
		}
	}
	t.Logf("to first sight of two photographs of %d × %d: %.0f bytes in %d requests, %d of them tiles", cameraWidth, cameraHeight, bytes, requests, tiles)
	if bytes > maxFirstSight || tiles == 0 || tiles > 40 {
		t.Errorf("first sight takes %.0f bytes and %d tiles", bytes, tiles)
	}
	if marks := evaluate[string](ctx, t, `[...document.querySelectorAll(".chart .mark")].map((m) => m.textContent).join()`); marks != strings.Repeat("other model,", 5)+"other model" { // three measures of two eyes
		t.Errorf("the curves are marked %q", marks)
	}
	looks := 0
	for _, e := range k.readings()[before:] {
		if strings.HasSuffix(e.Entity.Resource, "/view") {
			looks++
		}
	}
	if looks < 2 || looks > 4 { // requests at one moment may leave an entry each
		t.Errorf("%d entries for two looks", looks)
	}
	b.shot("patient-laptop")
	b.sight("patient-first-sight")

	// The mask can be hidden and shown by the keyboard, and each layer draws something else.
	const cyan = "g > 150 && b > 150 && r < g - 40"
	if n := evaluate[int](ctx, t, drawnOn(1, cyan)); n < 500 {
		t.Errorf("the mask covers %d pixels", n)
	}
	run("hiding the mask", chromedp.KeyEvent("v"), ready())
	waitFor(b, "the mask is hidden", drawnOn(1, cyan)+" === 0")
	sum := `(r + 2 * g + 3 * b) % 7 === i % 7` // another picture, another number
	seen := map[int]string{evaluate[int](ctx, t, drawnOn(1, sum)): "the photograph alone"}
	for _, key := range []string{"w", "d", "r"} {
		run("key "+key, chromedp.KeyEvent(key), chromedp.WaitVisible(`html[data-reading=ready] .reading`))
		if key == "w" {
			waitFor(b, "the scale of widths", `/^[0-9.]+ % of the field$/.test(document.querySelector("[data-widest]").textContent)`)
		}
		waitFor(b, "key "+key+" draws", fmt.Sprintf("![%s].includes(%s)", keysOf(seen), drawnOn(1, sum)))
		seen[evaluate[int](ctx, t, drawnOn(1, sum))] = key
	}
	b.shot("patient-layers")
	run("all of them off, the mask on", chromedp.KeyEvent("w"), chromedp.KeyEvent("d"), chromedp.KeyEvent("r"), chromedp.KeyEvent("v"), ready())

	// Zoom in step, by the keyboard; then each by itself.
	zoom := func(eye int) string {
		return evaluate[string](ctx, t, fmt.Sprintf(`document.querySelector(".eye:nth-of-type(%d) .image:not([hidden]) .stage").dataset.zoom`, eye))
	}
	left := `.eye:nth-of-type(1) .image:not([hidden]) .stage`
	run("zooming", chromedp.Focus(left), chromedp.KeyEvent("+"), chromedp.KeyEvent("+"))
	waitFor(b, "zoom in step", `[...document.querySelectorAll(".image:not([hidden]) .stage")].every((s) => s.dataset.zoom === "2.25")`)
	run("panning", chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), ready())
	b.shot("patient-zoomed")
	place := func(eye int) string {
		return evaluate[string](ctx, t, fmt.Sprintf(`document.querySelector(".eye:nth-of-type(%d) .image:not([hidden]) .stage").dataset.place`, eye))
	}
	if l, r := place(1), place(2); l == r || l != mirrored(t, r) {
		t.Errorf("the eyes show %s and %s, which are no mirror images", l, r)
	}
	run("not mirrored", chromedp.KeyEvent("m"), ready())
	waitFor(b, "the same place", `new Set([...document.querySelectorAll(".image:not([hidden]) .stage")].map((s) => s.dataset.place)).size === 1`)
	run("by itself", chromedp.KeyEvent("s"), chromedp.Focus(left), chromedp.KeyEvent("0"))
	waitFor(b, "zoom of one eye", `document.querySelector(".eye:nth-of-type(1) .image:not([hidden]) .stage").dataset.zoom === "1.00"`)
	if l, r := zoom(1), zoom(2); l != "1.00" || r != "2.25" {
		t.Errorf("out of step the eyes are at %s and %s", l, r)
	}
	run("in step again", chromedp.KeyEvent("s"), ready())

	// Wheel and fingers.
	wheel := `(() => { const s = document.querySelector(".eye:nth-of-type(1) .image:not([hidden]) .stage"), b = s.getBoundingClientRect();
		return s.dispatchEvent(new WheelEvent("wheel", { deltaY: %d, clientX: b.x + b.width / 2, clientY: b.y + b.height / 2, bubbles: true, cancelable: true })); })()`
	run("whole", chromedp.Focus(left), chromedp.KeyEvent("0"))
	if taken := !evaluate[bool](ctx, t, fmt.Sprintf(wheel, 100)); taken {
		t.Error("at the whole picture scrolling down does not scroll the page")
	}
	if taken := !evaluate[bool](ctx, t, fmt.Sprintf(wheel, -100)); !taken {
		t.Error("scrolling up does not zoom alone")
	}
	waitFor(b, "zoom by the wheel", `document.querySelector(".eye:nth-of-type(1) .image:not([hidden]) .stage").dataset.zoom === "1.25"`)
	run("whole", chromedp.KeyEvent("0"))
	box := evaluate[[]float64](ctx, t, `(() => { document.querySelector(".reading").scrollIntoView(); const b = document.querySelector(".eye:nth-of-type(1) .image:not([hidden]) .stage").getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()`)
	for _, step := range []struct {
		kind  input.DispatchTouchEventType
		apart float64
	}{{input.DispatchTouchEventTypeTouchStart, 40}, {input.DispatchTouchEventTypeTouchMove, 80}, {input.DispatchTouchEventTypeTouchMove, 120}, {input.DispatchTouchEventTypeTouchEnd, 0}} {
		points := []*input.TouchPoint{}
		if step.apart > 0 {
			points = append(points, &input.TouchPoint{X: box[0] - step.apart, Y: box[1], ID: pointer(0.)}, &input.TouchPoint{X: box[0] + step.apart, Y: box[1], ID: pointer(1.)})
		}
		run("two fingers", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: step.kind, TouchPoints: points})
			return err
		}))
	}
	waitFor(b, "zoom by two fingers", `Math.abs(document.querySelector(".eye:nth-of-type(1) .image:not([hidden]) .stage").dataset.zoom - 3) < .2`)
	run("whole", chromedp.Focus(left), chromedp.KeyEvent("0"), ready())

	// A definition opens on focus and closes with Escape.
	tip := `getComputedStyle(document.querySelector(".image:not([hidden]) [role=tooltip]")).visibility`
	run("a definition", chromedp.Focus(".image:not([hidden]) .term button"))
	waitFor(b, "the definition is shown", tip+` === "visible"`)
	b.shot("patient-definition")
	run("closing it", chromedp.KeyEvent(kb.Escape))
	waitFor(b, "the definition is closed", tip+` === "hidden"`)

	// Another picture of the eye; on it, the mask lies exactly over what is white, whole and far in.
	run("another picture", chromedp.Click(fmt.Sprintf(`.eye:nth-of-type(1) .thumbs a:nth-of-type(%d)`, grid.n/2+1)), ready())
	white := "r > 128"
	for _, times := range []int{0, 5} {
		for range times {
			run("zooming in", chromedp.Focus(left), chromedp.KeyEvent("+"))
		}
		run("seeing it", ready())
		setOpacity(b, 100)
		run("with the mask", ready())
		// Where the mask covers half of a pixel that is half white, green is about 181.
		covered := evaluate[int](ctx, t, drawnOn(1, "g > 181 && r < g - 40"))
		left := evaluate[int](ctx, t, drawnOn(1, white)) // of the mask's own colour nothing is that red
		run("without the mask", chromedp.KeyEvent("v"))
		waitFor(b, "the mask is hidden", drawnOn(1, cyan)+" === 0")
		bright := evaluate[int](ctx, t, drawnOn(1, white))
		run("with it again", chromedp.KeyEvent("v"), ready())
		t.Logf("zoom %s: %d white pixels, %d under the mask, %d beside it", zoom(1), bright, covered, left)
		// Edges are half one and half the other at most: a hundredth of what there is.
		if bright < 5000 || math.Abs(float64(covered-bright)) > .02*float64(bright) || left > bright/100 {
			t.Errorf("zoom %s: of %d white pixels the mask covers %d and leaves %d", zoom(1), bright, covered, left)
		}
	}

	// An older version says that it is one; other windows.
	run("an older version", chromedp.Navigate(page+"?study="+reportID("north", shaOf("the patient"), picture{2, 1}.study())+"&version=1"), chromedp.WaitVisible(".older"), ready())
	b.shot("patient-older")
	for _, w := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"patient-laptop-dark", 1366, 768, "dark"}, {"patient-portrait", 820, 1180, "light"}, {"patient-large", 1920, 1080, "light"}} {
		run(w.name, size(w.width, w.height, w.scheme), chromedp.Navigate(page), ready())
		b.shot(w.name)
	}
}

// mirrored is the place that lies on the other side.
func mirrored(t *testing.T, place string) string {
	t.Helper()
	var x, y float64
	if _, err := fmt.Sscanf(place, "%f %f", &x, &y); err != nil {
		t.Fatalf("place %q: %v", place, err)
	}
	return fmt.Sprintf("%.3f %.3f", 1-x, y)
}

// sight takes a picture of what a person sees without scrolling.
func (b *browser) sight(name string) {
	b.t.Helper()
	raw, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Shots, name+".png"), raw, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// setOpacity moves the slider.
func setOpacity(b *browser, percent int) {
	b.t.Helper()
	evaluate[bool](b.ctx, b.t, fmt.Sprintf(`(() => { const r = document.querySelector("[data-show=opacity]"); r.value = %d; r.dispatchEvent(new Event("input", { bubbles: true })); return true; })()`, percent))
}

// waitFor waits until a condition holds on the page.
func waitFor(b *browser, what, condition string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise((done) => { const look = () => { if (%s) done(true); else requestAnimationFrame(look); }; look(); })`, condition), chromedp.EvalAwaitPromise)); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// keysOf lists numbers for a script.
func keysOf(m map[int]string) string {
	var all []string
	for n := range m {
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, ",")
}
