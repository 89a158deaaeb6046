package report

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/vessel"
)

// bundle is a searchset as a client reads it.
type bundle struct {
	ResourceType, Type string
	Total              *int
	Link               []struct{ Relation, URL string }
	Entry              []struct {
		FullURL  string
		Resource map[string]any
		Search   struct{ Mode string }
	}
}

func (b bundle) link(relation string) string {
	for _, l := range b.Link {
		if l.Relation == relation {
			return l.URL
		}
	}
	return ""
}

func (k *kit) search(address string, headers ...string) bundle {
	k.t.Helper()
	w := k.get(address, headers...)
	if w.Code != http.StatusOK {
		k.t.Fatalf("%s: %d %s", address, w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/fhir+json") {
		k.t.Errorf("%s is %s", address, got)
	}
	var b bundle
	k.must(json.Unmarshal(w.Body.Bytes(), &b))
	if b.ResourceType != "Bundle" || b.Type != "searchset" || b.link("self") == "" {
		k.t.Errorf("%s: %s", address, w.Body)
	}
	return b
}

func TestSearchReports(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	first := fhir.PatientID(shaOf("patient", 1))
	system := url.QueryEscape(fhir.IssuerSystem("north", "CLINIC"))
	for query, want := range map[string]int{
		"": 3, "patient=" + first: 1, "patient=Patient/" + first: 1, "subject=Patient/" + first: 1, "patient=http://example.com/fhir/Patient/" + first: 1,
		"patient=nobody": 0, "patient=" + first + "," + fhir.PatientID(shaOf("patient", 2)): 2, "patient=" + first + "&subject=" + fhir.PatientID(shaOf("patient", 2)): 0,
		"patient.identifier=P1": 1, "patient.identifier=" + system + "|P1": 1, "patient.identifier=http://other|P1": 0, "subject.identifier=P2": 1,
		"status=final": 2, "status=partial": 1, "status=preliminary": 0, "status=registered": 0, "status=final,partial": 3, "status=amended": 0, "status=http://hl7.org/fhir/diagnostic-report-status|final": 2, "status=": 0,
		"date=2026-11-22": 3, "date=2026": 3, "date=2026-11": 3, "date=gt2026-11-22": 0, "date=ge2026-11-22&date=lt2026-11-23": 3, "date=ne2026-11-22": 0, "date=2026-11-22T10:00:00Z": 3,
		"issued=ge2026-11-23T01:01:00Z": 1, "issued=lt2026-11-23T01:01:00Z": 2, "_lastUpdated=gt2026-11-23T01:01:00Z": 1, "_lastUpdated=le2026-11-23": 3,
		"_id=" + picture{1, 1}.report(): 1, "_id=x": 0, "identifier=" + picture{1, 1}.study(): 1, "identifier=urn:dicom:uid|urn:oid:" + picture{1, 1}.study(): 1,
		"identifier=" + url.QueryEscape(fhir.ReportSystem) + "|" + picture{1, 1}.report(): 1, "identifier=ACC": 0,
		"category=imaging": 3, "category=LP29684-5": 3, "category=LAB": 0, "code=" + fhir.ReportCode: 3, "code=1234-5": 0, "unknown=1": 3, "_count=0": 3,
	} {
		b := k.search("/fhir/DiagnosticReport?" + query)
		if b.Total == nil || *b.Total != want || len(b.Entry) != want && query != "_count=0" {
			t.Errorf("%q: total %v, %d entries, want %d", query, *b.Total, len(b.Entry), want)
		}
	}
	for _, query := range []string{"date=yesterday", "_sort=name", "_count=x", "_cursor=x", "issued=zz2026", "patient.identifier=a&patient.identifier=b", "status=a&status=b"} {
		w := k.get("/fhir/DiagnosticReport?" + query)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "OperationOutcome") {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	}
	if w := k.get("/fhir/DiagnosticReport?unknown=1", "Prefer", "handling=strict"); w.Code != http.StatusBadRequest {
		t.Errorf("strict handling of an unknown parameter: %d", w.Code)
	}
	if w := k.get("/fhir/DiagnosticReport?patient.identifier=P1&_sort=-issued", "Prefer", "handling=strict"); w.Code != http.StatusOK {
		t.Errorf("strict handling of known parameters: %d", w.Code)
	}
	if b := k.search("/fhir/DiagnosticReport?_total=none"); b.Total != nil {
		t.Error("_total=none gives a total")
	}
	b := k.search("/fhir/DiagnosticReport?patient=" + first + "&_include=DiagnosticReport:result&_include=DiagnosticReport:patient")
	modes := map[string]int{}
	for _, e := range b.Entry {
		modes[e.Search.Mode+" "+e.Resource["resourceType"].(string)]++
		address := strings.TrimPrefix(e.FullURL, "http://example.com")
		if w := k.get(address); w.Code != http.StatusOK {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
	if modes["match DiagnosticReport"] != 1 || modes["include Observation"] != 4 || modes["include Patient"] != 1 {
		t.Errorf("included %v", modes)
	}
}

func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	var walk func(any, *[]string)
	walk = func(v any, found *[]string) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["reference"].(string); ok {
				*found = append(*found, ref)
			}
			for _, child := range v {
				walk(child, found)
			}
		case []any:
			for _, child := range v {
				walk(child, found)
			}
		}
	}
	seen := map[string]bool{}
	todo := []string{"DiagnosticReport/" + picture{1, 1}.report(), "DiagnosticReport/" + picture{3, 1}.report()}
	for len(todo) > 0 {
		ref := todo[0]
		todo = todo[1:]
		if seen[ref] {
			continue
		}
		seen[ref] = true
		w := k.get("/fhir/" + ref)
		var resource map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &resource); err != nil || w.Code != http.StatusOK {
			t.Errorf("%s: %d", ref, w.Code)
			continue
		}
		if resource["resourceType"].(string)+"/"+resource["id"].(string) != ref {
			t.Errorf("%s answers as %v/%v", ref, resource["resourceType"], resource["id"])
		}
		walk(resource, &todo)
	}
	kinds := map[string]bool{}
	for ref := range seen {
		kinds[strings.Split(ref, "/")[0]] = true
	}
	for _, kind := range []string{"Observation", "Patient", "Device", "ImagingStudy"} {
		if !kinds[kind] {
			t.Errorf("no reference leads to a %s", kind)
		}
	}
}

func TestReadHeadersAndErrors(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	w := k.get("/fhir/DiagnosticReport/" + picture{1, 1}.report())
	if w.Header().Get("ETag") != `W/"1"` || w.Header().Get("Last-Modified") == "" {
		t.Errorf("headers %v", w.Header())
	}
	if w := k.get("/fhir/DiagnosticReport/"+picture{1, 1}.report(), "If-None-Match", `W/"1"`); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("unchanged: %d", w.Code)
	}
	for address, want := range map[string]int{
		"/fhir/DiagnosticReport/x": 404, "/fhir/Observation/x": 404, "/fhir/Observation/" + picture{1, 1}.report() + "-0": 404, "/fhir/Patient/x": 404,
		"/fhir/Patient/" + strings.Repeat("f", 32): 404, "/fhir/Device/x": 404, "/fhir/Nonsense": 404, "/fhir/ImagingStudy/x": 404, "/fhir": 404,
	} {
		w := k.get(address)
		if w.Code != want || !strings.Contains(w.Body.String(), `"OperationOutcome"`) {
			t.Errorf("%s: %d %s", address, w.Code, w.Body)
		}
	}
	if w := k.ask(http.MethodPost, "/fhir/DiagnosticReport", "{}"); w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Body.String(), "OperationOutcome") {
		t.Errorf("POST: %d", w.Code)
	}
	if w := k.get("/fhir/Patient/"+strings.Repeat("f", 32), "Authorization", ""); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "OperationOutcome") {
		t.Errorf("without token: %d %s", w.Code, w.Body)
	}
	var capability struct {
		ResourceType, FHIRVersion string
		Rest                      []struct{ Resource []struct{ Type string } }
	}
	k.must(json.Unmarshal(k.get("/fhir/metadata", "Authorization", "").Body.Bytes(), &capability))
	if capability.ResourceType != "CapabilityStatement" || capability.FHIRVersion != "4.0.1" || len(capability.Rest[0].Resource) != 10 {
		t.Errorf("capability %+v", capability)
	}
	codes := k.get("/fhir/CodeSystem/noctua-measures").Body.String()
	for _, d := range vessel.Definitions() {
		if !strings.Contains(codes, `"`+d.Name+`"`) || !strings.Contains(codes, `"`+d.Region+`"`) {
			t.Errorf("the code system lacks %s or its region %s", d.Name, d.Region)
		}
	}
}

// TestPagingWhileIssuing pages through reports and observations while others are issued; none may be skipped or repeated.
func TestPagingWhileIssuing(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	const patients = 12
	for p := 1; p <= patients; p++ {
		for n := 1; n <= 2; n++ {
			k.tell(k.accept(picture{p, n}), k.segment(picture{p, n}))
		}
		k.settle()
	}
	for name, query := range map[string]struct {
		address string
		want    int
	}{
		"reports": {"/fhir/DiagnosticReport?_count=5", patients}, "newest first": {"/fhir/DiagnosticReport?_count=5&_sort=-_lastUpdated", patients},
		"by date": {"/fhir/DiagnosticReport?_count=1&_sort=date", patients}, "observations": {"/fhir/Observation?_count=3", 4 * patients},
		"observations of a code": {"/fhir/Observation?_count=7&_sort=-date&code=" + fhir.MeasuresSystem + "|fractal-dimension", 2 * patients},
		"patients":               {"/fhir/Patient?_count=5", patients},
	} {
		seen := map[string]int{}
		round := 0
		for address := query.address; address != ""; {
			b := k.search(address)
			for _, e := range b.Entry {
				seen[e.FullURL]++
			}
			address = strings.TrimPrefix(b.link("next"), "http://example.com")
			if name == "patients" {
				continue
			}
			round++
			// A late image of a patient that may not have been seen yet, and a report that is new.
			n := 100*round + len(name)
			k.tell(k.accept(picture{1 + round%patients, n}), k.accept(picture{1000 + n, 1}))
			k.settle()
		}
		if len(seen) != query.want {
			t.Errorf("%s: %d seen, want %d", name, len(seen), query.want)
		}
		for address, n := range seen {
			if n != 1 {
				t.Errorf("%s: %s seen %d times", name, address, n)
			}
		}
		k = newKit(t)
		for p := 1; p <= patients; p++ {
			for n := 1; n <= 2; n++ {
				k.tell(k.accept(picture{p, n}), k.segment(picture{p, n}))
			}
			k.settle()
		}
	}
}

// TestPollingMissesNothing polls by _lastUpdated while reports change, and must end with the newest version of each.
func TestPollingMissesNothing(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	have := map[string]string{}
	watermark := "2000-01-01T00:00:00Z"
	poll := func() {
		for address := "/fhir/DiagnosticReport?_count=2&_sort=_lastUpdated&_lastUpdated=gt" + watermark; address != ""; {
			b := k.search(address)
			for _, e := range b.Entry {
				meta := e.Resource["meta"].(map[string]any)
				have[e.Resource["id"].(string)] = meta["versionId"].(string)
				watermark = meta["lastUpdated"].(string)
			}
			address = strings.TrimPrefix(b.link("next"), "http://example.com")
		}
	}
	for n := 1; n <= 6; n++ {
		for p := 1; p <= 5; p++ {
			k.tell(k.accept(picture{p, n}), k.segment(picture{p, n}))
			if (n+p)%2 == 0 {
				k.settle()
			}
		}
		poll()
	}
	k.quiet()
	poll()
	for p := 1; p <= 5; p++ {
		doc := k.report(picture{p, 1})
		if have[doc.ReportID] != fmt.Sprint(doc.Version) {
			t.Errorf("the poller has version %s, the newest is %d", have[doc.ReportID], doc.Version)
		}
	}
}

func TestDateParameter(t *testing.T) {
	t.Parallel()
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	for text, want := range map[string][3]any{
		"2026-11-23":                       {day(23), day(24), false},
		"ne2026-11-23":                     {day(23), day(24), true},
		"gt2026-11-23":                     {day(24), time.Time{}, false},
		"ge2026-11-23":                     {day(23), time.Time{}, false},
		"lt2026-11-23":                     {time.Time{}, day(23), false},
		"le2026-11-23":                     {time.Time{}, day(24), false},
		"sa2026-11":                        {time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Time{}, false},
		"eb2026":                           {time.Time{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), false},
		"gt2026-11-23T00:00:00.123Z":       {day(23).Add(124 * time.Millisecond), time.Time{}, false},
		"gt2026-11-23T02:00:00.123 02:00":  {day(23).Add(124 * time.Millisecond), time.Time{}, false},
		"eq2026-11-23T00:00:00Z":           {day(23), day(23).Add(time.Second), false},
		"ge2026-11-23T00:00":               {day(23), time.Time{}, false},
		"ge2026-11-23T00:00:00.000000001Z": {day(23).Add(time.Nanosecond), time.Time{}, false},
	} {
		span, negate, err := timeSpan("x", text, time.UTC)
		if err != nil || !span.From.Equal(want[0].(time.Time)) || !span.To.Equal(want[1].(time.Time)) || negate != want[2] {
			t.Errorf("%s: %v %v %v", text, span, negate, err)
		}
	}
	for _, text := range []string{"", "x", "zz2026", "2026-13", "2026-11-23T25:00:00Z"} {
		if _, _, err := timeSpan("x", text, time.UTC); err == nil {
			t.Errorf("%q is taken for a date", text)
		}
	}
}
