package report

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	// peopleShown of each list are shown, with a link to all.
	peopleShown = 10
	// peopleLooked reports are read at most to find them: of some the eye has another picture that is good.
	peopleLooked = 40
	// laterStudies of a patient are looked at for a picture of the eye that came since.
	laterStudies = 3
)

// people lists the patients of a night whom a person should see to. until is zero for the night that goes on.
func (s *Service) people(ctx context.Context, clinics []string, night, until time.Time) (v web.PeopleView, err error) {
	span := store.Span{From: night, To: until}
	v.Over, v.EyesLink, v.AmendedLink = !until.IsZero(), patientsOfNight(night, "", string(record.ImageUngradable)), "/patients?status="+string(record.Amended)
	if v.Eyes, v.MoreEyes, err = s.eyesAgain(ctx, clinics, span); err != nil {
		return v, err
	}
	v.AmendedFrom = morningBefore(night)
	deadline := s.overdue(s.deps.Clock())
	amended := store.ReportQuery{Clinics: clinics, Statuses: []string{string(record.Amended)}, Updated: []store.Span{{From: v.AmendedFrom}}, Sort: store.SortUpdated, Descending: true, Limit: peopleShown + 1}
	if v.Over {
		v.AmendedFrom = night
		amended.Updated, amended.Snapshot = []store.Span{span}, until
		deadline = store.Span{From: night.Add(s.cfg.ManifestDeadline), To: until.Add(s.cfg.ManifestDeadline)}
	}
	found, err := s.deps.Store.FindReports(ctx, amended)
	if err != nil {
		return v, err
	}
	if v.MoreAmended = len(found) > peopleShown; v.MoreAmended {
		found = found[:peopleShown]
	}
	for _, r := range found {
		line, err := s.amendedLine(ctx, r)
		if err != nil {
			return v, err
		}
		v.Amended = append(v.Amended, line)
	}
	ids, total, err := s.deps.Store.Incomplete(ctx, clinics, deadline, peopleShown)
	if err != nil {
		return v, err
	}
	v.MoreIncomplete = total > len(ids)
	docs, err := s.newestOf(ctx, clinics, ids)
	if err != nil {
		return v, err
	}
	for _, doc := range docs {
		n := len(doc.Missing)
		v.Incomplete = append(v.Incomplete, changeLine(doc, fmt.Sprintf("%d announced %s not come as announced.", n, choose(n, "picture has", "pictures have"))))
	}
	return v, nil
}

// newestOf are the newest versions of reports, in the order of their ids as given.
func (s *Service) newestOf(ctx context.Context, clinics, ids []string) ([]*record.Report, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := s.deps.Store.FindReports(ctx, store.ReportQuery{ReportIDs: ids, Clinics: clinics, Limit: len(ids)})
	if err != nil {
		return nil, err
	}
	var docs []*record.Report
	for _, id := range ids {
		for _, r := range found {
			if r.ReportID != id {
				continue
			}
			doc, err := s.documentOf(ctx, r)
			if err != nil {
				return nil, err
			}
			docs = append(docs, doc)
		}
	}
	return docs, nil
}

// eyesAgain are the eyes of which no picture could be measured, of the pictures that came in a span.
func (s *Service) eyesAgain(ctx context.Context, clinics []string, span store.Span) (lines []web.EyeLine, more bool, err error) {
	ids, err := s.deps.Store.ReportsWith(ctx, clinics, []record.ImageStatus{record.ImageUngradable, record.ImageFailed}, span, peopleLooked)
	if err != nil {
		return nil, false, err
	}
	docs, err := s.newestOf(ctx, clinics, ids)
	if err != nil {
		return nil, false, err
	}
	for _, doc := range docs {
		if doc.Eyes == nil { // by a program that told nothing of eyes
			doc.Eyes = bothEyes(doc)
			doc.NeedsPerson = needsPerson(doc)
		}
		for _, task := range doc.NeedsPerson {
			if task.Code != taskUngradable && task.Code != taskFailed {
				continue
			}
			if len(lines) == peopleShown {
				return lines, true, nil
			}
			at := changeLine(doc, task.Text)
			line := web.EyeLine{Link: at.Link, Name: at.Name, ID: at.ID, Clinic: at.Clinic, Date: at.Date, Text: at.Text}
			if !span.To.IsZero() {
				if line.Since, err = s.eyeSince(ctx, clinics, doc, task.Laterality); err != nil {
					return nil, false, err
				}
			}
			lines = append(lines, line)
		}
	}
	return lines, len(ids) == peopleLooked, nil
}

// eyeSince says whether an eye was photographed and measured in a later study.
func (s *Service) eyeSince(ctx context.Context, clinics []string, doc *record.Report, side record.Laterality) (string, error) {
	later, err := s.deps.Store.FindReports(ctx, store.ReportQuery{PatientKeys: []string{doc.Patient.Key}, Clinics: clinics, Sort: store.SortStudyDate, Descending: true, Limit: laterStudies})
	if err != nil {
		return "", err
	}
	for _, r := range later {
		if r.ReportID == doc.ReportID || r.StudyDate < doc.StudyDate {
			continue
		}
		other, err := s.documentOf(ctx, r)
		if err != nil {
			return "", err
		}
		if standing(other, side) != nil {
			return "Photographed again: measured in the study of " + other.StudyDate + ".", nil
		}
	}
	return "Still to be photographed again.", nil
}

func changeLine(doc *record.Report, text string) web.ChangeLine {
	return web.ChangeLine{Link: "/patients/" + fhir.PatientID(doc.Patient.Key) + "?study=" + doc.ReportID, Name: personName(doc.Patient.Name), ID: doc.Patient.ID, Clinic: doc.Clinic, Date: doc.StudyDate,
		Text: text, At: doc.IssuedAt}
}

// amendedLine says of an amended version what changed.
func (s *Service) amendedLine(ctx context.Context, r store.Report) (web.ChangeLine, error) {
	doc, err := s.documentOf(ctx, r)
	if err != nil {
		return web.ChangeLine{}, err
	}
	before, err := s.deps.Store.Version(ctx, r.ReportID, r.Version-1)
	if err != nil {
		return web.ChangeLine{}, fmt.Errorf("finding the version before an amended one: %w", err)
	}
	prev, err := s.documentOf(ctx, before)
	if err != nil {
		return web.ChangeLine{}, fmt.Errorf("reading the version before an amended one: %w", err)
	}
	return changeLine(doc, amendment(prev, doc)), nil
}

// amendment says in a sentence what a version of a report changed.
func amendment(prev, next *record.Report) string {
	before := map[string]record.ReportImage{}
	sops := map[string]bool{}
	for _, i := range prev.Images {
		before[i.SOPUID+" "+i.Sha256], sops[i.SOPUID] = i, true
	}
	var added, corrected, again int
	for _, i := range next.Images {
		old, known := before[i.SOPUID+" "+i.Sha256]
		switch {
		case !known && sops[i.SOPUID]:
			corrected++
		case !known:
			added++
		case old.Status != i.Status || old.ResultKey != i.ResultKey:
			again++
		}
	}
	var parts []string
	say := func(n int, one, many string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, choose(n, one, many)))
		}
	}
	say(added, "picture came later", "pictures came later")
	say(corrected, "picture came again with other content", "pictures came again with other content")
	say(again, "picture has a new result", "pictures have new results")
	if prev.Patient != next.Patient {
		parts = append(parts, "the patient's entry is another one")
	}
	say(len(next.Rejected)-len(prev.Rejected), "more file is in quarantine", "more files are in quarantine")
	say(len(prev.Rejected)-len(next.Rejected), "file left quarantine", "files left quarantine")
	if len(prev.Missing) != len(next.Missing) {
		parts = append(parts, fmt.Sprintf("%d announced %s missing", len(next.Missing), choose(len(next.Missing), "picture is", "pictures are")))
	}
	if len(parts) == 0 {
		return "What is said beside the pictures changed, e.g. how they compare with earlier visits."
	}
	return sentence(strings.Join(parts, "; "))
}

// tonightPeople answers GET /tonight/people: the lists of patients of the page, anew.
func (s *Service) tonightPeople(w http.ResponseWriter, r *http.Request) error {
	view, err := s.peopleTonight(r)
	if err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.People, view)
}

// peopleTonight are the patients that the page shows, which is recorded.
func (s *Service) peopleTonight(r *http.Request) (web.PeopleView, error) {
	view, err := s.people(r.Context(), clinicsOf(r.Context()), s.night(), time.Time{})
	if err != nil {
		return view, err
	}
	recent, err := s.deps.Store.FindReports(r.Context(), store.ReportQuery{Clinics: clinicsOf(r.Context()), Sort: store.SortUpdated, Descending: true, Limit: recentReports})
	if err != nil {
		return view, err
	}
	for _, found := range recent {
		line, err := s.line(r, found)
		if err != nil {
			return view, err
		}
		view.Recent = append(view.Recent, line)
	}
	return view, s.peopleSeen(r, view)
}

// peopleSeen records that patients were shown.
func (s *Service) peopleSeen(r *http.Request, v web.PeopleView) error {
	links := map[string]bool{}
	for _, l := range v.Eyes {
		links[l.Link] = true
	}
	for _, l := range slices.Concat(v.Amended, v.Incomplete) {
		links[l.Link] = true
	}
	for _, l := range v.Recent {
		links[l.Link] = true
	}
	return s.audited(r, record.AuditEntity{Kind: record.EntityReportList, Files: len(links)})
}
