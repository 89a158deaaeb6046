package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// StowDeps are what the STOW-RS door works with; all are required.
type StowDeps struct {
	Blob store
	// Listener is where senders connect. Run closes it.
	Listener net.Listener
	// Authorize tells what the token allows that a sender shows; false for one that nobody has. An error means that it cannot be
	// told now.
	Authorize func(ctx context.Context, shown string) (access.Principal, bool, error)
	Logger    *slog.Logger
	Clock     func() time.Time
}

// StowConfig of the STOW-RS door. Zero values mean the default.
type StowConfig struct {
	// MaxObjectBytes is the largest part that is taken; default 512 MB.
	MaxObjectBytes int64
	// MaxRequestBytes is the largest request; default 4 GiB.
	MaxRequestBytes int64
	// MaxParts is how many parts a request may have; default 1,000.
	MaxParts int
	// MaxUploads is how many requests are taken at once; default 64.
	MaxUploads int
	// MaxClinicUploads is how many of them may be of one clinic; default 16.
	MaxClinicUploads int
	// IdleTimeout is how long a sender may be silent within a request; default 60 s. There is no limit on the whole of it.
	IdleTimeout time.Duration
	// StopGrace is how long a part under way may take to become durable and to be answered after Run's context is cancelled, half of it
	// to arrive; default 10 s.
	StopGrace time.Duration
	// SpoolDir is where parts lie while they arrive; default the system's folder for temporary files. Spooled files have no name, so
	// nothing stays behind.
	SpoolDir string
}

const (
	// ClinicHeader names the clinic of an upload where the sender's token does not.
	ClinicHeader = "Noctua-Clinic"
	// stowHeadBytes of a part are kept to name it by, if the rest is not taken.
	stowHeadBytes      = 64 << 10
	stowHeaderTimeout  = 10 * time.Second
	stowAnswerTimeout  = 30 * time.Second
	stowMaxHeaderBytes = 16 << 10
	// retryAfterSec is when a sender may try again.
	retryAfterSec = 30
)

// Validate says in a sentence what is wrong.
func (c StowConfig) Validate() error {
	if c.MaxObjectBytes < 0 || c.MaxRequestBytes < 0 || c.MaxParts < 0 || c.MaxUploads < 0 || c.MaxClinicUploads < 0 || c.IdleTimeout < 0 || c.StopGrace < 0 {
		return fault.New(fault.Invalid, "config-invalid", "limits and times must not be negative")
	}
	return nil
}

// Stow takes DICOM files that archives and programs send by STOW-RS (PS3.18, 10.5), and puts them into the inbox.
type Stow struct {
	deps   StowDeps
	config StowConfig

	mu      sync.Mutex
	open    map[string]int // uploads by clinic
	stopped chan struct{}  // closed when no upload is open and none begins any more; nil before that is asked for
}

// NewStow checks the configuration and makes the door.
func NewStow(deps StowDeps, config StowConfig) (*Stow, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if deps.Blob == nil || deps.Listener == nil || deps.Authorize == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "config-invalid", "the STOW-RS door needs a store, a listener, an authorization, a logger and a clock")
	}
	setDefault(&config.MaxObjectBytes, 512<<20)
	setDefault(&config.MaxRequestBytes, 4<<30)
	setDefault(&config.MaxParts, 1000)
	setDefault(&config.MaxUploads, 64)
	setDefault(&config.MaxClinicUploads, 16)
	setDefault(&config.IdleTimeout, time.Minute)
	setDefault(&config.StopGrace, 10*time.Second)
	return &Stow{deps: deps, config: config, open: map[string]int{}}, nil
}

// Run takes uploads until ctx is cancelled. Those under way then end with the part that they are at, for which they have
// Config.StopGrace. It returns nil after cancellation.
func (s *Stow) Run(ctx context.Context) error {
	work, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()
	reading, stopReading := context.WithCancel(work)
	defer stopReading()
	server := &http.Server{
		Handler: s.handler(ctx, reading), BaseContext: func(net.Listener) context.Context { return work },
		// An upload moves its own deadlines as it goes on; these hold for everything else.
		ReadHeaderTimeout: stowHeaderTimeout, ReadTimeout: s.config.IdleTimeout, WriteTimeout: s.config.IdleTimeout + stowAnswerTimeout,
		IdleTimeout: s.config.IdleTimeout, MaxHeaderBytes: stowMaxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.deps.Logger.Handler(), slog.LevelWarn),
	}
	s.deps.Logger.Info("listening for STOW-RS", "address", s.deps.Listener.Addr().String())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(s.deps.Listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("listening for STOW-RS: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		defer time.AfterFunc(s.config.StopGrace/2, stopReading).Stop()
		last, cancel := context.WithTimeout(work, s.config.StopGrace)
		defer cancel()
		err := server.Shutdown(last)
		cancelWork()
		if err != nil {
			err = server.Close()
		}
		<-s.drained()
		return err
	})
	return group.Wait()
}

// enter begins an upload of a clinic, if there is room for it.
func (s *Stow) enter(clinic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0
	for _, n := range s.open {
		total += n
	}
	if s.stopped != nil || total >= s.config.MaxUploads || s.open[clinic] >= s.config.MaxClinicUploads {
		return false
	}
	s.open[clinic]++
	return true
}

// leave ends an upload.
func (s *Stow) leave(clinic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[clinic]--; s.open[clinic] == 0 {
		delete(s.open, clinic)
	}
	if s.stopped != nil && len(s.open) == 0 {
		close(s.stopped)
	}
}

// drained lets no upload begin any more, and its channel is closed when the last one has ended.
func (s *Stow) drained() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = make(chan struct{})
	if len(s.open) == 0 {
		close(s.stopped)
	}
	return s.stopped
}

// handler is all that is served. Uploads begin no part once taking is over, and read no part on once reading is.
func (s *Stow) handler(taking, reading context.Context) http.Handler {
	mux := http.NewServeMux()
	upload := func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, taking, reading) }
	mux.HandleFunc("POST /dicom-web/studies", upload)
	mux.HandleFunc("POST /dicom-web/studies/{study}", upload)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		s.write(w, http.StatusOK, mediaJSON, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		probe := r.Clone(r.Context())
		probe.Method = http.MethodPost
		if _, pattern := mux.Handler(probe); pattern != "/" && pattern != "" {
			w.Header().Set("Allow", http.MethodPost)
			s.refuse(w, &stowError{status: http.StatusMethodNotAllowed, code: "method-not-allowed", text: "pictures are sent here by POST; nothing can be read here"})
			return
		}
		s.refuse(w, &stowError{status: http.StatusNotFound, code: "not-found", text: "there is nothing at this address; send to /dicom-web/studies"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// serve answers one upload, or refuses it before anything of it is read.
func (s *Stow) serve(w http.ResponseWriter, r *http.Request, taking, reading context.Context) {
	u, boundary, refused := s.begin(r)
	if refused != nil {
		s.deps.Logger.Warn("an upload was refused", "from", r.RemoteAddr, "status", refused.status, "code", refused.code, "error", refused)
		s.refuse(w, refused)
		return
	}
	defer s.leave(u.clinic)
	control := http.NewResponseController(w)
	// Where a deadline cannot be set, the connection is gone, and the next read or the answer shows it.
	interrupt := func() { _ = control.SetReadDeadline(time.Unix(1, 0)) }
	extend := func() {
		_ = control.SetReadDeadline(time.Now().Add(s.config.IdleTimeout))
		if reading.Err() != nil {
			interrupt() // looked at afterwards, so that neither of the two can undo it
		}
	}
	defer context.AfterFunc(reading, interrupt)()
	body := &requestBody{r: http.MaxBytesReader(w, r.Body, s.config.MaxRequestBytes), extend: extend, header: unlimited}
	refused = u.take(r.Context(), taking, newPartReader(body, boundary, s.config.MaxParts))
	if refused != nil && reading.Err() != nil {
		refused = stopping(refused)
	}
	_ = control.SetWriteDeadline(time.Now().Add(stowAnswerTimeout))
	status := u.answer.status(refused)
	u.ended(status, refused)
	if refused != nil {
		w.Header().Set("Connection", "close") // or the answer would wait for the rest of the request
	}
	dataset := u.answer.dataset(refused)
	switch {
	case len(dataset) > 0:
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", strconv.Itoa(retryAfterSec))
		}
		// Without a charset: senders compare the type as a whole, and JSON is UTF-8.
		s.write(w, status, mediaDICOMJSON, dataset)
	default:
		s.refuse(w, refused)
	}
}

// begin decides by what precedes the body, and takes a place for the upload, which must be left.
func (s *Stow) begin(r *http.Request) (*upload, string, *stowError) {
	sender, refused := s.authorize(r)
	if refused != nil {
		return nil, "", refused
	}
	clinic, refused := clinicFor(sender, r.Header.Values(ClinicHeader))
	if refused != nil {
		return nil, "", refused
	}
	study := r.PathValue("study")
	if study != "" {
		if err := blob.CheckUID("the study in the address", study); err != nil {
			return nil, "", &stowError{status: http.StatusBadRequest, code: fault.CodeOf(err), text: fault.SentenceOf(err)}
		}
	}
	accept := r.Header.Values("Accept")
	if wanted := r.URL.Query()["accept"]; len(wanted) > 0 {
		accept = wanted // it stands for the header (PS3.18, 8.3.3.1)
	}
	if !acceptsJSON(accept) {
		return nil, "", &stowError{status: http.StatusNotAcceptable, code: "answer-not-acceptable", text: "the answer is application/dicom+json; the request's Accept should allow that"}
	}
	boundary, refused := boundaryOf(r.Header.Get("Content-Type"))
	if refused != nil {
		return nil, "", refused
	}
	if r.ContentLength > s.config.MaxRequestBytes {
		return nil, "", &stowError{status: http.StatusRequestEntityTooLarge, code: "request-too-large", text: fmt.Sprintf("the request has more than %d bytes; send it in several", s.config.MaxRequestBytes)}
	}
	batch, err := newBatch(s.deps.Clock())
	if err != nil || !s.enter(clinic) {
		return nil, "", &stowError{status: http.StatusServiceUnavailable, code: "uploads-too-many", text: "too many uploads are under way, altogether or of this clinic; try again later", cause: err}
	}
	logger := s.deps.Logger.With("from", r.RemoteAddr, "token", sender.Name, "clinic", clinic, "batch", batch)
	return &upload{stow: s, clinic: clinic, batch: batch, study: study, started: s.deps.Clock(), logger: logger}, boundary, nil
}

// authorize finds what the request's token allows.
func (s *Stow) authorize(r *http.Request) (access.Principal, *stowError) {
	missing := &stowError{status: http.StatusUnauthorized, code: "token-missing", text: "this needs a token that may upload, as `Authorization: Bearer …`; noctua token create makes one"}
	scheme, shown, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if shown = strings.TrimSpace(shown); !ok || !strings.EqualFold(scheme, "Bearer") || shown == "" {
		return access.Principal{}, missing
	}
	sender, ok, err := s.deps.Authorize(r.Context(), shown)
	if err != nil {
		return access.Principal{}, &stowError{status: http.StatusServiceUnavailable, code: "tokens-unavailable", text: "tokens cannot be checked now; Noctua's log says why", cause: err}
	}
	if !ok {
		return access.Principal{}, missing
	}
	return sender, nil
}

// clinicFor is the clinic of an upload: the only one that the sender may upload for, or the one that it names.
func clinicFor(sender access.Principal, named []string) (string, *stowError) {
	clinics := sender.Clinics(access.Upload, access.AllResources)
	switch {
	case clinics.None():
		return "", &stowError{status: http.StatusForbidden, code: "upload-forbidden", text: "this token may not upload; noctua token create makes one that may"}
	case len(named) > 1 || len(named) == 1 && !event.ValidClinic(named[0]):
		return "", &stowError{status: http.StatusBadRequest, code: "clinic-invalid", text: "the header " + ClinicHeader + " should name one clinic: 1 to 64 letters, digits, - or _, beginning with a letter or digit"}
	case len(named) == 0 && len(clinics.Names()) == 1:
		return clinics.Names()[0], nil
	case len(named) == 0:
		return "", &stowError{status: http.StatusBadRequest, code: "clinic-missing", text: "this token may upload for several clinics; say which in the header " + ClinicHeader}
	case !clinics.Has(named[0]):
		return "", &stowError{status: http.StatusForbidden, code: "clinic-forbidden", text: "this token may not upload for the clinic that the header " + ClinicHeader + " names"}
	}
	return named[0], nil
}

// upload is one request; its methods are called by one goroutine.
type upload struct {
	stow    *Stow
	logger  *slog.Logger
	started time.Time
	clinic  string
	batch   string // what the keys of the request's objects have in common
	study   string // of the address; "" where it names none

	answer stowAnswer
	bytes  int64 // stored
}

// take brings the parts into the inbox, one after another. What it returns ended the request early.
func (u *upload) take(ctx, taking context.Context, parts *partReader) *stowError {
	for {
		if taking.Err() != nil {
			return stopping(nil)
		}
		part, err := parts.next()
		if err == nil {
			err = u.takePart(ctx, parts.number, part, part.Header.Values("Content-Type"))
		}
		switch {
		case errors.Is(err, io.EOF) && parts.number == 0:
			return malformed(nil, "the request has no part; send each DICOM file as one")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return parts.broken(err)
		}
	}
}

func stopping(cause error) *stowError {
	return &stowError{status: http.StatusServiceUnavailable, code: "stopping", text: "Noctua is stopping; send the rest again later", reason: reasonOutOfResources, cause: cause}
}

// takePart brings one part into the inbox, or notes why not. An error means that the request cannot be read any further.
func (u *upload) takePart(ctx context.Context, number int, part io.Reader, contentType []string) error {
	head, err := io.ReadAll(io.LimitReader(part, stowHeadBytes))
	if err != nil {
		return err
	}
	switch {
	case len(head) == 0:
		u.fail(number, dicom.FileIdentity{}, reasonCannotUnderstand, "part-empty", nil)
		return nil
	case len(contentType) > 1 || len(contentType) == 1 && !isDICOM(contentType[0]):
		u.fail(number, dicom.FileIdentity{}, reasonCannotUnderstand, "part-media-type", nil)
		return nil
	case u.answer.away:
		// Not tried any more, but named, so that the sender knows what to send again.
		u.fail(number, identityOfHead(head), reasonOutOfResources, "storage-unavailable", nil)
		return nil
	}
	object, err := newSpool(u.stow.config.SpoolDir, io.MultiReader(bytes.NewReader(head), part), u.stow.config.MaxObjectBytes)
	switch {
	case errors.Is(err, errOverLimit):
		u.answer.tooLarge++
		u.fail(number, identityOfHead(head), reasonCannotUnderstand, "object-too-large", err)
		return nil
	case fault.Is(err, fault.Transient):
		u.answer.away = true
		u.fail(number, identityOfHead(head), reasonOutOfResources, fault.CodeOf(err), err)
		return nil
	case err != nil:
		return err
	}
	defer object.close()
	u.store(ctx, number, object)
	return nil
}

// store puts a part that has arrived into the inbox. Whether it is sound is judged later, as with every door.
func (u *upload) store(ctx context.Context, number int, object *spool) {
	id := dicom.IdentityOfFile(object.file, object.size)
	switch {
	case u.study != "" && id.Study != "" && id.Study != u.study:
		u.fail(number, id, reasonDataSetMismatch, "study-mismatch", nil)
		return
	case id.Class != "" && !slices.Contains(dicom.StorageClasses(), id.Class):
		u.fail(number, id, reasonSOPClass, dicom.CodeSOPClass, nil)
		return
	}
	key := fmt.Sprintf("%s/%s/%04d.dcm", u.clinic, u.batch, number)
	if err := u.stow.deps.Blob.Put(ctx, u.stow.deps.Blob.Buckets().Inbox, key, object.reader(), object.size, blob.PutOptions{IfNoneMatch: true}); err != nil {
		u.answer.away = true
		u.fail(number, id, reasonOutOfResources, fault.CodeOf(err), err)
		return
	}
	u.answer.store(id)
	u.bytes += object.size
	u.logger.Debug("an object is in the inbox", "number", number, "bytes", object.size)
}

// fail notes a part that is not stored.
func (u *upload) fail(number int, id dicom.FileIdentity, reason uint16, code string, err error) {
	u.answer.fail(id, reason)
	logger := u.logger.With("number", number, "code", code, "reason", fmt.Sprintf("%04X", reason))
	if err != nil {
		logger = logger.With("error", err)
	}
	logger.Warn("an object was not taken")
}

// ended writes down how the upload went.
func (u *upload) ended(status int, refused *stowError) {
	logger := u.logger.With("status", status, "stored", u.answer.stored(), "unreadable", u.answer.kept, "failed", len(u.answer.failed)+len(u.answer.other)-u.answer.kept,
		"bytes", u.bytes, "duration", u.stow.deps.Clock().Sub(u.started).Round(time.Millisecond))
	if refused != nil {
		logger.Warn("an upload ended early", "code", refused.code, "error", refused)
		return
	}
	logger.Info("an upload ended")
}

// refuse answers with an error.
func (s *Stow) refuse(w http.ResponseWriter, r *stowError) {
	switch r.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="noctua"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSec))
	}
	s.write(w, r.status, mediaJSON, map[string]any{"error": map[string]string{"code": r.code, "message": r.text}})
}

func (s *Stow) write(w http.ResponseWriter, status int, mediaType string, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		s.deps.Logger.Error("an answer could not be encoded", "error", err)
		http.Error(w, "something went wrong inside Noctua; its log says what", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	if _, err := w.Write(append(raw, '\n')); err != nil {
		s.deps.Logger.Debug("a sender went away", "error", err)
	}
}
