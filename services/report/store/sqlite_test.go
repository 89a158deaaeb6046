package store_test

import (
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/store/storetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	folders := map[string]string{}
	storetest.Run(t, func(t *testing.T, name string, cfg store.Config) *store.SQL {
		t.Helper()
		mu.Lock()
		folder, ok := folders[t.Name()]
		if !ok {
			folder = filepath.Join(t.TempDir(), "what? 100% #1")
			folders[t.Name()] = folder
		}
		mu.Unlock()
		return openSQLite(t, filepath.Join(folder+name+".db"), cfg)
	})
}

func openSQLite(t *testing.T, path string, cfg store.Config) *store.SQL {
	t.Helper()
	db, err := sql.Open("sqlite", store.SQLiteDSN(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := store.Open(t.Context(), db, store.SQLite(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
