package report

import (
	"net/http"
	"time"

	"github.com/noctua-screening/noctua/services/report/store"
	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	recentReports = 8
	// nightBegins is the hour at which the day's numbers begin anew: clinics photograph by day, Noctua works by night.
	nightBegins = 12
)

// night is when the night that is going on, or the last one, began.
func (s *Service) night() time.Time { return nightOf(s.deps.Clock(), s.cfg.Location) }

func (s *Service) tonightPage(w http.ResponseWriter, r *http.Request) error {
	frame, err := s.liveFrame(r.Context(), viewerOf(askerOf(r.Context())))
	if err != nil {
		if r.Context().Err() != nil {
			return err
		}
		s.deps.Logger.Error("tonight's numbers could not be counted", "error", err)
		frame.view = cannotCount(err, s.deps.Clock())
		if frame.parts, err = s.pages.LiveParts(frame.view); err != nil {
			return err
		}
	}
	night := s.night()
	view := web.TonightView{Shell: s.shell(r, "Tonight", web.Tonight), Since: night, Live: frame.view, Parts: frame.parts}
	before, err := s.deps.Store.LastBefore(r.Context(), clinicsOf(r.Context()), night)
	if err != nil {
		return err
	}
	if !before.IsZero() {
		last := nightOf(before, s.cfg.Location)
		view.LastNight, view.LastDay = nightAddress(last), last.Format(nightName)
	}
	if view.People, err = s.peopleTonight(r); err != nil {
		return err
	}
	return s.show(w, http.StatusOK, web.Tonight, view)
}

func (s *Service) line(r *http.Request, found store.Report) (web.PatientLine, error) {
	doc, err := s.documentOf(r.Context(), found)
	if err != nil {
		return web.PatientLine{}, err
	}
	return patientLine(doc, found.UpdatedAt), nil
}
