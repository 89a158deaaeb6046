// Package audit keeps the audit log: an entry (record.Audit) for each time that somebody read data of patients, did what changes
// something, or was denied it.
//
// The log is one chain of numbered entries in a bucket of its own, whichever process writes. An entry names the SHA-256 of the one
// before. Entries that are to be written at the same moment share an object, one a line; its key is the number of the first one, and it
// is written only where none has that number. So entries cannot be changed, removed from the middle or put in without it showing
// (Check). What is changed at the end shows to whoever has noted where the log ended (Head, Known).
//
// An entry is written before what it tells of is shown or done: what cannot be recorded is not.
//
// It imports pkg/blob, pkg/fault and pkg/record.
package audit
