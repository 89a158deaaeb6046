package report

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	pollers   = 10
	pollEvery = 5 * time.Second // of each; an integrator's program asks less often
	// roundPatients of two pictures each are issued in a round; rounds with and without pollers take turns, so that a machine that has other things to
	// do is unfair to neither.
	roundPatients = 120
	pollRounds    = 5
)

// BenchmarkPollers says how many images a second go through the report path, from the event to the issued version, on PostgreSQL, with and without ten
// programs that ask for new reports every five seconds each, and what a poll costs the service in CPU time, which another load of the machine does not
// change much. There is no segmentation, which takes most of a night: what pollers take of that is less.
//
//	go test -run '^$' -bench Pollers -benchtime 1x ./services/report
func BenchmarkPollers(b *testing.B) {
	k := newKit(b)
	k.onPostgreSQL()
	server := httptest.NewServer(k.Handler())
	defer server.Close()
	patient := 0
	round := func() time.Duration {
		began := time.Now()
		for range roundPatients {
			patient++
			for n := 1; n <= 2; n++ {
				k.tell(k.accept(picture{patient, n}), k.segment(picture{patient, n}))
			}
			k.settle()
		}
		return time.Since(began)
	}
	round() // caches fill, connections open
	for range b.N {
		var alone, polled, cpuAlone, cpuPolled time.Duration
		var polls atomic.Int64
		for range pollRounds {
			before := cpuTime(b)
			alone += round()
			cpuAlone += cpuTime(b) - before
			ctx, cancel := context.WithCancel(b.Context())
			var group sync.WaitGroup
			before = cpuTime(b)
			for n := range pollers {
				group.Go(func() { k.poll(ctx, server.URL, pollEvery*time.Duration(n)/pollers, &polls) })
			}
			polled += round()
			cancel()
			group.Wait()
			cpuPolled += cpuTime(b) - before
		}
		images := float64(pollRounds * roundPatients * 2)
		b.ReportMetric(images/alone.Seconds(), "images/s-alone")
		b.ReportMetric(images/polled.Seconds(), "images/s-polled")
		b.ReportMetric(alone.Seconds()/polled.Seconds(), "polled/alone")
		b.ReportMetric(float64(polls.Load())/polled.Seconds(), "polls/s")
		b.ReportMetric((cpuPolled-cpuAlone).Seconds()*1000/float64(polls.Load()), "CPU-ms/poll")
	}
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// poll asks for what is new until ctx ends, as an integrator's program does, for the first time after a while.
func (k *kit) poll(ctx context.Context, server string, first time.Duration, polls *atomic.Int64) {
	since := k.now()
	if pause(ctx, first) != nil {
		return
	}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		address := server + "/fhir/DiagnosticReport?" + url.Values{"_lastUpdated": {"gt" + since.UTC().Format(time.RFC3339Nano)}, "_count": {"50"}}.Encode()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			k.t.Error(err)
			return
		}
		request.Header.Set("Authorization", "Bearer "+testToken)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close() // it was read to the end, or there is an error
			if err == nil && response.StatusCode != http.StatusOK {
				err = fmt.Errorf("polling answers %s", response.Status)
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.t.Error(err)
			return
		}
		polls.Add(1)
		since = k.now()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
