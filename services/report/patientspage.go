package report

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	patientsPerRow = 50
	// maxPatientOffset bounds how far people turn pages of patients: the database goes through all the rows before. Who looks for somebody searches.
	maxPatientOffset = 10_000
)

func (s *Service) patientsPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	offset, err := intParam(q, "from", 0, 0, maxPatientOffset)
	if err != nil {
		return err
	}
	search := strings.TrimSpace(q.Get("q"))
	query := store.PatientQuery{Clinics: clinicsOf(r.Context()), Search: search, Changed: search == "", Offset: offset, Limit: patientsPerRow + 1, CountTo: totalBound}
	only := q.Get("only")
	onlyText := map[string]string{string(record.ImageUngradable): "could not be graded", string(record.ImageFailed): "could not be analysed"}[only]
	if onlyText == "" {
		only = ""
	} else {
		query.ImageStatuses = []string{only}
	}
	found, total, err := s.deps.Store.FindPatients(r.Context(), query)
	if err != nil {
		return err
	}
	more := len(found) > patientsPerRow
	if more {
		found = found[:patientsPerRow]
	}
	view := web.PatientsView{Shell: s.shell(r, "Patients", web.Patients), Search: search, Only: only, OnlyText: onlyText, From: offset + 1, To: offset + len(found),
		Total: web.Total{N: min(total, totalBound), More: total > totalBound}}
	for _, p := range found {
		reports, err := s.deps.Store.FindReports(r.Context(), store.ReportQuery{Clinics: clinicsOf(r.Context()), PatientKeys: []string{p.Key}, Sort: store.SortStudyDate, Descending: true, Limit: 1})
		if err != nil {
			return err
		}
		for _, v := range reports {
			line, err := s.line(r, v)
			if err != nil {
				return err
			}
			view.Lines = append(view.Lines, line)
		}
	}
	link := func(at int) string {
		return "/patients?" + url.Values{"q": {search}, "only": {only}, "from": {fmt.Sprint(at)}}.Encode()
	}
	known := offset + len(found)
	if more && known <= maxPatientOffset {
		known++ // one at least
	}
	view.PreviousLink, view.NextLink = pageLinks(offset, len(found), known, patientsPerRow, link)
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityPatientList, Files: len(view.Lines)}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Patients, view)
}
