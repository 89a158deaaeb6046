package e2e

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/hl7"
)

// ehr is a receiver of HL7 messages. While it is held up, it takes messages and acknowledges none.
type ehr struct {
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	held     bool
	conns    []net.Conn
	taken    int
	accepted []string // control ids
	bodies   []string
}

func newEHR(t *testing.T) *ehr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &ehr{listener: listener}
	e.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns = append(e.conns, conn)
			e.mu.Unlock()
			e.work.Go(func() { e.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		e.mu.Lock()
		for _, c := range e.conns {
			_ = c.Close()
		}
		e.mu.Unlock()
		e.work.Wait()
	})
	return e
}

func (e *ehr) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		// Messages are longer than answers may be only with a document, which there is none of.
		raw, err := hl7.ReadFrame(reader)
		if err != nil {
			return
		}
		id := strings.Split(strings.SplitN(string(raw), "\r", 2)[0], "|")[9]
		e.mu.Lock()
		e.taken++
		held := e.held
		if !held {
			e.accepted, e.bodies = append(e.accepted, id), append(e.bodies, string(raw))
		}
		e.mu.Unlock()
		if held {
			continue
		}
		if _, err := conn.Write(hl7.Frame([]byte("MSH|^~\\&|EHR||||||ACK|1|P|2.5.1\rMSA|AA|" + id + "\r"))); err != nil {
			return
		}
	}
}

func (e *ehr) hold(held bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = held
}

func (e *ehr) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.taken
}

// TestReportsGoOut kills Noctua while a receiver has a message that it does not acknowledge, and again later: in the end the receiver and a webhook
// have every version of every report, those of a report in order.
func TestReportsGoOut(t *testing.T) {
	t.Parallel()
	const patients = 4
	receiver := newEHR(t)
	receiver.hold(true)
	var mu sync.Mutex
	hooked := map[string]bool{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && !strings.Contains(string(body), "SecretID") {
			mu.Lock()
			hooked[r.Header.Get("Webhook-Id")] = true
			mu.Unlock()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(hook.Close)
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("whsec_"+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32)))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	flags := []string{"--hl7", "ehr=mllp://" + receiver.listener.Addr().String(), "--hl7-receiver", "ehr=EHR,HOSPITAL", "--webhook", "hook=" + hook.URL + "/x", "--webhook-secret-file", "hook=" + secretFile}
	submit := func(picture int) {
		t.Helper()
		folder := t.TempDir()
		for p := range patients {
			raw := dicomtest.Native().With(dicomtest.Elements{0x00080018: dicomtest.Text("UI", fmt.Sprintf("1.2.77.%d.%d", p, picture)), 0x0020000D: dicomtest.Text("UI", fmt.Sprintf("1.2.77.%d", p)),
				0x00100020: dicomtest.Text("LO", fmt.Sprintf("SecretID%d", p)), 0x00100010: dicomtest.Text("PN", "SecretName^Given")}).Encode(false)
			if err := os.WriteFile(filepath.Join(folder, strconv.Itoa(p)+".dcm"), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		mustCommand(t, "submit", folder, "--clinic", "north", "--data", data)
	}
	n := startAllInOne(t, data, flags...)
	submit(1)
	eventually(t, readyTimeout, "the receiver has a message", func() error {
		if receiver.count() == 0 {
			return errors.New("none yet")
		}
		return nil
	})
	n.kill()
	logs := n.log.String()
	n = startAllInOne(t, data, flags...)
	if s := n.status("--wait"); s.Done+s.Failed != patients { // screening does not wait for the receiver
		t.Errorf("%+v", s)
	}
	receiver.hold(false)
	submit(2)
	n.status("--wait")
	n.kill()
	logs += n.log.String()
	n = startAllInOne(t, data, flags...)
	n.status("--wait")
	waitFinal(t, n.web, n.token)
	var versions []string // report ids and numbers
	eventually(t, 3*time.Minute, "everything is sent", func() error {
		versions = nil
		for _, f := range n.files("reports") {
			if parts := strings.Split(f, "/"); strings.HasSuffix(f, "/report.json") && strings.Contains(f, "patients/") {
				versions = append(versions, parts[len(parts)-3]+" "+strings.TrimPrefix(parts[len(parts)-2], "v"))
			}
		}
		for _, e := range n.status().Exports {
			if e.Pending != 0 || e.Failed != 0 || e.Sent != len(versions) {
				return fmt.Errorf("%d versions, %+v", len(versions), e)
			}
		}
		return nil
	})
	logs += n.log.String()
	n.stop()
	if len(versions) < 2*patients {
		t.Errorf("only %d versions", len(versions))
	}
	mu.Lock()
	defer mu.Unlock()
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	first := map[string]int{} // where a version was accepted first
	for i, id := range receiver.accepted {
		if _, ok := first[id]; !ok {
			first[id] = i
		}
	}
	at := func(report string, version int) (int, bool) {
		i, ok := first[hl7.ControlID(report, version)]
		return i, ok
	}
	for _, v := range versions {
		report, number, _ := strings.Cut(v, " ")
		version, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		here, ok := at(report, version)
		if before, had := at(report, version-1); !ok || version > 1 && (!had || before > here) {
			t.Errorf("version %d of %s: received %v, after the one before: %v", version, report, ok, before < here)
		}
		if !hooked["msg_"+report+"_v"+number] {
			t.Errorf("nothing was told of version %d of %s", version, report)
		}
	}
	if len(first) != len(versions) || len(hooked) != len(versions) {
		t.Errorf("%d versions, %d messages, %d hooks", len(versions), len(first), len(hooked))
	}
	if !slices.ContainsFunc(receiver.bodies, func(b string) bool {
		return strings.Contains(b, "SecretID1") && strings.Contains(b, "|SecretName^Given")
	}) {
		t.Error("no message is about patient 1")
	}
	if strings.Contains(logs, "Secret") {
		t.Error("the log holds a patient's data")
	}
}
