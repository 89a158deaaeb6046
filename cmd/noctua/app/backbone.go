package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/stream"
)

// backbone is what every service stands on, embedded or not.
type backbone struct {
	conn   *stream.Conn
	blobs  *blob.Store
	files  *isolated.Reader // of DICOM files
	logger *slog.Logger
}

// startupTimeout bounds how long a service waits at its start for broker and store; a supervisor then starts it again.
const startupTimeout = 2 * time.Minute

// openBackbone connects to broker and store, makes what is missing there, and refuses a store on which two writers could win. consumers are
// those that the process needs besides the default ones.
func openBackbone(ctx context.Context, queue stream.Config, objects blob.Config, logger *slog.Logger, consumers ...stream.ConsumerSpec) (*backbone, error) {
	ctx, cancel := context.WithTimeout(ctx, startupTimeout)
	defer cancel()
	queue.Logger = logger
	conn, err := stream.Connect(ctx, queue)
	if err != nil {
		return nil, err
	}
	b := &backbone{conn: conn, files: isolated.New(isolated.Config{}, logger), logger: logger}
	if err := b.prepare(ctx, objects, consumers); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *backbone) prepare(ctx context.Context, objects blob.Config, consumers []stream.ConsumerSpec) error {
	topology := stream.DefaultTopology()
	topology.Consumers = append(topology.Consumers, consumers...)
	if err := b.conn.EnsureTopology(ctx, topology); err != nil {
		return fmt.Errorf("preparing the message streams: %w", err)
	}
	var err error
	if b.blobs, err = blob.New(objects); err != nil {
		return err
	}
	for {
		err = b.blobs.EnsureBuckets(ctx)
		if err == nil {
			break
		}
		if !fault.Is(err, fault.Transient) || ctx.Err() != nil {
			return fmt.Errorf("preparing the buckets: %w", err)
		}
		b.logger.Warn("the S3 server does not answer yet; trying again", "error", err)
		if !sleep(ctx, time.Second) {
			return fmt.Errorf("preparing the buckets: %w", err)
		}
	}
	if err := b.blobs.SelfTest(ctx); err != nil {
		return fmt.Errorf("testing the S3 server: %w", err)
	}
	return nil
}

func (b *backbone) close() {
	b.files.Close()
	b.conn.Close()
}

// sleep waits and tells whether ctx still runs.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
