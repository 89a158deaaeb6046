package report

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/account"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

func quarantinedLine(f store.Rejected) web.QuarantineLine {
	d := lineOf(f)
	line := web.QuarantineLine{ID: d.ID, Link: "/quarantine/" + d.ID, Reason: d.Reason, Action: d.Quarantine.Action, Code: d.Code, File: d.InboxKey, Member: d.Member,
		Clinic: d.Clinic, ReceivedAt: d.ReceivedAt, Size: sizeInWords(d.SizeBytes), StateText: stateTexts[f.State], MayRelease: f.State == quarantine.Discarded}
	line.Reason, line.Detail = plainReason(d.Reason)
	if line.Detail != "" {
		line.Detail = strings.TrimRight(line.Detail, ".") + "."
	}
	if mayHoldPicture(d.Code) {
		line.Thumbnail = fmt.Sprintf("/api%s/photo.jpg?width=%d", line.Link, thumbnailWidthPx)
	}
	if d.Clinic == quarantine.Unassigned {
		line.Clinic = clinicText(d.Clinic)
		if assigned := f.History().Correction().Clinic; assigned != "" {
			line.Clinic = assigned + " (assigned)"
		}
	}
	if d.Patient != nil {
		line.Patient = strings.TrimSpace(personName(d.Patient.Name) + " " + d.Patient.ID)
	}
	if n := len(f.Steps); n > 0 {
		decided := rulingLine(f.Steps[n-1])
		line.Decided = &decided
	}
	return line
}

// plainReason takes what only an engineer can use, which the intake puts in brackets behind a reason, from what people at a clinic read.
func plainReason(text string) (reason, detail string) {
	reason, detail, found := strings.Cut(text, " (For support: ")
	if !found {
		return text, ""
	}
	return reason, strings.TrimSuffix(detail, ")")
}

// thumbnailWidthPx is sharp in a card of a list.
const thumbnailWidthPx = 400

// mayHoldPicture tells whether it is worth looking for a picture in a file that is here for a reason.
func mayHoldPicture(code string) bool {
	switch code {
	case "not-dicom", "object-too-large", "quarantine-bytes-missing":
		return false
	}
	return !strings.HasPrefix(code, "archive-") && !strings.HasPrefix(code, "manifest-")
}

func rulingLine(step quarantine.Step) web.RulingLine {
	d := step.Decision
	line := web.RulingLine{At: d.DecidedAt, What: map[record.DecisionAction]string{record.ActionRelease: "released", record.ActionDiscard: "discarded"}[d.Action], By: d.By, Why: d.Reason}
	if d.Correction != nil {
		line.Correction = d.Correction.String()
	}
	if step.Release != nil {
		line.Result = strings.TrimSpace(string(step.Release.Result) + " " + step.Release.Code)
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
		Shell: s.shell(r, "Quarantine", web.Quarantine), Line: quarantinedLine(found), StateText: stateTexts[found.State], Facts: quarantinedFacts(found), Problems: problems,
		MayDecide: found.State == quarantine.Open || found.State == quarantine.Discarded, Discarded: found.State == quarantine.Discarded,
	}
	if view.Line.Thumbnail != "" {
		view.Photo = "/api" + view.Line.Link + "/photo.jpg"
	}
	may := history.Correctable()
	view.AskLaterality, view.AskPatient, view.AskClinic = may.Laterality, may.Patient, may.Clinic
	view.Release.By, view.Discard.By = deciderOf(r), deciderOf(r)
	if entered.action == record.ActionDiscard {
		view.Discard = entered.view()
	} else if entered.action != "" {
		view.Release = entered.view()
	}
	for _, step := range found.Steps {
		view.History = append(view.History, rulingLine(step))
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineFile, QuarantineKey: history.Key}); err != nil {
		return err
	}
	return s.show(w, status, web.Quarantined, view)
}

// quarantinedFacts are what is known of a file, from its header and from where it came.
func quarantinedFacts(f store.Rejected) (facts []web.Fact) {
	d := f.Document
	add := func(name, value string) {
		if value = strings.TrimSpace(value); value != "" {
			facts = append(facts, web.Fact{Name: name, Value: value})
		}
	}
	if p := d.Patient; p != nil {
		add("Patient", personName(p.Name))
		add("Patient ID", p.ID)
		add("Issuer of the ID", p.Issuer)
		add("Born", p.BirthDate)
		add("Sex", sexText(p.Sex))
	}
	add("Study", d.StudyUID)
	add("Picture", d.SOPUID)
	add("Lay at", d.InboxKey)
	add("In the ZIP at", d.Member)
	add("SHA-256", d.Sha256)
	add("Receipt", d.ReceiptID)
	return facts
}

// form is what a person entered, and what is wrong with it by field.
type form struct {
	action   record.DecisionAction
	ids      []string
	decision record.Decision
	wrong    []quarantine.Problem
	// all is set where all files that filters select are meant, up to those that came by until; sure where a person was asked before.
	all, sure bool
	filters   fileFilters
	until     time.Time
}

// readForm reads the forms of the quarantine's pages.
func (s *Service) readForm(action record.DecisionAction, values url.Values) (form, error) {
	text := func(f quarantine.Field) string { return strings.TrimSpace(values.Get(string(f))) }
	f := form{action: action, ids: values["id"], all: values.Get("all") != "", sure: values.Get("sure") != "",
		decision: record.Decision{Action: action, By: text(quarantine.FieldBy), Reason: text(quarantine.FieldReason)}}
	correction := record.Correction{Laterality: record.Laterality(text(quarantine.FieldLaterality)), PatientID: text(quarantine.FieldPatientID),
		Issuer: text(quarantine.FieldIssuer), Clinic: text(quarantine.FieldClinic)}
	if correction != (record.Correction{}) {
		f.decision.Correction = &correction
	}
	f.wrong = quarantine.Problems(f.decision)
	var err error
	// The names of the filters in a form are those that the page of the list puts there: code and clinic are fields of the decision, too.
	if f.filters, err = s.readFileFilters(url.Values{"code": values["filter_code"], "of": values["filter_of"], "day": values["filter_day"], "state": values["filter_state"]}); err != nil {
		return f, err
	}
	if text := values.Get("until"); text != "" {
		if f.until, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return f, fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read; open the list again")
		}
	}
	if f.all && (f.filters.code == "" || f.until.IsZero() || f.filters.decided) {
		return f, fault.New(fault.Invalid, "selection-invalid", "all files can be chosen of one reason at a time; open the list of that reason")
	}
	return f, nil
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

// deciderOf is the name of whoever decides, if it is known: the account of the first start is nobody's own.
func deciderOf(r *http.Request) string {
	if name := askerOf(r.Context()).account; name != account.OperatorName {
		return name
	}
	return ""
}

// ruling is what the form asks for, of some files.
func (f form) ruling(ids []string) ruling {
	return ruling{IDs: ids, By: f.decision.By, Reason: f.decision.Reason, Correction: f.decision.Correction}
}

// ruleForm answers the forms of the pages: about one file it comes back to it, about several to the list. Before many files are discarded, and before
// all of a reason are decided about, it asks.
func (s *Service) ruleForm(action record.DecisionAction) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := r.ParseForm(); err != nil {
			return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
		}
		entered, err := s.readForm(action, r.PostForm)
		if err != nil {
			return err
		}
		fromList := r.PostForm.Has("list")
		again := func(status int, problems []string) error {
			if fromList || len(entered.ids) != 1 {
				return s.showQuarantine(w, r, status, entered.filters, problems, entered)
			}
			return s.showQuarantined(w, r, status, entered.ids[0], problems, entered)
		}
		switch {
		case len(entered.ids) == 0 && !entered.all:
			return again(http.StatusBadRequest, []string{"Choose the files first: each has a box to tick."})
		case len(entered.wrong) > 0:
			return again(http.StatusBadRequest, nil)
		case entered.all:
			return s.ruleSelection(w, r, entered)
		case action == record.ActionDiscard && len(entered.ids) > 1 && !entered.sure:
			return s.askDiscard(w, r, entered)
		}
		results, err := s.ruleAll(r, action, entered.ruling(entered.ids))
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
			http.Redirect(w, r, entered.filters.link(), http.StatusSeeOther)
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
