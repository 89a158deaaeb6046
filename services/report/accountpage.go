package report

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/account"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/web"
)

// accounts are the people who sign in with a name and a password.
type accounts interface {
	// ByName returns an account that is not disabled.
	ByName(name string) (account.Entry, bool, error)
	// Check tells whose name and password it is, in a time that does not depend on the answer.
	Check(ctx context.Context, name, password string) (account.Entry, bool, error)
	SetPassword(ctx context.Context, name, password string, mustChange bool) (account.Entry, error)
	// Names are all of them, with what each may do, for the audit log.
	Names() ([]string, error)
}

var _ accounts = (*account.Accounts)(nil)

// principalOf is who opened a session, if they still may; mustChange: once they have another password.
func (s *Service) principalOf(open session) (p access.Principal, mustChange, ok bool, err error) {
	if open.account == "" {
		p, ok, err = s.deps.Authority.ByHash(open.tokenHash)
		p.Via = access.ViaSession
		return p, false, ok, err
	}
	if s.deps.Accounts == nil {
		return p, false, false, nil
	}
	e, ok, err := s.deps.Accounts.ByName(open.account)
	if err != nil || !ok || e.Password != open.password {
		return p, false, false, err
	}
	return e.Principal(), e.MustChange, true, nil
}

// accountPage shows who asks, what they may do, and where they are signed in.
func (s *Service) accountPage(w http.ResponseWriter, r *http.Request) error {
	view := s.accountView(r)
	view.Changed = r.URL.Query().Has("changed")
	return s.show(w, http.StatusOK, web.Account, view)
}

func (s *Service) accountView(r *http.Request) web.AccountView {
	who := askerOf(r.Context())
	view := web.AccountView{Shell: s.shell(r, "Your account", "account"), MustChange: who.mustChange, Next: localPath(r.URL.Query().Get("next")),
		MinPassword: account.MinPassword, MaxPassword: account.MaxPassword}
	for _, g := range who.Grants {
		view.Rights = append(view.Rights, rightOf(g))
	}
	if who.Via == access.ViaSession {
		open, this := s.sessions.of(s.cookieOf(r, sessionCookie))
		for n, one := range open {
			view.HasPassword = one.account != ""
			view.Sessions = append(view.Sessions, web.AccountSession{Started: one.started, Seen: one.seen, Ends: one.started.Add(sessionLife), Address: one.address, This: n == this})
		}
	}
	return view
}

// rightOf says in plain words what a grant allows.
func rightOf(g access.Grant) web.Right {
	right := web.Right{Scope: g.String(), Where: "all clinics"}
	if g.Clinic != "" {
		right.Where = "clinic " + g.Clinic + " alone"
	}
	switch {
	case g.Resource != access.AllResources:
		right.Text = "Read " + g.Resource + " resources by FHIR"
	case g.Scope == access.Read:
		right.Text = "See patients, photographs and reports"
	case g.Scope == access.Operate:
		right.Text = "Decide about files in quarantine, link patients and send results again; see reports, and send pictures"
	case g.Scope == access.Upload:
		right.Text = "Send pictures"
	case g.Scope == access.Audit:
		right.Text, right.Where = "Read the audit log: who saw what, and when", "the whole site"
	default:
		right.Text = string(g.Scope)
	}
	return right
}

// changePassword answers POST /account/password: another password for who asks, which ends their other sessions.
func (s *Service) changePassword(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
	}
	secret := s.cookieOf(r, sessionCookie)
	open, ok := s.sessions.find(secret, true)
	if askerOf(r.Context()).Via != access.ViaSession || !ok || open.account == "" {
		return fault.New(fault.Invalid, "account-none", "you signed in with a token, which has no password; noctua token revokes it and makes others")
	}
	view := s.accountView(r)
	view.Next = localPath(r.PostForm.Get("next"))
	refuse := func(status int, field, problem string) error {
		view.WrongField, view.Problem = field, problem
		return s.show(w, status, web.Account, view)
	}
	// Somebody else may sit there: the present password is asked for, and guessing at it costs time.
	guessers := []guesser{{"session " + open.owner(), freeGuesses}}
	if wait := s.guesses.begin(guessers); wait > 0 {
		return refuse(http.StatusTooManyRequests, "current", "Too many wrong passwords. Try again in "+waitInWords(int(wait.Seconds())+1)+".")
	}
	current, chosen := r.PostForm.Get("current"), r.PostForm.Get("new")
	_, right, err := s.deps.Accounts.Check(r.Context(), open.account, current)
	if err != nil {
		s.guesses.undo(guessers)
		return err
	}
	if !right {
		s.denied(r, askerOf(r.Context()), r.Pattern, "password-wrong")
		return refuse(http.StatusUnprocessableEntity, "current", "That is not your present password.")
	}
	s.guesses.right(guessers)
	switch err := account.CheckPassword(open.account, chosen); {
	case err != nil:
		sentence := fault.SentenceOf(err)
		return refuse(http.StatusUnprocessableEntity, "new", strings.ToUpper(sentence[:1])+sentence[1:]+".")
	case chosen == current:
		return refuse(http.StatusUnprocessableEntity, "new", "That is the password that you have. Choose another one.")
	case chosen != r.PostForm.Get("repeat"):
		return refuse(http.StatusUnprocessableEntity, "repeat", "The two are not the same. Type the new password again.")
	}
	if err := s.auditedAs(r, record.AuditUpdate, record.AuditEntity{Kind: record.EntityAccounts, Names: open.account}); err != nil {
		return err
	}
	entry, err := s.deps.Accounts.SetPassword(r.Context(), open.account, chosen, false)
	if err != nil {
		return err
	}
	// All sessions of the account are over by this; who asked goes on with a new one.
	s.sessions.endAll(secret)
	http.SetCookie(w, s.cookie(r, browserCookie, s.guesses.newMark(entry.Name, entry.Password), browserLife))
	next := "/account?changed"
	if view.MustChange {
		next = view.Next
	}
	return s.letIn(w, r, entry.Principal(), session{account: entry.Name, password: entry.Password}, next)
}

// signOutEverywhere answers POST /account/signout: all sessions of who asks end.
func (s *Service) signOutEverywhere(w http.ResponseWriter, r *http.Request) error {
	s.sessions.endAll(s.cookieOf(r, sessionCookie))
	return s.signedOut(w, r)
}

// passwordFirst sends whoever has to change their password to where they do; true if that was all.
func (s *Service) passwordFirst(w http.ResponseWriter, r *http.Request, who asker) bool {
	if !who.mustChange {
		return false
	}
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, "/account?next="+url.QueryEscape(localPath(r.URL.RequestURI())), http.StatusSeeOther)
		return true
	}
	s.fail(w, r, &httpError{http.StatusForbidden, "password-change-needed", "choose a password of your own first, on the page /account"})
	return true
}
