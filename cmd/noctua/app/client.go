package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// clientFlags say which Noctua a client command talks to.
type clientFlags struct {
	Data  string `help:"Data folder of a Noctua that runs on this machine." default:"./noctua-data" env:"NOCTUA_DATA" placeholder:"DIR"`
	URL   string `help:"Web address of a Noctua, instead of --data." env:"NOCTUA_URL" placeholder:"URL"`
	Token string `help:"API token, with --url." env:"NOCTUA_TOKEN"`
	CA    string `name:"tls-ca" help:"File with the authorities (PEM) that signed the certificate of --url, if this machine does not know them." env:"NOCTUA_TLS_CA" placeholder:"FILE"`
}

// client calls the HTTP API of a running Noctua.
type client struct {
	base  string
	token string
	http  *http.Client
}

const (
	apiTimeout       = 30 * time.Second // of one call without a body to speak of
	maxAnswerBytes   = 16 << 20
	maxErrorExcerpt  = 300
	uploadURLsPerAsk = 500 // names in one request for upload addresses
)

// connect finds the Noctua to talk to.
func (f clientFlags) connect() (*client, error) {
	c := &client{http: &http.Client{}}
	if f.URL != "" {
		if f.Token == "" {
			return nil, usageError{fmt.Errorf("--url needs --token (or NOCTUA_TOKEN); noctua run prints it when it starts")}
		}
		c.base, c.token = strings.TrimRight(f.URL, "/"), f.Token
		if f.CA != "" {
			trusted, err := trusting(f.CA)
			if err != nil {
				return nil, err
			}
			c.http.Transport = transport(trusted)
		}
		return c, nil
	}
	var e endpoint
	if err := readJSONFile(filepath.Join(f.Data, endpointFile), &e); err != nil {
		return nil, fault.Wrap(fault.NotFound, "noctua-not-found", err, "no running Noctua was found in %s; start one with noctua run, or name one with --data, or --url and --token", f.Data)
	}
	var s secrets
	if err := readJSONFile(filepath.Join(f.Data, secretsFile), &s); err != nil {
		return nil, fault.Wrap(fault.NotFound, "noctua-not-found", err, "the API token of %s cannot be read", f.Data)
	}
	trusted, err := localTLS(e.Certificate)
	if err != nil {
		return nil, err
	}
	c.base, c.token, c.http.Transport = e.WebURL, s.APIToken, transport(trusted)
	return c, nil
}

// transport speaks to servers by config; nil: as the machine does.
func transport(config *tls.Config) http.RoundTripper {
	if config == nil {
		return http.DefaultTransport
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16}
}

func readJSONFile(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// call sends a request with a JSON body (nil for none) and reads a JSON answer.
func (c *client) call(ctx context.Context, method, path string, body, into any) error {
	return c.callFor(ctx, apiTimeout, method, path, body, into)
}

// callFor is call with a time limit of its own.
func (c *client) callFor(ctx context.Context, limit time.Duration, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		reader = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return usageError{fmt.Errorf("the address %s is wrong: %w", c.base, err)}
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return fault.Wrap(fault.Transient, "noctua-unreachable", err, "Noctua does not answer at %s; is it running?", c.base)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	if err != nil {
		return fault.Wrap(fault.Transient, "noctua-unreachable", err, "the answer of %s broke off", c.base)
	}
	switch {
	case answer.StatusCode == http.StatusUnauthorized:
		return fault.New(fault.Invalid, "token-refused", "Noctua at %s refuses the token; use the one that noctua run prints", c.base)
	case answer.StatusCode >= http.StatusInternalServerError:
		return fault.New(fault.Transient, "noctua-error", "Noctua at %s answered %s: %s", c.base, answer.Status, excerpt(raw))
	case answer.StatusCode >= http.StatusBadRequest:
		return fault.New(fault.Invalid, "request-refused", "Noctua at %s answered %s: %s", c.base, answer.Status, excerpt(raw))
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fault.Wrap(fault.Internal, "answer-unreadable", err, "%s did not answer as a Noctua does", c.base)
	}
	return nil
}

func excerpt(raw []byte) string {
	if len(raw) > maxErrorExcerpt {
		raw = raw[:maxErrorExcerpt]
	}
	return strings.TrimSpace(string(raw))
}

// status asks for the numbers of images.
func (c *client) status(ctx context.Context) (record.Status, error) {
	var s record.Status
	err := c.call(ctx, http.MethodGet, "/api/status", nil, &s)
	return s, err
}
