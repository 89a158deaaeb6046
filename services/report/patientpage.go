package report

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vesselmap"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	// maxStudies of a patient can be chosen on the page; a person has one a year or so.
	maxStudies = 50
	// maxVersions are listed, and looked up: each is read from its bucket. A report has a few, and one more for each batch of pictures that
	// came late.
	maxVersions = 12
)

// patientPage answers GET /patients/{id}[?study=&version=&od=&os=]: a study of a patient, the newest version unless another is asked for;
// od and os choose a picture of the right and the left eye by its place, from 1.
func (s *Service) patientPage(w http.ResponseWriter, r *http.Request) error {
	p, err := s.patientByID(r, r.PathValue("id"))
	if err != nil {
		return err
	}
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
	number, err := intParam(r.URL.Query(), "version", 0, 1, 1<<30)
	if err != nil {
		return err
	}
	shown := reports[chosen]
	if number > 0 {
		if shown, err = s.visibleReport(r.Context(), shown.ReportID, number); err != nil {
			return err
		}
	}
	doc, err := s.documentOf(r.Context(), shown)
	if err != nil {
		return err
	}
	view := patientView(doc)
	view.Shell = s.shell(r, "Patient", web.Patients)
	for _, c := range vesselmap.WidthColours() {
		view.WidthShades = append(view.WidthShades, fmt.Sprintf("#%06x", uint32(c)))
	}
	for n, v := range reports {
		text := dateText(v.StudyDate)
		if text == "" {
			text = "Study without date"
		}
		view.Studies = append(view.Studies, web.Choice{Text: text, Chosen: n == chosen, Link: studyLink(p.Key, v.ReportID)})
	}
	if err := s.addVersions(r.Context(), &view, doc, p.Key); err != nil {
		return err
	}
	choosePictures(&view, r.URL, doc, p.Key)
	// An older version may be about whoever the study was taken to be of then.
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityPatient, PatientKey: doc.Patient.Key, Clinic: p.Clinic, Resource: doc.ReportID}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Patient, view)
}

// addVersions lists the newest versions of the report that is shown, and what each changed.
func (s *Service) addVersions(ctx context.Context, view *web.PatientView, doc *record.Report, patientKey string) error {
	versions, err := s.deps.Store.Versions(ctx, doc.ReportID)
	if err != nil {
		return err
	}
	view.MoreVersions = max(0, len(versions)-maxVersions)
	listed := versions[view.MoreVersions:]
	var before *record.Report
	if view.MoreVersions > 0 {
		if before, err = s.documentOf(ctx, versions[view.MoreVersions-1]); err != nil {
			return err
		}
	}
	for _, v := range listed {
		after := doc
		if v.Version != doc.Version {
			if after, err = s.documentOf(ctx, v); err != nil {
				return err
			}
		}
		line := web.VersionView{Number: v.Version, Status: string(v.Status), StatusText: statusTexts[string(v.Status)], IssuedAt: v.IssuedAt, Changes: versionChanges(before, after),
			Link: studyLink(patientKey, doc.ReportID), Document: fmt.Sprintf("/api/reports/%s?version=%d", doc.ReportID, v.Version), Shown: v.Version == doc.Version}
		if !v.Newest {
			line.Link += fmt.Sprintf("&version=%d", v.Version)
		}
		view.Versions = append(view.Versions, line)
		before = after
	}
	slices.Reverse(view.Versions)
	if len(view.Versions) > 0 && view.Versions[0].Number != doc.Version {
		view.OlderThan = &view.Versions[0]
	}
	return nil
}

// choosePictures lets the parameters od and os choose another picture of an eye than the one that stands for it, and makes the links for that.
func choosePictures(view *web.PatientView, asked *url.URL, doc *record.Report, patientKey string) {
	q := asked.Query()
	for n, side := range []record.Laterality{record.RightEye, record.LeftEye} {
		images := view.Eyes[n].Images
		// What is no place of a picture chooses none: the one that stands for the eye is shown.
		if at, err := strconv.Atoi(q.Get(sideParam[side])); err == nil && at >= 1 && at <= len(images) {
			for i := range images {
				images[i].Chosen = i == at-1
			}
		}
		for i := range images {
			link := url.Values{"study": {doc.ReportID}, sideParam[side]: {strconv.Itoa(i + 1)}}
			other := sideParam[record.LeftEye]
			if side == record.LeftEye {
				other = sideParam[record.RightEye]
			}
			for _, name := range []string{"version", other} {
				if v := q.Get(name); v != "" {
					link.Set(name, v)
				}
			}
			images[i].Link = "/patients/" + fhir.PatientID(patientKey) + "?" + link.Encode()
		}
	}
}
