package report

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/board"
)

// System is what the service knows of the parts of Noctua beyond itself. All of it is optional.
type System struct {
	// Parts are looked at beside the service's own.
	Parts []board.Part
	// Queue asks the message queue.
	Queue func(ctx context.Context) (QueueState, error)
	// Disk is where data lie on this machine.
	Disk Disk
	// Card describes the model whose results count.
	Card ModelCard
	// Versions of what Noctua is made of.
	Versions []Version
}

// QueueState is what the message queue holds.
type QueueState struct {
	Consumers  []QueueConsumer
	Dead       int       // dead letters
	DeadNewest time.Time // zero: there is none
}

// QueueConsumer is what waits for one service, or one archive or receiver.
type QueueConsumer struct {
	Name                string
	Waiting, InProgress int
	Redelivered         int
	Oldest              time.Time // of what is not done; zero: there is none
	IdleSlots           int       // of workers that ask for work at this moment
	LastActive          time.Time // when something was last handed out or done; zero: never
}

// Disk is a file system.
type Disk struct {
	Name string
	// Free asks for bytes; nil: there is no disk that matters here.
	Free func() (free, total uint64, err error)
}

// ModelCard describes a model.
type ModelCard struct {
	Manifest record.ModelManifest
	Text     string // its README; "": it has none
}

// Version is what something is, and which.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

const (
	// stuckAfter: a picture takes no longer than a minute; a worker that has one and hands in nothing for this long is not working.
	stuckAfter = 2 * time.Minute
	// workerLooks in workerPause each find a worker that is just between two requests.
	workerLooks = 8
	workerPause = 100 * time.Millisecond
	// inboxCounted bounds what is counted of the inbox: a listing of more takes seconds.
	inboxCounted = 10_000

	// Of the disk, what is free: below lowDisk yellow, below fullDisk red; so is what lasts for few nights.
	lowDisk, fullDisk     = 0.10, 0.02
	lowNights, fullNights = 14, 2
	// usageNote is the name of what was used of the disk at the start of nights, in the index.
	usageNote = "disk-used"
	// usageNights are remembered: a week shows the rate, and an unusual night is soon forgotten.
	usageNights = 8
	usageEvery  = 15 * time.Minute

	maxModels = 100 // that are shown
)

// systemState is what was found, all clinics together.
type systemState struct {
	At       time.Time
	Parts    []board.Checked
	Queue    QueueState
	QueueErr error
	Inbox    inboxState
	Disk     diskState
	Models   []record.ModelReference
	Versions []Version
	Ready    bool
}

type inboxState struct {
	Known   bool
	Waiting int
	More    bool // than that
	Oldest  time.Time
}

type diskState struct {
	Known       bool
	Free, Total uint64
	Nights      float64 // that what is free lasts at the present rate; 0: not known
}

// parts are all that the board shows.
func (s *Service) parts() []board.Part {
	parts := []board.Part{{Name: "Report index", Do: "See whether the database runs and the disk has room; noctua report says in its log what it waits for. The index can be made again from the buckets.", Check: func(ctx context.Context) (board.Finding, error) {
		if err := s.serving(ctx); err != nil {
			return board.Finding{}, err
		}
		return board.Finding{Lamp: board.Green, Text: "It answers, and has all that the buckets have."}, nil
	}}}
	sys := s.deps.System
	if sys == nil {
		return parts
	}
	parts = append(parts, sys.Parts...)
	if sys.Queue != nil {
		parts = append(parts,
			board.Part{Name: "Segment workers", Check: s.checkWorkers, Do: "It cannot be told while NATS does not answer: mend that first."},
			board.Part{Name: "Dead letters", Check: s.checkDead, SiteWide: true, Do: "It cannot be told while NATS does not answer: mend that first."})
	}
	if len(s.partners()) > 0 {
		parts = append(parts, board.Part{Name: "Archives and receivers", Check: s.checkPartners, SiteWide: true, Do: "It cannot be told while S3 or NATS do not answer: mend that first."})
	}
	if sys.Disk.Free != nil {
		parts = append(parts, board.Part{Name: "Disk", Check: s.checkDisk, Do: "Look at the disk of the data folder: is it mounted, and can Noctua read it?"})
	}
	return parts
}

// serving tells whether the service answers queries: what /readyz says, and the lamp of the index.
func (s *Service) serving(ctx context.Context) error {
	if err := s.deps.Store.Ping(ctx); err != nil {
		return err
	}
	if !s.isReady() {
		return rebuildingFault()
	}
	return nil
}

func (s *Service) checkWorkers(ctx context.Context) (board.Finding, error) {
	const start = "Start noctua segment, or look at its log: it says why it stopped. Nothing is lost meanwhile."
	var c QueueConsumer
	for look := range workerLooks {
		state, err := s.deps.System.Queue(ctx)
		if err != nil {
			return board.Finding{}, err
		}
		n := slices.IndexFunc(state.Consumers, func(c QueueConsumer) bool { return c.Name == SegmentConsumer })
		if n < 0 {
			return board.Finding{Lamp: board.Red, Text: "The queue of the segment workers is not there.", Do: start}, nil
		}
		if c = state.Consumers[n]; c.IdleSlots > 0 || c.InProgress > 0 {
			break
		}
		if look < workerLooks-1 {
			if err := pause(ctx, workerPause); err != nil {
				return board.Finding{}, err
			}
		}
	}
	quiet := s.deps.Clock().Sub(c.LastActive)
	last := ""
	if !c.LastActive.IsZero() {
		last = " The last sign of work was at " + c.LastActive.In(s.cfg.Location).Format("15:04 on 2 Jan 2006") + "."
	}
	switch {
	case c.IdleSlots > 0:
		return board.Finding{Lamp: board.Green, Text: "There is a worker, and it has time for more pictures." + last}, nil
	case c.InProgress > 0 && quiet < stuckAfter:
		return board.Finding{Lamp: board.Green, Text: "All workers are busy." + last, Detail: fmt.Sprintf("%d in work, %d wait.", c.InProgress, c.Waiting)}, nil
	case c.InProgress > 0:
		return board.Finding{Lamp: board.Red, Text: "Pictures were handed out, and no worker hands in results." + last, Do: start, Detail: fmt.Sprintf("%d handed out, %d wait.", c.InProgress, c.Waiting)}, nil
	case c.Waiting > 0:
		return board.Finding{Lamp: board.Red, Text: "Pictures wait, and there is no worker." + last, Do: start, Detail: fmt.Sprintf("%d wait.", c.Waiting)}, nil
	}
	return board.Finding{Lamp: board.Red, Text: "There is no worker; pictures that come in will wait." + last, Do: start}, nil
}

func (s *Service) checkDead(ctx context.Context) (board.Finding, error) {
	state, err := s.deps.System.Queue(ctx)
	if err != nil {
		return board.Finding{}, err
	}
	if state.Dead == 0 {
		return board.Finding{Lamp: board.Green, Text: "There is none."}, nil
	}
	return board.Finding{Lamp: board.Yellow, Text: "Messages could not be dealt with, the newest at " + state.DeadNewest.In(s.cfg.Location).Format("15:04 on 2 Jan 2006") + ".", Detail: fmt.Sprintf("%d dead letters.", state.Dead),
		Do: "Their reasons are in the stream NOCTUA_DEAD and in the log. What they told is found again from the buckets if it is whole; a picture that failed has its reason in its report."}, nil
}

func (s *Service) checkPartners(ctx context.Context) (board.Finding, error) {
	all, err := s.partnerStatus(ctx)
	if err != nil {
		return board.Finding{}, err
	}
	f := board.Finding{Lamp: board.Green, Text: "All of them take what they are sent."}
	var problems []string
	for _, p := range all {
		f.Detail += fmt.Sprintf("%s: %d sent, %d wait, %d failed. ", p.Archive, p.Sent, p.Pending, p.Failed)
		switch {
		case p.Code != "":
			f.Lamp = board.Red
			problems = append(problems, fmt.Sprintf("%s takes nothing since %s: %s [%s]", p.Archive, p.DownSince.In(s.cfg.Location).Format("15:04 on 2 Jan 2006"), p.Reason, p.Code))
			f.Do = "See whether the partner runs and is reached from here. What waits is sent when it takes something again."
		case p.Failed > 0:
			f.Lamp = board.Worst(f.Lamp, board.Yellow)
			problems = append(problems, p.Archive+" refused some of what it was sent")
			f.Do = cmp.Or(f.Do, "The log says why; noctua export sends again what failed.")
		}
	}
	for n, p := range problems {
		if n == 0 {
			f.Text = ""
		}
		f.Text += p + ". "
	}
	return f, nil
}

func (s *Service) checkDisk(ctx context.Context) (board.Finding, error) {
	d, err := s.disk(ctx)
	if err != nil {
		return board.Finding{}, err
	}
	f := board.Finding{Lamp: board.Green, Text: fmt.Sprintf("%s free of %s (%s).", bytesInWords(d.Free), bytesInWords(d.Total), s.deps.System.Disk.Name)}
	if d.Nights > 0 {
		f.Detail = "At the rate of the last nights that lasts for " + nightsInWords(d.Nights) + "."
	}
	share := float64(d.Free) / float64(max(d.Total, 1))
	switch {
	case share < fullDisk || d.Nights > 0 && d.Nights < fullNights:
		f.Lamp = board.Red
	case share < lowDisk || d.Nights > 0 && d.Nights < lowNights:
		f.Lamp = board.Yellow
	}
	if f.Lamp != board.Green {
		f.Do = "Make room, or move the data folder to a larger disk while Noctua is stopped. When the disk is full Noctua takes no more pictures; those that it has are safe."
	}
	return f, nil
}

func nightsInWords(n float64) string {
	switch {
	case n >= 1000:
		return "years"
	case n < 2:
		return "a night"
	}
	return fmt.Sprintf("%.0f nights", n)
}

func (s *Service) disk(ctx context.Context) (diskState, error) {
	if s.deps.System == nil || s.deps.System.Disk.Free == nil {
		return diskState{}, nil
	}
	free, total, err := s.deps.System.Disk.Free()
	if err != nil {
		return diskState{}, fault.Wrap(fault.Transient, "disk-unknown", err, "the disk does not say how much of it is free")
	}
	d := diskState{Known: true, Free: free, Total: total}
	used, err := s.usage(ctx)
	if err != nil {
		return d, err
	}
	d.Nights = nightsLeft(used, s.night().Format(time.DateOnly), total-free, free)
	return d, nil
}

// used is what of the disk was in use when a night began.
type used struct {
	Night string `json:"night"`
	Bytes uint64 `json:"bytes"`
}

// nightsLeft is for how many nights what is free lasts, if they bring as much as those since the first that is remembered; 0: not known, since no
// night has passed or nothing was added.
func nightsLeft(before []used, tonight string, bytes, free uint64) float64 {
	if len(before) == 0 || bytes <= before[0].Bytes {
		return 0
	}
	first, err := time.Parse(time.DateOnly, before[0].Night)
	now, err2 := time.Parse(time.DateOnly, tonight)
	passed := now.Sub(first).Hours() / 24
	if err != nil || err2 != nil || passed < 1 {
		return 0
	}
	return float64(free) / (float64(bytes-before[0].Bytes) / passed)
}

func (s *Service) usage(ctx context.Context) ([]used, error) {
	text, err := s.deps.Store.Note(ctx, usageNote)
	if err != nil || text == "" {
		return nil, err
	}
	var all []used
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, nil //nolint:nilerr // a note of another version: the rate is not known, and is learnt anew
	}
	return all, nil
}

// watchDisk notes how much of the disk is in use when a night begins.
func (s *Service) watchDisk(ctx context.Context) error {
	for {
		if err := s.noteUsage(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.Warn("how much of the disk is used could not be noted", slog.Any("error", err))
		}
		if err := pause(ctx, usageEvery); err != nil {
			return err
		}
	}
}

func (s *Service) noteUsage(ctx context.Context) error {
	if s.deps.System == nil || s.deps.System.Disk.Free == nil {
		return nil
	}
	all, err := s.usage(ctx)
	tonight := s.night().Format(time.DateOnly)
	if err != nil || len(all) > 0 && all[len(all)-1].Night == tonight {
		return err
	}
	free, total, err := s.deps.System.Disk.Free()
	if err != nil {
		return err
	}
	all = append(all, used{tonight, total - free})
	raw, err := json.Marshal(all[max(0, len(all)-usageNights):])
	if err != nil {
		return err
	}
	return s.deps.Store.SetNote(ctx, usageNote, string(raw))
}

// inbox counts what waits in the inbox, up to a bound.
func (s *Service) inbox(ctx context.Context) inboxState {
	in := inboxState{}
	for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Inbox, "") {
		if err != nil {
			return inboxState{} // the lamp of S3 says why
		}
		if in.Waiting == inboxCounted {
			in.More = true
			break
		}
		in.Waiting++
		if in.Oldest.IsZero() || info.LastModified.Before(in.Oldest) {
			in.Oldest = info.LastModified
		}
	}
	in.Known = true
	return in
}

// system asks everything at once. What does not answer in time is missing, and a lamp says so.
func (s *Service) system(ctx context.Context) systemState {
	ctx, cancel := context.WithTimeout(ctx, board.DefaultTimeout)
	defer cancel()
	var st systemState
	var all sync.WaitGroup
	var mu sync.Mutex
	var database string
	// Each keeps its own; those that come late are left out, and write to nobody's answer.
	ask := func(do func() func()) {
		done := make(chan func(), 1)
		go func() { done <- do() }()
		all.Go(func() {
			select {
			case keep := <-done:
				mu.Lock()
				keep()
				mu.Unlock()
			case <-ctx.Done():
			}
		})
	}
	st.QueueErr = fault.New(fault.Transient, "queue-silent", "the queue does not answer")
	ask(func() func() { in := s.inbox(ctx); return func() { st.Inbox = in } })
	ask(func() func() {
		models, err := s.deps.Store.Models(ctx, "", maxModels)
		version, versionErr := s.deps.Store.DatabaseVersion(ctx)
		return func() {
			if err == nil {
				st.Models = models
			}
			if versionErr == nil {
				database = version
			}
		}
	})
	ask(func() func() {
		d, err := s.disk(ctx)
		return func() {
			if err == nil {
				st.Disk = d
			}
		}
	})
	if s.deps.System != nil && s.deps.System.Queue != nil {
		ask(func() func() {
			q, err := s.deps.System.Queue(ctx)
			return func() { st.Queue, st.QueueErr = q, err }
		})
	}
	parts, at := s.board.Look(ctx)
	all.Wait()
	st.Parts, st.At = parts, at
	st.Ready = parts[0].Lamp != board.Red
	st.Versions = append(st.Versions, Version{"Noctua", s.cfg.Version})
	if s.deps.System != nil {
		st.Versions = append(st.Versions, s.deps.System.Versions...)
	}
	if database != "" {
		st.Versions = append(st.Versions, Version{"Report index", database})
	}
	return st
}

// bytesInWords is a size as disks are sold.
func bytesInWords(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	v, unit := float64(n), 0
	for v >= 1000 && unit < len(units)-1 {
		v /= 1000
		unit++
	}
	if v < 10 && unit > 0 {
		return fmt.Sprintf("%.1f %s", v, units[unit])
	}
	return fmt.Sprintf("%.0f %s", v, units[unit])
}
