package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/segment"
)

// reprocessCommand brings archived images to results of a model, beside those of others.
type reprocessCommand struct {
	storageFlags        `embed:""`
	installedModelFlags `embed:""`
	Since               string `help:"Images that came in from this day on (yyyy-mm-dd), or since this moment (RFC 3339)." required:""`
	Until               string `help:"Images that came in until the end of this day, or before this moment."`
}

// moment reads a day in the machine's zone, or an instant. end: of a day its end is meant.
func moment(flag, text string, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usageError{fmt.Errorf("--%s should be a day (2026-11-23) or a moment (2026-11-23T06:30:00Z), not %q", flag, text)}
	}
	return at, nil
}

// Run runs until all is done, or until it is told to stop; the same command again goes on.
func (c *reprocessCommand) Run(inv *invocation) (err error) {
	since, err := moment("since", c.Since, false)
	if err != nil {
		return err
	}
	until, err := moment("until", c.Until, true)
	if err != nil {
		return err
	}
	storage, err := c.storageFlags.storage(c.Data)
	if err != nil {
		return err
	}
	engine, err := c.installedModelFlags.open(inv.ctx, inv.err)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	objects, err := blob.New(storage)
	if err != nil {
		return err
	}
	files := isolated.New(isolated.Config{}, inv.logger)
	defer files.Close()
	started := time.Now()
	show := func(n segment.Reprocessed) {
		worked := n.Done() - n.Present
		if worked == 0 && n.Done() < n.Images {
			return
		}
		rate := float64(worked) / time.Since(started).Seconds()
		left := "?"
		if rate > 0 {
			left = (time.Duration(float64(n.Images-n.Done())/rate) * time.Second).String()
		}
		_, _ = fmt.Fprintf(inv.err, "\r%d of %d images, %.1f a second, %s left   ", n.Done(), n.Images, rate, left) // progress alone
	}
	model := engine.Model().Manifest
	counts, err := segment.Reprocess(inv.ctx, segment.ReprocessDeps{Store: objects, Files: files, Engine: engine, Logger: inv.logger, Clock: time.Now, CodeVersion: codeVersion()},
		segment.ReprocessConfig{Since: since, Until: until, Analyser: c.judgement(), Progress: show})
	if counts.Images > 0 {
		_, _ = fmt.Fprintln(inv.err) // ends the line of the progress
	}
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(inv.out, `%d images by %s %s (%.12s): %d measured now, %d before, %d cannot be analysed.
Their results lie beside those of other models. Reports speak for the model in use; noctua model use, or --model, and a restart let them speak for this one.
`, counts.Images, model.Name, model.Version, model.Sha256, counts.Measured, counts.Present, counts.Failed); err != nil {
		return err
	}
	if counts.Postponed > 0 {
		return fault.New(fault.Transient, "reprocess-incomplete", "%d images could not be dealt with now; the log says why, and the same command takes them up again", counts.Postponed)
	}
	return nil
}
