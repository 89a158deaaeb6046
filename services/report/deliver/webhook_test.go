package deliver_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/deliver"
	"github.com/noctua-screening/noctua/services/report/export"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

// call is what a hook's server got.
type call struct {
	header http.Header
	body   string
}

// hooks is a server that does as it is told.
type hooks struct {
	*httptest.Server
	mu    sync.Mutex
	next  []func(http.ResponseWriter, *http.Request)
	calls []call
	taken map[string]int // message ids that were answered by 204
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{taken: map[string]int{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		h.calls = append(h.calls, call{r.Header.Clone(), string(body)})
		answer := func(w http.ResponseWriter, _ *http.Request) {
			h.mu.Lock()
			h.taken[r.Header.Get("Webhook-Id")]++
			h.mu.Unlock()
			w.WriteHeader(http.StatusNoContent)
		}
		if len(h.next) > 0 {
			answer, h.next = h.next[0], h.next[1:]
		}
		h.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) receiver(name string) deliver.Receiver {
	return deliver.Receiver{Name: name, Kind: record.ReceiverWebhook, Address: h.URL + "/hook?key=SecretKey", Secrets: [][]byte{secret}}
}

func (h *hooks) seen() []call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]call(nil), h.calls...)
}

// verify checks a call as docs/hl7.md tells receivers to.
func verify(t *testing.T, c call, secret []byte) {
	t.Helper()
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(c.header.Get("Webhook-Id") + "." + c.header.Get("Webhook-Timestamp") + "." + c.body))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !strings.Contains(" "+c.header.Get("Webhook-Signature")+" ", " "+want+" ") {
		t.Errorf("signature %q, want %q", c.header.Get("Webhook-Signature"), want)
	}
	seconds, err := strconv.ParseInt(c.header.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		t.Errorf("timestamp %q", c.header.Get("Webhook-Timestamp"))
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	r := h.receiver("hook")
	other := []byte("ffffffffffffffffffffffffffffffff")
	r.Secrets = append(r.Secrets, other)
	w := newWorld(t, r)
	s, _ := w.start()
	w.issue(study{1, 1}, 1)
	w.issue(study{1, 1}, 2)
	w.settled(s, "hook", 2, 0)
	calls := h.seen()
	if len(calls) != 2 {
		t.Fatalf("%d calls", len(calls))
	}
	for n, c := range calls {
		verify(t, c, secret)
		verify(t, c, other)
		var body map[string]any
		if err := json.Unmarshal([]byte(c.body), &body); err != nil {
			t.Fatal(err)
		}
		data, _ := body["data"].(map[string]any)
		links, _ := data["links"].(map[string]any)
		if body["type"] != "report.issued" || data["report_id"] != (study{1, 1}).report() || data["version"] != float64(n+1) || data["status"] != "final" || data["clinic"] != "north" ||
			links["report"] != "https://noctua.example/api/reports/"+(study{1, 1}).report()+"?version="+strconv.Itoa(n+1) {
			t.Errorf("%s", c.body)
		}
		if strings.Contains(c.body, "Secret") || strings.Contains(c.body, "1.2.826") || strings.Contains(c.body, study{1, 1}.patient()) || strings.Contains(c.body, "1950") {
			t.Errorf("the webhook tells of the patient: %s", c.body)
		}
		if got := c.header.Get("Webhook-Id"); got != "msg_"+(study{1, 1}).report()+"_v"+strconv.Itoa(n+1) {
			t.Errorf("id %s", got)
		}
	}
	if n := w.notes("hook", "sent.json"); n[0].Answer != "204" {
		t.Errorf("noted %+v", n[0])
	}
	judgeSignature(t, calls[0])
}

// judgeSignature lets the specification's own library check a call.
func judgeSignature(t *testing.T, c call) {
	t.Helper()
	python := os.Getenv("PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import standardwebhooks").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("standardwebhooks is missing under CI: %v %s", err, out)
		}
		t.Logf("SKIPPED, NOT RUN: %s has no standardwebhooks; pip install standardwebhooks, and name the interpreter by PYTHON", python)
		return
	}
	code := `import json, sys
from standardwebhooks.webhooks import Webhook
c = json.load(sys.stdin)
Webhook(c["secret"]).verify(c["body"], c["headers"])
try:
    Webhook(c["secret"]).verify(c["body"] + " ", c["headers"])
except Exception:
    sys.exit(0)
sys.exit("a changed body passes")`
	command := exec.Command(python, "-c", code)
	input, err := json.Marshal(map[string]any{"secret": "whsec_" + base64.StdEncoding.EncodeToString(secret), "body": c.body, "headers": map[string]string{
		"webhook-id": c.header.Get("Webhook-Id"), "webhook-timestamp": c.header.Get("Webhook-Timestamp"), "webhook-signature": c.header.Get("Webhook-Signature")}})
	if err != nil {
		t.Fatal(err)
	}
	command.Stdin = strings.NewReader(string(input))
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("standardwebhooks refuses it: %v %s", err, out)
	}
}

// TestWebhookThatMisbehaves: what is no 2xx is tried again under the same id, with the same body; nothing but the address itself is called.
func TestWebhookThatMisbehaves(t *testing.T) {
	t.Parallel()
	elsewhere := newHooks(t)
	h := newHooks(t)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	h.next = []func(http.ResponseWriter, *http.Request){
		status(500), status(429), status(401), status(404),
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, _ *http.Request) { // more headers than any answer has
			for i := range 2000 {
				w.Header().Set("X-"+strconv.Itoa(i), strings.Repeat("x", 100))
			}
		},
		func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
		status(400), // counts
		func(w http.ResponseWriter, _ *http.Request) { // a long answer is an answer
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write([]byte(strings.Repeat("Secret", 1<<20)))
		},
	}
	w := newWorld(t, h.receiver("hook"))
	w.cfg.AnswerTimeout = time.Nanosecond // the hanging one is left after the time for connecting, 10 s
	s, _ := w.start()
	w.issue(study{1, 1}, 1)
	w.settled(s, "hook", 1, 0)
	calls := h.seen()
	if len(calls) != 10 {
		t.Errorf("%d calls", len(calls))
	}
	for _, c := range calls {
		verify(t, c, secret)
		if c.body != calls[0].body || c.header.Get("Webhook-Id") != calls[0].header.Get("Webhook-Id") {
			t.Errorf("another attempt is another message: %v", c)
		}
	}
	if len(elsewhere.seen()) != 0 {
		t.Error("a redirect was followed")
	}
	if strings.Contains(w.log.String(), "/hook") {
		t.Errorf("the log holds the address:\n%s", w.log.String())
	}
}

// TestWebhookRefusesOne: 4xx is tried a few times, then failed; 410 stops all, over a restart, until a person asks.
func TestWebhookRefusesAndStops(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	h.next = []func(http.ResponseWriter, *http.Request){status(422), status(422), status(422), status(410)}
	w := newWorld(t, h.receiver("hook"))
	s, stop := w.start()
	w.issue(study{1, 1}, 1)
	w.issue(study{2, 1}, 1)
	w.eventually("it is stopped", func() bool { return w.status(s, "hook").Code == deliver.CodeGone })
	if n := w.notes("hook", "failed.json"); len(n) != 1 || n[0].Code != deliver.CodeErrors || n[0].Answer != "422" || n[0].Attempts != 3 {
		t.Errorf("noted %+v", n)
	}
	stop()
	s, _ = w.start()
	w.issue(study{3, 1}, 1)
	w.eventually("it is still stopped", func() bool {
		e := w.status(s, "hook")
		return e.Code == deliver.CodeGone && e.Pending >= 2 && e.Failed == 1
	})
	if _, err := s.Request(t.Context(), export.Request{}); err != nil { // names nobody: what wants no more is left in peace
		t.Fatal(err)
	}
	if got := len(h.seen()); got != 4 || w.status(s, "hook").Code != deliver.CodeGone {
		t.Errorf("%d calls", got)
	}
	if _, err := s.Request(t.Context(), export.Request{Archive: "hook"}); err != nil {
		t.Fatal(err)
	}
	w.settled(s, "hook", 3, 0)
	if e := w.status(s, "hook"); e.Code != "" {
		t.Errorf("afterwards %+v", e)
	}
}

// TestConfig: what cannot work is refused at once.
func TestConfig(t *testing.T) {
	t.Parallel()
	good := deliver.Receiver{Name: "ehr", Kind: record.ReceiverHL7, Address: "mllp://ehr:2575"}
	hook := deliver.Receiver{Name: "hook", Kind: record.ReceiverWebhook, Address: "https://x.example/y?z=1", Secrets: [][]byte{secret}}
	check := func(r ...deliver.Receiver) error {
		return deliver.Config{Receivers: r}.WithDefaults().Validate()
	}
	if err := check(good, hook); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(r *deliver.Receiver){
		"name": func(r *deliver.Receiver) { r.Name = "EHR" }, "kind": func(r *deliver.Receiver) { r.Kind = "" }, "no port": func(r *deliver.Receiver) { r.Address = "mllp://ehr" },
		"scheme": func(r *deliver.Receiver) { r.Address = "tcp://ehr:1" }, "path": func(r *deliver.Receiver) { r.Address += "/x" }, "password": func(r *deliver.Receiver) { r.Address = "mllp://a:Secret@b:1" },
		"clinic": func(r *deliver.Receiver) { r.Clinics = []string{"a b"} }, "long": func(r *deliver.Receiver) { r.Header.Sender.Application = strings.Repeat("x", 200) },
	} {
		r := good
		change(&r)
		if err := check(r); err == nil || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(r *deliver.Receiver){
		"in the clear": func(r *deliver.Receiver) { r.Address = "http://x.example/" }, "no secret": func(r *deliver.Receiver) { r.Secrets = nil },
		"short": func(r *deliver.Receiver) { r.Secrets = [][]byte{[]byte("x")} }, "scheme": func(r *deliver.Receiver) { r.Address = "mllp://x:1" },
	} {
		r := hook
		change(&r)
		if err := check(r); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := check(good, good); err == nil {
		t.Error("the same name twice passes")
	}
	if !good.InTheClear() || (deliver.Receiver{Address: "mllp://127.0.0.1:1"}).InTheClear() || (deliver.Receiver{Address: "mllps://ehr:1"}).InTheClear() {
		t.Error("what is in the clear")
	}
}
