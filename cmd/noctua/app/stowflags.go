package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
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

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/token"
)

// stowFlags configure the door by which archives and programs send: STOW-RS (DICOMweb).
type stowFlags struct {
	StowListen   string `name:"stow-listen" help:"Address at which archives send by STOW-RS (DICOMweb), e.g. 127.0.0.1:8104. Without it ingest has no such door, and noctua run has it at the web page's address alone." env:"NOCTUA_STOW_LISTEN" placeholder:"ADDRESS"`
	StowTokens   string `name:"stow-tokens" help:"File of the tokens that may upload, made by noctua token; noctua run takes tokens.json of the data folder if none is named." env:"NOCTUA_STOW_TOKENS" placeholder:"FILE"`
	StowInsecure bool   `name:"stow-insecure" help:"Allow STOW-RS beyond this machine without TLS." env:"NOCTUA_STOW_INSECURE"`
}

// stowDoor is an open door.
type stowDoor struct {
	listener  net.Listener
	authorize func(shown string) (token.Grant, bool, error)
}

// close closes the listener, which its service may have done already. A nil door is closed.
func (d *stowDoor) close() {
	if d != nil {
		closeListener(d.listener)
	}
}

// openStow opens the door; nil if there is to be none. tokens is the file of tokens where the flags name none; "" if they must. operator
// may upload for any clinic, too; "" if nobody is it here. Whatever is wrong with the door's flags is found here, before anything is started.
func (f *stowFlags) openStow(ctx context.Context, tokens, operator string) (*stowDoor, error) {
	if f.StowListen == "" {
		if f.StowTokens != "" {
			return nil, usageError{errors.New("--stow-tokens has no effect without --stow-listen; add it, e.g. --stow-listen 127.0.0.1:8104")}
		}
		return nil, nil // no door is no error
	}
	path := f.StowTokens
	if path == "" {
		path = tokens
	}
	if path == "" {
		return nil, usageError{errors.New("--stow-listen needs --stow-tokens, the file of the tokens that may upload; noctua token create makes it")}
	}
	// Absolute, since the S3 server changes the working directory of the process.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the file of tokens: %w", err)
	}
	// A file that was named must be there; the data folder's may come later.
	if _, err := token.Read(path); err != nil && (f.StowTokens != "" || !errors.Is(err, os.ErrNotExist)) {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if err := checkListen("stow-listen", f.StowListen, "stow-insecure", f.StowInsecure); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.StowListen)
	if err != nil {
		return nil, fault.Wrap(fault.Conflict, "address-in-use", err, "cannot listen on %s; choose another address with --stow-listen", f.StowListen)
	}
	f.StowListen = listener.Addr().String() // port 0 is a free one now
	return &stowDoor{listener: listener, authorize: authorizeBy(path, operator)}, nil
}

// openStowInside opens the door of noctua run, which is always there: at an address of its own where one is named, and else at one
// that only proxy knows.
func (f *stowFlags) openStowInside(ctx context.Context, tokens, operator string) (*stowDoor, error) {
	if f.StowListen != "" {
		return f.openStow(ctx, tokens, operator)
	}
	inside := stowFlags{StowListen: "127.0.0.1:0", StowTokens: f.StowTokens}
	return inside.openStow(ctx, tokens, operator)
}

// proxy hands requests on to the door, so that archives may use the web page's address too.
func (d *stowDoor) proxy(logger *slog.Logger) http.Handler {
	door := &url.URL{Scheme: "http", Host: d.listener.Addr().String()}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(door)
			r.SetXForwarded()
		},
		Transport: &http.Transport{DisableCompression: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute},
		ErrorLog:  slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

// authorizeBy reads the file of tokens anew each time, so that a new token works at once and a revoked one no longer.
func authorizeBy(path, operator string) func(shown string) (token.Grant, bool, error) {
	return func(shown string) (token.Grant, bool, error) {
		given, wanted := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(operator))
		if operator != "" && subtle.ConstantTimeCompare(given[:], wanted[:]) == 1 {
			return token.Grant{Name: "operator"}, true, nil
		}
		entries, err := token.Read(path)
		if errors.Is(err, os.ErrNotExist) {
			return token.Grant{}, false, nil
		}
		if err != nil {
			return token.Grant{}, false, err
		}
		grant, ok := token.Find(entries, shown)
		return grant, ok, nil
	}
}

// stowAnnouncement tells people how archives reach the door of noctua run.
func (f *stowFlags) stowAnnouncement(web, data string) string {
	address := web + "/dicom-web/studies"
	if f.StowListen != "" {
		address += " and http://" + f.StowListen + "/dicom-web/studies"
	}
	return fmt.Sprintf("  STOW-RS       %s\n                make a token for an archive: %s token create NAME --scope upload:CLINIC --data %s\n", address, os.Args[0], data)
}
