package ingest

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// store is what ingest uses of the object store.
type store interface {
	Buckets() blob.Buckets
	Put(ctx context.Context, bucket, key string, r io.Reader, size int64, opts blob.PutOptions) error
	PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error
	Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Info, error)
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	Stat(ctx context.Context, bucket, key string) (blob.Info, error)
	RemoveMatching(ctx context.Context, bucket, key, etag string, lastModified time.Time) error
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
}

var _ store = (*blob.Store)(nil)

// publisher is what ingest uses of the stream.
type publisher interface {
	// Publish returns once the event is stored durably.
	Publish(ctx context.Context, e event.Envelope) error
}

// Deps are what the service works with. All but Wake and Lag are required.
type Deps struct {
	Blob      store
	Publisher publisher
	Files     *isolated.Reader // of DICOM files; stays the caller's
	// Wake makes the service look into the inbox at once; values mean nothing. nil: it only looks every Config.ListEvery.
	Wake <-chan struct{}
	// Lag returns how many accepted images the segment workers have not finished. nil: images without a result are never
	// announced again.
	Lag    func(ctx context.Context) (int, error)
	Logger *slog.Logger
	Clock  func() time.Time
}

// Config of the service. The zero value of every field but SiteSecret means its default.
type Config struct {
	// SiteSecret keys the hash of patients' identities; at least 16 bytes, the same for all services and for ever.
	SiteSecret []byte
	// Workers is how many objects are handled at once; default 2.
	Workers int
	// MaxObjectBytes is the largest object, or ZIP member, that is looked into; default 512 MB. Larger ones go to quarantine.
	MaxObjectBytes int64
	// MaxArchiveBytes is the largest sum of a ZIP's members, uncompressed; default 4 GiB.
	MaxArchiveBytes int64
	// MaxArchiveMembers is the largest number of members of a ZIP; default 10,000.
	MaxArchiveMembers int
	// ListEvery is how often the inbox is listed when nothing wakes the service; default 5 s.
	ListEvery time.Duration
	// ReconcileEvery is how often the archive is searched for images without a result; default 5 min.
	ReconcileEvery time.Duration
	// ReconcileAfter is how old an archived image must be to count as forgotten; default 2 min.
	ReconcileAfter time.Duration
	// ManifestDeadline is how long after a manifest was taken in a study none of whose pictures came is brought to quarantine;
	// default 1 h.
	ManifestDeadline time.Duration
	// ModelSHA256 is the current model's hash: images without its result or failure are announced again. Empty: those without
	// any model's.
	ModelSHA256 string
	// StopGrace is how long objects in work may go on after Run's context is cancelled; default 10 s.
	StopGrace time.Duration
	// SpoolDir is where objects lie while they are read; default the system's folder for temporary files. Spooled files have
	// no name, so nothing stays behind.
	SpoolDir string
}

// Bounds of the retry delays, and of the pause while the store or the broker is away.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	// listGap is the shortest time between two listings, however often the service is woken.
	listGap = 100 * time.Millisecond
	// minSecretBytes is 128 bits.
	minSecretBytes = 16
)

// Validate says in a sentence what is wrong.
func (c Config) Validate() error {
	switch {
	case len(c.SiteSecret) < minSecretBytes:
		return fault.New(fault.Invalid, "config-invalid", "the site secret must have at least %d bytes, but has %d", minSecretBytes, len(c.SiteSecret))
	case c.Workers < 0 || c.MaxObjectBytes < 0 || c.MaxArchiveBytes < 0 || c.MaxArchiveMembers < 0:
		return fault.New(fault.Invalid, "config-invalid", "limits and numbers of workers must not be negative")
	case c.ListEvery < 0 || c.ReconcileEvery < 0 || c.ReconcileAfter < 0 || c.ManifestDeadline < 0 || c.StopGrace < 0:
		return fault.New(fault.Invalid, "config-invalid", "times must not be negative")
	case c.ModelSHA256 != "" && len(c.ModelSHA256) != 64:
		return fault.New(fault.Invalid, "config-invalid", "the model's SHA-256 must have 64 hexadecimal digits, but has %d", len(c.ModelSHA256))
	}
	return nil
}

func (c Config) orDefaults() Config {
	setDefault(&c.Workers, 2)
	setDefault(&c.MaxObjectBytes, 512<<20)
	setDefault(&c.MaxArchiveBytes, 4<<30)
	setDefault(&c.MaxArchiveMembers, 10_000)
	setDefault(&c.ListEvery, 5*time.Second)
	setDefault(&c.ReconcileEvery, 5*time.Minute)
	setDefault(&c.ReconcileAfter, 2*time.Minute)
	setDefault(&c.ManifestDeadline, time.Hour)
	setDefault(&c.StopGrace, 10*time.Second)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
