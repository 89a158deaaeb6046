package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Cost is what one hash costs (RFC 9106, section 3.1).
type Cost struct {
	Passes    uint32 // over the memory (t)
	MemoryKiB uint32 // (m)
	Lanes     uint8  // computed side by side (p)
}

// DefaultCost is the second recommended option of RFC 9106, section 4 (64 MiB, 3 passes), in one lane and not in four: on two cores a
// sign-in then takes a third of a second of one of them, and leaves the other to the night's pictures.
func DefaultCost() Cost { return Cost{Passes: 3, MemoryKiB: 64 << 10, Lanes: 1} }

// Bounds of what a file may ask for, so that a damaged one cannot take the memory.
const (
	maxPasses    = 16
	maxMemoryKiB = 256 << 10
	maxLanes     = 8

	saltBytes = 16
	keyBytes  = 32
)

// Bounds of a password, in characters. Length is what counts (NIST SP 800-63B, 3.1.1.2); nothing is asked of its letters. The upper bound
// keeps hashing cheap.
const (
	MinPassword = 12
	MaxPassword = 128
	// minDistinct characters: aaaaaaaaaaaa is no password.
	minDistinct = 5
	// minForbiddenName: shorter names are part of too many words.
	minForbiddenName = 4
)

// CodePasswordWeak is of passwords that anybody would guess.
const CodePasswordWeak = "password-weak"

// CheckPassword refuses what is too short, too long, or what anybody would guess. Fault: Invalid password-weak.
func CheckPassword(name, password string) error {
	weak := func(format string, args ...any) error {
		return fault.New(fault.Invalid, CodePasswordWeak, format, args...)
	}
	length := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return weak("the password is not text")
	case length < MinPassword:
		return weak("the password should have at least %d characters", MinPassword)
	case length > MaxPassword:
		return weak("the password should have at most %d characters", MaxPassword)
	}
	distinct := map[rune]bool{}
	for _, r := range strings.ToLower(password) {
		distinct[r] = true
	}
	lower := strings.ToLower(password)
	switch {
	case len(distinct) < minDistinct:
		return weak("the password repeats the same few characters; choose another one")
	case len(name) >= minForbiddenName && strings.Contains(lower, strings.ToLower(name)):
		return weak("the password has the name of the account in it; choose another one")
	}
	for _, guessed := range []string{"noctua", "password", "passwort", "12345678", "qwertyui", "qwertzui", "abcdefgh", "11111111"} {
		if strings.Contains(lower, guessed) {
			return weak("the password has %q in it, which is guessed first; choose another one", guessed)
		}
	}
	return nil
}

// hash is a password as the file has it, in the PHC string format: $argon2id$v=19$m=65536,t=3,p=1$salt$key.
func hash(password string, c Cost) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails: it ends the program rather than return weak bytes
	key := argon2.IDKey(normal(password), salt, c.Passes, c.MemoryKiB, c.Lanes, keyBytes)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.MemoryKiB, c.Passes, c.Lanes, encode(salt), encode(key))
}

// normal makes the same password of the same characters, however a keyboard composes them (NIST SP 800-63B: NFKC).
func normal(password string) []byte { return []byte(norm.NFKC.String(password)) }

// hashed is a password taken apart.
type hashed struct {
	cost      Cost
	salt, key []byte
}

// parse reads what hash writes; false if it is anything else, or asks for more than the bounds.
func parse(encoded string) (h hashed, ok bool) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.cost.MemoryKiB, &h.cost.Passes, &h.cost.Lanes); err != nil {
		return h, false
	}
	if parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.cost.MemoryKiB, h.cost.Passes, h.cost.Lanes) {
		return h, false
	}
	var saltErr, keyErr error
	h.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, keyErr = base64.RawStdEncoding.DecodeString(parts[5])
	c := h.cost
	return h, saltErr == nil && keyErr == nil && len(h.salt) == saltBytes && len(h.key) == keyBytes &&
		c.Passes >= 1 && c.Passes <= maxPasses && c.MemoryKiB >= 8 && c.MemoryKiB <= maxMemoryKiB && c.Lanes >= 1 && c.Lanes <= maxLanes
}

// matches tells whether a password is the one that was hashed, in a time that does not depend on it.
func (h hashed) matches(password string) bool {
	key := argon2.IDKey(normal(password), h.salt, h.cost.Passes, h.cost.MemoryKiB, h.cost.Lanes, keyBytes)
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

const (
	// hashesAtOnce bounds processor and memory: one, so that whoever guesses has one core and 64 MiB at most.
	hashesAtOnce = 1
	// hashesWaiting is how many more wait for their turn, which comes within a few seconds; others are told to come again.
	hashesWaiting = 8
)

// turns bounds how many hashes are computed at a time.
type turns struct {
	door, work chan struct{}
}

func newTurns() turns {
	return turns{door: make(chan struct{}, hashesAtOnce+hashesWaiting), work: make(chan struct{}, hashesAtOnce)}
}

// take waits for a turn and returns what gives it back. Fault: Transient sign-in-busy where too many wait.
func (t turns) take(ctx context.Context) (done func(), err error) {
	select {
	case t.door <- struct{}{}:
	default:
		return nil, fault.New(fault.Transient, "sign-in-busy", "too many people sign in at this moment; try again in a few seconds")
	}
	select {
	case t.work <- struct{}{}:
		return func() { <-t.work; <-t.door }, nil
	case <-ctx.Done():
		<-t.door
		return nil, ctx.Err()
	}
}

// Generate makes a password of 20 letters that can be read out over the telephone, e.g. "kuro-mita-beno-sapi-dule". Ten syllables of 16
// consonants and 5 vowels are 63 bits.
func Generate() string {
	const consonants, vowels = "bdfghjklmnprstvz", "aeiou"
	var out strings.Builder
	for n := range 10 {
		if n > 0 && n%2 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(consonants[below(len(consonants))])
		out.WriteByte(vowels[below(len(vowels))])
	}
	return out.String()
}

// below is a random number in [0, n), each as likely as the others; n ≤ 256.
func below(n int) int {
	var b [1]byte
	for {
		rand.Read(b[:])
		if v := int(b[0]); v < 256/n*n {
			return v % n
		}
	}
}
