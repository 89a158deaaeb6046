package report

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/services/report/web"
)

const (
	// liveEvery is the pause between two looks at the numbers of a stream.
	liveEvery = time.Second
	// whoEvery looks it is asked anew who has the stream: it ends within so many seconds of their session.
	whoEvery = 3
	// heartbeatEvery is how often something is sent at least: proxies end what is quiet for a minute, and pages take a stream that is quiet for some 40 s for lost.
	heartbeatEvery = 15 * time.Second
	// eventTimeout bounds a reader who does not take what is sent.
	eventTimeout = 30 * time.Second
	// linesASecond of the table of clinics are sent at most: of 300 clinics the whole table is some 200 KB.
	linesASecond = 10
)

// tonightEvents answers GET /tonight/events: the parts of the page that change, as server-sent events (WHATWG HTML, 9.2).
//
//	night    HTML of the parts that changed since the last event, each in an element with data-part; of the first event all of them
//	asof     the time of the numbers, after each night and every 15 s
//	trouble  why there are no numbers at the moment, as a sentence
//	over     who asks is signed in no more, or may see something else now; the stream ends
//
// The first event after connecting makes the page right, whatever it missed. It holds numbers alone, no data of patients.
func (s *Service) tonightEvents(w http.ResponseWriter, r *http.Request) error {
	who := askerOf(r.Context())
	leave, refused := s.limits.stream(who)
	if refused != nil {
		return refused
	}
	defer leave()
	of := viewerOf(who)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-transform")
	w.Header().Set("X-Accel-Buffering", "no") // nginx passes each event on at once
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	stream := eventStream{w: w, control: http.NewResponseController(w), zone: s.cfg.Location, sent: map[string]web.LivePart{}, sentAt: map[string]time.Time{}}
	if !stream.patient() {
		return stream.once(s, r, of)
	}
	ticker := time.NewTicker(liveEvery)
	defer ticker.Stop()
	for look := 0; ; look++ {
		if look%whoEvery == 0 && !s.stillThere(r, of) {
			s.reader(stream.send("over", "sign in"))
			return nil
		}
		if err := stream.look(s, r, of); err != nil {
			s.reader(err)
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-s.live.over:
			return nil
		case <-ticker.C:
		}
	}
}

// stillThere tells whether who asks is known as before, and may see the same.
func (s *Service) stillThere(r *http.Request, of viewer) bool {
	who, known, err := s.recognise(r)
	return known && err == nil && viewerOf(who).String() == of.String()
}

// reader tells of a reader who went away, which is no fault of ours.
func (s *Service) reader(err error) {
	if err != nil {
		s.deps.Logger.Debug("a reader of tonight's numbers went away", "error", err)
	}
}

// eventStream is one reader's stream.
type eventStream struct {
	w       io.Writer
	control *http.ResponseController
	zone    *time.Location

	sent   map[string]web.LivePart // by part
	sentAt map[string]time.Time
	last   time.Time // anything
	said   string    // trouble
}

// patient gives what is sent next its time, whatever deadline the server has for answers. false: deadlines cannot be set here.
func (e *eventStream) patient() bool {
	return e.control.SetWriteDeadline(time.Now().Add(eventTimeout)) == nil
}

// once sends what there is to a reader whom nothing would end who does not read: they ask again.
func (e *eventStream) once(s *Service, r *http.Request, of viewer) error {
	s.reader(e.look(s, r, of))
	return nil
}

// look sends what has changed since the last look.
func (e *eventStream) look(s *Service, r *http.Request, of viewer) error {
	frame, err := s.liveFrame(r.Context(), of)
	now := time.Now()
	if err != nil {
		if r.Context().Err() != nil {
			return r.Context().Err()
		}
		if _, _, text := statusOf(err); text != e.said || now.Sub(e.last) >= heartbeatEvery {
			e.said = text
			return e.send("trouble", sentence(text))
		}
		return nil
	}
	var html strings.Builder
	for _, part := range frame.parts {
		if e.sent[part.Name] == part {
			continue
		}
		if wait := time.Duration(len(frame.view.Clinics)) * time.Second / linesASecond; part.Name == web.PartClinics && now.Sub(e.sentAt[part.Name]) < wait {
			continue
		}
		e.sent[part.Name], e.sentAt[part.Name] = part, now
		fmt.Fprintf(&html, "<div data-part=\"%s\">%s</div>\n", part.Name, part.HTML)
	}
	asOf := frame.view.AsOf.In(e.zone).Format("15:04:05")
	switch {
	case html.Len() > 0 || e.said != "":
		e.said = ""
		if html.Len() > 0 {
			if err := e.send("night", html.String()); err != nil {
				return err
			}
		}
		return e.send("asof", asOf)
	case now.Sub(e.last) >= heartbeatEvery:
		return e.send("asof", asOf)
	}
	return nil
}

// send sends an event.
func (e *eventStream) send(event, data string) error {
	var out strings.Builder
	out.WriteString("event: " + event + "\n")
	for line := range strings.Lines(strings.TrimSuffix(data, "\n")) {
		if line = strings.TrimSpace(line); line != "" { // templates leave empty lines and indents, which say nothing in HTML
			out.WriteString("data: " + line + "\n")
		}
	}
	out.WriteString("\n")
	e.patient() // where it cannot be, once is all that is sent
	if _, err := io.WriteString(e.w, out.String()); err != nil {
		return err
	}
	e.last = time.Now()
	return e.control.Flush()
}
