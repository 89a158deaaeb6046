package fhir

import (
	"fmt"
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Code systems of audit events.
const (
	dcmSystem         = "http://dicom.nema.org/resources/ontology/DCM"
	auditTypeSystem   = "http://terminology.hl7.org/CodeSystem/audit-event-type"
	interactionSystem = "http://hl7.org/fhir/restful-interaction"
	entityTypeSystem  = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	objectRoleSystem  = "http://terminology.hl7.org/CodeSystem/object-role"
)

// AuditEvent is the FHIR resource: one entry of the audit log.
type AuditEvent struct {
	ResourceType string        `json:"resourceType"`
	ID           string        `json:"id"`
	Type         Coding        `json:"type"`
	Subtype      []Coding      `json:"subtype,omitempty"`
	Action       string        `json:"action"`
	Recorded     string        `json:"recorded"`
	Outcome      string        `json:"outcome"`
	OutcomeDesc  string        `json:"outcomeDesc,omitempty"`
	Agent        []AuditAgent  `json:"agent"`
	Source       AuditSource   `json:"source"`
	Entity       []AuditEntity `json:"entity,omitempty"`
}

// AuditAgent is who did it.
type AuditAgent struct {
	Type      *Concept      `json:"type,omitempty"`
	Who       *Reference    `json:"who,omitempty"`
	Requestor bool          `json:"requestor"`
	Network   *AuditNetwork `json:"network,omitempty"`
}

// AuditNetwork is where they were.
type AuditNetwork struct {
	Address string `json:"address"`
	Type    string `json:"type"` // "2": an IP address
}

// AuditSource is who recorded it.
type AuditSource struct {
	Observer Reference `json:"observer"`
}

// AuditEntity is what it was done to.
type AuditEntity struct {
	What   *Reference    `json:"what,omitempty"`
	Type   *Coding       `json:"type,omitempty"`
	Role   *Coding       `json:"role,omitempty"`
	Name   string        `json:"name,omitempty"`
	Detail []AuditDetail `json:"detail,omitempty"`
}

// AuditDetail is what else is known of it.
type AuditDetail struct {
	Type        string `json:"type"`
	ValueString string `json:"valueString"`
}

// ConvertAudit makes the AuditEvent of an entry of the audit log, after IHE's Basic Audit Log Patterns: what they ask for that Noctua
// knows. It holds no more of a patient than the entry.
func ConvertAudit(a record.Audit) AuditEvent {
	e := AuditEvent{
		ResourceType: "AuditEvent", ID: fmt.Sprint(a.Number), Type: Coding{auditTypeSystem, "rest", "RESTful Operation"},
		Action: map[string]string{record.AuditCreate: "C", record.AuditRead: "R", record.AuditUpdate: "U"}[a.Action], Recorded: Instant(a.RecordedAt), Outcome: "0",
		Agent: []AuditAgent{{
			Type:      &Concept{Coding: []Coding{{dcmSystem, "110153", "Source Role ID"}}},
			Who:       &Reference{Display: agentText(a.Agent), Identifier: agentIdentifier(a.Agent)},
			Requestor: true, Network: &AuditNetwork{Address: a.Agent.Address, Type: "2"},
		}},
		Source: AuditSource{Observer: Reference{Display: "Noctua"}},
	}
	if e.Action == "" {
		e.Action = "E"
	}
	switch {
	case a.Action == record.AuditLogin:
		e.Type, e.Subtype = Coding{dcmSystem, "110114", "User Authentication"}, []Coding{{dcmSystem, "110122", "Login"}}
	case a.Action == record.AuditLogout:
		e.Type, e.Subtype = Coding{dcmSystem, "110114", "User Authentication"}, []Coding{{dcmSystem, "110123", "Logout"}}
	case a.Entity.Kind == record.EntitySearch:
		e.Subtype = []Coding{{interactionSystem, "search-type", "search"}}
	case a.Entity.Kind == record.EntityResource:
		e.Subtype = []Coding{{interactionSystem, "read", "read"}}
	case a.Entity.Kind == record.EntityExport:
		e.Type = Coding{dcmSystem, "110106", "Export"}
	}
	if a.Outcome == record.AuditDenied {
		e.Outcome, e.OutcomeDesc = "4", "Denied: "+a.Entity.Code
	}
	e.Entity = append(e.Entity, auditObject(a.Entity))
	if a.Entity.PatientKey != "" {
		e.Entity = append(e.Entity, AuditEntity{What: &Reference{Reference: "Patient/" + PatientID(a.Entity.PatientKey)},
			Type: &Coding{entityTypeSystem, "1", "Person"}, Role: &Coding{objectRoleSystem, "1", "Patient"}})
	}
	return e
}

func agentText(a record.AuditAgent) string {
	name := a.Name
	if name == "" {
		name = "unknown"
	}
	return name + " (" + a.Via + ")"
}

func agentIdentifier(a record.AuditAgent) *Identifier {
	if a.Name == "" {
		return nil
	}
	return &Identifier{Value: a.Name}
}

func auditObject(e record.AuditEntity) AuditEntity {
	out := AuditEntity{Type: &Coding{entityTypeSystem, "2", "System Object"}, Name: strings.ReplaceAll(e.Kind, "-", " ")}
	switch e.Kind {
	case record.EntitySearch, record.EntityPatientList, record.EntityReportList, record.EntityQuarantineList:
		out.Role = &Coding{objectRoleSystem, "24", "Query"}
	case record.EntityResource:
		out.Role = &Coding{objectRoleSystem, "4", "Domain Resource"}
		if strings.Count(e.Resource, "/") == 1 { // others are files of many resources
			out.What = &Reference{Reference: e.Resource}
		}
	case record.EntityReport:
		out.Role, out.What = &Coding{objectRoleSystem, "3", "Report"}, &Reference{Reference: "DiagnosticReport/" + e.Resource}
	}
	detail := func(kind, value string) {
		if value != "" && value != "0" {
			out.Detail = append(out.Detail, AuditDetail{kind, value})
		}
	}
	detail("clinic", e.Clinic)
	detail("code", e.Code)
	detail("files", fmt.Sprint(e.Files))
	detail("names", e.Names)
	detail("omitted", fmt.Sprint(e.Omitted))
	detail("quarantine-key", e.QuarantineKey)
	if out.What == nil {
		detail("resource", e.Resource)
	}
	detail("route", e.Route)
	return out
}
