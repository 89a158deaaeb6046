// Package token keeps the tokens by which programs may use Noctua for one thing alone. A token has a name, for people and logs, and a
// scope: `upload:<clinic>` may send pictures for that clinic, `upload` for any clinic, and neither may do anything else.
//
// The file of the tokens holds their SHA-256 alone, so that nobody who reads it can use one; a token itself is shown once, when it is
// made. It has 160 random bits, which is why a plain hash is enough.
//
// It imports pkg/event, for the names of clinics, and pkg/fault.
package token
