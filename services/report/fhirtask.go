package report

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// taskStatus is the status of the Task of a file in quarantine, by the file's state.
var taskStatus = map[quarantine.State]string{
	quarantine.Open: fhir.TaskRequested, quarantine.Releasing: fhir.TaskInProgress, quarantine.Released: fhir.TaskCompleted, quarantine.Discarded: fhir.TaskCancelled,
}

// taskVersions is how many versions the Task of a file has: one a document about it.
func taskVersions(h quarantine.History) int {
	n := 1
	for _, step := range h.Steps {
		if n++; step.Release != nil {
			n++
		}
	}
	return n
}

// taskOf is the Task of a file as it was when so many documents were about it.
func taskOf(h quarantine.History, version int) fhir.Task {
	then := quarantine.History{Key: h.Key, Document: h.Document}
	q := fhir.Quarantined{Key: h.Key, Document: h.Document, Version: 1, At: h.Document.ReceivedAt}
	for _, step := range h.Steps {
		if q.Version == version {
			break
		}
		d := step.Decision
		q.Version, q.At = q.Version+1, d.DecidedAt
		q.Notes = append(q.Notes, fhir.TaskNote{AuthorString: d.By, Time: fhir.Instant(d.DecidedAt), Text: string(d.Action) + ": " + d.Reason})
		then.Steps = append(then.Steps, quarantine.Step{Decision: d})
		if r := step.Release; r != nil && q.Version < version {
			q.Version, q.At = q.Version+1, r.FinishedAt
			then.Steps[len(then.Steps)-1] = step
			if r.Reason != "" {
				q.Notes = append(q.Notes, fhir.TaskNote{Time: fhir.Instant(r.FinishedAt), Text: string(r.Result) + ": " + r.Reason})
			}
		}
	}
	finding := then.Finding()
	q.Status, q.Code, q.Reason, q.Action = taskStatus[then.State()], finding.Code, finding.Reason, finding.Action
	return fhir.ConvertTask(q)
}

// fhirTask answers GET /fhir/Task/{id}: a file in quarantine.
func (s *Service) fhirTask(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	version, err := versionOf(r, "Task")
	if err != nil {
		return err
	}
	sha := fhir.ShaOfTask(id)
	if sha == "" {
		return notThere("Task")
	}
	// The same bytes may have come again, on another day or at another clinic.
	found, err := s.deps.Store.SearchRejected(r.Context(), store.RejectedQuery{Clinics: clinicsOf(r.Context()), Sha256: []string{sha}, Limit: maxCount})
	if err != nil {
		return err
	}
	for _, f := range found {
		h := f.History()
		newest := taskVersions(h)
		if fhir.TaskID(h.Key) != id || version > newest {
			continue
		}
		if version == 0 {
			version = newest
		}
		task := taskOf(h, version)
		at := h.Document.ReceivedAt
		if parsed, err := time.Parse(time.RFC3339Nano, task.LastModified); err == nil {
			at = parsed
		}
		return s.answerRead(w, r, record.AuditEntity{Kind: record.EntityQuarantineFile, QuarantineKey: h.Key}, "Task/"+id, strconv.Itoa(version), at, task)
	}
	return notThere("Task")
}

// fhirSearchTasks answers GET /fhir/Task: files in quarantine, in the order in which they came.
func (s *Service) fhirSearchTasks(w http.ResponseWriter, r *http.Request) error {
	asked, err := searchOf(r, "Task")
	if err != nil {
		return err
	}
	query := store.RejectedQuery{Clinics: clinicsOf(r.Context()), Descending: strings.HasPrefix(asked.q.Get("_sort"), "-"), Limit: asked.limit + 1}
	ids, err := s.taskQuery(asked, &query)
	if err != nil {
		return err
	}
	p := s.newResults(r, asked)
	var total *int
	if asked.wantsTotal() {
		n, err := s.deps.Store.CountRejected(r.Context(), query)
		if err != nil {
			return err
		}
		total = &n
	}
	if text := asked.q.Get("_cursor"); text != "" {
		at, err := decodePlace(text)
		if err != nil {
			return err
		}
		query.After = &store.RejectedPosition{ReceivedMs: at.Ms, DocumentKey: at.Key}
	}
	next := ""
	if !asked.countOnly {
		found, err := s.deps.Store.SearchRejected(r.Context(), query)
		if err != nil {
			return err
		}
		if len(found) > asked.limit {
			found = found[:asked.limit]
			at := store.RejectedPositionOf(found[asked.limit-1])
			next = place{Ms: at.ReceivedMs, Key: at.DocumentKey}.encode()
		}
		for _, f := range found {
			h := f.History()
			if task := taskOf(h, taskVersions(h)); ids == nil || ids[task.ID] {
				p.match("Task/"+task.ID, task)
			}
		}
	}
	return s.answerSearch(w, r, p, total, next)
}

// taskQuery reads the parameters of a search of Tasks, and returns the ids that are asked for; nil: any.
func (s *Service) taskQuery(asked *search, query *store.RejectedQuery) (ids map[string]bool, err error) {
	if given := asked.ids(); given != nil {
		ids = map[string]bool{}
		query.Sha256 = []string{nothing}
		for _, id := range given {
			ids[id] = true
			if sha := fhir.ShaOfTask(id); sha != "" {
				query.Sha256 = append(query.Sha256, sha)
			}
		}
	}
	for _, name := range []string{"status", "code", "identifier"} {
		if len(asked.q[name]) > 1 {
			return nil, fault.New(fault.Invalid, "parameter-twice", "%s should be given once, with commas between alternatives", name)
		}
	}
	if given := asked.q["status"]; given != nil {
		query.States = []quarantine.State{nothing}
		for _, status := range tokens(given[0]) {
			for state, of := range taskStatus {
				if of == status {
					query.States = append(query.States, state)
				}
			}
		}
	}
	if given := asked.q["code"]; given != nil {
		codes := []string{nothing}
		for _, token := range values(given[0]) {
			// The code that every Task has is no restriction; the other one is the reason.
			if fhir.HasCode([]fhir.Concept{fhir.TaskCode()}, token) {
				codes = nil
				break
			}
			if system, code, ok := strings.Cut(token, "|"); !ok {
				codes = append(codes, token)
			} else if system == fhir.ReasonsSystem {
				codes = append(codes, code)
			}
		}
		query.Codes = codes
	}
	if given := asked.q["identifier"]; given != nil {
		query.DocumentKeys = []string{nothing}
		for _, token := range values(given[0]) {
			system, value, ok := strings.Cut(token, "|")
			if !ok {
				value = token
			} else if system != fhir.QuarantineSystem {
				continue
			}
			query.DocumentKeys = append(query.DocumentKeys, value+documentSuffix)
		}
	}
	query.Received, query.NotReceived, err = s.timeSpans(asked.q, "authored-on")
	return ids, err
}
