package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/services/report"
	"github.com/noctua-screening/noctua/services/report/store"
)

// rebuildCommand makes the report index anew from the buckets.
type rebuildCommand struct {
	storeFlags    `embed:""`
	databaseFlags `embed:""`
	Model         string `help:"Folder of the model whose results count, if not the one in the program." env:"NOCTUA_MODEL" placeholder:"DIR"`
}

// Run rebuilds.
func (c *rebuildCommand) Run(inv *invocation) (err error) {
	started := time.Now()
	model, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	objects, err := externalFlags{storeFlags: c.storeFlags}.objects()
	if err != nil {
		return err
	}
	blobs, err := blob.New(objects)
	if err != nil {
		return err
	}
	defer blobs.Close()
	db, err := c.openDatabase(inv.ctx, own)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	index, err := store.Open(inv.ctx, db.DB, db.dialect, store.Config{ModelSHA: model.Manifest.Sha256, Timing: report.Config{}.StoreTiming()})
	if err != nil {
		return err
	}
	bar := progressOf(inv.err, "rebuilding", "documents", -1)
	at, err := report.Rebuild(inv.ctx, report.RebuildDeps{Blob: blobs, Store: index, Logger: inv.logger.With("service", "report"), Clock: time.Now}, func(at report.Rebuilding) {
		bar.ChangeMax(at.Total)
		_ = bar.Set(at.Looked) // it is for people to look at
	})
	if err != nil {
		return fmt.Errorf("rebuilding the report index: %w", err)
	}
	_ = bar.Finish()
	_, err = fmt.Fprintf(inv.out, "The report index was made anew from %d documents in %.0f s; %d could not be indexed.\n", at.Looked-at.Bad, time.Since(started).Seconds(), at.Bad)
	return err
}
