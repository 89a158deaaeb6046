package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	// askTimeout bounds one request to the issuer.
	askTimeout = 10 * time.Second
	// retryAfter is how long an issuer that did not answer is left alone.
	retryAfter = 5 * time.Second
	maxName    = 200
)

// DefaultClinicsClaim is the claim that lists the clinics that a JWT is for.
const DefaultClinicsClaim = "noctua_clinics"

// Config of a verifier.
type Config struct {
	// Issuer is the address of the OpenID Connect server, as its JWTs name it; /.well-known/openid-configuration lies below it.
	Issuer string
	// Audience that JWTs for Noctua name.
	Audience string
	// ClinicsClaim lists the clinics that a JWT is for: a text or a list of texts, "*" for all. Default DefaultClinicsClaim.
	ClinicsClaim string
	// Transport to the issuer; nil: http.DefaultTransport.
	Transport http.RoundTripper
	Clock     func() time.Time
}

// Validate says what is wrong with the configuration and what to do.
func (c Config) Validate() error {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fault.New(fault.Invalid, "oidc-config", "the address of the OpenID Connect server should look like https://login.example.org/realms/clinic")
	}
	if c.Audience == "" {
		return fault.New(fault.Invalid, "oidc-config", "an OpenID Connect server needs the audience that its tokens for Noctua name, e.g. https://noctua.example.org")
	}
	return nil
}

// Verifier checks JWTs. It may be used by many goroutines at once. The issuer is asked when a JWT first comes, and again when one is
// signed by a key that is not known.
type Verifier struct {
	cfg    Config
	client *http.Client
	failed atomic.Int64 // requests to the issuer that had no answer

	mu       sync.Mutex
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	triedAt  time.Time
	tryErr   error
}

// New makes a verifier. Nobody is asked yet.
//
// Fault: Invalid oidc-config.
func New(cfg Config) (*Verifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.ClinicsClaim == "" {
		cfg.ClinicsClaim = DefaultClinicsClaim
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	v := &Verifier{cfg: cfg}
	v.client = &http.Client{Transport: counting{cfg.Transport, &v.failed}, Timeout: askTimeout}
	return v, nil
}

// counting counts the requests that had no good answer.
type counting struct {
	http.RoundTripper
	failed *atomic.Int64
}

// RoundTrip asks.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		c.failed.Add(1)
	}
	return answer, err
}

func unavailable(err error) error {
	return fault.Wrap(fault.Transient, "oidc-unavailable", err, "tokens of the OpenID Connect server cannot be checked now, because it does not answer; try again in a few seconds")
}

// discover asks the issuer for its configuration, once.
func (v *Verifier) discover(ctx context.Context) (*oidc.Provider, *oidc.IDTokenVerifier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.verifier != nil {
		return v.provider, v.verifier, nil
	}
	if v.tryErr != nil && v.cfg.Clock().Sub(v.triedAt) < retryAfter {
		return nil, nil, v.tryErr
	}
	// Keys are asked for by this context's client for as long as the provider lives, which is longer than a request.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), v.client), v.cfg.Issuer)
	v.triedAt = v.cfg.Clock()
	if err != nil {
		v.tryErr = unavailable(err)
		return nil, nil, v.tryErr
	}
	v.provider, v.tryErr = provider, nil
	v.verifier = provider.Verifier(&oidc.Config{
		ClientID: v.cfg.Audience, Now: v.cfg.Clock,
		// SMART asks for RS384 and ES384; what is symmetric or unsigned is never taken, whatever an issuer says.
		SupportedSigningAlgs: []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA},
	})
	return v.provider, v.verifier, nil
}

// Verify checks a JWT and tells whose it is, and what it allows, which may be nothing.
//
// Faults: Invalid jwt-refused; Transient oidc-unavailable where the issuer has to be asked and does not answer.
func (v *Verifier) Verify(ctx context.Context, raw string) (access.Principal, error) {
	_, verifier, err := v.discover(ctx)
	if err != nil {
		return access.Principal{}, err
	}
	before := v.failed.Load()
	checked, err := verifier.Verify(ctx, raw)
	if err != nil {
		if v.failed.Load() != before {
			return access.Principal{}, unavailable(err)
		}
		return access.Principal{}, fault.Wrap(fault.Invalid, "jwt-refused", err, "the token of the OpenID Connect server is not good here, or its time is over")
	}
	var claims map[string]json.RawMessage
	if err := checked.Claims(&claims); err != nil {
		return access.Principal{}, fault.Wrap(fault.Invalid, "jwt-refused", err, "the token of the OpenID Connect server has no readable claims")
	}
	name := checked.Subject
	for _, claim := range []string{"azp", "client_id"} {
		if given := texts(claims[claim]); len(given) == 1 && given[0] != "" {
			name = given[0]
		}
	}
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	if name == "" {
		return access.Principal{}, fault.New(fault.Invalid, "jwt-refused", "the token of the OpenID Connect server does not say whose it is")
	}
	var scopes []string
	for _, claim := range []string{"scope", "scp"} {
		for _, given := range texts(claims[claim]) {
			scopes = append(scopes, strings.Fields(given)...)
		}
	}
	return access.Principal{Name: name, Via: access.ViaJWT, Grants: access.FromClaims(scopes, texts(claims[v.cfg.ClinicsClaim]))}, nil
}

// texts reads a claim that is a text or a list of texts. What is neither is as if it were not there.
func texts(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var several []string
	if json.Unmarshal(raw, &several) == nil {
		return several
	}
	return nil
}

// Endpoints are where programs get their tokens and their keys.
type Endpoints struct {
	Issuer, Token, JWKS string
}

// Endpoints asks the issuer, once.
//
// Fault: Transient oidc-unavailable.
func (v *Verifier) Endpoints(ctx context.Context) (Endpoints, error) {
	provider, _, err := v.discover(ctx)
	if err != nil {
		return Endpoints{}, err
	}
	var keys struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := provider.Claims(&keys); err != nil {
		return Endpoints{}, fmt.Errorf("reading the configuration of the OpenID Connect server: %w", err)
	}
	return Endpoints{Issuer: v.cfg.Issuer, Token: provider.Endpoint().TokenURL, JWKS: keys.JWKS}, nil
}
