package report

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/services/report/board"
	"github.com/noctua-screening/noctua/services/report/web"
)

// systemFor is the state of the system, without what counts other clinics for those who may see some alone.
func (s *Service) systemFor(ctx context.Context) (st systemState, siteWide bool) {
	st = s.system(ctx)
	if siteWide = askerOf(ctx).clinics.All(); siteWide {
		return st, true
	}
	st.Parts = slices.DeleteFunc(slices.Clone(st.Parts), func(c board.Checked) bool { return c.SiteWide })
	for n := range st.Parts {
		st.Parts[n].Detail = ""
	}
	st.Queue, st.Inbox, st.Disk, st.Models = QueueState{}, inboxState{}, diskState{}, nil
	return st, false
}

func (st systemState) lamp() board.Lamp {
	lamp := board.Green
	for _, p := range st.Parts {
		lamp = board.Worst(lamp, p.Lamp)
	}
	return lamp
}

// systemPage shows how the parts of Noctua are. It has no data of patients, and is not recorded.
func (s *Service) systemPage(w http.ResponseWriter, r *http.Request) error {
	st, siteWide := s.systemFor(r.Context())
	view := web.SystemView{Shell: s.shell(r, "System", "system"), AsOf: st.At, Lamp: string(st.lamp()), SiteWide: siteWide, QueueDown: st.QueueErr != nil}
	view.Headline, view.Detail = st.verdict()
	for _, p := range st.Parts {
		view.Parts = append(view.Parts, web.SystemPart{Name: p.Name, Lamp: string(p.Lamp), State: stateInWord(p.Lamp), Text: p.Text, Detail: p.Detail, Do: p.Do, Since: p.Since})
	}
	// What needs somebody comes first.
	slices.SortStableFunc(view.Parts, func(a, b web.SystemPart) int {
		return board.Compare(board.Lamp(b.Lamp), board.Lamp(a.Lamp))
	})
	for _, v := range st.Versions {
		view.Versions = append(view.Versions, web.Fact{Name: v.Name, Value: v.Version})
	}
	view.Model = s.modelView()
	for _, m := range st.Models {
		view.Models = append(view.Models, web.ModelLine{Name: m.Name, Version: m.Version, Sha256: m.Sha256, InUse: s.deps.System != nil && m.Sha256 == s.deps.System.Card.Manifest.Sha256})
	}
	if siteWide {
		view.Queue = st.queueLines(s.deps.Clock())
	}
	return s.show(w, http.StatusOK, web.System, view)
}

// verdict is all of it in a line, and what to look at.
func (st systemState) verdict() (headline, detail string) {
	var red, yellow []string
	for _, p := range st.Parts {
		switch p.Lamp {
		case board.Red:
			red = append(red, p.Name)
		case board.Yellow:
			yellow = append(yellow, p.Name)
		case board.Green:
		}
	}
	switch {
	case len(red) > 0:
		return "Needs somebody now: " + strings.Join(red, ", "), "What Noctua has taken is safe. What to do stands beside each red lamp."
	case len(yellow) > 0:
		return "Works. Look soon at: " + strings.Join(yellow, ", "), "What to do stands beside each yellow lamp."
	}
	return "Everything works", "All parts answer, and there is room."
}

func stateInWord(l board.Lamp) string {
	switch l {
	case board.Red:
		return "does not work"
	case board.Yellow:
		return "look soon"
	case board.Green:
	}
	return "works"
}

// queueNames are the readers of the queue in words.
var queueNames = map[string]string{
	"inbox": "files in the inbox, to be judged", "ingest": "wake-ups of the intake", SegmentConsumer: "pictures to be segmented", Consumer: "events to be taken into reports", "release": "decisions about files in quarantine",
}

func queueName(name string) string {
	if what, ok := queueNames[name]; ok {
		return what
	}
	if archive, ok := strings.CutPrefix(name, "export-"); ok {
		return "results for the archive " + archive
	}
	if receiver, ok := strings.CutPrefix(name, "receiver-"); ok {
		return "reports for the receiver " + receiver
	}
	return name
}

func (st systemState) queueLines(now time.Time) []web.QueueLine {
	var lines []web.QueueLine
	if st.Inbox.Known {
		line := web.QueueLine{Name: "inbox", What: queueName("inbox"), Waiting: strconv.Itoa(st.Inbox.Waiting), InProgress: "–", Oldest: ageInWords(now, st.Inbox.Oldest)}
		if st.Inbox.More {
			line.Waiting = "more than " + line.Waiting
		}
		lines = append(lines, line)
	}
	for _, c := range st.Queue.Consumers {
		lines = append(lines, web.QueueLine{Name: c.Name, What: queueName(c.Name), Waiting: strconv.Itoa(c.Waiting), InProgress: strconv.Itoa(c.InProgress), Redelivered: c.Redelivered, Oldest: ageInWords(now, c.Oldest)})
	}
	return lines
}

// ageInWords is for how long something waits.
func ageInWords(now, from time.Time) string {
	if from.IsZero() {
		return ""
	}
	age := max(0, now.Sub(from))
	switch {
	case age < time.Minute:
		return fmt.Sprintf("%d s", int(age.Seconds()))
	case age < time.Hour:
		return fmt.Sprintf("%d min", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(age.Hours()), int(age.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(age.Hours()/24))
}

// useSection is where a model card says what the model is for (training/, export).
var useSection = regexp.MustCompile(`(?ms)^## Use\s*\n+(.+?)\n\s*\n?(?:^## |\z)`)

func (s *Service) modelView() web.ModelView {
	if s.deps.System == nil || s.deps.System.Card.Manifest.Sha256 == "" {
		return web.ModelView{}
	}
	card := s.deps.System.Card
	m := card.Manifest
	view := web.ModelView{Known: true, Name: m.Name, Version: m.Version, Sha256: m.Sha256, Text: card.Text}
	if found := useSection.FindStringSubmatch(card.Text); found != nil {
		view.Use = strings.Join(strings.Fields(found[1]), " ")
	}
	view.Facts = []web.Fact{{Name: "Licence", Value: m.Licence}, {Name: "Finds", Value: strings.Join(m.Output.Classes[1:], ", ")}, {Name: "Vessel from probability", Value: strconv.FormatFloat(m.Threshold, 'g', -1, 64)},
		{Name: "Input", Value: fmt.Sprintf("%d × %d px", m.Input.WidthPx, m.Input.HeightPx)}}
	if m.Architecture != "" {
		view.Facts = append(view.Facts, web.Fact{Name: "Network", Value: m.Architecture})
	}
	if m.Parameters != nil {
		view.Facts = append(view.Facts, web.Fact{Name: "Weights", Value: thousands(*m.Parameters)})
	}
	for _, t := range m.TrainingData {
		view.Training = append(view.Training, web.TrainingLine{Name: t.Name, Split: t.Split, Licence: t.Licence, Images: t.Images})
	}
	for _, f := range m.Metrics {
		view.Figures = append(view.Figures, web.FigureLine{Set: f.Set, Name: f.Name, Value: strconv.FormatFloat(f.Value, 'f', 4, 64), Protocol: f.Protocol})
	}
	return view
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// systemDocument is the answer of /api/system.
type systemDocument struct {
	CheckedAt   time.Time      `json:"checked_at"`
	Lamp        board.Lamp     `json:"lamp"`
	Ready       bool           `json:"ready"`
	Parts       []partDocument `json:"parts"`
	Model       *modelDocument `json:"model,omitempty"`
	Models      []modelInIndex `json:"models,omitempty"`
	Versions    []Version      `json:"versions"`
	Inbox       *inboxDocument `json:"inbox,omitempty"`
	Queue       []lineDocument `json:"queue,omitempty"`
	DeadLetters *deadDocument  `json:"dead_letters,omitempty"`
	Storage     *diskDocument  `json:"storage,omitempty"`
}

type partDocument struct {
	Name   string     `json:"name"`
	Lamp   board.Lamp `json:"lamp"`
	Text   string     `json:"text"`
	Detail string     `json:"detail,omitempty"`
	Do     string     `json:"do,omitempty"`
	Since  time.Time  `json:"since"`
}

type modelDocument struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Sha256  string `json:"sha256"`
	Use     string `json:"use,omitempty"`
	Licence string `json:"licence"`
}

type modelInIndex struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Sha256  string `json:"sha256"`
	InUse   bool   `json:"in_use"`
}

type inboxDocument struct {
	Waiting  int       `json:"waiting"`
	More     bool      `json:"more"`
	OldestAt time.Time `json:"oldest_at,omitzero"`
}

type lineDocument struct {
	Consumer    string    `json:"consumer"`
	Waiting     int       `json:"waiting"`
	InProgress  int       `json:"in_progress"`
	Redelivered int       `json:"redelivered"`
	OldestAt    time.Time `json:"oldest_at,omitzero"`
}

type deadDocument struct {
	Count    int       `json:"count"`
	NewestAt time.Time `json:"newest_at,omitzero"`
}

type diskDocument struct {
	FreeBytes  uint64  `json:"free_bytes"`
	TotalBytes uint64  `json:"total_bytes"`
	NightsLeft float64 `json:"nights_left,omitempty"`
}

// apiSystem answers GET /api/system: what the System page shows.
func (s *Service) apiSystem(w http.ResponseWriter, r *http.Request) error {
	st, siteWide := s.systemFor(r.Context())
	out := systemDocument{CheckedAt: st.At.UTC(), Lamp: st.lamp(), Ready: st.Ready, Parts: []partDocument{}, Versions: st.Versions}
	for _, p := range st.Parts {
		out.Parts = append(out.Parts, partDocument{p.Name, p.Lamp, p.Text, p.Detail, p.Do, p.Since.UTC()})
	}
	if m := s.modelView(); m.Known {
		out.Model = &modelDocument{m.Name, m.Version, m.Sha256, m.Use, s.deps.System.Card.Manifest.Licence}
	}
	for _, m := range st.Models {
		out.Models = append(out.Models, modelInIndex{m.Name, m.Version, m.Sha256, out.Model != nil && m.Sha256 == out.Model.Sha256})
	}
	if siteWide && st.Inbox.Known {
		out.Inbox = &inboxDocument{st.Inbox.Waiting, st.Inbox.More, st.Inbox.Oldest}
	}
	if siteWide && st.QueueErr == nil {
		for _, c := range st.Queue.Consumers {
			out.Queue = append(out.Queue, lineDocument{c.Name, c.Waiting, c.InProgress, c.Redelivered, c.Oldest})
		}
		out.DeadLetters = &deadDocument{st.Queue.Dead, st.Queue.DeadNewest}
	}
	if siteWide && st.Disk.Known {
		out.Storage = &diskDocument{st.Disk.Free, st.Disk.Total, st.Disk.Nights}
	}
	s.writeJSON(w, http.StatusOK, "application/json", out)
	return nil
}
