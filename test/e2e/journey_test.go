package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/noctua-screening/noctua/test/shared"
	"github.com/noctua-screening/noctua/test/tab"
)

const journeyTimeout = 8 * time.Minute // for six pictures on a busy machine of 2 cores

// TestMorningJourney follows real pictures through a real browser: dropped, seen coming in, looked at, printed, one of them fixed in quarantine,
// and the report amended. Every page is judged by axe-core; scripts that fail and requests that leave the host end the test.
func TestMorningJourney(t *testing.T) {
	t.Parallel()
	modify := shared.Program(t, "dcmodify", "Debian's package dcmtk")
	clinic := clinicFolder(t)
	n := startAllInOne(t, t.TempDir())
	b := tab.Open(t, strings.TrimPrefix(n.web, "http://"), journeyTimeout)

	// Nobody has signed in, and nothing has come.
	b.Run("the door", chromedp.Navigate(n.web+"/"), chromedp.WaitVisible(".signin"))
	b.Shot("journey-1-sign-in")
	b.Run("signing in", chromedp.Click(".with-token summary"), chromedp.SendKeys("#token", n.token+"\r"), chromedp.WaitVisible(".verdict"))
	if got := b.Text(".verdict h1"); got != "Nothing has come in yet" {
		t.Errorf("an empty night says %q", got)
	}
	b.Shot("journey-2-nothing-yet")

	// The technician drops three studies; of one picture the camera did not say which eye it shows.
	folder := t.TempDir()
	for _, name := range []string{"chase_01L.dcm", "chase_01R.dcm", "chase_02L.dcm", "chase_02R.dcm", "hrf_06_h.dcm"} {
		copyFile(t, filepath.Join(clinic, name), filepath.Join(folder, name))
	}
	eyeless := filepath.Join(folder, "chase_02R.dcm")
	if out, err := exec.Command(modify, "-nb", "-imt", "-ea", "(0020,0062)", "-ea", "(0020,0060)", eyeless).CombinedOutput(); err != nil {
		t.Fatalf("dcmodify: %v: %s", err, out)
	}
	mustCommand(t, "submit", folder, "--clinic", "north", "--data", n.data)
	// The page follows by itself.
	b.Run("the page follows", chromedp.WaitVisible(".verdict.busy"))
	b.Shot("journey-3-under-way")
	b.Run("the night ends", chromedp.WaitVisible(".verdict.attention"))
	b.Shot("journey-4-finished")
	if s := n.status("--wait"); s.Done != 4 || s.Quarantined != 1 || s.Failed != 0 {
		t.Fatalf("status %+v", s)
	}
	reports := waitFinal(t, n.web, n.token)
	if len(reports) != 3 {
		t.Fatalf("%d reports", len(reports))
	}

	// The clinician opens the patient whose other eye is missing.
	b.Run("patients", chromedp.Click(`nav a[href="/patients"]`), chromedp.WaitVisible("a.name"))
	b.Shot("journey-5-patients")
	var halved string // id of the patient's report with one eye
	for _, r := range reports {
		if len(r.Rejected) == 1 {
			halved = r.ReportID
		}
	}
	if halved == "" {
		t.Fatal("no report names its picture in quarantine")
	}
	b.Weight()
	b.Run("the patient", chromedp.Click("a.name"), chromedp.WaitVisible("[data-ready]"))
	t.Logf("the patient page and its pictures weigh %d kB", b.Weight()/1000)
	b.Shot("journey-6-patient")
	b.Run("the overlay goes", chromedp.KeyEvent("v"))
	b.Shot("journey-7-without-overlay")
	b.Run("the overlay comes", chromedp.KeyEvent("v"))
	const pdf = `(async () => { const a = document.querySelector('a[href*="report.pdf"]'); const r = await fetch(a.href); const text = new TextDecoder("latin1").decode(await r.arrayBuffer()); return r.headers.get("Content-Type") + " " + text.slice(0, 5); })()`
	if got, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string](pdf, chromedp.EvalAwaitPromise)); err != nil || got != "application/pdf %PDF-" {
		t.Errorf("the PDF is %q, %v", got, err)
	}

	// The operator says which eye it is; the report is amended.
	b.Run("quarantine", chromedp.Click(`nav a[href="/quarantine"]`), chromedp.WaitVisible(`main a[href^="/quarantine/"]`))
	b.Shot("journey-8-quarantine")
	b.Run("one file", chromedp.Click(`main a[href^="/quarantine/"]`), chromedp.WaitVisible("form.ruling"))
	b.Shot("journey-9-quarantined")
	b.Run("releasing", chromedp.Click(`input[name="laterality"][value="R"]`), chromedp.SendKeys("#release-by", "Anna"), chromedp.SendKeys("#release-reason", "Seen at the camera.\r"),
		chromedp.WaitVisible(".chip"))
	eventually(t, nightTimeout, "the report is amended", func() error {
		var r struct {
			Status  string
			Version int
		}
		getJSON(t, n.web, n.token, "/api/reports/"+halved, &r)
		if r.Status != "amended" {
			return errors.New(r.Status)
		}
		return nil
	})
	b.Run("back to tonight", chromedp.Click(`nav a[href="/"]`), chromedp.WaitVisible(".verdict"))
	b.Shot("journey-10-amended")
	if got := b.Text("main"); !strings.Contains(got, "amended") {
		t.Errorf("the first page does not say that a report was amended: %s", got)
	}
	if s := n.status("--wait"); s.Done != 5 || s.Quarantined != 0 {
		t.Errorf("status %+v", s)
	}
	n.stop()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}
