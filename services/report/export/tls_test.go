package export_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/services/report/export"
)

// TestTLS: archives whose certificate is not trusted get nothing; with their authority named they get everything, by C-STORE and STOW-RS.
func TestTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(web.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	p := newPACS(t)
	// A door with TLS in front of the archive, with the same certificate.
	door, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = door.Close() })
	p.work.Go(func() {
		for {
			near, err := door.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() {
				defer func() { _ = near.Close() }()
				far, err := net.Dial("tcp", p.listener.Addr().String())
				if err != nil {
					return
				}
				p.work.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
				_, _ = io.Copy(far, near)
				_ = far.Close()
			})
		}
	})
	secure := export.Archive{Address: "dicoms://PACS@" + door.Addr().String()}
	byWeb := export.Archive{Address: web.URL}
	archives := []export.Archive{secure, byWeb, secure, byWeb}
	for i, name := range []string{"stranger", "web-stranger", "pacs", "web"} {
		archives[i].Name = name
		if i > 1 {
			archives[i].TLS = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
		}
	}
	w := newWorld(t, archives...)
	s, stop := w.start()
	w.segmented(1, 3)
	w.settled(s, "pacs", 2, 0)
	w.settled(s, "web", 2, 0)
	p.has(1, 3)
	for _, name := range []string{"stranger", "web-stranger"} {
		w.eventually(name+" is not trusted", func() bool {
			e := w.status(s, name)
			return e.Code == "archive-unreachable" && strings.Contains(e.Reason, "certificate") && e.Sent == 0 && e.Pending == 2
		})
	}
	stop()
}
