// Package postgres starts real PostgreSQL servers for tests: a cluster of its own in a temporary folder, made by the initdb of Debian's
// package, reached by a socket in that folder and by password, and gone after the test. Only tests import it.
package postgres
