package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
)

func segmented(t *testing.T, clinic string) event.Envelope {
	t.Helper()
	key := "images/1.2.3/0000000000000000/000000000000/result.json"
	e, err := event.New(event.TypeImageSegmented, event.ID(event.TypeImageSegmented, clinic), clinic, time.Now(), event.ImageSegmented{
		StudyUID: "1.2", SOPUID: "1.2.3", Sha256: testSHA, ResultKey: key, Status: record.Measured, Model: "m", ModelSha256: testSHA})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const testSHA = "0000000000000000000000000000000000000000000000000000000000000000"

// TestExportConsumers: an archive gets the results of its clinics from when it is named, and what is asked of it alone.
func TestExportConsumers(t *testing.T) {
	t.Parallel()
	server := streamtest.Start(t)
	conn := server.Connect(stream.DefaultTopology())
	if err := conn.Publish(t.Context(), segmented(t, "before")); err != nil {
		t.Fatal(err)
	}
	topology := stream.DefaultTopology()
	topology.Consumers = append(topology.Consumers, stream.ExportConsumer("all", nil), stream.ExportConsumer("some", []string{"north", "east"}))
	conn = server.Connect(topology)
	for _, clinic := range []string{"north", "south", "east"} {
		if err := conn.Publish(t.Context(), segmented(t, clinic)); err != nil {
			t.Fatal(err)
		}
	}
	e, err := event.New(event.TypeExportRequested, "request", "south", time.Now(), event.ExportRequested{Archive: "some", ResultKey: "images/x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.PublishTo(t.Context(), "some", e); err != nil {
		t.Fatal(err)
	}
	pending := func(consumer string) int {
		l, err := conn.Lag(t.Context(), consumer)
		if err != nil {
			t.Fatal(err)
		}
		return l.Pending
	}
	eventually(t, "the last one counted", func() bool { return pending("export-some") >= 3 })
	if all, some := pending("export-all"), pending("export-some"); all != 3 || some != 3 {
		t.Errorf("%d wait for the archive of all clinics, %d for that of two, which is asked for one more; want 3 and 3", all, some)
	}
}

// TestBefore: nothing is fetched before it is time, and waiting for that ends with the worker.
func TestBefore(t *testing.T) {
	t.Parallel()
	conn := streamtest.Connect(t)
	publish(t, conn, 0, 2)
	open, waiting := make(chan struct{}), make(chan struct{}, 10)
	handled := make(chan struct{}, 2)
	worker := stream.Worker{Conn: conn, Consumer: stream.ConsumerSegment,
		Before: func(ctx context.Context) error {
			waiting <- struct{}{}
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Handler: func(context.Context, stream.Delivery) error { handled <- struct{}{}; return nil },
	}
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- worker.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := run()
	<-waiting
	if l := lag(t, conn); l.AckPending != 0 || len(handled) != 0 {
		t.Errorf("while it is not time: %+v, %d handled", l, len(handled))
	}
	stop()
	stop = run()
	close(open)
	<-handled
	<-handled
	stop()
}
