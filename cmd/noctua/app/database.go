package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver of the embedded report index

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/report/store"
)

// databaseFlags say where the report index is.
type databaseFlags struct {
	Database             string `help:"Report index: a file (SQLite, for one report process), or postgres://USER@HOST/NAME for several; it can be made again from the buckets." default:"./noctua-index.sqlite" env:"NOCTUA_DATABASE" placeholder:"FILE|URL"`
	DatabasePassword     string `help:"Password of the PostgreSQL user; better given by --database-password-file or the environment." env:"NOCTUA_DATABASE_PASSWORD"`
	DatabasePasswordFile string `help:"File with the password of the PostgreSQL user." env:"NOCTUA_DATABASE_PASSWORD_FILE" placeholder:"FILE"`
	DatabaseConnections  int    `help:"PostgreSQL connections that the process has at most, 4 to 200." default:"16" env:"NOCTUA_DATABASE_CONNECTIONS"`
}

const (
	// minConnections: one issues, one writes, and readers must not wait for either.
	minConnections = 4
	// maxConnections: beyond it PostgreSQL gets slower, not faster.
	maxConnections = 200
	// connectionLife: a connection is opened anew now and then, so that a changed address or failover is noticed.
	connectionLife = time.Hour
	connectTimeout = 10 * time.Second
)

// use is what a process wants of the report index.
type use int

const (
	serve     use = iota // as a service, beside others
	own                  // alone
	lookAfter            // whoever else has it
)

// database is an open database of the report index.
type database struct {
	*sql.DB
	dialect store.Dialect
	release func() error // gives back what use took
}

// Close closes the database, and then gives it back.
func (d *database) Close() error {
	err := d.DB.Close()
	if d.release != nil {
		err = errors.Join(err, d.release())
	}
	return err
}

// openDatabase opens the database. Faults: Conflict "index-in-use" if others use it in a way that use forbids, Invalid "index-unusable", Transient
// "index-unavailable". No error holds the password.
func (f databaseFlags) openDatabase(ctx context.Context, as use) (*database, error) {
	if !strings.HasPrefix(f.Database, "postgres://") && !strings.HasPrefix(f.Database, "postgresql://") {
		if scheme, _, isURL := strings.Cut(f.Database, "://"); isURL {
			return nil, usageError{fmt.Errorf("--database should be a file or postgres://…, but begins with %q", scheme+"://")}
		}
		return openSQLite(f.Database)
	}
	if f.DatabaseConnections < minConnections || f.DatabaseConnections > maxConnections {
		return nil, usageError{fmt.Errorf("--database-connections should be %d to %d, but is %d", minConnections, maxConnections, f.DatabaseConnections)}
	}
	config, err := pgx.ParseConfig(f.Database)
	if err != nil {
		// The reason would show the address, and it may hold a password.
		return nil, usageError{errors.New("--database is not an address as PostgreSQL has them, e.g. postgres://noctua@db.example.org/noctua?sslmode=verify-full (or a file that it names is missing)")}
	}
	password, err := secretOf("the password of the database", f.DatabasePassword, f.DatabasePasswordFile)
	if err != nil {
		return nil, err
	}
	if password != "" {
		config.Password = password
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	maps.Copy(config.RuntimeParams, store.PostgreSQLSettings())
	var options []stdlib.OptionOpenDB
	if as == serve {
		options = append(options, stdlib.OptionAfterConnect(useIndex))
	}
	d := &database{DB: stdlib.OpenDB(*config, options...), dialect: store.PostgreSQL()}
	d.SetMaxOpenConns(f.DatabaseConnections)
	d.SetMaxIdleConns(f.DatabaseConnections)
	d.SetConnMaxLifetime(connectionLife)
	if err := d.PingContext(ctx); err != nil {
		return nil, errors.Join(unreachable(err, config), d.Close())
	}
	if as == own {
		if d.release, err = store.Own(ctx, d.DB); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// unreachable says which server did not let Noctua in, and not with what.
func unreachable(err error, config *pgx.ConnConfig) error {
	if fault.CodeOf(err) != "" || fault.Interrupted(err) {
		return err
	}
	return fault.Wrap(fault.Transient, "index-unavailable", err, "the PostgreSQL server at %s does not let %s into the database %s", config.Host, config.User, config.Database)
}

// useIndex tells a new session's server that a service uses the index.
func useIndex(ctx context.Context, conn *pgx.Conn) error {
	var may bool
	if err := conn.QueryRow(ctx, store.UsePostgreSQL).Scan(&may); err != nil {
		return err
	}
	if !may {
		return fault.New(fault.Transient, "index-rebuilding", "the report index is being made anew (noctua rebuild); start the service again when that is done")
	}
	return nil
}

// openSQLite opens a database file for this process alone: SQLite's own locks would let two processes issue reports from it.
func openSQLite(path string) (*database, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the report index: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "index-unusable", err, "the report index %s cannot be opened", path)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fault.New(fault.Conflict, "index-in-use", "another process has the report index %s; stop it, or use PostgreSQL where several are to have one", path)
		}
		return nil, errors.Join(err, lock.Close())
	}
	// Made here, since SQLite would let everybody read it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(fault.Wrap(fault.Invalid, "index-unusable", err, "the report index %s cannot be opened", path), lock.Close())
	}
	if err := f.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("making the report index: %w", err), lock.Close())
	}
	db, err := sql.Open("sqlite", store.SQLiteDSN(path))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the report index: %w", err), lock.Close())
	}
	return &database{DB: db, dialect: store.SQLite(), release: lock.Close}, nil
}

// openIndex opens the report index for a service; the caller closes the returned database.
func (f databaseFlags) openIndex(ctx context.Context, cfg store.Config) (*store.SQL, *database, error) {
	d, err := f.openDatabase(ctx, serve)
	if err != nil {
		return nil, nil, err
	}
	index, err := store.Open(ctx, d.DB, d.dialect, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return index, d, nil
}
