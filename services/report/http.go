package report

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/patientlink"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/board"
	"github.com/noctua-screening/noctua/services/report/web"
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
	// maxConnections is how many may be open at a time, idle ones too; more wait at the door.
	maxConnections = 1000
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
		ErrorLog: slog.NewLogLogger(s.deps.Logger.Handler(), slog.LevelWarn), TLSConfig: s.deps.TLS,
	}
	server.RegisterOnShutdown(s.live.endStreams)
	listener = netutil.LimitListener(listener, maxConnections)
	if s.deps.TLS != nil {
		listener = tls.NewListener(listener, s.deps.TLS)
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

// anyone is the scope of what everybody may ask for whom Noctua knows.
const anyone access.Scope = "known"

// route is one entry of the interface.
type route struct {
	pattern string
	// scope that it needs, for one clinic at least; "": it answers whoever asks.
	scope access.Scope
	// resource is the kind of FHIR resource that it is about; access.AllResources: it is not FHIR.
	resource string
	handle   func(http.ResponseWriter, *http.Request) error
}

func (r route) open() bool { return r.scope == "" }

// routes are all that is served. What is not listed does not exist, and a test asks each of them in every role.
func (s *Service) routes() []route {
	const fhirAll = access.AllResources
	list := []route{
		{"GET /healthz", "", fhirAll, s.healthz},
		{"GET /readyz", "", fhirAll, s.readyz},
		{"GET /static/{file}", "", fhirAll, s.static},
		{"GET /signin", "", fhirAll, s.signInPage},
		{"POST /signin", "", fhirAll, s.signIn},
		{"POST /signout", anyone, fhirAll, s.signOut},
		{"GET /account", anyone, fhirAll, s.accountPage},
		{"POST /account/password", anyone, fhirAll, s.changePassword},
		{"POST /account/signout", anyone, fhirAll, s.signOutEverywhere},

		{"GET /{$}", access.Read, fhirAll, s.tonightPage},
		{"GET /tonight/events", access.Read, fhirAll, s.tonightEvents},
		{"GET /tonight/people", access.Read, fhirAll, s.tonightPeople},
		{"GET /nights", access.Read, fhirAll, s.nightsPage},
		{"GET /nights/{night}", access.Read, fhirAll, s.nightPage},
		{"GET /patients", access.Read, fhirAll, s.patientsPage},
		{"POST /patients", access.Read, fhirAll, s.patientsSearch},
		{"GET /patients/{id}", access.Read, fhirAll, s.patientPage},
		{"GET /quarantine", access.Operate, fhirAll, s.quarantinePage},
		{"GET /quarantine/{clinic}/{day}/{id}", access.Operate, fhirAll, s.quarantinedPage},
		{"POST /quarantine/release", access.Operate, fhirAll, s.ruleForm(record.ActionRelease)},
		{"POST /quarantine/discard", access.Operate, fhirAll, s.ruleForm(record.ActionDiscard)},

		{"GET /system", access.Operate, fhirAll, s.systemPage},

		{"GET /api/system", access.Operate, fhirAll, s.apiSystem},
		{"GET /api/me", anyone, fhirAll, s.apiMe},
		{"GET /api/status", access.Read, fhirAll, s.apiStatus},
		{"GET /api/reports", access.Read, fhirAll, s.apiReports},
		{"GET /api/reports/{id}", access.Read, fhirAll, s.apiReport},
		{"GET /api/reports/{id}/report.pdf", access.Read, fhirAll, s.apiReportPDF},
		{"GET /api/nights", access.Read, fhirAll, s.apiNights},
		{"GET /api/nights/{night}/{clinic}/{file}", access.Read, fhirAll, s.apiNight},
		{"GET /api/images/{sop}/{sha}/{file}", access.Read, fhirAll, s.apiPicture},
		{"GET /api/images/{sop}/{sha}/view.json", access.Read, fhirAll, s.apiPictureView},
		{"GET /api/images/{sop}/{sha}/lines.json", access.Read, fhirAll, s.apiLines},
		{"GET /api/images/{sop}/{sha}/tiles/{layer}/{level}/{tile}", access.Read, fhirAll, s.apiTile},
		{"GET /api/quarantine", access.Operate, fhirAll, s.apiQuarantine},
		{"GET /api/quarantine/{clinic}/{day}/{id}", access.Operate, fhirAll, s.apiQuarantined},
		{"GET /api/quarantine/{clinic}/{day}/{id}/photo.jpg", access.Operate, fhirAll, s.apiQuarantinedPhoto},
		{"POST /api/quarantine/release", access.Operate, fhirAll, s.apiRule(record.ActionRelease)},
		{"POST /api/quarantine/discard", access.Operate, fhirAll, s.apiRule(record.ActionDiscard)},
		{"POST /api/uploads", access.Upload, fhirAll, s.apiUploads},
		{"POST /api/exports", access.Operate, fhirAll, s.apiExports},
		{"GET /api/patients/links", access.Operate, fhirAll, s.apiPatientLinks},
		{"POST /api/patients/merge", access.Operate, fhirAll, s.apiPatientLink(patientlink.Merge)},
		{"POST /api/patients/split", access.Operate, fhirAll, s.apiPatientLink(patientlink.Split)},
		{"POST /api/patients/undo", access.Operate, fhirAll, s.apiPatientLink(patientlink.Undo)},
		{"GET /api/audit/head", access.Audit, fhirAll, s.apiAuditHead},
	}
	return append(list, s.fhirRoutes()...)
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
	mux.Handle("/", s.wrap(route{pattern: "/", scope: anyone, handle: func(w http.ResponseWriter, r *http.Request) error {
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
	guarded := s.sameOrigin().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// Other sites learn nothing; no-referrer would make browsers hide from us, too, where a form comes from (Fetch, 3.2: Origin: null).
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		guarded.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what another site's page makes a browser send. A proxy may change the host: the public address is ours, too.
func (s *Service) sameOrigin() *http.CrossOriginProtection {
	guard := http.NewCrossOriginProtection()
	if u, err := url.Parse(s.cfg.PublicURL); err == nil && u.Host != "" {
		// Scheme and host alone are always taken.
		if err := guard.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			s.deps.Logger.Warn("forms are taken from the address of the service alone", slog.Any("error", err))
		}
	}
	return guard
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

// wrap puts access, limits and error handling around a handler.
func (s *Service) wrap(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = http.MaxBytesReader(w, req.Body, maxBodyBytes)
		admitted, leave := s.admit(w, req, r)
		if admitted == nil {
			return
		}
		defer leave()
		if err := r.handle(w, admitted); err != nil {
			s.fail(w, admitted, err)
		}
	})
}

// refuse answers a request without a valid token: people get the sign-in page, programs an error.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request) {
	if !isFHIR(r) && !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html") {
		next := "/"
		if r.Method == http.MethodGet {
			next = r.URL.RequestURI()
		}
		s.showSignIn(w, http.StatusUnauthorized, web.SignInView{Next: next})
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
	var unknown *unknownParamsError
	switch {
	case errors.As(err, &unknown):
		return http.StatusBadRequest, "parameter-unknown", unknown.Error()
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
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "3")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Del("ETag")
	switch {
	case isFHIR(r):
		var unknown *unknownParamsError
		if errors.As(err, &unknown) {
			s.failFHIR(w, status, code, text, unknown.names)
		} else {
			s.failFHIR(w, status, code, text, nil)
		}
	case !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html"):
		s.showError(w, r, status, text)
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
	if matches(r, etag) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	return false
}

// matches tells whether the reader has what the tag stands for.
func matches(r *http.Request, etag string) bool {
	for _, given := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		given = strings.TrimSpace(given)
		if given == "*" || strings.TrimPrefix(given, "W/") == strings.TrimPrefix(etag, "W/") && given != "" {
			return true
		}
	}
	return false
}

func (s *Service) healthz(w http.ResponseWriter, _ *http.Request) error {
	s.writeJSON(w, http.StatusOK, "application/json", map[string]string{"status": "alive"})
	return nil
}

// readyz says whether the service answers queries, as the lamp of the report index on the System page does.
func (s *Service) readyz(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), board.DefaultTimeout)
	defer cancel()
	if err := s.serving(ctx); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", map[string]string{"status": "ready"})
	return nil
}
