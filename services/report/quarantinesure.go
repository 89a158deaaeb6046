package report

import (
	"net/http"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	// rulingBatch files are decided about in one request of those that go on by themselves: each costs some writes that wait for the disk.
	rulingBatch = 25
	// maxUndone files that could not be decided about are handed on from request to request; of more the number is.
	maxUndone = 100
)

// selection are the files that a form means by all of a reason, the ones that came first before the others.
func (f form) selection(clinics []string) store.RejectedQuery {
	q := f.filters.query(clinics)
	q.Received = append(q.Received, store.Span{To: f.until.Add(time.Millisecond)})
	q.Descending, q.Limit = false, rulingBatch
	return q
}

// hidden are the values of a form that the next request needs again.
func (f form) hidden() []web.Hidden {
	all := []web.Hidden{{Name: "list", Value: "1"}, {Name: "sure", Value: "1"}, {Name: "by", Value: f.decision.By}, {Name: "reason", Value: f.decision.Reason},
		{Name: "filter_code", Value: f.filters.code}, {Name: "filter_of", Value: f.filters.clinic}, {Name: "filter_day", Value: f.filters.day}}
	if c := f.decision.Correction; c != nil {
		all = append(all, web.Hidden{Name: "laterality", Value: string(c.Laterality)}, web.Hidden{Name: "patient_id", Value: c.PatientID}, web.Hidden{Name: "issuer", Value: c.Issuer}, web.Hidden{Name: "clinic", Value: c.Clinic})
	}
	if f.all {
		all = append(all, web.Hidden{Name: "all", Value: "1"}, web.Hidden{Name: "until", Value: f.until.UTC().Format(time.RFC3339Nano)})
	}
	return all
}

func (s *Service) sureView(r *http.Request, f form) web.SureView {
	v := web.SureView{Shell: s.shell(r, "Quarantine", web.Quarantine), Discard: f.action == record.ActionDiscard, By: f.decision.By, Why: f.decision.Reason, Hidden: f.hidden(), Back: f.filters.link()}
	if c := f.decision.Correction; c != nil {
		v.Correction = c.String()
	}
	return v
}

// askDiscard asks whether the files that were chosen one by one are to be discarded.
func (s *Service) askDiscard(w http.ResponseWriter, r *http.Request, f form) error {
	view := s.sureView(r, f)
	view.Count = len(f.ids)
	for _, id := range f.ids[:min(len(f.ids), maxRulings)] {
		found, err := s.findQuarantined(r.Context(), id)
		if err != nil {
			return err
		}
		view.Files = append(view.Files, quarantinedLine(found))
		view.Hidden = append(view.Hidden, web.Hidden{Name: "id", Value: id})
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineList, Files: len(view.Files)}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Sure, view)
}

// ruleSelection asks, and then decides about all files of a reason, a batch a request: the page goes on by itself, and by its button. What could not be
// decided about stays behind, and is named in the end.
func (s *Service) ruleSelection(w http.ResponseWriter, r *http.Request, f form) error {
	view := s.sureView(r, f)
	query := f.selection(clinicsOf(r.Context()))
	values := r.PostForm
	var err error
	if f.sure {
		view.Begun = true
		if view.Done, err = intParam(values, "done", 0, 0, 1<<30); err != nil {
			return err
		}
		if view.UndoneInAll, err = intParam(values, "undone_in_all", 0, 0, 1<<30); err != nil {
			return err
		}
		for _, text := range values["undone"] {
			id, why, _ := strings.Cut(text, " ")
			view.Undone = append(view.Undone, web.Undone{ID: id, Link: "/quarantine/" + id, Why: why})
		}
		if after := values.Get("after"); after != "" {
			last, err := s.findQuarantined(r.Context(), after)
			if err != nil {
				return err
			}
			position := store.RejectedPositionOf(last)
			query.After = &position
		}
		if err := s.ruleBatch(r, f, &query, &view); err != nil {
			return err
		}
	}
	query.Limit = 1
	if view.Left, err = s.deps.Store.CountRejectedBehind(r.Context(), query); err != nil {
		return err
	}
	view.Count, view.Finished = view.Done+view.UndoneInAll+view.Left, view.Begun && view.Left == 0
	if view.Count > 0 {
		view.Percent = 100 * (view.Done + view.UndoneInAll) / view.Count
	}
	if found, err := s.deps.Store.SearchRejected(r.Context(), query); err != nil {
		return err
	} else if len(found) > 0 {
		view.Reason, _ = plainReason(found[0].History().Finding().Reason)
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineList, Files: view.Count}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Sure, view)
}

// ruleBatch decides about the next files, and leaves query behind them.
func (s *Service) ruleBatch(r *http.Request, f form, query *store.RejectedQuery, view *web.SureView) error {
	found, err := s.deps.Store.SearchRejected(r.Context(), *query)
	if err != nil || len(found) == 0 {
		return err
	}
	ids := make([]string, len(found))
	for n, x := range found {
		ids[n] = x.History().Key
	}
	results, err := s.ruleAll(r, f.action, f.ruling(ids))
	if err != nil {
		return err
	}
	for _, result := range results {
		if result.Error == nil {
			view.Done++
			continue
		}
		view.UndoneInAll++
		if len(view.Undone) < maxUndone {
			id := quarantineID(result.ID)
			view.Undone = append(view.Undone, web.Undone{ID: id, Link: "/quarantine/" + id, Why: result.Error.Message})
		}
	}
	last := found[len(found)-1]
	position := store.RejectedPositionOf(last)
	query.After = &position
	view.Hidden = append(view.Hidden, web.Hidden{Name: "after", Value: last.History().Key}, web.Hidden{Name: "done", Value: web.Number(view.Done)},
		web.Hidden{Name: "undone_in_all", Value: web.Number(view.UndoneInAll)})
	for _, u := range view.Undone {
		view.Hidden = append(view.Hidden, web.Hidden{Name: "undone", Value: u.ID + " " + u.Why})
	}
	return nil
}
