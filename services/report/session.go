package report

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// sessionCookie holds the id of a session. Where the page speaks TLS its name begins with securePrefix, which browsers take over TLS, for
	// the whole host and from that host alone.
	sessionCookie = "noctua_session"
	securePrefix  = "__Host-"
	// sessionLife covers a night and the morning after it.
	sessionLife = 14 * time.Hour
	// sessionIdle is how long a session bears that nobody does anything. What an open page asks for by itself does not count.
	sessionIdle = 4 * time.Hour
	// maxSessions bounds memory, and sessionsEach what one person takes of it; the oldest makes room.
	maxSessions  = 1000
	sessionsEach = 20
)

// session is somebody who signed in, by a token of which the hash is kept, or by an account. What they may do is looked up each time, so that
// a session ends with its token, and with the account or its password.
type session struct {
	started, seen time.Time
	address       string
	tokenHash     string // "": by an account
	account       string
	password      string // what the file of accounts had for it
}

// owner names whose session it is.
func (s session) owner() string {
	if s.account != "" {
		return "account " + s.account
	}
	return "token " + s.tokenHash
}

func (s session) over(at time.Time) bool {
	return !at.Before(s.started.Add(sessionLife)) || !at.Before(s.seen.Add(sessionIdle))
}

// sessionID is the hash of the secret in the cookie: who reads the memory cannot sign in with it.
type sessionID [sha256.Size]byte

func sessionIDOf(secret string) sessionID { return sha256.Sum256([]byte(secret)) }

// sessions are the people who signed in. They live in memory: a restart signs everybody out.
type sessions struct {
	clock func() time.Time
	mu    sync.Mutex
	open  map[sessionID]session
}

func newSessions(clock func() time.Time) *sessions {
	return &sessions{clock: clock, open: map[sessionID]session{}}
}

// start opens a session for whoever has a token, and returns its secret.
func (s *sessions) start(tokenHash string) string { return s.begin(session{tokenHash: tokenHash}) }

// begin opens a session, and returns its secret.
func (s *sessions) begin(begun session) string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails: it ends the program rather than return weak bytes
	secret := base64.RawURLEncoding.EncodeToString(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	begun.started, begun.seen = now, now
	owned := 0
	for id, open := range s.open {
		if open.over(now) {
			delete(s.open, id)
		} else if open.owner() == begun.owner() {
			owned++
		}
	}
	if owned >= sessionsEach {
		s.dropOldest(func(open session) bool { return open.owner() == begun.owner() })
	}
	if len(s.open) >= maxSessions {
		s.dropOldest(func(session) bool { return true })
	}
	s.open[sessionIDOf(secret)] = begun
	return secret
}

func (s *sessions) dropOldest(among func(session) bool) {
	var oldest sessionID
	found := false
	for id, open := range s.open {
		if among(open) && (!found || open.started.Before(s.open[oldest].started)) {
			oldest, found = id, true
		}
	}
	if found {
		delete(s.open, oldest)
	}
}

// find returns the session of a secret. used tells that a person does something.
func (s *sessions) find(secret string, used bool) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, now := sessionIDOf(secret), s.clock()
	open, ok := s.open[id]
	if !ok || open.over(now) {
		return session{}, false
	}
	if used {
		open.seen = now
		s.open[id] = open
	}
	return open, true
}

// of are the sessions of whose one has the secret, the newest first, each with whether it is that one.
func (s *sessions) of(secret string) (all []session, this int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine, ok := s.open[sessionIDOf(secret)]
	if !ok {
		return nil, -1
	}
	for id, open := range s.open {
		if open.owner() == mine.owner() && !open.over(s.clock()) && id != sessionIDOf(secret) {
			all = append(all, open)
		}
	}
	slices.SortFunc(all, func(a, b session) int { return b.started.Compare(a.started) })
	return append([]session{mine}, all...), 0
}

func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sessionIDOf(secret))
}

// endAll ends all sessions of whose one has the secret.
func (s *sessions) endAll(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine, ok := s.open[sessionIDOf(secret)]
	if !ok {
		return
	}
	for id, open := range s.open {
		if open.owner() == mine.owner() {
			delete(s.open, id)
		}
	}
}

// secure tells whether browsers reach the page by TLS: of this service, or of the proxy that --public-url names.
func (s *Service) secure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(s.cfg.PublicURL, "https://")
}

// cookie is one of Noctua's, with all that browsers offer to keep it where it belongs. life 0: until the browser closes; below: gone.
func (s *Service) cookie(r *http.Request, name, value string, life time.Duration) *http.Cookie {
	if s.secure(r) {
		name = securePrefix + name
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: s.secure(r), SameSite: http.SameSiteStrictMode, MaxAge: int(life.Seconds())}
}

// cookieOf is the value of a cookie that cookie made; "" if there is none.
func (s *Service) cookieOf(r *http.Request, name string) string {
	if s.secure(r) {
		name = securePrefix + name
	}
	c, err := r.Cookie(name)
	if err != nil {
		return "" // the only error is that there is none
	}
	return c.Value
}

// byHand tells whether a person does something by a request, as against a page that asks again by itself. Browsers say so over TLS and on the same
// machine; elsewhere every request counts.
func byHand(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return r.Method != http.MethodGet || mode == "" || mode == "navigate"
}
