package fhir

import "github.com/noctua-screening/noctua/pkg/record"

// Statuses of a DiagnosticReport, in the order in which a report has them, of those that Noctua uses.
const (
	Registered  = "registered"  // there are pictures, and nothing is known of them yet
	Partial     = "partial"     // some pictures have their outcome, and others wait
	Preliminary = "preliminary" // all have, and more may come
	Final       = "final"
	Amended     = "amended" // something came after it was final
)

// ReportStatuses are all of them.
func ReportStatuses() []string { return []string{Registered, Partial, Preliminary, Final, Amended} }

// ReportStatus is the status of the DiagnosticReport of a report. Noctua's own preliminary is any of FHIR's first three.
func ReportStatus(r *record.Report) string {
	switch {
	case r.Status != record.Preliminary:
		return string(r.Status)
	case r.Counts.Pending > 0 && r.Counts.Pending == r.Counts.Images:
		return Registered
	case r.Counts.Pending > 0:
		return Partial
	}
	return Preliminary
}

// observationStatus is the status of every Observation of a report: FHIR has no partial Observation.
func observationStatus(r *record.Report) string { return string(r.Status) }
