package report

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/token"
)

func (s *Service) signInPage(w http.ResponseWriter, r *http.Request) error {
	if _, known, err := s.recognise(r); known || err != nil {
		if err != nil {
			return err
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	s.showSignIn(w, http.StatusOK, "")
	return nil
}

func (s *Service) signIn(w http.ResponseWriter, r *http.Request) error {
	if !s.sessions.mayTry() {
		s.showSignIn(w, http.StatusTooManyRequests, "Too many wrong tokens. Wait a minute and try again.")
		return nil
	}
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
	}
	// From the body alone: a token in the address would end up in logs.
	sum := token.Hash(strings.TrimSpace(r.PostForm.Get("token")))
	person, known, err := s.deps.Authority.ByHash(sum)
	if err != nil {
		return err
	}
	if !known || person.Clinics(access.Read, access.AllResources).None() {
		s.sessions.noteFailure()
		s.deps.Logger.Warn("a sign-in was refused", slog.String("from", r.RemoteAddr))
		s.denied(r, askerOf(r.Context()), "POST /signin", "signin-refused")
		problem := "That is not the token. Copy it whole, without spaces."
		if known {
			problem = "That token may not look at reports. Ask who runs Noctua for one that may."
		}
		s.showSignIn(w, http.StatusUnauthorized, problem)
		return nil
	}
	id := s.sessions.start(sum)
	if err := s.audit.Append(r.Context(), record.Audit{Action: record.AuditLogin, Outcome: record.AuditSuccess, Agent: s.sessionAgent(r, person, id),
		Entity: record.AuditEntity{Kind: record.EntitySession}}); err != nil {
		s.sessions.end(id)
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, Secure: r.TLS != nil,
		SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds())})
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (s *Service) signOut(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		// The session ends, recorded or not.
		s.sessions.end(cookie.Value)
	}
	if err := s.auditedAs(r, record.AuditLogout, record.AuditEntity{Kind: record.EntitySession}); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}
