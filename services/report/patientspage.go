package report

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	patientsPerPage = 50
	// listTotal is how far the list counts: a large night. What is searched for by a part of a name is counted as far as totalBound: that reads names.
	listTotal = 20_000
)

// listFilters are what the list of patients is narrowed by. All but the search stand in the address as they are.
type listFilters struct {
	search  string
	handle  string // of search
	expired bool
	night   string // day on which it began
	from    time.Time
	clinic  string
	status  string
	only    []store.Mark
	sort    store.LineSort
	order   string // asc, desc
}

// onlyTexts say what is left by a mark.
var onlyTexts = map[store.Mark]string{
	store.MarkPerson: "Needs a person", store.MarkUngradable: "Ungradable picture", store.MarkFailed: "Not analysed: failed", store.MarkWaiting: "In quarantine or missing",
	store.MarkChanged: "Changed since the visit before",
}

var onlyOrder = []store.Mark{store.MarkPerson, store.MarkUngradable, store.MarkFailed, store.MarkWaiting, store.MarkChanged}

// readFilters reads an address, or the form of the page.
func (s *Service) readFilters(q url.Values) (listFilters, error) {
	f := listFilters{handle: q.Get("s"), night: q.Get("night"), clinic: q.Get("clinic"), status: q.Get("status"), sort: store.LineSort(q.Get("sort")), order: q.Get("order")}
	if f.night != "" {
		day, err := time.ParseInLocation(time.DateOnly, f.night, s.cfg.Location)
		if err != nil {
			return f, fault.New(fault.Invalid, "night-invalid", "a night is named by the day on which it began, such as 2026-11-23")
		}
		f.from = time.Date(day.Year(), day.Month(), day.Day(), nightBegins, 0, 0, 0, s.cfg.Location)
	}
	switch record.ReportStatus(f.status) {
	case "", record.Preliminary, record.Final, record.Amended:
	default:
		return f, fault.New(fault.Invalid, "status-invalid", "status should be preliminary, final or amended")
	}
	for _, mark := range onlyOrder {
		if slices.Contains(q["only"], string(mark)) {
			f.only = append(f.only, mark)
		}
	}
	switch f.sort {
	case store.LineUpdated, store.LineName, store.LineID, store.LineStudyDate:
	case "":
		f.sort = store.LineUpdated
	default:
		return f, fault.New(fault.Invalid, "sort-invalid", "sort should be name, id, date or updated")
	}
	if f.order != "asc" && f.order != "desc" {
		f.order = usualOrder(f.sort)
	}
	return f, nil
}

// usualOrder is what people expect first: the newest, or the beginning of the alphabet.
func usualOrder(by store.LineSort) string {
	if by == store.LineName || by == store.LineID {
		return "asc"
	}
	return "desc"
}

// link is the address of the list with these filters. more are the name and value of what else stands in it.
func (f listFilters) link(more ...string) string {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("s", f.handle)
	set("night", f.night)
	set("clinic", f.clinic)
	set("status", f.status)
	for _, mark := range f.only {
		q.Add("only", string(mark))
	}
	if f.sort != store.LineUpdated || f.order != usualOrder(f.sort) {
		set("sort", string(f.sort))
		set("order", f.order)
	}
	for n := 0; n+1 < len(more); n += 2 {
		set(more[n], more[n+1])
	}
	if len(q) == 0 {
		return "/patients"
	}
	return "/patients?" + q.Encode()
}

func (f listFilters) without(change func(*listFilters)) string {
	f.only = slices.Clone(f.only)
	change(&f)
	return f.link()
}

// chips are the filters that are on.
func (f listFilters) chips(zone *time.Location) (all []web.Choice) {
	add := func(text string, change func(*listFilters)) {
		all = append(all, web.Choice{Text: text, Link: f.without(change)})
	}
	if f.search != "" {
		add("“"+f.search+"”", func(f *listFilters) { f.handle = "" })
	}
	if f.night != "" {
		add("Night of "+f.from.In(zone).Format("2 Jan 2006"), func(f *listFilters) { f.night = "" })
	}
	if f.clinic != "" {
		add("Clinic "+f.clinic, func(f *listFilters) { f.clinic = "" })
	}
	if f.status != "" {
		add("Report "+statusTexts[f.status], func(f *listFilters) { f.status = "" })
	}
	for _, mark := range f.only {
		add(onlyTexts[mark], func(f *listFilters) {
			f.only = slices.DeleteFunc(f.only, func(m store.Mark) bool { return m == mark })
		})
	}
	return all
}

func (f listFilters) header(text string, by store.LineSort) web.SortHeader {
	h := web.SortHeader{Text: text, Sort: "none"}
	order := usualOrder(by)
	if f.sort == by {
		h.Sort = map[string]string{"asc": "ascending", "desc": "descending"}[f.order]
		order = map[string]string{"asc": "desc", "desc": "asc"}[f.order]
	}
	f.sort, f.order = by, order
	h.Link = f.link()
	return h
}

// query is what the index is asked. Of another's clinic there is nothing.
func (f listFilters) query(clinics []string) store.LineQuery {
	q := store.LineQuery{Clinics: clinics, Search: f.search, Marks: f.only, Sort: f.sort, Descending: f.order == "desc", Limit: patientsPerPage + 1, CountTo: listTotal}
	if f.clinic != "" {
		q.Clinics = []string{f.clinic}
		if clinics != nil && !slices.Contains(clinics, f.clinic) {
			q.Clinics = []string{}
		}
	}
	if f.status != "" {
		q.Statuses = []string{f.status}
	}
	if !f.from.IsZero() {
		q.First = store.Span{From: f.from, To: f.from.AddDate(0, 0, 1)}
	}
	if f.search != "" {
		q.CountTo = totalBound
	}
	return q
}

// place is where a line stands, as an address may say it: a report's id, and the moment of its update where the order is by that.
func (f listFilters) place(l store.Line) string {
	if f.sort == store.LineUpdated {
		return l.ReportID + "-" + strconv.FormatInt(l.UpdatedAt.UnixMilli(), 10)
	}
	return l.ReportID
}

func readLinePlace(text string) (*store.LinePosition, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // it begins with the first line
	}
	id, moment, _ := strings.Cut(text, "-")
	p := &store.LinePosition{ReportID: id}
	if moment != "" {
		var err error
		if p.UpdatedMs, err = strconv.ParseInt(moment, 10, 64); err != nil {
			return nil, fault.Wrap(fault.Invalid, "page-invalid", err, "there is no such page; begin again with the first one")
		}
	}
	return p, nil
}

// patientsSearch answers the form of the list: what is searched for is kept here, so that no address has it.
func (s *Service) patientsSearch(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
	}
	f, err := s.readFilters(r.PostForm)
	if err != nil {
		return err
	}
	text := strings.Join(strings.Fields(r.PostForm.Get("q")), " ")
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxSearchRunes {
		return fault.New(fault.Invalid, "search-invalid", "a name or ID to search for has at most %d characters", maxSearchRunes)
	}
	if f.handle = ""; text != "" {
		f.handle = s.searches.keep(callerOf(askerOf(r.Context())), text)
	}
	http.Redirect(w, r, f.link(), http.StatusSeeOther)
	return nil
}

func (s *Service) patientsPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := s.readFilters(q)
	if err != nil {
		return err
	}
	if f.handle != "" {
		var ok bool
		if f.search, ok = s.searches.find(callerOf(askerOf(r.Context())), f.handle); !ok {
			f.handle, f.expired = "", true
		}
	}
	query := f.query(clinicsOf(r.Context()))
	if query.After, err = readLinePlace(q.Get("after")); err != nil {
		return err
	}
	if query.Before, err = readLinePlace(q.Get("before")); err != nil {
		return err
	}
	begins, err := intParam(q, "from", 1, 1, 1<<30)
	if err != nil {
		return err
	}
	found, err := s.deps.Store.FindLines(r.Context(), query)
	if fault.Is(err, fault.NotFound) { // the row that the page began behind is not there any more
		query.After, query.Before, begins = nil, nil, 1
		found, err = s.deps.Store.FindLines(r.Context(), query)
	}
	if err == nil && query.Before != nil && len(found) <= patientsPerPage { // the beginning: a whole page of it, whatever came meanwhile
		query.Before, begins = nil, 1
		found, err = s.deps.Store.FindLines(r.Context(), query)
	}
	if err != nil {
		return err
	}
	total, err := s.deps.Store.CountLines(r.Context(), query)
	if err != nil {
		return err
	}
	// One row more than the page has says that there are more on that side.
	backwards, more := query.Before != nil, len(found) > patientsPerPage
	if more && backwards {
		found = found[1:]
	} else if more {
		found = found[:patientsPerPage]
	}
	earlier, later := query.After != nil, more
	if backwards {
		earlier, later = more, true
	}
	if !earlier {
		begins = 1
	}
	view := s.patientsView(r, f)
	view.From, view.To = begins, begins+len(found)-1
	view.Total = web.Total{N: max(min(total, query.CountTo), view.To), More: total > query.CountTo}
	if earlier && len(found) > 0 {
		view.FirstLink, view.PreviousLink = f.link(), f.link("before", f.place(found[0]), "from", strconv.Itoa(max(1, begins-patientsPerPage)))
	}
	if later && len(found) > 0 {
		view.NextLink = f.link("after", f.place(found[len(found)-1]), "from", strconv.Itoa(view.To+1))
	}
	if view.Lines, err = listLines(found); err != nil {
		return err
	}
	clinics, err := s.deps.Store.Clinics(r.Context(), clinicsOf(r.Context()))
	if err != nil {
		return err
	}
	if len(clinics) > 1 {
		for _, clinic := range clinics {
			view.Clinics = append(view.Clinics, web.Option{Value: clinic, Text: clinic, Chosen: clinic == f.clinic})
		}
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityPatientList, Files: len(view.Lines)}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Patients, view)
}

// patientsView is the page without its rows.
func (s *Service) patientsView(r *http.Request, f listFilters) web.PatientsView {
	view := web.PatientsView{Shell: s.shell(r, "Patients", web.Patients), Search: f.search, Expired: f.expired, Night: f.night, Last: s.night().Format(time.DateOnly),
		Chips: f.chips(s.cfg.Location), Sort: string(f.sort), Order: f.order, Studies: f.night != "",
		Name: f.header("Name", store.LineName), ID: f.header("ID", store.LineID), Study: f.header("Study", store.LineStudyDate), Updated: f.header("Report", store.LineUpdated)}
	for _, status := range []record.ReportStatus{record.Preliminary, record.Final, record.Amended} {
		view.Statuses = append(view.Statuses, web.Option{Value: string(status), Text: statusTexts[string(status)], Chosen: f.status == string(status)})
	}
	for _, mark := range onlyOrder {
		view.Only = append(view.Only, web.Option{Value: string(mark), Text: onlyTexts[mark], Chosen: slices.Contains(f.only, mark)})
	}
	return view
}

// listLines reads the reports that are shown, and those alone. The index has them as they were checked when they came into it.
func listLines(found []store.Line) ([]web.ListLine, error) {
	var lines []web.ListLine
	for _, l := range found {
		var doc record.Report
		if err := json.Unmarshal(l.Document, &doc); err != nil {
			return nil, fault.Wrap(fault.Internal, "index-damaged", err, "the report %s in the index cannot be read; make the index anew with noctua rebuild", l.ReportID)
		}
		lines = append(lines, web.ListLine{PatientLine: patientLine(&doc, l.UpdatedAt), Changes: changeGlances(&doc)})
	}
	return lines, nil
}

// changeGlances sum up how each eye differs from the visit before, in as few words as a list has room for.
func changeGlances(doc *record.Report) (all []web.ChangeGlance) {
	for _, c := range doc.Comparisons {
		if c.Kind != record.Change || c.Image == nil {
			continue
		}
		g := web.ChangeGlance{Eye: map[record.Laterality]string{record.RightEye: "OD", record.LeftEye: "OS"}[c.Image.Laterality]}
		if c.AbsentReason != nil {
			if c.AbsentReason.Code == noEarlierVisitCode {
				continue // a first visit has nothing to say
			}
			g.Text, g.Title = "not compared", c.AbsentReason.Text
			all = append(all, g)
			continue
		}
		var beyond, sentences []string
		for _, m := range c.Measures {
			arrow := map[record.Verdict]string{record.Lower: "↓", record.Higher: "↑"}[m.Verdict]
			if arrow == "" {
				continue
			}
			beyond = append(beyond, arrow+" "+shortName(record.Measure{Name: m.Name}))
			sentences = append(sentences, upper(m.Display)+": "+m.Text)
		}
		switch len(beyond) {
		case 0:
			g.Text, g.Title = "no change", "No measure differs from the visit before beyond measurement error."
		default:
			g.Beyond, g.Title = true, strings.Join(sentences, " ")
			g.Text = strings.Join(beyond[:min(len(beyond), mostChanges)], ", ")
			if more := len(beyond) - mostChanges; more > 0 {
				g.Text += fmt.Sprintf(", %d more", more)
			}
		}
		all = append(all, g)
	}
	return all
}

// mostChanges are named in a row; of others the number is.
const mostChanges = 2
