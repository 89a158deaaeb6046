package report

import (
	"fmt"
	"net/http"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

// nightName is how a night is called: by the day on which it began.
const nightName = "Mon 2 Jan 2006"

const monthFormat = "2006-01"

// nightBegan reads the date of a night.
func (s *Service) nightBegan(text string) (time.Time, error) {
	day, err := time.ParseInLocation(time.DateOnly, text, s.cfg.Location)
	if err != nil || !datePattern.MatchString(text) {
		return time.Time{}, fault.New(fault.NotFound, "night-invalid", "a night is named by the date on which it began, e.g. /nights/2026-11-25")
	}
	return time.Date(day.Year(), day.Month(), day.Day(), nightBegins, 0, 0, 0, s.cfg.Location), nil
}

// nightPage answers GET /nights/{night}: a night that is over.
func (s *Service) nightPage(w http.ResponseWriter, r *http.Request) error {
	began, err := s.nightBegan(r.PathValue("night"))
	if err != nil {
		return err
	}
	current := s.night()
	switch {
	case began.Equal(current):
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	case began.After(current):
		return fault.New(fault.NotFound, "night-missing", "that night is not over yet")
	case !s.isReady():
		return rebuildingFault()
	}
	ends, clinics := began.AddDate(0, 0, 1), clinicsOf(r.Context())
	view := web.NightView{Shell: s.shell(r, "Night of "+began.Format(nightName), web.Nights), Began: began, Ends: ends, PrintedAt: s.deps.Clock()}
	counts, err := s.deps.Store.CountClinics(r.Context(), clinics, store.Span{From: began, To: ends})
	if err != nil {
		return err
	}
	all := sum(counts)
	view.NightNumbers = countNumbers(all.Counts)
	view.Known, view.PatientsLink = view.Received > 0, patientsOfNight(began, "", "")
	view.Verdict = verdictThen(view.NightNumbers)
	view.Duration = s.duration(all)
	view.Clinics = clinicLines(counts, nil, s.deps.Clock(), began)
	if view.Course, err = s.course(r.Context(), clinics, began, ends); err != nil {
		return err
	}
	if err := s.nightTables(r, &view); err != nil {
		return err
	}
	if view.Needs, err = s.needsThen(r, &view); err != nil {
		return err
	}
	if view.People, err = s.people(r.Context(), clinics, began, ends); err != nil {
		return err
	}
	if err := s.nightsBeside(r, &view); err != nil {
		return err
	}
	if err := s.peopleSeen(r, view.People); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Night, view)
}

// needsThen is what a night left for a person, and what of it still is.
func (s *Service) needsThen(r *http.Request, view *web.NightView) ([]web.Need, error) {
	clinics := clinicsOf(r.Context())
	reasons, err := s.deps.Store.Reasons(r.Context(), clinics, store.Span{From: view.Began, To: view.Ends}, true, reasonsShown)
	if err != nil {
		return nil, err
	}
	all := quarantineNeeds(reasons, view.Shell.MayOperate, true)
	all = append(all, pictureNeeds(view.Ungradable, view.Failed, patientsOfNight(view.Began, "", string(record.ImageUngradable)), patientsOfNight(view.Began, "", string(record.ImageFailed)))...)
	deadline := store.Span{From: view.Began.Add(s.cfg.ManifestDeadline), To: view.Ends.Add(s.cfg.ManifestDeadline)}
	incomplete, unheard, err := s.lacking(r.Context(), clinics, deadline)
	if err != nil {
		return nil, err
	}
	all = append(all, lackingNeeds(incomplete, unheard)...)
	amended, err := s.deps.Store.CountReports(r.Context(), store.ReportQuery{Clinics: clinics, Statuses: []string{string(record.Amended)}, Updated: []store.Span{{From: view.Began, To: view.Ends}}, Snapshot: view.Ends, CountTo: countedTo})
	if err != nil {
		return nil, err
	}
	return append(all, amendedNeed(amended, "that night")...), nil
}

// nightTables adds the addresses of the tables of the night's clinics.
func (s *Service) nightTables(r *http.Request, view *web.NightView) error {
	versions, err := s.nightVersions(r.Context(), nightsPrefix+view.Began.Format(time.DateOnly)+"/measures/")
	if err != nil {
		return err
	}
	tables := map[string]string{}
	for _, v := range versions {
		if askerOf(r.Context()).clinics.Has(v.clinic) {
			tables[v.clinic] = "/api/nights/" + v.night + "/" + v.clinic + "/"
		}
	}
	for n := range view.Clinics {
		if at := tables[view.Clinics[n].Name]; at != "" {
			view.Clinics[n].CSV, view.Clinics[n].Parquet = at+nightCSV, at+nightParquet
			view.Tables = true
		}
	}
	if len(tables) > 0 {
		view.Bulk = "/fhir/$bulk-publish?night=" + view.Began.Format(time.DateOnly)
	}
	return nil
}

// nightsBeside finds the nights before and after in which something came.
func (s *Service) nightsBeside(r *http.Request, view *web.NightView) error {
	clinics := clinicsOf(r.Context())
	before, err := s.deps.Store.LastBefore(r.Context(), clinics, view.Began)
	if err != nil {
		return err
	}
	after, err := s.deps.Store.FirstAfter(r.Context(), clinics, view.Ends)
	if err != nil {
		return err
	}
	if !before.IsZero() {
		night := nightOf(before, s.cfg.Location)
		view.Previous, view.PreviousDay = nightAddress(night), night.Format(nightName)
	}
	if night := nightOf(after, s.cfg.Location); !after.IsZero() && night.Before(s.night()) {
		view.Next, view.NextDay = nightAddress(night), night.Format(nightName)
	}
	return nil
}

// duration says from when to when a night's pictures came and were dealt with.
func (s *Service) duration(all store.ClinicCounts) string {
	if all.FirstAt.IsZero() {
		return ""
	}
	end := all.LastAt
	if all.FinishedAt.After(end) {
		end = all.FinishedAt
	}
	from, to := all.FirstAt.In(s.cfg.Location), end.In(s.cfg.Location)
	layout := "15:04"
	if end.Sub(all.FirstAt) >= 24*time.Hour {
		layout = "2 Jan 15:04"
	}
	return fmt.Sprintf("%s–%s, %s", from.Format("15:04"), to.Format(layout), inWords(end.Sub(all.FirstAt)))
}

// nightsPage answers GET /nights[?month=yyyy-mm]: the nights of a month, the last first.
func (s *Service) nightsPage(w http.ResponseWriter, r *http.Request) error {
	if !s.isReady() {
		return rebuildingFault()
	}
	current, clinics := s.night(), clinicsOf(r.Context())
	this := time.Date(current.Year(), current.Month(), 1, nightBegins, 0, 0, 0, s.cfg.Location)
	month := this
	if text := r.URL.Query().Get("month"); text != "" {
		asked, err := time.ParseInLocation(monthFormat, text, s.cfg.Location)
		if err != nil || asked.Year() < 1900 {
			return fault.New(fault.Invalid, "month-invalid", "a month should be given as 2026-11")
		}
		if month = time.Date(asked.Year(), asked.Month(), 1, nightBegins, 0, 0, 0, s.cfg.Location); month.After(this) {
			month = this
		}
	}
	view := web.NightsView{Shell: s.shell(r, "Nights", web.Nights), Month: month}
	next := month.AddDate(0, 1, 0)
	before, err := s.deps.Store.LastBefore(r.Context(), clinics, month)
	if err != nil {
		return err
	}
	if !before.IsZero() {
		earlier := nightOf(before, s.cfg.Location)
		view.Earlier, view.EarlierText, view.Ever = "/nights?month="+earlier.Format(monthFormat), earlier.Format("January 2006"), true
	}
	if month.Before(this) {
		view.Later, view.LaterText = "/nights?month="+next.Format(monthFormat), next.Format("January 2006")
	}
	most := 0
	for began := next.AddDate(0, 0, -1); !began.Before(month); began = began.AddDate(0, 0, -1) {
		if began.After(current) {
			continue
		}
		row, err := s.nightRow(r, began, current)
		if err != nil {
			return err
		}
		if row.Received == 0 && !row.GoesOn {
			view.Empty++
			continue
		}
		most = max(most, row.Received)
		view.Received += row.Received
		view.Rows = append(view.Rows, row)
	}
	for n := range view.Rows {
		if most > 0 {
			view.Rows[n].Share = 100 * float64(view.Rows[n].Received) / float64(most)
		}
	}
	view.Ever = view.Ever || view.Received > 0
	return s.show(w, http.StatusOK, web.Nights, view)
}

// briefly is the verdict on a night that is over, where there is little room.
func briefly(n web.NightNumbers) string {
	switch people := n.Failed + n.Quarantined + n.Ungradable; {
	case n.Pending > 0:
		return fmt.Sprintf("%d pending", n.Pending)
	case people > 0:
		return fmt.Sprintf("%d left for a person", people)
	}
	return "Went well"
}

// nightRow sums a night up.
func (s *Service) nightRow(r *http.Request, began, current time.Time) (web.NightRow, error) {
	row := web.NightRow{Link: nightAddress(began), Began: began}
	if began.Equal(current) {
		frame, err := s.liveFrame(r.Context(), viewerOf(askerOf(r.Context())))
		if err != nil {
			return row, err
		}
		n := frame.view.NightNumbers
		row.Link, row.GoesOn, row.Level, row.Verdict = "/", true, frame.view.Verdict.Level, frame.view.Verdict.Headline
		row.Received, row.Done, row.Failed, row.Ungradable, row.Quarantined, row.Pending, row.Clinics, row.Patients, row.Segments = n.Received, n.Done, n.Failed, n.Ungradable, n.Quarantined, n.Pending, len(n.Clinics), n.PatientsCovered, n.Segments
		return row, nil
	}
	counts, err := s.deps.Store.CountClinics(r.Context(), clinicsOf(r.Context()), store.Span{From: began, To: began.AddDate(0, 0, 1)})
	if err != nil {
		return row, err
	}
	all := sum(counts)
	n := countNumbers(all.Counts)
	verdict := verdictThen(n)
	row.Level, row.Verdict, row.Duration = verdict.Level, briefly(n), s.duration(all)
	row.Received, row.Done, row.Failed, row.Ungradable, row.Quarantined, row.Pending, row.Patients, row.Segments = n.Received, n.Done, n.Failed, n.Ungradable, n.Quarantined, n.Pending, n.PatientsCovered, n.Segments
	for _, c := range counts {
		if received(c.Counts) > 0 {
			row.Clinics++
		}
	}
	return row, nil
}
