package blob

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	// shaKeyDigits is how many hexadecimal digits of an image's SHA-256 its keys hold: 64 bits within one SOP instance.
	shaKeyDigits = 16
	// modelKeyDigits is how many hexadecimal digits of a model's SHA-256 its keys hold.
	modelKeyDigits = 12
	dayLayout      = "2006-01-02"

	maxKeyBytes     = 1024      // S3
	maxSegmentBytes = 255       // file systems
	reservedSegment = ".sgwtmp" // versitygw's own folder: it would take such an object and never list it
)

var (
	uidPattern     = regexp.MustCompile(`^[0-9.]{1,64}$`)
	shaPattern     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	segmentPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	// quarantinePattern takes the key of a document in the quarantine bucket apart: the bytes' key, and for decisions and
	// releases which of the two and its number.
	quarantinePattern = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]{0,63}/[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f]{64})(?:\.(decision|release)-([1-9][0-9]{0,3}))?\.json$`)
)

// CheckUID tells whether uid may become part of a key: 1 to 64 digits and dots, with no empty component, so that neither
// "." nor ".." nor "1..2" passes. Leading zeros are against DICOM but real, and harmless in a key.
func CheckUID(name, uid string) error {
	if !uidPattern.MatchString(uid) {
		return fault.New(fault.Invalid, "uid-invalid", "%s should be a UID of 1 to 64 digits and dots, but is %q", name, clip(uid))
	}
	for _, component := range strings.Split(uid, ".") {
		if component == "" {
			return fault.New(fault.Invalid, "uid-invalid", "%s %q has an empty component; a UID is numbers with single dots between them", name, uid)
		}
	}
	return nil
}

// CheckKey tells whether a key means the same in every store, and so may be put: valid UTF-8 of at most 1024 bytes, no empty segment
// (so no slash at either end), no segment "." or ".." or of more than 255 bytes or reserved by the embedded server, no control
// characters. Stores on file systems would store such keys under other names, or never list them.
// The sentence does not hold the key.
func CheckKey(key string) error {
	problem := ""
	switch {
	case len(key) == 0 || len(key) > maxKeyBytes:
		problem = "it should have 1 to 1024 bytes"
	case !utf8.ValidString(key):
		problem = "it is not valid UTF-8"
	case strings.ContainsFunc(key, unicode.IsControl):
		problem = "it holds control characters"
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case problem != "":
		case segment == "":
			problem = "it begins or ends with a slash, or has two together"
		case segment == "." || segment == "..":
			problem = "it has a segment . or .."
		case segment == reservedSegment:
			problem = "it has a segment that the store keeps for itself"
		case len(segment) > maxSegmentBytes:
			problem = "it has a segment of more than 255 bytes"
		}
	}
	if problem == "" {
		return nil
	}
	return fault.New(fault.Invalid, "key-invalid", "the key cannot be used: %s; choose a plainer one", problem)
}

// clip bounds what an error quotes of a value that came from outside.
func clip(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}

func checkSHA(name, sha string) error {
	if !shaPattern.MatchString(sha) {
		return fault.New(fault.Internal, "key-invalid", "%s should be 64 lower-case hexadecimal digits, but is %q", name, clip(sha))
	}
	return nil
}

func checkSegment(name, s string) error {
	if !segmentPattern.MatchString(s) {
		return fault.New(fault.Internal, "key-invalid", "%s should be 1 to 128 letters, digits, - and _, but is %q", name, clip(s))
	}
	return nil
}

func checkClinic(clinic string) error {
	if !event.ValidClinic(clinic) {
		return fault.New(fault.Invalid, "clinic-invalid", "the clinic name %q should be 1 to 64 letters, digits, - and _", clip(clinic))
	}
	return nil
}

func instancePrefix(study, sop, sha256 string) (string, error) {
	if err := CheckUID("StudyInstanceUID", study); err != nil {
		return "", err
	}
	if err := CheckUID("SOPInstanceUID", sop); err != nil {
		return "", err
	}
	if err := checkSHA("the image's SHA-256", sha256); err != nil {
		return "", err
	}
	return "images/" + study + "/" + sop + "/" + sha256[:shaKeyDigits], nil
}

// ArchiveKey is where the bytes of an accepted instance lie in the archive bucket.
func ArchiveKey(study, sop, sha256 string) (string, error) {
	prefix, err := instancePrefix(study, sop, sha256)
	if err != nil {
		return "", err
	}
	return prefix + ".dcm", nil
}

// InstanceKey is where the instance document (record.Instance) lies, beside the bytes of ArchiveKey.
func InstanceKey(study, sop, sha256 string) (string, error) {
	prefix, err := instancePrefix(study, sop, sha256)
	if err != nil {
		return "", err
	}
	return prefix + ".json", nil
}

// SOPKey is where the archive bucket notes the study and pixels of a SOP instance UID, to tell revisions from collisions.
func SOPKey(sop string) (string, error) {
	if err := CheckUID("SOPInstanceUID", sop); err != nil {
		return "", err
	}
	return "sops/" + sop + ".json", nil
}

// DuplicateKey is where the archive bucket keeps the receipt of bytes that came again. The day is that of at in UTC.
func DuplicateKey(clinic string, at time.Time, receipt string) (string, error) {
	if err := checkClinic(clinic); err != nil {
		return "", err
	}
	if err := checkSegment("the receipt id", receipt); err != nil {
		return "", err
	}
	return "duplicates/" + clinic + "/" + at.UTC().Format(dayLayout) + "/" + receipt + ".json", nil
}

// ExpectedKey is where the archive bucket keeps what a manifest announces of a study (record.Expected). sha256 is the manifest's.
func ExpectedKey(clinic, study, sha256 string) (string, error) {
	if err := checkClinic(clinic); err != nil {
		return "", err
	}
	if err := CheckUID("StudyInstanceUID", study); err != nil {
		return "", err
	}
	if err := checkSHA("the manifest's SHA-256", sha256); err != nil {
		return "", err
	}
	return "expected/" + clinic + "/" + study + "/" + sha256[:shaKeyDigits] + ".json", nil
}

// ResultPrefix is the folder, with its trailing slash, of one model's results for one image in the results bucket.
func ResultPrefix(sop, sha256, modelSHA256 string) (string, error) {
	if err := CheckUID("SOPInstanceUID", sop); err != nil {
		return "", err
	}
	if err := checkSHA("the image's SHA-256", sha256); err != nil {
		return "", err
	}
	if err := checkSHA("the model's SHA-256", modelSHA256); err != nil {
		return "", err
	}
	return "images/" + sop + "/" + sha256[:shaKeyDigits] + "/" + modelSHA256[:modelKeyDigits] + "/", nil
}

// ReportPrefix is the folder, with its trailing slash, of one version of a report in the reports bucket.
func ReportPrefix(patientKey, reportID string, version int) (string, error) {
	if err := checkSegment("the patient key", patientKey); err != nil {
		return "", err
	}
	if err := checkSegment("the report id", reportID); err != nil {
		return "", err
	}
	if version < 1 {
		return "", fault.New(fault.Internal, "key-invalid", "a report version should be 1 or more, but is %d", version)
	}
	return "patients/" + patientKey + "/" + reportID + "/v" + strconv.Itoa(version) + "/", nil
}

// ReportKey is where a version's canonical report.json lies.
func ReportKey(patientKey, reportID string, version int) (string, error) {
	prefix, err := ReportPrefix(patientKey, reportID, version)
	if err != nil {
		return "", err
	}
	return prefix + "report.json", nil
}

// PatientLink names a decision about who a patient is.
type PatientLink struct {
	PatientKey string
	Number     int
}

// linkDigits of a number in a key.
const linkDigits = 6

// PatientLinkPrefix is the folder, with its trailing slash, of the decisions about a patient in the reports bucket.
func PatientLinkPrefix(patientKey string) (string, error) {
	if err := checkSegment("the patient key", patientKey); err != nil {
		return "", err
	}
	return "patients/" + patientKey + "/links/", nil
}

// Key is where the decision lies.
func (l PatientLink) Key() (string, error) {
	prefix, err := PatientLinkPrefix(l.PatientKey)
	return fmt.Sprintf("%s%0*d.json", prefix, linkDigits, l.Number), err
}

// ParsePatientLink reads a key; false if it is none of a decision.
func ParsePatientLink(key string) (PatientLink, bool) {
	parts := strings.Split(key, "/")
	const segments = 4
	if len(parts) != segments {
		return PatientLink{}, false
	}
	number, err := strconv.Atoi(strings.TrimSuffix(parts[segments-1], ".json"))
	l := PatientLink{PatientKey: parts[1], Number: number}
	if written, keyErr := l.Key(); err != nil || keyErr != nil || written != key || number < 1 {
		return PatientLink{}, false
	}
	return l, true
}

// QuarantineKey is where the bytes of a refused file lie in the quarantine bucket; the documents about them lie beside, see
// QuarantineDocument.
// The day is that of at in UTC.
func QuarantineKey(clinic string, at time.Time, sha256 string) (string, error) {
	if err := checkClinic(clinic); err != nil {
		return "", err
	}
	if err := checkSHA("the file's SHA-256", sha256); err != nil {
		return "", err
	}
	return clinic + "/" + at.UTC().Format(dayLayout) + "/" + sha256, nil
}

// QuarantineDocument is what a key in the quarantine bucket is the key of: a document about the bytes at Key.
type QuarantineDocument struct {
	Key    string // of the bytes
	Kind   QuarantineKind
	Number int // of the decision; 0 for the reason
}

// QuarantineKind tells the documents beside quarantined bytes apart.
type QuarantineKind string

// Kinds of documents.
const (
	QuarantineReason   QuarantineKind = "reason"   // record.Quarantine
	QuarantineDecision QuarantineKind = "decision" // record.Decision
	QuarantineRelease  QuarantineKind = "release"  // record.Release
)

// ParseQuarantineDocument takes the key of a document in the quarantine bucket apart; ok is false for any other key.
func ParseQuarantineDocument(key string) (d QuarantineDocument, ok bool) {
	m := quarantinePattern.FindStringSubmatch(key)
	if m == nil {
		return d, false
	}
	d = QuarantineDocument{Key: m[1], Kind: QuarantineKind(m[2])}
	if m[2] == "" {
		d.Kind = QuarantineReason
		return d, true
	}
	number, err := strconv.Atoi(m[3])
	d.Number = number
	return d, err == nil
}

// DocumentKey is where the document lies.
func (d QuarantineDocument) DocumentKey() string {
	if d.Kind == QuarantineReason {
		return d.Key + ".json"
	}
	return d.Key + "." + string(d.Kind) + "-" + strconv.Itoa(d.Number) + ".json"
}
