package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/noctua-screening/noctua/pkg/account"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/lifecycle"
	"github.com/noctua-screening/noctua/pkg/oidc"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/token"
	"github.com/noctua-screening/noctua/services/report"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/segment"
)

// externalFlags say where the servers are when they are not embedded.
type externalFlags struct {
	natsFlags  `embed:""`
	storeFlags `embed:""`
}

func (f externalFlags) queue(name string) (stream.Config, error) {
	token, err := secretOf("the NATS token", "", f.NATSTokenFile)
	return stream.Config{URL: f.NATSURL, CredsFile: f.NATSCredsFile, Token: token, Name: name}, err
}

func (f externalFlags) objects() (blob.Config, error) {
	secret, err := secretOf("the S3 secret key", f.S3SecretKey, f.S3SecretKeyFile)
	if err != nil {
		return blob.Config{}, err
	}
	if _, _, err := splitEndpoint(f.S3Endpoint); err != nil {
		return blob.Config{}, err
	}
	return blob.Config{Endpoint: f.S3Endpoint, AccessKey: f.S3AccessKey, SecretKey: secret, Region: f.S3Region, BucketPrefix: f.BucketPrefix}, nil
}

// open connects a service to its servers.
func (f externalFlags) open(inv *invocation, name string, consumers ...stream.ConsumerSpec) (*backbone, error) {
	queue, err := f.queue(name)
	if err != nil {
		return nil, err
	}
	objects, err := f.objects()
	if err != nil {
		return nil, err
	}
	return openBackbone(inv.ctx, queue, objects, inv.logger, consumers...)
}

// ready tells people and supervisors that a service works.
func ready(inv *invocation, name string, started time.Time) error {
	_, err := fmt.Fprintf(inv.out, "noctua %s is ready (%.1f s).\n", name, time.Since(started).Seconds())
	return err
}

// ingestCommand runs the intake alone.
type ingestCommand struct {
	externalFlags  `embed:""`
	ingestFlags    `embed:""`
	Model          string `help:"Folder of the model in use, if not the one in the program: images without its result are announced again." env:"NOCTUA_MODEL" placeholder:"DIR"`
	SiteSecret     string `help:"Secret that keys the hashes that stand for patients; never change it. Better given by --site-secret-file or the environment." env:"NOCTUA_SITE_SECRET"`
	SiteSecretFile string `help:"File with the site secret." env:"NOCTUA_SITE_SECRET_FILE" placeholder:"FILE"`
}

// Run runs until the process is told to stop.
func (c *ingestCommand) Run(inv *invocation) (err error) {
	started := time.Now()
	watched, err := c.folders("")
	if err != nil {
		return err
	}
	listener, err := c.listen(inv.ctx)
	if err != nil {
		return err
	}
	defer closeListener(listener)
	stow, err := c.openStow(inv.ctx, inv.logger, nil)
	if err != nil {
		return err
	}
	defer stow.close()
	secret, err := secretOf("the site secret", c.SiteSecret, c.SiteSecretFile)
	if err != nil {
		return err
	}
	model, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	b, err := c.open(inv, "noctua-ingest")
	if err != nil {
		return err
	}
	defer b.close()
	services, err := newIngest(b, c.ingestFlags, listener, stow, secret, model.Manifest.Sha256)
	if err != nil {
		return err
	}
	_, watchers, err := newWatchers(b, watched)
	if err != nil {
		return err
	}
	services = append(services, watchers...)
	if err := ready(inv, "ingest", started); err != nil {
		return err
	}
	return runAll(inv.ctx, inv.logger, services...)
}

// segmentCommand runs segment workers alone.
type segmentCommand struct {
	externalFlags `embed:""`
	engineFlags   `embed:""`
}

// Run runs until the process is told to stop.
func (c *segmentCommand) Run(inv *invocation) (err error) {
	started := time.Now()
	// The engine first: a missing provider or library is the commonest mistake, and needs no server to be found.
	var engine *segment.Engine
	if engine, err = c.engineFlags.open(inv.ctx, inv.err); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	b, err := c.externalFlags.open(inv, "noctua-segment")
	if err != nil {
		return err
	}
	defer b.close()
	service, err := newSegment(b, engine, c.judgement())
	if err != nil {
		return err
	}
	if err := ready(inv, "segment", started); err != nil {
		return err
	}
	return runAll(inv.ctx, inv.logger, service)
}

// reportCommand runs the report service alone.
type reportCommand struct {
	externalFlags    `embed:""`
	reportFlags      `embed:""`
	manifestFlags    `embed:""`
	databaseFlags    `embed:""`
	Model            string `help:"Folder of the model whose results count, if not the one in the program." env:"NOCTUA_MODEL" placeholder:"DIR"`
	Token            string `help:"API token; better given by --token-file or the environment." env:"NOCTUA_TOKEN"`
	TokenFile        string `help:"File with the API token." env:"NOCTUA_TOKEN_FILE" placeholder:"FILE"`
	Tokens           string `help:"File of the tokens that may do something alone, made by noctua token." env:"NOCTUA_TOKENS" placeholder:"FILE"`
	Accounts         string `help:"File of the accounts of people, made by noctua account; where it is not there yet, the account operator is made. Without it people sign in with tokens." env:"NOCTUA_ACCOUNTS" placeholder:"FILE"`
	SiteSecret       string `help:"Site secret, as noctua ingest has it; with it a study can be given to a patient who has not been seen yet. Better given by --site-secret-file or the environment." env:"NOCTUA_SITE_SECRET"`
	SiteSecretFile   string `help:"File with the site secret." env:"NOCTUA_SITE_SECRET_FILE" placeholder:"FILE"`
	S3PublicEndpoint string `name:"s3-public-endpoint" help:"S3 address that clients of noctua submit reach, if another." env:"NOCTUA_S3_PUBLIC_ENDPOINT" placeholder:"URL"`
}

// authority tells who has a token.
func (c *reportCommand) authority() (*token.Authority, *oidc.Verifier, error) {
	operator, err := secretOf("the API token", c.Token, c.TokenFile)
	if err != nil {
		return nil, nil, err
	}
	if err := checkOperatorToken(operator); err != nil {
		return nil, nil, err
	}
	var file *token.File
	if c.Tokens != "" {
		if file, err = openTokens(c.Tokens, true); err != nil {
			return nil, nil, err
		}
	}
	jwts, err := c.verifier()
	return newAuthority(operator, file, jwts), jwts, err
}

// Run runs until the process is told to stop.
func (c *reportCommand) Run(inv *invocation) (err error) {
	started := time.Now()
	certificates, err := certificate(inv.logger, "tls-cert", c.TLSCert, "tls-key", c.TLSKey)
	if err != nil {
		return err
	}
	if err := checkListen("listen", c.Listen, "tls-cert", certificates != nil, "insecure", c.Insecure); err != nil {
		return err
	}
	authority, jwts, err := c.authority()
	if err != nil {
		return err
	}
	model, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	exporting, err := c.outward(inv.logger, model.Manifest.Sha256)
	if err != nil {
		return err
	}
	b, err := c.open(inv, "noctua-report", exporting.consumers()...)
	if err != nil {
		return err
	}
	defer b.close()
	objects := signingStore{Store: b.blobs, signer: b.blobs}
	if c.S3PublicEndpoint != "" {
		public, err := c.objects()
		if err != nil {
			return err
		}
		public.Endpoint = c.S3PublicEndpoint
		if objects.signer, err = blob.New(public); err != nil {
			return err
		}
	}
	cfg := c.reportFlags.config(c.manifestFlags)
	cfg.SMART = smartOf(inv.ctx, inv.logger, jwts)
	index, db, err := c.openIndex(inv.ctx, store.Config{ModelSHA: model.Manifest.Sha256, Timing: cfg.StoreTiming()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	deps := report.Deps{Blob: objects, Queue: reportStream(b), Store: index, Authority: authority, TLS: certificates, Photo: b.photo, Logger: inv.logger.With("service", "report"), Clock: time.Now}
	siteSecret, err := secretOf("the site secret", c.SiteSecret, c.SiteSecretFile)
	if err != nil {
		return err
	}
	deps.PatientKey = patientKeys(siteSecret)
	if c.Accounts != "" {
		people, firstPassword, err := openAccounts(inv.ctx, c.Accounts)
		if err != nil {
			return err
		}
		deps.Accounts = people
		if firstPassword != "" { // the log, which is collected, says where it is and not what
			inv.logger.Info("made the account of the operator; its first password is in a file", "account", account.OperatorName, "file", people.FirstSignIn())
		}
	}
	if deps.System, err = c.system(b, model); err != nil {
		return err
	}
	var service *report.Service
	exports, err := exporting.services(b, &deps, func() pdfMaker { return service.PDF })
	if err != nil {
		return err
	}
	if service, err = report.New(deps, cfg); err != nil {
		return err
	}
	if err := ready(inv, "report", started); err != nil {
		return err
	}
	return runAll(inv.ctx, inv.logger, append(exports, lifecycle.Component{Name: "report", Run: service.Run})...)
}
