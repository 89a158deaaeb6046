package blob_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	blobtest.Conformance(t, blobtest.ConfigOf(servers.StartS3(t)), blobtest.Options{})
}

func TestStoreAway(t *testing.T) {
	t.Parallel()
	server := servers.StartS3(t)
	store := blobtest.Open(t, blobtest.ConfigOf(server))
	server.Kill()
	err := store.PutBytes(t.Context(), store.Buckets().Inbox, "north/a name", nil, blob.PutOptions{})
	if !fault.Is(err, fault.Transient) || fault.CodeOf(err) != "storage-unavailable" {
		t.Fatalf("a store that is away should be a transient fault, got %v", err)
	}
	for _, err := range store.List(t.Context(), store.Buckets().Inbox, "") {
		if !fault.Is(err, fault.Transient) {
			t.Fatalf("a listing of a store that is away should be a transient fault, got %v", err)
		}
	}
	server.Restart()
	if err := store.PutBytes(t.Context(), store.Buckets().Inbox, "north/a", nil, blob.PutOptions{}); err != nil {
		t.Fatalf("the store is back: %v", err)
	}
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	cfg := blobtest.ConfigOf(servers.StartS3(t))
	cfg.SecretKey = "wrong-secret"
	store, err := blob.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.EnsureBuckets(t.Context()); fault.CodeOf(err) != "storage-refused" || !fault.Is(err, fault.Internal) {
		t.Fatalf("expected storage-refused, got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Stat(ctx, store.Buckets().Inbox, "a"); !fault.Interrupted(err) {
		t.Fatalf("expected an interruption, got %v", err)
	}
	for _, err := range store.List(ctx, store.Buckets().Inbox, "") {
		if !fault.Interrupted(err) {
			t.Fatalf("expected an interruption, got %v", err)
		}
	}
	deadline, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := store.Stat(deadline, store.Buckets().Inbox, "a"); !fault.Is(err, fault.Transient) {
		t.Fatalf("an exceeded deadline is a transient fault, got %v", err)
	}
}
