package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/cmd/noctua/app/embedded"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/lifecycle"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/ingest"
	"github.com/noctua-screening/noctua/services/report"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/segment"
)

// runCommand runs everything in one process. It differs from the separate services in one thing alone: the servers are
// embedded.
type runCommand struct {
	installedModelFlags `embed:""`
	ingestFlags         `embed:""`
	reportFlags         `embed:""`
	S3Listen            string `name:"s3-listen" help:"Address of the embedded S3 server." default:"127.0.0.1:8421" env:"NOCTUA_S3_LISTEN"`
}

// Defaults of addresses: where they are taken by another program, any free port will do, since clients read endpoint.json.
const (
	defaultListen   = "127.0.0.1:8420"
	defaultS3Listen = "127.0.0.1:8421"
	webReadyTimeout = 20 * time.Second
)

// Run runs until the process is told to stop.
func (c *runCommand) Run(inv *invocation) (err error) {
	started := time.Now()
	certificates, err := certificate(inv.logger, "tls-cert", c.TLSCert, "tls-key", c.TLSKey)
	if err != nil {
		return err
	}
	if err := checkListen("listen", c.Listen, "tls-cert", certificates != nil, "insecure", c.Insecure); err != nil {
		return err
	}
	if err := checkListen("s3-listen", c.S3Listen, "", false, "insecure", c.Insecure); err != nil {
		return err
	}
	jwts, err := c.verifier()
	if err != nil {
		return err
	}
	// Absolute, since the S3 server changes the working directory of the process.
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return fmt.Errorf("finding the data folder: %w", err)
	}
	watched, err := c.folders(c.Data)
	if err != nil {
		return err
	}
	model, err := chooseModel(c.Data, c.Model)
	if err != nil {
		return err
	}
	lock, err := lockDataDir(c.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	keys, err := loadOrMakeSecrets(c.Data)
	if err != nil {
		return err
	}
	if c.Listen, err = chooseAddress(inv.ctx, "listen", c.Listen, defaultListen); err != nil {
		return err
	}
	if c.S3Listen, err = chooseAddress(inv.ctx, "s3-listen", c.S3Listen, defaultS3Listen); err != nil {
		return err
	}

	// Looked at before anything is started; the model's hash comes with the engine.
	exporting, err := c.outward(inv.logger, "")
	if err != nil {
		return err
	}
	listener, err := c.listen(inv.ctx)
	if err != nil {
		return err
	}
	defer closeListener(listener)
	tokens, err := openTokens(filepath.Join(c.Data, tokensFile), false)
	if err != nil {
		return err
	}
	authority := newAuthority(keys.APIToken, tokens, jwts)
	people, firstPassword, err := openAccounts(inv.ctx, filepath.Join(c.Data, accountsFile))
	if err != nil {
		return err
	}
	stow, err := c.openStowInside(inv.ctx, inv.logger, authority)
	if err != nil {
		return err
	}
	defer stow.close()
	engine, servers, err := c.start(inv, model, keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	defer func() { err = errors.Join(err, servers.Close()) }()

	b, err := openBackbone(inv.ctx, stream.Config{InProcess: servers.Queue, Name: "noctua"},
		blob.Config{Endpoint: servers.Endpoint, AccessKey: keys.S3AccessKey, SecretKey: keys.S3SecretKey, Region: embedded.Region}, inv.logger, exporting.consumers()...)
	if err != nil {
		return err
	}
	defer b.close()
	modelSHA := engine.Model().Manifest.Sha256
	exporting.archives.ModelSHA256 = modelSHA
	cfg := c.reportFlags.config(c.manifestFlags)
	cfg.SMART = smartOf(inv.ctx, inv.logger, jwts)
	index, db, err := databaseFlags{Database: filepath.Join(c.Data, indexFile)}.openIndex(inv.ctx, store.Config{ModelSHA: modelSHA, Timing: cfg.StoreTiming()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	services, err := c.services(b, listener, stow, watched, engine, report.Deps{Store: index, Authority: authority, Accounts: people, TLS: certificates}, cfg, exporting, keys)
	if err != nil {
		return err
	}
	services = append(services, lifecycle.Component{Name: "embedded servers", Run: servers.Run},
		lifecycle.Component{Name: "announcement", Run: func(ctx context.Context) error {
			return c.announce(ctx, inv, keys, signInAnnouncement(people, firstPassword), b.blobs.Buckets().Inbox, servers.Endpoint, started)
		}})
	defer func() {
		if removeErr := os.Remove(filepath.Join(c.Data, endpointFile)); removeErr != nil && !errors.Is(removeErr, os.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}()
	return runAll(inv.ctx, inv.logger, services...)
}

// start loads the network while the servers start.
func (c *runCommand) start(inv *invocation, model chosenModel, keys secrets) (*segment.Engine, *embedded.Servers, error) {
	var engine *segment.Engine
	var servers *embedded.Servers
	group, ctx := errgroup.WithContext(inv.ctx)
	group.Go(func() (err error) {
		engine, err = c.runtimeFlags.open(ctx, inv.err, model)
		return err
	})
	group.Go(func() (err error) {
		servers, err = embedded.Start(ctx, embedded.Config{
			DataDir: c.Data, S3Listen: c.S3Listen, AccessKey: keys.S3AccessKey, SecretKey: keys.S3SecretKey, Logger: inv.logger,
		})
		return err
	})
	err := group.Wait()
	if err == nil {
		return engine, servers, nil
	}
	if engine != nil {
		err = errors.Join(err, engine.Close())
	}
	if servers != nil {
		err = errors.Join(err, servers.Close())
	}
	return nil, nil, err
}

// services builds the three services and the watchers of the drop folder and of others.
func (c *runCommand) services(b *backbone, listener net.Listener, stow *stowDoor, watched []ingest.FolderConfig, engine *segment.Engine, deps report.Deps, cfg report.Config, exporting outward, keys secrets) ([]lifecycle.Component, error) {
	services, err := newIngest(b, c.ingestFlags, listener, stow, keys.SiteSecret, engine.Model().Manifest.Sha256)
	if err != nil {
		return nil, err
	}
	drop := filepath.Join(c.Data, dropFolder)
	if err := os.MkdirAll(drop, 0o700); err != nil {
		return nil, fmt.Errorf("making the drop folder: %w", err)
	}
	watcher, err := ingest.NewFolder(ingest.FolderDeps{Blob: b.blobs, Logger: b.logger.With("service", "folder"), Clock: time.Now}, ingest.FolderConfig{Dir: drop})
	if err != nil {
		return nil, err
	}
	watchers, components, err := newWatchers(b, watched)
	if err != nil {
		return nil, err
	}
	services = append(services, components...)
	workers, err := newSegment(b, engine, c.judgement())
	if err != nil {
		return nil, err
	}
	deps.Blob, deps.Queue, deps.Photo, deps.Logger, deps.Clock = b.blobs, reportStream(b), b.photo, b.logger.With("service", "report"), time.Now
	deps.PatientKey = patientKeys(keys.SiteSecret)
	deps.DICOMWeb = stow.proxy(b.logger.With("service", "stow"))
	info := engine.Info()
	deps.System = c.system(b, engine.Model(), info.RuntimeVersion, string(info.Provider))
	deps.Upstream = func(context.Context) (int, error) {
		waiting, err := watcher.Waiting()
		for _, w := range watchers {
			waiting += w.Pending()
		}
		return waiting, err
	}
	var reports *report.Service
	exports, err := exporting.services(b, &deps, func() pdfMaker { return reports.PDF })
	if err != nil {
		return nil, err
	}
	if reports, err = report.New(deps, cfg); err != nil {
		return nil, err
	}
	services = append(services, exports...)
	return append(services, workers,
		lifecycle.Component{Name: "drop folder", Run: watcher.Run}, lifecycle.Component{Name: "report", Run: reports.Run}), nil
}

// announce waits until the page answers, tells client commands where Noctua is, and prints how to use it.
func (c *runCommand) announce(ctx context.Context, inv *invocation, keys secrets, signIn, inbox, s3 string, started time.Time) error {
	web := "http://" + c.Listen
	trusted, err := localTLS(c.TLSCert)
	if err != nil {
		return err
	}
	certFile := ""
	if trusted != nil {
		web = "https://" + c.Listen
		if certFile, err = filepath.Abs(c.TLSCert); err != nil {
			return fmt.Errorf("finding the certificate: %w", err)
		}
	}
	asker := &http.Client{Transport: transport(trusted)}
	deadline := time.Now().Add(webReadyTimeout)
	for {
		err := answers(ctx, asker, web+"/healthz")
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop before the page was there
		}
		if time.Now().After(deadline) {
			return fault.Wrap(fault.Internal, "page-not-ready", err, "the page did not answer within %s", webReadyTimeout)
		}
		sleep(ctx, 20*time.Millisecond)
	}
	e := endpoint{WebURL: web, S3URL: "http://" + s3, InboxBucket: inbox, Certificate: certFile, ProcessID: os.Getpid(), StartedAt: started.UTC()}
	if err := writeJSONFile(filepath.Join(c.Data, endpointFile), e); err != nil {
		return err
	}
	_, err = fmt.Fprintf(inv.out, `
Noctua %s is ready (%.1f s). It is a screening aid and makes no diagnosis.

  Web page      %s
  Sign in       %s
  API token     %s
  Drop folder   %s
                copy DICOM files or ZIPs of them into a folder named after the clinic, e.g. %s
  S3 inbox      %s   bucket %s   access key %s
                upload a folder:
                AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s AWS_DEFAULT_REGION=%s aws --endpoint-url %s s3 cp --recursive FOLDER s3://%s/CLINIC/
%s%s  Or            %s submit FOLDER --clinic CLINIC --data %s
                %s demo --data %s      (synthetic patients, to look around)

Stop with Ctrl-C; the next start on %s carries on.
`,
		codeVersion(), time.Since(started).Seconds(), web, signIn, keys.APIToken,
		filepath.Join(c.Data, dropFolder), filepath.Join(c.Data, dropFolder, "CLINIC"),
		e.S3URL, inbox, keys.S3AccessKey,
		keys.S3AccessKey, keys.S3SecretKey, embedded.Region, e.S3URL, inbox,
		c.watchFlags.announcement(), c.dicomFlags.announcement()+c.stowAnnouncement(web, c.Data)+c.exportFlags.announcement()+c.deliverFlags.announcement(), os.Args[0], c.Data, os.Args[0], c.Data, c.Data)
	if err != nil {
		return fmt.Errorf("printing the addresses: %w", err)
	}
	<-ctx.Done()
	return nil
}

// answers asks an address once.
func answers(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return nil
}

// chooseAddress returns an address that can be listened on: the given one, or, where that is the default and taken by another
// program, another port of the same host. Port 0 becomes a free port.
func chooseAddress(ctx context.Context, flag, address, defaultAddress string) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil && address == defaultAddress {
		host, _, splitErr := net.SplitHostPort(address)
		if splitErr != nil {
			return "", splitErr
		}
		listener, err = config.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", fault.Wrap(fault.Conflict, "address-in-use", err, "cannot listen on %s; choose another address with --%s", address, flag)
	}
	chosen := listener.Addr().String()
	return chosen, listener.Close()
}
