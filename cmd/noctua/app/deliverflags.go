package app

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/hl7"
	"github.com/noctua-screening/noctua/pkg/lifecycle"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/report"
	"github.com/noctua-screening/noctua/services/report/deliver"
	"github.com/noctua-screening/noctua/services/report/export"
)

// deliverFlags name the receivers that reports are sent to as they are issued.
type deliverFlags struct {
	HL7               map[string]string `name:"hl7" help:"Receiver of reports as HL7 v2.5.1 (ORU^R01) under a name of your choice: ehr=mllp://host:2575, or mllps:// for TLS; repeat it for each." env:"NOCTUA_HL7" placeholder:"NAME=ADDRESS"`
	HL7Clinics        map[string]string `name:"hl7-clinics" help:"Clinics whose reports a receiver gets, with commas between them; without it, those of all." env:"NOCTUA_HL7_CLINICS" placeholder:"NAME=CLINIC,…"`
	HL7Sender         string            `name:"hl7-sender" help:"Sending application and facility (MSH-3, MSH-4); without a facility it is the report's clinic." default:"NOCTUA" env:"NOCTUA_HL7_SENDER" placeholder:"APPLICATION[,FACILITY]"`
	HL7Receiver       map[string]string `name:"hl7-receiver" help:"Receiving application and facility (MSH-5, MSH-6) of a receiver." env:"NOCTUA_HL7_RECEIVER" placeholder:"NAME=APPLICATION[,FACILITY]"`
	HL7WithoutPDF     []string          `name:"hl7-without-pdf" help:"Receivers that get no PDF in their messages, with commas between them: it makes them some 400 KB long." env:"NOCTUA_HL7_WITHOUT_PDF" placeholder:"NAME,…"`
	HL7CAFile         string            `name:"hl7-ca-file" help:"File with the authorities (PEM) that signed the receivers' certificates, if not the system's." env:"NOCTUA_HL7_CA_FILE" placeholder:"FILE"`
	HL7Cert           string            `name:"hl7-cert" help:"File with the certificate (PEM) that Noctua shows to receivers that ask for one." env:"NOCTUA_HL7_CERT" placeholder:"FILE"`
	HL7Key            string            `name:"hl7-key" help:"File with that certificate's private key (PEM)." env:"NOCTUA_HL7_KEY" placeholder:"FILE"`
	HL7Insecure       bool              `name:"hl7-insecure" help:"Allow mllp:// beyond this machine, without TLS; only on a network of its own." env:"NOCTUA_HL7_INSECURE"`
	Webhook           map[string]string `name:"webhook" help:"Address that is told of each version of a report, without patient data, under a name of your choice: hook=https://host/path; repeat it for each." env:"NOCTUA_WEBHOOK" placeholder:"NAME=URL"`
	WebhookClinics    map[string]string `name:"webhook-clinics" help:"Clinics whose reports a webhook is told of, with commas between them; without it, those of all." env:"NOCTUA_WEBHOOK_CLINICS" placeholder:"NAME=CLINIC,…"`
	WebhookSecretFile map[string]string `name:"webhook-secret-file" help:"File with the secret that signs a webhook, as whsec_ and base64 of 24 to 64 bytes; several lines while one takes the place of another." env:"NOCTUA_WEBHOOK_SECRET_FILE" placeholder:"NAME=FILE"`
	WebhookCAFile     string            `name:"webhook-ca-file" help:"File with the authorities (PEM) that signed the webhooks' certificates, if not the system's." env:"NOCTUA_WEBHOOK_CA_FILE" placeholder:"FILE"`
}

// receivers makes the configuration of the flags; whatever is wrong with them is found here, before anything is started.
func (f deliverFlags) receivers(logger *slog.Logger, publicURL string) (deliver.Config, error) {
	cfg := deliver.Config{PublicURL: strings.TrimRight(publicURL, "/")}
	for _, group := range []struct {
		flag, base  string
		names, here map[string]string
	}{{"hl7-clinics", "hl7", f.HL7Clinics, f.HL7}, {"hl7-receiver", "hl7", f.HL7Receiver, f.HL7}, {"webhook-clinics", "webhook", f.WebhookClinics, f.Webhook}, {"webhook-secret-file", "webhook", f.WebhookSecretFile, f.Webhook}} {
		for name := range group.names {
			if _, ok := group.here[name]; !ok {
				return cfg, usageError{fmt.Errorf("--%s names %s, but no --%s does", group.flag, name, group.base)}
			}
		}
	}
	for _, name := range f.HL7WithoutPDF {
		if _, ok := f.HL7[name]; !ok {
			return cfg, usageError{fmt.Errorf("--hl7-without-pdf names %s, but no --hl7 does", name)}
		}
	}
	secure, err := f.hl7TLS(logger)
	if err != nil {
		return cfg, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.HL7)) {
		cfg.Receivers = append(cfg.Receivers, deliver.Receiver{Name: name, Kind: record.ReceiverHL7, Address: f.HL7[name], Clinics: listOf(f.HL7Clinics[name]), TLS: secure,
			Document: !slices.Contains(f.HL7WithoutPDF, name), Header: hl7.Header{Sender: partyOf(f.HL7Sender), Receiver: partyOf(f.HL7Receiver[name])}})
	}
	var trusted *tls.Config
	if f.WebhookCAFile != "" {
		if trusted, err = trusting(f.WebhookCAFile); err != nil {
			return cfg, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Webhook)) {
		secrets, err := webhookSecrets(name, f.WebhookSecretFile[name])
		if err != nil {
			return cfg, err
		}
		cfg.Receivers = append(cfg.Receivers, deliver.Receiver{Name: name, Kind: record.ReceiverWebhook, Address: f.Webhook[name], Clinics: listOf(f.WebhookClinics[name]), TLS: trusted, Secrets: secrets})
	}
	if err := cfg.WithDefaults().Validate(); err != nil {
		return cfg, usageError{fmt.Errorf("%w; see --hl7 and --webhook", err)}
	}
	for _, r := range cfg.Receivers {
		if r.InTheClear() && !f.HL7Insecure {
			return cfg, usageError{fmt.Errorf("--hl7 %s would send patient data over the network without TLS; use mllps://, or add --hl7-insecure if you know what you do", r.Name)}
		}
	}
	return cfg, nil
}

// hl7TLS is how receivers are spoken to by mllps://; nil: with the system's authorities and no certificate.
func (f deliverFlags) hl7TLS(logger *slog.Logger) (*tls.Config, error) {
	own, err := certificate(logger, "hl7-cert", f.HL7Cert, "hl7-key", f.HL7Key)
	if err != nil {
		return nil, err
	}
	if own == nil && f.HL7CAFile == "" {
		return nil, nil // none are named, which is no error
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.HL7CAFile != "" {
		if config, err = trusting(f.HL7CAFile); err != nil {
			return nil, err
		}
	}
	if own != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.GetCertificate(nil) }
	}
	return config, nil
}

// listOf takes a list with commas apart; "" has none.
func listOf(text string) (all []string) {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		all = append(all, strings.TrimSpace(part))
	}
	return all
}

// partyOf reads APPLICATION[,FACILITY].
func partyOf(text string) hl7.Party {
	application, facility, _ := strings.Cut(text, ",")
	return hl7.Party{Application: strings.TrimSpace(application), Facility: strings.TrimSpace(facility)}
}

// webhookSecrets reads the secrets of a webhook: a line each, whsec_ and base64.
func webhookSecrets(name, file string) (all [][]byte, err error) {
	if file == "" {
		return nil, usageError{fmt.Errorf("--webhook %s needs its secret: --webhook-secret-file %s=FILE", name, name)}
	}
	text, err := secretOf("the secret of webhook "+name, "", file)
	if err != nil {
		return nil, err
	}
	for line := range strings.FieldsSeq(text) {
		secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "whsec_"))
		if err != nil || !strings.HasPrefix(line, "whsec_") {
			// Not wrapped: it might show the secret.
			return nil, fault.New(fault.Invalid, "secret-unusable", "the file %s should hold whsec_ and base64 of 24 to 64 bytes, e.g. of: echo whsec_$(openssl rand -base64 32)", file)
		}
		all = append(all, secret)
	}
	return all, nil
}

// announcement tells people where reports go; "" if nowhere.
func (f deliverFlags) announcement() string {
	names := append(slices.Sorted(maps.Keys(f.HL7)), slices.Sorted(maps.Keys(f.Webhook))...)
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("  Reports       also go to %s\n", strings.Join(names, ", "))
}

// outward is all that leaves by itself: results to archives, reports to receivers.
type outward struct {
	archives  export.Config
	receivers deliver.Config
}

// outward makes the configuration of what leaves by itself. Archives and receivers share one set of names, by which people ask for them. The
// model's hash may be set later.
func (f reportFlags) outward(logger *slog.Logger, modelSHA256 string) (o outward, err error) {
	if o.archives, err = f.exports(modelSHA256); err != nil {
		return o, err
	}
	if o.receivers, err = f.deliverFlags.receivers(logger, f.PublicURL); err != nil {
		return o, err
	}
	seen := map[string]bool{}
	for _, a := range o.archives.Archives {
		seen[a.Name] = true
	}
	for _, r := range o.receivers.Receivers {
		if seen[r.Name] {
			return o, usageError{fmt.Errorf("two archives or receivers are called %s; give each a name of its own", r.Name)}
		}
		seen[r.Name] = true
	}
	return o, nil
}

func (o outward) consumers() []stream.ConsumerSpec {
	return append(o.archives.Consumers(), o.receivers.Consumers()...)
}

// pdfMaker makes the page for people of the version of a report at a key.
type pdfMaker func(ctx context.Context, r *record.Report, key string) ([]byte, error)

// services builds what sends, where anything is named, and lets the report service know it. pdf is asked when something is sent: the report service, which
// makes the pages, is built after what it knows.
func (o outward) services(b *backbone, reports *report.Deps, pdf func() pdfMaker) ([]lifecycle.Component, error) {
	all, err := newExports(b, o.archives, reports)
	if err != nil || len(o.receivers.Receivers) == 0 {
		return all, err
	}
	service, err := deliver.New(deliver.Deps{Blob: b.blobs, Conn: b.conn, PDF: func(ctx context.Context, r *record.Report, key string) ([]byte, error) { return pdf()(ctx, r, key) },
		Logger: b.logger.With("service", "deliver"), Clock: time.Now}, o.receivers)
	if err != nil {
		return nil, err
	}
	reports.Deliveries = service
	return append(all, lifecycle.Component{Name: "deliveries", Run: service.Run}), nil
}
