package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// strayed puts a file into quarantine that came without a clinic.
func (k *kit) strayed(name string) (key string) {
	k.t.Helper()
	sum := shaOf("strayed", name)
	key, err := blob.QuarantineKey(quarantine.Unassigned, k.now(), sum)
	k.must(err)
	k.putDocument(k.blob.Buckets().Quarantine, key+documentSuffix, record.QuarantineSchema, record.Quarantine{Schema: record.QuarantineSchema, Clinic: quarantine.Unassigned, Code: "clinic-missing",
		Reason: "The file does not lie in a clinic's folder, so nobody knows where it comes from.", Action: "Put it into the clinic's folder, or assign the clinic here.", InboxKey: name,
		ReceiptID: sum[:32], ReceivedAt: k.now(), Sha256: sum, SizeBytes: 2345678})
	e, err := event.New(event.TypeImageRejected, event.ID(event.TypeImageRejected, sum), quarantine.Unassigned, k.now(), event.ImageRejected{Code: "clinic-missing", QuarantineKey: key, Sha256: sum})
	k.must(err)
	k.tell(e)
	return key
}

// tabTo presses the tabulator until the element has the focus.
func (b *browser) tabTo(selector string) {
	b.t.Helper()
	const most = 60
	for range most {
		b.run("tabulator", chromedp.KeyEvent("\t"))
		if evaluate[bool](b.ctx, b.t, `document.activeElement.matches('`+selector+`')`) {
			if !evaluate[bool](b.ctx, b.t, `document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
				b.t.Errorf("the focus on %s cannot be seen", selector)
			}
			return
		}
	}
	b.t.Fatalf("the tabulator does not reach %s", selector)
}

// TestQuarantineInABrowser sees to files in quarantine by the keyboard alone, in light and dark.
func TestQuarantineInABrowser(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	drawn := &eyes{drawn: map[string]*phantom.Photograph{}}
	eye, other, stray := k.quarantined(picture{1, 2}, "laterality-missing"), k.quarantined(picture{1, 3}, "not-dicom"), k.strayed("IMG 0042.dcm")
	for _, n := range []string{"a", "b"} {
		k.strayed(n)
	}
	k.quiet()
	quarantined := k.blob.Buckets().Quarantine
	k.must(k.blob.PutBytes(t.Context(), quarantined, eye, []byte(picture{1, 2}.sop()), blob.PutOptions{}))
	k.must(k.blob.PutBytes(t.Context(), quarantined, stray, []byte(picture{2, 1}.sop()), blob.PutOptions{}))
	b := open(t, k, drawn, 400, 404) // a refused form, and the picture of what is none
	correction := func(key string) (record.Correction, []quarantine.Step) {
		t.Helper()
		h, err := quarantine.Load(t.Context(), k.blob, quarantined, key)
		k.must(err)
		return h.Correction(), h.Steps
	}
	b.run("signing in", chromedp.SendKeys("#token", testToken+"\r"), chromedp.WaitVisible(".verdict"))
	b.tabTo(`nav a[href="/quarantine"]`)
	b.run("the list", chromedp.KeyEvent("\r"), chromedp.WaitVisible(".card"))
	if got := evaluate[int](b.ctx, t, `document.querySelectorAll(".card").length`); got != 5 {
		t.Errorf("the list has %d files", got)
	}
	b.shot("quarantine-light")

	// One file: reason and picture, then the eye.
	at := "/quarantine/" + quarantineID(eye)
	b.tabTo(`a[href="` + at + `"]`)
	b.run("one file", chromedp.KeyEvent("\r"), chromedp.WaitVisible("form.ruling"))
	if got := b.text("h1"); got != "The file does not say which eye it shows." {
		t.Errorf("the reason is %q", got)
	}
	b.shot("quarantined-light") // waits for the picture
	if evaluate[int](b.ctx, t, `document.querySelector(".stage img").naturalWidth`) == 0 {
		t.Error("there is no picture")
	}
	b.tabTo(`input[name="laterality"]`)
	b.run("the left eye", chromedp.KeyEvent(kb.ArrowUp))
	b.tabTo("#release-by")
	b.run("who", chromedp.KeyEvent("   ")) // more than nothing, which the browser itself asks for
	b.tabTo("#release-reason")
	b.run("why", chromedp.KeyEvent("Seen at the camera.\r"), chromedp.WaitVisible("#release-by-wrong"))
	b.until("the focus", `document.activeElement.id === "release-by"`)
	if got := b.text("#release-by-wrong"); !strings.HasPrefix(got, "Say who decides") {
		t.Errorf("at the name: %q", got)
	}
	if !evaluate[bool](b.ctx, t, `document.activeElement.id === "release-by" && document.activeElement.getAttribute("aria-describedby").includes("release-by-wrong")
		&& document.querySelector("#release-reason").value === "Seen at the camera." && document.querySelector('input[value="L"]').checked && !document.querySelector("#release-reason-wrong")`) {
		t.Error("the form does not come back as it was filled in, with the focus on what is wrong")
	}
	if _, steps := correction(eye); len(steps) != 0 {
		t.Fatal("a refused form left a decision")
	}
	b.shot("quarantined-wrong-light")
	b.run("who", chromedp.KeyEvent("Anna"))
	b.tabTo("form.ruling button")
	b.run("releasing", chromedp.KeyEvent("\r"), chromedp.WaitVisible(".chip"))
	if got := b.text(".chip"); got != "This file is being released" {
		t.Errorf("after the release: %q", got)
	}
	if c, steps := correction(eye); c != (record.Correction{Laterality: record.LeftEye}) || steps[0].Decision.By != "Anna" {
		t.Errorf("the release is %+v by %v", c, steps)
	}
	b.shot("quarantined-released-light")

	// A clinic, in the dark.
	b.run("in the dark", size(1366, 768, "dark"), chromedp.Navigate(b.server+"/quarantine/"+quarantineID(stray)), chromedp.WaitVisible("#release-clinic"))
	b.tabTo("#release-clinic")
	b.run("no clinic's name", chromedp.KeyEvent("north west"))
	b.tabTo("#release-by")
	b.run("who", chromedp.KeyEvent("Anna"))
	b.tabTo("#release-reason")
	b.run("why", chromedp.KeyEvent("The camera's own folder.\r"), chromedp.WaitVisible("#release-clinic-wrong"))
	b.until("the focus", `document.activeElement.id === "release-clinic"`)
	if !evaluate[bool](b.ctx, t, `document.activeElement.id === "release-clinic"`) {
		t.Error("the focus is not on the clinic")
	}
	b.shot("quarantined-clinic-dark")
	b.run("a clinic", chromedp.KeyEvent(kb.End+strings.Repeat("\b", len(" west"))), chromedp.KeyEvent("\r"), chromedp.WaitVisible(".chip"))
	if c, _ := correction(stray); c != (record.Correction{Clinic: "north"}) {
		t.Errorf("the release is %+v", c)
	}

	// What is no picture is discarded.
	b.run("no picture", chromedp.Navigate(b.server+"/quarantine/"+quarantineID(other)), chromedp.WaitVisible(".stage.unavailable"))
	b.tabTo("#discard-by")
	b.run("who", chromedp.KeyEvent("Anna"))
	b.tabTo("#discard-reason")
	b.run("why", chromedp.KeyEvent("A letter."))
	b.shot("quarantined-unavailable-dark")
	b.run("discarding", chromedp.KeyEvent("\r"), chromedp.WaitVisible(".chip"))
	if got := b.text(".chip"); got != "This file was discarded" {
		t.Errorf("after discarding: %q", got)
	}

	// The rest at once.
	b.run("the list", chromedp.Navigate(b.server+"/quarantine"), chromedp.WaitVisible(".card"))
	b.shot("quarantine-dark")
	b.tabTo("[data-choose-all]")
	b.run("all", chromedp.KeyEvent(" "))
	b.tabTo("#by")
	b.run("who", chromedp.KeyEvent("Anna"))
	b.tabTo("#reason")
	b.run("why", chromedp.KeyEvent("Test pictures."))
	b.tabTo(`button[formaction="/quarantine/discard"]`)
	b.run("discarding", chromedp.KeyEvent("\r"), chromedp.WaitVisible("[data-sure]"))
	b.shot("quarantine-sure-dark")
	b.tabTo("[data-sure] button")
	b.run("being sure", chromedp.KeyEvent("\r"), chromedp.WaitVisible(".blank"))
	k.wantQuarantineEmpty()
	b.shot("quarantine-empty-dark")

	// All of it was by somebody who signed in, and is in the audit log.
	var seen []string
	for _, e := range k.readings() {
		if e.Agent.Via == "session" {
			seen = append(seen, e.Entity.Kind+" "+e.Entity.QuarantineKey)
		}
	}
	for _, want := range []string{"quarantine-list ", "quarantine-file " + eye, "quarantine-picture " + eye, "quarantine-file " + stray, "quarantine-picture " + stray, "quarantine-file " + other} {
		if !slices.Contains(seen, want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
	if slices.Contains(seen, "quarantine-picture "+other) {
		t.Error("the audit log has a picture that was never shown")
	}
}
