package deliver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// answerBytes of a body are read, so that the connection may be used again; nothing in them matters.
	answerBytes       = 64 << 10
	answerHeaderBytes = 64 << 10
)

// hook is the body of a webhook. It holds no patient's data and no study's identifier: whoever reads it and may know more follows the links
// with a token.
type hook struct {
	Type      string   `json:"type"`
	Timestamp string   `json:"timestamp"` // when the version was issued
	Data      hookData `json:"data"`
}

type hookData struct {
	ReportID      string              `json:"report_id"`
	Version       int                 `json:"version"`
	Status        record.ReportStatus `json:"status"`
	Clinic        string              `json:"clinic"`
	IssuedAt      string              `json:"issued_at"`
	FirstIssuedAt string              `json:"first_issued_at"`
	Links         hookLinks           `json:"links"`
}

type hookLinks struct {
	Report string `json:"report"`
	FHIR   string `json:"fhir"`
}

// webhookSender posts what was issued, signed as Standard Webhooks 1.0.0 says (standardwebhooks.com).
type webhookSender struct {
	address, base string
	secrets       [][]byte
	clock         func() time.Time
	client        *http.Client
}

func newWebhook(r Receiver, cfg Config, clock func() time.Time) *webhookSender {
	transport := &http.Transport{
		TLSClientConfig: r.TLS.Clone(), TLSHandshakeTimeout: connectTimeout, DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext,
		MaxResponseHeaderBytes: answerHeaderBytes, MaxConnsPerHost: 1, IdleConnTimeout: reuseWithin, DisableCompression: true,
	}
	return &webhookSender{address: r.Address, base: strings.TrimRight(cfg.PublicURL, "/"), secrets: r.Secrets, clock: clock, client: &http.Client{
		Transport: transport, Timeout: connectTimeout + cfg.AnswerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the address is what was configured, no other
	}}
}

func (s *webhookSender) close() { s.client.CloseIdleConnections() }

// body is the same for each attempt.
func (s *webhookSender) body(r *record.Report) ([]byte, error) {
	instant := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
	return json.Marshal(hook{Type: "report.issued", Timestamp: instant(r.IssuedAt), Data: hookData{
		ReportID: r.ReportID, Version: r.Version, Status: r.Status, Clinic: r.Clinic, IssuedAt: instant(r.IssuedAt), FirstIssuedAt: instant(r.FirstIssuedAt),
		Links: hookLinks{Report: fmt.Sprintf("%s/api/reports/%s?version=%d", s.base, r.ReportID, r.Version), FHIR: s.base + "/fhir/DiagnosticReport/" + r.ReportID},
	}})
}

// sign is the webhook-signature of a message: v1 and the HMAC-SHA-256 of id, timestamp and body, for each secret.
func sign(secrets [][]byte, id, timestamp string, body []byte) string {
	var all []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write([]byte(id + "." + timestamp + "." + string(body))) // a hash takes everything
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}

func (s *webhookSender) send(ctx context.Context, r *record.Report, _ []byte) (string, error) {
	body, err := s.body(r)
	if err != nil {
		return "", fmt.Errorf("writing a webhook: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address, bytes.NewReader(body))
	if err != nil {
		return "", fault.New(fault.Transient, CodeRefuses, "the address of the webhook cannot be used")
	}
	id, timestamp := fmt.Sprintf("msg_%s_v%d", r.ReportID, r.Version), strconv.FormatInt(s.clock().Unix(), 10)
	h := request.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Noctua")
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", timestamp)
	h.Set("Webhook-Signature", sign(s.secrets, id, timestamp, body))
	response, err := s.client.Do(request)
	if err != nil {
		return "", s.broken(ctx, err)
	}
	// What the body says changes nothing; reading it serves the connection.
	_, _ = io.CopyN(io.Discard, response.Body, answerBytes)
	_ = response.Body.Close()
	return strconv.Itoa(response.StatusCode), judgeStatus(response.StatusCode)
}

// broken tells a receiver that is not there from one that took the request and did not answer. Its sentence holds no part of the address,
// which may be a secret.
func (s *webhookSender) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || !errors.As(err, &op) && !isCut(err) {
		return fault.Wrap(fault.Transient, CodeUnreachable, err, "the receiver cannot be reached")
	}
	return fault.New(fault.Transient, CodeSilent, "the receiver takes the request and does not answer it")
}

// isCut tells errors of a connection that stood.
func isCut(err error) bool {
	var timeout net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// judgeStatus sorts HTTP statuses.
func judgeStatus(status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusGone:
		return fault.New(fault.Transient, CodeGone, "the receiver says that it wants no more (410); noctua export --archive with its name sends again")
	case status >= 300 && status < 400:
		return fault.New(fault.Transient, CodeRefuses, "the receiver answers with a redirect (%d), which is not followed; configure the address that is meant", status)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return fault.New(fault.Transient, CodeRefuses, "the receiver refuses webhooks (%d); look at its address and the secret", status)
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status < 200:
		return fault.New(fault.Transient, CodeFails, "the receiver fails (%d); its log may say why", status)
	}
	return fault.New(fault.Internal, CodeErrors, "the receiver does not take the request (%d); its log may say why", status)
}
