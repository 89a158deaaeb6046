package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
)

const (
	// DefaultS3Listen is the S3 server's address. Loopback: who wants it on the network says so.
	DefaultS3Listen = "127.0.0.1:9090"
	// Region is what S3 clients sign for.
	Region = "us-east-1"

	startTimeout = 30 * time.Second // a JetStream folder with a month of messages is recovered by then
	dirMode      = 0o700            // patient data
	// maxS3Connections and maxS3Requests bound what clients can make the process hold; each request holds about 1 MiB of buffers.
	maxS3Connections = 1024
	maxS3Requests    = 256
	maxParts         = 10_000 // S3's own limit
)

// Config says where the servers keep their state and listen.
type Config struct {
	DataDir      string // state: nats/, s3/ and, where the file system has no extended attributes, meta-s3/
	S3Listen     string // default 127.0.0.1:9090; port 0 takes a free one
	NATSListen   string // default none: NATS is reachable within the process alone. For debugging, e.g. 127.0.0.1:4222
	AccessKey    string
	SecretKey    string
	BucketPrefix string // default noctua-
	// ForceSidecar keeps object attributes in meta-s3/ even where the file system could hold them.
	ForceSidecar bool
	Logger       *slog.Logger // default: none
	Clock        func() time.Time

	sync func(*os.File) error // default (*os.File).Sync; tests watch it, break it, or leave it out
}

// Validate says in a sentence what is wrong.
func (c Config) Validate() error {
	if c.DataDir == "" {
		return fault.New(fault.Invalid, "config-invalid", "the data folder is missing; name one with --data")
	}
	if c.AccessKey == "" || len(c.SecretKey) < 8 {
		return fault.New(fault.Invalid, "config-invalid", "the embedded S3 server needs an access key and a secret key of at least 8 letters")
	}
	if c.S3Listen != "" {
		if _, _, err := net.SplitHostPort(c.S3Listen); err != nil {
			return fault.Wrap(fault.Invalid, "config-invalid", err, "the S3 address %q should be host:port", c.S3Listen)
		}
	}
	return nil
}

// Servers are the running servers.
type Servers struct {
	// Endpoint is the S3 server's host:port.
	Endpoint string
	// Queue is the NATS server, for stream.Config.InProcess.
	Queue stream.InProcess

	logger   *slog.Logger
	nats     *natsserver.Server
	conn     *stream.Conn
	wake     *notifier
	stopS3   context.CancelFunc
	s3Done   chan error
	failed   chan error
	previous string // working directory before
	closing  sync.Once
	closeErr error
}

// Start starts both servers and returns when they answer, within a second on an idle machine. What it started is stopped again when it fails.
func Start(ctx context.Context, cfg Config) (*Servers, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.S3Listen == "" {
		cfg.S3Listen = DefaultS3Listen
	}
	if cfg.sync == nil {
		cfg.sync = (*os.File).Sync
	}
	dataDir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "data-folder", err, "finding the data folder %s", cfg.DataDir)
	}
	previous, err := os.Getwd()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "working-directory", err, "finding the working directory")
	}
	s := &Servers{logger: cfg.Logger, previous: previous, s3Done: make(chan error, 1), failed: make(chan error, 1)}
	if err := s.start(ctx, cfg, dataDir); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Servers) start(ctx context.Context, cfg Config, dataDir string) error {
	// Refused before anything is written: a second program on the port is the commonest mistake.
	address, err := freeAddress(ctx, cfg.S3Listen)
	if err != nil {
		return err
	}
	s.Endpoint = address
	if err := s.startNATS(ctx, cfg, filepath.Join(dataDir, "nats")); err != nil {
		return err
	}
	s.conn, err = stream.Connect(ctx, stream.Config{InProcess: s.nats, Name: "noctua-s3", Logger: cfg.Logger})
	if err != nil {
		return fmt.Errorf("connecting the embedded S3 server to the embedded NATS server: %w", err)
	}
	if err := s.conn.EnsureTopology(ctx, stream.DefaultTopology()); err != nil {
		return fmt.Errorf("preparing the embedded NATS server: %w", err)
	}
	s.wake = newNotifier(ctx, s.conn, cfg.Clock, cfg.Logger)
	return s.startS3(ctx, cfg, dataDir)
}

func (s *Servers) startNATS(ctx context.Context, cfg Config, dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fault.Wrap(fault.Invalid, "data-folder", err, "the folder %s cannot be made; choose another data folder", dir)
	}
	options := &natsserver.Options{
		ServerName: "noctua-embedded", DontListen: true, NoSigs: true, NoSystemAccount: false,
		JetStream: true, StoreDir: dir,
		// A message that was acknowledged survives the loss of power.
		SyncAlways: true,
	}
	if cfg.NATSListen != "" {
		host, port, err := listenPort(cfg.NATSListen)
		if err != nil {
			return err
		}
		options.DontListen, options.Host, options.Port = false, host, port
	}
	server, err := natsserver.NewServer(options)
	if err != nil {
		return fault.Wrap(fault.Internal, "nats-start", err, "the embedded NATS server cannot be made")
	}
	server.SetLoggerV2(natsLog{cfg.Logger}, false, false, false)
	s.nats, s.Queue = server, server
	server.Start()
	deadline := startTimeout
	if d, ok := ctx.Deadline(); ok {
		deadline = min(deadline, time.Until(d))
	}
	if !server.ReadyForConnections(deadline) {
		return fault.New(fault.Internal, "nats-start", "the embedded NATS server was not ready after %s; look into the log and at the folder %s", deadline, dir)
	}
	return nil
}

func (s *Servers) startS3(ctx context.Context, cfg Config, dataDir string) error {
	backend, err := openBackend(cfg, dataDir, s.wake)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopS3 = stop
	listening := make(chan struct{})
	done := s.s3Done
	go func() {
		done <- embedgw.RunVersityGW(run, backend, &embedgw.Config{
			RootUserAccess: cfg.AccessKey, RootUserSecret: cfg.SecretKey, Region: Region,
			IAMService: auth.NewIAMServiceSingle(auth.Account{Access: cfg.AccessKey, Secret: cfg.SecretKey, Role: auth.RoleAdmin}),
			Ports:      []string{s.Endpoint}, MaxConnections: maxS3Connections, MaxRequests: maxS3Requests,
			MultipartMaxParts: maxParts, Quiet: true, DisableACLs: true,
			// versitygw leaves bytes of an empty chunked body unread, and so takes them for the next request on the connection.
			KeepAlive: false,
			S3Options: []s3api.Option{s3api.WithOnListen(func() { close(listening) })},
		})
		close(done)
	}()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-listening:
		return nil
	case err := <-done:
		return fault.Wrap(fault.Internal, "s3-start", err, "the embedded S3 server cannot start on %s", s.Endpoint)
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fault.New(fault.Internal, "s3-start", "the embedded S3 server was not ready after %s", startTimeout)
	}
}

// Run waits until ctx is cancelled, then returns nil; it returns an error when a server dies before. Close remains to be called.
func (s *Servers) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.s3Done:
		return fault.Wrap(fault.Internal, "s3-died", err, "the embedded S3 server ended by itself; start Noctua again")
	}
}

// Close stops the S3 server, then NATS, and gives the working directory back. It may be called more than once.
func (s *Servers) Close() error {
	s.closing.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Servers) close() error {
	var problems []error
	if s.stopS3 != nil {
		s.stopS3()
		for err := range s.s3Done { // closed by its goroutine
			if err != nil && !errors.Is(err, context.Canceled) {
				problems = append(problems, fmt.Errorf("stopping the embedded S3 server: %w", err))
			}
		}
	}
	if s.wake != nil {
		s.wake.close()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	if err := os.Chdir(s.previous); err != nil {
		problems = append(problems, fmt.Errorf("going back to the working directory: %w", err))
	}
	return errors.Join(problems...)
}

// freeAddress proves that an address can be listened on, and turns port 0 into a free port.
func freeAddress(ctx context.Context, listen string) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", fault.Wrap(fault.Invalid, "address-in-use", err, "another program listens on %s, maybe another Noctua; stop it or choose another S3 address, e.g. 127.0.0.1:9190", listen)
	}
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "address-unusable", err, "the S3 server cannot listen on %s; choose another address", listen)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", fault.Wrap(fault.Internal, "address-unusable", err, "letting go of %s", listen)
	}
	return address, nil
}

func listenPort(listen string) (string, int, error) {
	address, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return "", 0, fault.Wrap(fault.Invalid, "config-invalid", err, "the NATS address %q should be host:port", listen)
	}
	if address.Port == 0 {
		address.Port = natsserver.RANDOM_PORT
	}
	return address.IP.String(), address.Port, nil
}

// buckets returns the bucket names under the configured prefix.
func (c Config) buckets() blob.Buckets { return blob.BucketsOf(c.BucketPrefix) }
