package blob_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// fake is a store that is broken on purpose: what no real one does when asked.
func fake(t *testing.T, answer http.HandlerFunc) *blob.Store {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	store, err := blob.New(blob.Config{Endpoint: server.URL, AccessKey: "key", SecretKey: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func s3Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code) // a client that is gone needs no answer
}

// TestSelfTestRefuses: a store that checks and then writes, and one that ignores the condition, are found out.
func TestSelfTestRefuses(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	objects := map[string][]byte{}
	store := fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut: // takes everybody: If-None-Match is ignored
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			mu.Lock()
			objects[r.URL.Path] = []byte("x")
			mu.Unlock()
			w.Header().Set("ETag", `"e"`)
		case http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	err := store.SelfTest(t.Context())
	if !fault.Is(err, fault.Unsupported) || fault.CodeOf(err) != "storage-without-conditional-put" || !strings.Contains(fault.SentenceOf(err), "16 of 16") {
		t.Fatalf("a store without conditional PUT passed: %v", err)
	}
}

// TestAnswersBecomeKinds: what a store may answer, and what becomes of it.
func TestAnswersBecomeKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
		kind   fault.Kind
		want   string
	}{
		{http.StatusPreconditionFailed, "PreconditionFailed", fault.Conflict, "object-exists"},
		{http.StatusConflict, "ConditionalRequestConflict", fault.Transient, "storage-busy"},
		{http.StatusConflict, "ExistingObjectIsDirectory", fault.Conflict, "key-conflict"},
		{http.StatusForbidden, "AccessDenied", fault.Internal, "storage-refused"},
		{http.StatusNotFound, "NoSuchBucket", fault.Internal, "bucket-missing"},
		{http.StatusServiceUnavailable, "SlowDown", fault.Transient, "storage-unavailable"},
		{http.StatusInternalServerError, "InternalError", fault.Transient, "storage-unavailable"},
		{http.StatusInsufficientStorage, "XMinioStorageFull", fault.Transient, "storage-full"},
		{http.StatusBadRequest, "KeyTooLongError", fault.Invalid, "key-invalid"},
		{http.StatusTeapot, "Teapot", fault.Internal, "storage-answer"},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			store := fake(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // the answer does not depend on it
				s3Error(w, c.status, c.code)
			})
			err := store.PutBytes(t.Context(), "noctua-archive", "north/Meier", []byte("x"), blob.PutOptions{IfNoneMatch: true})
			if fault.KindOf(err) != c.kind || fault.CodeOf(err) != c.want {
				t.Errorf("%d %s became %s %s: %v", c.status, c.code, fault.KindOf(err), fault.CodeOf(err), err)
			}
			if err == nil || strings.Contains(err.Error(), "Meier") {
				t.Errorf("the error holds the key: %v", err)
			}
		})
	}
}

// TestConflictIsAskedAgain: AWS answers 409 while another conditional writer is under way.
func TestConflictIsAskedAgain(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	store := fake(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(body), "content") || r.Header.Get("If-None-Match") != "*" {
			t.Errorf("request %d: body %q, %v, headers %v", requests.Load(), body, err, r.Header)
		}
		if requests.Add(1) < 3 {
			s3Error(w, http.StatusConflict, "ConditionalRequestConflict")
			return
		}
		w.Header().Set("ETag", `"e"`)
	})
	if err := store.PutBytes(t.Context(), "noctua-archive", "a", []byte("content"), blob.PutOptions{IfNoneMatch: true}); err != nil {
		t.Fatal(err)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests", n)
	}
}

// TestBodyThatBreaksOff is a transient fault, and never a short object.
func TestBodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	store := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		_, _ = io.WriteString(w, "half") // the rest never comes
	})
	data, err := store.GetBytes(t.Context(), "noctua-archive", "a", 1000)
	if !fault.Is(err, fault.Transient) || fault.CodeOf(err) != "storage-unavailable" {
		t.Fatalf("got %q, %v", data, err)
	}
}

// TestRemoveWithoutConditions: on a store that knows no conditional removal, the Stat before must do.
func TestRemoveWithoutConditions(t *testing.T) {
	t.Parallel()
	var removed atomic.Bool
	store := fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		case r.Header.Get("If-Match") != "":
			s3Error(w, http.StatusNotImplemented, "NotImplemented")
		default:
			removed.Store(true)
			w.WriteHeader(http.StatusNoContent)
		}
	})
	at := time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC)
	if err := store.RemoveMatching(t.Context(), "noctua-inbox", "a", "other", at); fault.CodeOf(err) != "object-changed" || removed.Load() {
		t.Fatalf("another object was removed: %v", err)
	}
	if err := store.RemoveMatching(t.Context(), "noctua-inbox", "a", "e", at); err != nil || !removed.Load() {
		t.Fatalf("not removed: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]blob.Config{
		"no endpoint": {AccessKey: "a", SecretKey: "b"},
		"no secret":   {Endpoint: "x", AccessKey: "a"},
		"prefix":      {Endpoint: "x", AccessKey: "a", SecretKey: "b", BucketPrefix: strings.Repeat("p", 50)},
		"path":        {Endpoint: "http://x/y", AccessKey: "a", SecretKey: "b"},
	} {
		if _, err := blob.New(cfg); fault.CodeOf(err) != "config-invalid" || strings.Contains(err.Error(), "b\"") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
