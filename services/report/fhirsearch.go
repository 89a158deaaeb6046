package report

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

var patientParams = []string{"patient.identifier", "subject.identifier"}

func knownParams(resource string) []fhir.Param {
	return append(fhir.SearchParams()[resource], fhir.CommonParams()...)
}

// matchesCodes tells whether every given parameter has an alternative among the concepts.
func matchesCodes(concepts []fhir.Concept, given []string) bool {
	for _, text := range given {
		if !slices.ContainsFunc(values(text), func(token string) bool { return fhir.HasCode(concepts, token) }) {
			return false
		}
	}
	return true
}

// fhirSearchReports answers GET /fhir/DiagnosticReport.
func (s *Service) fhirSearchReports(w http.ResponseWriter, r *http.Request) error {
	if err := checkParams(r, knownParams("DiagnosticReport"), patientParams...); err != nil {
		return err
	}
	q := r.URL.Query()
	query, err := s.reportQuery(r)
	if err != nil {
		return err
	}
	if err := reportIdentifiers(&query, q["identifier"]); err != nil {
		return err
	}
	for _, given := range q["_id"] {
		query.ReportIDs = values(given)
	}
	// Every report has the same code and categories: another one matches nothing.
	code := []fhir.Concept{{Coding: []fhir.Coding{{System: fhir.MeasuresSystem, Code: fhir.ReportCode}}}}
	if !matchesCodes(code, q["code"]) || !matchesCodes(fhir.ReportCategories(), q["category"]) {
		query.ReportIDs = []string{nothing}
	}
	if err := s.resume(r, &query, q.Get("_cursor")); err != nil {
		return err
	}
	bundle := fhir.Bundle{ResourceType: "Bundle", Type: "searchset"}
	counting := query.Limit == 0 || q.Get("_summary") == "count"
	if q.Get("_total") != "none" || counting {
		query.CountTo = countTo(q, counting)
		total, err := s.deps.Store.CountReports(r.Context(), query)
		if err != nil {
			return err
		}
		bundle.Total = totalOf(total, query.CountTo)
	}
	limit := query.Limit
	next := ""
	if limit > 0 && q.Get("_summary") != "count" {
		query.Limit = limit + 1
		found, err := s.deps.Store.FindReports(r.Context(), query)
		if err != nil {
			return err
		}
		if len(found) > limit {
			found = found[:limit]
			next = encodeCursor(query, found[limit-1])
		}
		if err := s.addReports(r, &bundle, found, q["_include"]); err != nil {
			return err
		}
	}
	return s.answerSearch(w, r, &bundle, next)
}

// totalBound is how far matches are counted where nobody asked for more: to count a million takes longer than to find a page of them.
const totalBound = 1000

// countTo is how far a search counts: as far as it takes where the total is what was asked for. FHIR leaves it to the server otherwise.
func countTo(q url.Values, counting bool) int {
	if counting || q.Get("_total") == "accurate" {
		return 0
	}
	return totalBound
}

// totalOf is the total of a search, or nil where counting stopped before it was known.
func totalOf(n, countedTo int) *int {
	if countedTo > 0 && n > countedTo {
		return nil
	}
	return &n
}

// addReports adds a page of reports, and what is to be included, each resource once.
func (s *Service) addReports(r *http.Request, bundle *fhir.Bundle, found []store.Report, include []string) error {
	base := s.baseURL(r) + "/fhir/"
	who := askerOf(r.Context())
	wants := func(name, resource, clinic string) bool {
		return slices.Contains(include, "DiagnosticReport:"+name) && who.May(access.Read, resource, clinic)
	}
	seen := map[string]bool{}
	var included []fhir.Entry
	add := func(path string, resource any) {
		if !seen[path] {
			seen[path] = true
			included = append(included, fhir.Entry{FullURL: base + path, Resource: resource, Search: &fhir.SearchInfo{Mode: "include"}})
		}
	}
	for _, v := range found {
		set, err := s.setOf(r, v)
		if err != nil {
			return err
		}
		bundle.Entry = append(bundle.Entry, fhir.Entry{FullURL: base + "DiagnosticReport/" + set.Report.ID, Resource: set.Report, Search: &fhir.SearchInfo{Mode: "match"}})
		if wants("patient", "Patient", v.Clinic) || wants("subject", "Patient", v.Clinic) {
			add("Patient/"+set.Patient.ID, set.Patient)
		}
		if wants("result", "Observation", v.Clinic) {
			for _, o := range set.Observations {
				add("Observation/"+o.ID, o)
			}
		}
	}
	bundle.Entry = append(bundle.Entry, included...)
	return nil
}

// answerSearch completes a page of a search, records that it is seen, and sends it.
func (s *Service) answerSearch(w http.ResponseWriter, r *http.Request, bundle *fhir.Bundle, next string) error {
	bundle.Link = s.searchLinks(r, next)
	if err := s.audited(r, record.AuditEntity{Kind: record.EntitySearch, Resource: path.Base(r.URL.Path), Files: len(bundle.Entry)}); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, fhirMedia, bundle)
	return nil
}

// observationBatch reports are read at a time while observations are looked for.
const observationBatch = 50

// totalReports bounds how many reports are read to tell the total of an observation search; above it the total is left out.
const totalReports = 200

// fhirSearchObservations answers GET /fhir/Observation: the observations of the reports that match, in the reports' order.
func (s *Service) fhirSearchObservations(w http.ResponseWriter, r *http.Request) error {
	if err := checkParams(r, knownParams("Observation"), patientParams...); err != nil {
		return err
	}
	q := r.URL.Query()
	query, err := s.reportQuery(r)
	if err != nil {
		return err
	}
	limit := query.Limit
	var ids []string
	for _, given := range q["_id"] {
		ids = values(given)
		query.ReportIDs = nil
		for _, id := range ids {
			if report := fhir.ReportOf(id); report != "" {
				query.ReportIDs = append(query.ReportIDs, report)
			}
		}
		if query.ReportIDs == nil {
			query.ReportIDs = []string{nothing}
		}
	}
	if err := s.resume(r, &query, q.Get("_cursor")); err != nil {
		return err
	}
	matches := func(o fhir.Observation) bool {
		return (ids == nil || slices.Contains(ids, o.ID)) && matchesCodes([]fhir.Concept{o.Code}, q["code"]) && matchesCodes(o.Category, q["category"])
	}
	bundle := fhir.Bundle{ResourceType: "Bundle", Type: "searchset"}
	if q.Get("_total") != "none" {
		if bundle.Total, err = s.countObservations(r, query, matches); err != nil {
			return err
		}
	}
	next := ""
	if limit > 0 && q.Get("_summary") != "count" {
		if next, err = s.addObservations(r, &bundle, query, limit, matches); err != nil {
			return err
		}
	}
	return s.answerSearch(w, r, &bundle, next)
}

// countObservations counts all matches, or returns nil if that would read too much.
func (s *Service) countObservations(r *http.Request, query store.ReportQuery, matches func(fhir.Observation) bool) (*int, error) {
	query.After, query.Limit = nil, totalReports+1
	found, err := s.deps.Store.FindReports(r.Context(), query)
	if err != nil || len(found) > totalReports {
		return nil, err
	}
	total := 0
	for _, v := range found {
		set, err := s.setOf(r, v)
		if err != nil {
			return nil, err
		}
		for _, o := range set.Observations {
			if matches(o) {
				total++
			}
		}
	}
	return &total, nil
}

// addObservations fills a page and returns the cursor of the next one, or "". A report with more observations than fit a page is
// cut and goes on.
func (s *Service) addObservations(r *http.Request, bundle *fhir.Bundle, query store.ReportQuery, limit int, matches func(fhir.Observation) bool) (string, error) {
	base := s.baseURL(r) + "/fhir/"
	// A cursor holds the position of the last report that was given whole, and how many matches of the one after it were given.
	skip, before := 0, store.Position{}
	if text := r.URL.Query().Get("_cursor"); text != "" {
		c, err := decodeCursor(text)
		if err != nil {
			return "", err
		}
		skip, before = c.Skip, c.Position
	}
	if before == (store.Position{}) {
		query.After = nil // not even the first report was given whole
	}
	for {
		query.Limit = observationBatch
		found, err := s.deps.Store.FindReports(r.Context(), query)
		if err != nil {
			return "", err
		}
		for _, v := range found {
			set, err := s.setOf(r, v)
			if err != nil {
				return "", err
			}
			given := 0
			for _, o := range set.Observations {
				if !matches(o) {
					continue
				}
				if given++; given <= skip {
					continue
				}
				if len(bundle.Entry) == limit {
					return cursor{SnapshotMs: query.Snapshot.UnixMilli(), Position: before, Skip: given - 1}.encode(), nil
				}
				bundle.Entry = append(bundle.Entry, fhir.Entry{FullURL: base + "Observation/" + o.ID, Resource: o, Search: &fhir.SearchInfo{Mode: "match"}})
			}
			skip = 0
			before = store.PositionOf(v, query.Sort)
		}
		if len(found) < observationBatch {
			return "", nil
		}
		at := before
		query.After = &at
	}
}

// fhirSearchPatients answers GET /fhir/Patient.
func (s *Service) fhirSearchPatients(w http.ResponseWriter, r *http.Request) error {
	if err := checkParams(r, append(fhir.SearchParams()["Patient"], fhir.Param{Name: "_id", Type: "token"})); err != nil {
		return err
	}
	q := r.URL.Query()
	limit, err := intParam(q, "_count", defaultCount, 0, maxCount)
	if err != nil {
		return err
	}
	query := store.PatientQuery{Clinics: clinicsOf(r.Context()), Limit: limit + 1, Search: strings.Join(q["name"], " "), ByKey: true, AfterKey: q.Get("_cursor")}
	for _, given := range q["identifier"] {
		query.Identifiers = identifiers(given)
	}
	for _, given := range q["_id"] {
		query.Keys = patientKeys(given)
	}
	if strings.Trim(query.AfterKey, "0123456789abcdef") != "" {
		return fault.New(fault.Invalid, "cursor-invalid", "the cursor was not made by this service; begin again with the first page")
	}
	query.CountTo = countTo(q, limit == 0 || q.Get("_summary") == "count")
	found, total, err := s.deps.Store.FindPatients(r.Context(), query)
	if err != nil {
		return err
	}
	bundle := fhir.Bundle{ResourceType: "Bundle", Type: "searchset", Total: totalOf(total, query.CountTo)}
	next := ""
	if len(found) > limit {
		if found = found[:limit]; limit > 0 {
			next = found[limit-1].Key
		}
	}
	for _, p := range found {
		bundle.Entry = append(bundle.Entry, fhir.Entry{FullURL: s.baseURL(r) + "/fhir/Patient/" + fhir.PatientID(p.Key),
			Resource: fhir.ConvertPatient(p.PatientIdentity, p.Clinic, p.UpdatedAt), Search: &fhir.SearchInfo{Mode: "match"}})
	}
	return s.answerSearch(w, r, &bundle, next)
}
