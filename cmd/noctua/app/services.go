package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/lifecycle"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/services/ingest"
	"github.com/noctua-screening/noctua/services/report"
	"github.com/noctua-screening/noctua/services/segment"
)

// runAll runs the parts of the process until ctx ends or one of them fails, and returns when all have stopped.
func runAll(ctx context.Context, logger *slog.Logger, parts ...lifecycle.Component) error {
	return lifecycle.Group{Components: parts, Logger: logger}.Run(ctx)
}

// ingestFlags configure the intake, embedded or not.
type ingestFlags struct {
	IngestWorkers int           `help:"Objects handled at a time." default:"2" env:"NOCTUA_INGEST_WORKERS"`
	ListEvery     time.Duration `help:"How often the inbox is listed when nothing wakes the intake." default:"5s" env:"NOCTUA_LIST_EVERY"`
	watchFlags    `embed:""`
	manifestFlags `embed:""`
	dicomFlags    `embed:""`
	stowFlags     `embed:""`
}

// manifestFlags configure what intake and reports do with manifests.
type manifestFlags struct {
	ManifestDeadline time.Duration `help:"How long the pictures that a manifest announces are waited for." default:"1h" env:"NOCTUA_MANIFEST_DEADLINE"`
}

// newIngest builds the intake, what wakes it, and the doors that are open: the DICOM receiver where listener is not nil, and STOW-RS
// where stow is not nil.
func newIngest(b *backbone, f ingestFlags, listener net.Listener, stow *stowDoor, siteSecret, modelSHA256 string) ([]lifecycle.Component, error) {
	wake := make(chan struct{}, 1) // one pending wake-up is enough
	service, err := ingest.New(ingest.Deps{
		Blob: b.blobs, Publisher: b.conn, Files: b.files, Wake: wake, Logger: b.logger.With("service", "ingest"), Clock: time.Now,
		Lag: func(ctx context.Context) (int, error) {
			lag, err := b.conn.Lag(ctx, stream.ConsumerSegment)
			return lag.Pending + lag.AckPending, err
		},
	}, ingest.Config{SiteSecret: []byte(siteSecret), Workers: f.IngestWorkers, ListEvery: f.ListEvery, ManifestDeadline: f.ManifestDeadline, ModelSHA256: modelSHA256})
	if err != nil {
		return nil, err
	}
	waker := func(ctx context.Context) error {
		for ctx.Err() == nil {
			woken, err := b.conn.WaitWake(ctx, stream.ConsumerIngest, wakeWait)
			if err != nil && ctx.Err() == nil {
				b.logger.Warn("wake-ups of the inbox cannot be read; the listing goes on by the clock", "error", err)
				sleep(ctx, wakeRetry)
			}
			if woken {
				select {
				case wake <- struct{}{}:
				default: // one is pending
				}
			}
		}
		return nil
	}
	releases := stream.Worker{
		Conn: b.conn, Consumer: stream.ConsumerRelease, StallAfter: releaseLimit, HandlerTimeLimit: releaseLimit, Logger: b.logger.With("service", "ingest"),
		Handler: func(ctx context.Context, d stream.Delivery) error { return service.HandleDecision(ctx, d.Envelope) },
	}
	components := []lifecycle.Component{{Name: "ingest", Run: service.Run}, {Name: "inbox wake-ups", Run: waker}, {Name: "releases", Run: releases.Run}}
	if stow != nil {
		door, err := ingest.NewStow(ingest.StowDeps{
			Blob: b.blobs, Listener: stow.listener, Authorize: stow.authorize, Logger: b.logger.With("service", "stow"), Clock: time.Now,
		}, ingest.StowConfig{})
		if err != nil {
			return nil, err
		}
		components = append(components, lifecycle.Component{Name: "STOW-RS door", Run: door.Run})
	}
	if listener == nil {
		return components, nil
	}
	receiver, err := ingest.NewReceiver(ingest.ReceiverDeps{Blob: b.blobs, Listener: listener, Logger: b.logger.With("service", "dicom"), Clock: time.Now}, f.receiver())
	if err != nil {
		return nil, err
	}
	return append(components, lifecycle.Component{Name: "DICOM receiver", Run: receiver.Run}), nil
}

// releaseLimit is how long the release of a file may take: a ZIP of thousands of pictures is judged picture by picture.
const releaseLimit = time.Hour

const (
	wakeWait  = 30 * time.Second // of one request for wake-ups
	wakeRetry = 5 * time.Second
)

// newSegment builds the segment workers.
func newSegment(b *backbone, engine *segment.Engine, judgement segment.AnalyserConfig) (lifecycle.Component, error) {
	service, err := segment.New(segment.Deps{
		Conn: b.conn, Store: b.blobs, Files: b.files, Engine: engine, Logger: b.logger.With("service", "segment"), Clock: time.Now, CodeVersion: codeVersion(),
	}, segment.Config{Analyser: judgement})
	if err != nil {
		return lifecycle.Component{}, err
	}
	return lifecycle.Component{Name: "segment", Run: service.Run}, nil
}

// reportFlags configure the report service, embedded or not.
type reportFlags struct {
	Listen       string `help:"Address of the page, the API and FHIR." default:"127.0.0.1:8420" env:"NOCTUA_LISTEN"`
	Insecure     bool   `help:"Allow listening beyond this machine without TLS." env:"NOCTUA_INSECURE"`
	tlsFlags     `embed:""`
	oidcFlags    `embed:""`
	PublicURL    string `name:"public-url" help:"How readers reach the page, for absolute links." env:"NOCTUA_PUBLIC_URL" placeholder:"URL"`
	exportFlags  `embed:""`
	deliverFlags `embed:""`
	QuietPeriod  time.Duration `help:"A report with nothing pending is final after this long without a change, where no manifest says what its study has." default:"30s" env:"NOCTUA_QUIET_PERIOD"`
}

func (f reportFlags) config(manifests manifestFlags) report.Config {
	return report.Config{
		Listen: f.Listen, PublicURL: f.PublicURL, QuietPeriod: f.QuietPeriod, ManifestDeadline: manifests.ManifestDeadline, Version: codeVersion(),
	}
}

// patientKeys makes keys of patients; nil where the site's secret is not known.
func patientKeys(siteSecret string) func(clinic, issuer, patientID string) string {
	if siteSecret == "" {
		return nil
	}
	return func(clinic, issuer, patientID string) string {
		return record.PatientKey([]byte(siteSecret), clinic, issuer, patientID)
	}
}

// photo decodes a DICOM object for viewing.
func (b *backbone) photo(ctx context.Context, object []byte) (*raster.RGB, error) {
	outcome, err := b.files.ReadBytes(ctx, object, isolated.Picture)
	if err != nil {
		return nil, fmt.Errorf("reading the archived object: %w", err)
	}
	return outcome.Picture, outcome.Undecoded
}

// reportStream is the report service's view of the stream.
func reportStream(b *backbone) report.Stream {
	return report.Stream{Conn: b.conn, Logger: b.logger.With("service", "report")}
}

// signingStore signs upload addresses for the name by which clients know the S3 server, and does all else by the name by
// which services know it.
type signingStore struct {
	*blob.Store
	signer *blob.Store
}

// PresignPut signs an address.
func (s signingStore) PresignPut(ctx context.Context, bucket, key string, expiry time.Duration) (string, error) {
	return s.signer.PresignPut(ctx, bucket, key, expiry)
}
