package dicomweb

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Codes of faults.
const (
	CodeUnreachable = "archive-unreachable" // Transient: no answer
	CodeBusy        = "archive-busy"        // Transient: 408, 429, 5xx
	CodeRefused     = "archive-refuses"     // Conflict: credentials, address or method are wrong (401, 403, 404, 405, redirects): nothing of it is the files' fault
	CodeRejected    = "request-rejected"    // Invalid: the archive does not take the request (other 4xx)
	CodeAnswer      = "answer-unreadable"   // Internal: it does not say what became of the files
)

const (
	// maxAnswerBytes bounds what is read of an answer; an item has about 300 bytes.
	maxAnswerBytes = 4 << 20
	connectTimeout = 10 * time.Second
)

// Config says where an archive is. Secrets are never part of an error.
type Config struct {
	// URL is the address of the archive's DICOMweb services, e.g. https://pacs.example.org/dicom-web. required
	URL string
	// Token is shown as a bearer token; else User and Password by HTTP Basic. All may be empty.
	Token          string
	User, Password string
	// TLS holds e.g. the archive's certificate authority; nil: the system's.
	TLS *tls.Config
	// Timeout bounds a request with its answer. required
	Timeout time.Duration
	// AnswerTimeout is the longest wait for the answer to begin once the request is sent; 0: none but Timeout.
	AnswerTimeout time.Duration
}

// Client sends to one archive. It is safe for concurrent use.
type Client struct {
	cfg       Config
	studies   string
	transport *http.Transport
	client    *http.Client
}

// New checks the configuration; it does not talk to the archive yet.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "config-address", "the address of a DICOMweb archive should look like https://host/dicom-web, without user, password and question mark")
	}
	if cfg.Token != "" && cfg.User != "" {
		return nil, fault.New(fault.Invalid, "config-credentials", "an archive gets either a token or user and password, not both")
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, TLSHandshakeTimeout: connectTimeout,
		ResponseHeaderTimeout: cfg.AnswerTimeout,
		TLSClientConfig:       cfg.TLS, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}
	return &Client{
		cfg: cfg, studies: strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/studies") + "/studies", transport: transport,
		client: &http.Client{Transport: transport, Timeout: cfg.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Outcome is what the archive says of one instance.
type Outcome struct {
	Stored bool
	// Reason is why not (Failure Reason, 0008,1197), or with Stored what the archive warns of (Warning Reason, 0008,1196); 0: nothing.
	Reason uint16
}

// Store sends whole Part 10 files in one request and returns what the archive says of instances, by SOP instance UID. Instances that the
// answer does not name are missing from the map. If the archive takes all (200) without saying more, the map is nil.
//
// Faults have one of the Code… constants; a cancelled ctx is its own error.
func (c *Client) Store(ctx context.Context, files ...[]byte) (map[string]Outcome, error) {
	boundary := "noctua" + rand.Text()
	var body bytes.Buffer
	for _, file := range files {
		fmt.Fprintf(&body, "--%s\r\nContent-Type: application/dicom\r\nContent-Length: %d\r\n\r\n", boundary, len(file))
		body.Write(file)
		body.WriteString("\r\n")
	}
	fmt.Fprintf(&body, "--%s--\r\n", boundary)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.studies, bytes.NewReader(body.Bytes()))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, CodeRejected, err, "making the request")
	}
	request.Header.Set("Content-Type", `multipart/related; type="application/dicom"; boundary=`+boundary)
	request.Header.Set("Accept", "application/dicom+json")
	switch {
	case c.cfg.Token != "":
		request.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	case c.cfg.User != "":
		request.SetBasicAuth(c.cfg.User, c.cfg.Password)
	}
	answer, err := c.client.Do(request)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }() // what is of use was read
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	return outcomes(answer.StatusCode, answer.Header.Get("Content-Type"), raw)
}

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var address *url.Error // names the address once more
	if errors.As(err, &address) {
		err = address.Err
	}
	if !tellable(err) {
		return fault.New(fault.Transient, CodeUnreachable, "the archive does not answer as an HTTP server does")
	}
	return fault.Wrap(fault.Transient, CodeUnreachable, err, "the archive does not answer")
}

// tellable tells whether an error speaks of network and certificates alone; net/http's others may quote the answer.
func tellable(err error) bool {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &network) || errors.As(err, &certificate) || errors.Is(err, http.ErrSchemeMismatch) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// outcomes reads an answer.
func outcomes(status int, mediaType string, raw []byte) (map[string]Outcome, error) {
	switch {
	case status == http.StatusOK, status == http.StatusCreated, status == http.StatusAccepted, status == http.StatusConflict:
	case status == http.StatusNoContent:
		return nil, nil
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		if found, ok := parse(mediaType, raw); ok && len(found) > 0 {
			return found, nil // what it says of each instance counts more
		}
		return nil, fault.New(fault.Transient, CodeBusy, "the archive answers %d %s", status, http.StatusText(status))
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusMethodNotAllowed,
		status >= 300 && status < 400:
		return nil, fault.New(fault.Conflict, CodeRefused, "the archive answers %d %s; check its address and the credentials", status, http.StatusText(status))
	case status >= 400:
		return nil, fault.New(fault.Invalid, CodeRejected, "the archive answers %d %s", status, http.StatusText(status))
	default:
		return nil, fault.New(fault.Internal, CodeAnswer, "the archive answers %d, which means nothing here", status)
	}
	found, ok := parse(mediaType, raw)
	switch {
	case ok && len(found) > 0:
		return found, nil
	case status == http.StatusConflict:
		return nil, fault.New(fault.Invalid, CodeRejected, "the archive answers 409 Conflict and does not say why")
	case status == http.StatusAccepted:
		return nil, fault.New(fault.Internal, CodeAnswer, "the archive answers 202 Accepted and does not say what it has taken")
	}
	return nil, nil // all of it was taken
}

// element is an element of the DICOM JSON model (PS3.18, F.2).
type element struct {
	Value []json.RawMessage `json:"Value"`
}

// Attributes of the answer (PS3.18, table I.1-1).
const (
	attributeInstance   = "00081155" // Referenced SOP Instance UID
	attributeWarning    = "00081196" // Warning Reason
	attributeReason     = "00081197" // Failure Reason
	attributeFailed     = "00081198" // Failed SOP Sequence
	attributeReferenced = "00081199" // Referenced SOP Sequence
)

// parse reads what the body says of instances; false if it is not DICOM JSON. Where an instance is named as stored and as failed, failed
// counts.
func parse(mediaType string, raw []byte) (map[string]Outcome, bool) {
	if kind, _, err := mime.ParseMediaType(mediaType); err != nil || kind != "application/dicom+json" && kind != "application/json" || len(raw) > maxAnswerBytes {
		return nil, false
	}
	raw = bytes.TrimSpace(raw)
	var dataset map[string]element
	if len(raw) > 0 && raw[0] == '[' { // some archives answer with a list of one
		var list []map[string]element
		if json.Unmarshal(raw, &list) != nil || len(list) != 1 {
			return nil, false
		}
		dataset = list[0]
	} else if json.Unmarshal(raw, &dataset) != nil {
		return nil, false
	}
	found := map[string]Outcome{}
	for _, sequence := range []struct {
		attribute, reason string
		stored            bool
	}{{attributeReferenced, attributeWarning, true}, {attributeFailed, attributeReason, false}} {
		for _, value := range dataset[sequence.attribute].Value {
			var item map[string]element
			if json.Unmarshal(value, &item) != nil {
				continue // an item that says nothing names no instance, which is told to the caller by its absence
			}
			var uid string
			if first(item[attributeInstance], &uid) && uid != "" {
				o := Outcome{Stored: sequence.stored}
				_ = first(item[sequence.reason], &o.Reason) // 0 if it is not there
				found[uid] = o
			}
		}
	}
	return found, true
}

// first reads an element's first value.
func first(e element, into any) bool {
	return len(e.Value) > 0 && json.Unmarshal(e.Value[0], into) == nil
}
