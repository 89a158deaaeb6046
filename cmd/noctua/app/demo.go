package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/record"
)

// demoCommand drops synthetic patients into a running Noctua, so that a newcomer sees every kind of outcome.
type demoCommand struct {
	clientFlags `embed:""`
	Clinics     []string  `help:"Clinics that the files come from." default:"north,south,harbour"`
	Patients    int       `help:"Number of patients. The first four have earlier visits." default:"9"`
	Seed        uint64    `help:"The same seed draws the same patients again." default:"1"`
	Day         time.Time `help:"Day of the night, as 2026-11-23; today if it is left out." format:"2006-01-02" placeholder:"DAY"`
	Out         string    `help:"Write the DICOM files to this folder instead of uploading them." placeholder:"DIR"`
}

const (
	// demoPoll is how often the demo asks how far Noctua is.
	demoPoll = 500 * time.Millisecond
	// demoPatience is how long nothing may be dealt with before the demo goes on without waiting: a machine that is busy with a night of its own.
	demoPatience = 3 * time.Minute
)

// partNames name folders, and are said with the progress.
var partNames = map[phantom.Part]string{phantom.Earlier: "1-earlier-visits", phantom.Tonight: "2-tonight", phantom.Late: "3-late"}

// Run draws the night and uploads it, and waits until all of it is dealt with.
func (c *demoCommand) Run(inv *invocation) (err error) {
	for _, clinic := range c.Clinics {
		if !event.ValidClinic(clinic) {
			return usageError{fmt.Errorf("the clinic %q should be 1 to 64 letters, digits, - and _, starting with a letter or digit", clinic)}
		}
	}
	day := c.Day
	if day.IsZero() {
		day = time.Now()
	}
	shots, err := phantom.Night(c.Seed, c.Patients, len(c.Clinics), day)
	if err != nil {
		return err
	}
	if c.Out != "" {
		bar := pictureBar(inv.err, "drawing", len(shots))
		if err := c.draw(inv.ctx, shots, c.Out, func(phantom.Shot, string) error { return bar.Add(1) }); err != nil {
			return err
		}
		_, err = fmt.Fprintf(inv.out, "%d synthetic files of %d patients are in %s.\n", len(shots), c.Patients, c.Out)
		return err
	}
	noctua, err := c.connect()
	if err != nil {
		return err
	}
	before, err := noctua.status(inv.ctx) // before anything is drawn
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "noctua-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the pictures: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }() // synthetic pictures alone
	if _, err := fmt.Fprintf(inv.out, "Watch the night at %s\n", noctua.base); err != nil {
		return err
	}
	d := demo{command: c, client: noctua, folder: folder, before: before, bar: progressOf(inv.err, "drawing and screening", "files", len(shots)), out: inv.err}
	for part := phantom.Earlier; part <= phantom.Late; part++ {
		if err := d.run(inv.ctx, part, shots); err != nil {
			return err
		}
	}
	return d.conclude(inv.ctx, inv.out)
}

// demo is a night on its way.
type demo struct {
	command *demoCommand
	client  *client
	folder  string
	before  record.Status
	last    record.Status
	sent    int // files; manifests are no pictures, and are not counted
	bar     *progressbar.ProgressBar
	out     io.Writer
}

// run draws and sends a part of the night, and waits until it is dealt with: reports on earlier visits are there before those that look back on
// them, and the late picture finds its report final.
func (d *demo) run(ctx context.Context, part phantom.Part, shots []phantom.Shot) error {
	var own []phantom.Shot
	for _, s := range shots {
		if s.Part == part {
			own = append(own, s)
		}
	}
	studies := map[string][]upload{} // by clinic: what manifests announce
	send := func(shot phantom.Shot, path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("sending a picture: %w", err)
		}
		clinic := d.command.Clinics[shot.Clinic]
		file := upload{path: path, name: shot.File, size: info.Size()}
		if part != phantom.Late {
			studies[clinic] = append(studies[clinic], file)
		}
		d.sent++
		return d.send(ctx, clinic, file)
	}
	drawing, stop := context.WithCancel(ctx)
	defer stop()
	drawn := make(chan error, 1)
	go func() { drawn <- d.command.draw(drawing, own, d.folder, send) }()
	if err := d.follow(ctx, drawn, stop); err != nil {
		return err
	}
	for _, clinic := range d.command.Clinics {
		if len(studies[clinic]) == 0 {
			continue
		}
		dir, err := os.MkdirTemp(d.folder, "manifests-")
		if err != nil {
			return fmt.Errorf("making a folder for manifests: %w", err)
		}
		a, err := announce(ctx, dir, studies[clinic])
		if err != nil {
			return err
		}
		for _, m := range a.manifests {
			if err := d.send(ctx, clinic, m); err != nil {
				return err
			}
		}
	}
	return d.wait(ctx)
}

// send uploads one file.
func (d *demo) send(ctx context.Context, clinic string, file upload) error {
	var addresses uploadAddresses
	if err := d.client.call(ctx, http.MethodPost, "/api/uploads", map[string]any{"clinic": clinic, "names": []string{file.name}}, &addresses); err != nil {
		return err
	}
	if len(addresses.Uploads) != 1 {
		return fault.New(fault.Internal, "answer-unreadable", "%s signed %d addresses for 1 file", d.client.base, len(addresses.Uploads))
	}
	return d.client.put(ctx, file, addresses.Uploads[0].URL, progressbar.DefaultBytesSilent(file.size))
}

// look asks how far Noctua is, and shows it. One that does not answer may be busy; whether it is gone sending finds out, or patience.
func (d *demo) look(ctx context.Context) error {
	s, err := d.client.status(ctx)
	if fault.Is(err, fault.Transient) && ctx.Err() == nil {
		return nil
	}
	if err != nil {
		return err
	}
	d.last = s
	dealt := (s.Received - s.Pending) - (d.before.Received - d.before.Pending)
	_ = d.bar.Set(min(max(dealt, 0), d.bar.GetMax())) // only a picture
	return nil
}

// follow shows how far Noctua is until done gives what came of the work, which stop breaks off.
func (d *demo) follow(ctx context.Context, done <-chan error, stop func()) error {
	tick := time.NewTicker(demoPoll)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if err := d.look(ctx); err != nil {
				stop()
				return errors.Join(err, <-done) // it works with the folder, so it is waited for
			}
		}
	}
}

// wait returns once all that was sent is dealt with, or nothing was for a long time.
func (d *demo) wait(ctx context.Context) error {
	tick := time.NewTicker(demoPoll)
	defer tick.Stop()
	moved, least := time.Now(), -1
	for {
		if err := d.look(ctx); err != nil {
			return err
		}
		missing := max(d.before.Received+d.sent-d.last.Received, 0) + d.last.Pending
		if missing == 0 {
			return nil
		}
		if least < 0 || missing < least {
			moved, least = time.Now(), missing
		}
		if time.Since(moved) > demoPatience {
			_, err := fmt.Fprintf(d.out, "\nNoctua has dealt with nothing for %s; the rest is sent without waiting, so that some reports may be amended once more.\n", demoPatience)
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// conclude says what came of the night, and where to look at it.
func (d *demo) conclude(ctx context.Context, w io.Writer) error {
	if err := d.look(ctx); err != nil {
		return err
	}
	_ = d.bar.Exit() // only a picture
	if _, err := fmt.Fprintln(d.out); err != nil {
		return err
	}
	s, b := d.last, d.before
	if duplicates := s.Duplicate - b.Duplicate; duplicates >= d.sent && d.sent > 0 {
		_, err := fmt.Fprintf(w, "All %d files were here already, so that they are noted as duplicates and nothing was computed again. Another --seed draws other patients.\nLook at %s\n", d.sent, d.client.base)
		return err
	}
	_, err := fmt.Fprintf(w, "%d synthetic files of %d patients: %d pictures in a report, %d files in quarantine, %d sent twice, %d pending.\n"+
		"Look at %s: Tonight; Patients (PHANTOM-0001 loses vessels from visit to visit, PHANTOM-0002 has an amended report, PHANTOM-0003 an ungradable eye); Quarantine.\n",
		d.sent, d.command.Patients, s.Done-b.Done, s.Quarantined-b.Quarantined, s.Duplicate-b.Duplicate, s.Pending, d.client.base)
	return err
}

// draw writes a file a shot below folder, several at a time, and hands each on, in the order of the shots and one at a time.
func (c *demoCommand) draw(ctx context.Context, shots []phantom.Shot, folder string, then func(shot phantom.Shot, path string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	// One fewer than there are processors, which Noctua itself wants too; each holds a picture of some megabytes.
	group.SetLimit(max(1, runtime.GOMAXPROCS(0)-1) + 1) // and the one that hands on
	type drawing struct {
		path string
		done chan struct{}
	}
	drawings := make([]drawing, len(shots))
	for n, shot := range shots {
		drawings[n] = drawing{filepath.Join(folder, partNames[shot.Part], c.Clinics[shot.Clinic], shot.File), make(chan struct{})}
	}
	group.Go(func() error {
		for n, d := range drawings {
			select {
			case <-d.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := then(shots[n], d.path); err != nil {
				return err
			}
		}
		return nil
	})
	for n, shot := range shots {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			object, err := demoFile(shot)
			if err != nil {
				return fmt.Errorf("drawing %s: %w", shot.File, err)
			}
			if err := os.MkdirAll(filepath.Dir(drawings[n].path), 0o755); err != nil {
				return fault.Wrap(fault.Invalid, "output-unwritable", err, "the folder of %s cannot be made", shot.File)
			}
			if err := os.WriteFile(drawings[n].path, object, 0o644); err != nil {
				return fault.Wrap(fault.Invalid, "output-unwritable", err, "%s cannot be written", shot.File)
			}
			close(drawings[n].done)
			return nil
		})
	}
	return group.Wait()
}
