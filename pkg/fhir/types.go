package fhir

import (
	"math"
	"strconv"
	"time"
)

// Decimal is a FHIR decimal with the precision that is meant: its digits are written as they stand.
type Decimal string

// MarshalJSON writes the digits as a JSON number.
func (d Decimal) MarshalJSON() ([]byte, error) { return []byte(d), nil }

// UnmarshalJSON keeps the digits.
func (d *Decimal) UnmarshalJSON(raw []byte) error { *d = Decimal(raw); return nil }

// significantDigits of a measure whose error is not known: more than any of them is repeatable to, so that nothing is lost,
// and few enough that no float noise shows.
const significantDigits = 5

// NewDecimal writes v with five significant digits, without exponent.
func NewDecimal(v float64) Decimal { return RoundDecimal(v, significantDigits) }

// RoundDecimal writes v with that many significant digits, without exponent. Digits before the point are always whole, and a whole
// number, such as a count, has none after it.
func RoundDecimal(v float64, digits int) Decimal {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	if v == math.Trunc(v) {
		return Decimal(strconv.FormatFloat(v, 'f', 0, 64))
	}
	places := max(0, digits-1-int(math.Floor(math.Log10(math.Abs(v)))))
	return Decimal(strconv.FormatFloat(v, 'f', places, 64))
}

// Instant writes a FHIR instant in milliseconds, UTC.
func Instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// Meta is resource metadata.
type Meta struct {
	VersionID   string `json:"versionId,omitempty"`
	LastUpdated string `json:"lastUpdated,omitempty"`
}

// Coding is a code of a system.
type Coding struct {
	System  string `json:"system,omitempty"`
	Code    string `json:"code,omitempty"`
	Display string `json:"display,omitempty"`
}

// Concept is a CodeableConcept.
type Concept struct {
	Coding []Coding `json:"coding,omitempty"`
	Text   string   `json:"text,omitempty"`
}

// Identifier is a business identifier.
type Identifier struct {
	Use      string     `json:"use,omitempty"`
	Type     *Concept   `json:"type,omitempty"`
	System   string     `json:"system,omitempty"`
	Value    string     `json:"value,omitempty"`
	Assigner *Reference `json:"assigner,omitempty"`
}

// Reference points to a resource.
type Reference struct {
	Extension  []Extension `json:"extension,omitempty"`
	Reference  string      `json:"reference,omitempty"`
	Type       string      `json:"type,omitempty"`
	Identifier *Identifier `json:"identifier,omitempty"`
	Display    string      `json:"display,omitempty"`
}

// Extension carries what the resource has no element for.
type Extension struct {
	URL       string `json:"url"`
	ValueURI  string `json:"valueUri,omitempty"`
	ValueCode string `json:"valueCode,omitempty"`
}

// Quantity is a value with a UCUM unit.
type Quantity struct {
	Value  Decimal `json:"value"`
	Unit   string  `json:"unit,omitempty"`
	System string  `json:"system,omitempty"`
	Code   string  `json:"code,omitempty"`
}

// Annotation is a note.
type Annotation struct {
	Text string `json:"text"`
}

// HumanName is a name of a person.
type HumanName struct {
	Extension []Extension `json:"extension,omitempty"`
	Use       string      `json:"use,omitempty"`
	Text      string      `json:"text,omitempty"`
	Family    string      `json:"family,omitempty"`
	Given     []string    `json:"given,omitempty"`
	Prefix    []string    `json:"prefix,omitempty"`
	Suffix    []string    `json:"suffix,omitempty"`
}

// Patient is the FHIR resource.
type Patient struct {
	ResourceType string        `json:"resourceType"`
	ID           string        `json:"id"`
	Meta         Meta          `json:"meta"`
	Active       *bool         `json:"active,omitempty"`
	Identifier   []Identifier  `json:"identifier,omitempty"`
	Name         []HumanName   `json:"name,omitempty"`
	Gender       string        `json:"gender,omitempty"`
	BirthDate    string        `json:"birthDate,omitempty"`
	Link         []PatientLink `json:"link,omitempty"`
}

// PatientLink says who the patient is, where a person decided that they are another one.
type PatientLink struct {
	Other Reference `json:"other"`
	Type  string    `json:"type"` // replaced-by
}

// Component is a part of an Observation.
type Component struct {
	Code                 Concept   `json:"code"`
	ValueQuantity        *Quantity `json:"valueQuantity,omitempty"`
	ValueCodeableConcept *Concept  `json:"valueCodeableConcept,omitempty"`
	DataAbsentReason     *Concept  `json:"dataAbsentReason,omitempty"`
}

// Observation is the FHIR resource: one measure of one photograph, or its difference between two.
type Observation struct {
	ResourceType      string       `json:"resourceType"`
	ID                string       `json:"id"`
	Meta              Meta         `json:"meta"`
	Status            string       `json:"status"`
	Category          []Concept    `json:"category"`
	Code              Concept      `json:"code"`
	Subject           Reference    `json:"subject"`
	EffectiveDateTime string       `json:"effectiveDateTime,omitempty"`
	Issued            string       `json:"issued"`
	Performer         []Reference  `json:"performer,omitempty"`
	ValueQuantity     *Quantity    `json:"valueQuantity,omitempty"`
	DataAbsentReason  *Concept     `json:"dataAbsentReason,omitempty"`
	Note              []Annotation `json:"note,omitempty"`
	BodySite          *Concept     `json:"bodySite,omitempty"`
	Method            *Concept     `json:"method,omitempty"`
	Device            *Reference   `json:"device,omitempty"`
	DerivedFrom       []Reference  `json:"derivedFrom,omitempty"`
	Component         []Component  `json:"component,omitempty"`
}

// Attachment points to content elsewhere.
type Attachment struct {
	ContentType string `json:"contentType,omitempty"`
	URL         string `json:"url,omitempty"`
	Title       string `json:"title,omitempty"`
	Creation    string `json:"creation,omitempty"`
}

// DiagnosticReport is the FHIR resource: one report of one study.
type DiagnosticReport struct {
	ResourceType      string       `json:"resourceType"`
	ID                string       `json:"id"`
	Meta              Meta         `json:"meta"`
	Identifier        []Identifier `json:"identifier"`
	Status            string       `json:"status"`
	Category          []Concept    `json:"category"`
	Code              Concept      `json:"code"`
	Subject           Reference    `json:"subject"`
	EffectiveDateTime string       `json:"effectiveDateTime,omitempty"`
	Issued            string       `json:"issued"`
	Performer         []Reference  `json:"performer,omitempty"`
	Result            []Reference  `json:"result,omitempty"`
	ImagingStudy      []Reference  `json:"imagingStudy"`
	Conclusion        string       `json:"conclusion"`
	PresentedForm     []Attachment `json:"presentedForm,omitempty"`
}

// DeviceName is a name of a Device.
type DeviceName struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// DeviceVersion is a version of a Device.
type DeviceVersion struct {
	Value string `json:"value"`
}

// Device is the FHIR resource: the model that made a measure.
type Device struct {
	ResourceType string          `json:"resourceType"`
	ID           string          `json:"id"`
	Meta         Meta            `json:"meta"`
	Identifier   []Identifier    `json:"identifier"`
	Status       string          `json:"status"`
	DeviceName   []DeviceName    `json:"deviceName"`
	Type         Concept         `json:"type"`
	Version      []DeviceVersion `json:"version"`
}

// Link is a link of a Bundle.
type Link struct {
	Relation string `json:"relation"`
	URL      string `json:"url"`
}

// SearchInfo says why an entry is in a searchset.
type SearchInfo struct {
	Mode string `json:"mode"`
}

// Entry is an entry of a Bundle.
type Entry struct {
	FullURL  string      `json:"fullUrl,omitempty"`
	Resource any         `json:"resource"`
	Search   *SearchInfo `json:"search,omitempty"`
}

// Bundle is a searchset.
type Bundle struct {
	ResourceType string  `json:"resourceType"`
	Type         string  `json:"type"`
	Total        *int    `json:"total,omitempty"`
	Link         []Link  `json:"link"`
	Entry        []Entry `json:"entry,omitempty"`
}

// Issue is an issue of an OperationOutcome.
type Issue struct {
	Severity    string   `json:"severity"`
	Code        string   `json:"code"`
	Details     *Concept `json:"details,omitempty"`
	Diagnostics string   `json:"diagnostics,omitempty"`
}

// OperationOutcome says what went wrong.
type OperationOutcome struct {
	ResourceType string  `json:"resourceType"`
	Issue        []Issue `json:"issue"`
}

// NewOutcome makes an OperationOutcome with one issue. code is of FHIR's issue-type.
func NewOutcome(severity, code, text string) OperationOutcome {
	return OperationOutcome{ResourceType: "OperationOutcome", Issue: []Issue{{Severity: severity, Code: code, Details: &Concept{Text: text}, Diagnostics: text}}}
}
