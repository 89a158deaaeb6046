// Package account keeps the accounts of people who use Noctua's pages: a name, a password as argon2id leaves it, what the account may do
// (access.ParseAll), and whether it is disabled.
//
// The file of the accounts holds no password, and may be changed by several processes at once: a lock file beside it serialises them,
// and it is replaced whole or not at all. What is read from it is read again when it changes, so that an account that is disabled is
// out at once. Guessing costs a slow hash; how many of those are computed at a time is bounded, so that guessing exhausts neither
// processor nor memory. Who may guess how often is for the caller to say.
//
// It imports pkg/access and pkg/fault.
package account
