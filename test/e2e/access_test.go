package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a certificate that signs itself, and writes it and its key.
func writeCertificate(t *testing.T, cert, key, name string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: raw}, cert: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// tlsClient trusts a certificate under a name.
func tlsClient(t *testing.T, cert, name string, most uint16) *http.Client {
	t.Helper()
	raw, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS10, MaxVersion: most}}}
}

func ask(t *testing.T, client *http.Client, address, token string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(raw)
}

// TestAccess runs Noctua beyond loopback with TLS: what its commands, tokens, certificates and audit log are worth from outside.
func TestAccess(t *testing.T) {
	t.Parallel()
	clinic := clinicFolder(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key, "noctua.clinic.example")
	n := startAllInOne(t, t.TempDir(), "--listen", "0.0.0.0:0", "--tls-cert", cert, "--tls-key", key)
	web := "https://127.0.0.1" + n.web[strings.LastIndexByte(n.web, ':'):]
	for person, where := range map[string]string{"chase_01L.dcm": "north", "chase_02L.dcm": "south"} {
		if _, err := os.Stat(filepath.Join(clinic, person)); err != nil {
			t.Fatal(err)
		}
		mustCommand(t, "submit", filepath.Join(clinic, person), "--clinic", where, "--data", n.data)
	}
	if s := n.status("--wait"); s.Done != 2 {
		t.Fatalf("%+v", s)
	}
	client := tlsClient(t, cert, "noctua.clinic.example", 0)
	north := strings.TrimSpace(mustCommand(t, "token", "create", "ehr-north", "--scope", "report.read:north", "--expires", "1d", "--data", n.data))
	answer, body := ask(t, client, web+"/fhir/DiagnosticReport", north)
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 2 || answer.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s %s, %v", answer.Proto, answer.Status, answer.Header)
	}
	var bundle struct {
		Total int `json:"total"`
	}
	if err := json.Unmarshal([]byte(body), &bundle); err != nil || bundle.Total != 1 {
		t.Errorf("a reader of one clinic finds %s", body)
	}
	if answer, body := ask(t, client, web+"/quarantine", north); answer.StatusCode != http.StatusForbidden {
		t.Errorf("what a reader may not: %s %s", answer.Status, body)
	}
	if _, err := tlsClient(t, cert, "noctua.clinic.example", tls.VersionTLS11).Get(web + "/healthz"); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if _, err := tlsClient(t, cert, "other.example", 0).Get(web + "/healthz"); err == nil {
		t.Error("the certificate is good for another name")
	}
	if answer, err := http.Get(strings.Replace(web, "https:", "http:", 1) + "/healthz"); err == nil {
		if answer.StatusCode == http.StatusOK {
			t.Error("it answers in the clear")
		}
		_ = answer.Body.Close()
	}
	// A certificate is renewed while Noctua runs; a broken one changes nothing.
	writeCertificate(t, cert, key, "noctua.clinic.example")
	if answer, _ := ask(t, tlsClient(t, cert, "noctua.clinic.example", 0), web+"/healthz", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("with the new certificate: %s", answer.Status)
	}
	renewed := tlsClient(t, cert, "noctua.clinic.example", 0)
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if answer, _ := ask(t, renewed, web+"/healthz", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("with a broken key: %s", answer.Status)
	}
	mustCommand(t, "token", "revoke", "ehr-north", "--data", n.data)
	if answer, _ := ask(t, renewed, web+"/fhir/DiagnosticReport", north); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a revoked token: %s", answer.Status)
	}
	checkAudit(t, n)
	for _, secret := range []string{north, n.token} {
		for _, file := range n.files("audit") {
			if raw, err := os.ReadFile(filepath.Join(n.data, "s3", "noctua-audit", file)); err != nil || bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s holds a token, %v", file, err)
			}
		}
	}
	n.stop()
}

// checkAudit checks the log, changes it on the disk as somebody with the server's disk would, and wants each change to be found.
func checkAudit(t *testing.T, n *noctua) {
	t.Helper()
	out := mustCommand(t, "audit", "verify", "--data", n.data)
	end := regexp.MustCompile(`end +(\d+:[0-9a-f]{64})`).FindStringSubmatch(out)
	if !strings.Contains(out, "The audit log is whole") || end == nil {
		t.Fatalf("%s", out)
	}
	files := n.files("audit")
	if len(files) < 4 {
		t.Fatalf("the log has %v", files)
	}
	path := func(i int) string { return filepath.Join(n.data, "s3", "noctua-audit", files[i]) }
	middle, last := len(files)/2, len(files)-1
	for name, test := range map[string]struct {
		file   int
		change func(string, []byte) error
		known  bool
	}{
		"an entry was changed": {middle, func(p string, raw []byte) error {
			return os.WriteFile(p, bytes.Replace(raw, []byte(`"success"`), []byte(`"denied" `), 1), 0o600)
		}, false},
		"an entry was removed":       {middle, func(p string, _ []byte) error { return os.Remove(p) }, false},
		"an entry was put in":        {middle, func(p string, raw []byte) error { return os.WriteFile(p, append(append(raw, '\n'), raw...), 0o600) }, false},
		"the last entry was removed": {last, func(p string, _ []byte) error { return os.Remove(p) }, true},
	} {
		raw, err := os.ReadFile(path(test.file))
		if err != nil {
			t.Fatal(err)
		}
		if err := test.change(path(test.file), raw); err != nil {
			t.Fatal(err)
		}
		args := []string{"audit", "verify", "--data", n.data}
		if test.known {
			args = append(args, "--known", end[1])
		}
		if out, err := command(t, args...); err == nil || !strings.Contains(err.Error(), "audit-broken") {
			t.Errorf("%s: %s %v", name, out, err)
		}
		if err := os.WriteFile(path(test.file), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
