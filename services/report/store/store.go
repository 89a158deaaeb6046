package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Dialect is what differs between databases. The statements themselves are the same.
type Dialect struct {
	Name  string
	goose goose.Dialect
	// folders of migrations of this database alone.
	folders []string
	// bind writes the placeholder of the n-th argument, from 1.
	bind func(n int) string
	// isolation of writing transactions; beginWriting is the first statement of each, or "".
	isolation    sql.IsolationLevel
	beginWriting string
	// beginLasting is the same for what must be on disk when it is committed, beginIssuing for Issue.
	beginLasting, beginIssuing string
	// empty is what empties the table that is named behind it.
	empty string
	// locker lets one process migrate at a time; nil: there is only one.
	locker func() (lock.SessionLocker, error)
}

// SQLite is the embedded database, by modernc.org/sqlite, for one process. Open it with SQLiteDSN.
func SQLite() Dialect {
	return Dialect{Name: "sqlite", goose: goose.DialectSQLite3, folders: []string{"migrations/sqlite"}, bind: func(int) string { return "?" }, empty: "DELETE FROM "}
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
	// writer serialises writers of this process, issuer those who issue: waiting here is fair, costs no retries and holds no connection.
	writer, issuer sync.Mutex
}

// Open brings the database to the newest schema and returns the index over it. The caller keeps and closes db.
func Open(ctx context.Context, db *sql.DB, dialect Dialect, cfg Config) (*SQL, error) {
	if _, err := Migrate(ctx, db, dialect); err != nil {
		return nil, err
	}
	s := &SQL{db: db, dialect: dialect, cfg: cfg}
	if err := s.adopt(ctx); err != nil {
		return nil, fmt.Errorf("adopting the configuration in the report index: %w", err)
	}
	if err := s.derive(ctx); err != nil {
		return nil, err
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

const (
	completeSetting = "complete"
	isComplete      = "yes"
)

// Complete tells whether a whole reconciliation has gone through since the index was made: before that its numbers are partial.
func (s *SQL) Complete(ctx context.Context) (bool, error) {
	var value string
	err := s.queryRow(ctx, `SELECT value FROM settings WHERE name = ?`, completeSetting).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return value == isComplete, unavailable(err)
}

// SetComplete notes that a whole reconciliation has gone through.
func (s *SQL) SetComplete(ctx context.Context) error {
	return s.write(ctx, func(tx *tx) error { return tx.set(completeSetting, isComplete) })
}

// Clear empties the projection, so that it can be made anew: what was noted stays.
func (s *SQL) Clear(ctx context.Context) error {
	return s.write(ctx, func(tx *tx) error {
		for _, table := range []string{"images", "outcomes", "rejected", "rulings", "duplicates", "expectations", "expected", "reports", "patients", "studies", "patient_links", "lines"} {
			if _, err := tx.exec(s.dialect.empty + table); err != nil {
				return err
			}
		}
		_, err := tx.exec(`DELETE FROM settings WHERE name IN (?, ?)`, completeSetting, "note "+NotePublished)
		return err
	})
}

// NotePublished is the name of the moment of update up to which nights are published; it means nothing in an index that is made anew.
const NotePublished = "bulk-published"

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

// write runs a writing transaction. There is one at a time in the whole database, however many processes there are: statements see all that the
// ones before did, and rows become visible in the order in which they were written.
func (s *SQL) write(ctx context.Context, do func(*tx) error) error {
	return s.transact(ctx, s.dialect.beginWriting, do)
}

// writeLasting is write for what a reader may go by: the commit waits for the disk.
func (s *SQL) writeLasting(ctx context.Context, do func(*tx) error) error {
	return s.transact(ctx, s.dialect.beginLasting, do)
}

func (s *SQL) transact(ctx context.Context, begin string, do func(*tx) error) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	raw, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.isolation})
	if err != nil {
		return unavailable(err)
	}
	tx := &tx{ctx: ctx, sql: raw, dialect: s.dialect}
	if begin != "" {
		_, err = tx.exec(begin)
	}
	if err == nil {
		err = do(tx)
	}
	if err != nil {
		return errors.Join(unavailable(err), ignoreDone(raw.Rollback()))
	}
	return unavailable(raw.Commit())
}

// Issue runs do while no other process issues, and tells it the moment of the last update (zero: none): what do indexes at a later moment has
// that moment as its moment of update too. Where the database forgets who issues, because it was started again, do goes on: a version that was
// written meanwhile is found by its key.
func (s *SQL) Issue(ctx context.Context, do func(last time.Time) error) error {
	s.issuer.Lock()
	defer s.issuer.Unlock()
	if s.dialect.beginIssuing != "" {
		raw, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.isolation})
		if err != nil {
			return unavailable(err)
		}
		defer func() { _ = raw.Rollback() }() // it wrote nothing; the lock goes with the transaction, or went with its connection
		if _, err := raw.ExecContext(ctx, s.dialect.beginIssuing); err != nil {
			return unavailable(err)
		}
	}
	last, err := s.LastUpdate(ctx)
	if err != nil {
		return err
	}
	return do(last)
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
	return s.db.QueryContext(ctx, rebind(s.dialect, query), cleaned(args)...)
}

func (s *SQL) queryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return s.db.QueryRowContext(ctx, rebind(s.dialect, query), cleaned(args)...)
}

func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	return t.sql.QueryContext(t.ctx, rebind(t.dialect, query), cleaned(args)...)
}

func (t *tx) queryRow(query string, args ...any) *sql.Row {
	return t.sql.QueryRowContext(t.ctx, rebind(t.dialect, query), cleaned(args)...)
}

// exec runs a statement and returns the number of rows that it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	res, err := t.sql.ExecContext(t.ctx, rebind(t.dialect, query), cleaned(args)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// cleaned makes all texts among arguments fit: they may come from a file, or from an address that somebody typed.
func cleaned(args []any) []any {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = clean(text)
		}
	}
	return args
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
