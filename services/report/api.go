package report

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	defaultPage = 200
	maxPage     = 1000
	// maxUploads names a request: an upload address takes some 500 bytes, so an answer stays below 1 MiB.
	maxUploads = 1000
	// uploadLife is how long an upload address works.
	uploadLife = time.Hour
	// maxUploadName keeps clinic, batch and name below S3's 1,024 bytes for a key.
	maxUploadName = 800
)

// apiStatus answers GET /api/status[?since=]: record.Status.
func (s *Service) apiStatus(w http.ResponseWriter, r *http.Request) error {
	since, err := s.timeParam(r.URL.Query(), "since", false)
	if err != nil {
		return err
	}
	t, err := s.tally(r.Context(), askerOf(r.Context()).clinics, since)
	if err != nil {
		return err
	}
	status := t.Status
	status.Since = since
	s.writeJSON(w, http.StatusOK, "application/json", status)
	return nil
}

// timeParam reads a date (in the clinic's zone) or an instant. A date as an end means the end of that day.
func (s *Service) timeParam(q url.Values, name string, end bool) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, s.cfg.Location); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "time-invalid", "%s should be a date (2026-11-23) or an instant (2026-11-23T06:30:00Z)", name)
	}
	return at, nil
}

func intParam(q url.Values, name string, fallback, least, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		return 0, fault.New(fault.Invalid, "number-invalid", "%s should be a whole number from %d", name, least)
	}
	return min(n, most), nil
}

// reportLine is one line of the simple list.
type reportLine struct {
	ReportID  string               `json:"report_id"`
	Version   int                  `json:"version"`
	Status    record.ReportStatus  `json:"status"`
	IssuedAt  time.Time            `json:"issued_at"`
	Clinic    string               `json:"clinic"`
	PatientID string               `json:"patient_id"`
	Issuer    string               `json:"issuer,omitempty"`
	Name      string               `json:"patient_name,omitempty"`
	StudyUID  string               `json:"study_uid"`
	StudyDate string               `json:"study_date,omitempty"`
	Counts    *record.ReportCounts `json:"counts,omitempty"`
	Links     map[string]string    `json:"links"`
}

// apiReports answers GET /api/reports?from=&to=&count=: the newest versions issued in that time, the earliest first, and how to go on.
func (s *Service) apiReports(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	from, err := s.timeParam(q, "from", false)
	if err != nil {
		return err
	}
	to, err := s.timeParam(q, "to", true)
	if err != nil {
		return err
	}
	limit, err := intParam(q, "count", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	query := store.ReportQuery{Clinics: clinicsOf(r.Context()), Issued: []store.Span{{From: from, To: to}}, Sort: store.SortIssued, Limit: limit + 1}
	if err := s.resume(r, &query, q.Get("cursor")); err != nil {
		return err
	}
	reports, err := s.deps.Store.FindReports(r.Context(), query)
	if err != nil {
		return err
	}
	out := struct {
		Reports []reportLine `json:"reports"`
		Next    string       `json:"next,omitempty"`
	}{Reports: []reportLine{}}
	if len(reports) > limit {
		reports = reports[:limit]
		q.Set("cursor", encodeCursor(query, reports[limit-1]))
		out.Next = "/api/reports?" + q.Encode()
	}
	for _, v := range reports {
		line := reportLine{ReportID: v.ReportID, Version: v.Version, Status: v.Status, IssuedAt: v.IssuedAt, Clinic: v.Clinic,
			PatientID: v.PatientID, Issuer: v.Issuer, StudyUID: v.StudyUID, StudyDate: v.StudyDate,
			Links: map[string]string{
				"report": "/api/reports/" + v.ReportID, "fhir": "/fhir/DiagnosticReport/" + v.ReportID,
				"page": "/patients/" + fhir.PatientID(v.PatientKey) + "?study=" + v.ReportID,
			}}
		doc, err := s.documentOf(r.Context(), v)
		if err != nil {
			return err
		}
		line.Name, line.Counts = doc.Patient.Name, &doc.Counts
		out.Reports = append(out.Reports, line)
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityReportList, Files: len(out.Reports)}); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", out)
	return nil
}

// visibleReport is a version of a report (0: the newest) that whoever asks may see. One that they may not see is not there.
func (s *Service) visibleReport(ctx context.Context, id string, version int) (store.Report, error) {
	found, err := s.deps.Store.Newest(ctx, id)
	if version > 0 {
		found, err = s.deps.Store.Version(ctx, id, version)
	}
	if err == nil && !askerOf(ctx).clinics.Has(found.Clinic) {
		return store.Report{}, fault.New(fault.NotFound, "not-indexed", "there is no such report")
	}
	return found, err
}

// reportEntity is a report, or what is made of one, in the audit log.
func reportEntity(kind string, v store.Report, resource string) record.AuditEntity {
	return record.AuditEntity{Kind: kind, Resource: resource, PatientKey: v.PatientKey, Clinic: v.Clinic}
}

// apiReport answers GET /api/reports/{id}[?version=]: report.json as it lies in the bucket.
func (s *Service) apiReport(w http.ResponseWriter, r *http.Request) error {
	version, err := intParam(r.URL.Query(), "version", 0, 1, 1<<30)
	if err != nil {
		return err
	}
	found, err := s.visibleReport(r.Context(), r.PathValue("id"), version)
	if err != nil {
		return err
	}
	if notModified(w, r, fmt.Sprintf(`W/"%d"`, found.Version), found.UpdatedAt) {
		return nil
	}
	raw, err := s.rawDocument(r.Context(), found)
	if err != nil {
		return err
	}
	if err := s.audited(r, reportEntity(record.EntityReport, found, found.ReportID)); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	s.send(w, raw)
	return nil
}

// apiQuarantine answers GET /api/quarantine[?state=&since=&count=&offset=]: what needs a person, unless another state is asked for.
func (s *Service) apiQuarantine(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	since, err := s.timeParam(q, "since", false)
	if err != nil {
		return err
	}
	limit, err := intParam(q, "count", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	offset, err := intParam(q, "offset", 0, 0, 1<<30)
	if err != nil {
		return err
	}
	state := quarantine.State(q.Get("state"))
	switch {
	case state == "":
		state = quarantine.Open
	case state == "all":
		state = ""
	case !quarantine.ValidState(state):
		return fault.New(fault.Invalid, "state-invalid", "state should be open, releasing, released, discarded or all")
	}
	found, total, err := s.deps.Store.FindRejected(r.Context(), clinicsOf(r.Context()), state, since, limit, offset)
	if err != nil {
		return err
	}
	out := struct {
		Total int              `json:"total"`
		Files []quarantineLine `json:"files"`
	}{total, []quarantineLine{}}
	for _, f := range found {
		out.Files = append(out.Files, lineOf(f))
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineList, Files: len(found)}); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", out)
	return nil
}

// uploadRequest asks for addresses to upload files to.
type uploadRequest struct {
	Clinic string   `json:"clinic"`
	Names  []string `json:"names"`
}

// uploadAnswer holds them, in the order asked.
type uploadAnswer struct {
	Batch     string    `json:"batch"`
	ExpiresAt time.Time `json:"expires_at"`
	Uploads   []upload  `json:"uploads"`
}

type upload struct {
	Name string `json:"name"`
	Key  string `json:"key"`
	URL  string `json:"url"`
}

// apiUploads answers POST /api/uploads: one presigned PUT address into the inbox a name, below a batch of their own, so that
// equal names of two uploads never meet.
func (s *Service) apiUploads(w http.ResponseWriter, r *http.Request) error {
	var req uploadRequest
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&req); err != nil {
		return fault.Wrap(fault.Invalid, "body-invalid", err, `the body should be {"clinic": "…", "names": ["…"]}`)
	}
	if !event.ValidClinic(req.Clinic) {
		return fault.New(fault.Invalid, "clinic-invalid", "the clinic should be 1 to 64 letters, digits, - or _, beginning with a letter or digit")
	}
	if err := s.ofClinic(r, req.Clinic); err != nil {
		return err
	}
	if len(req.Names) == 0 || len(req.Names) > maxUploads {
		return fault.New(fault.Invalid, "names-invalid", "names should hold 1 to %d names; ask again for more", maxUploads)
	}
	at := s.deps.Clock().UTC()
	unique := make([]byte, 6)
	rand.Read(unique) // never fails
	answer := uploadAnswer{Batch: at.Format("20060102T150405") + "-" + hex.EncodeToString(unique), ExpiresAt: at.Add(uploadLife)}
	seen := make(map[string]bool, len(req.Names))
	for n, name := range req.Names {
		if err := checkUploadName(name); err != nil {
			return fmt.Errorf("name %d: %w", n+1, err)
		}
		if seen[name] {
			return fault.New(fault.Invalid, "name-twice", "name %d is there twice; one upload would overwrite the other", n+1)
		}
		seen[name] = true
		key := req.Clinic + "/" + answer.Batch + "/" + name
		address, err := s.deps.Blob.PresignPut(r.Context(), s.deps.Blob.Buckets().Inbox, key, uploadLife)
		if err != nil {
			return err
		}
		answer.Uploads = append(answer.Uploads, upload{Name: name, Key: key, URL: address})
	}
	if err := s.auditedAs(r, record.AuditCreate, record.AuditEntity{Kind: record.EntityUpload, Clinic: req.Clinic, Files: len(answer.Uploads)}); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", answer)
	return nil
}

// checkUploadName accepts relative paths with forward slashes. The name itself is not repeated in the error: it may hold a
// patient's name.
func checkUploadName(name string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "name-invalid", "the name of a file to upload %s; use a relative path such as folder/image.dcm", why)
	}
	switch {
	case name == "" || len(name) > maxUploadName:
		return bad(fmt.Sprintf("should be 1 to %d bytes long", maxUploadName))
	case !utf8.ValidString(name):
		return bad("should be UTF-8")
	case strings.ContainsFunc(name, func(c rune) bool { return unicode.IsControl(c) || c == '\\' }):
		return bad("should hold no control character and no backslash")
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." {
			return bad("should have no empty, . or .. part")
		}
	}
	return nil
}
