package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	headerTimeout = 10 * time.Second
	// readTimeout bounds slow senders; the largest body is a list of names.
	readTimeout = 30 * time.Second
	// writeTimeout bounds slow readers of pictures.
	writeTimeout   = 2 * time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 1 << 20
	// stopTimeout is how long running requests may take when the service stops.
	stopTimeout = 5 * time.Second
	// doorIdleTimeout bounds how long an upload below /dicom-web/ may stand still; a little more than the door's own, whose answer
	// says why.
	doorIdleTimeout = 70 * time.Second
)

// contentPolicy lets the page load what this service serves, and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// serve answers HTTP until ctx ends.
func (s *Service) serve(ctx context.Context) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fault.Wrap(fault.Invalid, "listen", err, "the report service cannot listen on %s; choose another address or stop what uses it", s.cfg.Listen)
	}
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.deps.Logger.Handler(), slog.LevelWarn),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving HTTP: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		// The service's own context is over; the requests get a last moment of their own.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}

// route is one entry of the interface. Open ones answer without token.
type route struct {
	pattern string
	open    bool
	handle  func(http.ResponseWriter, *http.Request) error
}

// routes are all that is served. What is not listed does not exist, and a test asks each of them without a token.
func (s *Service) routes() []route {
	return []route{
		{"GET /healthz", true, s.healthz},
		{"GET /readyz", true, s.readyz},
		{"GET /static/{file}", true, s.static},
		{"GET /signin", true, s.signInPage},
		{"POST /signin", true, s.signIn},
		{"POST /signout", false, s.signOut},

		{"GET /{$}", false, s.tonightPage},
		{"GET /tonight/live", false, s.tonightLive},
		{"GET /patients", false, s.patientsPage},
		{"GET /patients/{id}", false, s.patientPage},
		{"GET /quarantine", false, s.quarantinePage},
		{"GET /quarantine/{clinic}/{day}/{id}", false, s.quarantinedPage},
		{"POST /quarantine/release", false, s.ruleForm(record.ActionRelease)},
		{"POST /quarantine/discard", false, s.ruleForm(record.ActionDiscard)},

		{"GET /api/status", false, s.apiStatus},
		{"GET /api/reports", false, s.apiReports},
		{"GET /api/reports/{id}", false, s.apiReport},
		{"GET /api/images/{sop}/{sha}/{file}", false, s.apiPicture},
		{"GET /api/quarantine", false, s.apiQuarantine},
		{"GET /api/quarantine/{clinic}/{day}/{id}", false, s.apiQuarantined},
		{"GET /api/quarantine/{clinic}/{day}/{id}/photo.jpg", false, s.apiQuarantinedPhoto},
		{"POST /api/quarantine/release", false, s.apiRule(record.ActionRelease)},
		{"POST /api/quarantine/discard", false, s.apiRule(record.ActionDiscard)},
		{"POST /api/uploads", false, s.apiUploads},
		{"POST /api/exports", false, s.apiExports},

		{"GET /fhir/metadata", true, s.fhirMetadata},
		{"GET /fhir/CodeSystem/noctua-measures", false, s.fhirCodeSystem},
		{"GET /fhir/DiagnosticReport", false, s.fhirSearchReports},
		{"GET /fhir/DiagnosticReport/{id}", false, s.fhirReport},
		{"GET /fhir/Observation", false, s.fhirSearchObservations},
		{"GET /fhir/Observation/{id}", false, s.fhirObservation},
		{"GET /fhir/Patient", false, s.fhirSearchPatients},
		{"GET /fhir/Patient/{id}", false, s.fhirPatient},
		{"GET /fhir/ImagingStudy/{id}", false, s.fhirImagingStudy},
		{"GET /fhir/Device/{id}", false, s.fhirDevice},
	}
}

// Handler is the whole interface.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.Handle(r.pattern, s.wrap(r))
	}
	if s.deps.DICOMWeb != nil {
		mux.Handle("/dicom-web/", patient(s.deps.DICOMWeb, doorIdleTimeout))
	}
	// What is not listed is refused like everything else without a token, so that it tells nothing.
	mux.Handle("/", s.wrap(route{handle: func(w http.ResponseWriter, r *http.Request) error {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			probe := r.Clone(r.Context())
			probe.Method = method
			if _, pattern := mux.Handler(probe); method != r.Method && pattern != "/" && pattern != "" {
				w.Header().Set("Allow", method)
				return &httpError{http.StatusMethodNotAllowed, "method-not-allowed", "this address answers to " + method + " only"}
			}
		}
		return fault.New(fault.NotFound, "not-found", "there is nothing at this address")
	}}))
	// Browsers say where a changing request comes from; another site's is refused. Together with SameSite=Strict.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		guarded.ServeHTTP(w, r)
	})
}

// patient gives a handler all the time that its request needs, as long as something of it arrives within idle: the deadlines of pages
// are for the whole of a request. What the handler leaves unread is waited for no longer than that either.
func patient(handler http.Handler, idle time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		body := &patientBody{ReadCloser: r.Body, extend: func() {
			// Where a deadline cannot be set, the connection is gone, and the next read shows it.
			_ = control.SetReadDeadline(time.Now().Add(idle))
			_ = control.SetWriteDeadline(time.Now().Add(2 * idle))
		}}
		body.extend()
		r.Body = body
		handler.ServeHTTP(w, r)
	})
}

// patientBody gives each read its time.
type patientBody struct {
	io.ReadCloser
	extend func()
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.extend()
	return b.ReadCloser.Read(p)
}

// wrap puts access and error handling around a handler.
func (s *Service) wrap(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = http.MaxBytesReader(w, req.Body, maxBodyBytes)
		if !r.open && !s.signedIn(req) {
			s.refuse(w, req)
			return
		}
		if err := r.handle(w, req); err != nil {
			s.fail(w, req, err)
		}
	})
}

// refuse answers a request without a valid token: people get the sign-in page, programs an error.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request) {
	if !isFHIR(r) && !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.showSignIn(w, http.StatusUnauthorized, "")
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="noctua"`)
	s.fail(w, r, &httpError{http.StatusUnauthorized, "token-missing", "this needs the token of the report service, as `Authorization: Bearer …`"})
}

// httpError is an error with an HTTP status of its own.
type httpError struct {
	status int
	code   string
	text   string
}

func (e *httpError) Error() string { return e.text }

// statusOf gives an error its HTTP status.
func statusOf(err error) (int, string, string) {
	var h *httpError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &h):
		return h.status, h.code, h.text
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, "too-large", "the request is larger than 1 MiB; send it in parts"
	case fault.Is(err, fault.Invalid):
		return http.StatusBadRequest, fault.CodeOf(err), fault.SentenceOf(err)
	case fault.Is(err, fault.NotFound):
		return http.StatusNotFound, fault.CodeOf(err), fault.SentenceOf(err)
	case fault.Is(err, fault.Conflict):
		return http.StatusConflict, fault.CodeOf(err), fault.SentenceOf(err)
	case fault.Is(err, fault.Unsupported):
		return http.StatusUnprocessableEntity, fault.CodeOf(err), fault.SentenceOf(err)
	case fault.Is(err, fault.Transient):
		return http.StatusServiceUnavailable, fault.CodeOf(err), fault.SentenceOf(err)
	}
	// The cause of an internal error may name what a reader has no right to; the log has it.
	return http.StatusInternalServerError, "internal", "something went wrong inside Noctua; its log says what"
}

// fail answers with an error, in the language of who asked.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody listens any more
	}
	status, code, text := statusOf(err)
	if status >= http.StatusInternalServerError {
		// The pattern and not the address: an address may hold what people searched for.
		s.deps.Logger.Error("a request failed", slog.String("route", r.Pattern), slog.Int("status", status), slog.String("code", code), slog.Any("error", err))
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "3")
	}
	w.Header().Del("ETag")
	switch {
	case isFHIR(r):
		s.failFHIR(w, status, text)
	case !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html"):
		s.showError(w, status, text)
	default:
		s.writeJSON(w, status, "application/json", map[string]any{"error": map[string]string{"code": code, "message": text}})
	}
}

func (s *Service) writeJSON(w http.ResponseWriter, status int, mediaType string, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		s.deps.Logger.Error("an answer could not be encoded", slog.Any("error", err))
		http.Error(w, "something went wrong inside Noctua; its log says what", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType+"; charset=utf-8")
	w.WriteHeader(status)
	s.send(w, append(raw, '\n'))
}

// send writes an answer. A reader who went away is no fault of ours, but is told at the lowest level.
func (s *Service) send(w http.ResponseWriter, raw []byte) {
	if _, err := w.Write(raw); err != nil {
		s.deps.Logger.Debug("a reader went away", slog.Any("error", err))
	}
}

// notModified answers a conditional read; true if that was all.
func notModified(w http.ResponseWriter, r *http.Request, etag string, modified time.Time) bool {
	w.Header().Set("ETag", etag)
	if !modified.IsZero() {
		w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	}
	for _, given := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		given = strings.TrimSpace(given)
		if given == "*" || strings.TrimPrefix(given, "W/") == strings.TrimPrefix(etag, "W/") && given != "" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

func (s *Service) healthz(w http.ResponseWriter, _ *http.Request) error {
	s.writeJSON(w, http.StatusOK, "application/json", map[string]string{"status": "alive"})
	return nil
}

func (s *Service) readyz(w http.ResponseWriter, r *http.Request) error {
	if err := s.deps.Store.Ping(r.Context()); err != nil {
		return err
	}
	if !s.isReady() {
		return fault.New(fault.Transient, "index-rebuilding", "the report index is being rebuilt from the buckets; try again in a few seconds")
	}
	s.writeJSON(w, http.StatusOK, "application/json", map[string]string{"status": "ready"})
	return nil
}
