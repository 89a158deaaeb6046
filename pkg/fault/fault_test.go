package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestKindAndCodeSurviveWrapping(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	err := fmt.Errorf("archiving: %w", fault.Wrap(fault.Transient, "storage-unavailable", cause, "the storage at %s does not answer", "x"))
	if got := fault.KindOf(err); got != fault.Transient {
		t.Errorf("kind is %v", got)
	}
	if got := fault.CodeOf(err); got != "storage-unavailable" {
		t.Errorf("code is %q", got)
	}
	if got := fault.SentenceOf(err); got != "the storage at x does not answer" {
		t.Errorf("sentence is %q", got)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "archiving: the storage at x does not answer: connection refused"; got != want {
		t.Errorf("text is %q", got)
	}
}

func TestErrorsWithoutKindAreInternal(t *testing.T) {
	t.Parallel()
	err := errors.New("oops")
	if fault.KindOf(err) != fault.Internal || fault.CodeOf(err) != "" || fault.Is(nil, fault.Internal) {
		t.Error("an error without kind should be internal, without code, and nil should be nothing")
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	if !fault.Interrupted(fmt.Errorf("working: %w", context.Canceled)) || fault.Interrupted(context.DeadlineExceeded) {
		t.Error("cancellation is interruption, a missed deadline is not")
	}
}
