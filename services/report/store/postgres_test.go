package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"

	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/store/storetest"
	"github.com/noctua-screening/noctua/test/postgres"
)

const waitLimit = time.Minute

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	var mu sync.Mutex
	databases := map[string]string{}
	open := func(t *testing.T, name string, cfg store.Config) *store.SQL {
		t.Helper()
		key := t.Name() + "/" + name
		mu.Lock()
		address, ok := databases[key]
		if !ok {
			address = server.Database()
			databases[key] = address
		}
		mu.Unlock()
		s, err := store.Open(t.Context(), postgres.Open(t, address), store.PostgreSQL(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storetest.Run(t, open)
	storetest.RunShared(t, open)
}

// TestPostgreSQLComparesBytes: a column that goes by the database's locale would be in another order than SQLite's and Go's, and its ranges would
// not be what searches by the beginning of a text mean.
func TestPostgreSQLComparesBytes(t *testing.T) {
	t.Parallel()
	db := postgres.Open(t, postgres.Start(t).Database())
	if done, err := store.Migrate(t.Context(), db, store.PostgreSQL()); err != nil || len(done) == 0 {
		t.Fatalf("%v, %v", done, err)
	}
	rows, err := db.QueryContext(t.Context(), `SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s does not say COLLATE \"C\"", name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if pending, err := store.Pending(t.Context(), db, store.PostgreSQL()); err != nil || len(pending) > 0 {
		t.Errorf("pending %v, %v", pending, err)
	}
}

// TestManyStartAtOnce: processes that start together on an empty database migrate it once.
func TestManyStartAtOnce(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	address := server.Database()
	var group sync.WaitGroup
	for range 4 {
		db := postgres.Open(t, address)
		group.Go(func() {
			if _, err := store.Open(t.Context(), db, store.PostgreSQL(), store.Config{ModelSHA: "m"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// TestOwn: who makes the index anew is alone with it.
func TestOwn(t *testing.T) {
	t.Parallel()
	address := postgres.Start(t).Database()
	service, owner, other := postgres.Open(t, address), postgres.Open(t, address), postgres.Open(t, address)
	session, err := service.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	use := func() (may bool) {
		t.Helper()
		if err := session.QueryRowContext(t.Context(), store.UsePostgreSQL).Scan(&may); err != nil {
			t.Fatal(err)
		}
		return may
	}
	if !use() {
		t.Fatal("a service may not use an index that nobody has")
	}
	if _, err := store.Own(t.Context(), owner); fault.CodeOf(err) != "index-in-use" {
		t.Errorf("owning what a service uses: %v", err)
	}
	if _, err := session.ExecContext(t.Context(), `SELECT pg_advisory_unlock_all()`); err != nil {
		t.Fatal(err)
	}
	release, err := store.Own(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	if use() {
		t.Error("a service may use what another makes anew")
	}
	if _, err := store.Own(t.Context(), other); fault.CodeOf(err) != "index-in-use" {
		t.Errorf("owning twice: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	for !use() { // the server takes a moment to see that the owner's session is over
		if ctx.Err() != nil {
			t.Fatal("it is not given back")
		}
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
}
