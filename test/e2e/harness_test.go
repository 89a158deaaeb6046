package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/shared"
)

const (
	readyTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second // promised
	nightTimeout = 8 * time.Minute  // for 40 pictures on a busy machine of 2 cores
	pollInterval = 100 * time.Millisecond
)

// program is the path of the program under test, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "noctua-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "noctua")
	out, err := exec.Command("go", "build", "-o", path, "github.com/noctua-screening/noctua/cmd/noctua").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building noctua: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a running noctua.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *syncBuffer
	done chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs the program in the background. The test ends it if it is still there.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(path, args...), log: &syncBuffer{}, done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("log of noctua %s:\n%s", args[0], p.log)
		}
	})
	return p
}

// stop ends the process as an init system does and fails the test if that is not clean.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Fatalf("noctua did not stop cleanly: %v\n%s", err, p.log)
		}
	case <-time.After(stopTimeout):
		p.t.Fatalf("noctua did not stop within %v\n%s", stopTimeout, p.log)
	}
}

// kill ends the process as a power cut does.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
}

// command runs a client command to its end and returns its standard output.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), nightTimeout)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("noctua %s: %w: %s", args[0], err, errOut.String())
	}
	return out.String(), nil
}

func mustCommand(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually polls until check returns nil.
func eventually(t *testing.T, timeout time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(pollInterval)
	}
}

// noctua is a whole Noctua in one process, on a data folder.
type noctua struct {
	*process
	data  string
	web   string
	token string
}

// startAllInOne starts noctua run on the folder and waits until it is ready.
func startAllInOne(t *testing.T, data string, flags ...string) *noctua {
	t.Helper()
	endpointFile := filepath.Join(data, "endpoint.json")
	_ = os.Remove(endpointFile) // of an earlier start
	args := append([]string{"run", "--data", data, "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--quiet-period", "2s"}, flags...)
	n := &noctua{process: start(t, nil, args...), data: data}
	eventually(t, readyTimeout, "noctua run is not ready", func() error {
		select {
		case err := <-n.done:
			t.Fatalf("noctua run ended: %v\n%s", err, n.log)
		default:
		}
		if !strings.Contains(n.log.String(), "is ready") {
			return errors.New("it has not said so")
		}
		return nil
	})
	var e struct {
		WebURL string `json:"web_url"`
	}
	var s struct {
		Token string `json:"api_token"`
	}
	readJSON(t, endpointFile, &e)
	readJSON(t, filepath.Join(data, "secrets.json"), &s)
	n.web, n.token = e.WebURL, s.Token
	return n
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// get reads a path of the HTTP API.
func get(t *testing.T, web, token, path string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, web+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, raw
}

func getJSON(t *testing.T, web, token, path string, into any) {
	t.Helper()
	code, raw := get(t, web, token, path)
	if code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, code, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

// status reads the numbers of images by the client command.
func (n *noctua) status(flags ...string) record.Status {
	n.t.Helper()
	var s record.Status
	readStatus(n.t, mustCommand(n.t, append([]string{"status", "--data", n.data, "--json"}, flags...)...), &s)
	return s
}

func readStatus(t *testing.T, out string, into *record.Status) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// files lists the files below a folder of the embedded S3.
func (n *noctua) files(bucket string) []string {
	n.t.Helper()
	root := filepath.Join(n.data, "s3", "noctua-"+bucket)
	var found []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && !strings.Contains(path, ".sgwtmp") {
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(relative))
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return found
}

func clinicFolder(t *testing.T) string { return shared.Dir(t, "dicom", "clinic") }
