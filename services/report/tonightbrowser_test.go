package report

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/test/tab"
)

// until waits until an expression is true in the page.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), eventPatience)
	defer cancel()
	for !evaluate[bool](b.ctx, b.t, expression) {
		if pause(ctx, 50*time.Millisecond) != nil {
			b.t.Fatalf("%s: %s is not true in time; the page says %s", what, expression, b.text("main"))
		}
	}
}

const headlineIs = `document.querySelector(".verdict h1").textContent === %q`

// TestTonightInABrowser: the page follows the night by itself, is right again after the server was away and after the page was, keeps what a person was doing, and a
// night that is over fits on paper.
func TestTonightInABrowser(t *testing.T) {
	t.Parallel()
	tab.Program(t)
	k := newKit(t)
	drawn := &eyes{drawn: map[string]*phantom.Photograph{}}
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	k.must(err)
	serve := func(l net.Listener) *httptest.Server {
		server := httptest.NewUnstartedServer(k.Handler())
		k.must(server.Listener.Close())
		server.Listener = l
		server.Start()
		return server
	}
	server := serve(listener)
	address := listener.Addr().String()
	b := openAt(t, k, drawn, "http://"+address)
	b.run("signing in", chromedp.SendKeys("#token", testToken+"\n"), chromedp.WaitVisible(".verdict"))
	b.until("the stream is there", `document.querySelector("#live").dataset.live === "yes"`)
	b.shot("tonight-first-start")
	// The page is the same as long as it is not loaded anew.
	b.run("marking", chromedp.Evaluate[chromedp.Void](`window.sameLoad = true`))

	for p := 1; p <= 3; p++ {
		k.tell(k.accept(picture{p, 1}), k.accept(picture{p, 2}), k.segment(picture{p, 1}))
	}
	k.move(2 * time.Second)
	b.until("pictures come", fmt.Sprintf(headlineIs, "Screening is under way"))
	b.run("opening the table", chromedp.Click(".course summary"), chromedp.Focus(`.clinicscroll a`))
	k.tell(k.reject(picture{4, 1}, "laterality-missing"))
	k.move(2 * time.Second)
	b.until("one more", `document.querySelector(".needs").textContent.includes("does not say which eye")`)
	if !evaluate[bool](b.ctx, t, `document.querySelector(".course details").open && document.activeElement.matches(".clinicscroll a")`) {
		t.Error("what was open is closed, or the focus is lost")
	}
	k.issueAll()
	b.shot("tonight-under-way")

	// The server goes away, the night goes on, and the server is back at the same address.
	server.CloseClientConnections()
	k.must(server.Listener.Close())
	b.until("the server is away", `!document.querySelector("[data-lost]").hidden && document.querySelector("[data-lost]").textContent.includes("The numbers are as of 01:0")`)
	b.shot("tonight-lost")
	for p := 1; p <= 3; p++ {
		k.tell(k.segment(picture{p, 2}))
	}
	k.quiet()
	k.move(2 * time.Second)
	listener, err = listen.Listen(t.Context(), "tcp", address)
	k.must(err)
	server = serve(listener)
	defer func() { server.CloseClientConnections(); server.Close() }()
	b.until("the server is back", fmt.Sprintf(headlineIs, "Finished. One picture needs a person.")+` && document.querySelector("[data-lost]").hidden`)
	if !evaluate[bool](b.ctx, t, `window.sameLoad === true`) {
		t.Error("the page was loaded anew")
	}
	if got := b.text(".tile.done b"); got != "6" {
		t.Errorf("%s pictures are in a report", got)
	}
	if got := evaluate[string](b.ctx, t, `document.querySelector("[data-said]").textContent`); got != "Finished. One picture needs a person." {
		t.Errorf("a screen reader hears %q", got)
	}

	// The laptop sleeps: a page that nobody sees has no stream, and is right when it is seen again.
	hide := func(hidden bool) chromedp.Action[chromedp.Void] {
		return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => { Object.defineProperty(document, "hidden", { configurable: true, get: () => %v }); document.dispatchEvent(new Event("visibilitychange")); return true; })()`, hidden))
	}
	b.run("going to sleep", hide(true))
	k.wait("the stream to end", func() bool {
		k.limits.mu.Lock()
		defer k.limits.mu.Unlock()
		return k.limits.streams == 0
	})
	k.tell(k.accept(picture{5, 1}), k.failImage(picture{5, 1}))
	k.quiet()
	k.move(time.Hour)
	b.run("waking up", hide(false))
	b.until("it is right again", fmt.Sprintf(headlineIs, "Finished. 2 pictures need a person."))
	if !evaluate[bool](b.ctx, t, `window.sameLoad === true`) {
		t.Error("the page was loaded anew")
	}

	// A session that is over ends on the page for signing in, by itself.
	night(k, drawn)
	k.move(24 * time.Hour)
	k.quiet()
	b.run("signed out", chromedp.WaitVisible("#token"))
	b.run("last night", chromedp.SendKeys("#token", testToken+"\n"), chromedp.WaitVisible(`.nightbar a[href^="/nights/2026"]`), chromedp.Click(`.nightbar a[href^="/nights/2026"]`), chromedp.WaitVisible("[data-print]"))
	b.shot("night")
	paper := b.print("night")
	if n := strings.Count(string(paper), "/Type /Page\n") + strings.Count(string(paper), "/Type/Page\n"); n < 1 || n > 2 {
		t.Errorf("the night is printed on %d pages", n)
	}
	b.run("all nights", chromedp.Click(`nav a[href="/nights"]`), chromedp.WaitVisible("table.nights"))
	b.shot("nights")
}

// wait polls until something is so.
func (k *kit) wait(what string, so func() bool) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), eventPatience)
	defer cancel()
	for !so() {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			k.t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// print prints the page on A4.
func (b *browser) print(name string) []byte {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, func(ctx context.Context, target *chromedp.Target) (page.PrintToPDFResult, error) {
		return cdp.Call(ctx, target, page.PrintToPDF, page.PrintToPDFParams{PreferCSSPageSize: new(true)})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Shots, name+".pdf"), got.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return got.Data
}
