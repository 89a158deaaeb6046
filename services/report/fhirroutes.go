package report

import (
	"net/http"
	"strings"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fhir"
)

// fhirRoutes are all that is served below /fhir/. A test compares them with the CapabilityStatement.
func (s *Service) fhirRoutes() []route {
	const fhirAll = access.AllResources
	list := []route{
		{"GET /fhir/metadata", "", fhirAll, negotiated(s.fhirMetadata)},
		{"GET /fhir/.well-known/smart-configuration", "", fhirAll, s.smartConfiguration},
		{"GET /fhir/$bulk-publish", access.Read, fhirAll, negotiated(s.bulkManifest)},
		{"GET /fhir/nights/{night}/{clinic}/{version}/{file}", access.Read, fhirAll, negotiated(s.bulkFile, ndjsonMedia)},
	}
	add := func(scope access.Scope, resource string, read, search func(http.ResponseWriter, *http.Request) error) {
		at := "/fhir/" + resource
		list = append(list, route{"GET " + at, scope, resource, negotiated(search)}, route{"POST " + at + "/_search", scope, resource, searched(negotiated(search))},
			route{"GET " + at + "/{id}", scope, resource, negotiated(read)})
		if fhir.ServedAs(resource).Versions {
			list = append(list, route{"GET " + at + "/{id}/_history/{version}", scope, resource, negotiated(read)})
		}
	}
	add(access.Audit, "AuditEvent", s.fhirAudit, s.fhirSearchAudit)
	add(access.Read, "CodeSystem", s.readTerms("CodeSystem", fhir.CodeSystems()), s.searchTerms("CodeSystem", fhir.CodeSystems()))
	add(access.Read, "Device", s.fhirDevice, s.fhirSearchDevices)
	add(access.Read, "DiagnosticReport", s.fhirReport(), s.fhirSearchReports)
	add(access.Read, "ImagingStudy", s.fhirImagingStudy(), s.fhirSearchStudies)
	add(access.Read, "Observation", s.fhirObservation(), s.fhirSearchObservations)
	add(access.Read, "Patient", s.fhirPatient, s.fhirSearchPatients)
	add(access.Read, "Provenance", s.fhirProvenance, s.fhirSearchProvenance)
	// Files in quarantine are of people whose identity is in doubt: who may see them decides about them.
	add(access.Operate, "Task", s.fhirTask, s.fhirSearchTasks)
	add(access.Read, "ValueSet", s.readTerms("ValueSet", fhir.ValueSets()), s.searchTerms("ValueSet", fhir.ValueSets()))
	return list
}

func isFHIR(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/fhir/") || r.URL.Path == "/fhir"
}

// issueCodes are FHIR's codes of what went wrong, by Noctua's where there is a special one, and by HTTP status otherwise.
var (
	issueCodes       = map[string]string{"too-costly": "too-costly", "summary-unknown": "not-supported", "format-unknown": "not-supported", "modifier-unknown": "not-supported", "sort-unknown": "not-supported"}
	issueStatusCodes = map[int]string{
		http.StatusUnauthorized: "login", http.StatusNotFound: "not-found", http.StatusBadRequest: "invalid",
		http.StatusMethodNotAllowed: "not-supported", http.StatusServiceUnavailable: "transient", http.StatusForbidden: "forbidden", http.StatusTooManyRequests: "throttled",
		http.StatusUnsupportedMediaType: "not-supported", http.StatusUnprocessableEntity: "processing", http.StatusRequestEntityTooLarge: "too-long", http.StatusConflict: "conflict",
	}
)

// failFHIR answers with an OperationOutcome. names are the parameters that were not understood, of which each gets an issue.
func (s *Service) failFHIR(w http.ResponseWriter, status int, code, text string, names []string) {
	kind, ok := issueCodes[code]
	if !ok {
		kind, ok = issueStatusCodes[status]
	}
	if !ok {
		kind = "exception"
	}
	outcome := fhir.NewOutcome("error", kind, text)
	if names != nil {
		outcome.Issue = nil
		for _, name := range names {
			outcome.Issue = append(outcome.Issue, fhir.NewOutcome("error", "not-supported", "the search parameter "+name+" is not supported; /fhir/metadata lists what is").Issue...)
		}
	}
	s.writeJSON(w, status, fhirMedia, outcome)
}
