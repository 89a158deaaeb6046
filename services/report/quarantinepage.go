package report

import (
	"net/http"
	"net/url"
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
	if d.Clinic == quarantine.Unassigned {
		line.Clinic = "no clinic"
		if assigned := f.History().Correction().Clinic; assigned != "" {
			line.Clinic = assigned + " (assigned)"
		}
	}
	if d.Patient != nil {
		line.Patient = strings.TrimSpace(personName(d.Patient.Name) + " " + d.Patient.ID)
	}
	return line
}

var stateTexts = map[quarantine.State]string{
	quarantine.Releasing: "is being released", quarantine.Released: "was released", quarantine.Discarded: "was discarded",
}

func (s *Service) quarantinedPage(w http.ResponseWriter, r *http.Request) error {
	return s.showQuarantined(w, r, http.StatusOK, pathID(r), nil, form{})
}

// showQuarantined shows a file in quarantine, why a decision about it was refused, and what was entered for it.
func (s *Service) showQuarantined(w http.ResponseWriter, r *http.Request, status int, id string, problems []string, entered form) error {
	found, err := s.findQuarantined(r.Context(), id)
	if err != nil {
		return err
	}
	history := found.History()
	view := web.QuarantinedView{
		Shell: s.shell(r, "Quarantine", web.Quarantine), Line: quarantinedLine(found), StateText: stateTexts[found.State], Study: found.Document.StudyUID, Problems: problems,
		MayDecide: found.State == quarantine.Open || found.State == quarantine.Discarded, Discarded: found.State == quarantine.Discarded,
	}
	view.Photo = "/api" + view.Line.Link + "/photo.jpg"
	may := history.Correctable()
	view.AskLaterality, view.AskPatient, view.AskClinic = may.Laterality, may.Patient, may.Clinic
	if entered.action == record.ActionDiscard {
		view.Discard = entered.view()
	} else {
		view.Release = entered.view()
	}
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
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineFile, QuarantineKey: history.Key}); err != nil {
		return err
	}
	return s.show(w, status, web.Quarantined, view)
}

// form is what a person entered, and what is wrong with it by field.
type form struct {
	action   record.DecisionAction
	ids      []string
	decision record.Decision
	wrong    []quarantine.Problem
}

// readForm reads the forms of the quarantine's pages.
func readForm(action record.DecisionAction, values url.Values) form {
	text := func(f quarantine.Field) string { return strings.TrimSpace(values.Get(string(f))) }
	f := form{action: action, ids: values["id"], decision: record.Decision{Action: action, By: text(quarantine.FieldBy), Reason: text(quarantine.FieldReason)}}
	correction := record.Correction{Laterality: record.Laterality(text(quarantine.FieldLaterality)), PatientID: text(quarantine.FieldPatientID),
		Issuer: text(quarantine.FieldIssuer), Clinic: text(quarantine.FieldClinic)}
	if correction != (record.Correction{}) {
		f.decision.Correction = &correction
	}
	f.wrong = quarantine.Problems(f.decision)
	return f
}

// view is the form as the page shows it again.
func (f form) view() web.RulingForm {
	v := web.RulingForm{By: f.decision.By, Reason: f.decision.Reason, Wrong: map[string]string{}}
	if c := f.decision.Correction; c != nil {
		v.Laterality, v.PatientID, v.Issuer, v.Clinic = string(c.Laterality), c.PatientID, c.Issuer, c.Clinic
	}
	for _, p := range f.wrong {
		v.Wrong[string(p.Field)] = strings.ToUpper(p.Sentence[:1]) + p.Sentence[1:] + "."
	}
	return v
}

// ruleForm answers the forms of the pages: about one file it comes back to it, about several to the list.
func (s *Service) ruleForm(action record.DecisionAction) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := r.ParseForm(); err != nil {
			return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
		}
		entered := readForm(action, r.PostForm)
		fromList := r.PostForm.Has("list")
		again := func(status int, problems []string) error {
			if fromList || len(entered.ids) != 1 {
				return s.showQuarantine(w, r, status, problems, entered)
			}
			return s.showQuarantined(w, r, status, entered.ids[0], problems, entered)
		}
		switch {
		case len(entered.ids) == 0:
			return again(http.StatusBadRequest, []string{"Choose the files first: each has a box to tick."})
		case len(entered.wrong) > 0:
			return again(http.StatusBadRequest, nil)
		}
		results, err := s.ruleAll(r, action, ruling{IDs: entered.ids, By: entered.decision.By, Reason: entered.decision.Reason, Correction: entered.decision.Correction})
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
		case len(problems) > 0:
			return again(http.StatusConflict, problems)
		case fromList || len(results) > 1:
			http.Redirect(w, r, "/quarantine", http.StatusSeeOther)
		default:
			found, err := s.findQuarantined(r.Context(), results[0].ID)
			if err != nil {
				return err
			}
			http.Redirect(w, r, quarantinedLine(found).Link, http.StatusSeeOther)
		}
		return nil
	}
}
