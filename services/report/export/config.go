package export

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
)

// maxArchives bounds memory and connections; clinics have one or two.
const maxArchives = 16

// Archive is where results are sent.
type Archive struct {
	// Name is what the archive is called in documents, the status and the stream: 1 to 32 small letters, digits and hyphens. Under another name it
	// is another archive, to which nothing was sent.
	Name string
	// Address is dicom://TITLE@host:port, the same with dicoms:// for TLS, or the address of DICOMweb services, e.g. https://host/dicom-web.
	Address string
	// Clinics are those whose results the archive gets; none: all.
	Clinics []string
	// Token is shown to DICOMweb as a bearer token; else User and Password by HTTP Basic.
	Token, User, Password string
	// TLS holds e.g. the archive's certificate authority; nil: the system's.
	TLS *tls.Config
}

// Config of the service.
type Config struct {
	Archives []Archive // at most 16
	// Title is the AE title by which Noctua calls archives. Default NOCTUA.
	Title string
	// ModelSHA256 names the model whose results are sent. required
	ModelSHA256 string
	// RetryBase and RetryCap: the n-th retry waits RetryBase·2^(n-1), at most RetryCap, give or take a quarter. Default 2 s and 5 min.
	RetryBase, RetryCap time.Duration
	// MaxAttempts is how often an archive may fail at a result, while it answers, before the result is noted as failed. Default 5.
	MaxAttempts int
	// Patience is how long an archive may be away, or unable to take anything, before results count as failed. Default 14 days: below the
	// stream's 30, above any holiday.
	Patience time.Duration
	// AnswerTimeout is the longest wait for an archive's answer. Default 1 min.
	AnswerTimeout time.Duration
	// SendTimeout is the longest that sending one result may take. Default 5 min.
	SendTimeout time.Duration
	// ReconcileEvery is the pause between reconciliations with the bucket. Default 10 min.
	ReconcileEvery time.Duration
	// SettleAfter is how old a result without note is, by this machine's clock and the store's, before it is taken for forgotten: until then
	// its event may be on its way. Default 5 min.
	SettleAfter time.Duration
}

// connectTimeout is the longest wait for a connection.
const connectTimeout = 10 * time.Second

// WithDefaults fills what is not set.
func (c Config) WithDefaults() Config {
	set(&c.Title, "NOCTUA")
	set(&c.RetryBase, 2*time.Second)
	set(&c.RetryCap, 5*time.Minute)
	set(&c.MaxAttempts, 5)
	set(&c.Patience, 14*24*time.Hour)
	set(&c.AnswerTimeout, time.Minute)
	set(&c.SendTimeout, 5*time.Minute)
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

var (
	namePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	titlePattern = regexp.MustCompile(`^[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?$`)
)

// Validate says what is wrong with the configuration and what to do.
func (c Config) Validate() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "config-export", format, args...)
	}
	if len(c.Archives) > maxArchives {
		return bad("results can be sent to at most %d archives, but %d are named", maxArchives, len(c.Archives))
	}
	if !titlePattern.MatchString(c.Title) {
		return bad("the AE title %q should be 1 to 16 letters of ASCII without a backslash", c.Title)
	}
	if c.RetryBase <= 0 || c.RetryCap < c.RetryBase || c.MaxAttempts < 1 || c.Patience <= 0 || c.AnswerTimeout <= 0 || c.SendTimeout <= 0 || c.ReconcileEvery <= 0 || c.SettleAfter <= 0 {
		return bad("times and attempts of exports should be above zero, the longest pause not below the first")
	}
	var names []string
	for _, a := range c.Archives {
		if !namePattern.MatchString(a.Name) {
			return bad("the archive name %q should be 1 to 32 small letters, digits and hyphens", a.Name)
		}
		if slices.Contains(names, a.Name) {
			return bad("two archives are called %s", a.Name)
		}
		names = append(names, a.Name)
		for _, clinic := range a.Clinics {
			if !event.ValidClinic(clinic) {
				return bad("the clinic %q of archive %s should be 1 to 64 letters, digits, - and _", clinic, a.Name)
			}
		}
		p, err := parseAddress(a.Address)
		if err != nil {
			return bad("the address of archive %s should look like dicom://TITLE@host:11112, dicoms://TITLE@host:2762 or https://host/dicom-web, without password and question mark", a.Name)
		}
		if (a.Token != "" || a.User != "") && p.title != "" {
			return bad("the archive %s is called by DICOM, which knows no tokens and passwords", a.Name)
		}
		if a.Token != "" && a.User != "" {
			return bad("the archive %s gets either a token or user and password, not both", a.Name)
		}
		if a.User != "" && strings.Contains(a.User, ":") {
			return bad("the user name for archive %s holds a colon, which HTTP Basic cannot have", a.Name)
		}
	}
	return nil
}

// partner is an address taken apart.
type partner struct {
	web    string // address of DICOMweb services; "": DICOM
	title  string
	host   string // with its port
	secure bool
}

func parseAddress(address string) (partner, error) {
	bad := fault.New(fault.Invalid, "config-export", "the address cannot be read")
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return partner{}, bad // not wrapped: it might show a password
	}
	switch u.Scheme {
	case "http", "https":
		if u.User != nil {
			return partner{}, bad
		}
		return partner{web: address, host: u.Host, secure: u.Scheme == "https"}, nil
	case "dicom", "dicoms":
		_, password := u.User.Password()
		host, port, err := net.SplitHostPort(u.Host)
		if err != nil || host == "" || port == "" || password || strings.Trim(u.Path, "/") != "" || !titlePattern.MatchString(u.User.Username()) {
			return partner{}, bad
		}
		return partner{title: u.User.Username(), host: u.Host, secure: u.Scheme == "dicoms"}, nil
	}
	return partner{}, bad
}

// InTheClear tells whether sending to the archive would show patients' data to a network beyond this machine.
func (a Archive) InTheClear() bool {
	p, err := parseAddress(a.Address)
	if err != nil || p.secure {
		return false
	}
	host := p.host
	if h, _, err := net.SplitHostPort(p.host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// accepts tells whether the archive gets the results of a clinic.
func (a Archive) accepts(clinic string) bool {
	return len(a.Clinics) == 0 || slices.Contains(a.Clinics, clinic)
}
