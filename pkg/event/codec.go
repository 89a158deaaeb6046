package event

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/schemas"
)

// The message types: schema name and envelope type in one.
const (
	TypeInboxChanged   = "inbox.changed.v1"
	TypeImageAccepted  = "image.accepted.v1"
	TypeImageRejected  = "image.rejected.v1"
	TypeImageDuplicate = "image.duplicate.v1"
	TypeImageSegmented = "image.segmented.v1"
	TypeImageFailed    = "image.failed.v1"
	TypeReportIssued   = "report.issued.v1"
	TypeStudyExpected  = "study.expected.v1"

	TypeExportRequested   = "export.requested.v1"
	TypeDeliveryRequested = "delivery.requested.v1"

	TypeQuarantineDecided  = "quarantine.decided.v1"
	TypeQuarantineReleased = "quarantine.released.v1"
)

// Aliases of the value types that documents and messages share.
type (
	// AnalysisStatus says whether an analysed image has measures.
	AnalysisStatus = record.AnalysisStatus
	// ReportStatus is the state of a report version.
	ReportStatus = record.ReportStatus
)

// SubjectRoot is the first token of every subject.
const SubjectRoot = "noctua"

var clinicPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// ValidClinic tells whether name may be a clinic: 1 to 64 letters, digits, - and _, starting with a letter or digit, so that
// it is a key segment and a subject token as it is.
func ValidClinic(name string) bool { return clinicPattern.MatchString(name) }

// Subject returns the subject of a message type for a clinic, e.g. noctua.image.accepted.north. clinic may be "*".
func Subject(typ, clinic string) string {
	return SubjectRoot + "." + strings.TrimSuffix(typ, ".v1") + "." + clinic
}

// New makes a checked envelope around data. id must be deterministic for the fact that is told, so that telling it twice is
// harmless (ID makes one). data that does not fit its schema is a fault of kind Internal.
func New(typ, id, clinic string, now time.Time, data any) (Envelope, error) {
	raw, err := schemas.Marshal(typ, data)
	if err != nil {
		return Envelope{}, fault.Wrap(fault.Internal, "event-invalid", err, "making event %s", typ)
	}
	return Envelope{Type: typ, ID: id, Clinic: clinic, Time: now.UTC(), Data: raw}, nil
}

// ID makes a deterministic event id of a type and what tells its fact apart.
func ID(typ string, parts ...string) string {
	return strings.TrimSuffix(typ, ".v1") + ":" + strings.Join(parts, ":")
}

// Encode writes the envelope as JSON after checking it against its schema.
func Encode(e Envelope) ([]byte, error) {
	raw, err := schemas.Marshal("envelope.v1", e)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "event-invalid", err, "encoding event %s", e.Type)
	}
	return raw, nil
}

// Decode reads an envelope. Unknown properties are ignored; what is missing is a fault of kind Invalid.
func Decode(raw []byte) (Envelope, error) {
	var e Envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return Envelope{}, fault.Wrap(fault.Invalid, "event-invalid", err, "the message is not an envelope")
	}
	if e.Type == "" || e.ID == "" || !ValidClinic(e.Clinic) || len(e.Data) == 0 {
		return Envelope{}, fault.New(fault.Invalid, "event-invalid", "the envelope lacks its type, id, clinic or data")
	}
	return e, nil
}

// DataOf reads the data of an envelope of the given type and checks it against the schema, unknown properties aside.
func DataOf[T any](e Envelope, typ string) (T, error) {
	var data T
	if e.Type != typ {
		return data, fault.New(fault.Invalid, "event-type", "event %s has type %s, but %s was expected", e.ID, e.Type, typ)
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return data, fault.Wrap(fault.Invalid, "event-invalid", err, "event %s does not fit %s", e.ID, typ)
	}
	// Checking what was understood, and not what was sent, drops unknown properties: consumers are tolerant.
	if _, err := schemas.Marshal(typ, data); err != nil {
		return data, fault.Wrap(fault.Invalid, "event-invalid", err, "event %s does not fit %s", e.ID, typ)
	}
	return data, nil
}
