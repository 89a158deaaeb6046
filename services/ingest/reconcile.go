package ingest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// maxFinished bounds the memory of images known to have a result: 1 Mi × 16 bytes and their map. Beyond, it starts anew.
const maxFinished = 1 << 20

// reconcileForever searches the quarantine for forgotten releases, and the archive for manifests whose study did not come and for
// forgotten images, at the start and every Config.ReconcileEvery.
func (s *Service) reconcileForever(ctx context.Context) {
	for {
		released, err := s.reconcileQuarantine(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.deps.Logger.Warn("forgotten releases from quarantine could not be searched for; trying again later", "code", fault.CodeOf(err), "error", err)
		case released > 0:
			s.deps.Logger.Info("forgotten releases from quarantine were carried out", "files", released)
		}
		unmet, err := s.reconcileManifests(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.deps.Logger.Warn("manifests whose study did not come could not be searched for; trying again later", "code", fault.CodeOf(err), "error", err)
		case unmet > 0:
			s.deps.Logger.Info("manifests whose study did not come are in quarantine", "manifests", unmet)
		}
		announced, err := 0, error(nil)
		if s.deps.Lag != nil {
			announced, err = s.reconcile(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.deps.Logger.Warn("images without a result could not be searched for; trying again later", "code", fault.CodeOf(err), "error", err)
		case announced > 0:
			s.deps.Logger.Info("images without a result were announced again", "images", announced)
		}
		if !sleep(ctx, s.config.ReconcileEvery, nil) {
			return
		}
	}
}

// reconcile announces archived images that should be analysed and have neither result nor failure, unless the segment workers
// have work: what they have not reached yet is not forgotten. The buckets are the truth, so a wiped stream loses nothing.
func (s *Service) reconcile(ctx context.Context) (announced int, err error) {
	lag, err := s.deps.Lag(ctx)
	if err != nil || lag > 0 {
		return 0, err
	}
	oldest := s.deps.Clock().Add(-s.config.ReconcileAfter)
	archive := s.deps.Blob.Buckets().Archive
	for info, err := range s.deps.Blob.List(ctx, archive, "images/") {
		if err != nil {
			return announced, fmt.Errorf("listing the archive: %w", err)
		}
		prefix, isImage := strings.CutSuffix(info.Key, ".dcm")
		if !isImage || info.LastModified.After(oldest) || s.isFinished(info.Key) {
			continue
		}
		instance, err := s.readInstance(ctx, archive, prefix+".json")
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
			// Put there by somebody else: Noctua writes the document first.
			s.deps.Logger.Warn("an archived object has no readable document and is left alone", "key", info.Key)
			s.finish(info.Key)
			continue
		}
		if err != nil {
			return announced, err
		}
		done := !instance.Analyse
		if !done {
			if done, err = s.hasResult(ctx, instance.SOPUID, instance.Sha256); err != nil {
				return announced, err
			}
		}
		if done {
			s.finish(info.Key)
			continue
		}
		if err := s.announce(ctx, instance); err != nil {
			return announced, err
		}
		announced++
	}
	return announced, nil
}

// hasResult tells whether the current model, or any if none is configured, has a result or a failure for the image.
func (s *Service) hasResult(ctx context.Context, sop, sha string) (bool, error) {
	results := s.deps.Blob.Buckets().Results
	if s.config.ModelSHA256 == "" {
		// Any model's folder lies beside the others; a folder's name does not matter here.
		prefix, err := blob.ResultPrefix(sop, sha, sha)
		if err != nil {
			return false, err
		}
		all := prefix[:strings.LastIndex(strings.TrimSuffix(prefix, "/"), "/")+1]
		for info, err := range s.deps.Blob.List(ctx, results, all) {
			if err != nil {
				return false, fmt.Errorf("listing results: %w", err)
			}
			if strings.HasSuffix(info.Key, "/"+resultName) || strings.HasSuffix(info.Key, "/"+failureName) {
				return true, nil
			}
		}
		return false, nil
	}
	prefix, err := blob.ResultPrefix(sop, sha, s.config.ModelSHA256)
	if err != nil {
		return false, err
	}
	for _, name := range []string{resultName, failureName} {
		_, err := s.deps.Blob.Stat(ctx, results, prefix+name)
		if err == nil {
			return true, nil
		}
		if !fault.Is(err, fault.NotFound) {
			return false, fmt.Errorf("looking for a result: %w", err)
		}
	}
	return false, nil
}

// Names of the documents that end an analysis.
const (
	resultName  = "result.json"
	failureName = "failure.json"
)

// Only reconcile uses finished, from one goroutine.
func (s *Service) isFinished(key string) bool {
	_, ok := s.finished[shortHash(key)]
	return ok
}

func (s *Service) finish(key string) {
	if len(s.finished) >= maxFinished {
		clear(s.finished)
	}
	s.finished[shortHash(key)] = struct{}{}
}

func shortHash(key string) [16]byte {
	digest := sha256.Sum256([]byte(key))
	return [16]byte(digest[:16])
}
