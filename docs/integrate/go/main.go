// Command go polls a Noctua for new and changed reports and writes each version to a folder.
//
// It misses none: where it is is written down only after what it stands for is on disk, so that after a crash it asks again for what it
// may not have written. What it writes twice is the same. Standard library alone; copy this file into your own module.
//
//	go run ./docs/integrate/go -url http://127.0.0.1:8420 -token-file token.txt -out reports [-every 10s | -once]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// resource is what this program has to know of a FHIR resource; raw is all of it.
type resource struct {
	ResourceType string `json:"resourceType"`
	ID           string `json:"id"`
	Meta         struct {
		VersionID   string `json:"versionId"`
		LastUpdated string `json:"lastUpdated"`
	} `json:"meta"`
	Subject reference   `json:"subject"`
	Result  []reference `json:"result"`
}

type reference struct {
	Reference string `json:"reference"`
}

// bundle is a page of a search.
type bundle struct {
	Link []struct {
		Relation string `json:"relation"`
		URL      string `json:"url"`
	} `json:"link"`
	Entry []struct {
		Resource json.RawMessage `json:"resource"`
		Search   struct {
			Mode string `json:"mode"`
		} `json:"search"`
	} `json:"entry"`
}

// state is where the program is.
type state struct {
	After string `json:"after"` // lastUpdated of the last report that is on disk
}

type poller struct {
	base, token, out string
	client           *http.Client
}

const (
	maxAnswerBytes = 64 << 20
	waitAnyway     = 5 * time.Second
)

// get reads a page; it waits and tries again where Noctua is busy, restarting or out of reach.
func (p poller) get(address string) (bundle, error) {
	for {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
		if err != nil {
			return bundle{}, err
		}
		request.Header.Set("Authorization", "Bearer "+p.token)
		request.Header.Set("Accept", "application/fhir+json")
		wait := waitAnyway
		if answer, err := p.client.Do(request); err == nil {
			raw, readErr := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
			_ = answer.Body.Close()
			var b bundle
			switch {
			case answer.StatusCode == http.StatusOK && readErr == nil && json.Unmarshal(raw, &b) == nil:
				return b, nil
			case answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode < http.StatusBadGateway:
				return bundle{}, fmt.Errorf("%s: %s %.500s", strings.SplitN(address, "?", 2)[0], answer.Status, raw)
			}
			if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
				wait = time.Duration(seconds) * time.Second
			}
		}
		time.Sleep(wait)
	}
}

// write writes a file whole or not at all, and on disk when it returns.
func write(path string, raw []byte) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// poll takes all that changed since the last time, and returns how many versions that were.
func (p poller) poll() (taken int, err error) {
	var at state
	if raw, err := os.ReadFile(filepath.Join(p.out, "state.json")); err == nil {
		if err := json.Unmarshal(raw, &at); err != nil {
			return 0, fmt.Errorf("state.json is damaged; without it everything is taken again: %w", err)
		}
	}
	query := url.Values{"_sort": {"_lastUpdated"}, "_count": {"20"}, "_total": {"none"}, "_include": {"DiagnosticReport:result", "DiagnosticReport:patient"}}
	if at.After != "" {
		query.Set("_lastUpdated", "gt"+at.After)
	}
	next := p.base + "/fhir/DiagnosticReport?" + query.Encode()
	for next != "" {
		page, err := p.get(next)
		if err != nil {
			return taken, err
		}
		included := map[string]json.RawMessage{}
		var matches []resource
		for _, e := range page.Entry {
			var r resource
			if err := json.Unmarshal(e.Resource, &r); err != nil {
				return taken, err
			}
			included[r.ResourceType+"/"+r.ID] = e.Resource
			if e.Search.Mode == "match" {
				matches = append(matches, r)
			}
		}
		for _, r := range matches {
			all := [][]byte{included["DiagnosticReport/"+r.ID]}
			for _, wanted := range append([]reference{r.Subject}, r.Result...) {
				if raw, ok := included[wanted.Reference]; ok {
					all = append(all, raw)
				}
			}
			if err := write(filepath.Join(p.out, r.ID+"-v"+r.Meta.VersionID+".json"), slices.Concat([]byte("["), bytes.Join(all, []byte(",\n")), []byte("]\n"))); err != nil {
				return taken, err
			}
			at.After = r.Meta.LastUpdated
			taken++
		}
		if len(matches) > 0 { // what is before it is on disk
			raw, err := json.Marshal(at)
			if err != nil {
				return taken, err
			}
			if err := write(filepath.Join(p.out, "state.json"), raw); err != nil {
				return taken, err
			}
		}
		next = ""
		for _, link := range page.Link {
			if link.Relation == "next" {
				next = link.URL
			}
		}
	}
	return taken, nil
}

func main() {
	address := flag.String("url", "", "address of Noctua, e.g. https://noctua.example.org")
	tokenFile := flag.String("token-file", "", "file with a token of the scope report.read")
	out := flag.String("out", "reports", "folder for the reports and state.json")
	every := flag.Duration("every", 10*time.Second, "time between polls")
	once := flag.Bool("once", false, "poll once and end")
	flag.Parse()
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		log.Fatal(err)
	}
	p := poller{base: strings.TrimRight(*address, "/"), token: strings.TrimSpace(string(token)), out: *out, client: &http.Client{Timeout: time.Minute}}
	for {
		taken, err := p.poll()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(taken, "new versions")
		if *once {
			return
		}
		time.Sleep(*every)
	}
}
