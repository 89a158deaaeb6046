package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/services/ingest"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestDICOMFlags: what is wrong with the door is said before anything is started, and in one sentence.
func TestDICOMFlags(t *testing.T) {
	t.Parallel()
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	certificate, key := writeCertificate(t, "noctua")
	base := []string{"ingest", "--nats-url", "nats://127.0.0.1:1", "--s3-endpoint", "http://127.0.0.1:1", "--s3-access-key", "a", "--s3-secret-key", "b", "--site-secret", strings.Repeat("5e", 32)}
	door := []string{"--dicom-listen", "127.0.0.1:0", "--dicom-ae", "CAMERA=north"}
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"no sender":                {[]string{"--dicom-listen", "127.0.0.1:0"}, exitUsage, "--dicom-ae"},
		"no door":                  {[]string{"--dicom-ae", "CAMERA=north"}, exitUsage, "--dicom-listen"},
		"a bad title":              {append(door, "--dicom-title", "A TITLE THAT IS TOO LONG"), exitUsage, "--dicom-title"},
		"a bad clinic":             {append(door, "--dicom-ae", "OTHER=no/rth"), exitUsage, "no/rth"},
		"no clinic":                {append(door, "--dicom-ae", "OTHER"), exitUsage, "<key>=<value>"},
		"beyond this machine":      {[]string{"--dicom-listen", "0.0.0.0:0", "--dicom-ae", "CAMERA=north"}, exitUsage, "--dicom-insecure"},
		"no address":               {[]string{"--dicom-listen", "here", "--dicom-ae", "CAMERA=north"}, exitUsage, "--dicom-listen"},
		"an address that is taken": {[]string{"--dicom-listen", taken.Addr().String(), "--dicom-ae", "CAMERA=north"}, exitInput, "[address-in-use]"},
		"a certificate alone":      {append(door, "--dicom-tls-cert", certificate), exitUsage, "--dicom-tls-key"},
		"junk for a certificate":   {append(door, "--dicom-tls-cert", junk, "--dicom-tls-key", key), exitInput, "[certificate-unusable]"},
		"junk for an authority":    {append(door, "--dicom-tls-cert", certificate, "--dicom-tls-key", key, "--dicom-tls-client-ca", junk), exitInput, "[certificate-unusable]"},
		"no authority":             {append(door, "--dicom-tls-cert", certificate, "--dicom-tls-key", key, "--dicom-tls-client-ca", junk+"x"), exitInput, "[certificate-unusable]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := want(t, c.exit, append(append([]string{}, base...), c.args...)...)
			contains(t, errs, c.says)
		})
	}
}

// TestDICOMAddresses: with TLS, or when asked for, the door may be open to the network; port 0 becomes a free one.
func TestDICOMAddresses(t *testing.T) {
	t.Parallel()
	certificate, key := writeCertificate(t, "noctua")
	for name, flags := range map[string]dicomFlags{
		"this machine": {DICOMListen: "127.0.0.1:0"},
		"insecure":     {DICOMListen: "0.0.0.0:0", DICOMInsecure: true},
		"TLS":          {DICOMListen: ":0", DICOMTLSCert: certificate, DICOMTLSKey: key},
	} {
		flags.DICOMAE = map[string]string{"CAMERA": "north", "OTHER": "south"}
		listener, err := flags.listen(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if flags.DICOMListen != listener.Addr().String() || strings.HasSuffix(flags.DICOMListen, ":0") {
			t.Errorf("%s: the address is %s", name, flags.DICOMListen)
		}
		contains(t, flags.announcement(), flags.DICOMListen, "from CAMERA, OTHER")
		closeListener(listener)
	}
}

// TestDICOMOverTLS asks echoscu: without TLS nothing is heard, with it the certificate counts, and a sender's own where
// authorities are named.
func TestDICOMOverTLS(t *testing.T) {
	t.Parallel()
	certificate, key := writeCertificate(t, "noctua")
	cameraCertificate, cameraKey := writeCertificate(t, "camera")
	strangerCertificate, strangerKey := writeCertificate(t, "stranger")
	for name, c := range map[string]struct {
		clientCA string
		args     []string
		heard    bool
	}{
		"in the clear":               {"", nil, false},
		"TLS":                        {"", []string{"+tla", "+cf", certificate}, true},
		"an unknown certificate":     {"", []string{"+tla", "+cf", strangerCertificate}, false},
		"none of its own":            {cameraCertificate, []string{"+tla", "+cf", certificate}, false},
		"its own":                    {cameraCertificate, []string{"+tls", cameraKey, cameraCertificate, "+cf", certificate}, true},
		"its own of somebody else's": {cameraCertificate, []string{"+tls", strangerKey, strangerCertificate, "+cf", certificate}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			echoscu := shared.Program(t, "echoscu", "dcmtk")
			flags := dicomFlags{DICOMListen: "127.0.0.1:0", DICOMAE: map[string]string{"ECHOSCU": "north"}, DICOMTLSCert: certificate, DICOMTLSKey: key, DICOMTLSClientCA: c.clientCA}
			host, port := receiver(t, flags)
			out, err := exec.Command(echoscu, append(append([]string{"-v", "-aec", "NOCTUA", "-ta", "10"}, c.args...), host, port)...).CombinedOutput()
			if (err == nil) != c.heard {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// receiver runs a receiver by flags, and returns host and port.
func receiver(t *testing.T, flags dicomFlags) (host, port string) {
	t.Helper()
	listener, err := flags.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unused, err := blob.New(blob.Config{Endpoint: "127.0.0.1:1", AccessKey: "a", SecretKey: "b"})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := ingest.NewReceiver(ingest.ReceiverDeps{Blob: unused, Listener: listener, Logger: slog.New(slog.DiscardHandler), Clock: time.Now}, flags.receiver())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- receiver.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-finished; err != nil {
			t.Error(err)
		}
	})
	if host, port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return host, port
}

// writeCertificate makes a certificate that signs itself, and its key.
func writeCertificate(t *testing.T, name string) (certificateFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, raw []byte) string {
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("certificate.pem", "CERTIFICATE", certificate), write("key.pem", "PRIVATE KEY", rawKey)
}
