package report

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	// maxRulings files are decided about in one request: a page of them.
	maxRulings = 200
	// minQuarantineID is the shortest part of a file's hash that names it.
	minQuarantineID = 6
)

// quarantineID names a file in quarantine for people: clinic, day and the first digits of its hash. Any prefix with at least
// minQuarantineID digits, or the whole key, names it as well.
func quarantineID(key string) string {
	const digits = 12
	cut := strings.LastIndexByte(key, '/') + 1
	return key[:min(len(key), cut+digits)]
}

// findQuarantined finds the file that an id names.
func (s *Service) findQuarantined(ctx context.Context, id string) (store.Rejected, error) {
	parts := strings.Split(id, "/")
	if len(parts) != 3 || len(parts[2]) < minQuarantineID {
		return store.Rejected{}, fault.New(fault.Invalid, "id-invalid", "the id of a file in quarantine looks like north/2026-11-23/0123456789ab; `noctua quarantine list` shows it")
	}
	if !askerOf(ctx).clinics.Has(parts[0]) {
		return store.Rejected{}, fault.New(fault.NotFound, "not-indexed", "there is no such file in quarantine")
	}
	return s.deps.Store.RejectedBy(ctx, parts[0], id)
}

// ruling is what a person wants done with files in quarantine.
type ruling struct {
	IDs        []string           `json:"ids"`
	Correction *record.Correction `json:"correction,omitempty"`
	By         string             `json:"by"`
	Reason     string             `json:"reason"`
}

// ruled is what came of it for one file.
type ruled struct {
	ID    string           `json:"id"`
	State quarantine.State `json:"state,omitempty"`
	Error *ruledError      `json:"error,omitempty"`
}

type ruledError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// rule decides about one file: decision document, event, index, in this order. Asking twice is asking once; after a crash between
// the steps, asking again or reconciliation completes them.
func (s *Service) rule(req *http.Request, id string, action record.DecisionAction, r ruling) (quarantine.State, error) {
	ctx := req.Context()
	found, err := s.findQuarantined(ctx, id)
	if err != nil {
		return "", err
	}
	name := s.deps.Blob.Buckets().Quarantine
	history, err := quarantine.Load(ctx, s.deps.Blob, name, found.History().Key)
	if err != nil {
		return "", err
	}
	decision, done, err := history.Decide(record.Decision{Action: action, Correction: r.Correction, By: strings.TrimSpace(r.By), Reason: strings.TrimSpace(r.Reason), DecidedAt: s.deps.Clock()})
	if err != nil {
		return "", err
	}
	entity := record.AuditEntity{Kind: record.EntityDecision, QuarantineKey: history.Key, Clinic: decision.Clinic, Code: string(action)}
	if err := s.auditedAs(req, record.AuditUpdate, entity); err != nil {
		return "", err
	}
	at := blob.QuarantineDocument{Key: history.Key, Kind: blob.QuarantineDecision, Number: decision.Number}.DocumentKey()
	if !done {
		raw, err := record.Encode(record.DecisionSchema, decision)
		if err != nil {
			return "", err
		}
		err = s.deps.Blob.PutBytes(ctx, name, at, raw, blob.PutOptions{ContentType: "application/json", IfNoneMatch: true})
		if fault.Is(err, fault.Conflict) {
			return "", fault.New(fault.Conflict, "decided-meanwhile", "somebody else decided about this file at the same moment; look at it again")
		}
		if err != nil {
			return "", fmt.Errorf("writing a decision: %w", err)
		}
	}
	e, err := event.New(event.TypeQuarantineDecided, event.ID(event.TypeQuarantineDecided, history.Document.ReceiptID, fmt.Sprint(decision.Number)), decision.Clinic, s.deps.Clock(),
		event.QuarantineDecided{QuarantineKey: history.Key, Number: decision.Number})
	if err != nil {
		return "", err
	}
	if err := s.deps.Queue.Publish(ctx, e); err != nil {
		return "", fmt.Errorf("telling of a decision: %w", err)
	}
	if err := s.index(ctx, store.KindRuling, at, false); err != nil {
		return "", err
	}
	s.poke()
	if found, err = s.findQuarantined(ctx, history.Key); err != nil {
		return "", err
	}
	s.deps.Logger.Info("a person decided about a file in quarantine", "receipt", history.Document.ReceiptID, "action", string(action), "number", decision.Number)
	return found.State, nil
}

// ruleAll decides about each file by itself: one that cannot be decided about does not hold up the others. Who decides for another clinic
// has to be in charge there, too.
func (s *Service) ruleAll(req *http.Request, action record.DecisionAction, r ruling) ([]ruled, error) {
	if len(r.IDs) == 0 || len(r.IDs) > maxRulings {
		return nil, fault.New(fault.Invalid, "ids-invalid", "choose 1 to %d files", maxRulings)
	}
	if r.Correction != nil && r.Correction.Clinic != "" {
		if err := s.ofClinic(req, r.Correction.Clinic); err != nil {
			return nil, err
		}
	}
	results := make([]ruled, 0, len(r.IDs))
	for _, id := range r.IDs {
		state, err := s.rule(req, id, action, r)
		if fault.Interrupted(err) {
			return nil, err
		}
		result := ruled{ID: id, State: state}
		if err != nil {
			_, code, text := statusOf(err)
			result.Error = &ruledError{Code: code, Message: text}
		}
		results = append(results, result)
	}
	return results, nil
}

// apiRule answers POST /api/quarantine/release and …/discard: a result a file, in the order asked.
func (s *Service) apiRule(action record.DecisionAction) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, req *http.Request) error {
		var r ruling
		decoder := json.NewDecoder(req.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&r); err != nil {
			return fault.Wrap(fault.Invalid, "body-invalid", err, `the body should be {"ids": ["…"], "by": "…", "reason": "…", "correction": {"laterality": "R"}}`)
		}
		results, err := s.ruleAll(req, action, r)
		if err != nil {
			return err
		}
		s.writeJSON(w, http.StatusOK, "application/json", map[string][]ruled{"files": results})
		return nil
	}
}

// quarantineLine is a file in quarantine as the API shows it. Code, reason and action are of the last attempt to let it in.
type quarantineLine struct {
	ID            string           `json:"id"`
	QuarantineKey string           `json:"quarantine_key"`
	State         quarantine.State `json:"state"`
	record.Quarantine
	History []historyLine `json:"history,omitempty"`
}

// historyLine is a decision and what became of it.
type historyLine struct {
	Action     record.DecisionAction `json:"action"`
	Correction *record.Correction    `json:"correction,omitempty"`
	By         string                `json:"by"`
	Reason     string                `json:"reason"`
	At         time.Time             `json:"at"`
	Result     record.ReleaseResult  `json:"result,omitempty"`
	Code       string                `json:"code,omitempty"`
}

func lineOf(r store.Rejected) quarantineLine {
	h := r.History()
	line := quarantineLine{ID: quarantineID(h.Key), QuarantineKey: h.Key, State: r.State, Quarantine: r.Document}
	finding := h.Finding()
	line.Code, line.Reason, line.Action = finding.Code, finding.Reason, finding.Action
	for _, step := range r.Steps {
		d := step.Decision
		l := historyLine{Action: d.Action, Correction: d.Correction, By: d.By, Reason: d.Reason, At: d.DecidedAt}
		if step.Release != nil {
			l.Result, l.Code = step.Release.Result, step.Release.Code
		}
		line.History = append(line.History, l)
	}
	return line
}

// apiQuarantined answers GET /api/quarantine/{clinic}/{day}/{id}.
func (s *Service) apiQuarantined(w http.ResponseWriter, r *http.Request) error {
	found, err := s.findQuarantined(r.Context(), pathID(r))
	if err == nil {
		err = s.audited(r, record.AuditEntity{Kind: record.EntityQuarantineFile, QuarantineKey: found.History().Key})
	}
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", lineOf(found))
	return nil
}

// pathID is the id in an address.
func pathID(r *http.Request) string {
	return r.PathValue("clinic") + "/" + r.PathValue("day") + "/" + r.PathValue("id")
}

// apiQuarantinedPhoto answers GET /api/quarantine/{clinic}/{day}/{id}/photo.jpg[?width=]: the picture, where it can be decoded.
func (s *Service) apiQuarantinedPhoto(w http.ResponseWriter, r *http.Request) error {
	width, err := intParam(r.URL.Query(), "width", photoWidthPx, 1, maxWidth)
	if err != nil {
		return err
	}
	width = (width + widthStep - 1) / widthStep * widthStep
	found, err := s.findQuarantined(r.Context(), pathID(r))
	if err != nil {
		return err
	}
	raw, err := s.pictures.get(r.Context(), fmt.Sprintf("quarantine/%s/%d", found.Document.Sha256, width), func(ctx context.Context) ([]byte, error) {
		object, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Quarantine, found.History().Key, quarantinedLimit)
		if err != nil {
			return nil, err
		}
		rgb, err := s.deps.Photo(ctx, object)
		if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Unsupported) {
			return nil, fault.Wrap(fault.NotFound, "picture-unreadable", err, "the picture of this file cannot be shown")
		}
		if err != nil {
			return nil, err
		}
		if err := rgb.Check(); err != nil {
			return nil, err
		}
		return encodeJPEG(scale(fromRaster(rgb), width))
	})
	if err != nil {
		return err
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityQuarantinePicture, QuarantineKey: found.History().Key}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/jpeg")
	s.send(w, raw)
	return nil
}

// quarantinedLimit bounds a file that is read from quarantine to be shown: any photograph fits, a night's ZIP does not.
const quarantinedLimit = 256 << 20
