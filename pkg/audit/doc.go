// Package audit keeps the audit log: an entry (record.Audit) for each time that somebody read data of patients.
//
// The log is one chain of numbered documents in a bucket of its own, whichever process writes. An entry names the SHA-256 of the one
// before, and is written only where none has its number, so that entries cannot be changed, removed from the middle or put in
// without it showing (Check). Only the last ones can be taken off unseen: a store that keeps versions or locks objects closes that.
//
// An entry is written before what it tells of is shown: what cannot be recorded is not shown.
//
// It imports pkg/blob, pkg/fault and pkg/record.
package audit
