package report

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// matchesCodes tells whether every given parameter has an alternative among the concepts.
func matchesCodes(concepts []fhir.Concept, given []string) bool {
	for _, text := range given {
		if !slices.ContainsFunc(values(text), func(token string) bool { return fhir.HasCode(concepts, token) }) {
			return false
		}
	}
	return true
}

// results are a page of a search that is being filled: each resource is in it once.
type results struct {
	ctx              context.Context
	base             string // of addresses, up to the kind of resource
	search           *search
	matches, include []fhir.Entry
	seen             map[string]bool
	patients         []string // keys of those to be included
}

func (s *Service) newResults(r *http.Request, asked *search) *results {
	return &results{ctx: r.Context(), base: s.baseURL(r) + "/fhir/", search: asked, seen: map[string]bool{}}
}

func (p *results) match(path string, resource any) {
	p.seen[path] = true
	p.matches = append(p.matches, fhir.Entry{FullURL: p.base + path, Resource: resource, Search: &fhir.SearchInfo{Mode: "match"}})
}

func (p *results) add(path string, resource any) {
	if !p.seen[path] {
		p.seen[path] = true
		p.include = append(p.include, fhir.Entry{FullURL: p.base + path, Resource: resource, Search: &fhir.SearchInfo{Mode: "include"}})
	}
}

// refers notes what a match of a report refers to, and adds what is asked for of it. What whoever asks may not see is left out.
func (p *results) refers(l loaded) {
	who := askerOf(p.ctx)
	may := func(resource string) bool { return who.May(access.Read, resource, l.found.Clinic) }
	if p.search.wants("patient", "subject") && may("Patient") && !slices.Contains(p.patients, l.found.PatientKey) {
		p.patients = append(p.patients, l.found.PatientKey)
	}
	if p.search.wants("result") && may("Observation") {
		for _, o := range l.set.Observations {
			p.add("Observation/"+o.ID, o)
		}
	}
	if p.search.wants("imaging-study", "derived-from") && may("ImagingStudy") {
		p.add("ImagingStudy/"+l.set.Study.ID, l.set.Study)
	}
	if p.search.wants("device") && may("Device") {
		for _, d := range l.set.Devices {
			p.add("Device/"+d.ID, d)
		}
	}
	if len(p.search.q["_revinclude"]) > 0 && may("Provenance") {
		provenance := l.provenance()
		p.add("Provenance/"+provenance.ID, provenance)
	}
}

// addPatients adds those that matches refer to, as they are now.
func (s *Service) addPatients(p *results) error {
	if len(p.patients) == 0 {
		return nil
	}
	found, _, err := s.deps.Store.FindPatients(p.ctx, store.PatientQuery{Clinics: clinicsOf(p.ctx), Keys: p.patients, ByKey: true, Limit: len(p.patients)})
	if err != nil {
		return err
	}
	for _, patient := range found {
		p.add("Patient/"+fhir.PatientID(patient.Key), fhir.ConvertPatient(patient.PatientIdentity, patient.Clinic, patient.UpdatedAt))
	}
	return nil
}

// answerSearch completes a page of a search, records that it is seen, and sends it. total nil: the answer has none.
func (s *Service) answerSearch(w http.ResponseWriter, r *http.Request, p *results, total *int, next string) error {
	if err := s.addPatients(p); err != nil {
		return err
	}
	bundle := fhir.Bundle{ResourceType: "Bundle", Type: "searchset", Link: p.search.links(s.baseURL(r)+r.URL.Path, next), Entry: append(p.matches, p.include...)}
	if p.search.wantsTotal() {
		bundle.Total = total
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntitySearch, Resource: path.Base(r.URL.Path), Files: len(bundle.Entry)}); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, fhirMedia, bundle)
	return nil
}

// narrow keeps what is among ids too; nil: no restriction.
func narrow(list, ids []string) []string {
	switch {
	case ids == nil:
		return list
	case list == nil:
		return ids
	}
	return intersect(list, ids)
}

// reportsOf reads the parameters that searches of reports, and of what is made of one each, share.
func (s *Service) reportsOf(r *http.Request, asked *search, ids func(string) string) (store.ReportQuery, error) {
	query, err := s.reportQuery(r.Context(), asked.q, asked.limit)
	if err != nil {
		return query, err
	}
	if err := reportIdentifiers(&query, asked.q["identifier"]); err != nil {
		return query, err
	}
	if given := asked.ids(); given != nil {
		reports := []string{nothing}
		for _, id := range given {
			if report := ids(id); report != "" {
				reports = append(reports, report)
			}
		}
		query.ReportIDs = narrow(query.ReportIDs, reports)
	}
	return query, s.resume(r, &query, asked.q.Get("_cursor"))
}

func same(id string) string { return id }

// fhirSearchReports answers GET /fhir/DiagnosticReport.
func (s *Service) fhirSearchReports(w http.ResponseWriter, r *http.Request) error {
	asked, err := searchOf(r, "DiagnosticReport")
	if err != nil {
		return err
	}
	query, err := s.reportsOf(r, asked, same)
	if err != nil {
		return err
	}
	// Every report has the same code and categories: another one matches nothing.
	code := []fhir.Concept{{Coding: []fhir.Coding{{System: fhir.MeasuresSystem, Code: fhir.ReportCode}}}}
	if !matchesCodes(code, asked.q["code"]) || !matchesCodes(fhir.ReportCategories(), asked.q["category"]) {
		query.ReportIDs = []string{nothing}
	}
	return s.searchReports(w, r, asked, query, func(p *results, l loaded) { p.match("DiagnosticReport/"+l.set.Report.ID, l.set.Report) })
}

// fhirSearchStudies answers GET /fhir/ImagingStudy.
func (s *Service) fhirSearchStudies(w http.ResponseWriter, r *http.Request) error {
	asked, err := searchOf(r, "ImagingStudy")
	if err != nil {
		return err
	}
	status := asked.q["status"]
	delete(asked.q, "status")
	query, err := s.reportsOf(r, asked, same)
	if err != nil {
		return err
	}
	for _, given := range status { // every study has the same
		asked.q.Add("status", given)
		if !slices.Contains(tokens(given), "available") {
			query.ReportIDs = []string{nothing}
		}
	}
	return s.searchReports(w, r, asked, query, func(p *results, l loaded) { p.match("ImagingStudy/"+l.set.Study.ID, l.set.Study) })
}

// fhirSearchProvenance answers GET /fhir/Provenance: those of the newest versions.
func (s *Service) fhirSearchProvenance(w http.ResponseWriter, r *http.Request) error {
	asked, err := searchOf(r, "Provenance")
	if err != nil {
		return err
	}
	query, err := s.reportsOf(r, asked, func(id string) string { report, _, _ := fhir.ParseProvenanceID(id); return report })
	if err != nil {
		return err
	}
	for _, given := range asked.q["target"] {
		reports := []string{nothing}
		for _, target := range values(given) {
			reports = append(reports, reportOfTarget(target))
		}
		query.ReportIDs = narrow(query.ReportIDs, reports)
	}
	ids := asked.ids()
	return s.searchReports(w, r, asked, query, func(p *results, l loaded) {
		if provenance := l.provenance(); ids == nil || slices.Contains(ids, provenance.ID) {
			p.match("Provenance/"+provenance.ID, provenance)
		}
	})
}

// reportOfTarget is the report that a reference to it, its study or one of its observations leads to, without the version.
func reportOfTarget(reference string) string {
	reference, _, _ = strings.Cut(reference, "/_history/")
	id := path.Base(reference)
	if strings.HasSuffix(path.Dir(reference), "Observation") {
		id = fhir.ReportOf(id)
	}
	if id == "" {
		return nothing
	}
	return id
}

// searchReports answers a search of what there is one a report.
func (s *Service) searchReports(w http.ResponseWriter, r *http.Request, asked *search, query store.ReportQuery, give func(*results, loaded)) error {
	p := s.newResults(r, asked)
	var total *int
	if asked.wantsTotal() {
		query.CountTo = asked.countTo()
		n, err := s.deps.Store.CountReports(r.Context(), query)
		if err != nil {
			return err
		}
		total = totalOf(n, query.CountTo)
	}
	next := ""
	if !asked.countOnly {
		query.Limit = asked.limit + 1
		found, err := s.deps.Store.FindReports(r.Context(), query)
		if err != nil {
			return err
		}
		if len(found) > asked.limit {
			found = found[:asked.limit]
			next = encodeCursor(query, found[asked.limit-1])
		}
		for _, v := range found {
			l, err := s.load(r, v)
			if err != nil {
				return err
			}
			give(p, l)
			p.refers(l)
		}
	}
	return s.answerSearch(w, r, p, total, next)
}

// totalBound is how far matches are counted where nobody asked for more: to count a million takes longer than to find a page of them.
const totalBound = 1000

// countTo is how far a search counts: as far as it takes where the total is what was asked for. FHIR leaves it to the server otherwise.
func (s *search) countTo() int {
	if s.countOnly || s.total == "accurate" {
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

// observationBatch reports are read at a time while observations are looked for.
const observationBatch = 50

const (
	// totalReports bounds how many reports are read to tell the total of an observation search; above it the total is left out.
	totalReports = 200
	// accurateReports bounds them where the client asks for the number alone, or for an accurate one: some seconds of work.
	accurateReports = 5000
)

// fhirSearchObservations answers GET /fhir/Observation: the observations of the reports that match, in the reports' order.
func (s *Service) fhirSearchObservations(w http.ResponseWriter, r *http.Request) error {
	asked, err := searchOf(r, "Observation")
	if err != nil {
		return err
	}
	status := asked.q["status"]
	if err := observationStatuses(asked); err != nil {
		return err
	}
	query, err := s.reportsOf(r, asked, fhir.ReportOf)
	if err != nil {
		return err
	}
	if status != nil {
		asked.q["status"] = status
	}
	for _, given := range asked.q["derived-from"] {
		reports := []string{nothing}
		for _, study := range values(given) {
			reports = append(reports, reportOfTarget(study))
		}
		query.ReportIDs = narrow(query.ReportIDs, reports)
	}
	ids := asked.ids()
	matches := func(o fhir.Observation) bool {
		return (ids == nil || slices.Contains(ids, o.ID)) && matchesCodes([]fhir.Concept{o.Code}, asked.q["code"]) && matchesCodes(o.Category, asked.q["category"])
	}
	p := s.newResults(r, asked)
	var total *int
	if asked.wantsTotal() {
		if total, err = s.countObservations(r, asked, query, matches); err != nil {
			return err
		}
	}
	next := ""
	if !asked.countOnly {
		if next, err = s.addObservations(r, p, query, matches); err != nil {
			return err
		}
	}
	return s.answerSearch(w, r, p, total, next)
}

// observationStatuses turns the statuses of observations into those of their reports.
func observationStatuses(asked *search) error {
	given := asked.q["status"]
	if len(given) != 1 {
		return nil // none, or refused with the others
	}
	var of []string
	for _, status := range tokens(given[0]) {
		switch status {
		case fhir.Preliminary:
			of = append(of, fhir.Registered, fhir.Partial, fhir.Preliminary)
		case fhir.Registered, fhir.Partial: // no observation has these
			of = append(of, nothing)
		default:
			of = append(of, status)
		}
	}
	asked.q["status"] = []string{strings.Join(of, ",")}
	return nil
}

// countObservations counts all matches, or returns nil if that would read too much.
func (s *Service) countObservations(r *http.Request, asked *search, query store.ReportQuery, matches func(fhir.Observation) bool) (*int, error) {
	query.After = nil
	bound := totalReports
	if asked.countOnly || asked.total == "accurate" {
		bound = accurateReports
	}
	query.CountTo = bound
	reports, err := s.deps.Store.CountReports(r.Context(), query)
	if err != nil || reports > bound {
		if err == nil && asked.countOnly {
			return nil, fault.New(fault.Unsupported, "too-costly", "the observations of more than %d reports are not counted; narrow the search, for instance by date", bound)
		}
		return nil, err
	}
	total := 0
	for query.Limit = observationBatch; ; {
		found, err := s.deps.Store.FindReports(r.Context(), query)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			l, err := s.load(r, v)
			if err != nil {
				return nil, err
			}
			for _, o := range l.set.Observations {
				if matches(o) {
					total++
				}
			}
			at := store.PositionOf(v, query.Sort)
			query.After = &at
		}
		if len(found) < observationBatch {
			return &total, nil
		}
	}
}

// addObservations fills a page and returns the cursor of the next one, or "". A report with more observations than fit a page is
// cut and goes on.
func (s *Service) addObservations(r *http.Request, p *results, query store.ReportQuery, matches func(fhir.Observation) bool) (string, error) {
	// A cursor holds the position of the last report that was given whole, and how many matches of the one after it were given.
	skip, before := 0, store.Position{}
	if text := p.search.q.Get("_cursor"); text != "" {
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
			l, err := s.load(r, v)
			if err != nil {
				return "", err
			}
			given, added := 0, false
			for _, o := range l.set.Observations {
				if !matches(o) {
					continue
				}
				if given++; given <= skip {
					continue
				}
				if len(p.matches) == p.search.limit {
					if added {
						p.refers(l)
					}
					return cursor{SnapshotMs: query.Snapshot.UnixMilli(), Position: before, Skip: given - 1}.encode(), nil
				}
				p.match("Observation/"+o.ID, o)
				added = true
			}
			if added {
				p.refers(l)
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
	asked, err := searchOf(r, "Patient")
	if err != nil {
		return err
	}
	q := asked.q
	query := store.PatientQuery{Clinics: clinicsOf(r.Context()), Limit: asked.limit + 1, Search: strings.Join(q["name"], " "), ByKey: true}
	query.ByUpdate = q.Get("_sort") == "_lastUpdated"
	query.ByKey = !query.ByUpdate
	for n, given := range q["identifier"] {
		if n > 0 {
			return fault.New(fault.Invalid, "parameter-twice", "identifier should be given once")
		}
		query.Identifiers = identifiers(given)
	}
	if ids := asked.ids(); ids != nil {
		query.Keys = []string{nothing}
		for _, id := range ids {
			query.Keys = append(query.Keys, patientKeys(id)...)
		}
	}
	if err := s.patientFilters(asked, &query); err != nil {
		return err
	}
	if text := q.Get("_cursor"); text != "" {
		at, err := decodePlace(text)
		if err != nil {
			return err
		}
		query.AfterKey, query.AfterUpdate = at.Key, timeOfMs(at.Ms)
	}
	query.CountTo = asked.countTo()
	found, total, err := s.deps.Store.FindPatients(r.Context(), query)
	if err != nil {
		return err
	}
	p := s.newResults(r, asked)
	next := ""
	if asked.countOnly {
		found = nil
	}
	if len(found) > asked.limit {
		found = found[:asked.limit]
		last := found[asked.limit-1]
		next = place{Ms: last.UpdatedAt.UnixMilli(), Key: last.Key}.encode()
	}
	for _, patient := range found {
		p.match("Patient/"+fhir.PatientID(patient.Key), fhir.ConvertPatient(patient.PatientIdentity, patient.Clinic, patient.UpdatedAt))
	}
	return s.answerSearch(w, r, p, totalOf(total, query.CountTo), next)
}

// patientFilters reads what is known of a person.
func (s *Service) patientFilters(asked *search, query *store.PatientQuery) (err error) {
	for _, given := range asked.q["birthdate"] {
		days, negate, err := daySpan("birthdate", given, s.cfg.Location)
		if err != nil {
			return err
		}
		if negate {
			query.NotBirthDates = append(query.NotBirthDates, days)
		} else {
			query.BirthDates = append(query.BirthDates, days)
		}
	}
	for _, given := range asked.q["gender"] {
		sexes := []string{nothing}
		for _, gender := range tokens(given) {
			if sex, ok := map[string]string{"male": "M", "female": "F", "other": "O"}[gender]; ok {
				sexes = append(sexes, sex)
			}
		}
		query.Sexes = narrow(query.Sexes, sexes)
	}
	query.Updated, query.NotUpdated, err = s.timeSpans(asked.q, "_lastUpdated")
	return err
}
