package dicomweb_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/dicomweb"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a client of a server with the given behaviour.
func open(t *testing.T, cfg dicomweb.Config, handle http.HandlerFunc) *dicomweb.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	cfg.URL = server.URL + "/dicom-web/"
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	client, err := dicomweb.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// TestRequest: what is sent is read by Go's own multipart reader.
func TestRequest(t *testing.T) {
	t.Parallel()
	var problem string
	client := open(t, dicomweb.Config{Token: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "multipart/related" || parameters["type"] != "application/dicom" || r.URL.Path != "/dicom-web/studies" || r.Header.Get("Authorization") != "Bearer secret" {
			problem = fmt.Sprintf("%s %s %v", r.URL.Path, kind, err)
		}
		reader := multipart.NewReader(r.Body, parameters["boundary"])
		for _, want := range []string{"first", "se\r\n--cond"} {
			part, err := reader.NextRawPart()
			if err != nil {
				problem = err.Error()
				return
			}
			if raw, err := io.ReadAll(part); err != nil || string(raw) != want || part.Header.Get("Content-Type") != "application/dicom" {
				problem = fmt.Sprintf("%q, %v", raw, err)
			}
		}
		if _, err := reader.NextRawPart(); err != io.EOF {
			problem = "more than two parts"
		}
	})
	if got, err := client.Store(t.Context(), []byte("first"), []byte("se\r\n--cond")); got != nil || err != nil || problem != "" {
		t.Errorf("%v, %v, %s", got, err, problem)
	}
}

func TestBasic(t *testing.T) {
	t.Parallel()
	client := open(t, dicomweb.Config{User: "noctua", Password: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "noctua" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	if _, err := client.Store(t.Context(), []byte("file")); err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []dicomweb.Config{{URL: "host"}, {URL: "ftp://host"}, {URL: "https://"}, {URL: "https://user:secret@host"}, {URL: "https://host/?a=b"},
		{URL: "https://host", Token: "secret", User: "noctua"}} {
		if _, err := dicomweb.New(cfg); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

const (
	stored = `{"00081199":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["1.2"]},"00081155":{"vr":"UI","Value":["1.2.3"]}},
		{"00081155":{"vr":"UI","Value":["1.2.4"]},"00081196":{"vr":"US","Value":[45056]}}]}}`
	failed = `{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.4"]},"00081197":{"vr":"US","Value":[42752]}}]},
		"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3"]}},{"00081155":{"vr":"UI","Value":["1.2.4"]}}]}}`
)

// TestAnswers: every answer is a map, nothing, or a fault of its kind; none holds the archive's text.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		kind   string
		body   string
		want   map[string]dicomweb.Outcome
		code   string
		fault  fault.Kind
	}{
		"stored":                      {200, "application/dicom+json", stored, map[string]dicomweb.Outcome{"1.2.3": {Stored: true}, "1.2.4": {Stored: true, Reason: 0xB000}}, "", 0},
		"in a list":                   {200, "application/json; charset=utf-8", "[" + stored + "]", map[string]dicomweb.Outcome{"1.2.3": {Stored: true}, "1.2.4": {Stored: true, Reason: 0xB000}}, "", 0},
		"one of two":                  {202, "application/dicom+json", failed, map[string]dicomweb.Outcome{"1.2.3": {Stored: true}, "1.2.4": {Reason: 0xA700}}, "", 0},
		"none":                        {409, "application/dicom+json", failed, map[string]dicomweb.Outcome{"1.2.3": {Stored: true}, "1.2.4": {Reason: 0xA700}}, "", 0},
		"all, in XML":                 {200, "application/dicom+xml", "<NativeDicomModel/>", nil, "", 0},
		"all, without a word":         {204, "", "", nil, "", 0},
		"some, in XML":                {202, "application/dicom+xml", "<NativeDicomModel/>", nil, dicomweb.CodeAnswer, fault.Internal},
		"none, in HTML":               {409, "text/html", "Smith^John", nil, dicomweb.CodeRejected, fault.Invalid},
		"hostile JSON":                {202, "application/dicom+json", `{"00081199":{"Value":[7,{"00081155":{"Value":[[]]}},{"00081155":{"Value":[""]}}]}}`, nil, dicomweb.CodeAnswer, fault.Internal},
		"deep JSON":                   {202, "application/dicom+json", strings.Repeat(`[`, 1<<20), nil, dicomweb.CodeAnswer, fault.Internal},
		"endless":                     {202, "application/dicom+json", strings.Repeat(` `, 5<<20) + stored, nil, dicomweb.CodeAnswer, fault.Internal},
		"no token":                    {401, "text/html", "Smith^John", nil, dicomweb.CodeRefused, fault.Conflict},
		"another place":               {307, "", "", nil, dicomweb.CodeRefused, fault.Conflict},
		"no such service":             {404, "", "", nil, dicomweb.CodeRefused, fault.Conflict},
		"not this media type":         {415, "", "", nil, dicomweb.CodeRejected, fault.Invalid},
		"too large":                   {413, "", "", nil, dicomweb.CodeRejected, fault.Invalid},
		"busy":                        {503, "text/html", "Smith^John", nil, dicomweb.CodeBusy, fault.Transient},
		"too many":                    {429, "", "", nil, dicomweb.CodeBusy, fault.Transient},
		"busy, but says of instances": {503, "application/dicom+json", failed, map[string]dicomweb.Outcome{"1.2.3": {Stored: true}, "1.2.4": {Reason: 0xA700}}, "", 0},
		"something new":               {299, "", "", nil, dicomweb.CodeAnswer, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			client := open(t, dicomweb.Config{Token: "secret"}, func(w http.ResponseWriter, r *http.Request) {
				asked++
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			got, err := client.Store(t.Context(), []byte("file"))
			if !maps.Equal(got, c.want) || fault.CodeOf(err) != c.code || c.code != "" && fault.KindOf(err) != c.fault || asked != 1 {
				t.Errorf("%v, %v, asked %d times; want %v, %s", got, err, asked, c.want, c.code)
			}
			if err != nil && (strings.Contains(err.Error(), "Smith") || strings.Contains(err.Error(), "secret")) {
				t.Errorf("the error holds what it must not: %v", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	defer close(hold)
	arrived := make(chan struct{}, 2)
	silent := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	client := open(t, dicomweb.Config{Timeout: 50 * time.Millisecond}, silent)
	if _, err := client.Store(t.Context(), []byte("file")); fault.CodeOf(err) != dicomweb.CodeUnreachable || !fault.Is(err, fault.Transient) {
		t.Errorf("silent: %v", err)
	}
	<-arrived
	client = open(t, dicomweb.Config{Timeout: time.Hour, AnswerTimeout: 50 * time.Millisecond}, silent)
	if _, err := client.Store(t.Context(), []byte("file")); fault.CodeOf(err) != dicomweb.CodeUnreachable {
		t.Errorf("silent after the request: %v", err)
	}
	<-arrived
	client = open(t, dicomweb.Config{}, silent)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := client.Store(ctx, []byte("file")); !fault.Interrupted(err) {
		t.Errorf("cancelled: %v", err)
	}
	client = open(t, dicomweb.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
	})
	if _, err := client.Store(t.Context(), []byte("file")); fault.CodeOf(err) != dicomweb.CodeUnreachable {
		t.Errorf("cut off: %v", err)
	}
	// net/http's error quotes an answer that is no HTTP; ours must not.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 1))
			_, _ = io.WriteString(conn, "Smith^John\r\n")
			_ = conn.Close()
		}
	}()
	client, err = dicomweb.New(dicomweb.Config{URL: "http://" + listener.Addr().String(), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Store(t.Context(), []byte("file")); fault.CodeOf(err) != dicomweb.CodeUnreachable || strings.Contains(err.Error(), "Smith") {
		t.Errorf("no HTTP: %v", err)
	}
	client, err = dicomweb.New(dicomweb.Config{URL: "http://127.0.0.1:1", Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Store(t.Context(), []byte("file")); fault.CodeOf(err) != dicomweb.CodeUnreachable || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody there: %v", err)
	}
}
