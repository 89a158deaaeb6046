package unet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// request is one input on its way through a batch.
type request struct {
	ctx   context.Context
	in    Input
	reply chan reply // holds one, so that answering never blocks
}

type reply struct {
	out Output
	err error
}

func (s *Session) segmentBatched(ctx context.Context, in Input) (Output, error) {
	r := &request{ctx: ctx, in: in, reply: make(chan reply, 1)}
	select {
	case s.batches <- r:
	case <-ctx.Done():
		return Output{}, ctx.Err()
	}
	// The answer is waited for even when ctx ends: the batch reads in.Data until then.
	answer := <-r.reply
	return answer.out, answer.err
}

// gather collects requests of one size until the batch is full or BatchWait is over, and hands it to a run. It ends when the
// session closes, at which time no request is left.
func (s *Session) gather() {
	var runs sync.WaitGroup
	defer runs.Wait()
	var carried *request // of another size than the batch before it
	for {
		first := carried
		carried = nil
		if first == nil {
			select {
			case first = <-s.batches:
			case <-s.stop:
				return
			}
		}
		batch := []*request{first}
		timer := time.NewTimer(s.config.BatchWait)
		due := false
		for slot := false; !slot; {
			more, slots := s.batches, chan<- struct{}(nil)
			full := len(batch) == s.config.Batch || carried != nil
			if full {
				more = nil
			}
			if full || due {
				slots = s.slots // while every run is taken, the batch goes on filling
			}
			select {
			case r := <-more:
				if r.in.Width != first.in.Width || r.in.Height != first.in.Height {
					carried = r
					continue
				}
				batch = append(batch, r)
			case <-timer.C:
				due = true
			case slots <- struct{}{}:
				slot = true
			}
		}
		timer.Stop()
		runs.Go(func() {
			defer func() { <-s.slots }()
			s.runBatch(batch)
		})
	}
}

// runBatch answers every request of the batch. When the batch fails, each input is run by itself, so that only the one that
// is to blame fails.
func (s *Session) runBatch(batch []*request) {
	live := batch[:0]
	for _, r := range batch {
		if err := r.ctx.Err(); err != nil {
			r.reply <- reply{err: err}
			continue
		}
		live = append(live, r)
	}
	if len(live) == 0 {
		return
	}
	if len(live) > 1 {
		if s.runTogether(live) {
			return
		}
	}
	for _, r := range live {
		data, took, err := s.run(r.ctx, 1, r.in.Width, r.in.Height, r.in.Data)
		var out Output
		if err == nil {
			out, err = s.output(r.in, data, took)
		}
		r.reply <- reply{out, err}
	}
}

// runTogether runs the requests as one batch and answers them; false, with nothing answered, when the run failed.
func (s *Session) runTogether(live []*request) bool {
	w, h := live[0].in.Width, live[0].in.Height
	size := inputChannels * w * h
	joined := make([]float32, len(live)*size)
	for i, r := range live {
		copy(joined[i*size:], r.in.Data)
	}
	ctx, release := whileAnyWaits(live)
	defer release()
	data, took, err := s.run(ctx, len(live), w, h, joined)
	if err != nil {
		return false
	}
	each := len(data) / len(live)
	for i, r := range live {
		if err := r.ctx.Err(); err != nil {
			r.reply <- reply{err: err}
			continue
		}
		out, err := s.output(r.in, data[i*each:(i+1)*each:(i+1)*each], took/time.Duration(len(live)))
		r.reply <- reply{out, err}
	}
	return true
}

// whileAnyWaits returns a context that ends when the contexts of all requests have ended: one caller that gives up must not
// break off the others' run.
func whileAnyWaits(live []*request) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var waiting atomic.Int64
	waiting.Store(int64(len(live)))
	stops := make([]func() bool, len(live))
	for i, r := range live {
		stops[i] = context.AfterFunc(r.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
