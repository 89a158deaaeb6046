package report

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// published are the keys of what is published.
func (k *kit) publishedKeys() []string {
	var keys []string
	for _, key := range k.blob.keys(k.blob.Buckets().Reports) {
		if strings.HasPrefix(key, nightsPrefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// sets are the sets that are whole.
func (k *kit) sets() (all []string) {
	for _, key := range k.publishedKeys() {
		if set, ok := strings.CutSuffix(key, "/"+manifestName); ok {
			all = append(all, strings.TrimPrefix(set, nightsPrefix))
		}
	}
	return all
}

func (k *kit) publish() {
	k.t.Helper()
	k.must(k.Publish(k.t.Context()))
}

func (k *kit) wantSets(want ...string) {
	k.t.Helper()
	if got := k.sets(); !slices.Equal(got, want) {
		k.t.Fatalf("published are %v, want %v", got, want)
	}
}

// manifest reads the manifest and every file that it lists, and returns the resources by kind and id.
func (k *kit) manifest(query string, headers ...string) (fhir.Manifest, map[string]map[string]any) {
	k.t.Helper()
	w := k.get("/fhir/$bulk-publish"+query, headers...)
	if w.Code != http.StatusOK {
		k.t.Fatalf("%s: %d %s", query, w.Code, w.Body)
	}
	var m fhir.Manifest
	k.must(json.Unmarshal(w.Body.Bytes(), &m))
	resources := map[string]map[string]any{}
	for _, f := range m.Output {
		w := k.get(strings.TrimPrefix(f.URL, "http://example.com"), headers...)
		lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
		if w.Code != http.StatusOK || len(lines) != f.Count || w.Header().Get("Content-Type") != ndjsonMedia {
			k.t.Errorf("%s: %d, %d lines, %s", f.URL, w.Code, len(lines), w.Header().Get("Content-Type"))
		}
		for _, line := range lines {
			var resource map[string]any
			k.must(json.Unmarshal([]byte(line), &resource))
			id := f.Type + "/" + resource["id"].(string)
			if resources[id] != nil && f.Type != "Device" || resource["resourceType"] != f.Type { // a Device may be in the sets of several clinics
				k.t.Errorf("%s is there twice, or is no %s", id, f.Type)
			}
			resources[id] = resource
		}
	}
	return m, resources
}

// TestNightIsPublished: when it is over and settled, once, and again when a report of it is amended.
func TestNightIsPublished(t *testing.T) {
	t.Parallel()
	k := newKit(t) // it is one in the morning
	for n := 1; n <= 2; n++ {
		k.tell(k.accept(picture{1, n}), k.segment(picture{1, n}), k.accept(picture{2, n}), k.segment(picture{2, n}))
	}
	k.quiet()
	k.publish()
	k.wantSets() // the night goes on
	k.move(11 * time.Hour)
	k.publish()
	k.wantSets("2026-11-22/fhir/north/v1")
	k.publish()
	k.wantSets("2026-11-22/fhir/north/v1")
	m, resources := k.manifest("")
	kinds := map[string]int{}
	for id := range resources {
		kinds[strings.Split(id, "/")[0]]++
	}
	if kinds["DiagnosticReport"] != 2 || kinds["Patient"] != 2 || kinds["ImagingStudy"] != 2 || kinds["Provenance"] != 2 || kinds["Device"] != 1 || kinds["Observation"] < 8 {
		t.Errorf("%v", kinds)
	}
	if m.TransactionTime == "" || m.Request != "http://example.com/fhir/$bulk-publish?night=2026-11-22" || !m.RequiresAccessToken || m.Extension.Night != "2026-11-22" {
		t.Errorf("%+v", m)
	}
	// What refers to another resource finds it in the set.
	for id, resource := range resources {
		if subject, ok := resource["subject"].(map[string]any); ok && resources[subject["reference"].(string)] == nil {
			t.Errorf("%s is of %v, who is not in the set", id, subject)
		}
	}
	// The next night has a report of its own, and one of the first night is amended in it.
	k.tell(k.accept(picture{1, 3}), k.segment(picture{1, 3}), k.accept(picture{3, 1}), k.segment(picture{3, 1}))
	k.quiet()
	k.publish()
	k.wantSets("2026-11-22/fhir/north/v1", "2026-11-22/fhir/north/v2")
	if _, resources := k.manifest("?night=2026-11-22"); resources["DiagnosticReport/"+picture{1, 1}.report()]["status"] != "amended" {
		t.Error("the second version does not have the amended report")
	}
	k.move(24 * time.Hour)
	k.publish()
	k.wantSets("2026-11-22/fhir/north/v1", "2026-11-22/fhir/north/v2", "2026-11-23/fhir/north/v1")
	if m, resources := k.manifest(""); m.Extension.Night != "2026-11-23" || resources["DiagnosticReport/"+picture{3, 1}.report()] == nil || resources["DiagnosticReport/"+picture{1, 1}.report()] != nil {
		t.Errorf("the last night %+v", m.Extension)
	}
	for address, want := range map[string]int{
		"$bulk-publish?night=2026-11-01": 404, "$bulk-publish?night=x": 400, "nights/2026-11-22/north/v3/Patient-0001.ndjson": 404, "nights/2026-11-22/north/v1/manifest.json": 404,
		"nights/2026-11-22/south/v1/Patient-0001.ndjson": 404, "nights/2026-11-22/north/v01/Patient-0001.ndjson": 404, "nights/2026-11-22/north/v1/Patient-0002.ndjson": 404,
		"nights/2026-11-22/north/v1/%2e%2e%2fv2%2fPatient-0001.ndjson": 404,
	} {
		if w := k.get("/fhir/" + address); w.Code != want {
			t.Errorf("%s: %d %s", address, w.Code, w.Body)
		}
	}
	w := k.get("/fhir/$bulk-publish")
	if again := k.get("/fhir/$bulk-publish", "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("unchanged: %d", again.Code)
	}
}

// TestNightWaitsForReports that are preliminary, but not for ever.
func TestNightWaitsForReports(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}), k.accept(picture{1, 2}), k.accept(picture{2, 1}), k.segment(picture{2, 1}))
	k.quiet()
	k.move(12 * time.Hour)
	k.publish()
	k.wantSets()
	k.move(bulkPatience)
	k.publish()
	k.wantSets("2026-11-22/fhir/north/v1")
	if _, resources := k.manifest(""); resources["DiagnosticReport/"+picture{1, 1}.report()]["status"] != "partial" {
		t.Error("the report that waits is not as it is")
	}
	k.tell(k.segment(picture{1, 2}))
	k.quiet()
	k.publish()
	if _, resources := k.manifest(""); len(k.sets()) != 2 || resources["DiagnosticReport/"+picture{1, 1}.report()]["status"] != "final" {
		t.Errorf("%v", k.sets())
	}
}

// TestPublishingIsInterrupted at every write: after a restart the set is there once, and the same. A lost index loses and doubles nothing.
func TestPublishingIsInterrupted(t *testing.T) {
	t.Parallel()
	whole := ""
	for stop := range 8 {
		for _, when := range []string{"put", "after put"} {
			k := newKit(t)
			k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}))
			k.quiet()
			k.move(12 * time.Hour)
			writes := 0
			k.blob.fail = func(op, key string) error {
				if op == when && strings.HasPrefix(key, nightsPrefix) {
					if writes++; writes > stop {
						return fault.New(fault.Transient, "storage-unavailable", "cut off")
					}
				}
				return nil
			}
			err := k.Publish(t.Context())
			k.blob.fail = nil
			if stop < 7 && err == nil {
				t.Fatalf("write %d was not cut off", stop)
			}
			k.open(k.path)
			k.publish()
			k.wantSets("2026-11-22/fhir/north/v1")
			text := ""
			for _, key := range k.publishedKeys() {
				raw, err := k.blob.GetBytes(t.Context(), k.blob.Buckets().Reports, key, 0)
				k.must(err)
				text += key + "\n" + string(raw)
			}
			if whole == "" {
				whole = text
			}
			if text != whole {
				t.Errorf("cut off at write %d (%s), it is\n%s\nand not\n%s", stop, when, text, whole)
			}
			k.open(k.path + ".new")
			k.publish() // not before it is whole
			k.reconcile()
			k.publish()
			k.wantSets("2026-11-22/fhir/north/v1")
		}
	}
}

// TestAmendedWhileInterrupted: what was begun and is not true any more is never shown, and the next number is taken.
func TestAmendedWhileInterrupted(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}))
	k.quiet()
	k.move(12 * time.Hour)
	k.blob.fail = func(op, key string) error {
		if op == "put" && strings.HasSuffix(key, manifestName) {
			return fault.New(fault.Transient, "storage-unavailable", "cut off")
		}
		return nil
	}
	if err := k.Publish(t.Context()); err == nil {
		t.Fatal("it was not cut off")
	}
	k.blob.fail = nil
	if w := k.get("/fhir/nights/2026-11-22/north/v1/Patient-0001.ndjson"); w.Code != http.StatusNotFound {
		t.Errorf("a set without manifest is served: %d", w.Code)
	}
	if w := k.get("/fhir/$bulk-publish"); w.Code != http.StatusNotFound {
		t.Errorf("a set without manifest is listed: %d %s", w.Code, w.Body)
	}
	k.tell(k.accept(picture{1, 2}), k.segment(picture{1, 2}))
	k.quiet()
	k.publish()
	k.wantSets("2026-11-22/fhir/north/v2")
}

// TestNightsOfClinics: a set a clinic, and everybody sees their own.
func TestNightsOfClinics(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	k.wantSets("2026-11-22/fhir/north/v1", "2026-11-22/fhir/south/v1")
	if _, resources := k.manifest(""); len(resources) == 0 || resources["Patient/"+data["north"].patient] == nil || resources["Patient/"+data["south"].patient] == nil {
		t.Error("the operator does not see both clinics")
	}
	_, resources := k.manifest("", "Authorization", "Bearer "+k.grant("north", "report.read:north", 0))
	if resources["Patient/"+data["north"].patient] == nil || resources["Patient/"+data["south"].patient] != nil {
		t.Error("a reader of one clinic does not see that one alone")
	}
	// No patient's name or number is in a key.
	for _, key := range k.publishedKeys() {
		for _, c := range data {
			for _, mark := range c.marks[:3] {
				if strings.Contains(key, mark) {
					t.Errorf("the key %s holds %s", key, mark)
				}
			}
		}
	}
}

// TestNightInParts: a night of more reports than are made into files at a time.
func TestNightInParts(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	const reports = bulkPart + 3
	k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}))
	k.quiet()
	first := k.report(picture{1, 1})
	for n := 1; n < reports; n++ { // straight into bucket and index: making them takes longer
		doc := *first
		doc.ReportID, doc.IssuedAt = shaOf("report", n)[:32], first.IssuedAt.Add(time.Duration(n)*time.Millisecond)
		doc.Patient.Key, doc.Patient.ID = shaOf("someone", n/2), fmt.Sprint("S", n/2)
		doc.FirstIssuedAt, doc.Version = doc.IssuedAt, 1
		raw, err := record.Encode(record.ReportSchema, doc)
		k.must(err)
		key, err := blob.ReportKey(doc.Patient.Key, doc.ReportID, 1)
		k.must(err)
		k.must(k.deps.Store.PutReport(t.Context(), key, &doc, raw, nil, false, k.now()))
	}
	k.move(12 * time.Hour)
	k.publish()
	m, resources := k.manifest("")
	kinds := map[string]int{}
	for id := range resources {
		kinds[strings.Split(id, "/")[0]]++
	}
	if kinds["DiagnosticReport"] != reports || kinds["Patient"] != (reports+1)/2+1 || kinds["Device"] != 1 || len(m.Output) != 10 {
		t.Errorf("%v in %d files", kinds, len(m.Output))
	}
}
