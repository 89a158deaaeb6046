package report

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/account"
	"github.com/noctua-screening/noctua/pkg/audit"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	annasPassword = "three tall owls at dusk"
	otherPassword = "four small owls at dawn"
)

// withAccounts gives a service accounts, of which the hashes are cheap: anna and bert in charge of the north, and eve, who is disabled.
func withAccounts(k *kit) *account.Accounts {
	k.t.Helper()
	a := account.Open(account.Config{Path: filepath.Join(k.t.TempDir(), "accounts.json"), Cost: account.Cost{Passes: 1, MemoryKiB: 8, Lanes: 1}, Clock: k.now})
	for _, name := range []string{"anna", "bert", "eve"} {
		_, err := a.Create(k.t.Context(), name, "operate:north", annasPassword, false)
		k.must(err)
	}
	_, err := a.SetDisabled("eve", true)
	k.must(err)
	k.deps.Accounts = a
	return a
}

// person is somebody's browser: an address, and cookies.
type person struct {
	k       *kit
	address string
	tls     bool
	cookies map[string]*http.Cookie
}

func (k *kit) person(address string) *person {
	return &person{k: k, address: address, cookies: map[string]*http.Cookie{}}
}

func (p *person) do(method, path string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	p.k.t.Helper()
	r := httptest.NewRequestWithContext(p.k.t.Context(), method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr = p.address + ":5000"
	if p.tls {
		r.TLS = &tls.ConnectionState{}
	}
	r.Header.Set("Accept", "text/html")
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://"+r.Host)
	}
	for n := 0; n+1 < len(headers); n += 2 {
		r.Header.Del(headers[n])
		if headers[n+1] != "" {
			r.Header.Set(headers[n], headers[n+1])
		}
	}
	for _, c := range p.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	p.k.Handler().ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(p.cookies, c.Name)
		} else {
			p.cookies[c.Name] = c
		}
	}
	return w
}

func (p *person) signIn(name, password string, more ...string) *httptest.ResponseRecorder {
	p.k.t.Helper()
	form := url.Values{"name": {name}, "password": {password}}
	for n := 0; n+1 < len(more); n += 2 {
		form.Set(more[n], more[n+1])
	}
	return p.do(http.MethodPost, "/signin", form)
}

// want fails the test if an answer is not as it should be, and returns its text.
func want(t *testing.T, what string, w *httptest.ResponseRecorder, status int, location string) string {
	t.Helper()
	if w.Code != status || w.Header().Get("Location") != location {
		t.Errorf("%s: %d to %q, want %d to %q", what, w.Code, w.Header().Get("Location"), status, location)
	}
	return w.Body.String()
}

func TestSignInByPassword(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	accounts := withAccounts(k)
	p := k.person("192.0.2.1")
	if body := want(t, "a page", p.do(http.MethodGet, "/patients?day=2026-11-22", nil), http.StatusUnauthorized, ""); !strings.Contains(body, `name="next" value="/patients?day=2026-11-22"`) || !strings.Contains(body, `id="password"`) {
		t.Errorf("the sign-in page is %s", body)
	}
	// Whether the name, the password or the account is wrong makes no difference.
	var answers []string
	for _, wrong := range [][2]string{{"anna", "wrong"}, {"nobody", annasPassword}, {"eve", annasPassword}, {"anna", ""}} {
		body := want(t, fmt.Sprint(wrong), p.signIn(wrong[0], wrong[1]), http.StatusUnauthorized, "")
		answers = append(answers, strings.Replace(body, `value="`+wrong[0]+`"`, `value="NAME"`, 1))
	}
	if answers = slices.Compact(answers); len(answers) != 1 || len(p.cookies) != 0 {
		t.Errorf("different answers: %q, cookies %v", answers, p.cookies)
	}
	if w := p.do(http.MethodPost, "/signin?name=anna&password="+url.QueryEscape(annasPassword), nil); w.Code != http.StatusUnauthorized {
		t.Errorf("a password in the address: %d", w.Code)
	}
	want(t, "signing in", p.signIn(" Anna ", annasPassword, "next", "/patients?day=2026-11-22"), http.StatusSeeOther, "/patients?day=2026-11-22")
	c := p.cookies[sessionCookie]
	if c == nil || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || len(c.Value) < 40 {
		t.Fatalf("cookie %+v", c)
	}
	if body := want(t, "the account", p.do(http.MethodGet, "/account", nil), http.StatusOK, ""); !strings.Contains(body, "clinic north alone") || !strings.Contains(body, "192.0.2.1") {
		t.Errorf("the account's page is %s", body)
	}
	want(t, "the sign-in page", p.do(http.MethodGet, "/signin?next=/quarantine", nil), http.StatusSeeOther, "/quarantine")

	// Whoever signs in at the same browser ends what was open there.
	want(t, "signing in again", p.signIn("bert", annasPassword), http.StatusSeeOther, "/")
	if _, open := k.sessions.find(c.Value, false); open || p.cookies[sessionCookie].Value == c.Value {
		t.Error("the session before is still open")
	}

	// Over TLS the cookie is bound to the host, and the other one means nothing.
	s := k.person("192.0.2.1")
	s.tls = true
	s.signIn("anna", annasPassword)
	if c := s.cookies[securePrefix+sessionCookie]; c == nil || !c.Secure || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookies over TLS: %+v", s.cookies)
	}
	s.cookies = map[string]*http.Cookie{sessionCookie: {Name: sessionCookie, Value: s.cookies[securePrefix+sessionCookie].Value}}
	want(t, "a cookie that another host may set", s.do(http.MethodGet, "/account", nil), http.StatusUnauthorized, "")

	// Each of these ends the session.
	for what, end := range map[string]func(){
		"idle":     func() { k.move(sessionIdle) },
		"disabled": func() { _, err := accounts.SetDisabled("anna", true); k.must(err) },
		"password": func() {
			_, err := accounts.SetPassword(t.Context(), "anna", annasPassword, false) // the same, but set anew
			k.must(err)
		},
		"removed": func() { k.must(accounts.Remove("anna")) },
		"life": func() {
			for range 4 {
				k.move(sessionIdle - time.Minute)
				p.do(http.MethodGet, "/account", nil)
			}
		},
	} {
		k.must(accounts.Remove("anna"))
		_, err := accounts.Create(t.Context(), "anna", "operate:north", annasPassword, false)
		k.must(err)
		want(t, "signing in", p.signIn("anna", annasPassword), http.StatusSeeOther, "/")
		want(t, what, p.do(http.MethodGet, "/account", nil), http.StatusOK, "")
		end()
		want(t, what+", then", p.do(http.MethodGet, "/account", nil), http.StatusUnauthorized, "")
		if what == "removed" {
			_, err := accounts.Create(t.Context(), "anna", "operate:north", annasPassword, false)
			k.must(err)
			want(t, "an account of the same name", p.do(http.MethodGet, "/account", nil), http.StatusUnauthorized, "")
		}
	}
}

// TestPagesThatAskByThemselves: an open page keeps nobody signed in.
func TestPagesThatAskByThemselves(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	withAccounts(k)
	p := k.person("192.0.2.1")
	p.signIn("anna", annasPassword)
	for range 5 {
		k.move(sessionIdle / 4)
		p.do(http.MethodGet, "/tonight/live", nil, "Sec-Fetch-Mode", "cors")
	}
	want(t, "after four idle hours", p.do(http.MethodGet, "/account", nil, "Sec-Fetch-Mode", "navigate"), http.StatusUnauthorized, "")
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	first := k.sessions.begin(session{account: "anna"})
	other := k.sessions.begin(session{account: "bert"})
	var last string
	for range sessionsEach {
		k.move(time.Second)
		last = k.sessions.begin(session{account: "anna"})
	}
	if _, ok := k.sessions.find(first, false); ok {
		t.Error("the oldest is still there")
	}
	for _, secret := range []string{other, last} {
		if _, ok := k.sessions.find(secret, false); !ok {
			t.Error("one too many ended")
		}
	}
	if all, _ := k.sessions.of(last); len(all) != sessionsEach {
		t.Errorf("%d sessions", len(all))
	}
	for n := range 2 * maxSessions {
		k.sessions.begin(session{account: fmt.Sprint(n)})
	}
	if len(k.sessions.open) != maxSessions {
		t.Errorf("%d sessions of all", len(k.sessions.open))
	}
}

func TestGuessing(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	withAccounts(k)
	known, stranger := k.person("192.0.2.1"), k.person("203.0.113.7")
	known.signIn("anna", annasPassword)
	known.do(http.MethodPost, "/signout", nil)
	for _, name := range []string{"anna", "nobody"} { // whether there is such an account does not show
		for range freeGuesses {
			want(t, "a guess at "+name, stranger.signIn(name, "guess"), http.StatusUnauthorized, "")
		}
		w := stranger.signIn(name, annasPassword)
		if want(t, "one more guess at "+name, w, http.StatusTooManyRequests, ""); w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), "Try again in 2 seconds.") {
			t.Errorf("it says %q: %s", w.Header().Get("Retry-After"), w.Body)
		}
	}
	// Another address gains nothing, but the browser from which anna signed in before is let in, and a token is.
	want(t, "another stranger", k.person("203.0.113.8").signIn("anna", annasPassword), http.StatusTooManyRequests, "")
	want(t, "anna", known.signIn("anna", annasPassword), http.StatusSeeOther, "/")
	want(t, "a token", stranger.do(http.MethodPost, "/signin", url.Values{"token": {testToken}}), http.StatusSeeOther, "/")
	// What one browser is given is worth nothing for another name.
	stolen := k.person("203.0.113.9")
	stolen.cookies[browserCookie] = known.cookies[browserCookie]
	want(t, "her browser for another name", stolen.signIn("nobody", "guess"), http.StatusTooManyRequests, "")
	for range freeGuesses {
		want(t, "a guess at bert", k.person("203.0.113.10").signIn("bert", "guess"), http.StatusUnauthorized, "")
	}
	want(t, "her browser for bert", stolen.signIn("bert", "guess"), http.StatusTooManyRequests, "")
	// Each wrong password doubles the wait, up to the longest; what is refused does not count.
	for wait := firstWait; ; wait *= 2 {
		wait = min(wait, longestWait)
		k.move(wait - time.Second)
		want(t, "too early", stranger.signIn("anna", annasPassword), http.StatusTooManyRequests, "")
		k.move(time.Second)
		want(t, fmt.Sprint("after ", wait), stranger.signIn("anna", "guess"), http.StatusUnauthorized, "")
		if wait == longestWait {
			break
		}
	}
	k.move(longestWait)
	want(t, "the right one, in time", stranger.signIn("anna", annasPassword), http.StatusSeeOther, "/")
	want(t, "and then a wrong one", stranger.signIn("anna", "guess"), http.StatusUnauthorized, "")

	// One address that tries many names is slowed down as well, and others are not.
	sprayer := k.person("203.0.113.50")
	for n := range freeOfAddress {
		want(t, "spraying", sprayer.signIn(fmt.Sprint("name", n), "guess"), http.StatusUnauthorized, "")
	}
	want(t, "spraying on", sprayer.signIn("another", "guess"), http.StatusTooManyRequests, "")
	want(t, "elsewhere", k.person("203.0.113.51").signIn("another", "guess"), http.StatusUnauthorized, "")
	// A day later all is forgotten.
	k.move(guessesLast)
	want(t, "the day after", sprayer.signIn("name0", "guess"), http.StatusUnauthorized, "")
}

// TestGuessesAtOnce: many at the same moment are no more than one after the other.
func TestGuessesAtOnce(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	g := newGuesses(k.now)
	var all sync.WaitGroup
	var mu sync.Mutex
	looked := 0
	for range 50 {
		all.Go(func() {
			if g.begin(g.guessers("anna", "", "", "192.0.2.1")) == 0 {
				mu.Lock()
				looked++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if looked != freeGuesses {
		t.Errorf("%d were looked at", looked)
	}
	for n := range 2 * maxGuessed {
		g.begin([]guesser{{fmt.Sprint("name ", n), freeGuesses}})
	}
	if len(g.known) != maxGuessed {
		t.Errorf("%d are remembered", len(g.known))
	}
}

func TestReturnPath(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	withAccounts(k)
	for asked, want := range map[string]string{
		"/patients": "/patients", "/patients?q=a%20b&x=%2F%2Fevil": "/patients?q=a%20b&x=%2F%2Fevil", "/system#top": "/system", "/account": "/account",
		"": "/", "patients": "/", "//evil.example": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "https://evil.example/": "/", "https:evil.example": "/",
		"/\t/evil.example": "/", "/%0d%0aLocation:x": "/", "/%5cevil.example": "/", "/%2f/evil.example": "/", "javascript:alert(1)": "/", "/signout": "/", "/signin?next=/": "/", "/api/me": "/", "/fhir/metadata": "/",
		"/account/signout": "/", "/a b": "/", "/%zz": "/", " /patients": "/", "/" + strings.Repeat("a", maxReturnPath): "/",
	} {
		p := k.person("192.0.2.1")
		if got := p.signIn("anna", annasPassword, "next", asked).Header().Get("Location"); got != want {
			t.Errorf("%q leads to %q, want %q", asked, got, want)
		}
		if w := p.do(http.MethodGet, "/signin?next="+url.QueryEscape(asked), nil); w.Header().Get("Location") != want {
			t.Errorf("signed in already, %q leads to %q, want %q", asked, w.Header().Get("Location"), want)
		}
	}
}

// TestChangesNeedAnOrigin: a session changes nothing for a page that may be another site's, or that does not say whose it is.
func TestChangesNeedAnOrigin(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config) { c.PublicURL = "http://eyes.example" })
	withAccounts(k)
	p := k.person("192.0.2.1")
	p.signIn("anna", annasPassword)
	for what, headers := range map[string][]string{
		"nothing": {"Origin", ""}, "another host": {"Origin", "http://evil.example"}, "another port": {"Origin", "http://example.com:8080"}, "hidden": {"Origin", "null"},
		"another site": {"Origin", "", "Sec-Fetch-Site", "cross-site"}, "a neighbour": {"Origin", "", "Sec-Fetch-Site", "same-site"},
	} {
		want(t, what, p.do(http.MethodPost, "/account/signout", nil, headers...), http.StatusForbidden, "")
		if what != "nothing" { // programs sign in without an origin, and nobody's session is used for it
			want(t, what+" signing in", k.person("192.0.2.1").do(http.MethodPost, "/signin", url.Values{"name": {"anna"}, "password": {annasPassword}}, headers...), http.StatusForbidden, "")
		}
	}
	want(t, "still signed in", p.do(http.MethodGet, "/account", nil), http.StatusOK, "")
	want(t, "the public address", p.do(http.MethodPost, "/account/signout", nil, "Origin", "http://eyes.example"), http.StatusSeeOther, "/signin")
}

func TestChangingThePassword(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	accounts := withAccounts(k)
	_, err := accounts.SetPassword(t.Context(), "anna", annasPassword, true)
	k.must(err)
	p, elsewhere := k.person("192.0.2.1"), k.person("192.0.2.2")
	elsewhere.signIn("anna", annasPassword)
	want(t, "signing in", p.signIn("anna", annasPassword, "next", "/patients"), http.StatusSeeOther, "/account?next=%2Fpatients")
	// Nothing else is there before the password is changed.
	want(t, "a page", p.do(http.MethodGet, "/quarantine", nil), http.StatusSeeOther, "/account?next=%2Fquarantine")
	if body := want(t, "the API", p.do(http.MethodGet, "/api/quarantine", nil, "Accept", "application/json"), http.StatusForbidden, ""); !strings.Contains(body, "password-change-needed") {
		t.Errorf("it says %s", body)
	}
	if body := want(t, "the account", p.do(http.MethodGet, "/account?next=/patients", nil), http.StatusOK, ""); !strings.Contains(body, "Choose a password of your own") || !strings.Contains(body, `name="next" value="/patients"`) {
		t.Errorf("the page is %s", body)
	}
	change := func(current, chosen, repeat string) *httptest.ResponseRecorder {
		t.Helper()
		return p.do(http.MethodPost, "/account/password", url.Values{"current": {current}, "new": {chosen}, "repeat": {repeat}, "next": {"/patients"}})
	}
	for problem, w := range map[string]*httptest.ResponseRecorder{
		"not your present password": change("wrong", otherPassword, otherPassword), "at least 12 characters": change(annasPassword, "short", "short"),
		"the password that you have": change(annasPassword, annasPassword, annasPassword), "are not the same": change(annasPassword, otherPassword, otherPassword+"x"),
		"the name of the account": change(annasPassword, "i am anna, hello", "i am anna, hello"),
	} {
		if body := want(t, problem, w, http.StatusUnprocessableEntity, ""); !strings.Contains(body, problem) || strings.Contains(body, annasPassword) || strings.Contains(body, otherPassword) {
			t.Errorf("%s: %s", problem, body)
		}
	}
	before := p.cookies[sessionCookie].Value
	want(t, "the change", change(annasPassword, otherPassword, otherPassword), http.StatusSeeOther, "/patients")
	if p.cookies[sessionCookie].Value == before {
		t.Error("the session's secret stays the same")
	}
	want(t, "afterwards", p.do(http.MethodGet, "/patients", nil), http.StatusOK, "")
	want(t, "elsewhere", elsewhere.do(http.MethodGet, "/account", nil), http.StatusUnauthorized, "")
	want(t, "with the old one", elsewhere.signIn("anna", annasPassword), http.StatusUnauthorized, "")
	want(t, "with the new one", elsewhere.signIn("anna", otherPassword), http.StatusSeeOther, "/")
	// Whoever sits down at an open page cannot guess on.
	for range freeGuesses {
		change("guess", annasPassword, annasPassword)
	}
	want(t, "guessing at an open page", change(otherPassword, annasPassword, annasPassword), http.StatusTooManyRequests, "")
	want(t, "signing out everywhere", p.do(http.MethodPost, "/account/signout", nil), http.StatusSeeOther, "/signin")
	want(t, "elsewhere", elsewhere.do(http.MethodGet, "/account", nil), http.StatusUnauthorized, "")
	if !fault.Is(func() error {
		_, err := accounts.SetPassword(context.Background(), "nobody", otherPassword, false)
		return err
	}(), fault.NotFound) {
		t.Error("nobody has a password")
	}
	// With a token there is no password to change.
	want(t, "a token", p.do(http.MethodPost, "/signin", url.Values{"token": {testToken}}), http.StatusSeeOther, "/")
	want(t, "its password", change(otherPassword, annasPassword, annasPassword), http.StatusBadRequest, "")
	want(t, "its page", p.do(http.MethodGet, "/account", nil), http.StatusOK, "")
}

// TestPeopleAreRecorded: who signed in, was refused, changed a password and signed out, and no password.
func TestPeopleAreRecorded(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	accounts := withAccounts(k)
	k.must(k.recordTokens(t.Context()))
	p := k.person("192.0.2.1")
	p.signIn("anna", "wrong password")
	p.signIn("typed my password here", "anna")
	p.signIn("anna", annasPassword)
	p.do(http.MethodPost, "/account/password", url.Values{"current": {annasPassword}, "new": {otherPassword}, "repeat": {otherPassword}})
	p.do(http.MethodPost, "/signout", nil)
	_, err := accounts.SetDisabled("anna", true)
	k.must(err)
	k.must(k.recordTokens(t.Context()))
	k.must(k.recordTokens(t.Context()))
	var got []string
	_, err = audit.Check(t.Context(), k.blob, k.blob.Buckets().Audit, nil, func(e record.Audit) error {
		got = append(got, strings.Join([]string{e.Action, e.Outcome, e.Agent.Via, e.Agent.Name, e.Entity.Kind, e.Entity.Code, e.Entity.Names}, "|"))
		return nil
	})
	k.must(err)
	all := []string{
		"update|success|none||accounts||anna (operate:north), bert (operate:north), eve (operate:north; disabled)",
		"execute|denied|none|anna|request|signin-refused|", "execute|denied|none||request|signin-refused|",
		"login|success|session|anna|session||", "update|success|session|anna|accounts||anna", "login|success|session|anna|session||", "logout|success|session|anna|session||",
		"update|success|none||accounts||anna (operate:north; disabled), bert (operate:north), eve (operate:north; disabled)",
	}
	if !slices.Equal(got, all) {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(all, "\n"))
	}
	for _, secret := range []string{annasPassword, otherPassword, "wrong password", "typed my"} {
		if strings.Contains(k.logs.String(), secret) || strings.Contains(strings.Join(got, " "), secret) {
			t.Errorf("%q is in a log", secret)
		}
	}
}
