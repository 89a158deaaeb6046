package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	readyTimeout = 60 * time.Second // a machine that compiles at the same time is slow
	stopTimeout  = 15 * time.Second
	pollInterval = 10 * time.Millisecond
	// moduleName finds the repository's go.mod among others.
	moduleName = "module github.com/noctua-screening/noctua\n"
)

// Process is a server process.
type Process struct {
	t     testing.TB
	name  string
	path  string
	args  []string
	env   []string
	log   string // file
	ready func(context.Context) error

	cmd    *exec.Cmd
	exited chan struct{}
}

// NATS is a NATS server with JetStream, synced always.
type NATS struct {
	*Process
	URL string
}

// S3 is a versitygw over a folder.
type S3 struct {
	*Process
	Endpoint  string // host:port
	AccessKey string
	SecretKey string
}

// StartNATS builds and starts a NATS server and waits until it answers. It is stopped when the test ends.
func StartNATS(t testing.TB) *NATS {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("host: %s\nport: %s\nserver_name: test\njetstream {\n  store_dir: %q\n  sync_interval: always\n}\n",
		host, port, filepath.Join(dir, "store"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Process{
		t: t, name: "nats-server", path: tool(t, "nats-server"), args: []string{"-c", config},
		log: filepath.Join(dir, "nats.log"),
		ready: func(ctx context.Context) error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }() // only its greeting was wanted
			deadline, _ := ctx.Deadline()
			if err := conn.SetReadDeadline(deadline); err != nil {
				return err
			}
			greeting := make([]byte, 4096)
			n, err := conn.Read(greeting)
			if err == nil && !bytes.Contains(greeting[:n], []byte(`"jetstream":true`)) {
				err = errors.New("JetStream is not enabled yet")
			}
			return err
		},
	}
	p.start()
	t.Cleanup(p.Stop)
	return &NATS{Process: p, URL: "nats://" + address}
}

// StartS3 builds and starts a versitygw and waits until it answers. It is stopped when the test ends.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "objects")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := &S3{Endpoint: address, AccessKey: "noctua-test", SecretKey: "noctua-test-secret"}
	s.Process = &Process{
		t: t, name: "versitygw", path: tool(t, "versitygw"),
		args: []string{"--port", address, "--health", "/health", "--quiet", "posix", root},
		env:  []string{"ROOT_ACCESS_KEY_ID=" + s.AccessKey, "ROOT_SECRET_ACCESS_KEY=" + s.SecretKey},
		log:  filepath.Join(dir, "versitygw.log"),
		ready: func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/health", nil)
			if err != nil {
				return err
			}
			request.Close = true // no idle connection is left behind
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			if response.StatusCode != http.StatusOK {
				err = fmt.Errorf("health answers %s", response.Status)
			}
			return errors.Join(err, response.Body.Close())
		},
	}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

// Kill ends the process as kill -9 does, and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("killing %s: %v", p.name, err)
	}
	<-p.exited
	p.cmd = nil
}

// Stop ends the process in order, and by force if it does not go.
func (p *Process) Stop() {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("stopping %s: %v", p.name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.exited:
		p.cmd = nil
	case <-timer.C:
		p.t.Errorf("%s did not stop within %s", p.name, stopTimeout)
		p.Kill()
	}
}

// Restart starts a process that was killed or stopped, on the same address and data, and waits until it answers.
func (p *Process) Restart() {
	p.t.Helper()
	if p.cmd != nil {
		p.t.Fatalf("%s is still running", p.name)
	}
	p.start()
}

func (p *Process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A test binary that dies takes its servers with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // killed and stopped processes report their signal
		_ = log.Close()
	}()
	p.cmd, p.exited = cmd, exited
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := p.ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-exited:
			p.t.Fatalf("%s ended at once:\n%s", p.name, p.Log())
		case <-ctx.Done():
			p.t.Fatalf("%s is not ready after %s: %v\n%s", p.name, readyTimeout, err, p.Log())
		case <-ticker.C:
		}
	}
}

// Log returns what the process has written.
func (p *Process) Log() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// tool builds one of go.mod's tools, or takes it from Go's cache, and returns its path.
func tool(t testing.TB, name string) string {
	t.Helper()
	cmd := exec.Command("go", "tool", "-n", name)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// root finds the repository above the working directory.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(raw, []byte(moduleName)) {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("the repository's go.mod is not above the working directory; start the servers before the embedded ones change it")
		}
		dir = filepath.Dir(dir)
	}
}

// freeAddress returns a loopback address that was free a moment ago. The listener is closed before the server starts, so
// another process may take it in between; with thousands of ephemeral ports that has not been seen.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}
