package export

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/gate"
)

// storage is what the service uses of pkg/blob.
type storage interface {
	Buckets() blob.Buckets
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error
	Stat(ctx context.Context, bucket, key string) (blob.Info, error)
	Remove(ctx context.Context, bucket, key string) error
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
}

var _ storage = (*blob.Store)(nil)

// Deps are what the service needs.
type Deps struct {
	Blob storage
	// Conn is a connection whose topology holds Config.Consumers.
	Conn   *stream.Conn
	Logger *slog.Logger
	Clock  func() time.Time
}

// Consumers are what the archives need of the stream, besides the default topology.
func (c Config) Consumers() []stream.ConsumerSpec {
	var specs []stream.ConsumerSpec
	for _, a := range c.Archives {
		specs = append(specs, stream.ExportConsumer(a.Name, a.Clinics))
	}
	return specs
}

// Service sends results to archives.
type Service struct {
	deps         Deps
	cfg          Config
	destinations []*destination
}

// New checks the configuration and returns the service. Nothing runs yet.
func New(deps Deps, cfg Config) (*Service, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Blob == nil || deps.Conn == nil || deps.Logger == nil || deps.Clock == nil || len(cfg.ModelSHA256) < modelDigits {
		return nil, fault.New(fault.Internal, "deps-missing", "the export service was built without one of its dependencies")
	}
	s := &Service{deps: deps, cfg: cfg}
	for _, a := range cfg.Archives {
		sender, err := newSender(a, cfg)
		if err != nil {
			return nil, err
		}
		s.destinations = append(s.destinations, &destination{
			Archive: a, notes: notes{deps.Blob, a.Name, deps.Clock}, cfg: cfg, sender: sender, logger: deps.Logger.With("archive", a.Name),
			gate: &gate.Gate{Base: cfg.RetryBase, Cap: cfg.RetryCap, Clock: deps.Clock, Jitter: rand.Float64},
		})
	}
	return s, nil
}

var _ io.Closer = (*Service)(nil)

// Close lets go of idle connections. Run does so itself.
func (s *Service) Close() error {
	for _, d := range s.destinations {
		d.sender.close()
	}
	return nil
}

// Run works until ctx ends, then returns nil.
func (s *Service) Run(ctx context.Context) error {
	defer func() { _ = s.Close() }() // always nil
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range s.destinations {
		counted := make(chan struct{})
		group.Go(func() error { return s.reconcileLoop(ctx, d, sync.OnceFunc(func() { close(counted) })) })
		group.Go(func() error {
			// Before that, notes would be written beside the counting, and the numbers be wrong.
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-counted:
			}
			return d.worker(s.deps.Conn).Run(ctx)
		})
	}
	if len(s.destinations) == 0 {
		<-ctx.Done()
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Status counts the results for each archive, in the order of the configuration. Numbers of what was sent and failed are of all times; they
// are complete a moment after the start.
func (s *Service) Status(ctx context.Context) ([]record.ExportStatus, error) {
	var all []record.ExportStatus
	for _, d := range s.destinations {
		lag, err := s.deps.Conn.Lag(ctx, stream.ExportConsumer(d.Name, nil).Name)
		if err != nil {
			return nil, err
		}
		d.noting.Lock()
		status := record.ExportStatus{Archive: d.Name, Pending: lag.Pending + lag.AckPending, Sent: d.counts.sent, Failed: d.counts.failed}
		d.noting.Unlock()
		status.Code, status.Reason, status.DownSince = d.gate.State()
		all = append(all, status)
	}
	return all, nil
}

// Request says which results should be sent again, or at last.
type Request struct {
	// Archive is the only one meant; "": all.
	Archive string
	// Since and Until bound when results were made, by the store's clock. Without Since, what has failed is meant, whenever it was; else what the
	// archive does not have, also from before exports were configured.
	Since, Until time.Time
	// Again sends also what the archive had taken. It needs Since.
	Again bool
}

// Requested is how many results were asked for.
type Requested struct {
	Archive string `json:"archive"`
	Results int    `json:"results"`
}

// Request asks for results; they are sent from the stream, and survive a restart there. If it breaks off, asking once more is harmless.
// Faults: NotFound "archive-unknown", Invalid "export-request"; those of store and stream.
func (s *Service) Request(ctx context.Context, r Request) ([]Requested, error) {
	if r.Since.IsZero() && (r.Again || !r.Until.IsZero()) {
		return nil, fault.New(fault.Invalid, "export-request", "what was sent is sent again only since a moment that is named")
	}
	var all []Requested
	for _, d := range s.destinations {
		if r.Archive != "" && r.Archive != d.Name {
			continue
		}
		n, _, err := s.ask(ctx, d, r.Since, r.Until, func(known state) bool {
			return r.Again || known == failed || known == waiting && !r.Since.IsZero()
		}, r.Again)
		if err != nil {
			return all, err
		}
		all = append(all, Requested{d.Name, n})
	}
	if len(all) == 0 {
		return nil, fault.New(fault.NotFound, "archive-unknown", "there is no such archive; see --export-dicom")
	}
	return all, nil
}
