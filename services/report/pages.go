package report

import (
	"bytes"
	"io/fs"
	"log/slog"
	"net/http"
	"path"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/report/web"
)

// shell is what surrounds a page for who asks.
func (s *Service) shell(r *http.Request, title, active string) web.Shell {
	who := askerOf(r.Context())
	v := web.Shell{Title: title, Active: active, SignedIn: who.Via != access.ViaNone && who.Via != "", Software: s.cfg.Version, Person: who.Name,
		MayOperate: !who.Principal.Clinics(access.Operate, access.AllResources).None()}
	for _, g := range who.Grants {
		v.Scopes = append(v.Scopes, g.String())
	}
	return v
}

// show sends a page. The page is made first, so that an error is still an error.
func (s *Service) show(w http.ResponseWriter, status int, page string, view any) error {
	var out bytes.Buffer
	if err := s.pages.Render(&out, page, view); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	s.send(w, out.Bytes())
	return nil
}

func (s *Service) showError(w http.ResponseWriter, r *http.Request, status int, text string) {
	if err := s.show(w, status, web.Failed, web.FailedView{Shell: s.shell(r, "Error", ""), Status: status, Text: text}); err != nil {
		s.deps.Logger.Error("the error page failed", slog.Any("error", err))
		http.Error(w, text, status)
	}
}

func (s *Service) static(w http.ResponseWriter, r *http.Request) error {
	files, err := web.Static()
	if err != nil {
		return err
	}
	name := r.PathValue("file")
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		return fault.New(fault.NotFound, "not-found", "there is no such file")
	}
	mediaType := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)]
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-cache")
	s.send(w, raw)
	return nil
}

func pageLinks(offset, shown, total, size int, link func(int) string) (previous, next string) {
	if offset > 0 {
		previous = link(max(0, offset-size))
	}
	if offset+shown < total {
		next = link(offset + shown)
	}
	return previous, next
}
