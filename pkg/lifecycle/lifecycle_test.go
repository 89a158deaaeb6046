package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func untilCancelled(ctx context.Context) error { <-ctx.Done(); return nil }

func TestStopInOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	g := lifecycle.Group{Components: []lifecycle.Component{{Name: "a", Run: untilCancelled}, {Name: "b", Run: interrupted}}}
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("an ordered stop should be no error, got %v", err)
	}
}

func TestFirstFailureStopsAll(t *testing.T) {
	cause := errors.New("disk gone")
	stopped := make(chan struct{})
	g := lifecycle.Group{Components: []lifecycle.Component{
		{Name: "failing", Run: func(context.Context) error { return cause }},
		{Name: "other", Run: func(ctx context.Context) error { <-ctx.Done(); close(stopped); return nil }},
	}}
	err := g.Run(t.Context())
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "failing") {
		t.Fatalf("expected the failing component's error with its name, got %v", err)
	}
	<-stopped
}

func TestEndingEarlyAndPanickingAreFailures(t *testing.T) {
	for name, run := range map[string]func(context.Context) error{
		"component-ended": func(context.Context) error { return nil },
		"component-panic": func(context.Context) error { panic("boom") },
	} {
		g := lifecycle.Group{Components: []lifecycle.Component{{Name: "odd", Run: run}, {Name: "b", Run: untilCancelled}}}
		if err := g.Run(t.Context()); fault.CodeOf(errors.Unwrap(asSingle(err))) != name && fault.CodeOf(err) != name {
			t.Errorf("expected %s, got %v", name, err)
		}
	}
}

// asSingle takes the only error out of a join.
func asSingle(err error) error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) && len(joined.Unwrap()) == 1 {
		return joined.Unwrap()[0]
	}
	return err
}

func TestStopTimeoutNamesTheCulprit(t *testing.T) {
	release := make(chan struct{})
	ended := make(chan struct{})
	g := lifecycle.Group{StopTimeout: time.Millisecond, Components: []lifecycle.Component{
		{Name: "stubborn", Run: func(context.Context) error { <-release; close(ended); return nil }},
		{Name: "good", Run: untilCancelled},
	}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := g.Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "stubborn") {
		t.Fatalf("expected a timeout that names the component, got %v", err)
	}
	close(release)
	<-ended
}

func TestReady(t *testing.T) {
	g := lifecycle.Group{Components: []lifecycle.Component{
		{Name: "a"},
		{Name: "b", Ready: func(context.Context) error { return errors.New("still loading") }},
	}}
	if err := g.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "b is not ready") {
		t.Fatalf("expected the component that is not ready, got %v", err)
	}
}
