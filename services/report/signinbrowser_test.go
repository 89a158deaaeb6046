package report

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/test/tab"
)

// TestPeopleSignInInABrowser is a first day: the password that was given, another one, guesses, and signing out.
func TestPeopleSignInInABrowser(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	b := open(t, k, &eyes{drawn: map[string]*phantom.Photograph{}}, http.StatusUnprocessableEntity, http.StatusTooManyRequests)
	accounts := withAccounts(k)
	_, err := accounts.SetPassword(t.Context(), "anna", annasPassword, true)
	k.must(err)
	b.run("a page that needs a person", chromedp.Navigate(b.server+"/quarantine"), chromedp.WaitVisible("#password"))
	if evaluate[bool](b.ctx, t, `document.querySelector("#token").checkVisibility()`) {
		t.Error("the token is asked for as well")
	}
	b.shot("signin-accounts")
	b.run("a wrong password", chromedp.SendKeys("#name", "anna"), chromedp.SendKeys("#password", "wrong\r"), chromedp.WaitVisible("[role=alert]"))
	if got := b.text("[role=alert]"); got != "That is not the name and password of an account that may sign in." {
		t.Errorf("it says %q", got)
	}
	if got := evaluate[string](b.ctx, t, `document.activeElement.id + " " + document.querySelector("#name").value`); got != "password anna" {
		t.Errorf("afterwards the keyboard is in %q", got)
	}
	b.shot("signin-wrong")
	b.run("the right one", chromedp.SendKeys("#password", annasPassword+"\r"), chromedp.WaitVisible("#password-current"))
	if got := b.text("h1"); got != "Choose a password of your own" {
		t.Errorf("then comes %q", got)
	}
	b.shot("account-first")
	fill := func(current, chosen, repeat string) {
		t.Helper()
		evaluate[string](b.ctx, t, `document.body.dataset.old = "1"`)
		b.run("another password", chromedp.SendKeys("#password-current", current), chromedp.SendKeys("#password-new", chosen), chromedp.SendKeys("#password-repeat", repeat+"\r"), chromedp.WaitVisible("body:not([data-old]) main"))
	}
	fill(annasPassword, "short", "short")
	b.run("refused", chromedp.WaitVisible("#password-new-wrong"))
	b.shot("account-weak")
	fill(annasPassword, otherPassword, otherPassword)
	b.run("where she wanted to go", chromedp.WaitVisible(".blank"))
	if got := evaluate[string](b.ctx, t, `location.pathname`); got != "/quarantine" {
		t.Errorf("she ends up at %s", got)
	}
	b.run("her account", chromedp.Click("a.who"), chromedp.WaitVisible(".sessions"))
	b.shot("account")
	b.run("in the dark", size(820, 1180, "dark"))
	b.shot("account-dark")
	b.run("large", size(1920, 1080, "light"))
	b.shot("account-large")
	b.run("signing out everywhere", size(1366, 768, "light"), chromedp.Click(`form[action="/account/signout"] button`), chromedp.WaitVisible("#password"))
	// Strangers guess from elsewhere, and she is still let in from where she was.
	stranger := k.person("203.0.113.7")
	for range freeGuesses {
		stranger.signIn("anna", "guess")
	}
	want(t, "the stranger", stranger.signIn("anna", "guess"), http.StatusTooManyRequests, "")
	b.run("she", chromedp.SendKeys("#name", "anna"), chromedp.SendKeys("#password", otherPassword+"\r"), chromedp.WaitVisible(".verdict"))
	b.run("and out again", chromedp.Click(".signout button"), chromedp.WaitVisible("#password"))
	// submit types a password and waits for another page.
	submit := func(what, password string) {
		t.Helper()
		evaluate[string](b.ctx, t, `document.body.dataset.old = "1"; document.querySelector("#name").value = "anna"`)
		b.run(what, chromedp.SendKeys("#password", password+"\r"), chromedp.WaitVisible("body:not([data-old]) main"))
	}
	for n := range freeGuesses {
		submit(fmt.Sprint("mistyping ", n), "wrong")
	}
	submit("once more", otherPassword)
	if got := b.text("[role=alert]"); got != "Too many wrong passwords. Try again in 2 seconds." {
		t.Errorf("it says %q", got)
	}
	b.shot("signin-locked")
	k.move(firstWait)
	b.run("in time", chromedp.SendKeys("#password", otherPassword+"\r"), chromedp.WaitVisible(".verdict"))
	b.run("the token is still taken", chromedp.Click(".signout button"), chromedp.WaitVisible("#password"), chromedp.Click(".with-token summary"), chromedp.SendKeys("#token", testToken+"\r"), chromedp.WaitVisible(".verdict"))
}

// chrome starts a browser with flags of its own, that nobody watches.
func chrome(t *testing.T, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(tab.Program(t)), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.UserDataDir(t.TempDir()))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), append(options, flags...)...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestOtherSitesInABrowser: pages of another site and of another port of the same host make a real browser post forms. The neighbour's come with the
// session's cookie, which SameSite lets pass.
func TestOtherSitesInABrowser(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	withAccounts(k)
	var mu sync.Mutex
	posted := map[string]*http.Request{} // by path, the last
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			mu.Lock()
			posted[r.URL.Path] = r.Clone(context.Background())
			mu.Unlock()
		}
		k.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	// A page that posts to Noctua at an address as soon as it is opened.
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, path := r.URL.Query().Get("target"), r.URL.Query().Get("path")
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form method="post" action="http://%s:%s%s"><input name="name" value="anna"><input name="password" value=%q></form><script>document.forms[0].submit()</script>`, target, port, path, annasPassword)
	}))
	t.Cleanup(evil.Close)
	_, evilPort, _ := strings.Cut(strings.TrimPrefix(evil.URL, "http://"), ":")
	// eyes.test is a host that browsers do not trust, as one in a clinic without TLS: they send no Sec-Fetch-Site there.
	ctx := chrome(t, chromedp.Flag("host-resolver-rules", "MAP eyes.test 127.0.0.1, MAP evil.test 127.0.0.1"))
	do := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, host := range []string{"127.0.0.1", "eyes.test"} {
		home := "http://" + host + ":" + port
		do("signing in", chromedp.Navigate(home+"/account"), chromedp.WaitVisible("#password"), chromedp.SendKeys("#name", "anna"), chromedp.SendKeys("#password", annasPassword+"\r"), chromedp.WaitVisible(".sessions"))
		for _, from := range []string{host, "evil.test"} {
			for _, path := range []string{"/account/signout", "/signin"} {
				do("the other page", chromedp.Navigate("http://"+net.JoinHostPort(from, evilPort)+"/?target="+host+"&path="+path))
				for arrived := false; !arrived; { // the page posts by itself; between two pages there is none to ask
					arrived, _ = chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(`location.port === %q && document.readyState === "complete"`, port)))
					if err := pause(ctx, 20*time.Millisecond); err != nil {
						t.Fatalf("%s to %s: nothing was posted: %v", from, host, err)
					}
				}
				mu.Lock()
				r := posted[path]
				mu.Unlock()
				if r == nil {
					t.Fatalf("%s to %s: nothing was posted", from, host)
				}
				if _, err := r.Cookie(sessionCookie); (err == nil) != (from == host) {
					t.Errorf("%s to %s: the cookie was sent: %v", from, host, err == nil)
				}
				t.Logf("%s to %s%s: Origin %q, Sec-Fetch-Site %q", from, host, path, r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site"))
				if got := evaluate[string](ctx, t, `document.body.innerText`); !strings.Contains(got, "cross-origin") {
					t.Errorf("%s to %s%s answers %q", from, host, path, got)
				}
			}
		}
		do("still signed in", chromedp.Navigate(home+"/account"), chromedp.WaitVisible(".sessions"))
		// The page's own form is taken.
		do("signing out", chromedp.Click(`form[action="/account/signout"] button`), chromedp.WaitVisible("#password"))
	}
}
