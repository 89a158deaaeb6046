// Package access says who may do what: scopes, each for one clinic or for all of them, and the principal who holds them.
//
// Scopes are Noctua's own (report.read, operate, upload, audit.read) or those of SMART App Launch 2 for systems and users
// (system/DiagnosticReport.rs), which allow reading and nothing else. Whoever holds no scope for a clinic does not learn that it exists.
//
// It is pure, and imports pkg/event and pkg/fault.
package access
