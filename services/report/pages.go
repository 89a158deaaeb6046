package report

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/token"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	recentReports  = 8
	patientsPerRow = 50
	filesPerPage   = 50
	// maxPatientOffset bounds how far people turn pages of patients: the database goes through all the rows before. Who looks for somebody searches.
	maxPatientOffset = 10_000
	// nightBegins is the hour at which the day's numbers begin anew: clinics photograph by day, Noctua works by night.
	nightBegins = 12
)

func (s *Service) shell(title, active string) web.Shell {
	return web.Shell{Title: title, Active: active, SignedIn: true, Software: s.cfg.Version}
}

// show sends a page. The page is made first, so that an error is still an error.
func (s *Service) show(w http.ResponseWriter, status int, page string, view any) error {
	var out bytes.Buffer
	if err := s.pages.Render(&out, page, view); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	s.send(w, out.Bytes())
	return nil
}

func (s *Service) showError(w http.ResponseWriter, status int, text string) {
	if err := s.show(w, status, web.Failed, web.FailedView{Shell: s.shell("Error", ""), Status: status, Text: text}); err != nil {
		s.deps.Logger.Error("the error page failed", slog.Any("error", err))
		http.Error(w, text, status)
	}
}

func (s *Service) showSignIn(w http.ResponseWriter, status int, problem string) {
	view := web.SignInView{Shell: web.Shell{Title: "Sign in"}, Problem: problem}
	if err := s.show(w, status, web.SignIn, view); err != nil {
		s.deps.Logger.Error("the sign-in page failed", slog.Any("error", err))
		http.Error(w, "sign in", status)
	}
}

func (s *Service) static(w http.ResponseWriter, r *http.Request) error {
	files, err := web.Static()
	if err != nil {
		return err
	}
	name := r.PathValue("file")
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		return fault.New(fault.NotFound, "not-found", "there is no such file")
	}
	mediaType := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)]
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-cache")
	s.send(w, raw)
	return nil
}

func (s *Service) signInPage(w http.ResponseWriter, r *http.Request) error {
	if _, known, err := s.recognise(r); known || err != nil {
		if err != nil {
			return err
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	s.showSignIn(w, http.StatusOK, "")
	return nil
}

func (s *Service) signIn(w http.ResponseWriter, r *http.Request) error {
	if !s.sessions.mayTry() {
		s.showSignIn(w, http.StatusTooManyRequests, "Too many wrong tokens. Wait a minute and try again.")
		return nil
	}
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "form-invalid", err, "the form could not be read")
	}
	// From the body alone: a token in the address would end up in logs.
	sum := token.Hash(strings.TrimSpace(r.PostForm.Get("token")))
	person, known, err := s.deps.Authority.ByHash(sum)
	if err != nil {
		return err
	}
	if !known || person.Clinics(access.Read, access.AllResources).None() {
		s.sessions.noteFailure()
		s.deps.Logger.Warn("a sign-in was refused", slog.String("from", r.RemoteAddr))
		s.denied(r, askerOf(r.Context()), "POST /signin", "signin-refused")
		problem := "That is not the token. Copy it whole, without spaces."
		if known {
			problem = "That token may not look at reports. Ask who runs Noctua for one that may."
		}
		s.showSignIn(w, http.StatusUnauthorized, problem)
		return nil
	}
	id := s.sessions.start(sum)
	if err := s.audit.Append(r.Context(), record.Audit{Action: record.AuditLogin, Outcome: record.AuditSuccess, Agent: s.sessionAgent(r, person, id),
		Entity: record.AuditEntity{Kind: record.EntitySession}}); err != nil {
		s.sessions.end(id)
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, Secure: r.TLS != nil,
		SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds())})
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (s *Service) signOut(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		// The session ends, recorded or not.
		s.sessions.end(cookie.Value)
	}
	if err := s.auditedAs(r, record.AuditLogout, record.AuditEntity{Kind: record.EntitySession}); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}

// night is when the night that is going on, or the last one, began.
func (s *Service) night() time.Time { return nightOf(s.deps.Clock(), s.cfg.Location) }

// liveLife is how long the numbers of the page are kept: every open page asks for them every two seconds, and counting lists the
// inbox.
const liveLife = time.Second

// maxLive bounds memory: so many different sets of clinics have their numbers kept.
const maxLive = 1000

// live keeps the numbers of the page, by the clinics that they are of. Whoever asks while they are counted waits for them.
type live struct {
	mu sync.Mutex
	of map[string]liveNumbers
}

type liveNumbers struct {
	at   time.Time
	view web.LiveView
}

func (s *Service) liveView(r *http.Request) (web.LiveView, error) {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	clinics := askerOf(r.Context()).clinics.String()
	kept := s.live.of[clinics]
	if age := s.deps.Clock().Sub(kept.at); kept.view.Known && age >= 0 && age < liveLife {
		return kept.view, nil
	}
	view, err := s.countLive(r)
	if s.live.of == nil || len(s.live.of) >= maxLive {
		s.live.of = map[string]liveNumbers{}
	}
	s.live.of[clinics] = liveNumbers{at: s.deps.Clock(), view: view}
	return view, err
}

func (s *Service) countLive(r *http.Request) (web.LiveView, error) {
	t, err := s.tally(r.Context(), askerOf(r.Context()).clinics, s.night())
	if fault.CodeOf(err) == "index-rebuilding" {
		return web.LiveView{AsOf: s.deps.Clock(), Verdict: web.Verdict{Level: "busy", Headline: "Reading the archive", Detail: "The index is being rebuilt from the buckets. Numbers follow in a moment."}}, nil
	}
	if err != nil {
		return web.LiveView{}, err
	}
	return makeLive(t, s.deps.Clock()), nil
}

func makeLive(t tally, at time.Time) web.LiveView {
	v := web.LiveView{
		Known: true, AsOf: at, Verdict: verdictOf(t),
		Received: t.Received, Done: t.Done, Pending: t.Pending, Duplicate: t.Duplicate, Quarantined: t.Quarantined, Failed: t.Failed,
		Ungradable: t.Ungradable, NotAnalysed: t.NotAnalysed, Reports: *t.Reports, PatientsCovered: *t.Patients,
	}
	x := 0.0
	for _, part := range []struct {
		class, label string
		n            int
	}{{"done", "In a report", t.Done}, {"failed", "Failed", t.Failed}, {"quarantined", "In quarantine", t.Quarantined}, {"duplicate", "Duplicates", t.Duplicate}, {"pending", "Pending", t.Pending}} {
		if part.n == 0 {
			continue
		}
		width := 100 * float64(part.n) / float64(t.Received)
		v.Segments = append(v.Segments, web.Segment{Class: part.class, Label: part.label, Count: part.n, X: x, Width: width})
		x += width
	}
	if t.Received > 0 {
		v.PercentDone = 100 * (t.Received - t.Pending) / t.Received
	}
	if t.RatePerMin != nil && *t.RatePerMin > 0 {
		v.Rate = fmt.Sprintf("%.0f %s in the last minute", *t.RatePerMin, choose(int(*t.RatePerMin), "picture", "pictures"))
	}
	if t.Pending > 0 && t.EtaSeconds != nil {
		v.Left = "about " + inWords(time.Duration(*t.EtaSeconds*float64(time.Second))) + " left"
	}
	for _, a := range []web.Attention{
		{Count: t.Quarantined, Text: choose(t.Quarantined, "file is in quarantine.", "files are in quarantine."), Link: "/quarantine", LinkText: "See why"},
		{Count: t.Ungradable, Text: choose(t.Ungradable, "picture could not be graded; photograph the eye again if you can.", "pictures could not be graded; photograph the eyes again if you can."), Link: "/patients?only=ungradable", LinkText: "Show them"},
		{Count: t.Failed, Text: choose(t.Failed, "picture could not be analysed.", "pictures could not be analysed."), Link: "/patients?only=failed", LinkText: "Show them"},
	} {
		if a.Count > 0 {
			v.Attention = append(v.Attention, a)
		}
	}
	v.Attention = append(v.Attention, unsent(t.Exports)...)
	return v
}

// unsent says what archives and receivers have not taken.
func unsent(exports []record.ExportStatus) (all []web.Attention) {
	for _, e := range exports {
		one, many, partner := "result", "results", "archive"
		switch e.Kind {
		case record.ReceiverHL7:
			one, many, partner = "report", "reports", "HL7 receiver"
		case record.ReceiverWebhook:
			one, many, partner = "report", "reports", "webhook"
		}
		if e.Failed > 0 {
			all = append(all, web.Attention{Count: e.Failed, Text: fmt.Sprintf("%s not taken by the %s %s; noctua export sends again what failed.", choose(e.Failed, one+" was", many+" were"), partner, e.Archive)})
		}
		if e.Code != "" && e.Pending > 0 {
			all = append(all, web.Attention{Count: e.Pending, Text: fmt.Sprintf("%s for the %s %s, which takes nothing at the moment: %s.", choose(e.Pending, one+" waits", many+" wait"), partner, e.Archive, strings.TrimSuffix(e.Reason, "."))})
		}
	}
	return all
}

func choose(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func verdictOf(t tally) web.Verdict {
	people := t.Failed + t.Quarantined + t.Ungradable
	switch {
	case t.Received == 0:
		return web.Verdict{Level: "idle", Headline: "Nothing has come in yet", Detail: "Noctua is ready and waiting for pictures."}
	case t.Pending > 0:
		return web.Verdict{Level: "busy", Headline: "Screening is under way", Detail: fmt.Sprintf("%d of %d pictures are dealt with.", t.Received-t.Pending, t.Received)}
	case people > 0:
		return web.Verdict{Level: "attention", Headline: "Finished. " + choose(people, "One picture needs a person.", fmt.Sprintf("%d pictures need a person.", people)),
			Detail: fmt.Sprintf("%d of %d pictures are in a report, %s.", t.Done, t.Received, patientsInWords(*t.Patients))}
	}
	if len(unsent(t.Exports)) > 0 {
		return web.Verdict{Level: "attention", Headline: "Finished. " + unreached(t.Exports), Detail: fmt.Sprintf("All %d pictures are dealt with: %d in a report, %s.", t.Received, t.Done, patientsInWords(*t.Patients))}
	}
	return web.Verdict{Level: "good", Headline: "The night went well", Detail: fmt.Sprintf("All %d pictures are dealt with: %d in a report, %s.", t.Received, t.Done, patientsInWords(*t.Patients))}
}

// unreached says what kind of partner did not get something: archives before receivers.
func unreached(exports []record.ExportStatus) string {
	for _, e := range exports {
		if e.Kind == "" && (e.Failed > 0 || e.Code != "" && e.Pending > 0) {
			return "Results did not reach an archive."
		}
	}
	return "Reports did not reach a receiver."
}

func patientsInWords(n int) string { return fmt.Sprintf("%d %s", n, choose(n, "patient", "patients")) }

// inWords rounds a time left the way people say it.
func inWords(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d seconds", max(1, int(d.Seconds())))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Round(time.Minute).Minutes()))
	}
	return fmt.Sprintf("%.1f hours", d.Hours())
}

func (s *Service) tonightLive(w http.ResponseWriter, r *http.Request) error {
	live, err := s.liveView(r)
	if err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Live, live)
}

func (s *Service) tonightPage(w http.ResponseWriter, r *http.Request) error {
	live, err := s.liveView(r)
	if err != nil {
		return err
	}
	view := web.TonightView{Shell: s.shell("Tonight", web.Tonight), Since: s.night(), Live: live}
	recent, err := s.deps.Store.FindReports(r.Context(), store.ReportQuery{Clinics: clinicsOf(r.Context()), Sort: store.SortUpdated, Descending: true, Limit: recentReports})
	if err != nil {
		return err
	}
	for _, found := range recent {
		line, err := s.line(r, found)
		if err != nil {
			return err
		}
		view.Recent = append(view.Recent, line)
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityReportList, Files: len(view.Recent)}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Tonight, view)
}

func (s *Service) line(r *http.Request, found store.Report) (web.PatientLine, error) {
	doc, err := s.documentOf(r.Context(), found)
	if err != nil {
		return web.PatientLine{}, err
	}
	return patientLine(doc, found.UpdatedAt), nil
}

func (s *Service) patientsPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	offset, err := intParam(q, "from", 0, 0, maxPatientOffset)
	if err != nil {
		return err
	}
	search := strings.TrimSpace(q.Get("q"))
	query := store.PatientQuery{Clinics: clinicsOf(r.Context()), Search: search, Changed: search == "", Offset: offset, Limit: patientsPerRow + 1, CountTo: totalBound}
	only := q.Get("only")
	onlyText := map[string]string{string(record.ImageUngradable): "could not be graded", string(record.ImageFailed): "could not be analysed"}[only]
	if onlyText == "" {
		only = ""
	} else {
		query.ImageStatuses = []string{only}
	}
	found, total, err := s.deps.Store.FindPatients(r.Context(), query)
	if err != nil {
		return err
	}
	more := len(found) > patientsPerRow
	if more {
		found = found[:patientsPerRow]
	}
	view := web.PatientsView{Shell: s.shell("Patients", web.Patients), Search: search, Only: only, OnlyText: onlyText, From: offset + 1, To: offset + len(found),
		Total: web.Total{N: min(total, totalBound), More: total > totalBound}}
	for _, p := range found {
		reports, err := s.deps.Store.FindReports(r.Context(), store.ReportQuery{Clinics: clinicsOf(r.Context()), PatientKeys: []string{p.Key}, Sort: store.SortStudyDate, Descending: true, Limit: 1})
		if err != nil {
			return err
		}
		for _, v := range reports {
			line, err := s.line(r, v)
			if err != nil {
				return err
			}
			view.Lines = append(view.Lines, line)
		}
	}
	link := func(at int) string {
		return "/patients?" + url.Values{"q": {search}, "only": {only}, "from": {fmt.Sprint(at)}}.Encode()
	}
	known := offset + len(found)
	if more && known <= maxPatientOffset {
		known++ // one at least
	}
	view.PreviousLink, view.NextLink = pageLinks(offset, len(found), known, patientsPerRow, link)
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityPatientList, Files: len(view.Lines)}); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Patients, view)
}

func pageLinks(offset, shown, total, size int, link func(int) string) (previous, next string) {
	if offset > 0 {
		previous = link(max(0, offset-size))
	}
	if offset+shown < total {
		next = link(offset + shown)
	}
	return previous, next
}

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
	view.Shell = s.shell("Patient", web.Patients)
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

func (s *Service) quarantinePage(w http.ResponseWriter, r *http.Request) error {
	return s.showQuarantine(w, r, http.StatusOK, nil, form{})
}

// showQuarantine shows the files that need a person, why decisions about some were refused, and what was
// entered for them.
func (s *Service) showQuarantine(w http.ResponseWriter, r *http.Request, status int, problems []string, entered form) error {
	offset, err := intParam(r.URL.Query(), "from", 0, 0, 1<<30)
	if err != nil {
		return err
	}
	found, total, err := s.deps.Store.FindRejected(r.Context(), clinicsOf(r.Context()), quarantine.Open, time.Time{}, filesPerPage, offset)
	if err != nil {
		return err
	}
	view := web.QuarantineView{Shell: s.shell("Quarantine", web.Quarantine), Total: total, From: offset + 1, To: offset + len(found), Problems: problems, Entered: entered.view()}
	groups := map[string]int{}
	for _, f := range found {
		line := quarantinedLine(f)
		view.AskClinic = view.AskClinic || f.History().Correctable().Clinic
		line.Chosen = slices.Contains(entered.ids, line.ID)
		view.Lines = append(view.Lines, line)
		if at, ok := groups[line.Code]; ok {
			view.Groups[at].Count++
		} else {
			groups[line.Code] = len(view.Groups)
			view.Groups = append(view.Groups, web.Group{Code: line.Code, Count: 1})
		}
	}
	view.PreviousLink, view.NextLink = pageLinks(offset, len(found), total, filesPerPage, func(at int) string { return fmt.Sprintf("/quarantine?from=%d", at) })
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineList, Files: len(found)}); err != nil {
		return err
	}
	return s.show(w, status, web.Quarantine, view)
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
