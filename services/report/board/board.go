// Package board tells what state the parts of Noctua are in: it asks all of them at once, gives each a time, and remembers the answers for a
// moment, so that many who look cost no more than one. A part that does not answer is red, and holds nothing up. It imports pkg/fault.
package board

import (
	"context"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Lamp is how a part is.
type Lamp string

// Lamps, from good to bad.
const (
	Green  Lamp = "green"
	Yellow Lamp = "yellow" // works, and somebody should look at it soon
	Red    Lamp = "red"    // does not work
)

// worse orders lamps.
var worse = map[Lamp]int{Green: 0, Yellow: 1, Red: 2}

// Worst is the worst of lamps; green if there is none.
func Worst(lamps ...Lamp) Lamp {
	worst := Green
	for _, l := range lamps {
		if worse[l] > worse[worst] {
			worst = l
		}
	}
	return worst
}

// Compare orders lamps, the better first.
func Compare(a, b Lamp) int { return worse[a] - worse[b] }

// Finding is how a part was found.
type Finding struct {
	Lamp Lamp
	Text string // how it is, in a sentence without numbers of a clinic
	// Detail has numbers of all clinics together, for those who may see them.
	Detail string
	Do     string // what to do, unless the lamp is green
}

// Part is something that may be well or not.
type Part struct {
	Name string
	// SiteWide parts are shown only to those who may see all clinics.
	SiteWide bool
	// Do is what to do when the check fails or does not end.
	Do string
	// Check looks at the part. An error makes it red, with the error's sentence.
	Check func(ctx context.Context) (Finding, error)
}

// Checked is a part as it was found.
type Checked struct {
	Name     string
	SiteWide bool
	Finding
	// Since is when this process found it in that state first.
	Since time.Time
}

const (
	// DefaultTimeout of one check: a healthy part answers in milliseconds, and a page should come within seconds.
	DefaultTimeout = 3 * time.Second
	// DefaultFresh is how long answers are good for.
	DefaultFresh = 2 * time.Second
)

// Board looks at parts. It may be used by many goroutines at once.
type Board struct {
	parts   []Part
	timeout time.Duration
	fresh   time.Duration
	clock   func() time.Time

	looking sync.Mutex // one looks at a time; others wait and take what it found

	mu     sync.Mutex
	at     time.Time
	found  []Checked
	asking []bool // a check of that part has not come back yet
}

// New returns a board. Timeouts of zero are the defaults.
func New(parts []Part, timeout, fresh time.Duration, clock func() time.Time) *Board {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if fresh == 0 {
		fresh = DefaultFresh
	}
	return &Board{parts: parts, timeout: timeout, fresh: fresh, clock: clock, asking: make([]bool, len(parts))}
}

// Look returns how the parts are, in their order, and when they were asked. It takes no longer than a timeout, or two while somebody else looks.
func (b *Board) Look(ctx context.Context) ([]Checked, time.Time) {
	b.looking.Lock()
	defer b.looking.Unlock()
	if found, at := b.last(); found != nil && b.clock().Sub(at) < b.fresh {
		return found, at
	}
	// Who looks may go away; what is found is for others, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
	defer cancel()
	at := b.clock()
	found := make([]Checked, len(b.parts))
	var all sync.WaitGroup
	for n := range b.parts {
		all.Go(func() { found[n] = b.check(ctx, n) })
	}
	all.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := range found {
		found[n].Since = at
		if n < len(b.found) && b.found[n].Lamp == found[n].Lamp {
			found[n].Since = b.found[n].Since
		}
	}
	b.found, b.at = found, at
	return found, at
}

func (b *Board) last() ([]Checked, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.found, b.at
}

// check asks one part, and waits no longer than ctx. Of a check that ignores its context one may hang at a time.
func (b *Board) check(ctx context.Context, n int) Checked {
	part := b.parts[n]
	c := Checked{Name: part.Name, SiteWide: part.SiteWide}
	b.mu.Lock()
	hangs := b.asking[n]
	b.asking[n] = true
	b.mu.Unlock()
	silent := Finding{Lamp: Red, Text: "It does not answer within " + b.timeout.String() + ".", Do: part.Do}
	if hangs {
		c.Finding = silent
		return c
	}
	answer := make(chan Finding, 1)
	go func() {
		f, err := part.Check(ctx)
		if err != nil {
			f = Finding{Lamp: Red, Text: sentence(err), Do: part.Do}
			if ctx.Err() != nil {
				f = silent
			}
		}
		b.mu.Lock()
		b.asking[n] = false
		b.mu.Unlock()
		answer <- f
	}()
	select {
	case c.Finding = <-answer:
	case <-ctx.Done():
		c.Finding = silent
	}
	return c
}

// sentence is what people are told of an error: its own words if it is a fault, and else that the log has more.
func sentence(err error) string {
	if fault.CodeOf(err) == "" || fault.KindOf(err) == fault.Internal && fault.SentenceOf(err) == "" {
		return "It failed; the log says why."
	}
	return fault.SentenceOf(err) + " [" + fault.CodeOf(err) + "]"
}
