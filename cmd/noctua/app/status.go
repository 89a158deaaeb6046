package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// statusCommand shows how far the screening is.
type statusCommand struct {
	clientFlags `embed:""`
	JSON        bool          `help:"Print JSON (schemas/status.v1.schema.json)."`
	Wait        bool          `help:"Return when nothing is pending."`
	Timeout     time.Duration `help:"With --wait: give up after this long; 0 waits without end." default:"0s"`
}

const (
	statusPollInterval = time.Second
	// unreachableGrace is how long --wait bears a Noctua that does not answer, so that a restart does not end the wait.
	unreachableGrace = 30 * time.Second
)

// Run prints the numbers, with --wait when nothing is pending any more.
func (c *statusCommand) Run(inv *invocation) error {
	noctua, err := c.connect()
	if err != nil {
		return err
	}
	var s record.Status
	if c.Wait {
		s, err = noctua.waitIdle(inv.ctx, inv.err, c.Timeout)
	} else {
		s, err = noctua.status(inv.ctx)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(inv.out).Encode(s)
	}
	if _, err = fmt.Fprintf(inv.out, "received     %d\npending      %d\ndone         %d\nduplicate    %d\nquarantined  %d\nfailed       %d\nreports      %d (%d patients)\n",
		s.Received, s.Pending, s.Done, s.Duplicate, s.Quarantined, s.Failed, value(s.Reports), value(s.Patients)); err != nil {
		return err
	}
	for _, e := range s.Exports {
		what := "archive"
		if e.Kind != "" {
			what = string(e.Kind)
		}
		line := fmt.Sprintf("%-12s %s: %d sent, %d pending, %d failed", what, e.Archive, e.Sent, e.Pending, e.Failed)
		if e.Code != "" {
			line += fmt.Sprintf("; away since %s: %s [%s]", e.DownSince.Local().Format(time.DateTime), e.Reason, e.Code)
		}
		if _, err := fmt.Fprintln(inv.out, line); err != nil {
			return err
		}
	}
	return nil
}

func value(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// waitIdle polls until nothing is pending, writing progress with rate and time left to w.
func (c *client) waitIdle(ctx context.Context, w io.Writer, timeout time.Duration) (record.Status, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	ticker := time.NewTicker(statusPollInterval)
	defer ticker.Stop()
	lastAnswer := time.Now()
	for {
		s, err := c.status(ctx)
		switch {
		case err == nil && s.Pending == 0:
			_, _ = fmt.Fprintln(w) // ends the progress line
			return s, nil
		case err == nil:
			lastAnswer = time.Now()
			_, _ = fmt.Fprintf(w, "\r%s    ", progressLine(s)) // progress alone
		case !fault.Is(err, fault.Transient) || time.Since(lastAnswer) > unreachableGrace:
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, fault.Wrap(fault.Transient, "wait-ended", ctx.Err(), "stopped waiting with %d images pending", s.Pending)
		case <-ticker.C:
		}
	}
}

func progressLine(s record.Status) string {
	line := fmt.Sprintf("%d of %d done, %d pending", s.Done+s.Duplicate+s.Quarantined+s.Failed, s.Received, s.Pending)
	if s.RatePerMin != nil && *s.RatePerMin > 0 {
		line += fmt.Sprintf(", %.1f a minute", *s.RatePerMin)
	}
	if s.EtaSeconds != nil {
		line += ", " + (time.Duration(*s.EtaSeconds) * time.Second).String() + " left"
	}
	return line
}
