package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/oidc"
)

const audience = "https://noctua.example.org"

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// issuer is an OpenID Connect server with two keys.
type issuer struct {
	t     *testing.T
	url   string
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	away  atomic.Bool // it does not answer
	asked atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t}
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if i.ec, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	server := &oidctest.Server{PublicKeys: []oidctest.PublicKey{
		{PublicKey: i.rsa.Public(), KeyID: "one", Algorithm: gooidc.RS384}, {PublicKey: i.ec.Public(), KeyID: "two", Algorithm: gooidc.ES384},
	}}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		if i.away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	server.SetIssuer(web.URL)
	i.url = web.URL
	return i
}

func (i *issuer) verifier(change ...func(*oidc.Config)) *oidc.Verifier {
	i.t.Helper()
	cfg := oidc.Config{Issuer: i.url, Audience: audience, Clock: func() time.Time { return now }}
	for _, c := range change {
		c(&cfg)
	}
	v, err := oidc.New(cfg)
	if err != nil {
		i.t.Fatal(err)
	}
	return v
}

// claims are good ones with some changed; nil takes one away.
func (i *issuer) claims(change map[string]any) string {
	i.t.Helper()
	all := map[string]any{"iss": i.url, "aud": audience, "sub": "subject", "client_id": "ehr-backend", "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(),
		"scope": "system/*.rs", "noctua_clinics": []string{"north"}}
	maps.Copy(all, change)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	raw, err := json.Marshal(all)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(raw)
}

func (i *issuer) token(change map[string]any) string {
	return oidctest.SignIDToken(i.rsa, "one", gooidc.RS384, i.claims(change))
}

func TestWhoAndWhat(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier()
	for name, test := range map[string]struct {
		raw            string
		who            string
		north, south   bool
		patients       bool
		operateAtNorth bool
	}{
		"SMART, RS384":              {i.token(nil), "ehr-backend", true, false, true, false},
		"ES384":                     {oidctest.SignIDToken(i.ec, "two", gooidc.ES384, i.claims(nil)), "ehr-backend", true, false, true, false},
		"one of several audiences":  {i.token(map[string]any{"aud": []string{"else", audience}}), "ehr-backend", true, false, true, false},
		"azp before client_id":      {i.token(map[string]any{"azp": "portal", "client_id": nil}), "portal", true, false, true, false},
		"a subject alone":           {i.token(map[string]any{"client_id": nil}), "subject", true, false, true, false},
		"all clinics, one resource": {i.token(map[string]any{"noctua_clinics": "*", "scope": "system/Observation.rs"}), "ehr-backend", false, false, false, false},
		"a list of scopes":          {i.token(map[string]any{"scope": nil, "scp": []string{"openid", "operate"}}), "ehr-backend", true, false, true, true},
		"no clinic":                 {i.token(map[string]any{"noctua_clinics": nil}), "ehr-backend", false, false, false, false},
		"clinics that are none":     {i.token(map[string]any{"noctua_clinics": 7}), "ehr-backend", false, false, false, false},
		"no scope":                  {i.token(map[string]any{"scope": nil}), "ehr-backend", false, false, false, false},
	} {
		p, err := v.Verify(t.Context(), test.raw)
		if err != nil || p.Name != test.who || p.Via != access.ViaJWT || p.May(access.Read, "", "north") != test.north || p.May(access.Read, "", "south") != test.south ||
			p.May(access.Read, "Patient", "north") != test.patients || p.May(access.Operate, "", "north") != test.operateAtNorth {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if p, err := i.verifier(func(c *oidc.Config) { c.ClinicsClaim = "sites" }).Verify(t.Context(), i.token(map[string]any{"sites": "south"})); err != nil || !p.May(access.Read, "", "south") {
		t.Errorf("another claim for clinics: %+v, %v", p, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := i.token(nil)
	parts := strings.Split(good, ".")
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	symmetric := encode(`{"alg":"HS256","kid":"one"}`) + "." + encode(i.claims(nil))
	mac := hmac.New(sha256.New, i.rsa.N.Bytes())
	mac.Write([]byte(symmetric))
	for name, raw := range map[string]string{
		"too old":            i.token(map[string]any{"exp": now.Add(-time.Second).Unix()}),
		"of no end":          i.token(map[string]any{"exp": nil}),
		"not yet":            i.token(map[string]any{"nbf": now.Add(time.Hour).Unix()}),
		"another audience":   i.token(map[string]any{"aud": "https://other.example.org"}),
		"no audience":        i.token(map[string]any{"aud": nil}),
		"another issuer":     i.token(map[string]any{"iss": "https://evil.example.org"}),
		"of nobody":          i.token(map[string]any{"sub": nil, "client_id": nil}),
		"another's key":      oidctest.SignIDToken(other, "one", gooidc.RS384, i.claims(nil)),
		"an unknown key":     oidctest.SignIDToken(other, "three", gooidc.RS384, i.claims(nil)),
		"claims changed":     parts[0] + "." + encode(i.claims(map[string]any{"noctua_clinics": "*"})) + "." + parts[2],
		"no signature":       encode(`{"alg":"none"}`) + "." + encode(i.claims(nil)) + ".",
		"signed by a secret": symmetric + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)),
		"no JWT":             "a.b.c", "nothing": "", "long": strings.Repeat("a.", 1000),
	} {
		if p, err := v.Verify(t.Context(), raw); fault.CodeOf(err) != "jwt-refused" || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Errorf("a good one among them: %v", err)
	}
}

// TestIssuerAway: where the issuer does not answer nobody is refused for good, and it is not asked all the time; what is known goes on.
func TestIssuerAway(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.away.Store(true)
	at := now
	v := i.verifier(func(c *oidc.Config) { c.Clock = func() time.Time { return at } })
	for range 5 {
		if _, err := v.Verify(t.Context(), i.token(nil)); fault.CodeOf(err) != "oidc-unavailable" || !fault.Is(err, fault.Transient) {
			t.Fatalf("%v", err)
		}
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("an issuer that is away was asked %d times", n)
	}
	i.away.Store(false)
	at = at.Add(time.Minute)
	if _, err := v.Verify(t.Context(), i.token(nil)); err != nil {
		t.Fatal(err)
	}
	if e, err := v.Endpoints(t.Context()); err != nil || e.Issuer != i.url || !strings.HasPrefix(e.JWKS, i.url) || !strings.HasPrefix(e.Token, i.url) {
		t.Errorf("endpoints %+v, %v", e, err)
	}
	i.away.Store(true)
	if _, err := v.Verify(t.Context(), i.token(nil)); err != nil {
		t.Errorf("with a key that is known: %v", err)
	}
	var signer crypto.Signer = i.rsa
	if _, err := v.Verify(t.Context(), oidctest.SignIDToken(signer, "new", gooidc.RS384, i.claims(nil))); fault.CodeOf(err) != "oidc-unavailable" {
		t.Errorf("a key that has to be asked for: %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]oidc.Config{
		"no issuer": {Audience: audience}, "no address": {Issuer: "login", Audience: audience}, "no audience": {Issuer: "https://login.example.org"}, "another scheme": {Issuer: "ftp://login.example.org", Audience: audience},
	} {
		if _, err := oidc.New(cfg); fault.CodeOf(err) != "oidc-config" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
