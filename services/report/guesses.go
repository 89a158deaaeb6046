package report

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
	"time"
)

const (
	// freeGuesses wrong passwords for a name, or from a browser that its owner uses, cost no time, since people mistype; freeOfAddress of an
	// address, since a clinic may have one for all.
	freeGuesses   = 5
	freeOfAddress = 20
	// Beyond them each wrong password doubles the wait before the next is looked at: from firstWait to longestWait. An account bears less than
	// 100 guesses a day then, from wherever they come.
	firstWait   = 2 * time.Second
	longestWait = 15 * time.Minute
	// guessesLast is how long after the last wrong password it is forgotten that there were any.
	guessesLast = 24 * time.Hour
	// maxGuessed bounds memory; who guessed longest ago is forgotten. To make room costs a guesser as many slow hashes.
	maxGuessed = 10_000

	// browserCookie marks a browser from which somebody signed in with a password.
	browserCookie = "noctua_browser"
	browserLife   = 90 * 24 * time.Hour
)

// guesses make whoever tries passwords wait longer each time, by name and by address. Anybody can make a name wait: a browser from which its
// owner signed in before is counted by itself, so that strangers keep nobody out (device cookies, OWASP). All of it is forgotten at a restart.
type guesses struct {
	clock func() time.Time
	key   [sha256.Size]byte // of the marks of browsers

	mu    sync.Mutex
	known map[string]guessed
}

type guessed struct {
	wrong int
	last  time.Time
}

func newGuesses(clock func() time.Time) *guesses {
	g := &guesses{clock: clock, known: map[string]guessed{}}
	rand.Read(g.key[:]) // never fails: it ends the program rather than return weak bytes
	return g
}

// guesser is what wrong passwords are counted for.
type guesser struct {
	key  string
	free int
}

// guessers are what an attempt counts for: mark is what the browser shows, password what the file of accounts has for the name ("": nothing).
func (g *guesses) guessers(name, password, mark, address string) []guesser {
	if nonce, _, ok := strings.Cut(mark, "."); ok && hmac.Equal([]byte(mark), []byte(g.mark(name, password, nonce))) && password != "" {
		return []guesser{{"browser " + nonce, freeGuesses}}
	}
	return []guesser{{"name " + name, freeGuesses}, {"address " + address, freeOfAddress}}
}

// newMark is what a browser is given from which the owner of a name signed in. It is worth nothing for other names, or once the password is
// another.
func (g *guesses) newMark(name, password string) string {
	raw := make([]byte, 16)
	rand.Read(raw)
	return g.mark(name, password, base64.RawURLEncoding.EncodeToString(raw))
}

func (g *guesses) mark(name, password, nonce string) string {
	mac := hmac.New(sha256.New, g.key[:])
	for _, part := range []string{name, password, nonce} {
		sum := sha256.Sum256([]byte(part)) // of one length, so that the parts cannot run into each other
		mac.Write(sum[:])
	}
	return nonce + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// waitAfter is how long after the last of wrong passwords the next may come.
func waitAfter(wrong, free int) time.Duration {
	if wrong < free {
		return 0
	}
	wait := firstWait
	for n := free; n < wrong && wait < longestWait; n++ {
		wait *= 2
	}
	return min(wait, longestWait)
}

// begin counts an attempt as a wrong one before it is looked at, so that many at once gain nothing; or says how long it has to wait, and then it does not
// count.
func (g *guesses) begin(all []guesser) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	for _, who := range all {
		k := g.known[who.key]
		if now.Sub(k.last) >= guessesLast {
			k = guessed{}
		}
		wait = max(wait, k.last.Add(waitAfter(k.wrong, who.free)).Sub(now))
	}
	if wait > 0 {
		return wait
	}
	for _, who := range all {
		k, there := g.known[who.key]
		if now.Sub(k.last) >= guessesLast {
			k = guessed{}
		}
		if !there && len(g.known) >= maxGuessed {
			g.forgetOne()
		}
		g.known[who.key] = guessed{wrong: k.wrong + 1, last: now}
	}
	return 0
}

func (g *guesses) forgetOne() {
	oldest := ""
	for key, k := range g.known {
		if oldest == "" || k.last.Before(g.known[oldest].last) {
			oldest = key
		}
	}
	delete(g.known, oldest)
}

// right forgets the wrong passwords before the right one.
func (g *guesses) right(all []guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, who := range all {
		delete(g.known, who.key)
	}
}

// undo takes back an attempt that could not be looked at.
func (g *guesses) undo(all []guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, who := range all {
		if k, ok := g.known[who.key]; ok {
			g.known[who.key] = guessed{wrong: max(0, k.wrong-1), last: k.last}
		}
	}
}
