package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	fhirMedia = "application/fhir+json"
	// capabilityDate is when what the CapabilityStatement says last changed.
	capabilityDate = "2026-11-26"
)

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

func (s *Service) fhirMetadata(w http.ResponseWriter, r *http.Request) error {
	s.writeJSON(w, http.StatusOK, fhirMedia, fhir.Capability(s.cfg.Version, capabilityDate, s.baseURL(r)))
	return nil
}

// loaded is a version of a report as resources. It is shared between requests: nothing of it is changed.
type loaded struct {
	found store.Report
	doc   *record.Report
	sum   [sha256.Size]byte // of report.json
	set   fhir.Set
}

// provenance is where it comes from.
func (l loaded) provenance() fhir.Provenance {
	return fhir.ConvertProvenance(l.set, l.doc, hex.EncodeToString(l.sum[:]), l.found.UpdatedAt)
}

// maxConverted versions of reports are kept as resources: some hundred kilobytes each, and what a handful of pollers takes within a minute.
const maxConverted = 64

// converted is a version of a report as resources, and what it was made of.
type converted struct {
	doc *record.Report
	set fhir.Set
}

type convertedKey struct {
	sum     [sha256.Size]byte // of report.json
	updated int64             // milliseconds
	base    string
}

// load reads a version of a report as resources. What is new is asked for by every poller within seconds: it is read and converted once.
func (s *Service) load(r *http.Request, found store.Report) (loaded, error) {
	raw, err := s.rawDocument(r.Context(), found)
	if err != nil {
		return loaded{}, err
	}
	key := convertedKey{sum: sha256.Sum256(raw), updated: found.UpdatedAt.UnixMilli(), base: s.baseURL(r)}
	c, ok := s.converted.Get(key)
	if !ok {
		doc, err := record.Decode[record.Report](record.ReportSchema, raw)
		if err != nil {
			return loaded{}, err
		}
		c = &converted{doc: doc, set: fhir.Convert(doc, found.UpdatedAt, key.base)}
		s.converted.Add(key, c)
	}
	return loaded{found: found, doc: c.doc, sum: key.sum, set: c.set}, nil
}

func notThere(resource string) error {
	return fault.New(fault.NotFound, "not-found", "there is no such %s", resource)
}

// versionOf is the version that an address asks for; 0: the newest. What is no number is a version that there is not.
func versionOf(r *http.Request, resource string) (int, error) {
	text := r.PathValue("version")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || strconv.Itoa(n) != text {
		return 0, notThere(resource + " of this version")
	}
	return n, nil
}

// answerRead answers with a resource at its path and in a version, and records that it is seen.
func (s *Service) answerRead(w http.ResponseWriter, r *http.Request, entity record.AuditEntity, at, version string, updated time.Time, resource any) error {
	if entity.Kind != "" {
		if err := s.audited(r, entity); err != nil {
			return err
		}
	}
	if r.PathValue("version") != "" {
		w.Header().Set("Content-Location", s.baseURL(r)+"/fhir/"+at+"/_history/"+version)
	}
	if !notModified(w, r, `W/"`+version+`"`, updated) {
		s.writeJSON(w, http.StatusOK, fhirMedia, resource)
	}
	return nil
}

// readOf answers a read of what is made of a report; resource finds it, or returns nil.
func (s *Service) readOf(kind string, reportOf func(id string) string, resource func(l loaded, id string) any) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id := r.PathValue("id")
		version, err := versionOf(r, kind)
		if err != nil {
			return err
		}
		found, err := s.visibleReport(r.Context(), reportOf(id), version)
		if fault.Is(err, fault.NotFound) {
			return notThere(kind)
		}
		if err != nil {
			return err
		}
		l, err := s.load(r, found)
		if err != nil {
			return err
		}
		it := resource(l, id)
		if it == nil {
			return notThere(kind)
		}
		return s.answerRead(w, r, reportEntity(record.EntityResource, found, kind+"/"+id), kind+"/"+id, strconv.Itoa(found.Version), found.UpdatedAt, it)
	}
}

func (s *Service) fhirReport() func(http.ResponseWriter, *http.Request) error {
	return s.readOf("DiagnosticReport", same, func(l loaded, _ string) any { return l.set.Report })
}

func (s *Service) fhirImagingStudy() func(http.ResponseWriter, *http.Request) error {
	return s.readOf("ImagingStudy", same, func(l loaded, _ string) any { return l.set.Study })
}

func (s *Service) fhirObservation() func(http.ResponseWriter, *http.Request) error {
	return s.readOf("Observation", fhir.ReportOf, func(l loaded, id string) any {
		for _, o := range l.set.Observations {
			if o.ID == id {
				return o
			}
		}
		return nil
	})
}

// fhirProvenance answers GET /fhir/Provenance/{id}, of any version of a report. It has no versions itself but the first.
func (s *Service) fhirProvenance(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	report, version, ok := fhir.ParseProvenanceID(id)
	own, err := versionOf(r, "Provenance")
	if err != nil || !ok || own > 1 {
		return notThere("Provenance")
	}
	found, err := s.visibleReport(r.Context(), report, version)
	if fault.Is(err, fault.NotFound) {
		return notThere("Provenance")
	}
	if err != nil {
		return err
	}
	l, err := s.load(r, found)
	if err != nil {
		return err
	}
	return s.answerRead(w, r, reportEntity(record.EntityResource, found, "Provenance/"+id), "Provenance/"+id, "1", found.UpdatedAt, l.provenance())
}

// patientByID finds the patient whose key begins with an id.
func (s *Service) patientByID(r *http.Request, id string) (store.Patient, error) {
	notFound := notThere("patient")
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

// patientThen is a patient as a version of a report had them: a Patient's version is the moment, in milliseconds, at which that report
// version came.
func (s *Service) patientThen(r *http.Request, id string, version int) (store.Patient, error) {
	at := timeOfMs(int64(version))
	found, err := s.deps.Store.FindReports(r.Context(), store.ReportQuery{Clinics: clinicsOf(r.Context()), PatientKeys: []string{id},
		Snapshot: at, Updated: []store.Span{{From: at, To: at.Add(time.Millisecond)}}, Limit: 1})
	if err != nil {
		return store.Patient{}, err
	}
	if len(found) == 0 {
		return store.Patient{}, notThere("patient of this version")
	}
	doc, err := s.documentOf(r.Context(), found[0])
	if err != nil {
		return store.Patient{}, err
	}
	return store.Patient{PatientIdentity: doc.Patient, Clinic: found[0].Clinic, UpdatedAt: at}, nil
}

func (s *Service) fhirPatient(w http.ResponseWriter, r *http.Request) error {
	version, err := versionOf(r, "patient")
	if err != nil {
		return err
	}
	p, err := s.patientByID(r, r.PathValue("id"))
	if err == nil && version > 0 {
		p, err = s.patientThen(r, r.PathValue("id"), version)
	}
	if version == 0 && fault.Is(err, fault.NotFound) {
		return s.replacedPatient(w, r, err)
	}
	if err != nil {
		return err
	}
	at := "Patient/" + fhir.PatientID(p.Key)
	return s.answerRead(w, r, record.AuditEntity{Kind: record.EntityResource, Resource: at, PatientKey: p.Key, Clinic: p.Clinic}, at,
		strconv.FormatInt(p.UpdatedAt.UnixMilli(), 10), p.UpdatedAt, fhir.ConvertPatient(p.PatientIdentity, p.Clinic, p.UpdatedAt))
}

// deviceByID finds the model whose hash begins with an id.
func (s *Service) deviceByID(ctx context.Context, id string) (fhir.Device, error) {
	if len(id) != len(fhir.DeviceID(strings.Repeat("0", 64))) || strings.Trim(id, "0123456789abcdef") != "" {
		return fhir.Device{}, notThere("Device")
	}
	model, err := s.deps.Store.Model(ctx, id)
	if err != nil {
		return fhir.Device{}, err
	}
	return fhir.ConvertDevice(model), nil
}

// fhirDevice answers GET /fhir/Device/{id}. Another model is another Device: there are no versions but the first.
func (s *Service) fhirDevice(w http.ResponseWriter, r *http.Request) error {
	if version, err := versionOf(r, "Device"); err != nil || version > 1 {
		return notThere("Device of this version")
	}
	device, err := s.deviceByID(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.answerRead(w, r, record.AuditEntity{}, "Device/"+device.ID, "1", time.Time{}, device)
}

// fhirSearchDevices answers GET /fhir/Device. Devices are of the site, and hold nothing of a patient.
func (s *Service) fhirSearchDevices(w http.ResponseWriter, r *http.Request) error {
	asked, err := searchOf(r, "Device")
	if err != nil {
		return err
	}
	// A site has a handful of models; all of them are looked at, whatever the page.
	const most = 1000
	models, err := s.deps.Store.Models(r.Context(), "", most)
	if err != nil {
		return err
	}
	ids := asked.ids()
	after := ""
	if text := asked.q.Get("_cursor"); text != "" {
		at, err := decodePlace(text)
		if err != nil {
			return err
		}
		after = at.Key
	}
	p, total, next := s.newResults(r, asked), 0, ""
	for _, m := range models {
		device := fhir.ConvertDevice(m)
		if ids != nil && !slices.Contains(ids, device.ID) || !matchesIdentifier(device.Identifier, asked.q["identifier"]) {
			continue
		}
		total++
		switch {
		case asked.countOnly || m.Sha256 <= after || next != "":
		case len(p.matches) == asked.limit:
			next = place{Key: after}.encode()
		default:
			p.match("Device/"+device.ID, device)
			after = m.Sha256
		}
	}
	return s.answerSearch(w, r, p, &total, next)
}

// matchesIdentifier tells whether every given parameter has an alternative ([system|]value) among the identifiers.
func matchesIdentifier(identifiers []fhir.Identifier, given []string) bool {
	for _, text := range given {
		if !slices.ContainsFunc(values(text), func(token string) bool {
			system, value, qualified := strings.Cut(token, "|")
			return slices.ContainsFunc(identifiers, func(i fhir.Identifier) bool {
				return !qualified && i.Value == token || qualified && i.System == system && (value == "" || i.Value == value)
			})
		}) {
			return false
		}
	}
	return true
}
