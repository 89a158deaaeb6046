package token

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	// secretBytes of a token: 160 bits.
	secretBytes = 20
	// maxTokens in a file, and maxFileBytes of one: every request may read it.
	maxTokens    = 1000
	maxFileBytes = 1 << 20
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Entry is one token as its file knows it.
type Entry struct {
	Name      string    `json:"name"`
	Scope     string    `json:"scope"` // as access.ParseAll reads it
	SHA256    string    `json:"sha256"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
}

// Expired tells whether the token's time is over.
func (e Entry) Expired(at time.Time) bool { return !e.ExpiresAt.IsZero() && !at.Before(e.ExpiresAt) }

// file is the document.
type file struct {
	Tokens []Entry `json:"tokens"`
}

// Read reads a file of tokens. One that is missing is a fault of kind NotFound, one that is damaged of kind Invalid.
func Read(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.NotFound, "tokens-missing", err, "the file of tokens is not there; make a token with noctua token create")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Transient, "tokens-unreadable", err, "the file of tokens cannot be read")
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fault.Wrap(fault.Transient, "tokens-unreadable", err, "the file of tokens cannot be read")
	}
	return decode(raw)
}

func decode(raw []byte) ([]Entry, error) {
	damaged := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "tokens-damaged", "the file of tokens "+format+"; restore it from a backup, or make new tokens", args...)
	}
	if len(raw) > maxFileBytes {
		return nil, damaged("is larger than %d bytes", maxFileBytes)
	}
	var doc file
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil || decoder.More() {
		return nil, damaged("is not the JSON that noctua token writes")
	}
	if len(doc.Tokens) > maxTokens {
		return nil, damaged("holds more than %d tokens", maxTokens)
	}
	names := map[string]bool{}
	for n, e := range doc.Tokens {
		if _, err := access.ParseAll(e.Scope); err != nil || !namePattern.MatchString(e.Name) || names[e.Name] {
			return nil, damaged("has no usable name or scope for token %d", n+1)
		}
		if sum, err := hex.DecodeString(e.SHA256); err != nil || len(sum) != sha256.Size {
			return nil, damaged("has no SHA-256 for token %d", n+1)
		}
		names[e.Name] = true
	}
	return doc.Tokens, nil
}

// Encode is the document that Read reads.
func Encode(entries []Entry) any { return file{Tokens: append([]Entry{}, entries...)} }

// New makes a token and the entry for it. The token is nowhere else. It works for life; 0: for ever.
//
// Faults: Invalid token-name-invalid, token-scope-invalid, token-life-invalid.
func New(name, scope string, life time.Duration, now time.Time) (secret string, e Entry, err error) {
	if !namePattern.MatchString(name) {
		return "", Entry{}, fault.New(fault.Invalid, "token-name-invalid", "the name of a token should be 1 to 64 letters, digits, dots, - and _, e.g. pacs-north")
	}
	grants, err := access.ParseAll(scope)
	if err != nil {
		return "", Entry{}, err
	}
	var words []string
	for _, g := range grants {
		words = append(words, g.String())
	}
	e = Entry{Name: name, Scope: strings.Join(words, " "), CreatedAt: now.UTC().Truncate(time.Second)}
	switch {
	case life < 0 || life > 0 && life < time.Second:
		return "", Entry{}, fault.New(fault.Invalid, "token-life-invalid", "a token should work for at least a second, e.g. 2160h for 90 days; 0 is for ever")
	case life > 0:
		e.ExpiresAt = e.CreatedAt.Add(life)
	}
	raw := make([]byte, secretBytes)
	rand.Read(raw) // never fails: it ends the program rather than return weak bytes
	secret = hex.EncodeToString(raw)
	e.SHA256 = Hash(secret)
	return secret, e, nil
}

// Add appends an entry whose name is new.
func Add(entries []Entry, e Entry) ([]Entry, error) {
	if slices.ContainsFunc(entries, func(o Entry) bool { return o.Name == e.Name }) {
		return nil, fault.New(fault.Conflict, "token-exists", "there is a token %s already; choose another name, or revoke it first", e.Name)
	}
	if len(entries) >= maxTokens {
		return nil, fault.New(fault.Conflict, "tokens-full", "there are %d tokens already, which is the most; revoke one first", maxTokens)
	}
	return append(slices.Clone(entries), e), nil
}

// Remove takes the entry with that name away.
func Remove(entries []Entry, name string) ([]Entry, error) {
	left := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Name == name })
	if len(left) == len(entries) {
		return nil, fault.New(fault.NotFound, "token-unknown", "there is no token of that name; noctua token list shows them")
	}
	return left, nil
}

// Find tells whose token a sender shows; false if nobody has it, or its time is over.
func Find(entries []Entry, shown string, at time.Time) (Entry, bool) {
	return FindHash(entries, Hash(shown), at)
}

// FindHash is Find for a token of which the hash is known.
func FindHash(entries []Entry, sum string, at time.Time) (found Entry, ok bool) {
	for _, e := range entries { // all of them, so that the time tells nothing
		if subtle.ConstantTimeCompare([]byte(sum), []byte(strings.ToLower(e.SHA256))) == 1 && !e.Expired(at) {
			found, ok = e, true
		}
	}
	return found, ok
}

// Principal is who has the token, and what they may do.
func (e Entry) Principal() access.Principal {
	grants, err := access.ParseAll(e.Scope)
	if err != nil {
		grants = nil // an entry that was not read by Read allows nothing
	}
	return access.Principal{Name: e.Name, Via: access.ViaToken, Grants: grants}
}

// Hash is what a file holds of a token: its SHA-256 in hexadecimal digits.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
