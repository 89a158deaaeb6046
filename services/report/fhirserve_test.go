package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// capability is a CapabilityStatement as a client reads it.
type capability struct {
	Rest []struct {
		Resource []struct {
			Type             string
			Versioning       string
			Interaction      []struct{ Code string }
			SearchInclude    []string
			SearchRevInclude []string
			SearchParam      []struct{ Name, Type string }
		}
		Operation []struct{ Name string }
	}
}

// TestCapabilityIsExact compares the statement with the routes, and asks for every parameter, include and order that it names, and for none
// that it does not.
func TestCapabilityIsExact(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	var said capability
	k.must(json.Unmarshal(k.get("/fhir/metadata", "Authorization", "").Body.Bytes(), &said))
	var patterns []string
	for _, o := range said.Rest[0].Operation {
		patterns = append(patterns, "GET /fhir/$"+o.Name)
	}
	sample := map[string]string{"date": "2026-11-22", "token": "x", "reference": "Patient/x", "string": "x", "uri": "x"}
	strict := func(address string) int {
		t.Helper()
		return k.get(address, "Prefer", "handling=strict").Code
	}
	asked := 0
	for _, res := range said.Rest[0].Resource {
		at := "/fhir/" + res.Type
		for _, i := range res.Interaction {
			switch i.Code {
			case "read":
				patterns = append(patterns, "GET "+at+"/{id}")
			case "vread":
				patterns = append(patterns, "GET "+at+"/{id}/_history/{version}")
			case "search-type":
				patterns = append(patterns, "GET "+at, "POST "+at+"/_search")
			}
		}
		if (res.Versioning == "versioned") != fhir.ServedAs(res.Type).Versions {
			t.Errorf("%s is %s", res.Type, res.Versioning)
		}
		for _, p := range res.SearchParam {
			if code := strict(at + "?" + p.Name + "=" + sample[p.Type]); code != http.StatusOK {
				t.Errorf("%s?%s is answered by %d", at, p.Name, code)
			}
			asked++
		}
		// What is asked for has to select: a value that nothing has gives nothing.
		for _, p := range res.SearchParam {
			value := map[string]string{"date": "1900-01-01", "token": "nothing-has-this", "reference": "Patient/nothing-has-this", "string": "nothing-has-this", "uri": "urn:nothing"}[p.Type]
			if b := k.search(at + "?" + p.Name + "=" + value); len(b.Entry) != 0 {
				t.Errorf("%s?%s=%s finds %d", at, p.Name, value, len(b.Entry))
			}
		}
		for _, include := range res.SearchInclude {
			if code := strict(at + "?_include=" + include); code != http.StatusOK {
				t.Errorf("%s includes %s: %d", at, include, code)
			}
		}
		for _, include := range res.SearchRevInclude {
			if code := strict(at + "?_revinclude=" + include); code != http.StatusOK {
				t.Errorf("%s includes the reverse of %s: %d", at, include, code)
			}
		}
		for _, unknown := range []string{"nonsense=1", "_include=" + res.Type + ":nonsense", "_revinclude=Nonsense:x", "_elements=id", "_lastUpdate=2026"} {
			if code := strict(at + "?" + unknown); code != http.StatusBadRequest {
				t.Errorf("%s?%s is answered by %d", at, unknown, code)
			}
		}
	}
	var served []string
	for _, r := range k.fhirRoutes() {
		if !slices.Contains([]string{"GET /fhir/metadata", "GET /fhir/.well-known/smart-configuration", "GET /fhir/nights/{night}/{clinic}/{version}/{file}"}, r.pattern) {
			served = append(served, r.pattern)
		}
	}
	slices.Sort(patterns)
	slices.Sort(served)
	if !slices.Equal(patterns, served) {
		t.Errorf("the statement says\n%s\nand served are\n%s", strings.Join(patterns, "\n"), strings.Join(served, "\n"))
	}
	t.Logf("%d routes, %d parameters", len(served), asked)
}

// TestHandling: unknown parameters are ignored, and the self link leaves them out, or all of them are named and refused.
func TestHandling(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	b := k.search("/fhir/DiagnosticReport?nonsense=1&status=final&_elements=id&_include=DiagnosticReport:nonsense", "Prefer", "handling=lenient")
	if self := b.link("self"); len(b.Entry) != 2 || self != "http://example.com/fhir/DiagnosticReport?status=final" {
		t.Errorf("%d found, self link %s", len(b.Entry), self)
	}
	w := k.get("/fhir/DiagnosticReport?nonsense=1&status=final&more=2", "Prefer", "return=minimal, handling=strict")
	var outcome struct {
		Issue []struct{ Code, Diagnostics string }
	}
	k.must(json.Unmarshal(w.Body.Bytes(), &outcome))
	if w.Code != http.StatusBadRequest || len(outcome.Issue) != 2 || !strings.Contains(outcome.Issue[0].Diagnostics, "more") || !strings.Contains(outcome.Issue[1].Diagnostics, "nonsense") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for address, want := range map[string]int{
		"/fhir/DiagnosticReport?status:not=final": 400, "/fhir/Patient?name:exact=x": 400, "/fhir/DiagnosticReport?patient:Patient=x": 200, "/fhir/Observation?_include:iterate=x": 400,
		"/fhir/DiagnosticReport?_total=some": 400, "/fhir/DiagnosticReport?_summary=text": 422, "/fhir/DiagnosticReport?_sort=status": 400, "/fhir/Patient?_sort=-_lastUpdated": 400,
		"/fhir/DiagnosticReport?_format=xml": 406, "/fhir/DiagnosticReport?_format=json": 200, "/fhir/DiagnosticReport?_format=application/fhir%2Bjson": 200,
		"/fhir/DiagnosticReport?_format=application/fhir+json": 200, "/fhir/metadata?_format=ttl": 406, "/fhir/Patient/" + strings.Repeat("f", 32) + "?_format=xml": 406,
	} {
		if w := k.get(address); w.Code != want || want >= 400 && !strings.Contains(w.Body.String(), "OperationOutcome") {
			t.Errorf("%s: %d %s", address, w.Code, w.Body)
		}
	}
	for accept, want := range map[string]int{
		"": 200, "*/*": 200, "application/fhir+json": 200, "application/json": 200, "application/fhir+xml": 406, "text/html": 406, "text/html, */*;q=0.1": 200,
		"application/fhir+json; fhirVersion=4.0": 200, "application/fhir+json; fhirVersion=5.0": 406, "application/fhir+json;q=0": 406, "application/fhir+xml, application/fhir+json;q=0.5": 200,
	} {
		if w := k.get("/fhir/DiagnosticReport", "Accept", accept); w.Code != want {
			t.Errorf("Accept %q: %d", accept, w.Code)
		}
	}
}

// TestSearchByPost finds what GET finds, by parameters of address and body.
func TestSearchByPost(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	const form = "application/x-www-form-urlencoded"
	w := k.ask(http.MethodPost, "/fhir/DiagnosticReport/_search?status=final", "_count=1&patient.identifier=P1&nonsense=1", "Content-Type", form)
	var b bundle
	k.must(json.Unmarshal(w.Body.Bytes(), &b))
	if w.Code != http.StatusOK || *b.Total != 1 || len(b.Entry) != 1 || b.link("self") != "http://example.com/fhir/DiagnosticReport?_count=1&patient.identifier=P1&status=final" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = k.ask(http.MethodPost, "/fhir/DiagnosticReport/_search", "_count=1", "Content-Type", form+"; charset=utf-8")
	k.must(json.Unmarshal(w.Body.Bytes(), &b))
	if next := k.search(strings.TrimPrefix(b.link("next"), "http://example.com")); len(next.Entry) != 1 {
		t.Errorf("the next page: %+v", next)
	}
	if w := k.ask(http.MethodPost, "/fhir/DiagnosticReport/_search", `{"_count": 1}`, "Content-Type", "application/json"); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("JSON: %d", w.Code)
	}
	if w := k.ask(http.MethodPost, "/fhir/DiagnosticReport/_search", "%zz", "Content-Type", form); w.Code != http.StatusBadRequest {
		t.Errorf("no form: %d", w.Code)
	}
}

// TestVersions: a report moves through FHIR's statuses, every version of it can be read, and so can those of what hangs on it.
func TestVersions(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	right, left := picture{1, 1}, picture{1, 2}
	read := func(address string, headers ...string) map[string]any {
		t.Helper()
		w := k.get("/fhir/"+address, headers...)
		var resource map[string]any
		k.must(json.Unmarshal(w.Body.Bytes(), &resource))
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", address, w.Code, w.Body)
		}
		if strings.Contains(address, "_history") && w.Header().Get("Content-Location") != "http://example.com/fhir/"+address {
			t.Errorf("%s is said to be at %q", address, w.Header().Get("Content-Location"))
		}
		return resource
	}
	var statuses []string
	step := func() {
		t.Helper()
		statuses = append(statuses, read("DiagnosticReport/" + right.report())["status"].(string))
	}
	k.tell(k.accept(right), k.accept(left))
	k.settle()
	step()
	k.tell(k.segment(right))
	k.settle()
	step()
	k.tell(k.segment(left))
	k.settle()
	step()
	k.quiet()
	step()
	renamed := func(i *record.Instance) { i.Patient.Name = "NEW^Name" }
	k.tell(k.accept(picture{1, 3}, renamed), k.segment(picture{1, 3}))
	k.settle()
	step()
	if want := []string{"registered", "partial", "preliminary", "final", "amended"}; !slices.Equal(statuses, want) {
		t.Errorf("the statuses are %v, want %v", statuses, want)
	}
	for n, status := range statuses {
		if got := read(fmt.Sprintf("DiagnosticReport/%s/_history/%d", right.report(), n+1)); got["status"] != status || got["meta"].(map[string]any)["versionId"] != fmt.Sprint(n+1) {
			t.Errorf("version %d is %v, %v", n+1, got["status"], got["meta"])
		}
		b := k.search("/fhir/DiagnosticReport?status=" + status)
		if (len(b.Entry) == 1) != (n == len(statuses)-1) {
			t.Errorf("status=%s finds %d", status, len(b.Entry))
		}
	}
	observation := k.search("/fhir/Observation?_count=1").Entry[0].Resource["id"].(string)
	if got := read("Observation/" + observation + "/_history/2"); got["status"] != "preliminary" {
		t.Errorf("an observation of a partial report is %v", got["status"])
	}
	if got := read("Observation/" + observation); got["status"] != "amended" {
		t.Errorf("an observation of an amended report is %v", got["status"])
	}
	study := read("ImagingStudy/" + right.report())
	if series, ok := study["series"].([]any); !ok || len(series) != 1 || study["numberOfInstances"] != 3.0 || len(series[0].(map[string]any)["instance"].([]any)) != 3 {
		t.Errorf("the study %v", study)
	}
	if got := read("ImagingStudy/" + right.report() + "/_history/1"); got["numberOfInstances"] != 2.0 {
		t.Errorf("the study in its first version has %v", got["numberOfInstances"])
	}
	provenance := read("Provenance/" + fhir.ProvenanceID(right.report(), 2))
	raw, err := k.rawDocument(t.Context(), must(k.deps.Store.Version(t.Context(), right.report(), 2)))
	k.must(err)
	for _, part := range []string{hashHex(raw), right.sha(), left.sha(), "Device/" + fhir.DeviceID(testModel), "DiagnosticReport/" + right.report() + "/_history/2", "DiagnosticReport/" + right.report() + "/_history/1"} {
		if text := must(json.Marshal(provenance)); !strings.Contains(string(text), part) {
			t.Errorf("the provenance lacks %s: %s", part, text)
		}
	}
	patient := "Patient/" + fhir.PatientID(shaOf("patient", 1))
	newest := read(patient)["meta"].(map[string]any)["versionId"].(string)
	if name := fmt.Sprint(read(patient + "/_history/" + newest)["name"]); !strings.Contains(name, "NEW") {
		t.Errorf("the newest version of the patient is %s", name)
	}
	first := must(k.deps.Store.Version(t.Context(), right.report(), 1)).UpdatedAt.UnixMilli()
	if name := fmt.Sprint(read(fmt.Sprintf("%s/_history/%d", patient, first))["name"]); !strings.Contains(name, "FAMILY1") {
		t.Errorf("the first version of the patient is %s", name)
	}
	for _, address := range []string{
		"DiagnosticReport/" + right.report() + "/_history/6", "DiagnosticReport/" + right.report() + "/_history/0", "DiagnosticReport/" + right.report() + "/_history/01", "DiagnosticReport/" + right.report() + "/_history/x",
		"Observation/" + observation + "/_history/1", patient + "/_history/1", "Device/" + fhir.DeviceID(testModel) + "/_history/2", "Provenance/" + fhir.ProvenanceID(right.report(), 9), "Provenance/" + right.report() + "-v02",
	} {
		if w := k.get("/fhir/" + address); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// kinds counts the entries of a bundle by mode and kind.
func (b bundle) kinds() map[string]int {
	kinds := map[string]int{}
	for _, e := range b.Entry {
		kinds[e.Search.Mode+" "+e.Resource["resourceType"].(string)]++
	}
	return kinds
}

func TestIncludes(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	one := "_id=" + picture{1, 1}.report()
	for query, want := range map[string]map[string]int{
		"DiagnosticReport?" + one + "&_include=DiagnosticReport:imaging-study&_revinclude=Provenance:target":      {"match DiagnosticReport": 1, "include ImagingStudy": 1, "include Provenance": 1},
		"DiagnosticReport?" + one + "&_include=DiagnosticReport:subject:Patient&_include=DiagnosticReport:result": {"match DiagnosticReport": 1, "include Patient": 1, "include Observation": 4},
		"Observation?derived-from=ImagingStudy/" + picture{1, 1}.report() + "&_include=Observation:device&_include=Observation:patient&_include=Observation:derived-from&_revinclude=Provenance:target": {
			"match Observation": 4, "include Device": 1, "include Patient": 1, "include ImagingStudy": 1, "include Provenance": 1},
		"Observation?_count=1&_include=Observation:patient":                                                    {"match Observation": 1, "include Patient": 1},
		"ImagingStudy?started=2026-11-22&status=available&_include=ImagingStudy:patient":                       {"match ImagingStudy": 3, "include Patient": 3},
		"ImagingStudy?status=cancelled":                                                                        {},
		"Provenance?target=DiagnosticReport/" + picture{2, 1}.report():                                         {"match Provenance": 1},
		"Provenance?target=http://example.com/fhir/DiagnosticReport/" + picture{2, 1}.report() + "/_history/1": {"match Provenance": 1},
		"Provenance?patient.identifier=P1":                                                                     {"match Provenance": 1},
		"Device?identifier=" + url.QueryEscape(fhir.ModelSystem+"|"+testModel):                                 {"match Device": 1},
		"Device?identifier=x":                                    {},
		"Patient?birthdate=1950&gender=female":                   {"match Patient": 3},
		"Patient?birthdate=ne1950-03-04":                         {},
		"Patient?gender=male":                                    {},
		"Patient?_lastUpdated=gt2026-11-23T01:01:00Z":            {"match Patient": 1},
		"CodeSystem?url=" + url.QueryEscape(fhir.MeasuresSystem): {"match CodeSystem": 1},
		"ValueSet":                                      {"match ValueSet": len(fhir.ValueSets())},
		"Observation?status=preliminary":                {"match Observation": 2},
		"Observation?status=partial":                    {},
		"DiagnosticReport?_summary=count":               {},
		"Task?status=requested&code=laterality-missing": {"match Task": 1},
		"Task?code=" + url.QueryEscape(fhir.ReasonsSystem) + "|laterality-missing": {"match Task": 1},
		"Task?status=completed,cancelled":                                          {},
	} {
		if got := k.search("/fhir/" + query).kinds(); !maps.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", query, got, want)
		}
	}
	for query, want := range map[string]int{"DiagnosticReport?_summary=count": 3, "Observation?_summary=count": 6, "Task?_count=0": 1, "Observation?_total=accurate&_count=1": 6, "Patient?_summary=count&_total=none": 3, "Provenance?_count=0": 3} {
		if b := k.search("/fhir/" + query); b.Total == nil || *b.Total != want {
			t.Errorf("%s: total %v, want %d", query, b.Total, want)
		}
	}
}

// TestTaskOfAFile: a file in quarantine is a Task, whose versions are the documents about it.
func TestTaskOfAFile(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	key := k.quarantined(picture{1, 2}, "laterality-missing")
	other := k.quarantined(picture{1, 3}, "not-dicom")
	at := "/fhir/Task/" + fhir.TaskID(key)
	read := func(address string) (status string, raw string) {
		t.Helper()
		w := k.get(address)
		var task struct{ Status string }
		k.must(json.Unmarshal(w.Body.Bytes(), &task))
		return fmt.Sprint(w.Code, " ", task.Status), w.Body.String()
	}
	status, raw := read(at)
	if status != "200 requested" || !strings.Contains(raw, `"laterality-missing"`) || !strings.Contains(raw, "山田") || !strings.Contains(raw, `"versionId":"1"`) {
		t.Errorf("%s %s", status, raw)
	}
	k.ruleBy("discard", fmt.Sprintf(`{"ids": [%q], "by": "Nurse", "reason": "Taken again."}`, quarantineID(key)))
	k.ruleBy("release", fmt.Sprintf(`{"ids": [%q], "by": "Nurse", "reason": "It is good."}`, quarantineID(other)))
	if status, raw = read(at); status != "200 cancelled" || !strings.Contains(raw, "Taken again.") || !strings.Contains(raw, `"versionId":"2"`) {
		t.Errorf("%s %s", status, raw)
	}
	if status, raw = read(at + "/_history/1"); status != "200 requested" || strings.Contains(raw, "Taken again.") {
		t.Errorf("%s %s", status, raw)
	}
	if status, _ = read(at + "/_history/3"); status != "404 " {
		t.Errorf("a version to come: %s", status)
	}
	if status, _ = read("/fhir/Task/" + fhir.TaskID(other)); status != "200 in-progress" {
		t.Errorf("a file that is being released: %s", status)
	}
	for query, want := range map[string]int{
		"": 2, "status=cancelled": 1, "status=in-progress,cancelled": 2, "status=requested": 0, "code=not-dicom": 1, "code=quarantined-file": 2, "code=x": 0,
		"authored-on=ge2026-11-23": 2, "authored-on=lt2026-11-23": 0, "identifier=" + url.QueryEscape(fhir.QuarantineSystem+"|"+key): 1, "identifier=x": 0, "_id=" + fhir.TaskID(key): 1, "_id=x": 0,
	} {
		if b := k.search("/fhir/Task?" + query); len(b.Entry) != want || *b.Total != want {
			t.Errorf("%s: %d entries, total %d, want %d", query, len(b.Entry), *b.Total, want)
		}
	}
}

// TestTermsAreDefined: every code of Noctua's own that a resource has is in the CodeSystem, with the same display, and every system that is
// named below Noctua's own address and holds codes is served.
func TestTermsAreDefined(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	defined := map[string]string{}
	var system struct {
		Concept []struct{ Code, Display string }
	}
	k.must(json.Unmarshal(k.get("/fhir/CodeSystem/noctua-measures").Body.Bytes(), &system))
	for _, c := range system.Concept {
		if _, twice := defined[c.Code]; twice {
			t.Errorf("%s is defined twice", c.Code)
		}
		defined[c.Code] = c.Display
	}
	checked := 0
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			name, _ := v["system"].(string)
			code, _ := v["code"].(string)
			if name == fhir.MeasuresSystem && code != "" {
				checked++
				if display, ok := defined[code]; !ok || v["display"] != nil && v["display"] != display {
					t.Errorf("%s is called %q, and defined (%v) as %q", code, v["display"], ok, display)
				}
			}
			if strings.HasPrefix(name, fhir.Root+"CodeSystem/") && len(k.search("/fhir/CodeSystem?url="+url.QueryEscape(name)).Entry) != 1 {
				t.Errorf("%s is not served", name)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	for _, kind := range []string{"DiagnosticReport", "Observation", "Task", "ValueSet"} {
		for _, e := range k.search("/fhir/" + kind).Entry {
			walk(e.Resource)
		}
	}
	for _, set := range fhir.ValueSets() {
		compose := must(json.Marshal(set.Resource))
		var parsed struct {
			Compose struct {
				Include []struct{ Concept []struct{ Code string } }
			}
		}
		k.must(json.Unmarshal(compose, &parsed))
		for _, c := range parsed.Compose.Include[0].Concept {
			if _, ok := defined[c.Code]; !ok {
				t.Errorf("%s has %s, which is not defined", set.ID, c.Code)
			}
			checked++
		}
	}
	if checked < 50 {
		t.Errorf("only %d codes were looked at", checked)
	}
}

// TestConvertedReportsAreOfTheirAddress: what is kept between requests is shared by those alone who see the service at the same address, and
// no longer than the report is the same.
func TestConvertedReportsAreOfTheirAddress(t *testing.T) {
	t.Parallel()
	k := seeded(t)
	r := k.report(picture{3, 1})
	ask := func(host string) string {
		t.Helper()
		return k.get("http://" + host + "/fhir/DiagnosticReport/" + r.ReportID).Body.String()
	}
	one, other := ask("one.example"), ask("other.example")
	if !strings.Contains(one, "http://one.example/") || strings.Contains(other, "one.example") || strings.ReplaceAll(one, "one.example", "other.example") != other {
		t.Errorf("one address has\n%s\nthe other\n%s", one, other)
	}
	if again := ask("one.example"); again != one {
		t.Errorf("asked again it is\n%s", again)
	}
	k.tell(k.segment(picture{3, 2}))
	k.settle()
	if now := ask("one.example"); !strings.Contains(now, `"versionId":"2"`) {
		t.Errorf("after an amendment it is still\n%s", now)
	}
}
