package report

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	sessionCookie = "noctua_session"
	// sessionLife covers a night and the morning after it.
	sessionLife = 14 * time.Hour
	// maxSessions bounds memory; the oldest makes room.
	maxSessions = 1000
	// signInBurst failed sign-ins a minute are answered; more are refused unseen. The token is long enough by itself.
	signInBurst = 20
)

// sessions are the people who signed in. They live in memory: a restart signs everybody out.
type sessions struct {
	clock func() time.Time
	mu    sync.Mutex
	// ends holds when each session ends, by hash of its id: who reads the memory cannot sign in with it.
	ends map[[sha256.Size]byte]time.Time
	// failed are the moments of the last failed sign-ins.
	failed []time.Time
}

func newSessions(clock func() time.Time) *sessions {
	return &sessions{clock: clock, ends: map[[sha256.Size]byte]time.Time{}}
}

// start opens a session and returns its opaque id.
func (s *sessions) start() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails: it ends the program rather than return weak bytes
	id := base64.RawURLEncoding.EncodeToString(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	var oldest [sha256.Size]byte
	for key, end := range s.ends {
		if !end.After(now) {
			delete(s.ends, key)
		} else if first, ok := s.ends[oldest]; !ok || end.Before(first) {
			oldest = key
		}
	}
	if len(s.ends) >= maxSessions {
		delete(s.ends, oldest)
	}
	s.ends[sha256.Sum256([]byte(id))] = now.Add(sessionLife)
	return id
}

func (s *sessions) valid(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[sha256.Sum256([]byte(id))]
	return ok && end.After(s.clock())
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, sha256.Sum256([]byte(id)))
}

// mayTry tells whether a sign-in may be tried now.
func (s *sessions) mayTry() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.clock().Add(-time.Minute)
	for len(s.failed) > 0 && s.failed[0].Before(from) {
		s.failed = s.failed[1:]
	}
	return len(s.failed) < signInBurst
}

func (s *sessions) noteFailure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, s.clock())
}

// sameSecret compares in constant time, whatever the lengths.
func sameSecret(given, secret string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// hasBearer tells whether a request shows a token, right or wrong: then no session counts.
func hasBearer(r *http.Request) bool {
	scheme, _, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return ok && strings.EqualFold(scheme, "Bearer")
}

// signedIn tells whether a request shows the token or a session.
func (s *Service) signedIn(r *http.Request) bool {
	if hasBearer(r) {
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		return sameSecret(strings.TrimSpace(token), s.cfg.Token)
	}
	cookie, err := r.Cookie(sessionCookie)
	return err == nil && s.sessions.valid(cookie.Value)
}
