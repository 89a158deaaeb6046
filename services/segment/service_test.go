package segment_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated/isolatedtest"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/stream"
	"github.com/noctua-screening/noctua/pkg/stream/streamtest"
	"github.com/noctua-screening/noctua/services/segment"
	"github.com/noctua-screening/noctua/test/shared"
)

// accepted is an image as intake leaves it, and the observer's mask where there is one.
type accepted struct {
	name   string
	data   []byte
	label  *raster.Mask
	event  event.ImageAccepted
	clinic string
}

// backbone is one process's queue and buckets, with everything that was announced about images.
type backbone struct {
	conn  *stream.Conn
	store *blob.Store

	mu   sync.Mutex
	told map[string]int // events by type and SOP instance
}

// startBackbone starts the real servers.
func startBackbone(t *testing.T) *backbone {
	t.Helper()
	store, conn := blobtest.Start(t), streamtest.Connect(t)
	b := &backbone{conn: conn, store: store, told: map[string]int{}}
	b.start(t, stream.Worker{Conn: conn, Consumer: stream.ConsumerReport, Handler: func(_ context.Context, d stream.Delivery) error {
		var sop string
		switch d.Envelope.Type {
		case event.TypeImageSegmented:
			data, err := event.DataOf[event.ImageSegmented](d.Envelope, event.TypeImageSegmented)
			if err != nil {
				return err
			}
			sop = data.SOPUID
		case event.TypeImageFailed:
			data, err := event.DataOf[event.ImageFailed](d.Envelope, event.TypeImageFailed)
			if err != nil {
				return err
			}
			sop = data.SOPUID
		default:
			return nil
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told[d.Envelope.Type+" "+sop]++
		return nil
	}}.Run)
	return b
}

// start runs something until the test ends; it must end without an error.
func (b *backbone) start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// accept does intake's part: the archive, then the event.
func (b *backbone) accept(t *testing.T, img *accepted) {
	t.Helper()
	archive := b.store.Buckets().Archive
	instance := record.Instance{Modality: "OP", SOPClassUID: "1.2.840.10008.5.1.4.1.1.77.1.5.1", TransferSyntaxUID: "1.2.840.10008.1.2.4.50", Rows: 1, Columns: 1, Frames: 1, Photometric: "RGB"}
	if file, err := dicom.Open(bytes.NewReader(img.data), int64(len(img.data)), dicom.Limits{}); err == nil {
		if instance, err = file.Describe(); err != nil {
			t.Fatal(err)
		}
	} else {
		instance.StudyUID, instance.SOPUID = "1.2.3", "1.2.3.4"
	}
	sum := sha256.Sum256(img.data)
	sha := hex.EncodeToString(sum[:])
	key, err := blob.ArchiveKey(instance.StudyUID, instance.SOPUID, sha)
	if err != nil {
		t.Fatal(err)
	}
	instance.Schema, instance.Clinic, instance.ArchiveKey, instance.Sha256, instance.SizeBytes = record.InstanceSchema, img.clinic, key, sha, len(img.data)
	instance.ReceiptID, instance.ReceivedAt, instance.Analyse = sha[:32], time.Now().UTC(), true
	instance.Patient = record.PatientIdentity{ID: "p", Key: sha}
	document, err := record.Encode(record.InstanceSchema, instance)
	if err != nil {
		t.Fatal(err)
	}
	documentKey, err := blob.InstanceKey(instance.StudyUID, instance.SOPUID, sha)
	if err != nil {
		t.Fatal(err)
	}
	for key, data := range map[string][]byte{documentKey: document, key: img.data} {
		if err := b.store.PutBytes(t.Context(), archive, key, data, blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	img.event = event.ImageAccepted{StudyUID: instance.StudyUID, SOPUID: instance.SOPUID, Sha256: sha, ArchiveKey: key, SizeBytes: len(img.data), Analyse: true}
	b.announce(t, img, "first")
}

// announce publishes image.accepted; occasion makes its id another one, past the broker's own de-duplication.
func (b *backbone) announce(t *testing.T, img *accepted, occasion string) {
	t.Helper()
	e, err := event.New(event.TypeImageAccepted, event.ID(event.TypeImageAccepted, img.event.SOPUID, occasion), img.clinic, time.Now(), img.event)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// idle waits until no message of either consumer is left; in this order, since the first feeds the second.
func (b *backbone) idle(t *testing.T) {
	t.Helper()
	for _, consumer := range []string{stream.ConsumerSegment, stream.ConsumerReport} {
		b.untilOf(t, consumer, func(lag stream.Lag) bool { return lag.Pending+lag.AckPending == 0 })
	}
}

// until waits until the segment consumer's lag is as wanted.
func (b *backbone) until(t *testing.T, wanted func(stream.Lag) bool) {
	t.Helper()
	b.untilOf(t, stream.ConsumerSegment, wanted)
}

func (b *backbone) untilOf(t *testing.T, consumer string, wanted func(stream.Lag) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		lag, err := b.conn.Lag(ctx, consumer)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(lag) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the consumer %s has a lag of %+v", consumer, lag)
		case <-tick.C:
		}
	}
}

func (b *backbone) count(typ, sop string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told[typ+" "+sop]
}

// clinicImages reads DICOM files of the clinic's night with the observers' masks.
func clinicImages(t *testing.T) []*accepted {
	t.Helper()
	var images []*accepted
	for file, label := range map[string]string{
		"chase_11L.dcm": "CHASE_DB1/manual1/Image_11L_1stHO.png",
		"chase_12R.dcm": "CHASE_DB1/manual1/Image_12R_1stHO.png",
		"chase_14L.dcm": "CHASE_DB1/manual1/Image_14L_1stHO.png",
		"hrf_06_h.dcm":  "HRF/manual1/06_h.tif",
	} {
		data, err := os.ReadFile(shared.Dir(t, "dicom", "clinic", file))
		if err != nil {
			t.Fatal(err)
		}
		mask, err := pixel.ReadMask(shared.Dir(t, "data", label), pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, &accepted{name: file, data: data, label: mask, clinic: "north"})
	}
	return images
}

// TestServiceEndToEnd runs two instances of the service against real servers: four photographs of a clinic's night and one
// broken file, each announced twice at once; then everything again.
func TestServiceEndToEnd(t *testing.T) {
	t.Parallel()
	images := clinicImages(t)
	broken := &accepted{name: "broken", data: []byte("archived, but no DICOM"), clinic: "south"}
	engine := newEngine(t)
	b := startBackbone(t)
	for _, img := range append(images, broken) {
		b.accept(t, img)
		b.announce(t, img, "second")
	}
	for range 2 {
		service, err := segment.New(segment.Deps{
			Conn: b.conn, Store: b.store, Files: isolatedtest.New(t), Engine: engine, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)), Clock: time.Now, CodeVersion: "test",
		}, segment.Config{Grace: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		b.start(t, service.Run)
	}
	b.idle(t)

	results := b.store.Buckets().Results
	written := map[string]blob.Info{}
	sum := 0.0
	for _, img := range images {
		prefix, err := blob.ResultPrefix(img.event.SOPUID, img.event.Sha256, engine.Model().Manifest.Sha256)
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{}
		for info, err := range b.store.List(t.Context(), results, prefix) {
			if err != nil {
				t.Fatal(err)
			}
			data, err := b.store.GetBytes(t.Context(), results, info.Key, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			files[strings.TrimPrefix(info.Key, prefix)] = data
			written[info.Key] = info
		}
		if len(files) != 7 {
			t.Errorf("%s: %d files", img.name, len(files))
		}
		result, err := record.Decode[record.Result](record.ResultSchema, files[segment.ResultFile])
		if err != nil {
			t.Fatalf("%s: %v", img.name, err)
		}
		if result.Status != record.Measured || result.Laterality == "" || result.Rows != img.label.Height || result.Columns != img.label.Width {
			t.Errorf("%s: %+v", img.name, result)
		}
		if n := b.count(event.TypeImageSegmented, img.event.SOPUID); n == 0 {
			t.Errorf("%s: not announced", img.name)
		}
		path := filepath.Join(t.TempDir(), segment.MaskFile)
		if err := os.WriteFile(path, files[result.Files.Mask], 0o600); err != nil {
			t.Fatal(err)
		}
		mask, err := pixel.ReadMask(path, pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		d := dice(mask, img.label)
		t.Logf("%s: Dice %.3f", img.name, d)
		sum += d
	}
	if mean := sum / float64(len(images)); mean < .70 {
		t.Errorf("mean Dice %.3f", mean)
	}
	prefix, err := blob.ResultPrefix(broken.event.SOPUID, broken.event.Sha256, engine.Model().Manifest.Sha256)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.store.GetBytes(t.Context(), results, prefix+segment.FailureFile, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	failure, err := record.Decode[record.Failure](record.FailureSchema, raw)
	if err != nil {
		t.Fatal(err)
	}
	if failure.Code != dicom.CodeNotDICOM || failure.Clinic != "south" || b.count(event.TypeImageFailed, broken.event.SOPUID) == 0 {
		t.Errorf("failure %+v", failure)
	}

	// Everything again: nothing is computed or written a second time.
	for _, img := range append(images, broken) {
		b.announce(t, img, "again")
	}
	b.idle(t)
	after := 0
	for info, err := range b.store.List(t.Context(), results, "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(info.Key, prefix) {
			continue
		}
		after++
		if before := written[info.Key]; before != info {
			t.Errorf("%s was written again: %+v, %+v", info.Key, before, info)
		}
	}
	if after != len(written) {
		t.Errorf("%d objects, %d before", after, len(written))
	}
}

// testWriter sends log lines to the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// TestInterruptedWorkIsHandedBack stops a service in the middle of its work, with hardly any grace, as often as it takes
// work up; another instance must finish, and an interruption must never count as a failure.
func TestInterruptedWorkIsHandedBack(t *testing.T) {
	t.Parallel()
	images := clinicImages(t)
	engine := newEngine(t)
	b := startBackbone(t)
	for _, img := range images {
		b.accept(t, img)
	}
	newService := func(grace time.Duration) *segment.Service {
		service, err := segment.New(segment.Deps{
			Conn: b.conn, Store: b.store, Files: isolatedtest.New(t), Engine: engine, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)), Clock: time.Now, CodeVersion: "test",
		}, segment.Config{Grace: grace, MaxAttempts: 5})
		if err != nil {
			t.Fatal(err)
		}
		return service
	}
	for range 4 {
		stop := b.start(t, newService(time.Millisecond).Run)
		b.until(t, func(lag stream.Lag) bool { return lag.AckPending > 0 || lag.Pending == 0 })
		stop()
	}
	b.start(t, newService(0).Run)
	b.idle(t)
	for _, img := range images {
		prefix, err := blob.ResultPrefix(img.event.SOPUID, img.event.Sha256, engine.Model().Manifest.Sha256)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.store.Stat(t.Context(), b.store.Buckets().Results, prefix+segment.ResultFile); err != nil {
			t.Errorf("%s: %v", img.name, err)
		}
		if n := b.count(event.TypeImageFailed, img.event.SOPUID); n != 0 {
			t.Errorf("%s: announced as failed", img.name)
		}
	}
}
