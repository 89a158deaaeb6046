// Package streamtest runs a NATS server with JetStream within the test process, for tests of what uses pkg/stream.
package streamtest

import (
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/noctua-screening/noctua/pkg/stream"
)

const readyTimeout = 30 * time.Second

// Server is a NATS server in the test process, with a file store and SyncAlways, reachable in process only.
type Server struct {
	t   testing.TB
	dir string
	srv atomic.Pointer[natsserver.Server] // reconnecting clients read it while a Restart sets it
}

// Start starts a server; it is stopped when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: filepath.Join(t.TempDir(), "nats")}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

// Connect starts a server and returns a connection to it with the default topology. Both end with the test.
func Connect(t testing.TB) *stream.Conn {
	t.Helper()
	return Start(t).Connect(stream.DefaultTopology())
}

// Connect returns a connection with a topology; it is closed when the test ends, before the server is.
func (s *Server) Connect(topology stream.Topology) *stream.Conn {
	s.t.Helper()
	conn, err := stream.Connect(s.t.Context(), stream.Config{InProcess: s, Name: s.t.Name()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	if err := conn.EnsureTopology(s.t.Context(), topology); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// InProcessConn connects to the server that runs at the moment, so that connections survive a Restart.
func (s *Server) InProcessConn() (net.Conn, error) {
	return s.srv.Load().InProcessConn()
}

// Stop stops the server.
func (s *Server) Stop() {
	s.srv.Load().Shutdown()
	s.srv.Load().WaitForShutdown()
}

// Restart stops the server and starts it again on the same store.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// Wipe stops the server, removes all it has stored, and starts it again.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Stop()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

func (s *Server) start() {
	s.t.Helper()
	srv, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "test", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: s.dir, SyncAlways: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(readyTimeout) {
		s.t.Fatal("the NATS server is not ready")
	}
	s.srv.Store(srv)
}
