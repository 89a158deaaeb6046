package report

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// find posts the form of the list and returns the address that it leads to.
func (k *kit) find(bearer string, form url.Values) string {
	k.t.Helper()
	w := k.send(asked{method: http.MethodPost, address: "/patients", body: form.Encode(), form: true}, bearer)
	if w.Code != http.StatusSeeOther {
		k.t.Fatalf("searching: %d %s", w.Code, w.Body)
	}
	return w.Header().Get("Location")
}

// searching is the address of the list of those whom the operator searches for.
func (k *kit) searching(text string) string {
	k.t.Helper()
	return k.find(testToken, url.Values{"q": {text}})
}

var listedName = regexp.MustCompile(`<a class="name"[^>]*><bdi>([^<]*)</bdi>`)

// listedOn are the names on a page of the list, in its order.
func (k *kit) listedOn(address, bearer string) (names []string, page string) {
	k.t.Helper()
	w := k.send(asked{method: http.MethodGet, address: address}, bearer)
	if w.Code != http.StatusOK {
		k.t.Fatalf("%s: %d %s", address, w.Code, w.Body)
	}
	page = html.UnescapeString(w.Body.String())
	for _, m := range listedName.FindAllStringSubmatch(w.Body.String(), -1) {
		names = append(names, html.UnescapeString(m[1]))
	}
	return names, page
}

// TestSearchLeavesNoName: what is searched for is in no address; its handle is worth something to whoever made it alone, and not for ever.
func TestSearchLeavesNoName(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	at := k.searching("  YAMADA   tarou ")
	if strings.Contains(strings.ToLower(at), "yamada") || !strings.HasPrefix(at, "/patients?s=") {
		t.Fatalf("the address of a search is %s", at)
	}
	names, page := k.listedOn(at, testToken)
	if len(names) != 1 || !strings.Contains(names[0], "YAMADA") || !strings.Contains(page, `value="YAMADA tarou"`) {
		t.Errorf("the search finds %v", names)
	}
	for _, link := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if strings.Contains(strings.ToLower(link[1]), "yamada") {
			t.Errorf("the page leads to %s", link[1])
		}
	}
	if again := k.searching("YAMADA tarou"); again != at {
		t.Errorf("the same search is at %s and at %s", at, again)
	}
	everybody, _ := k.listedOn("/patients", testToken)
	const over = "is not kept any more"
	other := k.grant("other", "report.read", 0)
	if names, page := k.listedOn(at, other); !slices.Equal(names, everybody) || !strings.Contains(page, over) || strings.Contains(page, "tarou\"") {
		t.Errorf("another's handle shows %v", names)
	}
	if names, page := k.listedOn("/patients?s=AAAA", testToken); !slices.Equal(names, everybody) || !strings.Contains(page, over) {
		t.Errorf("a made-up handle shows %v", names)
	}
	k.move(searchLife)
	if names, page := k.listedOn(at, testToken); !slices.Equal(names, everybody) || !strings.Contains(page, over) {
		t.Errorf("an expired handle shows %v", names)
	}
	if w := k.send(asked{method: http.MethodPost, address: "/patients", body: url.Values{"q": {strings.Repeat("ä", maxSearchRunes+1)}}.Encode(), form: true}, testToken); w.Code != http.StatusBadRequest {
		t.Errorf("a search without end: %d", w.Code)
	}
	if strings.Contains(k.logs.String(), "YAMADA") {
		t.Error("the log names people")
	}
}

func TestSearchesAreBounded(t *testing.T) {
	t.Parallel()
	at := kitStart
	s := newSearches(func() time.Time { return at })
	first := s.keep("a", "text 0")
	for n := 1; n < 3*maxSearchesEach; n++ {
		at = at.Add(time.Millisecond)
		s.keep("a", fmt.Sprintf("text %d", n))
	}
	if _, ok := s.find("a", first); ok || len(s.of) != maxSearchesEach {
		t.Errorf("one caller has %d searches kept", len(s.of))
	}
	for n := range maxSearches + 10 {
		at = at.Add(time.Millisecond)
		s.keep(fmt.Sprintf("caller %d", n), "text")
	}
	if len(s.of) > maxSearches {
		t.Errorf("%d searches are kept", len(s.of))
	}
}

// TestListOfPatients filters, sorts and turns pages; filters hold together and stand as chips.
func TestListOfPatients(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	const many = 120
	for n := range many {
		p := picture{100 + n, 1}
		k.tell(k.accept(p, func(i *record.Instance) {
			i.Patient.Name, i.Patient.ID = fmt.Sprintf("MANY^N%03d", n), fmt.Sprintf("M%03d", many-n)
		}), k.segment(p, func(r *record.Result) {
			if n%10 == 0 {
				r.Status, r.Files = record.Ungradable, record.ResultFiles{}
				r.Warnings = []record.Note{{Code: "too-dark", Text: "The picture is too dark to be measured."}}
				for m := range r.Measures {
					r.Measures[m].Value, r.Measures[m].AbsentReason = nil, &r.Warnings[0]
				}
			}
		}))
	}
	k.quiet()
	next := regexp.MustCompile(`href="([^"]*)" rel="(next|prev)"`)
	walk := func(address, rel string) (names []string) {
		t.Helper()
		for address != "" {
			found, page := k.listedOn(address, testToken)
			if rel == "next" {
				names = append(names, found...)
			} else {
				names = append(found, names...)
			}
			address = ""
			for _, m := range next.FindAllStringSubmatch(page, -1) {
				if m[2] == rel {
					address = m[1]
				}
			}
		}
		return names
	}
	at := k.find(testToken, url.Values{"q": {"many"}, "sort": {"name"}, "order": {"asc"}})
	names := walk(at, "next")
	if len(names) != many || !slices.IsSorted(names) {
		t.Fatalf("%d names by name: %v", len(names), names)
	}
	if _, page := k.listedOn(at, testToken); !strings.Contains(page, "1–50 of 120") || !strings.Contains(page, `aria-sort="ascending"`) || strings.Count(page, `aria-sort="none"`) != 3 {
		t.Errorf("the first page: %s", page)
	}
	byID := walk(strings.Replace(at, "sort=name", "sort=id", 1), "next")
	slices.Reverse(byID)
	if !slices.Equal(byID, names) {
		t.Errorf("by ID: %v", byID)
	}
	// The last page by hand, and back from there.
	third := at
	for range 2 {
		_, page := k.listedOn(third, testToken)
		for _, m := range next.FindAllStringSubmatch(page, -1) {
			if m[2] == "next" {
				third = m[1]
			}
		}
	}
	if back := walk(third, "prev"); !slices.Equal(back, names) {
		t.Errorf("from the end there are %d names", len(back))
	}
	// Filters hold together.
	at = k.find(testToken, url.Values{"q": {"many"}, "only": {"ungradable", "person"}, "status": {"final"}, "night": {"2026-11-22"}, "clinic": {"north"}})
	got, page := k.listedOn(at, testToken)
	if len(got) != many/10 {
		t.Errorf("%s has %v", at, got)
	}
	chips := strings.Count(page, `class="chip"`)
	if chips != 6 {
		t.Errorf("%d chips of 6 filters", chips)
	}
	for _, none := range []string{"&only=failed", "&only=changed", "&status=amended", "&night=2026-11-21", "&clinic=elsewhere"} {
		address := at + none
		if name, _, _ := strings.Cut(none[1:], "="); name != "only" {
			address = regexp.MustCompile(name+`=[^&]*`).ReplaceAllString(at, none[1:])
		}
		if got, page := k.listedOn(address, testToken); len(got) != 0 || !strings.Contains(page, "Nobody matches") {
			t.Errorf("%s has %v", address, got)
		}
	}
	for _, wrong := range []string{"night=x", "status=x", "sort=x", "after=x-y", "from=x"} {
		if w := k.send(asked{method: http.MethodGet, address: "/patients?" + wrong}, testToken); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", wrong, w.Code)
		}
	}
	// A row that is gone is no dead end.
	if got, _ := k.listedOn("/patients?sort=name&after=gone", testToken); len(got) != patientsPerPage {
		t.Errorf("behind a row that is gone: %v", got)
	}
	// Who sees one clinic is not asked for one, and sees and counts nothing of another.
	reader := k.grant("reader", "report.read:south", 0)
	if got, page := k.listedOn("/patients", reader); len(got) != 1 || strings.Contains(page, `name="clinic"`) || strings.Contains(page, "north") || !strings.Contains(page, "1 patient<") {
		t.Errorf("a reader of south sees %v", got)
	}
	if got, _ := k.listedOn("/patients?clinic=north", reader); len(got) != 0 {
		t.Errorf("a reader of south asks for north and sees %v", got)
	}
	if _, page := k.listedOn("/patients", testToken); !strings.Contains(page, `<option value="south">`) {
		t.Error("the operator is not asked for a clinic")
	}
	_ = data
}
