package store

import "context"

// DatabaseVersion is the name and the version of the database, e.g. "SQLite 3.50.4".
func (s *SQL) DatabaseVersion(ctx context.Context) (string, error) {
	name, query := "SQLite", `SELECT sqlite_version()`
	if s.dialect.Name == PostgreSQL().Name {
		name, query = "PostgreSQL", `SHOW server_version`
	}
	var version string
	err := s.queryRow(ctx, query).Scan(&version)
	return name + " " + version, unavailable(err)
}
