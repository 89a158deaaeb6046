package report

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"time"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

// bulkManifest answers GET /fhir/$bulk-publish[?night=yyyy-mm-dd]: the manifest of a night, the last one if none is named. It has the
// newest sets of the clinics of which whoever asks may read reports.
func (s *Service) bulkManifest(w http.ResponseWriter, r *http.Request) error {
	night := r.URL.Query().Get("night")
	if _, err := time.Parse(time.DateOnly, night); night != "" && err != nil {
		return fault.New(fault.Invalid, "night-invalid", "night should be the date on which the night began, such as 2026-11-23")
	}
	night, sets, err := s.publishedSets(r.Context(), night, askerOf(r.Context()).clinics.Has)
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return fault.New(fault.NotFound, "night-missing", "no such night is published; a night is when it is over and its reports are final")
	}
	out := fhir.Manifest{Request: s.baseURL(r) + "/fhir/$bulk-publish?night=" + night, RequiresAccessToken: true, Output: []fhir.ManifestFile{}, Error: []fhir.ManifestFile{},
		Extension: &fhir.ManifestDetails{Night: night}}
	begin, err := time.ParseInLocation(time.DateOnly, night, s.cfg.Location)
	if err != nil {
		return fmt.Errorf("reading a night: %w", err)
	}
	etag := ""
	for _, clinic := range sortedClinics(sets) {
		set, version := bulkSet{night: begin, clinic: clinic}, sets[clinic]
		manifest, err := s.readManifest(r.Context(), set, version)
		if err != nil {
			return err
		}
		// Instants of one zone and form are ordered as texts.
		out.TransactionTime = max(out.TransactionTime, manifest.TransactionTime)
		for _, f := range manifest.Output {
			f.URL = fmt.Sprintf("%s/fhir/nights/%s/%s/v%d/%s", s.baseURL(r), night, clinic, version, path.Base(f.URL))
			f.Extension = &fhir.ManifestDetails{Clinic: clinic, Version: version}
			out.Output = append(out.Output, f)
		}
		etag += clinic + ":" + strconv.Itoa(version) + " "
	}
	if notModified(w, r, `W/"`+hashHex([]byte(night + " " + etag))[:idDigits]+`"`, time.Time{}) {
		return nil
	}
	s.writeJSON(w, http.StatusOK, "application/json", out)
	return nil
}

// idDigits of a hash make a tag.
const idDigits = 32

// bulkFilePattern is that of the names of files of a set.
var bulkFilePattern = regexp.MustCompile(`^[A-Za-z]+-[0-9]{4,}\.ndjson$`)

// bulkFile answers GET /fhir/nights/{night}/{clinic}/{version}/{file}: resources, one a line.
func (s *Service) bulkFile(w http.ResponseWriter, r *http.Request) error {
	missing := fault.New(fault.NotFound, "not-found", "there is no such file")
	night, clinic, file := r.PathValue("night"), r.PathValue("clinic"), r.PathValue("file")
	begin, err := time.ParseInLocation(time.DateOnly, night, s.cfg.Location)
	version, ok := parseSetVersion(r.PathValue("version"))
	if err != nil || !ok || !event.ValidClinic(clinic) || !askerOf(r.Context()).clinics.Has(clinic) || !bulkFilePattern.MatchString(file) {
		return missing
	}
	set := bulkSet{night: begin, clinic: clinic}
	// A set without a manifest is not there.
	if _, err := s.readManifest(r.Context(), set, version); err != nil {
		if fault.Is(err, fault.NotFound) {
			return missing
		}
		return err
	}
	key := set.prefix() + r.PathValue("version") + "/" + file
	body, info, err := s.deps.Blob.Get(r.Context(), s.deps.Blob.Buckets().Reports, key)
	if fault.Is(err, fault.NotFound) {
		return missing
	}
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityResource, Resource: key, Clinic: clinic}); err != nil {
		return err
	}
	if notModified(w, r, `"`+hashHex([]byte(key))[:idDigits]+`"`, time.Time{}) { // never changes
		return nil
	}
	w.Header().Set("Content-Type", ndjsonMedia)
	if info.Size > 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	}
	// A night is larger than a page: it has the time that it takes, as long as it is read.
	if _, err := io.Copy(extending(w), body); err != nil {
		s.deps.Logger.Debug("a reader of a night went away", "error", err)
	}
	return nil
}

// extendingWriter gives each piece its time.
type extendingWriter struct {
	io.Writer
	control *http.ResponseController
}

func extending(w http.ResponseWriter) extendingWriter {
	return extendingWriter{Writer: w, control: http.NewResponseController(w)}
}

func (e extendingWriter) Write(raw []byte) (int, error) {
	// Where a deadline cannot be set, the connection is gone, and the write shows it.
	_ = e.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return e.Writer.Write(raw)
}
