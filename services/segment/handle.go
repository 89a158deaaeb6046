package segment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// store is what the service uses of the buckets.
type store interface {
	Buckets() blob.Buckets
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	PutBytes(ctx context.Context, bucket, key string, data []byte, opts blob.PutOptions) error
}

var _ store = (*blob.Store)(nil)

// publisher tells the others. Publish returns after the stream has the event on disk.
type publisher interface {
	Publish(ctx context.Context, e event.Envelope) error
}

// maxDocumentBytes bounds a JSON document that is read from a bucket.
const maxDocumentBytes = 4 << 20

// worker does the work of one message; it knows no queue.
type worker struct {
	analyser  *Analyser
	store     store
	files     *isolated.Reader
	publisher publisher
	logger    *slog.Logger
	clock     func() time.Time
}

// target names what a message is about, and where its outcome lies.
type target struct {
	event.ImageAccepted
	clinic, trace string
	prefix        string // in the results bucket, of the current model
}

func (w *worker) target(e event.Envelope) (target, error) {
	data, err := event.DataOf[event.ImageAccepted](e, event.TypeImageAccepted)
	if err != nil {
		return target{}, err
	}
	prefix, err := blob.ResultPrefix(data.SOPUID, data.Sha256, w.model().Sha256)
	if err != nil {
		return target{}, err
	}
	return target{ImageAccepted: data, clinic: e.Clinic, trace: e.Trace, prefix: prefix}, nil
}

func (w *worker) model() record.ModelReference { return w.analyser.network.Model().Reference() }

// handle brings one accepted image to its result. progress is called whenever a step is done. It returns nil when the result
// is published (or there is nothing to do), and otherwise an error whose kind decides what becomes of the message.
func (w *worker) handle(ctx context.Context, e event.Envelope, progress func()) error {
	img, err := w.target(e)
	if err != nil {
		return err
	}
	if !img.Analyse {
		return nil // archived only: the report says why, from the instance document
	}
	// A failure that was recorded stands until an operator removes failure.json: announcing it again loses nothing, and
	// trying again would fail again.
	if done, err := w.announceExisting(ctx, img); done || err != nil {
		return err
	}
	progress()
	return w.process(ctx, img, progress)
}

// announceExisting publishes the outcome that lies in the results bucket already; false if there is none.
func (w *worker) announceExisting(ctx context.Context, img target) (bool, error) {
	results := w.store.Buckets().Results
	raw, err := w.store.GetBytes(ctx, results, img.prefix+ResultFile, maxDocumentBytes)
	if err == nil {
		result, err := record.Decode[record.Result](record.ResultSchema, raw)
		if err != nil {
			return false, fmt.Errorf("reading the result of %s: %w", img.SOPUID, err)
		}
		return true, w.publishResult(ctx, img, result.Status)
	}
	if !fault.Is(err, fault.NotFound) {
		return false, fmt.Errorf("looking for the result of %s: %w", img.SOPUID, err)
	}
	raw, err = w.store.GetBytes(ctx, results, img.prefix+FailureFile, maxDocumentBytes)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the failure of %s: %w", img.SOPUID, err)
	}
	failure, err := record.Decode[record.Failure](record.FailureSchema, raw)
	if err != nil {
		return false, fmt.Errorf("reading the failure of %s: %w", img.SOPUID, err)
	}
	return true, w.publishFailure(ctx, img, failure.Code)
}

// process does the work and commits it: mask, overlay, SEG and SR, then result.json.
func (w *worker) process(ctx context.Context, img target, progress func()) error {
	took := stopwatch()
	instance, err := w.instance(ctx, img)
	if err != nil {
		return err
	}
	picture, subject, err := w.fetch(ctx, img, instance)
	if err != nil {
		return err
	}
	fetched := took()
	progress()
	analysis, err := w.analyser.Analyse(ctx, picture, subject)
	if err != nil {
		return fmt.Errorf("analysing %s: %w", img.SOPUID, err)
	}
	analysed := took()
	progress()
	document, err := record.Encode(record.ResultSchema, analysis.Result)
	if err != nil {
		return err
	}
	files, err := analysis.Render(picture, subject.BurnedIn)
	if err != nil {
		return fmt.Errorf("rendering %s: %w", img.SOPUID, err)
	}
	rendered := took()
	progress()
	for _, f := range files {
		if err := w.put(ctx, img.prefix+f.Name, f.ContentType, f.Data); err != nil {
			return err
		}
	}
	progress()
	w.files.Recycle(picture) // what is left is made of it and holds no part of it
	status := analysis.Result.Status
	switch err := w.putNew(ctx, img.prefix+ResultFile, "application/json", document); {
	case fault.Is(err, fault.Conflict):
		// Another worker was faster; what it committed counts, and is announced here as well in case it died before.
		if done, err := w.announceExisting(ctx, img); done || err != nil {
			return err
		}
		return fault.New(fault.Transient, "result-vanished", "the result of %s was there and is gone", img.SOPUID)
	case err != nil:
		return fmt.Errorf("committing the result of %s: %w", img.SOPUID, err)
	}
	if err := w.publishResult(ctx, img, status); err != nil {
		return err
	}
	t := analysis.Timings
	w.logger.InfoContext(ctx, "image segmented", "sop_uid", img.SOPUID, "clinic", img.clinic, "status", string(status),
		"fetch_ms", ms(fetched), "fov_ms", ms(t.FieldOfView), "canvas_ms", ms(t.Canvas), "network_ms", ms(t.Network), "inference_ms", ms(t.Inference),
		"analyse_ms", ms(analysed), "render_ms", ms(rendered), "commit_ms", ms(took()))
	return nil
}

func ms(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// instance reads the document that intake put beside the archived bytes.
func (w *worker) instance(ctx context.Context, img target) (*record.Instance, error) {
	key, err := blob.InstanceKey(img.StudyUID, img.SOPUID, img.Sha256)
	if err != nil {
		return nil, err
	}
	raw, err := w.store.GetBytes(ctx, w.store.Buckets().Archive, key, maxDocumentBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the instance document of %s: %w", img.SOPUID, err)
	}
	instance, err := record.Decode[record.Instance](record.InstanceSchema, raw)
	if err != nil {
		return nil, fmt.Errorf("reading the instance document of %s: %w", img.SOPUID, err)
	}
	return instance, nil
}

// fetch reads and decodes the archived bytes. They are released when it returns: only the pixels stay in memory.
func (w *worker) fetch(ctx context.Context, img target, instance *record.Instance) (*raster.RGB, Subject, error) {
	data, err := w.store.GetBytes(ctx, w.store.Buckets().Archive, img.ArchiveKey, maxFileBytes)
	if err != nil {
		return nil, Subject{}, fmt.Errorf("reading the archived image %s: %w", img.SOPUID, err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != img.Sha256 {
		return nil, Subject{}, fault.New(fault.Invalid, "archive-altered", "The archived bytes of image %s are not the ones that were accepted: restore them from a backup.", img.SOPUID)
	}
	file, err := w.files.ReadBytes(ctx, data, isolated.Picture)
	if err == nil {
		err = file.Undecoded
	}
	if err != nil {
		return nil, Subject{}, fmt.Errorf("reading the archived image %s: %w", img.SOPUID, err)
	}
	subject := Subject{
		StudyUID: img.StudyUID, SOPUID: img.SOPUID, SHA256: img.Sha256, Clinic: img.clinic,
		Decoder: dicomDecoder(file.TransferSyntax), Notes: file.Notes, Source: &file.Source,
	}
	subject.describe(instance)
	return file.Picture, subject, nil
}

// put writes a file that is the same whoever writes it, so that one that is there already is as good.
func (w *worker) put(ctx context.Context, key, contentType string, data []byte) error {
	err := w.putNew(ctx, key, contentType, data)
	if err != nil && !fault.Is(err, fault.Conflict) {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	return nil
}

func (w *worker) putNew(ctx context.Context, key, contentType string, data []byte) error {
	return w.store.PutBytes(ctx, w.store.Buckets().Results, key, data, blob.PutOptions{ContentType: contentType, IfNoneMatch: true})
}

// fail records that an image cannot be analysed, and says so. The queue calls it before it puts the message aside. A message
// that names no image leaves nothing to record.
func (w *worker) fail(ctx context.Context, e event.Envelope, attempts int, cause error) error {
	img, err := w.target(e)
	if err != nil {
		w.logger.ErrorContext(ctx, "a message names no image and is put aside", "event_id", e.ID, "cause", cause, "error", err)
		return nil //nolint:nilerr // the error is the message's, which the queue keeps as a dead letter; nothing else can be done
	}
	failure := record.Failure{
		Schema: record.FailureSchema, StudyUID: img.StudyUID, SOPUID: img.SOPUID, Sha256: img.Sha256, Clinic: img.clinic,
		Code: codeOf(cause), Reason: sentence(cause), Attempts: max(1, attempts), FailedAt: w.clock().UTC(), Model: w.model(),
	}
	w.logger.ErrorContext(ctx, "image cannot be analysed", "sop_uid", img.SOPUID, "clinic", img.clinic, "code", failure.Code, "attempts", attempts, "error", cause)
	// Another worker may have finished the image while this one failed: a result counts more than a failure.
	if done, err := w.announceExisting(ctx, img); done {
		return err
	} else if err != nil && !fault.Is(err, fault.Invalid) {
		return err // not known; an unreadable result, though, is no result, and must not keep the message going round
	}
	document, err := record.Encode(record.FailureSchema, failure)
	if err != nil {
		return err
	}
	if err := w.put(ctx, img.prefix+FailureFile, "application/json", document); err != nil {
		return err
	}
	return w.publishFailure(ctx, img, failure.Code)
}

func (w *worker) publishResult(ctx context.Context, img target, status record.AnalysisStatus) error {
	model := w.model()
	return w.publish(ctx, img, event.TypeImageSegmented, event.ImageSegmented{
		StudyUID: img.StudyUID, SOPUID: img.SOPUID, Sha256: img.Sha256, ResultKey: img.prefix + ResultFile,
		Status: status, Model: model.Name, ModelSha256: model.Sha256,
	})
}

func (w *worker) publishFailure(ctx context.Context, img target, code string) error {
	return w.publish(ctx, img, event.TypeImageFailed, event.ImageFailed{
		StudyUID: img.StudyUID, SOPUID: img.SOPUID, Sha256: img.Sha256, FailureKey: img.prefix + FailureFile, Code: code,
	})
}

func (w *worker) publish(ctx context.Context, img target, typ string, data any) error {
	// The id is that of the fact, so that a second worker or a second attempt tells it under the same one.
	e, err := event.New(typ, event.ID(typ, img.SOPUID, img.Sha256[:16], w.model().Sha256[:12]), img.clinic, w.clock(), data)
	if err != nil {
		return err
	}
	e.Trace = img.trace
	if err := w.publisher.Publish(ctx, e); err != nil {
		return fmt.Errorf("publishing %s of %s: %w", typ, img.SOPUID, err)
	}
	return nil
}
