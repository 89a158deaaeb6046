package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/oidc"
	"github.com/noctua-screening/noctua/pkg/token"
	"github.com/noctua-screening/noctua/services/report"
)

// minTokenLength of the operator's token, which may do everything.
const minTokenLength = 16

// oidcFlags name the site's OpenID Connect server, whose tokens programs may use.
type oidcFlags struct {
	OIDCIssuer       string `name:"oidc-issuer" help:"OpenID Connect server whose JWTs are taken (SMART Backend Services), e.g. https://login.example.org/realms/clinic." env:"NOCTUA_OIDC_ISSUER" placeholder:"URL"`
	OIDCAudience     string `name:"oidc-audience" help:"Audience that its JWTs for Noctua name." env:"NOCTUA_OIDC_AUDIENCE" placeholder:"URL"`
	OIDCClinicsClaim string `name:"oidc-clinics-claim" help:"Claim that lists the clinics that a JWT is for; * is all." default:"noctua_clinics" env:"NOCTUA_OIDC_CLINICS_CLAIM"`
	OIDCCA           string `name:"oidc-ca" help:"File with the authorities (PEM) that signed the server's certificate, if the machine does not know them." env:"NOCTUA_OIDC_CA" placeholder:"FILE"`
}

// verifier checks JWTs; nil if there is no OpenID Connect server.
func (f oidcFlags) verifier() (*oidc.Verifier, error) {
	if f.OIDCIssuer == "" {
		if f.OIDCAudience != "" || f.OIDCCA != "" {
			return nil, usageError{errors.New("--oidc-audience and --oidc-ca have no effect without --oidc-issuer")}
		}
		return nil, nil // no server is no error
	}
	cfg := oidc.Config{Issuer: f.OIDCIssuer, Audience: f.OIDCAudience, ClinicsClaim: f.OIDCClinicsClaim, Clock: time.Now}
	if f.OIDCCA != "" {
		trusted, err := trusting(f.OIDCCA)
		if err != nil {
			return nil, err
		}
		cfg.Transport = transport(trusted)
	}
	v, err := oidc.New(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	return v, nil
}

// newAuthority tells who has a token: the operator's, one of a file ("": there is none), or a JWT.
func newAuthority(operator string, file *token.File, jwts *oidc.Verifier) *token.Authority {
	a := &token.Authority{Operator: operator, File: file, Clock: time.Now}
	if jwts != nil {
		a.JWTs = jwts
	}
	return a
}

func checkOperatorToken(secret string) error {
	if len(secret) < minTokenLength {
		return fault.New(fault.Invalid, "config-token", "the report service needs a token of at least %d characters for its operator; make one with `openssl rand -hex 32`", minTokenLength)
	}
	return nil
}

// smartOf asks the OpenID Connect server for what clients are told of it. A server that does not answer now is no reason not to start.
func smartOf(ctx context.Context, logger *slog.Logger, jwts *oidc.Verifier) report.SMART {
	if jwts == nil {
		return report.SMART{}
	}
	e, err := jwts.Endpoints(ctx)
	if err != nil {
		logger.Warn("the OpenID Connect server does not answer; its tokens are checked when it does, and /fhir/.well-known/smart-configuration is empty until the next start", "error", err)
		return report.SMART{}
	}
	return report.SMART{Issuer: e.Issuer, TokenEndpoint: e.Token, JWKS: e.JWKS}
}
