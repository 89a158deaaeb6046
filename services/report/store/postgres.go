package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Advisory locks of PostgreSQL. Their keys are ours in the whole database; a lock of a transaction is held until its commit is visible.
const (
	lockUse     = 0x6e6f6374_01 // of sessions: shared by services, exclusive for who makes the index anew
	lockWrite   = 0x6e6f6374_02 // of transactions: who writes
	lockIssue   = 0x6e6f6374_03 // of transactions: who issues a version
	lockMigrate = 0x6e6f6374_04 // of sessions: who migrates
)

// PostgreSQL is the dialect for many report processes, from version 13. Open sessions with PostgreSQLSettings, and run UsePostgreSQL in each.
func PostgreSQL() Dialect {
	lockFor := func(key int64) string { return fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, key) }
	return Dialect{
		Name: "postgres", goose: goose.DialectPostgres, folders: []string{"migrations/postgres"}, bind: func(n int) string { return fmt.Sprintf("$%d", n) },
		// Each statement sees what was committed before it: so also what the holder of the lock before did.
		isolation: sql.LevelReadCommitted,
		// The index is a projection: where the server dies, reconciliation brings back its last moments.
		beginWriting: lockFor(lockWrite) + `, set_config('synchronous_commit', 'off', true)`,
		beginLasting: lockFor(lockWrite),
		beginIssuing: lockFor(lockIssue),
		empty:        "TRUNCATE ",
		locker:       func() (lock.SessionLocker, error) { return lock.NewPostgresSessionLocker(lock.WithLockID(lockMigrate)) },
	}
}

// PostgreSQLSettings are run-time parameters that every session should have.
func PostgreSQLSettings() map[string]string {
	return map[string]string{
		"application_name": "noctua",
		// How many rows a search selects depends on its values alone: a plan for any of them would read the table for a single patient.
		"plan_cache_mode": "force_custom_plan",
		// Compiling a query takes longer than answering it.
		"jit": "off",
		// A process that stops, or whose machine is gone, keeps a lock no longer than this many milliseconds.
		"idle_in_transaction_session_timeout": "60000",
	}
}

// UsePostgreSQL is to be run by each session of a service as it begins; it selects whether the index may be used. It may not while it is made anew
// (see Own), which in turn is refused as long as there is such a session.
var UsePostgreSQL = fmt.Sprintf(`SELECT pg_try_advisory_lock_shared(%d)`, int64(lockUse))

// Own makes a PostgreSQL index this process's alone until release is called, or db's connections are lost. Fault: Conflict "index-in-use" if a service uses it, or another process
// makes it anew.
func Own(ctx context.Context, db *sql.DB) (release func() error, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	var owned bool
	if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(lockUse)).Scan(&owned); err != nil {
		return nil, errors.Join(unavailable(err), conn.Close())
	}
	if !owned {
		return nil, errors.Join(fault.New(fault.Conflict, "index-in-use", "the report index is in use; stop every noctua report that has it, then try again"), conn.Close())
	}
	return func() error {
		// Closed, and not handed back to the pool: the lock is the session's.
		if err := conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
			return err
		}
		return nil
	}, nil
}
