package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/noctua-screening/noctua/services/report/store"
)

// statement is what the index asked of the database.
type statement struct {
	text string
	args []any
}

// listener hears every statement.
type listener struct {
	mu    sync.Mutex
	heard []statement
}

var _ pgx.QueryTracer = (*listener)(nil)

// TraceQueryStart keeps the statement.
func (l *listener) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, statement{data.SQL, data.Args})
	return ctx
}

// TraceQueryEnd does nothing.
func (l *listener) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// take returns what was heard since it was last asked.
func (l *listener) take() []statement {
	l.mu.Lock()
	defer l.mu.Unlock()
	heard := l.heard
	l.heard = nil
	return heard
}

// index is a report index whose statements can be listened to.
type index struct {
	*store.SQL
	db       *sql.DB
	listener *listener
}

func openIndex(ctx context.Context, address string) (*index, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	maps.Copy(config.RuntimeParams, store.PostgreSQLSettings())
	l := &listener{}
	config.Tracer = l
	db := stdlib.OpenDB(*config)
	s, err := store.Open(ctx, db, store.PostgreSQL(), store.Config{ModelSHA: modelSHA})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &index{SQL: s, db: db, listener: l}, nil
}

// explain tells how the database answers a statement.
func (x *index) explain(ctx context.Context, s statement) (string, error) {
	rows, err := x.db.QueryContext(ctx, `EXPLAIN (ANALYSE, BUFFERS) `+s.text, s.args...)
	if err != nil {
		return "", fmt.Errorf("explaining: %w", err)
	}
	defer func() { _ = rows.Close() }() // they are read to the end
	var plan []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return "", err
		}
		plan = append(plan, line)
	}
	return strings.Join(plan, "\n"), rows.Err()
}
