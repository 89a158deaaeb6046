package token

import (
	"context"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// OperatorName is the name of whoever has the operator's token.
const OperatorName = "operator"

// verifier checks JWTs. A fault of kind Invalid says that one is no good, another that it cannot be told now.
type verifier interface {
	Verify(ctx context.Context, raw string) (access.Principal, error)
}

// Authority tells who has a token. It may be used by many goroutines at once.
type Authority struct {
	// Operator is the token that may do everything; "": there is none.
	Operator string
	// File has the tokens that may do something alone; nil: there are none.
	File *File
	// JWTs are the tokens of the site's OpenID Connect server; nil: there is none.
	JWTs verifier
	// Clock tells whether a token's time is over.
	Clock func() time.Time
}

// Who tells who shows a token, and what they may do; false if nobody has it. A fault means that it cannot be told now.
func (a *Authority) Who(ctx context.Context, shown string) (access.Principal, bool, error) {
	p, ok, err := a.ByHash(Hash(shown))
	if ok || err != nil || a.JWTs == nil || !looksLikeJWT(shown) {
		return p, ok, err
	}
	p, err = a.JWTs.Verify(ctx, shown)
	switch {
	case err == nil:
		return p, true, nil
	case fault.Is(err, fault.Invalid):
		return access.Principal{}, false, nil
	}
	return access.Principal{}, false, err
}

// ByHash is Who for a token of which the hash is known, other than a JWT.
func (a *Authority) ByHash(sum string) (access.Principal, bool, error) {
	if a.Operator != "" && subtle.ConstantTimeCompare([]byte(sum), []byte(Hash(a.Operator))) == 1 {
		return access.Everything(OperatorName, access.ViaToken), true, nil
	}
	if a.File == nil {
		return access.Principal{}, false, nil
	}
	entries, err := a.File.Entries()
	if err != nil {
		return access.Principal{}, false, err
	}
	entry, ok := FindHash(entries, sum, a.Clock())
	if !ok {
		return access.Principal{}, false, nil
	}
	return entry.Principal(), true, nil
}

// Names are the tokens of the file, sorted, each with its scopes in brackets.
func (a *Authority) Names() ([]string, error) {
	if a.File == nil {
		return nil, nil
	}
	entries, err := a.File.Entries()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name+" ("+e.Scope+")")
	}
	slices.Sort(names)
	return names, nil
}

// looksLikeJWT tells whether a text has the three parts of a signed JWT, none of which Noctua's own tokens have.
func looksLikeJWT(shown string) bool { return strings.Count(shown, ".") == 2 }
