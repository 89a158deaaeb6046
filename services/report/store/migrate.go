package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Migrations for every database are in migrations/, those of SQLite or PostgreSQL alone in the folder of that name. A number may be in both of these
// folders, and in no other.
//
//go:embed migrations
var migrations embed.FS

// layers shows the files of several folders as one.
type layers []fs.FS

var _ fs.ReadDirFS = layers(nil)

// Open opens a file of the first layer that has it.
func (l layers) Open(name string) (fs.File, error) {
	for _, layer := range l {
		if f, err := layer.Open(name); err == nil {
			return f, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir lists the files of all layers.
func (l layers) ReadDir(name string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for _, layer := range l {
		entries, err := fs.ReadDir(layer, name)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

func provider(db *sql.DB, dialect Dialect) (*goose.Provider, error) {
	var files layers
	for _, folder := range append([]string{"migrations"}, dialect.folders...) {
		layer, err := fs.Sub(migrations, folder)
		if err != nil {
			return nil, fmt.Errorf("reading the embedded migrations: %w", err)
		}
		files = append(files, layer)
	}
	var options []goose.ProviderOption
	if dialect.locker != nil {
		locker, err := dialect.locker()
		if err != nil {
			return nil, fmt.Errorf("preparing the lock of migrations: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect.goose, db, files, options...)
	if err != nil {
		return nil, fmt.Errorf("preparing the migrations of the report index: %w", err)
	}
	return p, nil
}

// Migrate brings a database to the newest schema, and returns the numbers of the migrations that did it. Fault: Internal "index-migration".
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect) ([]int64, error) {
	p, err := provider(db, dialect)
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "index-migration", err, "the report index could not be brought to the newest schema; it is a projection and may be made anew")
	}
	var done []int64
	for _, r := range results {
		done = append(done, r.Source.Version)
	}
	return done, nil
}

// Pending returns the numbers of the migrations that a database lacks, and changes nothing but goose's own table.
func Pending(ctx context.Context, db *sql.DB, dialect Dialect) ([]int64, error) {
	p, err := provider(db, dialect)
	if err != nil {
		return nil, err
	}
	statuses, err := p.Status(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	var pending []int64
	for _, s := range statuses {
		if s.State == goose.StatePending {
			pending = append(pending, s.Source.Version)
		}
	}
	return pending, nil
}
