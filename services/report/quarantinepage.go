package report

import (
	"net/http"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

func quarantinedLine(f store.Rejected) web.QuarantineLine {
	d := lineOf(f)
	line := web.QuarantineLine{ID: d.ID, Link: "/quarantine/" + d.ID, Reason: d.Reason, Action: d.Quarantine.Action, Code: d.Code, File: d.InboxKey, Member: d.Member,
		Clinic: d.Clinic, ReceivedAt: d.ReceivedAt, Size: sizeInWords(d.SizeBytes)}
	if d.Patient != nil {
		line.Patient = strings.TrimSpace(personName(d.Patient.Name) + " " + d.Patient.ID)
	}
	return line
}

var stateTexts = map[quarantine.State]string{
	quarantine.Releasing: "is being released", quarantine.Released: "was released", quarantine.Discarded: "was discarded",
}

func (s *Service) quarantinedPage(w http.ResponseWriter, r *http.Request) error {
	return s.showQuarantined(w, r, http.StatusOK, pathID(r), nil)
}

// showQuarantined shows a file in quarantine, and why a decision about it was refused.
func (s *Service) showQuarantined(w http.ResponseWriter, r *http.Request, status int, id string, problems []string) error {
	found, err := s.findQuarantined(r.Context(), id)
	if err != nil {
		return err
	}
	history := found.History()
	view := web.QuarantinedView{
		Shell: s.shell("Quarantine", web.Quarantine), Line: quarantinedLine(found), StateText: stateTexts[found.State], Study: found.Document.StudyUID, Problems: problems,
		MayDecide: found.State == quarantine.Open || found.State == quarantine.Discarded, Discarded: found.State == quarantine.Discarded,
	}
	view.Photo = "/api" + view.Line.Link + "/photo.jpg"
	view.AskLaterality, view.AskPatient = history.Correctable()
	if p := found.Document.Patient; p != nil {
		view.BirthDate = p.BirthDate
	}
	for _, step := range found.Steps {
		d := step.Decision
		line := web.RulingLine{At: d.DecidedAt, What: string(d.Action), By: d.By, Why: d.Reason}
		if d.Correction != nil {
			line.Correction = d.Correction.String()
		}
		if step.Release != nil {
			line.Result = strings.TrimSpace(string(step.Release.Result) + " " + step.Release.Code)
		}
		view.History = append(view.History, line)
	}
	return s.show(w, status, web.Quarantined, view)
}

// ruleForm answers the forms of the page: about one file it comes back to it, about several to the list.
func (s *Service) ruleForm(action record.DecisionAction) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := r.ParseForm(); err != nil {
			return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
		}
		form := r.PostForm
		asked := ruling{IDs: form["id"], By: form.Get("by"), Reason: form.Get("reason")}
		correction := record.Correction{Laterality: record.Laterality(form.Get("laterality")), PatientID: strings.TrimSpace(form.Get("patient_id")), Issuer: strings.TrimSpace(form.Get("issuer"))}
		if correction != (record.Correction{}) {
			asked.Correction = &correction
		}
		results, err := s.ruleAll(r.Context(), action, asked)
		if err != nil {
			return err
		}
		var problems []string
		for _, result := range results {
			if result.Error != nil {
				problems = append(problems, result.ID+": "+result.Error.Message)
			}
		}
		switch {
		case len(results) == 1 && len(problems) > 0:
			return s.showQuarantined(w, r, http.StatusConflict, results[0].ID, problems)
		case len(problems) > 0:
			return s.showQuarantine(w, r, http.StatusConflict, problems)
		case len(results) == 1:
			found, err := s.findQuarantined(r.Context(), results[0].ID)
			if err != nil {
				return err
			}
			http.Redirect(w, r, quarantinedLine(found).Link, http.StatusSeeOther)
		default:
			http.Redirect(w, r, "/quarantine", http.StatusSeeOther)
		}
		return nil
	}
}
