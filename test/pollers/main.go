// Command pollers asks a running Noctua for new reports as programs of integrators do, and counts what it costs Noctua: it reads the answers and
// does nothing with them, so that what the programs do themselves, on machines of their own, does not count.
//
//	go run ./test/pollers -url http://127.0.0.1:8420 -token-file token.txt -n 10 -every 1s
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	address := flag.String("url", "http://127.0.0.1:8420", "address of Noctua")
	tokenFile := flag.String("token-file", "", "file with a token of the scope report.read")
	n := flag.Int("n", 10, "pollers")
	every := flag.Duration("every", time.Second, "time between two polls of one")
	flag.Parse()
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pollers:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var polls, taken, size atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for i := range *n {
		group.Go(func() error {
			after := ""
			timer := time.NewTimer(*every * time.Duration(i) / time.Duration(*n))
			defer timer.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-timer.C:
				}
				timer.Reset(*every)
				raw, err := poll(ctx, *address, strings.TrimSpace(string(token)), after)
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				polls.Add(1)
				size.Add(int64(len(raw)))
				matches, last := newest(raw)
				taken.Add(int64(matches))
				if last != "" {
					after = last
				}
			}
		})
	}
	err = group.Wait()
	fmt.Printf("%d polls took %d versions, %.1f MB\n", polls.Load(), taken.Load(), float64(size.Load())/1e6)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pollers:", err)
		os.Exit(1)
	}
}

// poll asks for the first page of what changed after a moment, with its results.
func poll(ctx context.Context, address, token, after string) ([]byte, error) {
	query := url.Values{"_sort": {"_lastUpdated"}, "_count": {"20"}, "_total": {"none"}, "_include": {"DiagnosticReport:result"}}
	if after != "" {
		query.Set("_lastUpdated", "gt"+after)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/fhir/DiagnosticReport?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("polling answers %s", answer.Status)
	}
	return raw, err
}

// newest counts the reports in an answer and finds the moment of the last: an answer is in order, and its other resources are not newer.
func newest(raw []byte) (matches int, last string) {
	mark := []byte(`"lastUpdated":"`)
	for rest := raw; ; {
		_, after, found := bytes.Cut(rest, mark)
		if !found {
			return bytes.Count(raw, []byte(`"mode":"match"`)), last
		}
		moment, _, _ := bytes.Cut(after, []byte(`"`))
		last, rest = max(last, string(moment)), after
	}
}
