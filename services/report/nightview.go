package report

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

// longWait is how long a picture may wait before its clinic's line says so.
const longWait = time.Hour

// tallyNumbers are the numbers of the night that goes on.
func tallyNumbers(t tally) web.NightNumbers {
	n := web.NightNumbers{
		Received: t.Received, Done: t.Done, Pending: t.Pending, Duplicate: t.Duplicate, Quarantined: t.Quarantined, Failed: t.Failed,
		Ungradable: t.Ungradable, NotAnalysed: t.NotAnalysed, Reports: *t.Reports, PatientsCovered: *t.Patients,
	}
	if t.Discarded != nil {
		n.Discarded = *t.Discarded
	}
	addBar(&n)
	return n
}

// received is all that came, as record.Status counts it.
func received(c store.Counts) int {
	return c.Pending + c.Releasing + c.Done + c.Failed + c.Duplicate + c.Quarantined + c.Discarded
}

// sum adds up the numbers of clinics.
func sum(clinics []store.ClinicCounts) (all store.ClinicCounts) {
	for _, c := range clinics {
		all.Pending += c.Pending
		all.Done += c.Done
		all.Failed += c.Failed
		all.Duplicate += c.Duplicate
		all.Quarantined += c.Quarantined
		all.Ungradable += c.Ungradable
		all.NotAnalysed += c.NotAnalysed
		all.Releasing += c.Releasing
		all.Discarded += c.Discarded
		all.Released += c.Released
		all.Reports += c.Reports
		all.Patients += c.Patients // patients are a clinic's
		if all.FirstAt.IsZero() || !c.FirstAt.IsZero() && c.FirstAt.Before(all.FirstAt) {
			all.FirstAt = c.FirstAt
		}
		if c.LastAt.After(all.LastAt) {
			all.LastAt = c.LastAt
		}
		if c.FinishedAt.After(all.FinishedAt) {
			all.FinishedAt = c.FinishedAt
		}
	}
	return all
}

// countNumbers are the numbers of a night that is over.
func countNumbers(c store.Counts) web.NightNumbers {
	n := web.NightNumbers{
		Received: received(c), Done: c.Done, Pending: c.Pending + c.Releasing, Duplicate: c.Duplicate, Quarantined: c.Quarantined, Failed: c.Failed, Discarded: c.Discarded,
		Ungradable: c.Ungradable, NotAnalysed: c.NotAnalysed, Reports: c.Reports, PatientsCovered: c.Patients, Over: true,
	}
	addBar(&n)
	return n
}

func addBar(n *web.NightNumbers) {
	n.Segments = segments(n.Received, n.Done, n.Failed, n.Quarantined, n.Duplicate, n.Discarded, n.Pending)
	n.PercentDone = percent(n.Received-n.Pending, n.Received)
}

// percent is rounded down, so that 100 % means all.
func percent(part, whole int) int {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}

// segments are the parts of a bar.
func segments(received, done, failed, quarantined, duplicate, discarded, pending int) (all []web.Segment) {
	x := 0.0
	for _, part := range []struct {
		class, label string
		n            int
	}{{"done", "In a report", done}, {"failed", "Failed", failed}, {"quarantined", "In quarantine", quarantined}, {"duplicate", "Duplicates", duplicate}, {"discarded", "Discarded", discarded}, {"pending", "Pending", pending}} {
		if part.n == 0 || received == 0 {
			continue
		}
		width := 100 * float64(part.n) / float64(received)
		all = append(all, web.Segment{Class: part.class, Label: part.label, Count: part.n, X: hundredth(x), Width: hundredth(hundredth(x+width) - hundredth(x))})
		x += width
	}
	return all
}

func hundredth(v float64) float64 { return math.Round(100*v) / 100 }

// clinicLines are the clinics of a night: first those with something that failed or is in quarantine, then those with ungradable pictures, then the others; each by name.
func clinicLines(counts []store.ClinicCounts, waiting map[string]waiting, at, night time.Time) []web.ClinicLine {
	lines := make([]web.ClinicLine, 0, len(counts))
	seen := map[string]bool{}
	add := func(c store.ClinicCounts) {
		inbox := waiting[c.Clinic]
		seen[c.Clinic] = true
		pending := c.Pending + c.Releasing + inbox.n
		all := received(c.Counts) + inbox.n
		line := web.ClinicLine{Name: c.Clinic, Link: patientsOfNight(night, c.Clinic, ""), Received: all, Dealt: all - pending, Pending: pending, Failed: c.Failed, Quarantined: c.Quarantined, Ungradable: c.Ungradable,
			Segments: segments(all, c.Done, c.Failed, c.Quarantined, c.Duplicate, c.Discarded, pending), Percent: percent(all-pending, all), LastAt: c.LastAt, Trouble: c.Failed+c.Quarantined > 0}
		if since := oldest(c.WaitingSince, inbox); pending > 0 && !since.IsZero() && at.Sub(since) >= longWait {
			line.Oldest = "oldest waits " + inWords(at.Sub(since))
		}
		if all > 0 {
			lines = append(lines, line)
		}
	}
	for _, c := range counts {
		add(c)
	}
	for clinic := range waiting {
		if !seen[clinic] {
			add(store.ClinicCounts{Clinic: clinic})
		}
	}
	rank := func(l web.ClinicLine) int {
		switch {
		case l.Trouble:
			return 0
		case l.Ungradable > 0:
			return 1
		}
		return 2
	}
	slices.SortFunc(lines, func(a, b web.ClinicLine) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
	})
	return lines
}

// oldest is since when the oldest of what is pending in the index and in the inbox waits.
func oldest(indexed time.Time, inbox waiting) time.Time {
	if indexed.IsZero() || !inbox.since.IsZero() && inbox.since.Before(indexed) {
		return inbox.since
	}
	return indexed
}

// pacing says how fast it goes, how long it will take, and what waits longest.
func (s *Service) pacing(v *web.LiveView, t tally, clinics []store.ClinicCounts, at time.Time) {
	if t.RatePerMin != nil && *t.RatePerMin > 0 {
		v.Rate = fmt.Sprintf("%.0f %s in the last minute", *t.RatePerMin, choose(int(*t.RatePerMin), "picture", "pictures"))
	}
	if t.Pending > 0 && t.EtaSeconds != nil {
		v.Left = "about " + inWords(time.Duration(*t.EtaSeconds*float64(time.Second))) + " left"
	}
	var since time.Time
	where := ""
	consider := func(clinic string, from time.Time) {
		if !from.IsZero() && (since.IsZero() || from.Before(since)) {
			since, where = from, clinic
		}
	}
	for _, c := range clinics {
		consider(c.Clinic, c.WaitingSince)
	}
	for clinic, w := range t.Waiting {
		consider(clinic, w.since)
	}
	if t.Pending == 0 || since.IsZero() {
		return
	}
	when := since.In(s.cfg.Location).Format("15:04")
	if at.Sub(since) > 24*time.Hour {
		when = since.In(s.cfg.Location).Format("2 Jan 2006, 15:04")
	}
	v.Oldest = fmt.Sprintf("Oldest waits since %s (%s)", when, inWords(at.Sub(since)))
	if where != "" {
		v.Oldest += ", " + where
	}
}

// Addresses of other pages. patientsOfNight are the patients of a night, of one clinic and with pictures of one status alone if these are given.
func patientsOfNight(night time.Time, clinic, only string) string {
	q := url.Values{"night": {night.Format(time.DateOnly)}}
	if clinic != "" {
		q.Set("clinic", clinic)
	}
	if only != "" {
		q.Set("only", only)
	}
	return "/patients?" + q.Encode()
}

func quarantineOf(code string) string { return "/quarantine?" + url.Values{"code": {code}}.Encode() }

func nightAddress(began time.Time) string { return "/nights/" + began.Format(time.DateOnly) }

// sentence makes a sentence of what a fault says.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	if !strings.ContainsAny(text[len(text)-1:], ".?!") {
		text += "."
	}
	first := []rune(text)
	return strings.ToUpper(string(first[:1])) + string(first[1:])
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

// verdictThen is what is said of a night that is over.
func verdictThen(n web.NightNumbers) web.Verdict {
	people := n.Failed + n.Quarantined + n.Ungradable
	done := fmt.Sprintf("%d of %d pictures came into a report, %s.", n.Done, n.Received, patientsInWords(n.PatientsCovered))
	switch {
	case n.Received == 0:
		return web.Verdict{Level: "idle", Headline: "Nothing came in that night"}
	case n.Pending > 0:
		return web.Verdict{Level: "busy", Headline: fmt.Sprintf("Not finished. %d %s still pending.", n.Pending, choose(n.Pending, "picture is", "pictures are")), Detail: done}
	case people > 0:
		return web.Verdict{Level: "attention", Headline: "The night was finished. " + choose(people, "One picture was left for a person.", fmt.Sprintf("%d pictures were left for a person.", people)), Detail: done}
	}
	return web.Verdict{Level: "good", Headline: "The night went well", Detail: fmt.Sprintf("All %d pictures were dealt with: %d in a report, %s.", n.Received, n.Done, patientsInWords(n.PatientsCovered))}
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

// inWords rounds a length of time the way people say it.
func inWords(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d seconds", max(1, int(d.Seconds())))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Round(time.Minute).Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f hours", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
