package report

import (
	"net/http"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/export"
)

// exportTimeout bounds asking for exports: listing 100,000 results and publishing as many requests takes some two minutes.
const exportTimeout = 10 * time.Minute

// apiExports answers POST /api/exports?archive=&since=&until=&again=: how many results each archive is to get. Without since, what failed
// is meant; an until that is a date means the end of that day.
func (s *Service) apiExports(w http.ResponseWriter, r *http.Request) error {
	if s.deps.Exports == nil {
		return fault.New(fault.NotFound, "archive-unknown", "no archive is configured that results are sent to; see --export-dicom")
	}
	if err := s.everyClinic(r, "sending results to archives"); err != nil {
		return err
	}
	q := r.URL.Query()
	request := export.Request{Archive: q.Get("archive"), Again: q.Get("again") == "true"}
	if again := q.Get("again"); again != "" && again != "true" && again != "false" {
		return fault.New(fault.Invalid, "export-request", "again should be true or false")
	}
	var err error
	if request.Since, err = s.timeParam(q, "since", false); err != nil {
		return err
	}
	if request.Until, err = s.timeParam(q, "until", true); err != nil {
		return err
	}
	if err := s.auditedAs(r, record.AuditExecute, record.AuditEntity{Kind: record.EntityExport}); err != nil {
		return err
	}
	// Where the deadline cannot be set, the answer may not arrive; what was asked for until then is in the stream.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportTimeout))
	requested, err := s.deps.Exports.Request(r.Context(), request)
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", struct {
		Requested []export.Requested `json:"requested"`
	}{requested})
	return nil
}
