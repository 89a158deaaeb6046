package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

const (
	readyTimeout = 2 * time.Minute // a machine that compiles at the same time is slow
	stopTimeout  = 30 * time.Second
	pollInterval = 20 * time.Millisecond
	superuser    = "noctua"
	// Password of the cluster's only user.
	Password = "a password / for: tests@%"
)

// Server is a PostgreSQL server of a test.
type Server struct {
	t         testing.TB
	folder    string // socket, data and log
	databases atomic.Int64
}

// Start makes a cluster, starts its server and waits until it answers. It is stopped and removed when the test ends. Without PostgreSQL the test is
// skipped; where CI is true, it fails.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED ON POSTGRESQL: %v", err)
	}
	// Not in the test's own folder: the user postgres may not look into what root's tests made.
	folder, err := os.MkdirTemp("", "noctua-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Errorf("removing the cluster: %v", err)
		}
	})
	s := &Server{t: t, folder: folder}
	secret := filepath.Join(folder, "password")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	owner := s.owner(folder, secret)
	initdb := s.command(owner, filepath.Join(bin, "initdb"), "--pgdata", s.data(), "--username", superuser, "--auth", "scram-sha-256", "--pwfile", secret,
		// The site's locale, whose order of texts is not that of bytes.
		"--encoding", "UTF8", "--locale-provider", "icu", "--icu-locale", "en", "--locale", "C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("making a cluster: %v\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the server has its own
	server := s.command(owner, filepath.Join(bin, "postgres"), "-D", s.data(), "-k", folder, "-h", "",
		"-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=64MB")
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = server.Wait() // a stopped server reports its signal
	}()
	t.Cleanup(func() { s.stop(server.Process, exited) })
	s.wait(exited)
	return s
}

// binaries finds the newest PostgreSQL of Debian's packages, or the one on the path.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is no number
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("there is no PostgreSQL here; install Debian's package postgresql (make test-deps)")
	}
	return filepath.Dir(path), nil
}

// owner gives the files to the user as whom the server runs: PostgreSQL refuses root. nil: whoever runs the test.
func (s *Server) owner(files ...string) *syscall.Credential {
	s.t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		s.t.Fatalf("PostgreSQL does not run as root, and there is no other user for it: %v", err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Chown(file, int(uid), int(gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *Server) command(as *syscall.Credential, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = s.folder
	// A test binary that dies takes its server with it. SIGQUIT lets it remove its shared memory.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) wait(exited <-chan struct{}) {
	s.t.Helper()
	db := s.open("postgres")
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return
		}
		select {
		case <-exited:
			s.t.Fatalf("PostgreSQL ended at once:\n%s", s.Log())
		case <-ctx.Done():
			s.t.Fatalf("PostgreSQL is not ready after %s: %v\n%s", readyTimeout, err, s.Log())
		case <-ticker.C:
		}
	}
}

// stop ends the server in order, whoever is still connected, and by force if it does not go.
func (s *Server) stop(process *os.Process, exited <-chan struct{}) {
	if err := process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("stopping PostgreSQL: %v", err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-exited:
	case <-timer.C:
		s.t.Errorf("PostgreSQL did not stop within %s", stopTimeout)
		_ = process.Signal(syscall.SIGQUIT) // it is going anyway
		<-exited
	}
}

// Log returns what the server has written.
func (s *Server) Log() string {
	raw, err := os.ReadFile(filepath.Join(s.folder, "log"))
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(raw))
}

// Database makes an empty database and returns its address without the password.
func (s *Server) Database() string {
	s.t.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	db := s.open("postgres")
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(context.Background(), `CREATE DATABASE `+name); err != nil {
		s.t.Fatalf("making a database: %v", err)
	}
	return s.address(name)
}

func (s *Server) address(name string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + name, RawQuery: url.Values{"host": {s.folder}}.Encode()}
	return u.String()
}

// WithPassword is an address with the password in it.
func WithPassword(address string) string {
	return strings.Replace(address, superuser+"@", url.UserPassword(superuser, Password).String()+"@", 1)
}

// Open connects to a database. It is closed when the test ends.
func Open(t testing.TB, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", WithPassword(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func (s *Server) open(name string) *sql.DB {
	s.t.Helper()
	db, err := sql.Open("pgx", WithPassword(s.address(name)))
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}
