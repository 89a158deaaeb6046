package servers_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNATSKeepsMessagesOverKill proves that what was published is there after kill -9 and a restart on the same port.
func TestNATSKeepsMessagesOverKill(t *testing.T) {
	t.Parallel()
	server := servers.StartNATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := stream.Connect(ctx, stream.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.EnsureTopology(ctx, stream.DefaultTopology()); err != nil {
		t.Fatal(err)
	}
	e, err := event.New(event.TypeInboxChanged, "inbox.changed:1", "north", time.Now(), event.InboxChanged{Objects: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Publish(ctx, e); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Restart()
	woken, err := false, error(nil)
	for !woken && ctx.Err() == nil {
		woken, err = conn.WaitWake(ctx, stream.ConsumerIngest, time.Second)
	}
	if !woken {
		t.Fatalf("the message did not survive kill -9: %v", err)
	}
}

func TestS3KeepsObjectsOverKill(t *testing.T) {
	t.Parallel()
	server := servers.StartS3(t)
	store, err := blob.New(blob.Config{Endpoint: server.Endpoint, AccessKey: server.AccessKey, SecretKey: server.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx := t.Context()
	if err := store.EnsureBuckets(ctx); err != nil {
		t.Fatal(err)
	}
	if err := store.PutBytes(ctx, store.Buckets().Inbox, "north/a.dcm", []byte("bytes"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Restart()
	got, err := store.GetBytes(ctx, store.Buckets().Inbox, "north/a.dcm", 100)
	if err != nil || string(got) != "bytes" {
		t.Fatalf("got %q, %v", got, err)
	}
}
