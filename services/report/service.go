package report

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/audit"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/reportpdf"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/board"
	"github.com/noctua-screening/noctua/services/report/deliver"
	"github.com/noctua-screening/noctua/services/report/export"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

// storage is what the service uses of pkg/blob.
type storage interface {
	Buckets() blob.Buckets
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Info, error)
	PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
	PresignPut(ctx context.Context, bucket, key string, expiry time.Duration) (string, error)
}

var _ storage = (*blob.Store)(nil)

// queue is what the service uses of the message stream.
type queue interface {
	// Publish returns once the stream has stored the event.
	Publish(ctx context.Context, e event.Envelope) error
	// Consume hands every event of the durable consumer `report` to handle, until ctx ends. An error decides by its kind
	// whether the event comes again.
	Consume(ctx context.Context, handle func(ctx context.Context, e event.Envelope) error) error
	// Lag returns how many events the named consumer has not acknowledged.
	Lag(ctx context.Context, consumer string) (int, error)
	// DeadLetters returns the newest messages that workers gave up, at most limit.
	DeadLetters(ctx context.Context, limit int) ([]stream.DeadLetter, error)
}

// exports are what the service shows and asks of the archives that results are sent to, and of the receivers of reports.
type exports interface {
	Status(ctx context.Context) ([]record.ExportStatus, error)
	Request(ctx context.Context, r export.Request) ([]export.Requested, error)
}

var (
	_ exports = (*export.Service)(nil)
	_ exports = (*deliver.Service)(nil)
)

// Consumer is the name of this service's durable consumer; SegmentConsumer is the one that it watches for the status.
const (
	Consumer        = "report"
	SegmentConsumer = "segment"
)

// Deps are what the service needs.
type Deps struct {
	Blob  storage
	Queue queue
	Store *store.SQL
	// Upstream counts files that wait before the inbox, e.g. in a watched folder; nil: there is no such place.
	Upstream func(ctx context.Context) (int, error)
	// Photo decodes a DICOM object to the picture that people see.
	Photo func(ctx context.Context, dicom []byte) (*raster.RGB, error)
	// PatientKey is the key of a patient at a clinic; nil: it is not known here, so that studies are given to patients alone that have one.
	PatientKey func(clinic, issuer, patientID string) string
	// Authority tells who has a token.
	Authority authority
	// Accounts are the people who sign in with a name and a password; nil: they sign in with tokens alone.
	Accounts accounts
	// TLS is how the interface speaks TLS; nil: it speaks in the clear.
	TLS *tls.Config
	// DICOMWeb answers what is below /dicom-web/, by tokens and limits of its own; nil: there is nothing.
	DICOMWeb http.Handler
	// Exports send results to archives, Deliveries reports to receivers; nil: there are none.
	Exports, Deliveries exports
	// System are the parts beyond the service, for the page that shows how they are; nil: there are none.
	System *System
	Logger *slog.Logger
	Clock  func() time.Time
}

// Config of the service.
type Config struct {
	// Listen is the HTTP address. Default 127.0.0.1:8421.
	Listen string
	// PublicURL is how readers reach the service, for absolute links; empty: as the request says.
	PublicURL string
	// QuietPeriod after which a report with nothing pending is final, where no manifest says what the study has. Default 30 s.
	QuietPeriod time.Duration
	// ManifestDeadline is how long after a manifest what it announces is waited for; then the report says what is missing. Default 1 h.
	ManifestDeadline time.Duration
	// Debounce is the longest that a change waits for company before a preliminary version is issued. Default 2 s.
	Debounce time.Duration
	// ReconcileEvery is the pause between reconciliations with the buckets. Default 5 min.
	ReconcileEvery time.Duration
	// Issuers is how many reports are assembled at a time. Default 4.
	Issuers int
	// Decoders is how many photographs are decoded for viewing at a time: each takes tens of megabytes. Default 2.
	Decoders int
	// PictureCacheBytes bounds the memory for photographs that were decoded for viewing. Default 64 MiB.
	PictureCacheBytes int
	// RequestsPerSecond that one caller may make for long, and RequestBurst at once. Defaults 50 and 400.
	RequestsPerSecond, RequestBurst int
	// MaxRequests are answered at a time, MaxRequestsPerCaller of them of one caller. Defaults 128 and 24.
	MaxRequests, MaxRequestsPerCaller int
	// SMART names the site's OpenID Connect server to clients that look for it; zero: there is none.
	SMART SMART
	// Location is the time zone of nights and of the page. Default the machine's.
	Location *time.Location
	// Version of Noctua, for the reports and the capability statement.
	Version string
}

// WithDefaults fills what is not set.
func (c Config) WithDefaults() Config {
	set(&c.Listen, "127.0.0.1:8421")
	set(&c.QuietPeriod, 30*time.Second)
	set(&c.ManifestDeadline, time.Hour)
	set(&c.Debounce, 2*time.Second)
	set(&c.ReconcileEvery, 5*time.Minute)
	set(&c.Issuers, 4)
	set(&c.Decoders, 2)
	set(&c.PictureCacheBytes, 64<<20)
	set(&c.RequestsPerSecond, 50)
	set(&c.RequestBurst, 400)
	set(&c.MaxRequests, 128)
	set(&c.MaxRequestsPerCaller, 24)
	set(&c.Location, time.Local)
	set(&c.Version, "development")
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate says what is wrong with the configuration and what to do.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fault.Wrap(fault.Invalid, "config-listen", err, "the listening address %q should be host:port, e.g. 127.0.0.1:8421", c.Listen)
	}
	if c.QuietPeriod <= 0 || c.ManifestDeadline <= 0 || c.Debounce <= 0 || c.ReconcileEvery <= 0 {
		return fault.New(fault.Invalid, "config-times", "quiet period, manifest deadline, debounce and reconciliation pause must be above zero, e.g. 30s, 1h, 2s and 5m")
	}
	if c.Issuers < 1 || c.Decoders < 1 || c.PictureCacheBytes < 0 || c.RequestsPerSecond < 1 || c.RequestBurst < 1 || c.MaxRequests < 1 || c.MaxRequestsPerCaller < 1 {
		return fault.New(fault.Invalid, "config-limits", "issuers, decoders and the limits of requests must be at least 1, the picture cache not below 0")
	}
	return nil
}

// StoreTiming is the timing that the index is to be opened with.
func (c Config) StoreTiming() store.Timing {
	c = c.WithDefaults()
	return store.Timing{Settle: c.Debounce / 4, Debounce: c.Debounce, Quiet: c.QuietPeriod, Await: c.ManifestDeadline}
}

// Service is the report service.
type Service struct {
	deps     Deps
	cfg      Config
	pages    *web.Pages
	sessions *sessions
	guesses  *guesses
	searches *searches
	audit    *audit.Log
	pictures *pictures
	viewings *viewings
	// converted are versions of reports as resources, the last that were asked for.
	converted *lru.Cache[convertedKey, *converted]
	// pdfWriter reads the fonts when it is asked first: many processes never need them.
	pdfWriter func() (*reportpdf.Writer, error)
	limits    *limits
	denials   *denials
	live      live
	board     *board.Board

	// wake tells the issuing loop that something changed; one pending wake is enough.
	wake chan struct{}
	// ready is closed once the index can be trusted.
	ready     chan struct{}
	readyOnce sync.Once
	// lastIssued is the last moment of issue of this process; Store.Issue guards it.
	lastIssued time.Time
}

// New checks the configuration and returns the service. Nothing runs yet.
func New(deps Deps, cfg Config) (*Service, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Blob == nil || deps.Queue == nil || deps.Store == nil || deps.Photo == nil || deps.Authority == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "deps-missing", "the report service was built without one of its dependencies")
	}
	pages, err := web.New(cfg.Location)
	if err != nil {
		return nil, fmt.Errorf("loading the page templates: %w", err)
	}
	kept, err := lru.New[convertedKey, *converted](maxConverted)
	if err != nil {
		return nil, fmt.Errorf("making room for converted reports: %w", err)
	}
	s := &Service{
		deps: deps, cfg: cfg, pages: pages, converted: kept,
		sessions: newSessions(deps.Clock),
		guesses:  newGuesses(deps.Clock),
		searches: newSearches(deps.Clock),
		audit:    audit.New(deps.Blob, deps.Blob.Buckets().Audit, deps.Clock),
		pictures: newPictures(cfg.Decoders, cfg.PictureCacheBytes), pdfWriter: sync.OnceValues(reportpdf.New), viewings: newViewings(deps.Clock),
		limits:  newLimits(cfg),
		denials: newDenials(),
		live:    live{over: make(chan struct{})},
		wake:    make(chan struct{}, 1),
		ready:   make(chan struct{}),
	}
	s.board = board.New(s.parts(), 0, 0, deps.Clock)
	return s, nil
}

// Run works until ctx ends, then returns nil: consumes events, reconciles, issues reports, publishes nights and serves HTTP.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.serve(ctx) })
	group.Go(func() error { return s.deps.Queue.Consume(ctx, s.handle) })
	group.Go(func() error { return s.reconcileLoop(ctx) })
	group.Go(func() error { return s.watchAudit(ctx) })
	group.Go(func() error { return s.watchDisk(ctx) })
	group.Go(func() error {
		// Before the index is whole, an assembled report could lack images.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ready:
		}
		return s.issueLoop(ctx)
	})
	group.Go(func() error { return s.publishLoop(ctx) })
	group.Go(func() error {
		// Before the index is whole, a night could lack reports.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ready:
		}
		return s.nightLoop(ctx)
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// isReady tells whether the index can be trusted.
func (s *Service) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

func (s *Service) markReady() { s.readyOnce.Do(func() { close(s.ready) }) }

func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // a wake is pending already
	}
}

// pause waits and tells whether ctx still runs.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
