package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dimse"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// ReceiverDeps are what the receiver works with; all are required.
type ReceiverDeps struct {
	Blob store
	// Listener is where senders connect, over TLS or not. Run closes it.
	Listener net.Listener
	Logger   *slog.Logger
	Clock    func() time.Time
}

// ReceiverConfig of the receiver. Zero values but Clinics mean the default.
type ReceiverConfig struct {
	// Title is Noctua's own AE title, by which senders call it; default NOCTUA.
	Title string
	// Clinics are the clinics by the AE titles of their senders; at least one. Others are refused.
	Clinics map[string]string
	// MaxObjectBytes is the largest object that is taken, with its header; default 512 MB.
	MaxObjectBytes int64
	// MaxAssociations is how many associations may be open at once; default 64. As many connections more may be without one yet.
	MaxAssociations int
	// MaxClinicAssociations is how many of them one clinic may have; default 16.
	MaxClinicAssociations int
	// ARTIM is how long a connection may take to ask for an association, and to close after its end; default 30 s.
	ARTIM time.Duration
	// IdleTimeout is how long a sender may be silent within an association; default 60 s.
	IdleTimeout time.Duration
	// StopGrace is how long objects under way may go on after Run's context is cancelled; default 10 s.
	StopGrace time.Duration
	// SpoolDir is where objects lie while they arrive; default the system's folder for temporary files. Spooled files have no
	// name, so nothing stays behind.
	SpoolDir string
}

const (
	defaultTitle = "NOCTUA"
	// maxTitleBytes is the longest AE title (PS3.5, 6.2).
	maxTitleBytes = 16
	// acceptRetry is the pause after a connection could not be accepted, for instance for want of descriptors.
	acceptRetry = 200 * time.Millisecond
)

// Validate says in a sentence what is wrong.
func (c ReceiverConfig) Validate() error {
	if c.Title != "" && !validTitle(c.Title) {
		return fault.New(fault.Invalid, "config-invalid", "the AE title %q should be 1 to 16 ASCII characters without backslash or spaces around it", c.Title)
	}
	if len(c.Clinics) == 0 {
		return fault.New(fault.Invalid, "config-invalid", "no sender may send by DICOM: name at least one AE title and its clinic")
	}
	for title, clinic := range c.Clinics {
		if !validTitle(title) {
			return fault.New(fault.Invalid, "config-invalid", "the sender's AE title %q should be 1 to 16 ASCII characters without backslash or spaces around it", title)
		}
		if !event.ValidClinic(clinic) {
			return fault.New(fault.Invalid, "config-invalid", "the clinic %q of AE title %q should be 1 to 64 letters, digits, - and _", clinic, title)
		}
	}
	if c.MaxObjectBytes < 0 || c.MaxAssociations < 0 || c.MaxClinicAssociations < 0 || c.ARTIM < 0 || c.IdleTimeout < 0 || c.StopGrace < 0 {
		return fault.New(fault.Invalid, "config-invalid", "limits and times must not be negative")
	}
	return nil
}

func validTitle(s string) bool {
	outside := func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }
	return s != "" && len(s) <= maxTitleBytes && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, outside)
}

// Receiver takes objects that cameras and archives send by C-STORE, and puts them into the inbox.
type Receiver struct {
	deps   ReceiverDeps
	config ReceiverConfig

	mu      sync.Mutex
	waiting int            // connections without an association
	open    map[string]int // associations by clinic
	counts  receiverCounts
}

// receiverCounts are what a receiver has seen since its start.
type receiverCounts struct{ associations, refused, stored, failed, bytes int64 }

// NewReceiver checks the configuration and makes the receiver.
func NewReceiver(deps ReceiverDeps, config ReceiverConfig) (*Receiver, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if deps.Blob == nil || deps.Listener == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "config-invalid", "the receiver needs a store, a listener, a logger and a clock")
	}
	setDefault(&config.Title, defaultTitle)
	setDefault(&config.MaxObjectBytes, 512<<20)
	setDefault(&config.MaxAssociations, 64)
	setDefault(&config.MaxClinicAssociations, 16)
	setDefault(&config.ARTIM, 30*time.Second)
	setDefault(&config.IdleTimeout, time.Minute)
	setDefault(&config.StopGrace, 10*time.Second)
	return &Receiver{deps: deps, config: config, open: map[string]int{}}, nil
}

// Run receives until ctx is cancelled. Objects under way then have Config.StopGrace to become durable and to be answered;
// associations are aborted after that object, and idle ones at once. It returns nil after cancellation.
func (r *Receiver) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = r.deps.Listener.Close() })() // nothing is lost with a listener
	work, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()
	r.deps.Logger.Info("listening for DICOM", "address", r.deps.Listener.Addr().String(), "title", r.config.Title, "senders", len(r.config.Clinics))
	var connections sync.WaitGroup
	err := r.accept(ctx, func(conn net.Conn) {
		connections.Go(func() { r.serve(ctx, work, conn) })
	})
	if err != nil {
		cancelWork()
	}
	grace := time.AfterFunc(r.config.StopGrace, cancelWork)
	defer grace.Stop()
	connections.Wait()
	c := r.counted(func(*receiverCounts) {})
	r.deps.Logger.Info("no longer listening for DICOM", "associations", c.associations, "refused", c.refused, "stored", c.stored, "failed", c.failed, "bytes", c.bytes)
	return err
}

// accept takes connections until ctx is cancelled; it fails only if the listener is gone otherwise.
func (r *Receiver) accept(ctx context.Context, serve func(net.Conn)) error {
	for {
		conn, err := r.deps.Listener.Accept()
		switch {
		case err == nil && r.admit():
			serve(conn)
		case err == nil:
			r.deps.Logger.Warn("a connection is refused: too many wait for their association", "from", conn.RemoteAddr().String(), "limit", r.config.MaxAssociations)
			_ = conn.Close() // nothing was said on it
		case ctx.Err() != nil:
			return nil //nolint:nilerr // closed because it was told to stop
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listening for DICOM: %w", err)
		default:
			r.deps.Logger.Warn("a connection cannot be accepted; trying again", "error", err, "delay", acceptRetry)
			sleep(ctx, acceptRetry, nil)
		}
	}
}

// admit counts a new connection, if there is room for it.
func (r *Receiver) admit() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting >= r.config.MaxAssociations {
		return false
	}
	r.waiting++
	return true
}

// associate turns a connection into an association of a clinic, if there is room for it.
func (r *Receiver) associate(clinic string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	for _, n := range r.open {
		total += n
	}
	if total >= r.config.MaxAssociations || r.open[clinic] >= r.config.MaxClinicAssociations {
		return false
	}
	r.waiting--
	r.open[clinic]++
	return true
}

// leave undoes admit, or associate where clinic is not "".
func (r *Receiver) leave(clinic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if clinic == "" {
		r.waiting--
	} else if r.open[clinic]--; r.open[clinic] == 0 {
		delete(r.open, clinic)
	}
}

// counted changes the counts and returns them.
func (r *Receiver) counted(change func(*receiverCounts)) receiverCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
	return r.counts
}

// serve brings one connection to its end.
func (r *Receiver) serve(ctx, work context.Context, conn net.Conn) {
	s := &sender{receiver: r, started: r.deps.Clock(), logger: r.deps.Logger.With("from", conn.RemoteAddr().String())}
	defer func() {
		r.leave(s.clinic)
		if p := recover(); p != nil {
			// The protocol must never panic; if it does, one association ends and the service lives.
			s.logger.Error("an association panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	association := dimse.New(conn, s, dimse.Config{
		ImplementationUID: dicom.ImplementationUID, ImplementationVersion: dicom.ImplementationVersion,
		ARTIM: r.config.ARTIM, IdleTimeout: r.config.IdleTimeout, MaxDiscardBytes: r.config.MaxObjectBytes,
	})
	defer context.AfterFunc(ctx, association.Stop)()
	s.ended(association.Serve(work))
}

// sender is one connection of a camera or archive; its methods are called by one goroutine.
type sender struct {
	receiver *Receiver
	logger   *slog.Logger
	started  time.Time
	clinic   string // of the association; "" before
	batch    string // what the keys of the association's objects have in common

	received, stored, failed int
	bytes                    int64
	classesRefused           int
	lastRefused              string
}

var _ dimse.Handler = (*sender)(nil)

// Associate decides by the AE titles and the limits.
func (s *sender) Associate(request *dimse.Request) dimse.Rejection {
	r := s.receiver
	s.logger = s.logger.With("calling", request.Calling, "called", request.Called)
	clinic, known := r.config.Clinics[request.Calling]
	switch {
	case request.Called != r.config.Title:
		return dimse.RejectCalledTitle
	case !known:
		return dimse.RejectCallingTitle
	}
	batch, err := newBatch(r.deps.Clock())
	if err != nil || !r.associate(clinic) {
		return dimse.RejectBusy
	}
	s.clinic, s.batch = clinic, batch
	s.logger = s.logger.With("clinic", clinic, "batch", batch)
	r.counted(func(c *receiverCounts) { c.associations++ })
	s.logger.Debug("an association begins", "implementation", request.ImplementationUID, "version", request.ImplementationVersion, "contexts", len(request.Contexts))
	return 0
}

// Negotiate accepts every transfer syntax of the classes that are taken, those that are read before others: an object that
// cannot be read is then seen in quarantine, and does not stay behind at a camera that nobody looks at.
func (s *sender) Negotiate(proposed dimse.Context) (syntax string, result dimse.ContextResult) {
	if proposed.AbstractSyntax != dimse.VerificationClass && !slices.Contains(dicom.StorageClasses(), proposed.AbstractSyntax) {
		s.classesRefused++
		s.lastRefused = proposed.AbstractSyntax
		return "", dimse.ContextAbstractSyntax
	}
	for _, syntax := range proposed.TransferSyntaxes {
		if dicom.ReadsTransferSyntax(syntax) {
			return syntax, dimse.ContextAccepted
		}
	}
	if len(proposed.TransferSyntaxes) > 0 {
		return proposed.TransferSyntaxes[0], dimse.ContextAccepted
	}
	return "", dimse.ContextTransferSyntaxes
}

// Store brings an object into the inbox. Success means that it is durable there.
func (s *sender) Store(ctx context.Context, o dimse.Object, data io.Reader) dimse.Response {
	s.received++
	size, err := s.store(ctx, o, data)
	if err == nil {
		s.stored++
		s.bytes += size
		s.receiver.counted(func(c *receiverCounts) { c.stored, c.bytes = c.stored+1, c.bytes+size })
		s.logger.Debug("an object is in the inbox", "number", s.received, "bytes", size)
		return dimse.Response{}
	}
	s.failed++
	s.receiver.counted(func(c *receiverCounts) { c.failed++ })
	s.logger.Warn("an object was not taken", "number", s.received, "code", fault.CodeOf(err), "error", err)
	return answerTo(err)
}

// errMismatch tells that a data set is not the object that its command names.
var errMismatch = errors.New("the data set has another SOP class or instance UID than the command")

// answerTo says what a sender is told. What may work later is Out of Resources, upon which senders try again.
func answerTo(err error) dimse.Response {
	switch {
	case errors.Is(err, errOverLimit):
		return dimse.Response{Status: dimse.CannotUnderstand, Comment: "the object is larger than the limit"}
	case errors.Is(err, errMismatch):
		return dimse.Response{Status: dimse.DataSetMismatch, Comment: "SOP class or instance UID differs from the command's"}
	}
	return dimse.Response{Status: dimse.OutOfResources, Comment: "the object cannot be stored now; try again"}
}

// store spools an object behind a Part 10 header and puts it into the inbox, and returns its size.
func (s *sender) store(ctx context.Context, o dimse.Object, data io.Reader) (int64, error) {
	r := s.receiver
	header := dicom.FileHeader(o.Class, o.Instance, o.TransferSyntax)
	object, err := newSpool(r.config.SpoolDir, io.MultiReader(bytes.NewReader(header), data), r.config.MaxObjectBytes)
	if err != nil {
		return 0, err
	}
	defer object.close()
	class, instance := dicom.Identity(object.file, int64(len(header)), object.size, o.TransferSyntax)
	if class != "" && class != o.Class || instance != "" && instance != o.Instance {
		return 0, errMismatch
	}
	key := fmt.Sprintf("%s/%s/%04d.dcm", s.clinic, s.batch, s.received)
	if err := r.deps.Blob.Put(ctx, r.deps.Blob.Buckets().Inbox, key, object.reader(), object.size, blob.PutOptions{IfNoneMatch: true}); err != nil {
		return 0, fmt.Errorf("putting an object into the inbox: %w", err)
	}
	return object.size, nil
}

// ended writes down how the connection went.
func (s *sender) ended(err error) {
	logger := s.logger.With("stored", s.stored, "failed", s.failed, "bytes", s.bytes, "duration", s.receiver.deps.Clock().Sub(s.started).Round(time.Millisecond))
	if s.classesRefused > 0 {
		logger.Warn("objects of some SOP classes are not taken", "classes", s.classesRefused, "for_instance", fmt.Sprintf("%.64s", s.lastRefused))
	}
	switch code := fault.CodeOf(err); code {
	case "":
		logger.Info("an association ended")
	case dimse.CodeUnused:
		logger.Debug("a connection was not used")
	case dimse.CodeRejected:
		s.receiver.counted(func(c *receiverCounts) { c.refused++ })
		logger.Warn("an association was refused", "code", code, "error", err)
	default:
		logger.Warn("an association ended early", "code", code, "error", err)
	}
}
