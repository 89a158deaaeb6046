package report

import (
	"net/http"
	"slices"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// readTerms answers a read of a CodeSystem or ValueSet. They hold nothing of a patient, and are not recorded.
func (s *Service) readTerms(kind string, all []fhir.Terms) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		for _, t := range all {
			if t.ID == r.PathValue("id") {
				return s.answerRead(w, r, record.AuditEntity{}, kind+"/"+t.ID, s.cfg.Version, time.Time{}, t.Resource)
			}
		}
		return notThere(kind)
	}
}

// searchTerms answers a search of them. There are few: they are all on one page.
func (s *Service) searchTerms(kind string, all []fhir.Terms) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		asked, err := searchOf(r, kind)
		if err != nil {
			return err
		}
		p, total, ids := s.newResults(r, asked), 0, asked.ids()
		for _, t := range all {
			if ids != nil && !slices.Contains(ids, t.ID) {
				continue
			}
			if given := asked.q["url"]; given != nil && !slices.ContainsFunc(given, func(text string) bool { return slices.Contains(values(text), t.URL) }) {
				continue
			}
			if total++; !asked.countOnly {
				p.match(kind+"/"+t.ID, t.Resource)
			}
		}
		return s.answerSearch(w, r, p, &total, "")
	}
}
