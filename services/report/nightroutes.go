package report

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	parquetType = "application/vnd.apache.parquet"
	// nightsShown is how many days are listed where nothing else is asked for.
	nightsShown = 31
	// maxNights bounds an answer.
	maxNights = 1000
)

// nightLine is a night in the list.
type nightLine struct {
	Night   string `json:"night"`
	Clinic  string `json:"clinic"`
	Version int    `json:"version"`
	CSV     string `json:"csv"`
	Parquet string `json:"parquet"`
	About   string `json:"about"`
}

// apiNights answers GET /api/nights[?from=&to=]: the nights that have tables, newest version each, the last first. from and to are the dates on
// which nights began; without from, those of a month.
func (s *Service) apiNights(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	from, to := q.Get("from"), q.Get("to")
	for name, text := range map[string]string{"from": from, "to": to} {
		if _, err := time.Parse(time.DateOnly, text); text != "" && err != nil {
			return fault.New(fault.Invalid, "night-invalid", "%s should be the date on which a night began, e.g. 2026-11-25", name)
		}
	}
	if from == "" {
		from = s.night().AddDate(0, 0, -nightsShown).Format(time.DateOnly)
	}
	versions, err := s.nightVersions(r.Context(), nightsPrefix)
	if err != nil {
		return err
	}
	out := struct {
		Nights []nightLine `json:"nights"`
	}{[]nightLine{}}
	clinics := askerOf(r.Context()).clinics
	for i := len(versions) - 1; i >= 0 && len(out.Nights) < maxNights; i-- {
		v := versions[i]
		if v.night < from || to != "" && v.night > to || !clinics.Has(v.clinic) {
			continue
		}
		link := func(file string) string {
			return fmt.Sprintf("/api/nights/%s/%s/%s?version=%d", v.night, v.clinic, file, v.version)
		}
		out.Nights = append(out.Nights, nightLine{v.night, v.clinic, v.version, link(nightCSV), link(nightParquet), link(nightDocument)})
	}
	s.writeJSON(w, http.StatusOK, "application/json", out)
	return nil
}

var datePattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

// apiNight answers GET /api/nights/{night}/{clinic}/{measures.csv|measures.parquet|night.json}[?version=]: a file of a night's tables.
func (s *Service) apiNight(w http.ResponseWriter, r *http.Request) error {
	nothing := fault.New(fault.NotFound, "night-missing", "there are no tables of that night and clinic; they are written when the night is over")
	v := nightVersion{night: r.PathValue("night"), clinic: r.PathValue("clinic")}
	file := r.PathValue("file")
	mediaType := map[string]string{nightCSV: "text/csv; charset=utf-8", nightParquet: parquetType, nightDocument: "application/json"}[file]
	if mediaType == "" || !datePattern.MatchString(v.night) || !askerOf(r.Context()).clinics.Has(v.clinic) {
		return nothing
	}
	wanted, err := intParam(r.URL.Query(), "version", 0, 1, 1<<19)
	if err != nil {
		return err
	}
	began, err := time.ParseInLocation(time.DateOnly, v.night, s.cfg.Location)
	if err != nil {
		return nothing
	}
	versions, err := s.nightVersions(r.Context(), clinicNight{v.clinic, began}.prefix())
	if err != nil {
		return err
	}
	if len(versions) == 0 || wanted > versions[0].version {
		return nothing
	}
	if v.version = versions[0].version; wanted > 0 {
		v.version = wanted
	}
	about, err := readDocument[record.Night](r.Context(), s.deps.Blob, s.deps.Blob.Buckets().Reports, v.key(nightDocument), record.NightSchema)
	if fault.Is(err, fault.NotFound) {
		return nothing // a version that broke off
	}
	if err != nil {
		return err
	}
	body, info, err := s.deps.Blob.Get(r.Context(), s.deps.Blob.Buckets().Reports, v.key(file))
	if fault.Is(err, fault.NotFound) {
		return nothing
	}
	if err != nil {
		return fmt.Errorf("reading the tables of a night: %w", err)
	}
	defer func() { _ = body.Close() }() // what was read is what counts
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityReportList, Clinic: v.clinic, Resource: v.key(file), Files: about.Reports}); err != nil {
		return err
	}
	// A version never changes.
	if notModified(w, r, fmt.Sprintf(`"%s-%s-%d-%s"`, v.night, v.clinic, v.version, file), time.Time{}) {
		return nil
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="noctua-%s-%s-v%d-%s"`, v.night, v.clinic, v.version, file))
	if info.Size > 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	}
	w.WriteHeader(http.StatusOK)
	if _, err := io.Copy(w, body); err != nil {
		s.deps.Logger.Debug("a reader went away, or the store did", "error", err)
	}
	return nil
}
