package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"golang.org/x/time/rate"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/token"
)

// authority tells who has a token, and what they may do; false if nobody has it.
type authority interface {
	Who(ctx context.Context, shown string) (access.Principal, bool, error)
	// ByHash is Who for a token of which the hash is known, by which sessions go on.
	ByHash(sum string) (access.Principal, bool, error)
	// Names are those who have tokens of their own, sorted, with what each may do.
	Names() ([]string, error)
}

var _ authority = (*token.Authority)(nil)

// sessionDigits of the hash of a session's secret tell sessions apart in the audit log.
const sessionDigits = 16

// asker is who asks, for one request.
type asker struct {
	access.Principal
	agent record.AuditAgent
	// clinics are those for which they may do what the request asks for. Whatever else there is does not exist for them.
	clinics access.Clinics
	// mustChange: they have to choose another password before anything else.
	mustChange bool
	// account that they signed in with, or "".
	account string
}

type askerKey struct{}

// askerOf is who asks. Outside a request that was let in it is nobody, who may see nothing.
func askerOf(ctx context.Context) asker {
	a, _ := ctx.Value(askerKey{}).(asker)
	return a
}

// clinicsOf are the clinics of which a request may see something, as the index takes them.
func clinicsOf(ctx context.Context) []string { return askerOf(ctx).clinics.Names() }

// hasBearer tells whether a request shows a token, right or wrong: then no session counts.
func hasBearer(r *http.Request) bool {
	scheme, _, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return ok && strings.EqualFold(scheme, "Bearer")
}

// addressOf is the address that a request comes from.
func addressOf(r *http.Request) string {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // as a server other than net/http's gives it
	}
	return address
}

// recognise tells who asks: by the token that the request shows, or else by its session. false: nobody who is known.
func (s *Service) recognise(r *http.Request) (asker, bool, error) {
	nobody := asker{Principal: access.Principal{Via: access.ViaNone}, agent: record.AuditAgent{Via: string(access.ViaNone), Address: addressOf(r)}}
	if hasBearer(r) {
		_, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		p, ok, err := s.deps.Authority.Who(r.Context(), strings.TrimSpace(shown))
		if !ok || err != nil {
			return nobody, false, err
		}
		return asker{Principal: p, agent: record.AuditAgent{Via: string(p.Via), Name: p.Name, Address: addressOf(r)}}, true, nil
	}
	secret := s.cookieOf(r, sessionCookie)
	open, ok := s.sessions.find(secret, byHand(r))
	if !ok {
		return nobody, false, nil
	}
	p, mustChange, ok, err := s.principalOf(open)
	if !ok || err != nil {
		return nobody, false, err
	}
	return asker{Principal: p, agent: s.sessionAgent(r, p, secret), mustChange: mustChange, account: open.account}, true, nil
}

// sessionAgent is a person who signed in, as the audit log knows them.
func (s *Service) sessionAgent(r *http.Request, p access.Principal, secret string) record.AuditAgent {
	digest := sha256.Sum256([]byte(secret))
	return record.AuditAgent{Via: string(access.ViaSession), Name: p.Name, Session: hex.EncodeToString(digest[:])[:sessionDigits], Address: addressOf(r)}
}

// admit lets a request in, or answers it: unknown callers, those who may not, and those who ask too much.
func (s *Service) admit(w http.ResponseWriter, req *http.Request, r route) (*http.Request, func()) {
	nothing := func() {}
	who, known, err := s.recognise(req)
	// Before anything is answered, so that guessing at tokens is limited, too.
	leave, limited := s.limits.enter(who, s.deps.Clock())
	if limited != nil {
		s.fail(w, req, limited)
		return nil, nothing
	}
	switch {
	case err != nil:
		leave()
		s.fail(w, req, err)
		return nil, nothing
	case !known && !r.open():
		leave()
		s.denied(req, who, r.pattern, "token-missing")
		s.refuse(w, req)
		return nil, nothing
	}
	if who.Via == access.ViaSession && unsourced(req) && !r.open() {
		leave()
		s.denied(req, who, r.pattern, "origin-missing")
		s.fail(w, req, &httpError{http.StatusForbidden, "origin-missing", "your browser does not say which page this comes from; use a newer one"})
		return nil, nothing
	}
	if r.scope != "" && r.scope != anyone {
		if s.passwordFirst(w, req, who) {
			leave()
			return nil, nothing
		}
		if who.clinics = who.Clinics(r.scope, r.resource); who.clinics.None() {
			leave()
			s.denied(req, who, r.pattern, "scope-missing")
			s.fail(w, req, &httpError{http.StatusForbidden, "scope-missing", "this needs the scope " + string(r.scope) + ", which you do not have; ask who runs Noctua"})
			return nil, nothing
		}
	}
	return req.WithContext(context.WithValue(req.Context(), askerKey{}, who)), leave
}

// unsourced tells whether a request changes something and does not say where it comes from. Every browser since 2020 says so, and another
// site's is refused before; programs, which do not, show a token and no cookie.
func unsourced(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == ""
}

// everyClinic refuses what is about the site as a whole to those who may not see all of it.
func (s *Service) everyClinic(r *http.Request, what string) error {
	if askerOf(r.Context()).clinics.All() {
		return nil
	}
	return s.forbidden(r, "clinic-forbidden", what+" is for those who may do it for all clinics")
}

// ofClinic refuses what is about another clinic.
func (s *Service) ofClinic(r *http.Request, clinic string) error {
	if askerOf(r.Context()).clinics.Has(clinic) {
		return nil
	}
	return s.forbidden(r, "clinic-forbidden", "you may not do this for that clinic")
}

func (s *Service) forbidden(r *http.Request, code, text string) error {
	s.denied(r, askerOf(r.Context()), r.Pattern, code)
	return &httpError{http.StatusForbidden, code, text}
}

// audited records that who asks is about to see what entity names. What cannot be recorded must not be shown.
func (s *Service) audited(r *http.Request, entity record.AuditEntity) error {
	return s.auditedAs(r, record.AuditRead, entity)
}

// auditedAs records that who asks is about to see or do something. What cannot be recorded must be neither shown nor done.
func (s *Service) auditedAs(r *http.Request, action string, entity record.AuditEntity) error {
	return s.audit.Append(r.Context(), record.Audit{Action: action, Outcome: record.AuditSuccess, Agent: askerOf(r.Context()).agent, Entity: entity})
}

const (
	// denialsPerMinute are recorded by themselves, after a burst of as many; of the others the log has the number. Anybody may cause one.
	denialsPerMinute = 60
	// maxRoute bounds a pattern in the audit log.
	maxRoute = 200
)

// denied records that somebody was refused. The refusal stands whether it can be recorded or not.
func (s *Service) denied(r *http.Request, who asker, route, code string) {
	s.denials.mu.Lock()
	if !s.denials.limit.AllowN(s.deps.Clock(), 1) {
		s.denials.omitted++
		s.denials.mu.Unlock()
		return
	}
	omitted := s.denials.omitted
	s.denials.omitted = 0
	s.denials.mu.Unlock()
	err := s.audit.Append(r.Context(), record.Audit{Action: record.AuditExecute, Outcome: record.AuditDenied, Agent: who.agent,
		Entity: record.AuditEntity{Kind: record.EntityRequest, Route: route[:min(len(route), maxRoute)], Code: code, Omitted: omitted}})
	if err != nil && !fault.Interrupted(err) && !errors.Is(err, context.Canceled) {
		s.deps.Logger.Warn("a request that was denied could not be recorded", slog.String("route", route), slog.Any("error", err))
	}
}

func newDenials() *denials {
	return &denials{limit: rate.NewLimiter(rate.Limit(float64(denialsPerMinute)/60), denialsPerMinute)}
}

// apiMe answers GET /api/me: who asks, and what they may do.
func (s *Service) apiMe(w http.ResponseWriter, r *http.Request) error {
	who := askerOf(r.Context())
	out := struct {
		Name   string   `json:"name"`
		Via    string   `json:"via"`
		Scopes []string `json:"scopes"`
	}{who.Name, string(who.Via), []string{}}
	for _, g := range who.Grants {
		out.Scopes = append(out.Scopes, g.String())
	}
	s.writeJSON(w, http.StatusOK, "application/json", out)
	return nil
}
