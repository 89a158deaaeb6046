package embedded

import (
	"context"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/stream"
)

func TestSmoke(t *testing.T) {
	begin := time.Now()
	s, err := Start(t.Context(), Config{DataDir: t.TempDir(), S3Listen: "127.0.0.1:0", AccessKey: "key", SecretKey: "secretsecret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("ready after", time.Since(begin))
	store, err := blob.New(blob.Config{Endpoint: s.Endpoint, AccessKey: "key", SecretKey: "secretsecret"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.EnsureBuckets(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.SelfTest(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := stream.Connect(t.Context(), stream.Config{InProcess: s.Queue})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.EnsureTopology(t.Context(), stream.DefaultTopology()); err != nil {
		t.Fatal(err)
	}
	if err := store.PutBytes(t.Context(), store.Buckets().Inbox, "north/a b/ü.dcm", []byte("hello"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	woken, err := conn.WaitWake(ctx, stream.ConsumerIngest, 5*time.Second)
	if err != nil || !woken {
		t.Fatal(woken, err)
	}
	for info, err := range store.List(t.Context(), store.Buckets().Inbox, "") {
		t.Log(info, err)
		if err := store.RemoveMatching(t.Context(), store.Buckets().Inbox, info.Key, "00", info.LastModified); err == nil {
			t.Error("removed")
		}
		if err := store.RemoveMatching(t.Context(), store.Buckets().Inbox, info.Key, info.ETag, info.LastModified); err != nil {
			t.Error(err)
		}
	}
	conn.Close()
	begin = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log("stopped after", time.Since(begin))
}
