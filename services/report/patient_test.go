package report

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestPatientHandler: an upload may take longer than a page's request, but may not stand still, read by its handler or not.
func TestPatientHandler(t *testing.T) {
	t.Parallel()
	const pageTimeout, idle = 200 * time.Millisecond, 400 * time.Millisecond
	serve := func(t *testing.T, handler http.HandlerFunc) net.Conn {
		t.Helper()
		server := httptest.NewUnstartedServer(patient(handler, idle))
		server.Config.ReadTimeout = pageTimeout
		server.Start()
		t.Cleanup(server.Close)
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		// Long after everything should be over.
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	begin := func(t *testing.T, conn net.Conn, length int) {
		t.Helper()
		if _, err := fmt.Fprintf(conn, "POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", length); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		const pieces = 8
		got := make(chan error, 1)
		conn := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil && len(body) != pieces {
				err = fmt.Errorf("%d bytes", len(body))
			}
			got <- err
		})
		begin(t, conn, pieces)
		tick := time.NewTicker(pageTimeout / 2) // four times as long as a page's request, together
		defer tick.Stop()
		for range pieces {
			<-tick.C
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-got; err != nil {
			t.Errorf("a slow upload: %v", err)
		}
	})
	for name, handler := range map[string]http.HandlerFunc{
		"silent":         func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		"silent, unread": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := serve(t, handler)
			begin(t, conn, 1000)
			if _, err := io.Copy(io.Discard, bufio.NewReader(conn)); err != nil {
				t.Errorf("the connection is still open: %v", err)
			}
		})
	}
}
