package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// tlsFlags configure TLS for the web page, the API and FHIR.
type tlsFlags struct {
	TLSCert string `name:"tls-cert" help:"File with the certificate chain (PEM) of the page, the API and FHIR; with it they speak TLS alone. Read again when it changes." env:"NOCTUA_TLS_CERT" placeholder:"FILE"`
	TLSKey  string `name:"tls-key" help:"File with the certificate's private key (PEM)." env:"NOCTUA_TLS_KEY" placeholder:"FILE"`
}

// certificate reads the certificate that two flags name; nil if they name none.
func certificate(logger *slog.Logger, certFlag, cert, keyFlag, key string) (*tls.Config, error) {
	if cert == "" && key == "" {
		return nil, nil // no TLS is no error
	}
	if cert == "" || key == "" {
		return nil, usageError{fmt.Errorf("TLS needs both --%s and --%s", certFlag, keyFlag)}
	}
	pair := &keyPair{cert: cert, key: key, logger: logger}
	if _, err := pair.get(nil); err != nil {
		return nil, fault.Wrap(fault.Invalid, "certificate-unusable", err, "the certificate or key of --%s and --%s cannot be used; both should be PEM files and belong together", certFlag, keyFlag)
	}
	return &tls.Config{GetCertificate: pair.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// keyPair is a certificate in two files, which are read again when they change: certificates are renewed every few weeks.
type keyPair struct {
	cert, key string
	logger    *slog.Logger

	mu      sync.Mutex
	read    *tls.Certificate
	changed [2]time.Time
}

// get is tls.Config.GetCertificate. While new files do not fit each other, the old certificate goes on.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var changed [2]time.Time
	for n, path := range []string{k.cert, k.key} {
		if info, err := os.Stat(path); err == nil {
			changed[n] = info.ModTime()
		}
	}
	if k.read != nil && changed == k.changed {
		return k.read, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		if k.read == nil {
			return nil, err
		}
		if changed != k.changed {
			k.changed = changed
			k.logger.Error("a changed certificate cannot be used; the one before goes on", "file", k.cert, "error", err)
		}
		return k.read, nil
	}
	k.read, k.changed = &pair, changed
	return k.read, nil
}

// localTLS is how a command on the same machine speaks to a Noctua with a certificate: it trusts the very certificate, under any of the
// names that are in it, since the address of this machine is seldom one of them.
func localTLS(certFile string) (*tls.Config, error) {
	if certFile == "" {
		return nil, nil // no TLS is no error
	}
	config, err := trusting(certFile)
	if err != nil {
		return nil, err
	}
	pair, err := firstCertificate(certFile)
	if err != nil {
		return nil, err
	}
	switch {
	case len(pair.DNSNames) > 0:
		config.ServerName = pair.DNSNames[0]
	case len(pair.IPAddresses) > 0:
		config.ServerName = pair.IPAddresses[0].String()
	}
	return config, nil
}

// trusting is how to speak to servers whose certificates a file's authorities signed, beside those that the machine trusts.
func trusting(file string) (*tls.Config, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, "certificate-unusable", err, "the file of authorities %s cannot be read", file)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // the machine has none
	}
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fault.New(fault.Invalid, "certificate-unusable", "the file %s holds no certificate in PEM", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func firstCertificate(file string) (*x509.Certificate, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, "certificate-unusable", err, "the certificate %s cannot be read", file)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fault.New(fault.Invalid, "certificate-unusable", "the file %s holds no certificate in PEM", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "certificate-unusable", err, "the certificate %s cannot be read", file)
	}
	return cert, nil
}

// checkListen refuses to listen beyond this machine in the clear unless that was asked for in so many words, by insecureFlag.
func checkListen(flag, address, certFlag string, secure bool, insecureFlag string, insecure bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usageError{fmt.Errorf("--%s should look like 127.0.0.1:8420, not %q", flag, address)}
	}
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) || secure || insecure {
		return nil
	}
	if certFlag != "" {
		certFlag = "give a certificate with --" + certFlag + ", "
	}
	return usageError{fmt.Errorf("--%s %s would show patient data to the network without TLS; %slisten on 127.0.0.1 behind a proxy with TLS, or add --%s if you know what you do", flag, address, certFlag, insecureFlag)}
}
