package fhir

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Provenance is the FHIR resource: where one version of a report comes from.
type Provenance struct {
	ResourceType string             `json:"resourceType"`
	ID           string             `json:"id"`
	Meta         Meta               `json:"meta"`
	Target       []Reference        `json:"target"`
	Occurred     *Period            `json:"occurredPeriod,omitempty"`
	Recorded     string             `json:"recorded"`
	Activity     *Concept           `json:"activity,omitempty"`
	Agent        []ProvenanceAgent  `json:"agent"`
	Entity       []ProvenanceEntity `json:"entity,omitempty"`
}

// Period is a span of time.
type Period struct {
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
}

// ProvenanceAgent is who or what took part.
type ProvenanceAgent struct {
	Type *Concept  `json:"type,omitempty"`
	Who  Reference `json:"who"`
}

// ProvenanceEntity is what it was made of.
type ProvenanceEntity struct {
	Role string    `json:"role"`
	What Reference `json:"what"`
}

// Systems of hashes, as identifiers of what they are of.
const (
	// ContentSystem is the system of identifiers that are the SHA-256 of bytes, in lower-case hexadecimal digits.
	ContentSystem = Root + "sid/sha256"
	// SoftwareSystem is the system of versions of Noctua.
	SoftwareSystem = Root + "sid/software-version"

	participantSystem = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
	operationSystem   = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
)

// versionMark is between a report's id and the number of a version in the id of its Provenance.
const versionMark = "-v"

// ProvenanceID is the id of the Provenance of a version of a report.
func ProvenanceID(reportID string, version int) string {
	return reportID + versionMark + strconv.Itoa(version)
}

// ParseProvenanceID takes it apart; ok is false for any other text.
func ParseProvenanceID(id string) (reportID string, version int, ok bool) {
	reportID, text, found := strings.Cut(id, versionMark)
	version, err := strconv.Atoi(text)
	return reportID, version, found && err == nil && version > 0 && len(reportID) == idDigits && ProvenanceID(reportID, version) == id
}

// ConvertProvenance makes the Provenance of a version of a report. reportSHA256 is that of its report.json.
func ConvertProvenance(set Set, r *record.Report, reportSHA256 string, updated time.Time) Provenance {
	version := func(kind, id string) Reference {
		return Reference{Reference: fmt.Sprintf("%s/%s/_history/%d", kind, id, r.Version), Type: kind}
	}
	p := Provenance{
		ResourceType: "Provenance", ID: ProvenanceID(r.ReportID, r.Version), Meta: Meta{VersionID: "1", LastUpdated: Instant(updated)},
		Target:   []Reference{version("DiagnosticReport", r.ReportID), version("ImagingStudy", r.ReportID)},
		Recorded: Instant(r.IssuedAt),
		Agent: []ProvenanceAgent{{Type: participant("assembler", "Assembler"),
			Who: Reference{Type: "Device", Identifier: &Identifier{System: SoftwareSystem, Value: r.CodeVersion}, Display: "Noctua " + r.CodeVersion}}},
	}
	activity := concept(operationSystem, "CREATE", "create")
	if r.Version > 1 {
		activity = concept(operationSystem, "UPDATE", "revise")
		p.Entity = append(p.Entity, ProvenanceEntity{Role: "revision", What: Reference{Reference: fmt.Sprintf("DiagnosticReport/%s/_history/%d", r.ReportID, r.Version-1), Type: "DiagnosticReport"}})
	}
	p.Activity = &activity
	for _, o := range set.Observations {
		p.Target = append(p.Target, version("Observation", o.ID))
	}
	for _, d := range set.Devices {
		p.Agent = append(p.Agent, ProvenanceAgent{Type: participant("performer", "Performer"), Who: Reference{Reference: "Device/" + d.ID, Type: "Device", Display: d.DeviceName[0].Name + " " + d.Version[0].Value}})
	}
	var from, to time.Time
	for _, img := range r.Images {
		if superseded(img) {
			continue
		}
		p.Entity = append(p.Entity, ProvenanceEntity{Role: "source", What: Reference{Identifier: &Identifier{System: ContentSystem, Value: img.Sha256}, Display: "Photograph, " + eye(img.Laterality) + ", urn:oid:" + img.SOPUID}})
		if o := img.Provenance; o != nil {
			if from.IsZero() || o.StartedAt.Before(from) {
				from = o.StartedAt
			}
			if o.FinishedAt.After(to) {
				to = o.FinishedAt
			}
		}
	}
	if !from.IsZero() && !to.Before(from) {
		p.Occurred = &Period{Start: Instant(from), End: Instant(to)}
	}
	if reportSHA256 != "" {
		p.Entity = append(p.Entity, ProvenanceEntity{Role: "source", What: Reference{Identifier: &Identifier{System: ContentSystem, Value: reportSHA256}, Display: "Canonical report, report.json"}})
	}
	return p
}

func participant(code, display string) *Concept {
	c := concept(participantSystem, code, display)
	return &c
}
