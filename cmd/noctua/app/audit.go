package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/audit"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/record"
)

// auditCommand looks after the audit log.
type auditCommand struct {
	Verify auditVerifyCommand `cmd:"" help:"Read the whole audit log and find every entry that was changed, removed or put in."`
}

// auditVerifyCommand checks the audit log. It reads the bucket itself, and not by a service that could be mistaken.
type auditVerifyCommand struct {
	clientFlags  `embed:""`
	storageFlags `embed:""`
	Known        []string `help:"Where the log ended at an earlier time, as this command printed it: then what was changed at its end shows, too." placeholder:"NUMBER:SHA256"`
}

// progressEvery entries the progress is shown.
const progressEvery = 10_000

// Run checks the log.
func (c *auditVerifyCommand) Run(inv *invocation) error {
	var known []audit.Head
	for _, text := range c.Known {
		head, err := parseHead(text)
		if err != nil {
			return usageError{err}
		}
		known = append(known, head)
	}
	if c.URL != "" && c.S3Endpoint == "" {
		return usageError{errors.New("the audit log is read from the S3 server itself: give --data, or --s3-endpoint with its keys; --url names the service that noted where it ended")}
	}
	storage, err := c.storage(c.Data)
	if err != nil {
		return err
	}
	store, err := blob.New(storage)
	if err != nil {
		return err
	}
	if noted, err := c.noted(inv); err != nil {
		return err
	} else if noted.Number > 0 {
		known = append(known, noted)
	}
	var first, last record.Audit
	n, denied := 0, 0
	started := time.Now()
	head, err := audit.Check(inv.ctx, store, store.Buckets().Audit, known, func(e record.Audit) error {
		if n++; n == 1 {
			first = e
		}
		last = e
		if e.Outcome == record.AuditDenied {
			denied++
		}
		if n%progressEvery == 0 {
			_, err := fmt.Fprintf(inv.err, "%d entries, %.0f a second\n", n, float64(n)/time.Since(started).Seconds())
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n == 0 {
		_, err := fmt.Fprintln(inv.out, "The audit log is empty.")
		return err
	}
	_, err = fmt.Fprintf(inv.out, `The audit log is whole: %d entries (%d to %d), %d of them of requests that were denied.
  first  %s
  last   %s
  end    %d:%s
Keep the line "end" elsewhere and give it as --known next time: then what is changed at the end shows, too.
`, n, first.Number, last.Number, denied, first.RecordedAt.Format(time.RFC3339), last.RecordedAt.Format(time.RFC3339), head.Number, head.Sha256)
	return err
}

// noted asks the service where it last saw the log end; zero if there is no service to ask, or it has not seen it yet.
func (c *auditVerifyCommand) noted(inv *invocation) (audit.Head, error) {
	if c.S3Endpoint != "" && c.URL == "" {
		return audit.Head{}, nil
	}
	service, err := c.connect()
	if err != nil {
		return audit.Head{}, err
	}
	var answer struct {
		Known string `json:"known"`
	}
	if err := service.call(inv.ctx, "GET", "/api/audit/head", nil, &answer); err != nil {
		return audit.Head{}, err
	}
	if answer.Known == "" {
		return audit.Head{}, nil
	}
	return parseHead(answer.Known)
}

func parseHead(text string) (audit.Head, error) {
	number, sum, ok := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	const hexDigits = 64
	if !ok || err != nil || n < 1 || len(sum) != hexDigits || strings.Trim(sum, "0123456789abcdef") != "" {
		return audit.Head{}, fmt.Errorf("the end of an audit log should look like 1234:<SHA-256>, as noctua audit verify prints it, not %q", text)
	}
	return audit.Head{Number: n, Sha256: sum}, nil
}
