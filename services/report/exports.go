package report

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/export"
)

// exportTimeout bounds asking for exports: listing 100,000 results and publishing as many requests takes some two minutes.
const exportTimeout = 10 * time.Minute

// partners are all that something is sent to.
func (s *Service) partners() (all []exports) {
	for _, p := range []exports{s.deps.Exports, s.deps.Deliveries} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// partnerStatus counts what was sent to archives and receivers.
func (s *Service) partnerStatus(ctx context.Context) (all []record.ExportStatus, err error) {
	for _, p := range s.partners() {
		some, err := p.Status(ctx)
		if err != nil {
			return nil, fmt.Errorf("counting what was sent to archives and receivers: %w", err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// request asks for what should be sent again, of archives and receivers. One that is named is one of either.
func (s *Service) request(ctx context.Context, r export.Request) (all []export.Requested, err error) {
	for _, p := range s.partners() {
		some, err := p.Request(ctx, r)
		if r.Archive != "" && fault.CodeOf(err) == "archive-unknown" {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.NotFound, "archive-unknown", "there is no such archive or receiver; see --export-dicom, --hl7 and --webhook")
	}
	return all, nil
}

// apiExports answers POST /api/exports?archive=&since=&until=&again=: how many results each archive is to get, and how many versions of reports
// each receiver. Without since, what failed is meant; an until that is a date means the end of that day.
func (s *Service) apiExports(w http.ResponseWriter, r *http.Request) error {
	if len(s.partners()) == 0 {
		return fault.New(fault.NotFound, "archive-unknown", "no archive or receiver is configured that anything is sent to; see --export-dicom, --hl7 and --webhook")
	}
	if err := s.everyClinic(r, "sending to archives and receivers"); err != nil {
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
	requested, err := s.request(r.Context(), request)
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", struct {
		Requested []export.Requested `json:"requested"`
	}{requested})
	return nil
}
