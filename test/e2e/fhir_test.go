package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/test/fhirschema"
)

// fhirPage is a page of a search.
type fhirPage struct {
	Link  []struct{ Relation, URL string }
	Entry []struct {
		Resource struct{ ResourceType, ID string }
	}
}

// checkFHIR reads all that a night has as FHIR and validates it, and counts it by kind. Everything is read by pages, and something of each kind
// by itself.
func checkFHIR(t *testing.T, n *noctua) {
	t.Helper()
	read := func(address string) []byte {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+n.token)
		request.Header.Set("Accept", "application/fhir+json")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		raw, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v %s", address, answer.StatusCode, err, raw)
		}
		fhirschema.Check(t, address, raw)
		return raw
	}
	counts := map[string]int{}
	read(n.web + "/fhir/metadata")
	for _, search := range []string{
		"DiagnosticReport?_count=7&_include=DiagnosticReport:patient&_include=DiagnosticReport:imaging-study", "Observation?_count=200", "Provenance?_count=50", "Device", "Task", "CodeSystem", "ValueSet", "AuditEvent?_count=20",
	} {
		pages := 0
		for address := n.web + "/fhir/" + search; address != ""; pages++ {
			var page fhirPage
			if err := json.Unmarshal(read(address), &page); err != nil {
				t.Fatal(err)
			}
			for i, e := range page.Entry {
				kind := e.Resource.ResourceType
				if counts[kind]++; i == 0 && pages == 0 {
					read(n.web + "/fhir/" + kind + "/" + url.PathEscape(e.Resource.ID))
				}
			}
			address = ""
			for _, l := range page.Link {
				if l.Relation == "next" && !strings.HasPrefix(search, "AuditEvent") { // the log grows as it is read
					address = l.URL
				}
			}
		}
	}
	if counts["DiagnosticReport"] != clinicPatients || counts["Patient"] != clinicPatients || counts["ImagingStudy"] != clinicPatients || counts["Provenance"] != clinicPatients || counts["Observation"] < 10*clinicImages || counts["Device"] != 1 {
		t.Errorf("the night has as FHIR %v", counts)
	}
	t.Log(fmt.Sprint("as FHIR: ", counts))
}
