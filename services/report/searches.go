package report

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"
)

const (
	// searchLife is how long a search may be come back to: as long as whoever made it may be signed in.
	searchLife = sessionLife
	// maxSearches bounds memory (some 3 MB), and maxSearchesEach what one caller takes of it; the oldest makes room.
	maxSearches, maxSearchesEach = 10_000, 200
	// maxSearchRunes is more than the longest name that DICOM allows.
	maxSearchRunes = 200
	// searchBytes of randomness are in a handle: nobody guesses one.
	searchBytes = 16
)

// searches keep what people search for, so that addresses hold no name: an address has a handle, which is worth something to whoever made the
// search and nobody else. They live in memory, like sessions: after a restart, or at another process, a handle is unknown and everybody is shown.
type searches struct {
	clock func() time.Time
	mu    sync.Mutex
	of    map[string]*keptSearch
}

type keptSearch struct {
	text, owner string
	ends        time.Time
}

func newSearches(clock func() time.Time) *searches {
	return &searches{clock: clock, of: map[string]*keptSearch{}}
}

// keep returns the handle of a search. The same search of the same owner has the same handle.
func (s *searches) keep(owner, text string) (handle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	var oldest, oldestOwn string
	own := 0
	earlier := func(a, b string) bool { return b == "" || s.of[a].ends.Before(s.of[b].ends) }
	for handle, kept := range s.of {
		switch {
		case !kept.ends.After(now):
			delete(s.of, handle)
			continue
		case kept.owner == owner && kept.text == text:
			kept.ends = now.Add(searchLife)
			return handle
		case kept.owner == owner:
			own++
			if earlier(handle, oldestOwn) {
				oldestOwn = handle
			}
		}
		if earlier(handle, oldest) {
			oldest = handle
		}
	}
	switch {
	case own >= maxSearchesEach:
		delete(s.of, oldestOwn)
	case len(s.of) >= maxSearches:
		delete(s.of, oldest)
	}
	raw := make([]byte, searchBytes)
	rand.Read(raw) // never fails
	handle = base64.RawURLEncoding.EncodeToString(raw)
	s.of[handle] = &keptSearch{text: text, owner: owner, ends: now.Add(searchLife)}
	return handle
}

// find returns what was searched for; false if the handle is unknown, is over, or is another's.
func (s *searches) find(owner, handle string) (text string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.of[handle]
	if kept == nil || kept.owner != owner || !kept.ends.After(s.clock()) {
		return "", false
	}
	return kept.text, true
}
