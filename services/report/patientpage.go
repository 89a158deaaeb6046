package report

import (
	"fmt"
	"net/http"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

func (s *Service) patientPage(w http.ResponseWriter, r *http.Request) error {
	p, err := s.patientByID(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	const maxStudies = 50
	reports, err := s.deps.Store.FindReports(r.Context(), store.ReportQuery{Clinics: clinicsOf(r.Context()), PatientKeys: []string{p.Key}, Sort: store.SortStudyDate, Descending: true, Limit: maxStudies})
	if err != nil {
		return err
	}
	chosen := -1
	for n, v := range reports {
		if id := r.URL.Query().Get("study"); chosen < 0 && (id == "" || id == v.ReportID) {
			chosen = n
		}
	}
	if chosen < 0 {
		return fault.New(fault.NotFound, "not-found", "this patient has no such study")
	}
	doc, err := s.documentOf(r.Context(), reports[chosen])
	if err != nil {
		return err
	}
	view := patientView(doc)
	view.Shell = s.shell(r, "Patient", web.Patients)
	for n, v := range reports {
		text := v.StudyDate
		if text == "" {
			text = "Study without date"
		}
		view.Studies = append(view.Studies, web.Choice{Text: text, Chosen: n == chosen,
			Link: "/patients/" + fhir.PatientID(v.PatientKey) + "?study=" + v.ReportID})
	}
	versions, err := s.deps.Store.Versions(r.Context(), doc.ReportID)
	if err != nil {
		return err
	}
	for _, v := range versions {
		view.Versions = append(view.Versions, web.Choice{Text: fmt.Sprintf("v%d %s", v.Version, v.Status), Chosen: v.Newest,
			Link: fmt.Sprintf("/api/reports/%s?version=%d", v.ReportID, v.Version)})
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityPatient, PatientKey: p.Key, Clinic: p.Clinic, Resource: doc.ReportID}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Patient, view)
}
