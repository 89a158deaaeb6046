package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/services/report"
	"github.com/noctua-screening/noctua/services/report/board"
)

// systemOf is what the System page shows beyond the report service itself.
func systemOf(b *backbone, model *unet.Model) *report.System {
	text, err := model.Card()
	if err != nil {
		b.logger.Warn("the System page shows no model card", "error", err)
	}
	return &report.System{
		Parts: []board.Part{
			{Name: "NATS", Do: "Start the NATS server, or see whether it is reached from here; its log says why it stopped. Nothing is lost: what waits is found again in the buckets.", Check: answering(b.conn.Ready, "The message queue answers.")},
			{Name: "S3", Do: "Start the S3 server, or see whether it is reached from here, and whether its keys are right. Until it answers Noctua takes no pictures and shows no reports.", Check: answering(b.blobs.Ready, "The object store answers.")},
			{Name: "Clock", Do: "See whether chrony, ntpd or systemd-timesyncd runs. Times in reports and the audit log come from this clock, and signatures for S3 are refused when it is minutes off.", Check: checkClock},
		},
		Queue: reportStream(b).State, Card: report.ModelCard{Manifest: model.Manifest, Text: text},
		Versions: []report.Version{{Name: "Go", Version: strings.TrimPrefix(runtime.Version(), "go")}},
	}
}

// answering is the check of a part that only has to answer.
func answering(ask func(context.Context) error, text string) func(context.Context) (board.Finding, error) {
	return func(ctx context.Context) (board.Finding, error) {
		if err := ask(ctx); err != nil {
			return board.Finding{}, err
		}
		return board.Finding{Lamp: board.Green, Text: text}, nil
	}
}

// checkClock asks the kernel whether something keeps its clock right (adjtimex(2)).
func checkClock(context.Context) (board.Finding, error) {
	const unsynchronised = 5 // TIME_ERROR
	state, err := syscall.Adjtimex(&syscall.Timex{})
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS):
		return board.Finding{Lamp: board.Green, Text: "It cannot be told here whether the clock is kept right; the machine itself knows."}, nil
	case err != nil:
		return board.Finding{}, fault.Wrap(fault.Internal, "clock-unknown", err, "the kernel does not say whether the clock is kept right")
	case state == unsynchronised:
		return board.Finding{Lamp: board.Yellow, Text: "Nothing keeps this machine's clock right (NTP).", Do: "Start chrony or systemd-timesyncd. Times in reports and the audit log come from this clock."}, nil
	}
	return board.Finding{Lamp: board.Green, Text: "The clock is kept right by NTP."}, nil
}

// doorEvery: a door is knocked at no more often, since it notes in its log who comes and says nothing.
const doorEvery = 30 * time.Second

// doorPart is a door of this process at an address.
func doorPart(name, address string) board.Part {
	var mu sync.Mutex
	var at time.Time
	var last error
	return board.Part{Name: name, Do: "The address is taken or the door is overrun; its log says which. Restart Noctua if it does not come back.", Check: func(ctx context.Context) (board.Finding, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) >= doorEvery {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			at, last = time.Now(), nil
			if err != nil {
				last = fault.Wrap(fault.Transient, "door-shut", err, "nobody answers at %s", address)
			} else if err := conn.Close(); err != nil {
				last = fault.Wrap(fault.Transient, "door-shut", err, "the door at %s shuts at once", address)
			}
		}
		if last != nil {
			return board.Finding{}, last
		}
		return board.Finding{Lamp: board.Green, Text: "It is open at " + address + "."}, nil
	}}
}

// diskOf is the disk that a folder lies on.
func diskOf(folder string) report.Disk {
	return report.Disk{Name: "the disk of " + folder, Free: func() (free, total uint64, err error) {
		var s syscall.Statfs_t
		if err := syscall.Statfs(folder, &s); err != nil {
			return 0, 0, fmt.Errorf("asking for the disk of %s: %w", folder, &os.PathError{Op: "statfs", Path: folder, Err: err})
		}
		size := uint64(s.Bsize) //nolint:gosec // a block size is above zero
		// What root alone may use is not free.
		return s.Bavail * size, (s.Blocks - s.Bfree + s.Bavail) * size, nil
	}}
}

// embeddedVersions are those of the servers inside the program.
func embeddedVersions() (all []report.Version) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	names := map[string]string{"github.com/nats-io/nats-server/v2": "NATS server (embedded)", "github.com/versity/versitygw": "S3 server (versitygw, embedded)"}
	for _, d := range info.Deps {
		if name, ok := names[d.Path]; ok {
			all = append(all, report.Version{Name: name, Version: strings.TrimPrefix(d.Version, "v")})
		}
	}
	return all
}

// system is what noctua run shows of itself.
func (c *runCommand) system(b *backbone, model *unet.Model, onnxRuntime, provider string) *report.System {
	sys := systemOf(b, model)
	sys.Disk = diskOf(c.Data)
	sys.Versions = append(sys.Versions, report.Version{Name: "ONNX Runtime", Version: onnxRuntime + " (" + provider + ")"})
	sys.Versions = append(sys.Versions, embeddedVersions()...)
	if c.DICOMListen != "" {
		sys.Parts = append(sys.Parts, doorPart("DICOM door", c.DICOMListen))
	}
	return sys
}

// system is what noctua report shows.
func (c *reportCommand) system(b *backbone, model *unet.Model) (*report.System, error) {
	sys := systemOf(b, model)
	if version := b.conn.ServerVersion(); version != "" {
		sys.Versions = append(sys.Versions, report.Version{Name: "NATS server", Version: version})
	}
	if !strings.Contains(c.Database, "://") { // what lies elsewhere has a disk of its own
		folder, err := filepath.Abs(filepath.Dir(c.Database))
		if err != nil {
			return nil, fmt.Errorf("finding the folder of the report index: %w", err)
		}
		sys.Disk = diskOf(folder)
	}
	return sys, nil
}
