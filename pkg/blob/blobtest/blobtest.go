// Package blobtest gives tests a real S3 store, and the suite that every store must pass.
package blobtest

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/test/servers"
)

// Start starts an S3 server as a process of its own and returns a client with its buckets made. Both end with the test.
func Start(t testing.TB) *blob.Store {
	t.Helper()
	return Open(t, ConfigOf(servers.StartS3(t)))
}

// ConfigOf returns the client configuration of a server.
func ConfigOf(server *servers.S3) blob.Config {
	return blob.Config{Endpoint: server.Endpoint, AccessKey: server.AccessKey, SecretKey: server.SecretKey}
}

// Open opens a store and makes its buckets; an empty prefix becomes one of the test's own, so that tests may share a server.
func Open(t testing.TB, cfg blob.Config) *blob.Store {
	t.Helper()
	if cfg.BucketPrefix == "" {
		cfg.BucketPrefix = "t" + strings.ToLower(rand.Text()[:12]) + "-"
	}
	store, err := blob.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.EnsureBuckets(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}
