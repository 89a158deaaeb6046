package app

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/test/postgres"
)

const badPassword = "not-the-p4ssword"

// TestDatabaseErrors: what cannot be opened says what to do, and never with what password it was tried.
func TestDatabaseErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		flags databaseFlags
		says  string
	}{
		"not an address":       {databaseFlags{Database: "postgres://noctua:" + badPassword + "@db:port/x", DatabaseConnections: 16}, "postgres://noctua@"},
		"another database":     {databaseFlags{Database: "mysql://noctua:" + badPassword + "@db/x"}, "mysql://"},
		"too few connections":  {databaseFlags{Database: "postgres://noctua:" + badPassword + "@db/x", DatabaseConnections: 3}, "4 to 200"},
		"too many connections": {databaseFlags{Database: "postgres://noctua:" + badPassword + "@db/x", DatabaseConnections: 201}, "4 to 200"},
		"two passwords":        {databaseFlags{Database: "postgres://noctua@db/x", DatabaseConnections: 16, DatabasePassword: badPassword, DatabasePasswordFile: "x"}, "not both"},
		"no server":            {databaseFlags{Database: "postgres://noctua:" + badPassword + "@127.0.0.1:1/x", DatabaseConnections: 16}, "127.0.0.1"},
		"no folder":            {databaseFlags{Database: filepath.Join(t.TempDir(), "none", "index.sqlite")}, "cannot be opened"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := test.flags.openDatabase(t.Context(), serve)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("it says %v, which lacks %q", err, test.says)
			}
			if strings.Contains(err.Error(), badPassword) {
				t.Errorf("it shows the password: %v", err)
			}
		})
	}
}

// TestPostgreSQLAccess: the password comes from a file or directly, and who makes the index anew and services exclude each other, also after the server
// lost every session.
func TestPostgreSQLAccess(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	address := server.Database()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(postgres.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := databaseFlags{Database: address, DatabasePasswordFile: file, DatabaseConnections: minConnections}
	open := func(f databaseFlags, as use) (*database, error) {
		t.Helper()
		d, err := f.openDatabase(t.Context(), as)
		if err == nil {
			t.Cleanup(func() { _ = d.Close() })
		}
		return d, err
	}
	wrong := flags
	wrong.DatabasePasswordFile, wrong.DatabasePassword = "", badPassword
	if _, err := open(wrong, serve); err == nil || strings.Contains(err.Error(), badPassword) || !strings.Contains(err.Error(), "noctua") {
		t.Errorf("a wrong password: %v", err)
	}
	direct := databaseFlags{Database: address, DatabasePassword: postgres.Password, DatabaseConnections: minConnections}
	inside := databaseFlags{Database: postgres.WithPassword(address), DatabaseConnections: minConnections}
	var services []*database
	for _, f := range []databaseFlags{flags, direct, inside} {
		index, d, err := f.openIndex(t.Context(), store.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := index.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		services = append(services, d)
	}
	for name, want := range map[string]string{"plan_cache_mode": "force_custom_plan", "application_name": "noctua"} {
		var got string
		if err := services[0].QueryRowContext(t.Context(), `SELECT current_setting($1)`, name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if _, err := open(flags, own); fault.CodeOf(err) != "index-in-use" {
		t.Errorf("owning what services use: %v", err)
	}
	looking, err := open(flags, lookAfter)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := looking.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()`); err != nil {
		t.Fatal(err)
	}
	for _, d := range services {
		ping(t, d)
	}
	if _, err := open(flags, own); fault.CodeOf(err) != "index-in-use" {
		t.Errorf("owning what services use, after their sessions were cut: %v", err)
	}
	for _, d := range services {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	var owner *database
	// The server takes a moment to see that sessions are over.
	for owner, err = open(flags, own); fault.CodeOf(err) == "index-in-use" && t.Context().Err() == nil; owner, err = open(flags, own) {
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(flags, serve); fault.CodeOf(err) != "index-rebuilding" {
		t.Errorf("a service on an index that is made anew: %v", err)
	}
	if err := owner.Close(); err != nil {
		t.Error(err)
	}
}

// ping asks until a new session is there instead of the one that was cut.
func ping(t *testing.T, d *database) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), connectTimeout)
	defer cancel()
	for {
		_, err := d.ExecContext(ctx, `SELECT 1`)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(errors.Join(err, ctx.Err()))
		}
	}
}

// TestSQLiteIsOneProcesses: a second one is refused, and the file is its owner's alone.
func TestSQLiteIsOneProcesses(t *testing.T) {
	t.Parallel()
	flags := databaseFlags{Database: filepath.Join(t.TempDir(), "index.sqlite")}
	_, first, err := flags.openIndex(t.Context(), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, as := range []use{serve, own, lookAfter} {
		if _, err := flags.openDatabase(t.Context(), as); fault.CodeOf(err) != "index-in-use" {
			t.Errorf("a second process: %v", err)
		}
	}
	if info, err := os.Stat(flags.Database); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := flags.openDatabase(t.Context(), serve)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// TestTestPasswordIsAwkward keeps the tests' password one that must be escaped in an address.
func TestTestPasswordIsAwkward(t *testing.T) {
	t.Parallel()
	if url.PathEscape(postgres.Password) == postgres.Password {
		t.Error("it would not show a mistake")
	}
}
