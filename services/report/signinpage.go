package report

import (
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/account"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/token"
	"github.com/noctua-screening/noctua/services/report/web"
)

// maxReturnPath bounds the address of a page that somebody returns to.
const maxReturnPath = 2000

// localPath is where somebody goes after signing in: an address of Noctua's own pages, and / instead of anything else, so that no link to
// the sign-in page leads elsewhere.
func localPath(asked string) string {
	u, err := url.Parse(asked)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" || len(asked) > maxReturnPath || !strings.HasPrefix(asked, "/") || strings.HasPrefix(asked, "//") {
		return "/"
	}
	// Browsers take a backslash for a slash, and leave out control characters.
	if strings.ContainsFunc(asked, func(r rune) bool { return r <= ' ' || r == 0x7f }) || strings.ContainsAny(u.Path, "\\\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	for _, other := range []string{"/signin", "/signout", "/api/", "/fhir/", "/static/", "/account/"} {
		if strings.HasPrefix(u.Path, other) {
			return "/"
		}
	}
	return u.RequestURI()
}

// showSignIn shows the sign-in page, which leads to next.
func (s *Service) showSignIn(w http.ResponseWriter, status int, view web.SignInView) {
	view.Shell = web.Shell{Title: "Sign in", Software: s.cfg.Version}
	view.Accounts = s.deps.Accounts != nil
	view.Next = localPath(view.Next)
	if err := s.show(w, status, web.SignIn, view); err != nil {
		s.deps.Logger.Error("the sign-in page failed", slog.Any("error", err))
		http.Error(w, "sign in", status)
	}
}

func (s *Service) signInPage(w http.ResponseWriter, r *http.Request) error {
	next := r.URL.Query().Get("next")
	if _, known, err := s.recognise(r); known || err != nil {
		if err != nil {
			return err
		}
		http.Redirect(w, r, localPath(next), http.StatusSeeOther)
		return nil
	}
	s.showSignIn(w, http.StatusOK, web.SignInView{Next: next})
	return nil
}

// signIn takes a token, or the name and password of an account. From the body alone: what is in the address ends up in logs.
func (s *Service) signIn(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
	}
	if s.deps.Accounts == nil || r.PostForm.Get("token") != "" {
		return s.signInByToken(w, r)
	}
	return s.signInByPassword(w, r)
}

func (s *Service) signInByToken(w http.ResponseWriter, r *http.Request) error {
	view := web.SignInView{Next: r.PostForm.Get("next"), ByToken: true}
	guessers := []guesser{{"address " + addressOf(r), freeOfAddress}}
	if wait := s.guesses.begin(guessers); wait > 0 {
		s.tooManyGuesses(w, r, view, "", "tokens", wait)
		return nil
	}
	sum := token.Hash(strings.TrimSpace(r.PostForm.Get("token")))
	person, known, err := s.deps.Authority.ByHash(sum)
	if known || err != nil {
		s.guesses.undo(guessers)
	}
	if err != nil {
		return err
	}
	if !known || person.Clinics(access.Read, access.AllResources).None() {
		s.refusedSignIn(r, "", "signin-refused")
		view.Problem = "That is not the token. Copy it whole, without spaces."
		if known {
			view.Problem = "That token may not look at reports. Ask who runs Noctua for one that may."
		}
		s.showSignIn(w, http.StatusUnauthorized, view)
		return nil
	}
	return s.letIn(w, r, person, session{tokenHash: sum}, localPath(view.Next))
}

// tooManyGuesses says how long to wait before another guess is looked at.
func (s *Service) tooManyGuesses(w http.ResponseWriter, r *http.Request, view web.SignInView, name, what string, wait time.Duration) {
	s.refusedSignIn(r, name, "signin-locked")
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	view.Problem = "Too many wrong " + what + ". Try again in " + waitInWords(seconds) + "."
	s.showSignIn(w, http.StatusTooManyRequests, view)
}

// refusedSignIn records a refusal; name is of an account that there is, or "": what else people type may be a password.
func (s *Service) refusedSignIn(r *http.Request, name, code string) {
	s.deps.Logger.Warn("a sign-in was refused", slog.String("from", r.RemoteAddr), slog.String("code", code))
	who := asker{Principal: access.Principal{Via: access.ViaNone}, agent: record.AuditAgent{Via: string(access.ViaNone), Name: name, Address: addressOf(r)}}
	s.denied(r, who, "POST /signin", code)
}

func (s *Service) signInByPassword(w http.ResponseWriter, r *http.Request) error {
	name := account.NameOf(r.PostForm.Get("name"))
	view := web.SignInView{Next: r.PostForm.Get("next"), Name: name}
	found, there, err := s.deps.Accounts.ByName(name)
	if err != nil {
		return err
	}
	if !there {
		found = account.Entry{}
	}
	guessers := s.guesses.guessers(name, found.Password, s.cookieOf(r, browserCookie), addressOf(r))
	if wait := s.guesses.begin(guessers); wait > 0 {
		s.tooManyGuesses(w, r, view, found.Name, "passwords", wait)
		return nil
	}
	entry, right, err := s.deps.Accounts.Check(r.Context(), name, r.PostForm.Get("password"))
	if err != nil {
		s.guesses.undo(guessers)
		if fault.Is(err, fault.Transient) {
			view.Problem = "Too many people sign in at this moment. Try again in a few seconds."
			w.Header().Set("Retry-After", "3")
			s.showSignIn(w, http.StatusServiceUnavailable, view)
			return nil
		}
		return err
	}
	if !right {
		s.refusedSignIn(r, found.Name, "signin-refused")
		// The same whether there is such an account or not, and whether it is disabled.
		view.Problem = "That is not the name and password of an account that may sign in."
		s.showSignIn(w, http.StatusUnauthorized, view)
		return nil
	}
	s.guesses.right(guessers)
	http.SetCookie(w, s.cookie(r, browserCookie, s.guesses.newMark(name, entry.Password), browserLife))
	next := localPath(view.Next)
	if entry.MustChange {
		next = "/account?next=" + url.QueryEscape(next)
	}
	return s.letIn(w, r, entry.Principal(), session{account: entry.Name, password: entry.Password}, next)
}

// waitInWords is a time to wait, for people.
func waitInWords(seconds int) string {
	switch {
	case seconds == 1:
		return "a second"
	case seconds < 60:
		return fmt.Sprintf("%d seconds", seconds)
	case seconds <= 90:
		return "a minute"
	}
	return fmt.Sprintf("%d minutes", (seconds+59)/60)
}

// letIn begins a session of a person, and sends them on.
func (s *Service) letIn(w http.ResponseWriter, r *http.Request, person access.Principal, begun session, next string) error {
	// Whoever sat there before is signed out, and a secret that somebody else may know is not used again.
	s.sessions.end(s.cookieOf(r, sessionCookie))
	begun.address = addressOf(r)
	secret := s.sessions.begin(begun)
	if err := s.audit.Append(r.Context(), record.Audit{Action: record.AuditLogin, Outcome: record.AuditSuccess, Agent: s.sessionAgent(r, person, secret),
		Entity: record.AuditEntity{Kind: record.EntitySession}}); err != nil {
		s.sessions.end(secret)
		return err
	}
	http.SetCookie(w, s.cookie(r, sessionCookie, secret, sessionLife))
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (s *Service) signOut(w http.ResponseWriter, r *http.Request) error {
	// The session ends, recorded or not.
	s.sessions.end(s.cookieOf(r, sessionCookie))
	return s.signedOut(w, r)
}

func (s *Service) signedOut(w http.ResponseWriter, r *http.Request) error {
	http.SetCookie(w, s.cookie(r, sessionCookie, "", -time.Second))
	if err := s.auditedAs(r, record.AuditLogout, record.AuditEntity{Kind: record.EntitySession}); err != nil {
		return err
	}
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}
