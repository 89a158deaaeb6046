package report

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	fhirMedia = "application/fhir+json"
	// capabilityDate is when what the CapabilityStatement says last changed.
	capabilityDate = "2026-11-23"
)

func isFHIR(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/fhir/") || r.URL.Path == "/fhir"
}

// failFHIR answers with an OperationOutcome.
func (s *Service) failFHIR(w http.ResponseWriter, status int, text string) {
	code := map[int]string{
		http.StatusUnauthorized: "login", http.StatusNotFound: "not-found", http.StatusBadRequest: "invalid",
		http.StatusMethodNotAllowed: "not-supported", http.StatusServiceUnavailable: "transient", http.StatusForbidden: "forbidden", http.StatusTooManyRequests: "throttled",
	}[status]
	if code == "" {
		code = "exception"
	}
	s.writeJSON(w, status, fhirMedia, fhir.NewOutcome("error", code, text))
}

// baseURL is the address of the service as readers see it.
func (s *Service) baseURL(r *http.Request) string {
	if s.cfg.PublicURL != "" {
		return strings.TrimRight(s.cfg.PublicURL, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (s *Service) fhirMetadata(w http.ResponseWriter, _ *http.Request) error {
	s.writeJSON(w, http.StatusOK, fhirMedia, fhir.Capability(s.cfg.Version, capabilityDate))
	return nil
}

func (s *Service) fhirCodeSystem(w http.ResponseWriter, _ *http.Request) error {
	s.writeJSON(w, http.StatusOK, fhirMedia, fhir.MeasuresCodeSystem())
	return nil
}

// readSet reads the newest version of a report as resources.
func (s *Service) readSet(r *http.Request, id string) (fhir.Set, store.Report, error) {
	found, err := s.visibleReport(r.Context(), id, 0)
	if err != nil {
		return fhir.Set{}, found, err
	}
	set, err := s.setOf(r, found)
	return set, found, err
}

func (s *Service) setOf(r *http.Request, found store.Report) (fhir.Set, error) {
	doc, err := s.documentOf(r.Context(), found)
	if err != nil {
		return fhir.Set{}, err
	}
	return fhir.Convert(doc, found.UpdatedAt, s.baseURL(r)), nil
}

// read answers with a resource of a report version, and records that it is seen.
func (s *Service) read(w http.ResponseWriter, r *http.Request, v store.Report, id string, resource any) error {
	if err := s.audited(r, reportEntity(record.EntityResource, v, id)); err != nil {
		return err
	}
	if !notModified(w, r, fmt.Sprintf(`W/"%d"`, v.Version), v.UpdatedAt) {
		s.writeJSON(w, http.StatusOK, fhirMedia, resource)
	}
	return nil
}

func (s *Service) fhirReport(w http.ResponseWriter, r *http.Request) error {
	set, found, err := s.readSet(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.read(w, r, found, "DiagnosticReport/"+set.Report.ID, set.Report)
}

func (s *Service) fhirImagingStudy(w http.ResponseWriter, r *http.Request) error {
	set, found, err := s.readSet(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.read(w, r, found, "ImagingStudy/"+set.Study.ID, set.Study)
}

func (s *Service) fhirObservation(w http.ResponseWriter, r *http.Request) error {
	set, found, err := s.readSet(r, fhir.ReportOf(r.PathValue("id")))
	if err != nil {
		return err
	}
	for _, o := range set.Observations {
		if o.ID == r.PathValue("id") {
			return s.read(w, r, found, "Observation/"+o.ID, o)
		}
	}
	return fault.New(fault.NotFound, "not-found", "there is no such Observation")
}

// patientByID finds the patient whose key begins with an id.
func (s *Service) patientByID(r *http.Request, id string) (store.Patient, error) {
	notFound := fault.New(fault.NotFound, "not-found", "there is no such patient")
	if len(id) != len(fhir.PatientID(strings.Repeat("0", 64))) || strings.Trim(id, "0123456789abcdef") != "" {
		return store.Patient{}, notFound
	}
	found, _, err := s.deps.Store.FindPatients(r.Context(), store.PatientQuery{Clinics: clinicsOf(r.Context()), Keys: []string{id}, Limit: 1})
	if err != nil {
		return store.Patient{}, err
	}
	if len(found) == 0 {
		return store.Patient{}, notFound
	}
	return found[0], nil
}

func (s *Service) fhirPatient(w http.ResponseWriter, r *http.Request) error {
	p, err := s.patientByID(r, r.PathValue("id"))
	if fault.Is(err, fault.NotFound) {
		return s.replacedPatient(w, r, err)
	}
	if err != nil {
		return err
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityResource, Resource: "Patient/" + fhir.PatientID(p.Key), PatientKey: p.Key, Clinic: p.Clinic}); err != nil {
		return err
	}
	if notModified(w, r, fmt.Sprintf(`W/"%d"`, p.UpdatedAt.UnixMilli()), p.UpdatedAt) {
		return nil
	}
	s.writeJSON(w, http.StatusOK, fhirMedia, fhir.ConvertPatient(p.PatientIdentity, p.Clinic, p.UpdatedAt))
	return nil
}

func (s *Service) fhirDevice(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if len(id) != len(fhir.DeviceID(strings.Repeat("0", 64))) || strings.Trim(id, "0123456789abcdef") != "" {
		return fault.New(fault.NotFound, "not-found", "there is no such Device")
	}
	model, err := s.deps.Store.Model(r.Context(), id)
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, fhirMedia, fhir.ConvertDevice(model))
	return nil
}
