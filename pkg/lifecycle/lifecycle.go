package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// DefaultStopTimeout is how long parts may take to stop.
const DefaultStopTimeout = 20 * time.Second

// Component is a part of a process.
type Component struct {
	Name string
	// Run works until its context is cancelled and returns nil, or fails. It must return when its context is cancelled, having
	// finished or handed back what it was doing (its own two-phase stop).
	Run func(context.Context) error
	// Ready tells whether the part can serve; nil means always. It must return soon.
	Ready func(context.Context) error
}

// Group runs components together.
type Group struct {
	Components []Component
	// StopTimeout bounds stopping; default 20 s.
	StopTimeout time.Duration
	Logger      *slog.Logger // default: none
}

type ending struct {
	index int
	err   error
}

// Run starts every component and returns when all have returned. When ctx is cancelled, or when one component returns for
// whatever reason, all are cancelled at once. The result is nil if ctx was cancelled and every component stopped in
// order; otherwise it names the components that failed. Components that have not returned StopTimeout after being cancelled are
// named and abandoned: the caller should end the process.
func (g Group) Run(ctx context.Context) error {
	logger := g.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	timeout := g.StopTimeout
	if timeout == 0 {
		timeout = DefaultStopTimeout
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan ending, len(g.Components)) // room for all, so that an abandoned one never blocks
	for i, c := range g.Components {
		go func() { ended <- ending{i, guard(run, c)} }()
	}
	running := map[int]string{}
	for i, c := range g.Components {
		running[i] = c.Name
	}
	var problems []error
	var limit <-chan time.Time
	stopped := ctx.Done()
	for len(running) > 0 {
		select {
		case <-stopped:
			stopped = nil
			logger.Info("stopping", "components", len(running))
		case e := <-ended:
			name := running[e.index]
			delete(running, e.index)
			switch {
			case e.err != nil && (run.Err() == nil || !fault.Interrupted(e.err)):
				problems = append(problems, fmt.Errorf("%s: %w", name, e.err))
				logger.Error("component failed", "component", name, "error", e.err)
			case run.Err() == nil:
				problems = append(problems, fault.New(fault.Internal, "component-ended", "%s ended although nobody stopped it", name))
			}
		case <-limit:
			names := make([]string, 0, len(running))
			for _, name := range running {
				names = append(names, name)
			}
			slices.Sort(names)
			return errors.Join(append(problems, fault.New(fault.Internal, "stop-timeout", "not stopped after %s: %s", timeout, strings.Join(names, ", ")))...)
		}
		if limit == nil {
			cancel()
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			limit = timer.C
		}
	}
	return errors.Join(problems...)
}

// guard turns a panic into an error, so that the other components are stopped in order.
func guard(ctx context.Context, c Component) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Internal, "component-panic", "%s panicked: %v\n%s", c.Name, r, debug.Stack())
		}
	}()
	return c.Run(ctx)
}

// Ready asks every component and returns nil when all are ready; otherwise it names those that are not.
func (g Group) Ready(ctx context.Context) error {
	var problems []error
	for _, c := range g.Components {
		if c.Ready == nil {
			continue
		}
		if err := c.Ready(ctx); err != nil {
			problems = append(problems, fmt.Errorf("%s is not ready: %w", c.Name, err))
		}
	}
	return errors.Join(problems...)
}
