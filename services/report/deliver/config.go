package deliver

import (
	"crypto/tls"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/hl7"
	"github.com/noctua-screening/noctua/pkg/record"
)

// maxReceivers bounds memory and connections; sites have one or two of each kind.
const maxReceivers = 16

// Receiver is where reports are sent.
type Receiver struct {
	// Name is what the receiver is called in documents, the status and the stream: 1 to 32 small letters, digits and hyphens. Under another
	// name it is another receiver, to which nothing was sent.
	Name string
	// Kind is what it speaks. required
	Kind record.ReceiverKind
	// Address is mllp://host:port or mllps://host:port (TLS) of HL7, the URL of a webhook: https://, or http:// on this machine.
	Address string
	// Clinics are those whose reports it gets; none: all.
	Clinics []string
	// TLS holds e.g. the receiver's certificate authority and Noctua's certificate; nil: the system's authorities, no certificate.
	TLS *tls.Config
	// Document: HL7 messages hold the report for people as a PDF, which makes them some 400 KB long.
	Document bool
	// Header names sender and receiver in HL7.
	Header hl7.Header
	// Secrets sign webhooks, 24 to 64 bytes each. While one takes the place of another there are two; at most 4.
	Secrets [][]byte
}

// Config of the service.
type Config struct {
	Receivers []Receiver // at most 16
	// PublicURL is how readers reach Noctua, for the links in webhooks, without a slash at the end; "": the links are paths.
	PublicURL string
	// RetryBase and RetryCap: the n-th retry waits RetryBase·2^(n-1), at most RetryCap, give or take a quarter. Default 2 s and 5 min.
	RetryBase, RetryCap time.Duration
	// MaxAttempts is how often a receiver may fail at a version, while it answers, before the version is noted as failed. Default 5.
	MaxAttempts int
	// Patience is how long a receiver may be away before versions count as failed. Default 14 days: below the stream's 30, above any holiday.
	Patience time.Duration
	// Silence is how long a receiver that takes a version may give no answer to it, or fail in itself, before that counts as attempts: the version
	// may be what breaks it, and others wait behind. Default 6 h: above an outage that a person sees to by day.
	Silence time.Duration
	// AnswerTimeout is the longest wait for a receiver's answer. Default 30 s.
	AnswerTimeout time.Duration
	// ReconcileEvery is the pause between reconciliations with the bucket. Default 10 min.
	ReconcileEvery time.Duration
	// SettleAfter is how old a version without note is, by this machine's clock and the store's, before it is taken for forgotten: until then
	// its event may be on its way. Default 5 min.
	SettleAfter time.Duration
}

// WithDefaults fills what is not set.
func (c Config) WithDefaults() Config {
	set(&c.RetryBase, 2*time.Second)
	set(&c.RetryCap, 5*time.Minute)
	set(&c.MaxAttempts, 5)
	set(&c.Patience, 14*24*time.Hour)
	set(&c.Silence, 6*time.Hour)
	set(&c.AnswerTimeout, 30*time.Second)
	set(&c.ReconcileEvery, 10*time.Minute)
	set(&c.SettleAfter, 5*time.Minute)
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Bounds of secrets of webhooks (Standard Webhooks), and of their number.
const (
	minSecretBytes = 24
	maxSecretBytes = 64
	maxSecrets     = 4
	maxPartyLength = 180 // of a name in MSH-3 to 6, which has 227 characters with its universal id
)

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Validate says what is wrong with the configuration and what to do.
func (c Config) Validate() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "config-receiver", format, args...)
	}
	if len(c.Receivers) > maxReceivers {
		return bad("reports can be sent to at most %d receivers, but %d are named", maxReceivers, len(c.Receivers))
	}
	if c.RetryBase <= 0 || c.RetryCap < c.RetryBase || c.MaxAttempts < 1 || c.Patience <= 0 || c.Silence <= 0 || c.AnswerTimeout <= 0 || c.ReconcileEvery <= 0 || c.SettleAfter <= 0 {
		return bad("times and attempts of receivers should be above zero, the longest pause not below the first")
	}
	var names []string
	for _, r := range c.Receivers {
		if !namePattern.MatchString(r.Name) {
			return bad("the receiver name %q should be 1 to 32 small letters, digits and hyphens", r.Name)
		}
		if slices.Contains(names, r.Name) {
			return bad("two receivers are called %s", r.Name)
		}
		names = append(names, r.Name)
		for _, clinic := range r.Clinics {
			if !event.ValidClinic(clinic) {
				return bad("the clinic %q of receiver %s should be 1 to 64 letters, digits, - and _", clinic, r.Name)
			}
		}
		if problem := r.problem(); problem != "" {
			return bad("the receiver %s cannot be used: %s", r.Name, problem)
		}
	}
	return nil
}

// problem is what is wrong with a receiver's address and secrets, without showing them.
func (r Receiver) problem() string {
	u, err := url.Parse(r.Address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return "its address cannot be read, or holds a password"
	}
	switch r.Kind {
	case record.ReceiverHL7:
		host, port, err := net.SplitHostPort(u.Host)
		if (u.Scheme != "mllp" && u.Scheme != "mllps") || err != nil || host == "" || port == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return "its address should look like mllp://host:2575 or mllps://host:2576"
		}
		for _, name := range []string{r.Header.Sender.Application, r.Header.Sender.Facility, r.Header.Receiver.Application, r.Header.Receiver.Facility} {
			if len(name) > maxPartyLength {
				return "the names of applications and facilities should have at most 180 bytes"
			}
		}
	case record.ReceiverWebhook:
		switch {
		case u.Scheme != "https" && (u.Scheme != "http" || !isLocal(u.Host)):
			return "its address should begin with https://, or with http:// on this machine"
		case len(r.Secrets) == 0 || len(r.Secrets) > maxSecrets:
			return "it needs a secret, and has room for 4"
		}
		for _, s := range r.Secrets {
			if len(s) < minSecretBytes || len(s) > maxSecretBytes {
				return "its secrets should have 24 to 64 bytes"
			}
		}
	default:
		return "it is neither HL7 nor a webhook"
	}
	return ""
}

func isLocal(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// InTheClear tells whether sending to the receiver would show patients' data to a network beyond this machine.
func (r Receiver) InTheClear() bool {
	u, err := url.Parse(r.Address)
	return err == nil && u.Scheme == "mllp" && !isLocal(u.Host)
}

// accepts tells whether the receiver gets the reports of a clinic.
func (r Receiver) accepts(clinic string) bool {
	return len(r.Clinics) == 0 || slices.Contains(r.Clinics, clinic)
}
