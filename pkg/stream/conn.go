package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/schemas"
)

const (
	// requestTimeout bounds a publish or API call whose context has no deadline of its own.
	requestTimeout = 10 * time.Second
	// answerTimeout is how long one publish waits for its answer; a synced write takes milliseconds.
	answerTimeout = 3 * time.Second
	// reconnectWait is between attempts to find the broker again; it goes on for ever, since workers have nothing else to do.
	reconnectWait = 500 * time.Millisecond
	// pingInterval and two missed answers find a dead link in 20 s rather than in the minutes of the defaults.
	pingInterval = 10 * time.Second
	// defaultConnectWait is how long Connect waits for a broker that is starting too.
	defaultConnectWait = 30 * time.Second
)

// InProcess is a NATS server in this process.
type InProcess interface {
	InProcessConn() (net.Conn, error)
}

// Config says where the broker is: InProcess, or URL.
type Config struct {
	URL       string // e.g. nats://host:4222; several, comma-separated, for a cluster
	InProcess InProcess
	// At most one of CredsFile, Token, User with Password, or credentials within the URL.
	CredsFile string
	Token     string
	User      string
	Password  string
	CAFile    string // certificate authority of the broker, when it is not one of the system's
	Name      string // shown in the broker's connection list, e.g. noctua-segment
	// ConnectWait is how long Connect tries; default 30 s.
	ConnectWait time.Duration
	Logger      *slog.Logger // default: none
}

// Validate says in a sentence what is wrong.
func (c Config) Validate() error {
	if c.URL == "" && c.InProcess == nil {
		return fault.New(fault.Invalid, "config-invalid", "the NATS address is missing; give it as nats://host:4222")
	}
	given := 0
	for _, set := range []bool{c.CredsFile != "", c.Token != "", c.User != ""} {
		if set {
			given++
		}
	}
	if given > 1 {
		return fault.New(fault.Invalid, "config-invalid", "more than one kind of NATS credentials is given; keep one of credentials file, token, user")
	}
	return nil
}

// Conn is a connection to JetStream. It reconnects for ever. It is safe for concurrent use.
type Conn struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	logger *slog.Logger
	closed chan struct{}

	restoring chan struct{} // holds one token while the topology is being restored

	mu       sync.Mutex
	topology *Topology // as last ensured
}

// Connect connects, waiting up to ConnectWait for the broker to come up.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Conn{logger: logger, closed: make(chan struct{}), restoring: make(chan struct{}, 1)}
	wait := cfg.ConnectWait
	if wait == 0 {
		wait = defaultConnectWait
	}
	deadline := time.Now().Add(wait)
	for {
		nc, err := nats.Connect(cfg.URL, c.options(cfg)...)
		if err == nil {
			c.nc = nc
			break
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			return nil, fault.Wrap(fault.Invalid, "queue-refused", err, "the NATS server refuses the credentials; check user, token or credentials file")
		}
		if time.Now().After(deadline) {
			return nil, fault.Wrap(fault.Transient, "queue-unavailable", err, "no NATS server answers at the configured address; start it or correct the address")
		}
		if err := pauseFor(ctx, reconnectWait); err != nil {
			return nil, err
		}
	}
	js, err := jetstream.New(c.nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		c.nc.Close()
		return nil, fault.Wrap(fault.Internal, "queue-unavailable", err, "opening JetStream")
	}
	c.js = js
	return c, nil
}

func (c *Conn) options(cfg Config) []nats.Option {
	options := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.RetryOnFailedConnect(false),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.logger.Warn("connection to the broker lost; reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { c.logger.Info("connection to the broker is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.logger.Warn("the broker reports an error", "error", err)
		}),
	}
	if cfg.InProcess != nil {
		options = append(options, nats.InProcessServer(cfg.InProcess))
	}
	if cfg.CredsFile != "" {
		options = append(options, nats.UserCredentials(cfg.CredsFile))
	}
	if cfg.Token != "" {
		options = append(options, nats.Token(cfg.Token))
	}
	if cfg.User != "" {
		options = append(options, nats.UserInfo(cfg.User, cfg.Password))
	}
	if cfg.CAFile != "" {
		options = append(options, nats.RootCAs(cfg.CAFile))
	}
	return options
}

// Close sends what is buffered and closes the connection; it waits until its goroutines are gone.
func (c *Conn) Close() {
	if c.nc.IsClosed() {
		return
	}
	if c.nc.IsConnected() {
		if err := c.nc.FlushTimeout(2 * time.Second); err != nil {
			c.logger.Warn("closing: the broker did not take the last messages", "error", err)
		}
	}
	c.nc.Close()
	<-c.closed
}

// Ready asks the broker whether JetStream answers and the main stream is there.
func (c *Conn) Ready(ctx context.Context) error {
	if _, err := c.js.Stream(ctx, StreamMain); err != nil {
		return c.fail(ctx, err, "asking for stream "+StreamMain)
	}
	return nil
}

// Publish checks the event against its schemas and publishes it. It returns nil only when the message is stored. Its
// message id is the event's id, so telling the same fact again within the window stores nothing.
func (c *Conn) Publish(ctx context.Context, e event.Envelope) error {
	return c.publishEvent(ctx, event.Subject(e.Type, e.Clinic), e)
}

// PublishTo is Publish for one addressee: the subject has its name behind the clinic, where only consumers that ask for it see it. name
// is a subject token.
func (c *Conn) PublishTo(ctx context.Context, name string, e event.Envelope) error {
	return c.publishEvent(ctx, event.Subject(e.Type, e.Clinic)+"."+name, e)
}

func (c *Conn) publishEvent(ctx context.Context, subject string, e event.Envelope) error {
	validator, err := schemas.Default()
	if err != nil {
		return fault.Wrap(fault.Internal, "schema-broken", err, "reading the schemas")
	}
	if err := validator.Validate(e.Type, e.Data); err != nil {
		return fault.Wrap(fault.Internal, "event-invalid", err, "publishing event %s", e.Type)
	}
	raw, err := event.Encode(e)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	msg := nats.NewMsg(subject)
	msg.Data = raw
	if e.Trace != "" {
		msg.Header.Set("traceparent", e.Trace)
	}
	return c.publish(ctx, msg, e.ID, "publishing event "+e.Type)
}

// publish stores a message; a stream that has vanished is restored first. An answer that does not come (a stream that was deleted
// or a leader that changed with the message in hand) is asked for again soon: the id makes that harmless.
func (c *Conn) publish(ctx context.Context, msg *nats.Msg, id, doing string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for {
		err := c.publishOnce(ctx, msg, id)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return c.fail(ctx, err, doing)
		case isMissing(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
			// Silence, too, may mean that the stream is gone: while it is being deleted its subjects still swallow messages.
			if err := c.restoreLater(ctx); err != nil {
				return err
			}
		default:
			return c.fail(ctx, err, doing)
		}
	}
}

func (c *Conn) publishOnce(ctx context.Context, msg *nats.Msg, id string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	// No retries of its own: it would wait for a stream that only restore brings back.
	_, err := c.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0))
	return err
}

// fail gives an error of NATS its kind. All that the broker answers may be otherwise a moment later, except refusals.
func (c *Conn) fail(ctx context.Context, err error, doing string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == 400 {
		return fault.Wrap(fault.Internal, "queue-refused", err, "%s: the broker refuses it", doing)
	}
	if errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fault.Wrap(fault.Internal, "queue-refused", err, "%s: the broker refuses it; check its permissions and that JetStream is enabled", doing)
	}
	return fault.Wrap(fault.Transient, "queue-unavailable", err, "%s: the broker cannot do it now", doing)
}

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
