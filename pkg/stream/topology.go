package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Names of the streams, of the consumers and of the key-value bucket.
const (
	StreamMain   = "NOCTUA"
	StreamDead   = "NOCTUA_DEAD"
	DeadRoot     = "noctua-dead" // outside noctua.>, so that no consumer of the main stream ever sees a dead letter
	BucketExcuse = "NOCTUA_EXCUSED"

	ConsumerIngest  = "ingest"  // wake-ups of the inbox
	ConsumerSegment = "segment" // accepted images
	ConsumerReport  = "report"  // everything about images, studies and quarantine
	ConsumerRelease = "release" // decisions about files in quarantine
)

const (
	// defaultMaxAge bounds the stream: what no consumer has handled in 30 days is found again by reconciliation.
	defaultMaxAge = 30 * 24 * time.Hour
	// defaultDeadMaxAge is longer, so that a dead letter of a long holiday is still there.
	defaultDeadMaxAge = 90 * 24 * time.Hour
	// defaultDuplicates is the window in which JetStream drops a second message of one id. It is held in memory, so short;
	// long-term idempotency is the result key in the bucket.
	defaultDuplicates = 10 * time.Minute
	// maxMessageBytes: an event is below 4 KiB; anything larger is a mistake that should be seen at once.
	maxMessageBytes = 64 << 10
	// DefaultAckWait is how long JetStream waits for a sign of life of a handler before it delivers a message again.
	DefaultAckWait = 30 * time.Second
	// maxAckPending bounds what is handed out at once over all workers of a consumer; above any number of slots in use.
	maxAckPending = 10_000
)

// StreamSpec is a stream. Retention is always by limits (age), in files: a stream can be replayed and looked into.
type StreamSpec struct {
	Name       string
	Subjects   []string
	MaxAge     time.Duration
	Duplicates time.Duration
}

// ConsumerSpec is a durable pull consumer. Deliveries are not limited by JetStream: the worker runtime counts attempts,
// since JetStream's own limit drops messages silently and counts interruptions.
type ConsumerSpec struct {
	Name     string
	Stream   string
	Subjects []string
	AckWait  time.Duration // default 30 s; a Worker's AckWait must be the same
	// AckAll makes an acknowledgement cover all messages before it. For wake-ups only.
	AckAll bool
	// FromNow starts a new consumer at the present; others start with the oldest message there is. For what is found otherwise.
	FromNow bool
	// InOrder hands out one message at a time: none before the one ahead of it is settled, over retries, restarts and all workers.
	InOrder bool
}

// ExportConsumer is the consumer of an archive that results are sent to: the results of clinics (none: of all), and what is asked for by
// PublishTo(name). It starts at the present, since asking for older results is up to a person. name is 1 to 32 small letters,
// digits and hyphens.
func ExportConsumer(name string, clinics []string) ConsumerSpec {
	if len(clinics) == 0 {
		clinics = []string{"*"}
	}
	spec := ConsumerSpec{Name: exportPrefix + name, Stream: StreamMain, FromNow: true}
	for _, clinic := range clinics {
		spec.Subjects = append(spec.Subjects, event.Subject(event.TypeImageSegmented, clinic))
	}
	spec.Subjects = append(spec.Subjects, event.Subject(event.TypeExportRequested, "*")+"."+name)
	return spec
}

// ReceiverConsumer is the consumer of a receiver of reports: the versions that are issued for clinics (none: for all), and what is asked for by
// PublishTo(name), one after the other. It starts at the present, like ExportConsumer.
func ReceiverConsumer(name string, clinics []string) ConsumerSpec {
	if len(clinics) == 0 {
		clinics = []string{"*"}
	}
	spec := ConsumerSpec{Name: receiverPrefix + name, Stream: StreamMain, FromNow: true, InOrder: true}
	for _, clinic := range clinics {
		spec.Subjects = append(spec.Subjects, event.Subject(event.TypeReportIssued, clinic))
	}
	spec.Subjects = append(spec.Subjects, event.Subject(event.TypeDeliveryRequested, "*")+"."+name)
	return spec
}

// What names of consumers of archives, and of receivers of reports, begin with.
const (
	exportPrefix   = "export-"
	receiverPrefix = "receiver-"
)

// Topology is everything that Noctua needs in JetStream, as data.
type Topology struct {
	Replicas  int // 1 on one server, 3 on a cluster
	Streams   []StreamSpec
	Consumers []ConsumerSpec
	// ExcuseTTL is how long excused attempts are remembered; as long as messages live.
	ExcuseTTL time.Duration
}

// DefaultTopology returns Noctua's topology.
func DefaultTopology() Topology {
	return Topology{
		Replicas: 1,
		Streams: []StreamSpec{
			{Name: StreamMain, Subjects: []string{event.SubjectRoot + ".>"}, MaxAge: defaultMaxAge, Duplicates: defaultDuplicates},
			{Name: StreamDead, Subjects: []string{DeadRoot + ".>"}, MaxAge: defaultDeadMaxAge, Duplicates: defaultDuplicates},
		},
		Consumers: []ConsumerSpec{
			{Name: ConsumerIngest, Stream: StreamMain, Subjects: []string{event.Subject(event.TypeInboxChanged, "*")}, AckAll: true, FromNow: true},
			{Name: ConsumerSegment, Stream: StreamMain, Subjects: []string{event.Subject(event.TypeImageAccepted, "*")}},
			{Name: ConsumerReport, Stream: StreamMain, Subjects: []string{event.SubjectRoot + ".image.*.*", event.SubjectRoot + ".quarantine.*.*", event.SubjectRoot + ".study.*.*"}},
			{Name: ConsumerRelease, Stream: StreamMain, Subjects: []string{event.Subject(event.TypeQuarantineDecided, "*")}},
		},
		ExcuseTTL: defaultMaxAge,
	}
}

// streamOf returns the stream of a consumer, or "".
func (t Topology) consumer(name string) (ConsumerSpec, bool) {
	for _, c := range t.Consumers {
		if c.Name == name {
			return c, true
		}
	}
	return ConsumerSpec{}, false
}

func (t Topology) replicas() int {
	if t.Replicas < 1 {
		return 1
	}
	return t.Replicas
}

// EnsureTopology creates what is missing and updates what differs. It is idempotent and may run in many processes at once;
// messages and consumer positions are kept. The connection remembers the topology and restores it when a stream or
// consumer vanishes while it is running.
func (c *Conn) EnsureTopology(ctx context.Context, t Topology) error {
	c.mu.Lock()
	c.topology = &t
	c.mu.Unlock()
	return c.restore(ctx)
}

func (c *Conn) restore(ctx context.Context) error {
	// One at a time within the process: the slots of a worker see a loss together.
	select {
	case c.restoring <- struct{}{}:
		defer func() { <-c.restoring }()
	case <-ctx.Done():
		return c.fail(ctx, ctx.Err(), "creating the streams")
	}
	c.mu.Lock()
	t := c.topology
	c.mu.Unlock()
	if t == nil {
		return fault.New(fault.Internal, "topology-unknown", "the streams are missing and this connection does not know them; call EnsureTopology first")
	}
	for _, s := range t.Streams {
		_, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: s.Name, Subjects: s.Subjects,
			Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld,
			MaxAge: s.MaxAge, Duplicates: s.Duplicates, MaxMsgSize: maxMessageBytes, Replicas: t.replicas(),
		})
		if err != nil {
			return c.fail(ctx, err, "creating stream "+s.Name)
		}
	}
	for _, spec := range t.Consumers {
		cfg := jetstream.ConsumerConfig{
			Durable: spec.Name, FilterSubjects: spec.Subjects, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: spec.AckWait, MaxDeliver: -1, MaxAckPending: maxAckPending,
			DeliverPolicy: jetstream.DeliverAllPolicy, ReplayPolicy: jetstream.ReplayInstantPolicy,
		}
		if cfg.AckWait == 0 {
			cfg.AckWait = DefaultAckWait
		}
		if spec.AckAll {
			cfg.AckPolicy = jetstream.AckAllPolicy
		}
		if spec.InOrder {
			cfg.MaxAckPending = 1
		}
		if spec.FromNow {
			cfg.DeliverPolicy = jetstream.DeliverNewPolicy
		}
		if _, err := c.js.CreateOrUpdateConsumer(ctx, spec.Stream, cfg); err != nil {
			return c.fail(ctx, err, "creating consumer "+spec.Name)
		}
	}
	_, err := c.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: BucketExcuse, Description: "attempts that do not count: interruptions and outages",
		History: 1, TTL: t.ExcuseTTL, Storage: jetstream.FileStorage, Replicas: t.replicas(),
	})
	if err != nil {
		return c.fail(ctx, err, "creating key-value bucket "+BucketExcuse)
	}
	return nil
}

// Lag is what a consumer has before it.
type Lag struct {
	Pending    int // messages not delivered yet
	AckPending int // delivered and not acknowledged
}

// Idle tells that nothing is before the consumer.
func (l Lag) Idle() bool { return l.Pending == 0 && l.AckPending == 0 }

// Lag asks for a consumer's lag. The broker counts a stored message for its consumers a moment (milliseconds) after it has
// confirmed it, so whoever publishes and asks at once may miss the last messages: ask twice before taking idleness for the end.
func (c *Conn) Lag(ctx context.Context, consumer string) (Lag, error) {
	handle, err := c.handle(ctx, consumer)
	if err != nil {
		return Lag{}, err
	}
	info, err := handle.Info(ctx)
	if err != nil {
		return Lag{}, c.fail(ctx, err, "asking for the lag of consumer "+consumer)
	}
	return Lag{Pending: int(info.NumPending), AckPending: info.NumAckPending}, nil
}

// restorePause lets a deletion come to its end first: nats-server 2.15.2 leaves a stream that is made again while it is being
// deleted in a state in which it exists and never answers.
const restorePause = 500 * time.Millisecond

// restoreLater restores what has vanished while we were running.
func (c *Conn) restoreLater(ctx context.Context) error {
	if err := pauseFor(ctx, restorePause); err != nil {
		return c.fail(ctx, err, "creating the streams")
	}
	return c.restore(ctx)
}

// handle returns the consumer, restoring the topology if it has vanished.
func (c *Conn) handle(ctx context.Context, consumer string) (jetstream.Consumer, error) {
	c.mu.Lock()
	t := c.topology
	c.mu.Unlock()
	stream := StreamMain
	if t != nil {
		spec, ok := t.consumer(consumer)
		if !ok {
			return nil, fault.New(fault.Internal, "consumer-unknown", "the consumer %s is not in the topology", consumer)
		}
		stream = spec.Stream
	}
	handle, err := c.js.Consumer(ctx, stream, consumer)
	if isMissing(err) {
		if err := c.restoreLater(ctx); err != nil {
			return nil, err
		}
		handle, err = c.js.Consumer(ctx, stream, consumer)
	}
	if err != nil {
		return nil, c.fail(ctx, err, "opening consumer "+consumer)
	}
	return handle, nil
}

// isMissing tells that a stream or consumer is not there.
func isMissing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.Is(err, jetstream.ErrConsumerDoesNotExist) || errors.Is(err, jetstream.ErrConsumerDeleted) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrBucketNotFound)
}
