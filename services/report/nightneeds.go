package report

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	// morningHour is when the last morning began: what changed since then nobody has seen.
	morningHour = 6
	// reasonsShown of the quarantine are listed; the page of the quarantine has all of them.
	reasonsShown = 12
	// countedTo bounds counting of what is no matter of hundreds.
	countedTo = 1000
	// incompleteFor is how long a study that lacks announced pictures stays a matter of the morning.
	incompleteFor = 7 * 24 * time.Hour
)

// morningBefore is the morning of the day on which a night began.
func morningBefore(night time.Time) time.Time {
	return time.Date(night.Year(), night.Month(), night.Day(), morningHour, 0, 0, 0, night.Location())
}

// needs is what a person should see to, the most urgent first, and a text that changes when something about patients does.
func (s *Service) needs(ctx context.Context, of viewer, night time.Time, t tally) (all []web.Need, people string, err error) {
	at := s.deps.Clock()
	clinics := of.clinics.Names()
	reasons, err := s.deps.Store.Reasons(ctx, clinics, store.Span{From: night}, false, reasonsShown)
	if err != nil {
		return nil, "", err
	}
	all = append(all, quarantineNeeds(reasons, of.mayOperate, false)...)
	all = append(all, pictureNeeds(t.Ungradable, t.Failed, patientsOfNight(night, "", string(record.ImageUngradable)), patientsOfNight(night, "", string(record.ImageFailed)))...)
	incomplete, unheard, err := s.lacking(ctx, clinics, s.overdue(at))
	if err != nil {
		return nil, "", err
	}
	all = append(all, lackingNeeds(incomplete, unheard)...)
	if of.clinics.All() { // of a dead letter, an archive and a receiver the clinic is not known
		dead, err := s.deadLetters(ctx, night)
		if err != nil {
			return nil, "", err
		}
		all = append(all, deadNeeds(dead)...)
	}
	all = append(all, unsent(t.Exports)...)
	amended, err := s.deps.Store.CountReports(ctx, store.ReportQuery{Clinics: clinics, Statuses: []string{string(record.Amended)}, Updated: []store.Span{{From: morningBefore(night)}}, CountTo: countedTo})
	if err != nil {
		return nil, "", err
	}
	all = append(all, amendedNeed(amended, "since "+morningBefore(night).Format("Mon 2 Jan, 15:04"))...)
	return all, fmt.Sprintf("%d %d %d %d %d", t.Ungradable, t.Failed, incomplete, amended, *t.Reports), nil
}

func quarantineNeeds(reasons []store.Reason, mayOperate, over bool) (all []web.Need) {
	for _, r := range reasons {
		finding := r.Example.History().Finding()
		need := web.Need{Count: r.Open, Text: choose(r.Open, "file is", "files are") + " in quarantine. " + plainly(finding.Reason), Do: plainly(finding.Action)}
		switch {
		case over:
			need.Count = r.Came
			need.Text = choose(r.Came, "file", "files") + " went into quarantine. " + plainly(finding.Reason) + " " + stillOpen(r.Came, r.Open)
			if r.Open == 0 {
				need.Level = "note"
				need.Do = ""
			}
		case r.Came == 0:
			need.Text += " " + choose(r.Open, "It is", "They are") + " from before tonight."
		case r.Came < r.Open:
			need.Text += fmt.Sprintf(" %d of them from before tonight.", r.Open-r.Came)
		}
		if mayOperate {
			need.Link, need.LinkText = quarantineOf(r.Code), "Decide"
		}
		all = append(all, need)
	}
	return all
}

func stillOpen(came, open int) string {
	switch open {
	case 0:
		return "All of it is decided."
	case came:
		return choose(open, "It still needs a person.", "All still need a person.")
	}
	return fmt.Sprintf("%d still %s a person.", open, choose(open, "needs", "need"))
}

// plainly leaves out what is for the support, and ends with a full stop.
func plainly(text string) string {
	text, _, _ = strings.Cut(text, " (For support:")
	return sentence(text)
}

func pictureNeeds(ungradable, failed int, ungradableLink, failedLink string) (all []web.Need) {
	if ungradable > 0 {
		all = append(all, web.Need{Count: ungradable, Text: choose(ungradable, "picture could not be graded.", "pictures could not be graded."), Do: "Photograph the eyes again; the list below says which, and why.", Link: ungradableLink, LinkText: "All of them"})
	}
	if failed > 0 {
		all = append(all, web.Need{Count: failed, Text: choose(failed, "picture could not be analysed.", "pictures could not be analysed."), Do: "Send them again, or photograph the eyes again.", Link: failedLink, LinkText: "All of them"})
	}
	return all
}

// overdue is the span of deadlines that have passed and are still a matter of the morning.
func (s *Service) overdue(at time.Time) store.Span {
	return store.Span{From: at.Add(-incompleteFor), To: at}
}

// lacking counts the studies whose deadline is in a span and of which announced pictures are missing, and by clinic those of which nothing came.
func (s *Service) lacking(ctx context.Context, clinics []string, deadline store.Span) (incomplete int, unheard map[string]int, err error) {
	if _, incomplete, err = s.deps.Store.Incomplete(ctx, clinics, deadline, 1); err != nil {
		return 0, nil, err
	}
	unheard, err = s.deps.Store.Unheard(ctx, clinics, store.Span{From: deadline.From.Add(-s.cfg.ManifestDeadline), To: deadline.To.Add(-s.cfg.ManifestDeadline)})
	return incomplete, unheard, err
}

func lackingNeeds(incomplete int, unheard map[string]int) (all []web.Need) {
	if incomplete > 0 {
		all = append(all, web.Need{Count: incomplete, Text: choose(incomplete, "study lacks pictures that were announced.", "studies lack pictures that were announced."), Do: "Send what is missing again; the list below says of whom.", Link: "#incomplete", LinkText: "Which"})
	}
	n := 0
	var where []string
	for _, clinic := range slices.Sorted(maps.Keys(unheard)) {
		n += unheard[clinic]
		where = append(where, fmt.Sprintf("%s (%d)", clinic, unheard[clinic]))
	}
	const named = 5
	if len(where) > named {
		where = append(where[:named], fmt.Sprintf("and %d other clinics", len(where)-named))
	}
	if n > 0 {
		all = append(all, web.Need{Count: n, Text: choose(n, "study was announced, but nothing of it came: ", "studies were announced, but nothing of them came: ") + strings.Join(where, ", ") + ".", Do: "Look at the camera or archive there, and send the pictures again."})
	}
	return all
}

// deadLooked dead letters are looked at, the newest ones.
const deadLooked = 100

// deadLetters counts the messages that were given up since a night began, by consumer. Those about segmentation and about sending are not among them: they are
// counted as failed pictures, and as what was not taken.
func (s *Service) deadLetters(ctx context.Context, since time.Time) (map[string]int, error) {
	s.live.dead.Lock()
	defer s.live.dead.Unlock()
	at := s.deps.Clock()
	if age := at.Sub(s.live.deadAt); s.live.deadBy != nil && age >= 0 && age < deadLife {
		return s.live.deadBy, nil
	}
	letters, err := s.deps.Queue.DeadLetters(ctx, deadLooked)
	if err != nil {
		return nil, fmt.Errorf("reading what was given up: %w", err)
	}
	by := map[string]int{}
	for _, l := range letters {
		if slices.Contains([]string{stream.ConsumerIngest, stream.ConsumerReport, stream.ConsumerRelease}, l.Consumer) && !l.Time.Before(since) {
			by[l.Consumer]++
		}
	}
	s.live.deadAt, s.live.deadBy = at, by
	return by, nil
}

func deadNeeds(by map[string]int) (all []web.Need) {
	if n := by[stream.ConsumerRelease]; n > 0 {
		all = append(all, web.Need{Count: n, Text: choose(n, "decision about a file in quarantine could not be carried out.", "decisions about files in quarantine could not be carried out."), Do: "Decide again. If it happens again, give the log to the support.", Link: "/quarantine", LinkText: "Quarantine"})
	}
	if n := by[stream.ConsumerIngest] + by[stream.ConsumerReport]; n > 0 {
		all = append(all, web.Need{Count: n, Text: choose(n, "message about a picture was given up after several attempts.", "messages about pictures were given up after several attempts."), Do: "Nothing is lost: Noctua reads its buckets again every few minutes. If the number grows, give the log to the support."})
	}
	return all
}

// unsent says what archives and receivers have not taken.
func unsent(exports []record.ExportStatus) (all []web.Need) {
	for _, e := range exports {
		one, many, partner := "result", "results", "archive"
		switch e.Kind {
		case record.ReceiverHL7:
			one, many, partner = "report", "reports", "HL7 receiver"
		case record.ReceiverWebhook:
			one, many, partner = "report", "reports", "webhook"
		}
		if e.Failed > 0 {
			all = append(all, web.Need{Count: e.Failed, Text: fmt.Sprintf("%s not taken by the %s %s.", choose(e.Failed, one+" was", many+" were"), partner, e.Archive), Do: "When it is mended, noctua export sends again what failed."})
		}
		if e.Code != "" && e.Pending > 0 {
			all = append(all, web.Need{Count: e.Pending, Text: fmt.Sprintf("%s for the %s %s, which takes nothing at the moment: %s.", choose(e.Pending, one+" waits", many+" wait"), partner, e.Archive, strings.TrimSuffix(e.Reason, ".")), Do: "Noctua goes on trying; tell whoever runs it."})
		}
	}
	return all
}

func amendedNeed(n int, when string) []web.Need {
	if n == 0 {
		return nil
	}
	return []web.Need{{Level: "note", Count: n, Text: choose(n, "report was amended ", "reports were amended ") + when + ".", Do: "Whoever has read the version before should know.", Link: "#amended", LinkText: "What changed"}}
}
