package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/token"
)

// stowFlags configure the door by which archives and programs send: STOW-RS (DICOMweb).
type stowFlags struct {
	StowListen   string `name:"stow-listen" help:"Address at which archives send by STOW-RS (DICOMweb), e.g. 127.0.0.1:8104. Without it ingest has no such door, and noctua run has it at the web page's address alone." env:"NOCTUA_STOW_LISTEN" placeholder:"ADDRESS"`
	StowTokens   string `name:"stow-tokens" help:"File of the tokens that may upload, made by noctua token; noctua run takes tokens.json of the data folder if none is named." env:"NOCTUA_STOW_TOKENS" placeholder:"FILE"`
	StowTLSCert  string `name:"stow-tls-cert" help:"File with the certificate chain (PEM) of --stow-listen; with it STOW-RS there is spoken over TLS alone." env:"NOCTUA_STOW_TLS_CERT" placeholder:"FILE"`
	StowTLSKey   string `name:"stow-tls-key" help:"File with the certificate's private key (PEM)." env:"NOCTUA_STOW_TLS_KEY" placeholder:"FILE"`
	StowInsecure bool   `name:"stow-insecure" help:"Allow STOW-RS beyond this machine without TLS." env:"NOCTUA_STOW_INSECURE"`
}

// stowDoor is an open door.
type stowDoor struct {
	listener  net.Listener
	secure    bool // it speaks TLS
	authorize func(ctx context.Context, shown string) (access.Principal, bool, error)
}

// close closes the listener, which its service may have done already. A nil door is closed.
func (d *stowDoor) close() {
	if d != nil {
		closeListener(d.listener)
	}
}

// openStow opens the door; nil if there is to be none. known tells who has a token where the flags name no file of them; nil if they
// must. Whatever is wrong with the door's flags is found here, before anything is started.
func (f *stowFlags) openStow(ctx context.Context, logger *slog.Logger, known *token.Authority) (*stowDoor, error) {
	if f.StowListen == "" {
		if f.StowTokens != "" || f.StowTLSCert != "" {
			return nil, usageError{errors.New("--stow-tokens and --stow-tls-cert have no effect without --stow-listen; add it, e.g. --stow-listen 127.0.0.1:8104")}
		}
		return nil, nil // no door is no error
	}
	if f.StowTokens != "" {
		file, err := openTokens(f.StowTokens, true)
		if err != nil {
			return nil, err
		}
		operator := ""
		if known != nil {
			operator = known.Operator
		}
		known = newAuthority(operator, file, nil)
	}
	if known == nil {
		return nil, usageError{errors.New("--stow-listen needs --stow-tokens, the file of the tokens that may upload; noctua token create makes it")}
	}
	config, err := certificate(logger, "stow-tls-cert", f.StowTLSCert, "stow-tls-key", f.StowTLSKey)
	if err != nil {
		return nil, err
	}
	if err := checkListen("stow-listen", f.StowListen, "stow-tls-cert", config != nil, "stow-insecure", f.StowInsecure); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.StowListen)
	if err != nil {
		return nil, fault.Wrap(fault.Conflict, "address-in-use", err, "cannot listen on %s; choose another address with --stow-listen", f.StowListen)
	}
	f.StowListen = listener.Addr().String() // port 0 is a free one now
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	return &stowDoor{listener: listener, secure: config != nil, authorize: known.Who}, nil
}

// openTokens is a file of tokens that was looked at. One that has to be there and is not, or is damaged, is found here.
func openTokens(path string, required bool) (*token.File, error) {
	// Absolute, since the S3 server changes the working directory of the process.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the file of tokens: %w", err)
	}
	file := token.OpenFile(path, required)
	if _, err := file.Entries(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return file, nil
}

// openStowInside opens the door of noctua run, which is always there: at an address of its own where one is named, and else at one
// that only proxy knows.
func (f *stowFlags) openStowInside(ctx context.Context, logger *slog.Logger, known *token.Authority) (*stowDoor, error) {
	if f.StowListen != "" {
		return f.openStow(ctx, logger, known)
	}
	inside := stowFlags{StowListen: "127.0.0.1:0", StowTokens: f.StowTokens}
	return inside.openStow(ctx, logger, known)
}

// proxy hands requests on to the door, so that archives may use the web page's address too.
func (d *stowDoor) proxy(logger *slog.Logger) http.Handler {
	door := &url.URL{Scheme: "http", Host: d.listener.Addr().String()}
	transport := &http.Transport{DisableCompression: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute}
	if d.secure {
		door.Scheme = "https"
		// It is this process that answers, at an address of which it holds the listener: there is nobody else to be taken for it.
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(door)
			r.SetXForwarded()
		},
		Transport: transport,
		ErrorLog:  slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

// stowAnnouncement tells people how archives reach the door of noctua run.
func (f *stowFlags) stowAnnouncement(web, data string) string {
	address := web + "/dicom-web/studies"
	if f.StowListen != "" {
		scheme := "http"
		if f.StowTLSCert != "" {
			scheme = "https"
		}
		address += " and " + scheme + "://" + f.StowListen + "/dicom-web/studies"
	}
	return fmt.Sprintf("  STOW-RS       %s\n                make a token for an archive: %s token create NAME --scope upload:CLINIC --data %s\n", address, os.Args[0], data)
}
