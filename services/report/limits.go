package report

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// maxCallers bounds memory: of more callers than this the quietest are forgotten, and begin anew.
const maxCallers = 10_000

// limits bound what each caller asks for, and what all of them do together.
type limits struct {
	perSecond  rate.Limit
	burst      int
	together   int // requests at a time
	eachCaller int // of them, of one caller

	mu      sync.Mutex
	running int
	streams int // of those that run
	callers map[string]*caller
}

type caller struct {
	rate    *rate.Limiter
	running int
	streams int // of those that run
	last    time.Time
}

// denials bound how many refusals are recorded.
type denials struct {
	mu      sync.Mutex
	limit   *rate.Limiter
	omitted int
}

func newLimits(c Config) *limits {
	return &limits{perSecond: rate.Limit(c.RequestsPerSecond), burst: c.RequestBurst, together: c.MaxRequests, eachCaller: c.MaxRequestsPerCaller, callers: map[string]*caller{}}
}

// callerOf names who is counted together: a token or session, and else an address.
func callerOf(who asker) string {
	switch who.Via {
	case access.ViaNone:
		return "address " + who.agent.Address
	case access.ViaSession:
		return "session " + who.agent.Session
	case access.ViaToken, access.ViaJWT:
	}
	return string(who.Via) + " " + who.Name
}

// enter counts a request in, and returns what counts it out; or why it has to wait.
func (l *limits) enter(who asker, now time.Time) (leave func(), refused error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := callerOf(who)
	c := l.callers[name]
	if c == nil {
		if len(l.callers) >= maxCallers {
			l.forget()
		}
		c = &caller{rate: rate.NewLimiter(l.perSecond, l.burst)}
		l.callers[name] = c
	}
	c.last = now
	switch {
	case !c.rate.AllowN(now, 1):
		return nil, &httpError{http.StatusTooManyRequests, "rate-exceeded", "you ask more often than Noctua answers; wait a second and go on"}
	case c.running >= l.eachCaller:
		return nil, &httpError{http.StatusTooManyRequests, "requests-too-many", "too many of your requests are under way; wait until some are answered"}
	case l.running >= l.together:
		return nil, &httpError{http.StatusServiceUnavailable, "busy", "Noctua answers as many requests as it can; try again in a few seconds"}
	}
	c.running++
	l.running++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		c.running--
		l.running--
	}, nil
}

// streamShare of the requests that may run, of one caller and of all, may be streams, which go on for as long as somebody looks: the others are left for what they
// look at.
const streamShare = 2

// stream counts a request that was let in as one that goes on, and returns what counts it out; or why it must not.
func (l *limits) stream(who asker) (leave func(), refused error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.callers[callerOf(who)]
	switch {
	case c == nil: // who has a request under way is not forgotten
		return nil, fault.New(fault.Internal, "caller-missing", "a stream was asked for outside a request")
	case c.streams >= max(1, l.eachCaller/streamShare):
		return nil, &httpError{http.StatusTooManyRequests, "requests-too-many", "too many of your pages follow the night already; close some"}
	case l.streams >= max(1, l.together/streamShare):
		return nil, &httpError{http.StatusServiceUnavailable, "busy", "as many pages follow the night as Noctua serves; try again later"}
	}
	c.streams++
	l.streams++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		c.streams--
		l.streams--
	}, nil
}

// forget drops the callers who have been quiet for longer than the average, but none with a request under way.
func (l *limits) forget() {
	var sum time.Duration
	var base time.Time
	for _, c := range l.callers {
		if base.IsZero() {
			base = c.last
		}
		sum += c.last.Sub(base) / time.Duration(len(l.callers))
	}
	average := base.Add(sum)
	for name, c := range l.callers {
		if c.running == 0 && !c.last.After(average) {
			delete(l.callers, name)
		}
	}
}
