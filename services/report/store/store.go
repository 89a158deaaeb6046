package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/noctua-screening/noctua/pkg/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Dialect is what differs between databases. The statements themselves are the same.
type Dialect struct {
	Name  string
	goose goose.Dialect
	// bind writes the placeholder of the n-th argument, from 1.
	bind func(n int) string
}

// SQLite is the embedded database, by modernc.org/sqlite. Open it with SQLiteDSN.
func SQLite() Dialect {
	return Dialect{Name: "sqlite", goose: goose.DialectSQLite3, bind: func(int) string { return "?" }}
}

// PostgreSQL is the dialect for many report processes. Its placeholders are tested; that it passes the conformance suite
// against a server is not proved yet.
func PostgreSQL() Dialect {
	return Dialect{Name: "postgres", goose: goose.DialectPostgres, bind: func(n int) string { return fmt.Sprintf("$%d", n) }}
}

// SQLiteDSN is the data source name for a database file: write-ahead log, so that readers never wait for the writer; writers
// take their lock when they begin and wait up to 10 s for another process. The index is a projection, so a power failure may
// cost its last transactions: reconciliation brings them back.
func SQLiteDSN(path string) string {
	// The path is a URI here: what could end it early or start an escape is escaped.
	path = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	return "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)&_txlock=immediate"
}

// Config says how the index sees the world.
type Config struct {
	// ModelSHA names the model whose outcomes count. Empty: the newest outcome of any model counts.
	ModelSHA string
	// Timing says when changed studies are due.
	Timing Timing
}

// SQL is the index over a database. Methods are safe for concurrent use. Faults: Transient "index-unavailable" if the database
// does not answer, NotFound "not-indexed".
type SQL struct {
	db      *sql.DB
	dialect Dialect
	cfg     Config
	// writer serialises writers of this process: SQLite has one anyway, and waiting here is fair and costs no retries.
	writer sync.Mutex
}

// Open brings the database to the newest schema and returns the index over it. The caller keeps and closes db.
func Open(ctx context.Context, db *sql.DB, dialect Dialect, cfg Config) (*SQL, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("reading the embedded migrations: %w", err)
	}
	provider, err := goose.NewProvider(dialect.goose, db, files)
	if err != nil {
		return nil, fmt.Errorf("preparing the migrations of the report index: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return nil, fault.Wrap(fault.Internal, "index-migration", err, "the report index could not be brought to the newest schema; it is a projection and may be deleted")
	}
	s := &SQL{db: db, dialect: dialect, cfg: cfg}
	if err := s.adopt(ctx); err != nil {
		return nil, fmt.Errorf("adopting the configuration in the report index: %w", err)
	}
	return s, nil
}

// adopt brings what is derived from the configuration in line with it: statuses after a change of model, due times always.
func (s *SQL) adopt(ctx context.Context) error {
	return s.write(ctx, func(tx *tx) error {
		old, err := tx.setting("model")
		if err != nil {
			return err
		}
		if old != s.cfg.ModelSHA {
			// Reports speak for the old model until the new one has spoken of all images of their study; where it has already, they are due.
			if err := tx.deriveAll(s.cfg.ModelSHA, time.Now(), s.cfg.Timing); err != nil {
				return err
			}
			if err := tx.set("model", s.cfg.ModelSHA); err != nil {
				return err
			}
		}
		return tx.rescheduleOpen(s.cfg.Timing)
	})
}

const completeSetting = "complete"

// Complete tells whether a whole reconciliation has gone through since the index was made: before that its numbers are partial.
func (s *SQL) Complete(ctx context.Context) (bool, error) {
	var value string
	err := s.queryRow(ctx, `SELECT value FROM settings WHERE name = ?`, completeSetting).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return value == "yes", unavailable(err)
}

// SetComplete notes that a whole reconciliation has gone through.
func (s *SQL) SetComplete(ctx context.Context) error {
	return s.write(ctx, func(tx *tx) error { return tx.set(completeSetting, "yes") })
}

// Note returns what was noted under a name; "" if nothing was.
func (s *SQL) Note(ctx context.Context, name string) (string, error) {
	var value string
	err := s.queryRow(ctx, `SELECT value FROM settings WHERE name = ?`, "note "+name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, unavailable(err)
}

// SetNote notes something that is no projection of the buckets, and is lost with the index.
func (s *SQL) SetNote(ctx context.Context, name, value string) error {
	return s.write(ctx, func(tx *tx) error { return tx.set("note "+name, value) })
}

// Ping tells whether the database answers.
func (s *SQL) Ping(ctx context.Context) error { return unavailable(s.db.PingContext(ctx)) }

// tx is a write transaction.
type tx struct {
	ctx     context.Context
	sql     *sql.Tx
	dialect Dialect
}

func (s *SQL) write(ctx context.Context, do func(*tx) error) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	raw, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	if err := do(&tx{ctx: ctx, sql: raw, dialect: s.dialect}); err != nil {
		return errors.Join(unavailable(err), ignoreDone(raw.Rollback()))
	}
	return unavailable(raw.Commit())
}

// ignoreDone drops the error of rolling back what a cancelled context has rolled back already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// unavailable marks database errors as transient; what has a kind, and interruption, stays as it is.
func unavailable(err error) error {
	if err == nil || fault.Interrupted(err) || fault.CodeOf(err) != "" {
		return err
	}
	return fault.Wrap(fault.Transient, "index-unavailable", err, "the report index did not answer; check the database")
}

// rebind writes the dialect's placeholders in place of the question marks. No statement holds one in a literal.
func rebind(d Dialect, query string) string {
	var b strings.Builder
	n := 0
	for _, part := range strings.SplitAfter(query, "?") {
		if cut, ok := strings.CutSuffix(part, "?"); ok {
			n++
			b.WriteString(cut + d.bind(n))
			continue
		}
		b.WriteString(part)
	}
	return b.String()
}

func (s *SQL) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.db.QueryContext(ctx, rebind(s.dialect, query), args...)
}

func (s *SQL) queryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return s.db.QueryRowContext(ctx, rebind(s.dialect, query), args...)
}

func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	return t.sql.QueryContext(t.ctx, rebind(t.dialect, query), args...)
}

func (t *tx) queryRow(query string, args ...any) *sql.Row {
	return t.sql.QueryRowContext(t.ctx, rebind(t.dialect, query), args...)
}

// exec runs a statement and returns the number of rows that it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	res, err := t.sql.ExecContext(t.ctx, rebind(t.dialect, query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t *tx) setting(name string) (string, error) {
	var value string
	err := t.queryRow(`SELECT value FROM settings WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

func (t *tx) set(name, value string) error {
	_, err := t.exec(`INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// collect reads all rows of a query.
func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) (out []T, failed error) {
	if err != nil {
		return nil, unavailable(err)
	}
	defer func() { failed = errors.Join(failed, unavailable(rows.Close())) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, unavailable(err)
		}
		out = append(out, v)
	}
	return out, unavailable(rows.Err())
}

// clean makes text fit for every database: PostgreSQL takes neither NUL nor invalid UTF-8.
func clean(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}

// marks writes n placeholders for an IN list.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// args makes statement arguments of strings.
func args(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func now(at time.Time) int64 { return at.UnixMilli() }
