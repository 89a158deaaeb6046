// Package oidc recognises the JWTs of a site's OpenID Connect server, as programs get them by SMART Backend Services (OAuth 2.0 client
// credentials): signature by the issuer's published keys, issuer, audience, and time.
//
// What a JWT allows is in its scopes and its clinics (access.FromClaims). It imports pkg/access, pkg/fault and go-oidc.
package oidc
