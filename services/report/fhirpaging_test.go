package report

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
)

// writers change everything that searches give, until they are told to stop: new patients and reports, new versions of old ones, files in
// quarantine and decisions about them.
type writers struct {
	k    *kit
	stop chan struct{}
	wg   sync.WaitGroup
}

const pagedPatients = 10

// write is one round of a writer. Pictures of patients that are there, and of a new one.
func (k *kit) write(writer, round int) {
	n := 100*(writer+1) + round
	old := picture{1 + (writer*3+round)%pagedPatients, n}
	fresh := picture{1000*(writer+1) + round, 1}
	k.tell(k.accept(old), k.segment(old), k.accept(fresh), k.segment(fresh))
	k.tell(k.reject(picture{5000 + n, 1}, "laterality-missing"))
	k.settle()
}

// startWriters starts writers that do at most rounds each: the rest of the test is bounded by them.
func startWriters(k *kit, rounds int) *writers {
	w := &writers{k: k, stop: make(chan struct{})}
	for writer := range 2 {
		w.wg.Go(func() {
			for round := range rounds {
				select {
				case <-w.stop:
					return
				default:
					k.write(writer, round)
				}
			}
		})
	}
	return w
}

func (w *writers) end() {
	close(w.stop)
	w.wg.Wait()
}

// pagedKit is a service with what the searches of these tests find before anything is written.
func pagedKit(t *testing.T) *kit {
	t.Helper()
	k := newKit(t)
	for p := 1; p <= pagedPatients; p++ {
		for n := 1; n <= 2; n++ {
			k.tell(k.accept(picture{p, n}), k.segment(picture{p, n}))
		}
		k.tell(k.reject(picture{p, 9}, "laterality-missing"))
		k.settle()
	}
	return k
}

// everything is what a search finds, read on one page.
func (k *kit) everything(address string) map[string]bool {
	k.t.Helper()
	all := map[string]bool{}
	b := k.search(address + "&_count=500")
	for _, e := range b.Entry {
		all[e.FullURL] = true
	}
	if b.link("next") != "" {
		k.t.Fatalf("%s does not fit a page", address)
	}
	return all
}

// TestPagesUnderWriters: whatever is being written, the pages of a search have everything that was there when it began, and nothing twice.
// Sizes of pages are random.
func TestPagesUnderWriters(t *testing.T) {
	t.Parallel()
	k := pagedKit(t)
	searches := []string{
		"/fhir/DiagnosticReport?_sort=_lastUpdated", "/fhir/DiagnosticReport?_sort=-_lastUpdated", "/fhir/DiagnosticReport?_sort=date", "/fhir/DiagnosticReport?_sort=-issued",
		"/fhir/Observation?_sort=_lastUpdated", "/fhir/Observation?_sort=-date&code=fractal-dimension", "/fhir/ImagingStudy?_sort=started", "/fhir/Provenance?_sort=recorded",
		"/fhir/Patient?_sort=_id", "/fhir/Patient?gender=female", "/fhir/Task?_sort=authored-on", "/fhir/Task?_sort=-authored-on&code=laterality-missing",
	}
	before := map[string]map[string]bool{}
	for _, search := range searches {
		if before[search] = k.everything(search); len(before[search]) < pagedPatients {
			t.Fatalf("%s finds %d", search, len(before[search]))
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := startWriters(k, 25)
	defer w.end()
	pages := 0
	for _, search := range searches {
		seen := map[string]int{}
		for address := search; address != ""; pages++ {
			at, err := url.Parse(address)
			k.must(err)
			q := at.Query()
			q.Set("_count", fmt.Sprint(1+random.IntN(9)))
			q.Set("_total", "none")
			at.RawQuery = q.Encode()
			b := k.search(at.String())
			for _, e := range b.Entry {
				seen[e.FullURL]++
			}
			address = strings.TrimPrefix(b.link("next"), "http://example.com")
		}
		for id, n := range seen {
			// Who was changed stands at the end of the patients by their last update, and nowhere else is anything twice.
			if n > 1 {
				t.Errorf("%s: %s is there %d times", search, id, n)
			}
		}
		for id := range before[search] {
			// A Provenance is of a version: that of the newest is there, under its own id.
			if seen[id] == 0 && !strings.Contains(search, "Provenance") {
				t.Errorf("%s: %s is skipped", search, id)
			}
		}
		if len(seen) < len(before[search]) {
			t.Errorf("%s: %d of %d", search, len(seen), len(before[search]))
		}
	}
	t.Logf("%d pages", pages)
}

// puller pulls what is new of a kind of resource from the last moment that it has seen, and is killed now and then.
type puller struct {
	k         *kit
	random    *rand.Rand
	kind      string
	prefix    string // of the moment: gt, or ge where several resources have the same one
	watermark string
	have      map[string]string // versions by id
}

// pull reads pages; killed tells whether it gives up after some of them, or within one.
func (p *puller) pull(killed bool) {
	p.k.t.Helper()
	address := fmt.Sprintf("/fhir/%s?_count=%d&_sort=_lastUpdated&_lastUpdated=%s%s", p.kind, 1+p.random.IntN(7), p.prefix, p.watermark)
	for address != "" {
		b := p.k.search(address)
		for _, e := range b.Entry {
			meta := e.Resource["meta"].(map[string]any)
			p.have[e.Resource["id"].(string)] = meta["versionId"].(string)
			p.watermark = meta["lastUpdated"].(string)
			if killed && p.random.IntN(12) == 0 {
				return
			}
		}
		address = strings.TrimPrefix(b.link("next"), "http://example.com")
	}
}

// TestPullsMissNothing: whoever pulls from the last moment that they have seen, killed in the middle of a page or not, has the newest
// version of everything in the end.
func TestPullsMissNothing(t *testing.T) {
	t.Parallel()
	k := pagedKit(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := startWriters(k, 15)
	var pullers []*puller
	for n, kind := range []string{"DiagnosticReport", "Observation", "Patient"} {
		p := &puller{k: k, random: rand.New(rand.NewPCG(seed, uint64(n))), kind: kind, prefix: "gt", watermark: "2000-01-01T00:00:00Z", have: map[string]string{}}
		if kind == "Observation" {
			p.prefix = "ge" // those of a report share its moment
		}
		pullers = append(pullers, p)
	}
	written := make(chan struct{})
	go func() { w.wg.Wait(); close(written) }()
	for writing := true; writing; {
		select {
		case <-written:
			writing = false
		default:
		}
		for _, p := range pullers {
			p.pull(writing)
		}
	}
	k.quiet()
	for _, p := range pullers {
		p.pull(true) // and once more in pieces
		for range 40 {
			p.pull(true)
		}
		p.pull(false)
		b := k.search("/fhir/" + p.kind + "?_count=500")
		total := 0
		for more := true; more; {
			for _, e := range b.Entry {
				total++
				id, version := e.Resource["id"].(string), e.Resource["meta"].(map[string]any)["versionId"].(string)
				if p.have[id] != version {
					t.Errorf("%s/%s: the puller has version %q, the newest is %s", p.kind, id, p.have[id], version)
				}
			}
			next := b.link("next")
			if more = next != ""; more {
				b = k.search(strings.TrimPrefix(next, "http://example.com"))
			}
		}
		if total != len(p.have) || total < pagedPatients {
			t.Errorf("%s: the puller has %d, there are %d", p.kind, len(p.have), total)
		}
	}
}

// TestCursorsWidenNothing: the cursor of somebody who sees all gives somebody of one clinic nothing of another.
func TestCursorsWidenNothing(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	north := k.grant("north", "operate:north", 0)
	for _, kind := range []string{"DiagnosticReport", "Observation", "Patient", "ImagingStudy", "Provenance", "Task"} {
		b := k.search("/fhir/" + kind + "?_count=1")
		for next := b.link("next"); next != ""; {
			w := k.send(asked{method: http.MethodGet, address: strings.TrimPrefix(next, "http://example.com")}, north)
			var page bundle
			k.must(json.Unmarshal(w.Body.Bytes(), &page))
			if w.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", next, w.Code, w.Body)
			}
			for _, mark := range data["south"].marks {
				if strings.Contains(w.Body.String(), mark) {
					t.Errorf("%s shows %q of another clinic", next, mark)
				}
			}
			next = page.link("next")
		}
		for _, cursor := range []string{"x", "e30", "eyJrIjoiIn0", strings.Repeat("A", 5000)} {
			if w := k.get("/fhir/" + kind + "?_cursor=" + cursor); w.Code != http.StatusBadRequest {
				t.Errorf("%s with the cursor %.20s: %d", kind, cursor, w.Code)
			}
		}
	}
	if fhir.PatientID(shaOf("patient", 1)) == fhir.PatientID(shaOf("patient", 2)) {
		t.Error("the clinics have the same patient, so that this test tests nothing")
	}
}
