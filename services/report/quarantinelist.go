package report

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const filesPerPage = 50

// fileFilters are what the list of files in quarantine is narrowed by.
type fileFilters struct {
	decided bool // what was decided about lately, instead of what needs a person
	code    string
	clinic  string
	day     string // of receipt
	from    time.Time
}

func (s *Service) readFileFilters(q url.Values) (fileFilters, error) {
	f := fileFilters{decided: q.Get("state") == "decided", code: q.Get("code"), clinic: q.Get("of"), day: q.Get("day")}
	if f.day != "" {
		var err error
		if f.from, err = time.ParseInLocation(time.DateOnly, f.day, s.cfg.Location); err != nil {
			return f, fault.New(fault.Invalid, "day-invalid", "a day is written like 2026-11-23")
		}
	}
	return f, nil
}

func (f fileFilters) link(more ...string) string {
	q := url.Values{}
	for n, value := range map[string]string{"code": f.code, "of": f.clinic, "day": f.day} {
		if value != "" {
			q.Set(n, value)
		}
	}
	if f.decided {
		q.Set("state", "decided")
	}
	for n := 0; n+1 < len(more); n += 2 {
		q.Set(more[n], more[n+1])
	}
	if len(q) == 0 {
		return "/quarantine"
	}
	return "/quarantine?" + q.Encode()
}

// query is what the index is asked. Of another's clinic there is nothing.
func (f fileFilters) query(clinics []string) store.RejectedQuery {
	q := store.RejectedQuery{Clinics: clinics, States: []quarantine.State{quarantine.Open}, Descending: true, Limit: filesPerPage}
	if f.decided {
		q.States, q.ByDecision = []quarantine.State{quarantine.Releasing, quarantine.Released, quarantine.Discarded}, true
	}
	if f.clinic != "" {
		q.Clinics = []string{f.clinic}
		if clinics != nil && !slices.Contains(clinics, f.clinic) {
			q.Clinics = []string{}
		}
	}
	if f.code != "" {
		q.Codes = []string{f.code}
	}
	if !f.from.IsZero() {
		q.Received = []store.Span{{From: f.from, To: f.from.AddDate(0, 0, 1)}}
	}
	return q
}

func (s *Service) quarantinePage(w http.ResponseWriter, r *http.Request) error {
	f, err := s.readFileFilters(r.URL.Query())
	if err != nil {
		return err
	}
	return s.showQuarantine(w, r, http.StatusOK, f, nil, form{})
}

// showQuarantine shows the files that need a person, why decisions about some were refused, and what was
// entered for them; or those that were decided about lately.
func (s *Service) showQuarantine(w http.ResponseWriter, r *http.Request, status int, f fileFilters, problems []string, entered form) error {
	offset, err := intParam(r.URL.Query(), "from", 0, 0, 1<<30)
	if err != nil {
		return err
	}
	query := f.query(clinicsOf(r.Context()))
	query.Offset = offset
	found, err := s.deps.Store.SearchRejected(r.Context(), query)
	if err != nil {
		return err
	}
	view := web.QuarantineView{Shell: s.shell(r, "Quarantine", web.Quarantine), Decided: f.decided, Days: f.day, Today: s.deps.Clock().In(s.cfg.Location).Format(time.DateOnly), Code: f.code, Clinic: f.clinic, Problems: problems,
		Entered: entered.view(), AllChosen: entered.all, Until: s.deps.Clock().UTC().Format(time.RFC3339Nano), From: offset + 1, To: offset + len(found)}
	if entered.action == "" {
		view.Entered.By = deciderOf(r)
	}
	open, decided := f, f
	open.decided, decided.decided = false, true
	view.OpenLink, view.DecidedLink = open.link(), decided.link()
	if err := s.groupQuarantine(r, f, &view); err != nil {
		return err
	}
	for _, x := range found {
		line := quarantinedLine(x)
		if !f.decided {
			may := x.History().Correctable()
			view.AskClinic, view.AskLaterality, view.AskPatient = view.AskClinic || may.Clinic, view.AskLaterality || may.Laterality, view.AskPatient || may.Patient
		}
		line.Chosen = slices.Contains(entered.ids, line.ID)
		view.Lines = append(view.Lines, line)
	}
	if !f.decided && f.code != "" && view.Total > len(found) {
		view.AllOf = view.Total
	}
	view.PreviousLink, view.NextLink = pageLinks(offset, len(found), view.Total, filesPerPage, func(at int) string { return f.link("from", strconv.Itoa(at)) })
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineList, Files: len(found)}); err != nil {
		return err
	}
	return s.show(w, status, web.Quarantine, view)
}

// groupQuarantine counts the files by reason and clinic, all of them and not those of a page, and says which filters are on.
func (s *Service) groupQuarantine(r *http.Request, f fileFilters, view *web.QuarantineView) error {
	counted := f
	counted.code, counted.clinic = "", ""
	groups, err := s.deps.Store.GroupRejected(r.Context(), counted.query(clinicsOf(r.Context())))
	if err != nil {
		return err
	}
	var clinics []string
	for _, g := range groups {
		clinics = append(clinics, g.Clinic)
		if f.clinic != "" && g.Clinic != f.clinic {
			continue
		}
		at := slices.IndexFunc(view.Groups, func(x web.Group) bool { return x.Code == g.Code })
		if at < 0 {
			narrowed := f
			if narrowed.code = g.Code; f.code == g.Code {
				narrowed.code = ""
			}
			at = len(view.Groups)
			view.Groups = append(view.Groups, web.Group{Code: g.Code, Link: narrowed.link(), Chosen: g.Code == f.code})
		}
		view.Groups[at].Count += g.Count
		if f.code == "" || f.code == g.Code {
			view.Total += g.Count
		}
	}
	slices.SortStableFunc(view.Groups, func(a, b web.Group) int { return b.Count - a.Count })
	for n, g := range view.Groups {
		// In the words of one of them: the codes are for programs.
		narrowed := f
		narrowed.code = g.Code
		query := narrowed.query(clinicsOf(r.Context()))
		query.Limit = 1
		one, err := s.deps.Store.SearchRejected(r.Context(), query)
		if err != nil {
			return err
		}
		for _, x := range one {
			view.Groups[n].Reason, _ = plainReason(x.History().Finding().Reason)
		}
		if g.Chosen {
			view.Reason = view.Groups[n].Reason
		}
	}
	slices.Sort(clinics)
	if clinics = slices.Compact(clinics); len(clinics) > 1 || f.clinic != "" {
		for _, clinic := range clinics {
			view.Clinics = append(view.Clinics, web.Option{Value: clinic, Text: clinicText(clinic), Chosen: clinic == f.clinic})
		}
	}
	chip := func(on bool, text string, change func(*fileFilters)) {
		if on {
			without := f
			change(&without)
			view.Chips = append(view.Chips, web.Choice{Text: text, Link: without.link()})
		}
	}
	chip(f.code != "", cmp.Or(view.Reason, f.code), func(f *fileFilters) { f.code = "" })
	chip(f.clinic != "", "Clinic "+clinicText(f.clinic), func(f *fileFilters) { f.clinic = "" })
	chip(f.day != "", "Came on "+f.from.Format("2 Jan 2006"), func(f *fileFilters) { f.day = "" })
	return nil
}

func clinicText(clinic string) string {
	if clinic == quarantine.Unassigned {
		return "no clinic"
	}
	return clinic
}

func sizeInWords(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}
