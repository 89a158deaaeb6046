package report

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	recentReports = 8
	// nightBegins is the hour at which the day's numbers begin anew: clinics photograph by day, Noctua works by night.
	nightBegins = 12
)

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
	view := web.TonightView{Shell: s.shell(r, "Tonight", web.Tonight), Since: s.night(), Live: live}
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
