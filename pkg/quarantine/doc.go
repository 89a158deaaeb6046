// Package quarantine knows the rules of what people may do with files in quarantine: release them, with a correction of the
// header, with a clinic, or as they are, or discard them.
//
// What happened to a file is a chain of documents beside its bytes: the reason (record.Quarantine), then a numbered decision
// (record.Decision) and, for a release, what became of it (record.Release), and so on. Each names the SHA-256 of the one before,
// none is ever changed, and the state of the file follows from them alone. They are the audit trail as well.
//
// It imports pkg/blob, pkg/dicom, pkg/event (for clinics' names), pkg/fault and pkg/record.
package quarantine
