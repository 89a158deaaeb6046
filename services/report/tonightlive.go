package report

import (
	"context"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	// liveLife is how long the numbers of the page are kept, however many look at it: counting lists the inbox.
	liveLife = time.Second
	// liveShare of the time at most goes into counting: where that takes long, numbers are kept longer.
	liveShare = 4
	// maxLive bounds memory: so many different sets of clinics have their numbers kept. Those of one clinic are some 6 KB, those of 300 some 250 KB.
	maxLive = 200
	// deadLife is how long the list of dead letters is kept: each is a request to the stream.
	deadLife = 15 * time.Second
)

// live keeps the numbers of the page, by the clinics that they are of, and tells the streams of them to end.
type live struct {
	mu sync.Mutex
	of map[string]*liveFeed

	over     chan struct{} // closed when the service stops
	overOnce sync.Once

	dead   sync.Mutex // guards what follows
	deadAt time.Time
	deadBy map[string]int // dead letters by consumer
}

// endStreams ends the streams of numbers, which would go on for ever.
func (l *live) endStreams() { l.overOnce.Do(func() { close(l.over) }) }

// liveFeed are the numbers of a set of clinics. Whoever asks while they are counted waits for them.
type liveFeed struct {
	mu    sync.Mutex
	frame liveFrame
	took  time.Duration
}

// liveFrame is what the page shows at a moment, and its parts as they are sent.
type liveFrame struct {
	view  web.LiveView
	parts []web.LivePart
}

// viewer is whose numbers they are.
type viewer struct {
	clinics    access.Clinics
	mayOperate bool
}

func viewerOf(who asker) viewer {
	return viewer{who.Principal.Clinics(access.Read, access.AllResources), !who.Principal.Clinics(access.Operate, access.AllResources).None()}
}

func (v viewer) String() string {
	if v.mayOperate {
		return "operate " + v.clinics.String()
	}
	return v.clinics.String()
}

func (l *live) feed(of viewer) *liveFeed {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := of.String()
	f := l.of[name]
	if f == nil {
		if l.of == nil || len(l.of) >= maxLive {
			l.of = map[string]*liveFeed{}
		}
		f = &liveFeed{}
		l.of[name] = f
	}
	return f
}

// liveFrame returns the numbers as they are, or were a moment ago.
func (s *Service) liveFrame(ctx context.Context, of viewer) (liveFrame, error) {
	feed := s.live.feed(of)
	feed.mu.Lock()
	defer feed.mu.Unlock()
	began := s.deps.Clock()
	if age := began.Sub(feed.frame.view.AsOf); feed.frame.view.Known && age >= 0 && age < max(liveLife, liveShare*feed.took) {
		return feed.frame, nil
	}
	view, err := s.countLive(ctx, of)
	if err != nil {
		return liveFrame{}, err
	}
	parts, err := s.pages.LiveParts(view)
	if err != nil {
		return liveFrame{}, err
	}
	feed.frame, feed.took = liveFrame{view, parts}, s.deps.Clock().Sub(began)
	return feed.frame, nil
}

func (s *Service) countLive(ctx context.Context, of viewer) (web.LiveView, error) {
	at, since := s.deps.Clock(), s.night()
	t, err := s.tally(ctx, of.clinics, since)
	if fault.CodeOf(err) == "index-rebuilding" {
		return web.LiveView{AsOf: at, Verdict: web.Verdict{Level: "busy", Headline: "Reading the archive", Detail: "The index is being rebuilt from the buckets. Numbers follow in a moment."}}, nil
	}
	if err != nil {
		return web.LiveView{}, err
	}
	clinics, err := s.deps.Store.CountClinics(ctx, of.clinics.Names(), store.Span{From: since})
	if err != nil {
		return web.LiveView{}, err
	}
	v := web.LiveView{Known: true, AsOf: at, Verdict: verdictOf(t), NightNumbers: tallyNumbers(t)}
	v.PatientsLink = patientsOfNight(since, "", "")
	s.pacing(&v, t, clinics, at)
	v.Clinics = clinicLines(clinics, t.Waiting, at, since)
	v.Unplaced = t.Unplaced
	if v.Course, err = s.course(ctx, of.clinics.Names(), since, at); err != nil {
		return web.LiveView{}, err
	}
	if v.Needs, v.People, err = s.needs(ctx, of, since, t); err != nil {
		return web.LiveView{}, err
	}
	return v, nil
}

// cannotCount is what the page says while numbers cannot be had.
func cannotCount(err error, at time.Time) web.LiveView {
	_, _, text := statusOf(err)
	return web.LiveView{AsOf: at, Verdict: web.Verdict{Level: "unknown", Headline: "Noctua cannot count at the moment", Detail: sentence(text) + " This page goes on trying."}}
}
