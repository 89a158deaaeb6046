package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/audit"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/token"
)

// clinicData is what a clinic has in the tests of access, and how its requests look.
type clinicData struct {
	name    string
	report  string // id
	patient string // FHIR id
	pic     picture
	file    string // id in quarantine
	task    string // of it
	// patientVersion is the version of the patient that is the newest.
	patientVersion string
	marks          []string // texts that only this clinic's data has
}

// twoClinics is a service with one patient, one picture and one file in quarantine at each of two clinics.
func twoClinics(t *testing.T) (*kit, map[string]clinicData) {
	t.Helper()
	k := newKit(t)
	all := map[string]clinicData{}
	for n, clinic := range map[int]string{1: "north", 2: "south"} {
		p := picture{n, 1}
		name := strings.ToUpper(clinic) + "NAME"
		at := func(i *record.Instance) { i.Clinic, i.Patient.Name, i.Patient.ID = clinic, name+"^Given", "ID-"+clinic }
		k.tell(k.accept(p, at), k.segment(p, func(r *record.Result) {
			r.Clinic, r.FOV = clinic, &record.FieldOfView{CenterX: 4, CenterY: 4, Radius: 4, Right: 8, Bottom: 8}
		}))
		key, err := blob.QuarantineKey(clinic, k.now(), shaOf("file", clinic))
		k.must(err)
		doc := record.Quarantine{Schema: record.QuarantineSchema, Clinic: clinic, Code: "laterality-missing", Reason: "Which eye?", Action: "Say which.", InboxKey: clinic + "/batch/" + name + ".dcm",
			ReceiptID: shaOf("r", clinic)[:32], ReceivedAt: k.now(), Sha256: shaOf("file", clinic), SizeBytes: 5, SOPUID: fmt.Sprintf("1.9.%d", n), StudyUID: fmt.Sprintf("1.8.%d", n),
			Patient: &record.PatientIdentity{Key: shaOf("patient", n), ID: "ID-" + clinic, Name: name}}
		k.putDocument(k.blob.Buckets().Quarantine, key+documentSuffix, record.QuarantineSchema, doc)
		k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Quarantine, key, []byte("DICOM"), blob.PutOptions{}))
		all[clinic] = clinicData{name: clinic, report: reportID(clinic, shaOf("patient", n), p.study()), patient: fhir.PatientID(shaOf("patient", n)), pic: p, file: quarantineID(key), task: fhir.TaskID(key),
			marks: []string{name, "ID-" + clinic, p.sop(), p.study(), "/" + clinic + "/", fhir.PatientID(shaOf("patient", n))}}
	}
	k.reconcile()
	k.quiet()
	k.publishNight()
	for clinic, c := range all {
		found, err := k.deps.Store.Newest(t.Context(), c.report)
		k.must(err)
		c.patientVersion = fmt.Sprint(found.UpdatedAt.UnixMilli())
		all[clinic] = c
	}
	k.deps.Exports = &archives{}
	for clinic := range all {
		k.must(k.writeNight(t.Context(), clinicNight{clinic, k.night()}))
	}
	for _, file := range []string{"mask.png", "overlay.jpg"} {
		for _, c := range all {
			prefix, err := blob.ResultPrefix(c.pic.sop(), c.pic.sha(), testModel)
			k.must(err)
			content := maskPNG(t, 8, 8, func(int, int) bool { return false })
			if file == "overlay.jpg" {
				var raw bytes.Buffer
				k.must(jpeg.Encode(&raw, image.NewGray(image.Rect(0, 0, 8, 8)), nil))
				content = raw.Bytes()
			}
			content = append(content, c.pic.sop()...) // readers of pictures stop before it
			k.must(k.blob.PutBytes(t.Context(), k.blob.Buckets().Results, strings.TrimSuffix(prefix, "/")+"/"+file, content, blob.PutOptions{}))
		}
	}
	k.photo = func(_ context.Context, raw []byte) (*raster.RGB, error) { return raster.NewRGB(8, 8), nil }
	k.authority.JWTs = observers{}
	return k, all
}

// accessNight is the night of the tests of access.
const accessNight = "2026-11-22"

// publishNight publishes the night as its end would, and lets the clock stand where it was: tokens expire.
func (k *kit) publishNight() {
	k.t.Helper()
	at := k.now()
	k.move(24 * time.Hour)
	k.must(k.Publish(k.t.Context()))
	k.move(at.Sub(k.now()))
}

// observers are JWTs that let read nothing but the observations of one clinic.
type observers struct{}

func (observers) Verify(_ context.Context, raw string) (access.Principal, error) {
	if clinic, ok := strings.CutPrefix(raw, "jwt.observer."); ok {
		return access.Principal{Name: "ehr", Via: access.ViaJWT, Grants: access.FromClaims([]string{"system/Observation.rs"}, []string{clinic})}, nil
	}
	return access.Principal{}, fault.New(fault.Invalid, "jwt-refused", "not good")
}

// asked is one request of the table.
type asked struct {
	method, address, body string
	form                  bool
	// own is of one clinic: another one gets `not found`, or is refused.
	own bool
	// patient tells whether the answer shows data of patients, which has to be recorded.
	patient bool
	// changes: the request is made only by those who may not.
	changes bool
	// span is how long one entry stands for all requests of its kind, where that is longer than one.
	span time.Duration
}

// table says how each route is asked for the data of a clinic. A route that is not in it fails the test.
func table(c clinicData) map[string]asked {
	image := "/api/images/" + c.pic.sop() + "/" + c.pic.sha()[:16] + "/mask.png"
	ids := fmt.Sprintf(`{"ids": [%q], "by": "Nurse", "reason": "because"}`, c.file)
	form := url.Values{"id": {c.file}, "by": {"Nurse"}, "reason": {"because"}, "laterality": {"R"}}.Encode()
	link := fmt.Sprintf(`{"patient": {"clinic": %q, "id": "ID-%[1]s"}, "into": {"clinic": %[1]q, "id": "ID-%[1]s"}, "study": %q, "undoes": 1, "by": "Nurse", "reason": "because"}`, c.name, c.report)
	get := func(address string, own, patient bool) asked {
		return asked{method: http.MethodGet, address: address, own: own, patient: patient}
	}
	search := func(resource, query string, patient bool) asked {
		return asked{method: http.MethodPost, address: "/fhir/" + resource + "/_search", body: query, form: true, patient: patient}
	}
	look := func(file string) asked {
		return asked{method: http.MethodGet, address: strings.TrimSuffix(image, "mask.png") + file, own: true, patient: true, span: viewingSpan}
	}
	const everything = "_include=DiagnosticReport:patient&_include=DiagnosticReport:result&_include=DiagnosticReport:imaging-study&_revinclude=Provenance:target"
	return map[string]asked{
		"GET /system": get("/system", false, false), "GET /api/system": get("/api/system", false, false),
		"GET /healthz": get("/healthz", false, false), "GET /readyz": get("/readyz", false, false), "GET /static/{file}": get("/static/owl.svg", false, false),
		"GET /signin": get("/signin", false, false), "POST /signin": {method: http.MethodPost, address: "/signin", form: true, changes: true},
		"POST /signout": {method: http.MethodPost, address: "/signout", form: true, changes: true},
		"GET /{$}":      get("/", false, true), "GET /tonight/events": get("/tonight/events", false, false), "GET /tonight/people": get("/tonight/people", false, true),
		"GET /nights": get("/nights", false, false), "GET /nights/{night}": get("/nights/2026-11-21", false, false),
		"GET /account": get("/account", false, false), "POST /account/password": {method: http.MethodPost, address: "/account/password", form: true, changes: true},
		"POST /account/signout": {method: http.MethodPost, address: "/account/signout", form: true, changes: true},
		"GET /patients":         get("/patients", false, true), "GET /patients/{id}": get("/patients/"+c.patient, true, true),
		"POST /patients":  {method: http.MethodPost, address: "/patients", body: "q=x", form: true, changes: true},
		"GET /quarantine": get("/quarantine", false, true), "GET /quarantine/{clinic}/{day}/{id}": get("/quarantine/"+c.file, true, true),
		"POST /quarantine/release": {method: http.MethodPost, address: "/quarantine/release", body: form, form: true, own: true, changes: true},
		"POST /quarantine/discard": {method: http.MethodPost, address: "/quarantine/discard", body: form, form: true, own: true, changes: true},
		"GET /api/me":              get("/api/me", false, false), "GET /api/status": get("/api/status", false, false), "GET /api/reports": get("/api/reports", false, true),
		"GET /api/reports/{id}": get("/api/reports/"+c.report, true, true), "GET /api/reports/{id}/report.pdf": get("/api/reports/"+c.report+"/report.pdf", true, true), "GET /api/images/{sop}/{sha}/{file}": get(image, true, true),
		"GET /api/quarantine":                               get("/api/quarantine", false, true),
		"GET /api/quarantine/{clinic}/{day}/{id}":           get("/api/quarantine/"+c.file, true, true),
		"GET /api/quarantine/{clinic}/{day}/{id}/photo.jpg": get("/api/quarantine/"+c.file+"/photo.jpg", true, true),
		"POST /api/quarantine/release":                      {method: http.MethodPost, address: "/api/quarantine/release", body: ids, own: true, changes: true},
		"POST /api/quarantine/discard":                      {method: http.MethodPost, address: "/api/quarantine/discard", body: ids, own: true, changes: true},
		"POST /api/uploads":                                 {method: http.MethodPost, address: "/api/uploads", body: fmt.Sprintf(`{"clinic": %q, "names": ["a.dcm"]}`, c.name), own: true},
		"POST /api/exports":                                 {method: http.MethodPost, address: "/api/exports"},
		"GET /api/audit/head":                               get("/api/audit/head", false, false),
		"GET /api/patients/links":                           get("/api/patients/links", false, false),
		"POST /api/patients/merge":                          {method: http.MethodPost, address: "/api/patients/merge", body: link, own: true, changes: true},
		"POST /api/patients/split":                          {method: http.MethodPost, address: "/api/patients/split", body: link, own: true, changes: true},
		"POST /api/patients/undo":                           {method: http.MethodPost, address: "/api/patients/undo", body: link, own: true, changes: true},
		"GET /api/nights":                                   get("/api/nights", false, false), "GET /api/nights/{night}/{clinic}/{file}": get("/api/nights/2026-11-22/"+c.name+"/measures.csv", true, true),
		"GET /api/images/{sop}/{sha}/view.json":                    look("view.json"),
		"GET /api/images/{sop}/{sha}/lines.json":                   look("lines.json"),
		"GET /api/images/{sop}/{sha}/tiles/{layer}/{level}/{tile}": look("tiles/photo/0/0_0.jpg"),
		"GET /fhir/metadata":                                       get("/fhir/metadata", false, false),
		"GET /fhir/.well-known/smart-configuration":                get("/fhir/.well-known/smart-configuration", false, false),
		"GET /fhir/$bulk-publish":                                  get("/fhir/$bulk-publish?night="+accessNight, false, false),
		"GET /fhir/nights/{night}/{clinic}/{version}/{file}":       get("/fhir/nights/"+accessNight+"/"+c.name+"/v1/Patient-0001.ndjson", true, true),

		"GET /fhir/AuditEvent": get("/fhir/AuditEvent", false, false), "GET /fhir/AuditEvent/{id}": get("/fhir/AuditEvent/1", false, false), "POST /fhir/AuditEvent/_search": search("AuditEvent", "", false),
		"GET /fhir/CodeSystem": get("/fhir/CodeSystem", false, false), "GET /fhir/CodeSystem/{id}": get("/fhir/CodeSystem/noctua-measures", false, false), "POST /fhir/CodeSystem/_search": search("CodeSystem", "", false),
		"GET /fhir/ValueSet": get("/fhir/ValueSet", false, false), "GET /fhir/ValueSet/{id}": get("/fhir/ValueSet/noctua-regions", false, false), "POST /fhir/ValueSet/_search": search("ValueSet", "", false),
		"GET /fhir/Device": get("/fhir/Device", false, false), "GET /fhir/Device/{id}": get("/fhir/Device/"+fhir.DeviceID(testModel), false, false), "POST /fhir/Device/_search": search("Device", "", false),
		"GET /fhir/Device/{id}/_history/{version}": get("/fhir/Device/"+fhir.DeviceID(testModel)+"/_history/1", false, false),

		"GET /fhir/DiagnosticReport":                         get("/fhir/DiagnosticReport?"+everything, false, true),
		"POST /fhir/DiagnosticReport/_search":                search("DiagnosticReport", everything, true),
		"GET /fhir/DiagnosticReport/{id}":                    get("/fhir/DiagnosticReport/"+c.report, true, true),
		"GET /fhir/DiagnosticReport/{id}/_history/{version}": get("/fhir/DiagnosticReport/"+c.report+"/_history/1", true, true),
		"GET /fhir/Observation":                              get("/fhir/Observation?_include=Observation:patient&_include=Observation:derived-from&_revinclude=Provenance:target", false, true),
		"POST /fhir/Observation/_search":                     search("Observation", "", true),
		"GET /fhir/Observation/{id}":                         get("/fhir/Observation/"+c.report+"-none", true, false),
		"GET /fhir/Observation/{id}/_history/{version}":      get("/fhir/Observation/"+c.report+"-x/_history/1-none", true, false),
		"GET /fhir/Patient":                                  get("/fhir/Patient", false, true), "POST /fhir/Patient/_search": search("Patient", "", true), "GET /fhir/Patient/{id}": get("/fhir/Patient/"+c.patient, true, true),
		"GET /fhir/Patient/{id}/_history/{version}": get("/fhir/Patient/"+c.patient+"/_history/"+c.patientVersion, true, true),
		"GET /fhir/ImagingStudy":                    get("/fhir/ImagingStudy?_include=ImagingStudy:patient", false, true), "POST /fhir/ImagingStudy/_search": search("ImagingStudy", "", true),
		"GET /fhir/ImagingStudy/{id}":                    get("/fhir/ImagingStudy/"+c.report, true, true),
		"GET /fhir/ImagingStudy/{id}/_history/{version}": get("/fhir/ImagingStudy/"+c.report+"/_history/1", true, true),
		"GET /fhir/Provenance":                           get("/fhir/Provenance", false, true), "POST /fhir/Provenance/_search": search("Provenance", "", true),
		"GET /fhir/Provenance/{id}":                    get("/fhir/Provenance/"+fhir.ProvenanceID(c.report, 1), true, true),
		"GET /fhir/Provenance/{id}/_history/{version}": get("/fhir/Provenance/"+fhir.ProvenanceID(c.report, 1)+"/_history/1", true, true),
		"GET /fhir/Task":                               get("/fhir/Task", false, true), "POST /fhir/Task/_search": search("Task", "", true), "GET /fhir/Task/{id}": get("/fhir/Task/"+c.task, true, true),
		"GET /fhir/Task/{id}/_history/{version}": get("/fhir/Task/"+c.task+"/_history/1", true, true),
	}
}

func (k *kit) send(a asked, bearer string) *httptest.ResponseRecorder {
	k.t.Helper()
	headers := []string{"Authorization", "Bearer " + bearer, "Accept", "text/html,*/*;q=0.8"}
	if bearer == "" {
		headers[1] = ""
	}
	if a.form {
		headers = append(headers, "Content-Type", "application/x-www-form-urlencoded")
	}
	return k.ask(a.method, a.address, a.body, headers...)
}

// role is somebody who asks.
type role struct {
	bearer  string
	known   bool
	clinics map[access.Scope][]string // of each scope, as access.Principal would say for what is not FHIR; "*": all
	fhir    map[string][]string       // kinds of resources that it may read beside, by clinic
}

func (r role) may(scope access.Scope, resource, clinic string) bool {
	for _, c := range slices.Concat(r.clinics[scope], r.fhir[resource]) {
		if c == "*" || c == clinic {
			return true
		}
	}
	return false
}

// TestEveryRouteInEveryRole asks every route in every role for the data of each clinic. Nothing unlisted is reachable, and nothing of one
// clinic is seen by those of another.
func TestEveryRouteInEveryRole(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	north, all := []string{"north"}, []string{"*"}
	expired := k.grant("expired", "operate", time.Minute)
	k.move(time.Minute)
	revoked := k.grant("revoked", "operate", 0)
	k.revoke("revoked")
	roles := map[string]role{
		"nobody": {}, "wrong token": {bearer: testToken + "0"}, "expired": {bearer: expired}, "revoked": {bearer: revoked}, "bad JWT": {bearer: "a.b.c"},
		"operator":       {testToken, true, map[access.Scope][]string{access.Read: all, access.Operate: all, access.Upload: all, access.Audit: all}, nil},
		"reader":         {k.grant("r", "report.read", 0), true, map[access.Scope][]string{access.Read: all}, nil},
		"reader north":   {k.grant("rn", "report.read:north", time.Hour), true, map[access.Scope][]string{access.Read: north}, nil},
		"operator north": {k.grant("on", "operate:north", 0), true, map[access.Scope][]string{access.Read: north, access.Operate: north, access.Upload: north}, nil},
		"uploader north": {k.grant("un", "upload:north", 0), true, map[access.Scope][]string{access.Upload: north}, nil},
		"auditor":        {k.grant("a", "audit.read", 0), true, map[access.Scope][]string{access.Audit: all}, nil},
		"both":           {k.grant("b", "report.read:north report.read:south", 0), true, map[access.Scope][]string{access.Read: {"north", "south"}}, nil},
		"observer north": {"jwt.observer.north", true, nil, map[string][]string{"Observation": north}},
	}
	routes := k.routes()
	asks := 0
	for who, r := range roles {
		for _, route := range routes {
			for clinic, c := range data {
				a, listed := table(c)[route.pattern]
				if !listed {
					t.Fatalf("the route %s is not in the table of this test", route.pattern)
				}
				somewhere, here := r.may(route.scope, route.resource, "north") || r.may(route.scope, route.resource, "south"), r.may(route.scope, route.resource, clinic)
				if a.changes && (here || route.open() || route.scope == anyone) {
					continue
				}
				w := k.send(a, r.bearer)
				asks++
				at := fmt.Sprintf("%s, %s of %s", who, route.pattern, clinic)
				switch {
				case route.open():
					if w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden {
						t.Errorf("%s: %d", at, w.Code)
					}
				case !r.known:
					if w.Code != http.StatusUnauthorized {
						t.Errorf("%s: %d", at, w.Code)
					}
				case route.scope == anyone:
					if w.Code != http.StatusOK {
						t.Errorf("%s: %d", at, w.Code)
					}
				case !somewhere:
					if w.Code != http.StatusForbidden {
						t.Errorf("%s: %d", at, w.Code)
					}
				case a.own && !here && a.method == http.MethodGet:
					if w.Code != http.StatusNotFound {
						t.Errorf("%s: %d", at, w.Code)
					}
				case route.pattern == "POST /api/uploads" && !here, route.pattern == "POST /api/exports" && !slices.Equal(r.clinics[route.scope], all):
					if w.Code != http.StatusForbidden {
						t.Errorf("%s: %d", at, w.Code)
					}
				case !a.changes && strings.HasSuffix(a.address, "-none"): // there is no such Observation
					if w.Code != http.StatusNotFound {
						t.Errorf("%s: %d", at, w.Code)
					}
				case !a.changes && w.Code != http.StatusOK:
					t.Errorf("%s: %d %s", at, w.Code, w.Body)
				}
				// Whatever the answer is, it has nothing of a clinic that is not theirs, and what they asked for of their own.
				answer := w.Body.Bytes()
				if !r.known { // the sign-in page has the address that it leads to, which they typed themselves
					answer = bytes.ReplaceAll(answer, []byte(a.address), nil)
				}
				for other, o := range data {
					for _, mark := range o.marks {
						if found := bytes.Contains(answer, []byte(mark)); found && !r.may(route.scope, route.resource, other) {
							t.Errorf("%s: the answer has %q of %s", at, mark, other)
						}
					}
				}
				if shows := a.patient && here && !strings.HasSuffix(a.address, ".jpg"); shows && !slices.ContainsFunc(c.marks, func(m string) bool { return bytes.Contains(w.Body.Bytes(), []byte(m)) }) {
					t.Errorf("%s: the answer has nothing of the clinic: %s", at, w.Body)
				}
			}
		}
	}
	t.Logf("%d routes, %d roles, %d requests", len(routes), len(roles), asks)
	for _, c := range data {
		w := k.ask(http.MethodGet, "/api/quarantine/"+c.file, "")
		if !strings.Contains(w.Body.String(), `"state":"open"`) {
			t.Errorf("a file of %s was decided about: %s", c.name, w.Body)
		}
	}
	// The includes of a search are of kinds that one may read.
	var seen bundle
	w := k.send(asked{method: http.MethodGet, address: "/fhir/Observation?_include=Observation:patient&_include=Observation:device&_include=Observation:derived-from&_revinclude=Provenance:target"}, "jwt.observer.north")
	k.must(json.Unmarshal(w.Body.Bytes(), &seen))
	if kinds := seen.kinds(); len(kinds) != 1 || kinds["match Observation"] == 0 {
		t.Errorf("an observer sees %v", kinds)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, "PROPFIND"} {
		if w := k.ask(method, "/api/reports/"+data["north"].report, ""); w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// TestDecisionsStayInTheClinic: who is in charge of one clinic decides about its files alone, and sends none elsewhere.
func TestDecisionsStayInTheClinic(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	nurse := k.grant("nurse", "operate:north", 0)
	post := func(action, body string) string {
		t.Helper()
		return k.send(asked{method: http.MethodPost, address: "/api/quarantine/" + action, body: body}, nurse).Body.String()
	}
	both := fmt.Sprintf(`{"ids": [%q, %q], "by": "Nurse", "reason": "x"}`, data["south"].file, data["north"].file)
	if got := post("discard", both); !strings.Contains(got, "not-indexed") || !strings.Contains(got, `"discarded"`) {
		t.Errorf("%s", got)
	}
	if w := k.get("/api/quarantine/" + data["south"].file); !strings.Contains(w.Body.String(), `"state":"open"`) {
		t.Errorf("the other clinic's file: %s", w.Body)
	}
	away := fmt.Sprintf(`{"ids": [%q], "by": "Nurse", "reason": "x", "correction": {"clinic": "south"}}`, data["north"].file)
	if got := post("release", away); !strings.Contains(got, "clinic-forbidden") {
		t.Errorf("sent to another clinic: %s", got)
	}
	decisions := 0
	for _, e := range k.readings() {
		if e.Entity.Kind == record.EntityDecision {
			decisions++
			if e.Action != record.AuditUpdate || e.Agent.Name != "nurse" || e.Entity.Code != "discard" || e.Entity.Clinic != "north" {
				t.Errorf("entry %+v", e)
			}
		}
	}
	if decisions != 1 {
		t.Errorf("%d decisions are recorded", decisions)
	}
}

// TestWhatIsSeenIsRecorded asks every route that shows data of patients: each leaves an entry that names who asked, and no data of a
// patient. Without the log none shows anything.
func TestWhatIsSeenIsRecorded(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	reader := k.grant("reader", "operate:north audit.read", 0)
	c := data["north"]
	asks := table(c)
	for _, r := range k.routes() {
		a := asks[r.pattern]
		if !a.patient {
			continue
		}
		k.move(a.span)
		before := len(k.readings())
		if w := k.send(a, reader); w.Code != http.StatusOK {
			t.Fatalf("%s: %d", r.pattern, w.Code)
		}
		all := k.readings()
		if len(all) != before+1 {
			t.Errorf("%s leaves %d entries", r.pattern, len(all)-before)
			continue
		}
		e := all[before]
		if e.Agent.Name != "reader" || e.Agent.Via != "token" || e.Action != record.AuditRead {
			t.Errorf("%s: %+v", r.pattern, e)
		}
		ofNight := e.Entity.Kind == record.EntityReportList && strings.HasPrefix(e.Entity.Resource, nightsPrefix) && e.Entity.Files > 0 // a table of many patients
		if a.own && e.Entity.PatientKey == "" && e.Entity.QuarantineKey == "" && !ofNight && !strings.HasPrefix(e.Entity.Resource, "nights/") {
			t.Errorf("%s does not say of whom: %+v", r.pattern, e.Entity)
		}
		k.blob.fail = func(op, at string) error {
			if op == "put" && strings.HasPrefix(at, "0000") {
				return fault.New(fault.Transient, "storage-unavailable", "the bucket is full")
			}
			return nil
		}
		k.move(a.span)
		w := k.send(a, reader)
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s without the log: %d", r.pattern, w.Code)
		}
		for _, mark := range c.marks {
			if strings.Contains(w.Body.String(), mark) {
				t.Errorf("%s without the log shows %q", r.pattern, mark)
			}
		}
		k.blob.fail = nil
	}
	for _, key := range k.blob.keys(k.blob.Buckets().Audit) {
		raw, err := k.blob.GetBytes(t.Context(), k.blob.Buckets().Audit, key, 0)
		k.must(err)
		for _, secret := range []string{"NORTHNAME", "ID-north", "SOUTHNAME", reader, testToken} {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("the audit log holds %q: %s", secret, raw)
			}
		}
	}
	// Reading the log shows it as AuditEvents, in pages, and is recorded itself.
	before := len(k.readings())
	events := k.send(asked{method: http.MethodGet, address: "/fhir/AuditEvent?_count=3&date=ge2026-11-01"}, reader)
	if body := events.Body.String(); events.Code != http.StatusOK || strings.Count(body, `"resourceType":"AuditEvent"`) != 3 || !strings.Contains(body, "_cursor=4") {
		t.Errorf("%d %s", events.Code, body)
	}
	if n := len(k.readings()); n != before+1 {
		t.Errorf("reading the log leaves %d entries", n-before)
	}
	if w := k.send(asked{method: http.MethodGet, address: "/fhir/AuditEvent?date=lt2026-11-01"}, reader); strings.Contains(w.Body.String(), `"AuditEvent"`) {
		t.Errorf("before anything: %s", w.Body)
	}
}

// denials are the entries of what was denied.
func (k *kit) denials() (all []record.Audit) {
	k.t.Helper()
	_, err := audit.Check(k.t.Context(), k.blob, k.blob.Buckets().Audit, nil, func(e record.Audit) error {
		if e.Outcome == record.AuditDenied {
			all = append(all, e)
		}
		return nil
	})
	k.must(err)
	return all
}

// TestDenialsAreRecorded: who was refused what, by pattern; of a flood the number.
func TestDenialsAreRecorded(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	uploader := k.grant("camera", "upload:north", 0)
	address := "/fhir/Patient/" + data["north"].patient
	k.get(address, "Authorization", "Bearer "+uploader)
	k.get(address, "Authorization", "")
	k.ask(http.MethodPost, "/signin", "token="+uploader, "Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
	want := []record.AuditEntity{
		{Kind: record.EntityRequest, Route: "GET /fhir/Patient/{id}", Code: "scope-missing"}, {Kind: record.EntityRequest, Route: "GET /fhir/Patient/{id}", Code: "token-missing"},
		{Kind: record.EntityRequest, Route: "POST /signin", Code: "signin-refused"},
	}
	got := k.denials()
	for n, e := range got {
		if n >= len(want) || e.Entity != want[n] || e.Agent.Address == "" {
			t.Errorf("entry %+v", e)
		}
	}
	if len(got) != len(want) || got[0].Agent.Name != "camera" || got[1].Agent.Via != "none" {
		t.Fatalf("entries %+v", got)
	}
	const flood = 500
	for range flood {
		k.get(address, "Authorization", "")
	}
	if n := len(k.denials()); n != denialsPerMinute {
		t.Errorf("a flood leaves %d entries", n)
	}
	k.move(time.Second)
	k.get(address, "Authorization", "")
	all := k.denials()
	if last := all[len(all)-1]; last.Entity.Omitted != flood+len(want)-denialsPerMinute {
		t.Errorf("the entry after it: %+v", last)
	}
}

// TestSessionsEndWithTheirToken: a person who signed in with a token may do what it may, for as long as it is good.
func TestSessionsEndWithTheirToken(t *testing.T) {
	t.Parallel()
	k, data := twoClinics(t)
	nurse := k.grant("nurse", "report.read:north", 0)
	w := k.ask(http.MethodPost, "/signin", url.Values{"token": {nurse}}.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
	if len(w.Result().Cookies()) != 1 {
		t.Fatalf("%d", w.Code)
	}
	session := []string{"Authorization", "", "Cookie", w.Result().Cookies()[0].String()}
	if w := k.get("/api/me", session...); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `{"name":"nurse","via":"session","scopes":["report.read:north"]}`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := k.get("/api/reports/"+data["south"].report, session...); w.Code != http.StatusNotFound {
		t.Errorf("the other clinic's: %d", w.Code)
	}
	if w := k.get("/quarantine", session...); w.Code != http.StatusForbidden {
		t.Errorf("what a reader may not: %d", w.Code)
	}
	k.revoke("nurse")
	if w := k.get("/api/me", session...); w.Code != http.StatusUnauthorized {
		t.Errorf("after the token is revoked: %d", w.Code)
	}
	var actions []string
	for _, e := range k.readings() {
		actions = append(actions, e.Action+" "+e.Agent.Name+" "+e.Agent.Via)
	}
	if !slices.Equal(actions, []string{"login nurse session"}) {
		t.Errorf("recorded %v", actions)
	}
}

// TestTokensThatCannotBeRead: nobody is let in, and nobody is refused for good.
func TestTokensThatCannotBeRead(t *testing.T) {
	t.Parallel()
	k, _ := twoClinics(t)
	k.authority.File = token.OpenFile(t.TempDir()+"/none", true)
	if w := k.get("/api/reports", "Authorization", "Bearer other"); w.Code == http.StatusOK || w.Code == http.StatusUnauthorized {
		t.Errorf("%d", w.Code)
	}
	if w := k.get("/api/reports"); w.Code != http.StatusOK {
		t.Errorf("the operator: %d", w.Code)
	}
}

// TestLimits: one caller who asks too much holds nobody else up.
func TestLimits(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config) {
		c.RequestsPerSecond, c.RequestBurst, c.MaxRequests, c.MaxRequestsPerCaller = 2, 5, 3, 2
	})
	busy, quiet := k.grant("busy", "report.read", 0), k.grant("quiet", "report.read", 0)
	ask := func(bearer string) int {
		return k.send(asked{method: http.MethodGet, address: "/api/me"}, bearer).Code
	}
	for n := range 5 {
		if code := ask(busy); code != http.StatusOK {
			t.Fatalf("request %d: %d", n, code)
		}
	}
	w := k.send(asked{method: http.MethodGet, address: "/fhir/Patient"}, busy)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "throttled") {
		t.Errorf("one too many: %d %s", w.Code, w.Body)
	}
	if code := ask(quiet); code != http.StatusOK {
		t.Errorf("another caller: %d", code)
	}
	k.move(time.Second)
	if a, b, c := ask(busy), ask(busy), ask(busy); a != http.StatusOK || b != http.StatusOK || c != http.StatusTooManyRequests {
		t.Errorf("a second later: %d, %d, %d", a, b, c)
	}
	var guesses []int
	for range 6 {
		guesses = append(guesses, ask("a guess"))
	}
	if guesses[4] != http.StatusUnauthorized || guesses[5] != http.StatusTooManyRequests {
		t.Errorf("guessing at tokens: %v", guesses)
	}
	k.move(time.Minute)
	held := make(chan struct{})
	var started, done sync.WaitGroup
	k.deps.Upstream = func(context.Context) (int, error) { started.Done(); <-held; return 0, nil }
	hold := func(bearer string) {
		started.Add(1)
		done.Go(func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/status", nil)
			r.Header.Set("Authorization", "Bearer "+bearer)
			k.Handler().ServeHTTP(httptest.NewRecorder(), r)
		})
		started.Wait()
	}
	hold(busy)
	hold(busy)
	if w := k.send(asked{method: http.MethodGet, address: "/api/me"}, busy); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "requests-too-many") {
		t.Errorf("a third at once: %d %s", w.Code, w.Body)
	}
	if code := ask(quiet); code != http.StatusOK {
		t.Errorf("another caller meanwhile: %d", code)
	}
	hold(quiet)
	if w := k.send(asked{method: http.MethodGet, address: "/api/me"}, testToken); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"busy"`) {
		t.Errorf("a fourth of all: %d %s", w.Code, w.Body)
	}
	started.Add(100) // those who come after may enter
	close(held)
	done.Wait()
	if code := ask(busy); code != http.StatusOK {
		t.Errorf("when they are through: %d", code)
	}
	for n := range maxCallers + 10 {
		_, _ = k.limits.enter(asker{Principal: access.Principal{Via: access.ViaToken, Name: fmt.Sprint(n)}}, k.now().Add(time.Duration(n)*time.Second))
	}
	if n := len(k.limits.callers); n > maxCallers {
		t.Errorf("%d callers are remembered", n)
	}
}

// TestTokensAreRecorded: what other programs do to the file of tokens is recorded once, by name and scope.
func TestTokensAreRecorded(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	recorded := func(want int, names string) {
		t.Helper()
		k.must(k.recordTokens(t.Context()))
		all := k.readings()
		if len(all) != want {
			t.Fatalf("%d entries, want %d", len(all), want)
		}
		if want > 0 && (all[want-1].Entity != record.AuditEntity{Kind: record.EntityTokens, Names: names} || all[want-1].Action != record.AuditUpdate) {
			t.Errorf("entry %+v", all[want-1])
		}
	}
	recorded(0, "")
	k.grant("b", "operate:north", 0)
	k.grant("a", "upload", 0)
	recorded(1, "a (upload), b (operate:north)")
	recorded(1, "a (upload), b (operate:north)")
	k.revoke("b")
	recorded(2, "a (upload)")
	k.open(k.path) // a restart records nothing new
	recorded(2, "a (upload)")
}
