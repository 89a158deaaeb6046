package segment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated/isolatedtest"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/test/shared"
)

// faultyStore is a store in memory that can be told to fail: what real servers do not do on demand.
type faultyStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	puts    []string         // in order
	failPut map[string]error // by file name, once
}

var _ store = (*faultyStore)(nil)

func (s *faultyStore) Buckets() blob.Buckets { return blob.BucketsOf("") }

func (s *faultyStore) GetBytes(_ context.Context, bucket, key string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[bucket+"/"+key]
	if !ok {
		return nil, fault.New(fault.NotFound, "object-missing", "there is no %s", key)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Invalid, "object-too-large", "%s is too large", key)
	}
	return data, nil
}

func (s *faultyStore) PutBytes(_ context.Context, bucket, key string, data []byte, opts blob.PutOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := key[strings.LastIndex(key, "/")+1:]
	if err := s.failPut[name]; err != nil {
		delete(s.failPut, name)
		return err
	}
	if _, there := s.objects[bucket+"/"+key]; there && opts.IfNoneMatch {
		return fault.New(fault.Conflict, "object-exists", "%s is there", key)
	}
	s.objects[bucket+"/"+key] = bytes.Clone(data)
	s.puts = append(s.puts, name)
	return nil
}

type recorder struct {
	mu     sync.Mutex
	events []event.Envelope
	fail   error // once
}

func (r *recorder) Publish(_ context.Context, e event.Envelope) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fail; err != nil {
		r.fail = nil
		return err
	}
	r.events = append(r.events, e)
	return nil
}

// scripted is a network that answers without any library: vessel everywhere where red is low, or an error.
type scripted struct {
	model *unet.Model
	mu    sync.Mutex
	runs  int
	err   error
}

func (s *scripted) Info() unet.Info {
	return unet.Info{Provider: unet.CPU, Requested: unet.CPU, RuntimeVersion: "none", Batch: 1, ConcurrentRuns: 1, IntraOpThreads: 1}
}
func (s *scripted) Model() *unet.Model { return s.model }
func (s *scripted) Segment(_ context.Context, in unet.Input) (unet.Output, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	if s.err != nil {
		return unet.Output{}, s.err
	}
	size := in.Width * in.Height
	out := unet.Output{Width: in.Width, Height: in.Height, Classes: []string{"background", unet.VesselClass}, Data: make([]float32, 2*size), Inference: time.Millisecond}
	for i, green := range in.Data[size : 2*size] { // vessels are dark in green
		vessel := float32(1 / (1 + math.Exp(3*float64(green)+3)))
		out.Data[i], out.Data[size+i] = 1-vessel, vessel
	}
	return out, nil
}

type bench struct {
	worker  worker
	store   *faultyStore
	events  *recorder
	network *scripted
	message event.Envelope
	prefix  string // of the results bucket
}

// newBench lays one clinic image into a store in memory.
func newBench(t *testing.T) *bench {
	t.Helper()
	model, err := unet.LoadModel("../../pkg/unet/testdata/tiny")
	if err != nil {
		t.Fatal(err)
	}
	network := &scripted{model: model}
	analyser, err := NewAnalyser(network, time.Now, "test")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(shared.Dir(t, "dicom", "clinic", clinicFile))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{store: &faultyStore{objects: map[string][]byte{}, failPut: map[string]error{}}, events: &recorder{}, network: network}
	b.worker = worker{analyser: analyser, store: b.store, files: isolatedtest.New(t), publisher: b.events, logger: slog.New(slog.DiscardHandler), clock: time.Now}
	b.message = archive(t, b.store.Buckets(), data, func(bucket, key string, data []byte) { b.store.objects[bucket+"/"+key] = data })
	img, err := b.worker.target(b.message)
	if err != nil {
		t.Fatal(err)
	}
	b.prefix = b.store.Buckets().Results + "/" + img.prefix
	return b
}

const clinicFile = "chase_01L.dcm"

// archive puts what intake would put, and returns its event.
func archive(t *testing.T, buckets blob.Buckets, data []byte, put func(bucket, key string, data []byte)) event.Envelope {
	t.Helper()
	const study, sop = "1.2.826.0.1.1", "1.2.826.0.1.1.2"
	sum := sha256.Sum256(data)
	sha := hex.EncodeToString(sum[:])
	dicomKey, err := blob.ArchiveKey(study, sop, sha)
	if err != nil {
		t.Fatal(err)
	}
	documentKey, err := blob.InstanceKey(study, sop, sha)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := record.Encode(record.InstanceSchema, record.Instance{
		Schema: record.InstanceSchema, StudyUID: study, SOPUID: sop, Sha256: sha, SizeBytes: len(data), Clinic: "north", ArchiveKey: dicomKey,
		ReceiptID: strings.Repeat("0", 32), ReceivedAt: time.Now().UTC(), Laterality: record.LeftEye, Analyse: true, Rows: 960, Columns: 999, Frames: 1,
		Modality: "OP", Photometric: "YBR_FULL_422", SOPClassUID: "1.2.840.10008.5.1.4.1.1.77.1.5.1", TransferSyntaxUID: "1.2.840.10008.1.2.4.50",
		Patient: record.PatientIdentity{ID: "p", Key: strings.Repeat("a", 64)},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(buckets.Archive, documentKey, instance)
	put(buckets.Archive, dicomKey, data)
	e, err := event.New(event.TypeImageAccepted, event.ID(event.TypeImageAccepted, sop, sha), "north", time.Now(), event.ImageAccepted{
		StudyUID: study, SOPUID: sop, Sha256: sha, ArchiveKey: dicomKey, SizeBytes: len(data), Analyse: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (b *bench) types() string {
	var types []string
	for _, e := range b.events.events {
		types = append(types, e.Type)
	}
	return strings.Join(types, " ")
}

func TestResultIsWrittenLastThenAnnounced(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	progress := 0
	if err := b.worker.handle(t.Context(), b.message, func() { progress++ }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(b.store.puts, " "); got != "mask.png overlay.jpg vessels.jpg segments.csv seg.dcm sr.dcm result.json" {
		t.Errorf("written: %s", got)
	}
	if b.types() != event.TypeImageSegmented || progress < 4 {
		t.Errorf("events %q, progress %d", b.types(), progress)
	}
	data, err := event.DataOf[event.ImageSegmented](b.events.events[0], event.TypeImageSegmented)
	if err != nil {
		t.Fatal(err)
	}
	result, err := record.Decode[record.Result](record.ResultSchema, b.store.objects[b.store.Buckets().Results+"/"+data.ResultKey])
	if err != nil {
		t.Fatal(err)
	}
	p := result.Provenance
	if result.Laterality != record.LeftEye || result.Clinic != "north" || result.Status != data.Status || p.InputSha256 != data.Sha256 || p.Model.Sha256 != data.ModelSha256 ||
		p.OnnxruntimeVersion == "" || p.ExecutionProvider == "" || p.CodeVersion == "" || p.Decoder == "" || len(p.ChannelMean) != 3 || p.StartedAt.IsZero() || p.FinishedAt.Before(p.StartedAt) {
		t.Errorf("result %+v", result)
	}
	// Again: announced, not computed.
	if err := b.worker.handle(t.Context(), b.message, func() {}); err != nil {
		t.Fatal(err)
	}
	if b.network.runs != 1 || len(b.store.puts) != 7 || len(b.events.events) != 2 || b.events.events[0].ID != b.events.events[1].ID {
		t.Errorf("%d runs, %d writes, %d events", b.network.runs, len(b.store.puts), len(b.events.events))
	}
}

// TestSameInputSameDICOMBytes: two workers, on different days, make the same SEG and SR, of the patient whom the archived file names.
func TestSameInputSameDICOMBytes(t *testing.T) {
	t.Parallel()
	var made [2]map[string][]byte
	for i := range made {
		b := newBench(t)
		analyser, err := NewAnalyser(b.network, func() time.Time { return time.Unix(1e9, 0).AddDate(0, 0, i) }, "test")
		if err != nil {
			t.Fatal(err)
		}
		b.worker.analyser = analyser
		if err := b.worker.handle(t.Context(), b.message, func() {}); err != nil {
			t.Fatal(err)
		}
		made[i] = map[string][]byte{}
		for _, name := range []string{SEGFile, SRFile, ResultFile} {
			made[i][name] = b.store.objects[b.prefix+name]
		}
	}
	if bytes.Equal(made[0][ResultFile], made[1][ResultFile]) {
		t.Error("the results are of one day")
	}
	for _, name := range []string{SEGFile, SRFile} {
		data := made[0][name]
		if !bytes.Equal(data, made[1][name]) {
			t.Errorf("another day makes another %s", name)
		}
		file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		source, err := file.Source(&record.Instance{})
		if err != nil {
			t.Fatal(err)
		}
		if source.PatientID != "C01" || source.Issuer != "CHASE" || source.PatientName != "Child^01" {
			t.Errorf("%s is of %+v", name, source)
		}
	}
}

// TestRetryAfterAnyFailure breaks each write and the publishing in turn; the second attempt must complete the work.
func TestRetryAfterAnyFailure(t *testing.T) {
	t.Parallel()
	down := fault.New(fault.Transient, "storage-unavailable", "The storage is away.")
	for _, step := range []string{MaskFile, OverlayFile, SEGFile, SRFile, VesselMapFile, SegmentsFile, ResultFile, "publish"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if step == "publish" {
				b.events.fail = down
			} else {
				b.store.failPut[step] = down
			}
			if err := b.worker.handle(t.Context(), b.message, func() {}); !fault.Is(err, fault.Transient) {
				t.Fatalf("first attempt: %v", err)
			}
			if len(b.events.events) != 0 {
				t.Error("announced before everything was written")
			}
			if err := b.worker.handle(t.Context(), b.message, func() {}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{MaskFile, OverlayFile, SEGFile, SRFile, VesselMapFile, SegmentsFile, ResultFile} {
				if b.store.objects[b.prefix+name] == nil {
					t.Errorf("%s is missing", name)
				}
			}
			if b.types() != event.TypeImageSegmented {
				t.Errorf("events %q", b.types())
			}
		})
	}
}

func TestImageThatIsOnlyArchivedIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	data, err := event.DataOf[event.ImageAccepted](b.message, event.TypeImageAccepted)
	if err != nil {
		t.Fatal(err)
	}
	data.Analyse = false
	if b.message.Data, err = json.Marshal(data); err != nil {
		t.Fatal(err)
	}
	if err := b.worker.handle(t.Context(), b.message, func() {}); err != nil || len(b.store.puts) != 0 || len(b.events.events) != 0 {
		t.Errorf("%v, wrote %v, told %q", err, b.store.puts, b.types())
	}
}

func TestWhatCannotBeAnalysedFailsByKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(b *bench, data event.ImageAccepted)
		code    string
		kind    fault.Kind
	}{
		"archive altered": {func(b *bench, d event.ImageAccepted) {
			key := b.store.Buckets().Archive + "/" + d.ArchiveKey
			b.store.objects[key] = append(bytes.Clone(b.store.objects[key]), 0)
		}, "archive-altered", fault.Invalid},
		"archive gone": {func(b *bench, d event.ImageAccepted) {
			delete(b.store.objects, b.store.Buckets().Archive+"/"+d.ArchiveKey)
		}, "object-missing", fault.NotFound},
		"instance document gone": {func(b *bench, d event.ImageAccepted) {
			delete(b.store.objects, b.store.Buckets().Archive+"/"+strings.TrimSuffix(d.ArchiveKey, ".dcm")+".json")
		}, "object-missing", fault.NotFound},
		"network fails": {func(b *bench, _ event.ImageAccepted) {
			b.network.err = fault.New(fault.Internal, "inference-failed", "It failed.")
		}, "inference-failed", fault.Internal},
		"interrupted": {func(b *bench, _ event.ImageAccepted) { b.network.err = context.Canceled }, "", fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			data, err := event.DataOf[event.ImageAccepted](b.message, event.TypeImageAccepted)
			if err != nil {
				t.Fatal(err)
			}
			c.breakIt(b, data)
			err = b.worker.handle(t.Context(), b.message, func() {})
			if fault.CodeOf(err) != c.code || !fault.Is(err, c.kind) || len(b.store.puts) != 0 || len(b.events.events) != 0 {
				t.Fatalf("%v, wrote %v, told %q", err, b.store.puts, b.types())
			}
			if name == "interrupted" {
				if !fault.Interrupted(err) {
					t.Errorf("an interruption must stay one: %v", err)
				}
				return
			}
			// What the queue does when it gives the message up.
			if err := b.worker.fail(t.Context(), b.message, 5, err); err != nil {
				t.Fatal(err)
			}
			failure, err := record.Decode[record.Failure](record.FailureSchema, b.store.objects[b.prefix+FailureFile])
			if err != nil {
				t.Fatal(err)
			}
			if failure.Code != c.code || failure.Attempts != 5 || !strings.HasSuffix(failure.Reason, ".") || b.types() != event.TypeImageFailed {
				t.Errorf("failure %+v, events %q", failure, b.types())
			}
			// Delivered again: the failure is told again, nothing is tried.
			runs := b.network.runs
			if err := b.worker.handle(t.Context(), b.message, func() {}); err != nil || b.network.runs != runs || len(b.events.events) != 2 {
				t.Errorf("%v, %d runs, events %q", err, b.network.runs, b.types())
			}
		})
	}
}

func TestFailureDoesNotHideAResult(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.worker.handle(t.Context(), b.message, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := b.worker.fail(t.Context(), b.message, 1, errors.New("another worker's trouble")); err != nil {
		t.Fatal(err)
	}
	if b.store.objects[b.prefix+FailureFile] != nil || b.types() != event.TypeImageSegmented+" "+event.TypeImageSegmented {
		t.Errorf("events %q", b.types())
	}
}

func TestMessageWithoutImageLeavesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.message.Data = json.RawMessage(`{"sop_uid": "../../etc"}`)
	err := b.worker.handle(t.Context(), b.message, func() {})
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
	if err := b.worker.fail(t.Context(), b.message, 1, err); err != nil || len(b.store.puts) != 0 || len(b.events.events) != 0 {
		t.Errorf("%v, wrote %v, told %q", err, b.store.puts, b.types())
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{Grace: -1}, {Grace: time.Hour}, {MaxAttempts: -1}, {MaxAttempts: 101}} {
		if err := c.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := (EngineConfig{}).Validate(); !fault.Is(err, fault.Invalid) {
		t.Errorf("an engine without a model: %v", err)
	}
	if _, err := New(Deps{}, Config{}); err == nil {
		t.Error("a service without dependencies was made")
	}
}
