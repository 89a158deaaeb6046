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

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	// secretBytes of a token: 160 bits.
	secretBytes = 20
	// maxTokens in a file, and maxFileBytes of one: every request may read it.
	maxTokens    = 1000
	maxFileBytes = 1 << 20

	uploadScope = "upload"
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Entry is one token as its file knows it.
type Entry struct {
	Name      string    `json:"name"`
	Scope     string    `json:"scope"` // upload or upload:<clinic>
	SHA256    string    `json:"sha256"`
	CreatedAt time.Time `json:"created_at"`
}

// Grant is what a token allows: to upload.
type Grant struct {
	Name   string // of the token
	Clinic string // the only one that it may upload for; "": any, which the sender must then name
}

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
		if _, err := e.grant(); err != nil || !namePattern.MatchString(e.Name) || names[e.Name] {
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

// New makes a token and the entry for it. The token is nowhere else.
func New(name, scope string, now time.Time) (secret string, e Entry, err error) {
	if !namePattern.MatchString(name) {
		return "", Entry{}, fault.New(fault.Invalid, "token-name-invalid", "the name of a token should be 1 to 64 letters, digits, dots, - and _, e.g. pacs-north")
	}
	e = Entry{Name: name, Scope: scope, CreatedAt: now.UTC().Truncate(time.Second)}
	if _, err := e.grant(); err != nil {
		return "", Entry{}, err
	}
	raw := make([]byte, secretBytes)
	rand.Read(raw) // never fails: it ends the program rather than return weak bytes
	secret = hex.EncodeToString(raw)
	e.SHA256 = hash(secret)
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

// Find tells what the token allows that a sender shows; false if nobody has it.
func Find(entries []Entry, shown string) (Grant, bool) {
	sum := hash(shown)
	var found Grant
	ok := false
	for _, e := range entries { // all of them, so that the time tells nothing
		if subtle.ConstantTimeCompare([]byte(sum), []byte(strings.ToLower(e.SHA256))) == 1 {
			if grant, err := e.grant(); err == nil {
				found, ok = grant, true
			}
		}
	}
	return found, ok
}

// grant reads the scope.
func (e Entry) grant() (Grant, error) {
	what, clinic, limited := strings.Cut(e.Scope, ":")
	if what != uploadScope || limited && !event.ValidClinic(clinic) {
		return Grant{}, fault.New(fault.Invalid, "token-scope-invalid", "the scope should be upload:CLINIC, or upload for any clinic; a clinic is 1 to 64 letters, digits, - and _")
	}
	return Grant{Name: e.Name, Clinic: clinic}, nil
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
