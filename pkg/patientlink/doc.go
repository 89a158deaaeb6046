// Package patientlink keeps what people decided about who a patient is: that one patient is another (merge), that one study is of another
// patient (split), and that such a decision counts no more (undo).
//
// A decision (record.PatientLink) is one document, numbered for each patient as the issuer named them, never changed; it names the SHA-256
// of the one before. Instances keep the identity that they came with: what a study's patient is follows from the decisions (Follow).
//
// It imports pkg/blob, pkg/fault and pkg/record.
package patientlink
