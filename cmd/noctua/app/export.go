package app

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/noctua-screening/noctua/services/report/export"
)

// exportCommand asks a running Noctua to send results to its archives, and reports to its receivers.
type exportCommand struct {
	clientFlags `embed:""`
	Archive     string `help:"Only to this archive or receiver, by its name in --export-dicom, --hl7 or --webhook; else to all."`
	Since       string `help:"Send what an archive or receiver does not have and was made since this day (2026-11-23) or instant (2026-11-23T06:30:00Z), also from before it was configured; of reports, their newest version. Without it, what failed is sent again."`
	Until       string `help:"With --since: up to this day, or before this instant."`
	Again       bool   `help:"With --since: send also what it has taken."`
}

// exportTimeout is how long asking may take: each result is looked at.
const exportTimeout = 10 * time.Minute

// Run asks and prints how many results each archive, and how many versions of reports each receiver, is to get.
func (c *exportCommand) Run(inv *invocation) error {
	if c.Since == "" && (c.Until != "" || c.Again) {
		return usageError{errors.New("--until and --again need --since, e.g. --since 2026-11-23")}
	}
	noctua, err := c.connect()
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"archive": c.Archive, "since": c.Since, "until": c.Until} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Again {
		query.Set("again", "true")
	}
	var answer struct {
		Requested []export.Requested `json:"requested"`
	}
	if err := noctua.callFor(inv.ctx, exportTimeout, http.MethodPost, "/api/exports?"+query.Encode(), nil, &answer); err != nil {
		return err
	}
	for _, r := range answer.Requested {
		if _, err := fmt.Fprintf(inv.out, "%s: %d results will be sent; noctua status shows how far it is\n", r.Archive, r.Results); err != nil {
			return err
		}
	}
	return nil
}
