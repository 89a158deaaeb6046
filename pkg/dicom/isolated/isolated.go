package isolated

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// CodeLimit is the code of files on which the reader ran out of memory or time, or died.
const CodeLimit = "parser-limit"

// Config of a Reader. The zero value of every field means its default.
type Config struct {
	// Children is how many files are read at once; default the number of processors, at least 2.
	Children int
	// MemoryBytes is how much address space a child may take for a file; default 1 GiB.
	MemoryBytes int64
	// Timeout is how long a file may take; default 60 s. Of the CPU it may use as much, rounded up to seconds.
	Timeout time.Duration
	// Limits bounds what reading one file may cost.
	Limits dicom.Limits
	// Observe is told what each attempt at a file cost, by the goroutine that reads it; nil: nothing is measured.
	Observe func(Cost)
}

// Cost is what an attempt at reading a file took.
type Cost struct {
	Duration time.Duration
	// PeakBytes is the most memory that the child held at once, for this file or one that it read before. 0: it came to its end on
	// the file.
	PeakBytes int64
}

func (c Config) orDefaults() Config {
	if c.Children == 0 {
		c.Children = max(2, runtime.NumCPU())
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 1 << 30
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	return c
}

// Want is how much of a file is asked for.
type Want int

const (
	// Judgement asks whether a file is accepted, and for its instance and the hash of its pixels. Pixels are left alone
	// where the file is refused, or its class is no photograph's.
	Judgement Want = iota
	// Picture asks for the pixels too, refused or not.
	Picture
	// Splices asks for what a correction changes; pixels are left alone.
	Splices
)

// Outcome is what a file turned out to be.
type Outcome struct {
	TransferSyntax string
	Instance       record.Instance // as of dicom.File.Describe
	Refused        error           // the fault of dicom.File.Describe, or nil
	Undecoded      error           // the fault of dicom.File.Decode, or nil
	Notes          []record.Note   // on decoding
	PixelSHA256    string          // of the RGB bytes; "" if they were not decoded
	ContentSHA256  string          // of dicom.File.Content, where a file read for its Judgement is not refused and not decoded; "" if there is none
	Picture        *raster.RGB     // only where Picture was asked for
	Source         dicom.Source    // as of dicom.File.Source, with the Picture

	splices []dicom.Splice
}

// Judgement is the fault for which a file read for its Judgement or Picture is not let in, or nil. A picture that is archived only
// may be one that is not decoded here, but not a damaged one.
func (o Outcome) Judgement() error {
	switch {
	case o.Refused != nil:
		return o.Refused
	case o.Undecoded != nil && (o.Instance.Analyse || !fault.Is(o.Undecoded, fault.Unsupported)):
		return o.Undecoded
	}
	return nil
}

// Reader reads files in children. It may be used by many goroutines at once.
type Reader struct {
	config Config
	logger *slog.Logger
	slots  chan struct{}
	warned sync.Once
	spare  spare

	mu     sync.Mutex
	idle   []*child
	closed bool
	quiet  *time.Timer // gives the idle children's memory back
}

// quietTime is how long no child may have come back before the idle ones give their memory for pixels back. A night's files come faster.
const quietTime = 30 * time.Second

// New makes a reader. Children are started when files come.
func New(config Config, logger *slog.Logger) *Reader {
	config = config.orDefaults()
	r := &Reader{config: config, logger: logger, slots: make(chan struct{}, config.Children)}
	r.quiet = time.AfterFunc(quietTime, r.releaseIdle)
	return r
}

// releaseIdle gives the memory of children that read nothing back.
func (r *Reader) releaseIdle() {
	r.spare.put(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.idle { // none of them can be taken meanwhile
		if err := c.pixels.release(); err != nil {
			r.logger.Warn("an idle DICOM child keeps memory", "error", err)
		}
	}
}

// Recycle takes the memory of a picture that this reader gave for another picture. It is for those who read many large ones, and
// know that nobody holds the picture or a part of it any more.
func (r *Reader) Recycle(picture *raster.RGB) { r.spare.put(picture.Pix) }

// Close ends the idle children, and those at work as soon as they are done.
func (r *Reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quiet.Stop()
	for _, c := range r.idle {
		c.end()
	}
	r.idle, r.closed = nil, true
}

// Read reads a file of size bytes. It waits while as many files are being read as there may be.
//
// Faults: those of dicom.Open; Invalid parser-limit where two children in a row came to their end on the file; Transient
// child-unavailable where none can be started. The context's own error where it ended.
func (r *Reader) Read(ctx context.Context, file *os.File, size int64, want Want) (Outcome, error) {
	return r.ask(ctx, file, request{Size: size, Limits: r.config.Limits, Want: want})
}

// Correct asks how a file of size bytes is to be changed for a correction: dicom.File.Correct, whose result dicom.Spliced takes.
// Faults are those of Read and of dicom.File.Correct.
func (r *Reader) Correct(ctx context.Context, file *os.File, size int64, c record.Correction) ([]dicom.Splice, error) {
	outcome, err := r.ask(ctx, file, request{Size: size, Limits: r.config.Limits, Want: Splices, Correction: &c})
	return outcome.splices, err
}

func (r *Reader) ask(ctx context.Context, file *os.File, question request) (Outcome, error) {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return Outcome{}, ctx.Err()
	}
	defer func() { <-r.slots }()
	file, err := readOnly(file)
	if err != nil {
		return Outcome{}, fault.Wrap(fault.Transient, "child-unavailable", err, "the file cannot be handed to its reader")
	}
	defer func() { _ = file.Close() }() // only read
	outcome, err := r.try(ctx, file, question)
	var died *deathError
	if errors.As(err, &died) && !died.late { // it may have been somebody else's doing: the kernel's, short of memory
		outcome, err = r.try(ctx, file, question)
	}
	if errors.As(err, &died) {
		r.logger.WarnContext(ctx, "a DICOM child came to its end on a file", "error", err)
		return Outcome{}, fault.Wrap(fault.Invalid, CodeLimit, err, "reading the file takes more memory or time than any photograph does, or breaks the reader")
	}
	return outcome, err
}

// readOnly opens an open file again, so that whoever gets the descriptor cannot write.
func readOnly(file *os.File) (*os.File, error) {
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(file.Fd()))) //nolint:gosec // a descriptor fits an int
}

// ReadBytes is Read for a file in memory.
func (r *Reader) ReadBytes(ctx context.Context, data []byte, want Want) (Outcome, error) {
	file, err := memoryFile("dicom", data)
	if err != nil {
		return Outcome{}, fault.Wrap(fault.Transient, "child-unavailable", err, "the file cannot be handed to its reader")
	}
	defer func() { _ = file.Close() }() // only in memory
	return r.Read(ctx, file, int64(len(data)), want)
}

// try reads a file with one child.
func (r *Reader) try(ctx context.Context, file *os.File, question request) (Outcome, error) {
	c, err := r.take()
	if err != nil {
		return Outcome{}, err
	}
	began := time.Now()
	outcome, err := c.read(ctx, question, file, r.config.Timeout)
	if r.config.Observe != nil {
		r.config.Observe(Cost{Duration: time.Since(began), PeakBytes: peakMemory(c.process.Process.Pid)})
	}
	// A child that has met a bad file is not trusted with the next one.
	if err != nil || outcome.Undecoded != nil {
		c.end()
		return outcome, err
	}
	r.give(c)
	return outcome, nil
}

func (r *Reader) take() (*child, error) {
	r.mu.Lock()
	if n := len(r.idle); n > 0 {
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	c, warning, err := start(r.config)
	if err != nil {
		return nil, fault.Wrap(fault.Transient, "child-unavailable", err, "a process for reading DICOM files cannot be started")
	}
	if warning != "" {
		r.warned.Do(func() { r.logger.Warn("DICOM files are read with less protection", "reason", warning) })
	}
	c.spare = &r.spare
	return c, nil
}

func (r *Reader) give(c *child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		c.end()
		return
	}
	r.idle = append(r.idle, c)
	r.quiet.Reset(quietTime)
}

// child is a running child and the parent's end of the connection.
type child struct {
	process *exec.Cmd
	socket  *os.File
	pixels  pixelMemory
	spare   *spare // or nil
	stderr  *tail
}

// start starts a child and waits until it is locked up.
func start(config Config) (*child, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("finding the own program: %w", err)
	}
	pixels, err := newPixelMemory(config.Limits)
	if err != nil {
		return nil, "", err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		pixels.close()
		return nil, "", fmt.Errorf("making a connection: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "child"), os.NewFile(uintptr(pair[1]), "parent") //nolint:gosec // descriptors
	c := &child{socket: ours, pixels: pixels, stderr: &tail{}}
	c.process = exec.Command(self) //nolint:gosec,noctx // the own program; ended by end
	// No other variable: the site's secrets are none of its business. One arena, since glibc reserves 64 MB a thread.
	c.process.Env = []string{memoryVariable + "=" + strconv.FormatInt(config.MemoryBytes, 10), "MALLOC_ARENA_MAX=1"}
	c.process.Dir = "/"
	c.process.ExtraFiles = []*os.File{theirs, pixels.file} // socket and sharedMemory
	c.process.Stderr = c.stderr
	err = c.process.Start()
	_ = theirs.Close() // the child has its own
	if err != nil {
		_ = ours.Close() // nothing was sent
		pixels.close()
		return nil, "", fmt.Errorf("starting a child: %w", err)
	}
	var first hello
	stop := c.killAfter(config.Timeout)
	err = receive(c.fd(), &first)
	stop()
	if err != nil {
		c.end()
		return nil, "", fmt.Errorf("a child did not start: %w: %s", err, c.stderr)
	}
	return c, first.Warning, nil
}

func (c *child) fd() int { return int(c.socket.Fd()) } //nolint:gosec // a descriptor fits an int

// killAfter kills the child after d unless it is stopped before; stop tells whether the child was killed.
func (c *child) killAfter(d time.Duration) (stop func() bool) {
	timer := time.AfterFunc(d, func() { _ = c.process.Process.Kill() }) // it may be dead already
	return func() bool { return !timer.Stop() }
}

// deathError tells that a child came to its end.
type deathError struct {
	late  bool // it was killed for taking too long
	cause string
}

func (e *deathError) Error() string { return e.cause }

// read has the child read a file.
func (c *child) read(ctx context.Context, r request, file *os.File, timeout time.Duration) (Outcome, error) {
	if err := c.allowCPU(timeout); err != nil {
		return Outcome{}, fault.Wrap(fault.Transient, "child-unavailable", err, "a process for reading DICOM files cannot be bounded")
	}
	cancelled := context.AfterFunc(ctx, func() { _ = c.process.Process.Kill() }) // it may be dead already
	stop := c.killAfter(timeout)
	err := send(c.fd(), r, file)
	var a answer
	if err == nil {
		err = receive(c.fd(), &a)
	}
	late := stop()
	if !cancelled() {
		return Outcome{}, ctx.Err()
	}
	if err != nil {
		c.end()
		return Outcome{}, &deathError{late: late, cause: fmt.Sprintf("%v (%v): %s", err, c.process.ProcessState, c.stderr)}
	}
	if a.Failed != nil {
		return Outcome{}, a.Failed.err()
	}
	outcome := Outcome{
		TransferSyntax: a.TransferSyntax, Instance: a.Instance, Refused: a.Refused.err(), Undecoded: a.Undecoded.err(),
		Notes: a.Notes, PixelSHA256: a.PixelSHA256, ContentSHA256: a.ContentSHA256, Source: a.Source, splices: a.Splices,
	}
	if r.Want == Picture && a.Undecoded == nil {
		if outcome.Picture, err = c.pixels.picture(a.Width, a.Height, r.Limits, c.spare); err != nil {
			return Outcome{}, &deathError{cause: err.Error()}
		}
	}
	return outcome, nil
}

// allowCPU lets the child use as much CPU time as it has, and d more.
func (c *child) allowCPU(d time.Duration) error {
	pid := c.process.Process.Pid
	var used unix.Timespec
	// The clock of a process, as clock_getcpuclockid(3) makes it.
	if err := unix.ClockGettime(int32(^pid)<<3|2, &used); err != nil { //nolint:gosec // Linux's own arithmetic
		return fmt.Errorf("reading the child's CPU time: %w", err)
	}
	seconds := uint64(used.Sec) + uint64(math.Ceil(d.Seconds())) + 1 //nolint:gosec // positive
	limit := unix.Rlimit{Cur: seconds, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, unix.RLIMIT_CPU, &limit, nil); err != nil {
		return fmt.Errorf("bounding the child's CPU time: %w", err)
	}
	return nil
}

// peakMemory is the most that a process held at once, bytes; 0 if it has ended. What getrusage(2) says of a child counts what its
// parent held when it was started.
func peakMemory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	if !found {
		return 0
	}
	var kB int64
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		return 0
	}
	return kB << 10
}

// end kills the child. It may be called again.
func (c *child) end() {
	c.pixels.close()
	_ = c.socket.Close()         // closed already where end is called again
	_ = c.process.Process.Kill() // it may be dead already
	_ = c.process.Wait()         // how it ended is known
}

// tail keeps the beginning of what a child wrote on its standard error: Go's reason comes first, stacks follow.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const tailBytes = 1 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p[:min(len(p), tailBytes-t.text.Len())])
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
