package report

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
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

// session is a person who signed in, by a token of which the hash is kept: what the token may do is looked up each time, so that a
// session ends with its token.
type session struct {
	ends      time.Time
	tokenHash string
}

// sessions are the people who signed in. They live in memory: a restart signs everybody out.
type sessions struct {
	clock func() time.Time
	mu    sync.Mutex
	// open are the sessions by hash of their id: who reads the memory cannot sign in with it.
	open map[[sha256.Size]byte]session
	// failed are the moments of the last failed sign-ins.
	failed []time.Time
}

func newSessions(clock func() time.Time) *sessions {
	return &sessions{clock: clock, open: map[[sha256.Size]byte]session{}}
}

// start opens a session for whoever has a token, and returns its opaque id.
func (s *sessions) start(tokenHash string) string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails: it ends the program rather than return weak bytes
	id := base64.RawURLEncoding.EncodeToString(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	var oldest [sha256.Size]byte
	for key, open := range s.open {
		if !open.ends.After(now) {
			delete(s.open, key)
		} else if first, ok := s.open[oldest]; !ok || open.ends.Before(first.ends) {
			oldest = key
		}
	}
	if len(s.open) >= maxSessions {
		delete(s.open, oldest)
	}
	s.open[sha256.Sum256([]byte(id))] = session{ends: now.Add(sessionLife), tokenHash: tokenHash}
	return id
}

// find returns the hash of the token that a session was opened with.
func (s *sessions) find(id string) (tokenHash string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open, ok := s.open[sha256.Sum256([]byte(id))]
	if !ok || !open.ends.After(s.clock()) {
		return "", false
	}
	return open.tokenHash, true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(id)))
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
