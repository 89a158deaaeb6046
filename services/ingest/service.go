package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Service is the intake. Make it with New.
type Service struct {
	deps   Deps
	config Config

	mu       sync.Mutex
	inWork   map[string]struct{} // inbox keys that a worker has; at most Config.Workers
	retries  map[string]retry    // inbox keys that failed; forgotten when they leave the inbox
	failing  map[string]struct{} // inbox keys that failed since something last went well: many mean that store or broker are away
	finished map[[16]byte]struct{}
}

// retry says when an object may be tried again.
type retry struct {
	etag  string
	after time.Time
	delay time.Duration
}

// New checks the configuration and makes the service.
func New(deps Deps, config Config) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if deps.Blob == nil || deps.Publisher == nil || deps.Files == nil || deps.Logger == nil || deps.Clock == nil {
		return nil, fault.New(fault.Internal, "config-invalid", "ingest needs a store, a publisher, a reader of files, a logger and a clock")
	}
	config = config.orDefaults()
	return &Service{
		deps: deps, config: config,
		inWork: map[string]struct{}{}, retries: map[string]retry{}, failing: map[string]struct{}{}, finished: map[[16]byte]struct{}{},
	}, nil
}

// Run handles the inbox until ctx is cancelled. Objects in work then have Config.StopGrace to finish; what is not finished
// stays in the inbox. It returns nil after cancellation.
func (s *Service) Run(ctx context.Context) error {
	workCtx, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()

	work := make(chan blob.Info) // no buffer: what waits, waits in the inbox
	var workers sync.WaitGroup
	for range s.config.Workers {
		workers.Go(func() {
			for info := range work {
				s.handle(workCtx, info)
			}
		})
	}
	workers.Go(func() { s.reconcileForever(ctx) })

	s.listForever(ctx, work)
	close(work)
	grace := time.AfterFunc(s.config.StopGrace, cancelWork)
	defer grace.Stop()
	workers.Wait()
	return nil
}

// listForever hands the inbox's objects to the workers until ctx is cancelled.
func (s *Service) listForever(ctx context.Context, work chan<- blob.Info) {
	delay := firstRetry
	for ctx.Err() == nil {
		wait := s.config.ListEvery
		err := s.list(ctx, work)
		switch {
		case err == nil:
			delay = firstRetry
		case ctx.Err() == nil:
			s.deps.Logger.Warn("the inbox cannot be listed; trying again", "code", fault.CodeOf(err), "error", err, "delay", delay)
			wait = delay
			delay = min(2*delay, lastRetry)
		}
		if sleep(ctx, min(listGap, wait), nil) {
			sleep(ctx, wait-min(listGap, wait), s.deps.Wake)
		}
	}
}

// sleep waits until the time is over or something comes from wake. It is false if ctx is cancelled.
func sleep(ctx context.Context, wait time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

// list goes through the inbox once and hands over what is not in work and not waiting to be retried.
func (s *Service) list(ctx context.Context, work chan<- blob.Info) error {
	seen := map[string]struct{}{} // of the keys that failed before: at most as many as there are retries
	for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Inbox, "") {
		if err != nil {
			return err
		}
		if !s.take(info, seen) {
			continue
		}
		if wait := s.outage(); wait > 0 && !sleep(ctx, wait, nil) {
			s.release(info.Key)
			return ctx.Err()
		}
		select {
		case work <- info:
		case <-ctx.Done():
			s.release(info.Key)
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.retries {
		if _, ok := seen[key]; !ok {
			delete(s.retries, key) // somebody removed the object
		}
	}
	return nil
}

// take marks an object as in work, unless it is already or must wait.
func (s *Service) take(info blob.Info, seen map[string]struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.retries[info.Key]; ok {
		seen[info.Key] = struct{}{}
		if r.etag == info.ETag && s.deps.Clock().Before(r.after) {
			return false
		}
	}
	if _, ok := s.inWork[info.Key]; ok {
		return false
	}
	s.inWork[info.Key] = struct{}{}
	return true
}

func (s *Service) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inWork, key)
}

// outage is how long to wait before the next object is started, when so many different ones failed, and none went well, that
// it cannot be their fault.
func (s *Service) outage() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := len(s.failing) - s.config.Workers
	if over <= 0 {
		return 0
	}
	return min(firstRetry<<min(over, 10), lastRetry/2)
}

// handle brings one object to its outcome, or notes when to try it again.
func (s *Service) handle(ctx context.Context, info blob.Info) {
	err := s.process(ctx, info)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inWork, info.Key)
	switch {
	case err == nil:
		delete(s.retries, info.Key)
		clear(s.failing)
	case fault.Interrupted(err):
		// Stopped in the middle: the next start finds the object in the inbox and its own traces in the other buckets.
	default:
		r := s.retries[info.Key]
		if r.etag != info.ETag {
			r = retry{etag: info.ETag}
		}
		r.delay = min(max(2*r.delay, firstRetry), lastRetry)
		r.after = s.deps.Clock().Add(r.delay)
		s.retries[info.Key] = r
		s.failing[info.Key] = struct{}{}
		s.deps.Logger.Warn("an object could not be handled; it stays in the inbox and is tried again",
			"receipt", receiptOf(info), "code", fault.CodeOf(err), "kind", fault.KindOf(err).String(), "error", err, "delay", r.delay)
	}
}
