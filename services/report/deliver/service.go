package deliver

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report/export"
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
	Conn *stream.Conn
	// PDF returns the page for people of a version of a report, whose report.json lies at key; nil: there is none.
	PDF    func(ctx context.Context, r *record.Report, key string) ([]byte, error)
	Logger *slog.Logger
	Clock  func() time.Time
}

// Consumers are what the receivers need of the stream, besides the default topology.
func (c Config) Consumers() []stream.ConsumerSpec {
	var specs []stream.ConsumerSpec
	for _, r := range c.Receivers {
		specs = append(specs, stream.ReceiverConsumer(r.Name, r.Clinics))
	}
	return specs
}

// Service sends reports to receivers.
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
	if deps.Blob == nil || deps.Conn == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "deps-missing", "the delivery service was built without one of its dependencies")
	}
	s := &Service{deps: deps, cfg: cfg}
	for _, r := range cfg.Receivers {
		d := &destination{
			Receiver: r, notes: notes{deps.Blob, r.Name, deps.Clock}, cfg: cfg, logger: deps.Logger.With("receiver", r.Name), pdf: deps.PDF, foreign: map[string]bool{},
			gate: &gate.Gate{Base: cfg.RetryBase, Cap: cfg.RetryCap, Clock: deps.Clock, Jitter: rand.Float64},
		}
		d.ask = s.asker(r.Name)
		if r.Kind == record.ReceiverWebhook {
			d.sender = newWebhook(r, cfg, deps.Clock)
		} else {
			mllp, err := newMLLP(r, cfg)
			if err != nil {
				return nil, err
			}
			d.sender = mllp
		}
		s.destinations = append(s.destinations, d)
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
			// Before that it is not known since when to send, and notes would be written beside the counting.
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

// Status counts versions for each receiver, in the order of the configuration. Numbers of what was sent and failed are of all times; they are
// complete a moment after the start.
func (s *Service) Status(ctx context.Context) ([]record.ExportStatus, error) {
	var all []record.ExportStatus
	for _, d := range s.destinations {
		lag, err := s.deps.Conn.Lag(ctx, stream.ReceiverConsumer(d.Name, nil).Name)
		if err != nil {
			return nil, err
		}
		d.noting.Lock()
		status := record.ExportStatus{Archive: d.Name, Kind: d.Kind, Pending: lag.Pending + lag.AckPending, Sent: d.counts.sent, Failed: d.counts.failed}
		d.noting.Unlock()
		status.Code, status.Reason, status.DownSince = d.gate.State()
		d.stopping.Lock()
		if d.stopped != nil {
			gone := judgeStatus(http.StatusGone)
			status.Code, status.Reason, status.DownSince = fault.CodeOf(gone), fault.SentenceOf(gone), d.stoppedAt
		}
		d.stopping.Unlock()
		all = append(all, status)
	}
	return all, nil
}

// Request asks for versions; they are sent from the stream, and survive a restart there. Without r.Since those that failed are meant. With it,
// the newest version of each report that was issued since (and until) is, unless the receiver has it and r.Again is not set: older ones
// would say again what is no longer so. Naming a receiver that wanted no more (410) lets it get reports again. If it breaks off, asking once
// more is harmless.
// Faults: NotFound "archive-unknown", Invalid "export-request"; those of store and stream.
func (s *Service) Request(ctx context.Context, r export.Request) ([]export.Requested, error) {
	if r.Since.IsZero() && (r.Again || !r.Until.IsZero()) {
		return nil, fault.New(fault.Invalid, "export-request", "what was sent is sent again only since a moment that is named")
	}
	var all []export.Requested
	for _, d := range s.destinations {
		if r.Archive != "" && r.Archive != d.Name {
			continue
		}
		if r.Archive != "" {
			if err := d.resume(ctx); err != nil {
				return all, err
			}
		}
		n, err := s.request(ctx, d, r)
		if err != nil {
			return all, err
		}
		all = append(all, export.Requested{Archive: d.Name, Results: n})
	}
	if len(all) == 0 {
		return nil, fault.New(fault.NotFound, "archive-unknown", "there is no such receiver; see --hl7 and --webhook")
	}
	return all, nil
}
