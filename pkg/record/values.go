package record

import (
	"slices"
	"strings"
)

// Laterality is the eye: R (right, OD) or L (left, OS).
type Laterality string

// Eyes.
const (
	RightEye Laterality = "R"
	LeftEye  Laterality = "L"
)

// Sex as DICOM PatientSex (0010,0040).
type Sex string

// AnalysisStatus says whether an analysed image has measures.
type AnalysisStatus string

// Outcomes of an analysis that ran.
const (
	Measured   AnalysisStatus = "measured"
	Ungradable AnalysisStatus = "ungradable"
)

// ReportStatus is the state of a report version, as in FHIR.
type ReportStatus string

// States of a report.
const (
	Preliminary ReportStatus = "preliminary"
	Final       ReportStatus = "final"
	Amended     ReportStatus = "amended"
)

// ImageStatus is the state of an image within a report.
type ImageStatus string

// States of an image.
const (
	ImagePending     ImageStatus = "pending"
	ImageMeasured    ImageStatus = "measured"
	ImageUngradable  ImageStatus = "ungradable"
	ImageNotAnalysed ImageStatus = "not-analysed"
	ImageFailed      ImageStatus = "failed"
)

// ComparisonKind says what a report compares.
type ComparisonKind string

// Kinds of comparisons.
const (
	Asymmetry ComparisonKind = "asymmetry" // right eye less left eye of one study
	Change    ComparisonKind = "change"    // this study less the one before, same eye
)

// Verdict says whether two values differ by more than their error.
type Verdict string

// Verdicts.
const (
	WithinError Verdict = "within-error"
	Lower       Verdict = "lower"
	Higher      Verdict = "higher"
)

// DecisionAction is what a person wants done with a file in quarantine.
type DecisionAction string

// Actions.
const (
	ActionRelease DecisionAction = "release"
	ActionDiscard DecisionAction = "discard"
)

// ReleaseResult is what became of a file that was released from quarantine.
type ReleaseResult string

// Results of a release.
const (
	ReleaseArchived  ReleaseResult = "archived"
	ReleaseDuplicate ReleaseResult = "duplicate"
	ReleaseUnpacked  ReleaseResult = "unpacked" // a ZIP: its members have outcomes of their own
	ReleaseRefused   ReleaseResult = "refused"
)

// ExportState is what became of sending a result to an archive.
type ExportState string

// States of an export.
const (
	ExportBegun  ExportState = "begun" // of the archive, not of a result: since when its results are sent
	ExportSent   ExportState = "sent"
	ExportFailed ExportState = "failed"
)

// DeliveryState is what became of sending a version of a report to a receiver.
type DeliveryState string

// States of a delivery.
const (
	DeliveryBegun      DeliveryState = "begun"   // of the receiver, not of a report: since when reports are sent to it
	DeliveryStopped    DeliveryState = "stopped" // of the receiver: it wants no more
	DeliverySent       DeliveryState = "sent"
	DeliverySuperseded DeliveryState = "superseded" // the receiver had a later version before
	DeliveryFailed     DeliveryState = "failed"
)

// ReceiverKind is what a receiver of reports speaks.
type ReceiverKind string

// Kinds of receivers.
const (
	ReceiverHL7     ReceiverKind = "hl7"
	ReceiverWebhook ReceiverKind = "webhook"
)

// What the audit log tells apart.
const (
	AuditCreate  = "create"
	AuditRead    = "read"
	AuditUpdate  = "update"
	AuditExecute = "execute"
	AuditLogin   = "login"
	AuditLogout  = "logout"

	AuditSuccess = "success"
	AuditDenied  = "denied"

	EntityQuarantineList    = "quarantine-list"
	EntityQuarantineFile    = "quarantine-file"
	EntityQuarantinePicture = "quarantine-picture"
	EntityReportList        = "report-list"
	EntityReport            = "report"
	EntityPatientList       = "patient-list"
	EntityPatient           = "patient"
	EntityPicture           = "picture"
	EntityResource          = "resource"
	EntitySearch            = "search"
	EntityDecision          = "decision"
	EntityExport            = "export"
	EntityUpload            = "upload"
	EntitySession           = "session"
	EntityTokens            = "tokens"
	EntityAccounts          = "accounts"
	EntityAuditLog          = "audit-log"
	EntityRequest           = "request"
)

// Names of the documents: the value of their `schema` field.
const (
	InstanceSchema    = "noctua.instance.v1"
	DuplicateSchema   = "noctua.duplicate.v1"
	QuarantineSchema  = "noctua.quarantine.v1"
	IdentitySchema    = "noctua.identity.v1"
	ResultSchema      = "noctua.result.v1"
	FailureSchema     = "noctua.failure.v1"
	ReportSchema      = "noctua.report.v1"
	ModelSchema       = "noctua.model.v1"
	DecisionSchema    = "noctua.decision.v1"
	ReleaseSchema     = "noctua.release.v1"
	AuditSchema       = "noctua.audit.v1"
	PatientLinkSchema = "noctua.patientlink.v1"
	ManifestSchema    = "noctua.manifest.v1"
	ExpectedSchema    = "noctua.expected.v1"
	ExportSchema      = "noctua.export.v1"
	DeliverySchema    = "noctua.delivery.v1"
	NightSchema       = "noctua.night.v1"
	NightsSchema      = "noctua.nights.v1"
)

// String says in words what is assigned, for people: "clinic north, eye R, patient ID P1, issuer HOSPITAL", or "" for nothing.
func (c Correction) String() string {
	var parts []string
	for _, p := range [][2]string{{"clinic", c.Clinic}, {"eye", string(c.Laterality)}, {"patient ID", c.PatientID}, {"issuer", c.Issuer}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return strings.Join(parts, ", ")
}

// Everywhere lists the measures of the whole field of view and, after them, those of its regions, completed by what the measure of the
// same name says of them. A region without values is one measure, the first one's, with the reason.
func (r *Result) Everywhere() []Measure {
	out := slices.Clone(r.Measures)
	whole := map[string]Measure{}
	for _, m := range r.Measures {
		whole[m.Name] = m
	}
	for _, region := range r.Regions {
		if region.AbsentReason != nil && len(r.Measures) > 0 {
			out = append(out, in(region, r.Measures[0], nil, region.AbsentReason))
		}
		for _, m := range region.Measures {
			base := whole[m.Name]
			base.Name, base.Unit = m.Name, m.Unit
			out = append(out, in(region, base, m.Value, m.AbsentReason))
		}
	}
	return out
}

// in is a measure of the whole field as one of a region, of which no error is known.
func in(r Region, m Measure, value *float64, absent *Note) Measure {
	m.Region, m.Value, m.AbsentReason, m.Error, m.ErrorAbsentReason = r.Name, value, absent, nil, nil
	if value != nil {
		m.ErrorAbsentReason = &Note{Code: "error-not-known", Text: "No error is known of a part of the field."}
	}
	return m
}

// supersededCode marks images of which a later revision counts.
const supersededCode = "superseded-revision"

// Superseded tells whether a later revision of the image counts, so that its measures are not to be shown as the report's.
func (i *ReportImage) Superseded() bool {
	return slices.ContainsFunc(i.Notes, func(n Note) bool { return n.Code == supersededCode })
}
