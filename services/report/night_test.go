package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// look is one turn of the loop, which remembers n.
func (k *kit) look(n *nights) {
	k.t.Helper()
	k.must(k.writeNights(k.t.Context(), n))
}

// nightKeys are the keys of tables and their documents.
func (k *kit) nightKeys() (keys []string) {
	for _, key := range k.blob.keys(k.blob.Buckets().Reports) {
		if strings.HasPrefix(key, nightsPrefix) && key != nightsLookedAt {
			keys = append(keys, strings.TrimPrefix(key, nightsPrefix))
		}
	}
	return keys
}

func (k *kit) wantNights(versions ...string) {
	k.t.Helper()
	var want []string
	for _, v := range versions {
		for _, file := range []string{nightCSV, nightParquet, nightDocument} {
			want = append(want, v+"/"+file)
		}
	}
	if got := k.nightKeys(); !slices.Equal(got, want) {
		k.t.Fatalf("nights\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// nightTable reads a CSV.
func (k *kit) nightTable(version string) [][]string {
	k.t.Helper()
	raw, err := k.blob.GetBytes(k.t.Context(), k.blob.Buckets().Reports, nightsPrefix+version+"/"+nightCSV, 0)
	k.must(err)
	lines, err := csv.NewReader(strings.NewReader(string(raw))).ReadAll()
	k.must(err)
	return lines
}

// TestNights: a night's tables are written once when it is over, and beside them when a report is amended; neither a restart nor a loss of index
// or note loses or doubles one.
func TestNights(t *testing.T) {
	t.Parallel()
	k := newKit(t) // at 1 h of the night of the 22nd
	for p := 1; p <= 3; p++ {
		k.tell(k.accept(picture{p, 1}), k.segment(picture{p, 1}))
	}
	k.quiet()
	var n nights
	k.look(&n)
	k.wantNights()
	k.move(11 * time.Hour) // past noon
	k.look(&n)
	first := "2026-11-22/measures/north/v1"
	k.wantNights(first)
	lines := k.nightTable(first)
	if len(lines) != 1+3*2 { // two measures a picture
		t.Errorf("%d lines", len(lines))
	}
	patients := map[string]bool{}
	for _, l := range lines[1:] {
		patients[l[1]] = true
		if l[0] != "north" || l[4] != "final" || l[8] != "measured" {
			t.Errorf("%q", l)
		}
		if strings.Contains(strings.Join(l, " "), "FAMILY") || strings.Contains(strings.Join(l, " "), "1950") {
			t.Errorf("a person is in the table: %q", l)
		}
	}
	if len(patients) != 3 {
		t.Errorf("patients %v", patients)
	}
	doc, err := k.newestNight(t.Context(), clinicNight{"north", nightOf(kitStart, time.UTC)})
	k.must(err)
	raw, err := k.blob.GetBytes(t.Context(), k.blob.Buckets().Reports, nightsPrefix+first+"/"+nightCSV, 0)
	k.must(err)
	if doc.CsvSha256 != hashOf(raw) || doc.Reports != 3 || doc.Rows != 6 || !doc.BeganAt.Equal(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) || !doc.EndedAt.Equal(doc.BeganAt.AddDate(0, 0, 1)) {
		t.Errorf("%+v", doc)
	}
	again := func() { // with memory, without, without the note, and with an index that is made anew
		t.Helper()
		want := k.nightKeys()
		k.look(&n)
		k.look(&nights{})
		k.open(k.path)
		k.markReady()
		k.look(&nights{})
		k.blob.mu.Lock()
		delete(k.blob.objects, k.blob.Buckets().Reports+"/"+nightsLookedAt)
		k.blob.mu.Unlock()
		k.look(&nights{})
		k.open(filepath.Join(t.TempDir(), "other.db"))
		k.reconcile()
		k.look(&nights{})
		if got := k.nightKeys(); !slices.Equal(got, want) {
			t.Fatalf("once more: %v, want %v", got, want)
		}
		k.open(k.path)
		k.markReady()
	}
	again()
	// A late picture amends a report of that night in the next; another patient comes in the next.
	k.tell(k.accept(picture{1, 2}), k.segment(picture{1, 2}), k.accept(picture{4, 1}), k.segment(picture{4, 1}))
	k.quiet()
	k.look(&n)
	second := "2026-11-22/measures/north/v2"
	k.wantNights(first, second)
	if got := k.nightTable(second); len(got) != 1+4*2 {
		t.Errorf("%d lines", len(got))
	}
	if got := k.nightTable(first); fmt.Sprint(got) != fmt.Sprint(lines) {
		t.Error("the first version has changed")
	}
	again()
	k.move(24 * time.Hour)
	k.look(&n)
	k.wantNights(first, second, "2026-11-23/measures/north/v1")
	if got := k.nightTable("2026-11-23/measures/north/v1"); len(got) != 1+2 {
		t.Errorf("%d lines", len(got))
	}
	again()
	k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Reports, nightsLookedAt, []byte("{"), blob.PutOptions{})) // broken
	k.look(&nights{})
	again()
	if log := k.logs.String(); strings.Contains(log, "FAMILY") {
		t.Error("the log holds a patient's name")
	}
}

// TestNightBrokenOff: what a process left that died between files is gone on with if it is the same, and else left alone.
func TestNightBrokenOff(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.tell(k.accept(picture{1, 1}), k.segment(picture{1, 1}))
	k.quiet()
	k.move(12 * time.Hour)
	breakAt := func(name string) {
		k.blob.fail = func(op, key string) error {
			if op == "put" && strings.HasSuffix(key, name) {
				return fault.New(fault.Transient, "storage-unavailable", "away")
			}
			return nil
		}
		if err := k.writeNights(t.Context(), &nights{}); !fault.Is(err, fault.Transient) {
			t.Errorf("%v", err)
		}
		k.blob.fail = nil
	}
	breakAt(nightParquet)
	breakAt(nightDocument)
	if doc, err := k.newestNight(t.Context(), clinicNight{"north", nightOf(kitStart, time.UTC)}); doc != nil || err != nil {
		t.Errorf("half a version counts: %v, %v", doc, err)
	}
	k.look(&nights{})
	k.wantNights("2026-11-22/measures/north/v1")
	k.tell(k.accept(picture{1, 2}), k.segment(picture{1, 2}))
	k.quiet()
	breakAt(nightDocument) // leaves tables of v2
	k.tell(k.accept(picture{1, 3}), k.segment(picture{1, 3}))
	k.quiet()
	k.look(&nights{})
	doc, err := k.newestNight(t.Context(), clinicNight{"north", nightOf(kitStart, time.UTC)})
	k.must(err)
	if doc.Version != 3 || doc.Rows != 6 {
		t.Errorf("%+v", doc)
	}
}

func TestNightRoutes(t *testing.T) {
	t.Parallel()
	k, _ := twoClinics(t)
	var list struct {
		Nights []nightLine `json:"nights"`
	}
	north := k.grant("north", "report.read:north", 0)
	for bearer, want := range map[string]int{testToken: 2, north: 1} {
		w := k.ask(http.MethodGet, "/api/nights", "", "Authorization", "Bearer "+bearer)
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Nights) != want {
			t.Errorf("%v %s", err, w.Body)
		}
	}
	w := k.get("/api/nights?from=2026-11-22&to=2026-11-22")
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Nights) != 2 {
		t.Fatalf("%v %s", err, w.Body)
	}
	for _, query := range []string{"from=2026-11-23", "to=2026-11-21"} {
		if w := k.get("/api/nights?" + query); strings.TrimSpace(w.Body.String()) != `{"nights":[]}` {
			t.Errorf("%s: %s", query, w.Body)
		}
	}
	if w := k.get("/api/nights?from=yesterday"); w.Code != http.StatusBadRequest {
		t.Errorf("%d", w.Code)
	}
	line := list.Nights[0]
	table := k.get(line.CSV)
	if table.Code != http.StatusOK || table.Header().Get("Content-Type") != "text/csv; charset=utf-8" || !strings.Contains(table.Header().Get("Content-Disposition"), "noctua-2026-11-22-"+line.Clinic+"-v1-measures.csv") ||
		!strings.HasPrefix(table.Body.String(), "clinic,patient,report,") {
		t.Errorf("%d %v %s", table.Code, table.Header(), table.Body)
	}
	if w := k.ask(http.MethodGet, line.CSV, "", "If-None-Match", table.Header().Get("ETag")); w.Code != http.StatusNotModified {
		t.Errorf("%d", w.Code)
	}
	if w := k.get(line.Parquet); w.Code != http.StatusOK || w.Header().Get("Content-Type") != parquetType || !strings.HasPrefix(w.Body.String(), "PAR1") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	doc, err := record.Decode[record.Night](record.NightSchema, k.get(line.About).Body.Bytes())
	if err != nil || doc.CsvSha256 != hashOf(table.Body.Bytes()) {
		t.Errorf("%+v, %v", doc, err)
	}
	for _, address := range []string{"/api/nights/2026-11-21/north/measures.csv", "/api/nights/2026-11-22/north/other.csv", "/api/nights/2026-11-22/west/measures.csv", "/api/nights/2026-13-77/north/measures.csv",
		"/api/nights/2026-11-22/north/measures.csv?version=2", "/api/nights/..%2f/north/measures.csv"} {
		if w := k.get(address); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", address, w.Code, w.Body)
		}
	}
}
