// Package token keeps the tokens by which programs and people use Noctua. A token has a name, for people and logs, scopes
// (access.ParseAll), and a time at which it stops working, if any.
//
// The file of the tokens holds their SHA-256 alone, so that nobody who reads it can use one; a token itself is shown once, when it is
// made. It has 160 random bits, which is why a plain hash is enough. Authority tells who shows a token: of the file, the operator's own,
// or a JWT of the site's.
//
// It imports pkg/access and pkg/fault.
package token
