package store_test

import (
	"sync"
	"testing"

	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/store/storetest"
	"github.com/noctua-screening/noctua/test/postgres"
)

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	var mu sync.Mutex
	databases := map[string]string{}
	storetest.Run(t, func(t *testing.T, name string, cfg store.Config) *store.SQL {
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
	})
}
