package report

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/web"
)

const filesPerPage = 50

func (s *Service) quarantinePage(w http.ResponseWriter, r *http.Request) error {
	return s.showQuarantine(w, r, http.StatusOK, nil, form{})
}

// showQuarantine shows the files that need a person, why decisions about some were refused, and what was
// entered for them.
func (s *Service) showQuarantine(w http.ResponseWriter, r *http.Request, status int, problems []string, entered form) error {
	offset, err := intParam(r.URL.Query(), "from", 0, 0, 1<<30)
	if err != nil {
		return err
	}
	found, total, err := s.deps.Store.FindRejected(r.Context(), clinicsOf(r.Context()), quarantine.Open, time.Time{}, filesPerPage, offset)
	if err != nil {
		return err
	}
	view := web.QuarantineView{Shell: s.shell(r, "Quarantine", web.Quarantine), Total: total, From: offset + 1, To: offset + len(found), Problems: problems, Entered: entered.view()}
	groups := map[string]int{}
	for _, f := range found {
		line := quarantinedLine(f)
		view.AskClinic = view.AskClinic || f.History().Correctable().Clinic
		line.Chosen = slices.Contains(entered.ids, line.ID)
		view.Lines = append(view.Lines, line)
		if at, ok := groups[line.Code]; ok {
			view.Groups[at].Count++
		} else {
			groups[line.Code] = len(view.Groups)
			view.Groups = append(view.Groups, web.Group{Code: line.Code, Count: 1})
		}
	}
	view.PreviousLink, view.NextLink = pageLinks(offset, len(found), total, filesPerPage, func(at int) string { return fmt.Sprintf("/quarantine?from=%d", at) })
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineList, Files: len(found)}); err != nil {
		return err
	}
	return s.show(w, status, web.Quarantine, view)
}

func sizeInWords(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}
