package report

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/audit"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// headEvery is how often the end of the audit log is noted elsewhere, where it changed.
	headEvery = 10 * time.Second
	// headNote is its name in the index.
	headNote = "audit-head"
	// tokensNote is the name of who had tokens when the log last said so.
	tokensNote   = "token-names"
	accountsNote = "account-names" // likewise
	// maxNames bounds them in the log.
	maxNames = 1000
)

// watchAudit records changes of the files of tokens and accounts, which other programs make, and notes in the index and in the service's log where the
// audit log ends, so that a change of the end shows there.
func (s *Service) watchAudit(ctx context.Context) error {
	var noted audit.Head
	for {
		if err := s.recordTokens(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.Warn("changes of the tokens or accounts could not be recorded", slog.Any("error", err))
		}
		if head := s.audit.Head(); head != noted {
			if err := s.deps.Store.SetNote(ctx, headNote, fmt.Sprintf("%d:%s", head.Number, head.Sha256)); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				s.deps.Logger.Warn("the end of the audit log could not be noted", slog.Any("error", err))
			} else {
				noted = head
				s.deps.Logger.Debug("the audit log grew", slog.Int("number", head.Number), slog.String("sha256", head.Sha256))
			}
		}
		if err := pause(ctx, headEvery); err != nil {
			return err
		}
	}
}

// recordTokens records who has tokens and accounts, where that is not what was recorded last.
func (s *Service) recordTokens(ctx context.Context) error {
	tokens, err := s.deps.Authority.Names()
	if err != nil {
		return err
	}
	if err := s.recordNames(ctx, tokensNote, record.EntityTokens, tokens); err != nil || s.deps.Accounts == nil {
		return err
	}
	people, err := s.deps.Accounts.Names()
	if err != nil {
		return err
	}
	return s.recordNames(ctx, accountsNote, record.EntityAccounts, people)
}

func (s *Service) recordNames(ctx context.Context, note, kind string, names []string) error {
	text := strings.Join(names, ", ")
	if len(text) > maxNames {
		text = text[:maxNames] // names and scopes are ASCII
	}
	before, err := s.deps.Store.Note(ctx, note)
	if err != nil || before == text {
		return err
	}
	err = s.audit.Append(ctx, record.Audit{Action: record.AuditUpdate, Outcome: record.AuditSuccess, Agent: record.AuditAgent{Via: string(access.ViaNone), Address: "localhost"},
		Entity: record.AuditEntity{Kind: kind, Names: text}})
	if err != nil {
		return err
	}
	return s.deps.Store.SetNote(ctx, note, text)
}

// apiAuditHead answers GET /api/audit/head: where the audit log ended when that was last noted. An index that was made anew has not
// noted it yet.
func (s *Service) apiAuditHead(w http.ResponseWriter, r *http.Request) error {
	noted, err := s.deps.Store.Note(r.Context(), headNote)
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", map[string]string{"known": noted})
	return nil
}

// fhirSearchAudit answers GET /fhir/AuditEvent?date=&_count=: the entries of the audit log in their order. Reading it is recorded, too.
func (s *Service) fhirSearchAudit(w http.ResponseWriter, r *http.Request) error {
	asked, err := searchOf(r, "AuditEvent")
	if err != nil {
		return err
	}
	if asked.countOnly {
		return fault.New(fault.Unsupported, "summary-unknown", "the entries of the audit log are not counted; GET /api/audit/head says how many there are")
	}
	first, until, err := s.auditSpan(r.Context(), asked.q["date"])
	if err != nil {
		return err
	}
	if text := asked.q.Get("_cursor"); text != "" {
		if first, err = strconv.Atoi(text); err != nil || first < 1 {
			return fault.New(fault.Invalid, "cursor-invalid", "the cursor was not made by this service; begin again with the first page")
		}
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityAuditLog}); err != nil {
		return err
	}
	bundle := fhir.Bundle{ResourceType: "Bundle", Type: "searchset"}
	next := ""
	base := s.baseURL(r) + "/fhir/AuditEvent/"
	err = audit.From(r.Context(), s.deps.Blob, s.deps.Blob.Buckets().Audit, first, func(a record.Audit) (bool, error) {
		if !until.IsZero() && !a.RecordedAt.Before(until) {
			return false, nil
		}
		if len(bundle.Entry) == asked.limit {
			next = strconv.Itoa(a.Number)
			return false, nil
		}
		e := fhir.ConvertAudit(a)
		bundle.Entry = append(bundle.Entry, fhir.Entry{FullURL: base + e.ID, Resource: e, Search: &fhir.SearchInfo{Mode: "match"}})
		return true, nil
	})
	if err != nil {
		return err
	}
	bundle.Link = asked.links(s.baseURL(r)+r.URL.Path, next)
	s.writeJSON(w, http.StatusOK, fhirMedia, bundle)
	return nil
}

// fhirAudit answers GET /fhir/AuditEvent/{id}: one entry. Reading it is recorded, too.
func (s *Service) fhirAudit(w http.ResponseWriter, r *http.Request) error {
	number, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || number < 1 {
		return notThere("AuditEvent")
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityAuditLog}); err != nil {
		return err
	}
	var found *fhir.AuditEvent
	err = audit.From(r.Context(), s.deps.Blob, s.deps.Blob.Buckets().Audit, number, func(a record.Audit) (bool, error) {
		if a.Number == number {
			e := fhir.ConvertAudit(a)
			found = &e
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if found == nil {
		return notThere("AuditEvent")
	}
	s.writeJSON(w, http.StatusOK, fhirMedia, found)
	return nil
}

// auditSpan reads the dates of a search of the audit log: the number of the first entry, and the moment before which it ends (zero: never).
func (s *Service) auditSpan(ctx context.Context, dates []string) (first int, until time.Time, err error) {
	var from time.Time
	for _, given := range dates {
		span, negate, err := timeSpan("date", given, s.cfg.Location)
		if err != nil {
			return 0, until, err
		}
		if negate {
			return 0, until, fault.New(fault.Invalid, "date-invalid", "date of an AuditEvent takes no ne")
		}
		if span.From.After(from) {
			from = span.From
		}
		if !span.To.IsZero() && (until.IsZero() || span.To.Before(until)) {
			until = span.To
		}
	}
	if from.IsZero() {
		return 1, until, nil
	}
	first, err = audit.Since(ctx, s.deps.Blob, s.deps.Blob.Buckets().Audit, from)
	return first, until, err
}

// SMART names the site's OpenID Connect server.
type SMART struct {
	Issuer        string
	TokenEndpoint string
	JWKS          string
}

// smartConfiguration answers GET /fhir/.well-known/smart-configuration (SMART App Launch 2, Conformance), by which programs find where
// they get their tokens.
func (s *Service) smartConfiguration(w http.ResponseWriter, _ *http.Request) error {
	if s.cfg.SMART == (SMART{}) {
		return fault.New(fault.NotFound, "smart-missing", "no OpenID Connect server is configured; ask who runs Noctua for a token")
	}
	s.writeJSON(w, http.StatusOK, "application/json", map[string]any{
		"issuer": s.cfg.SMART.Issuer, "jwks_uri": s.cfg.SMART.JWKS, "token_endpoint": s.cfg.SMART.TokenEndpoint,
		"token_endpoint_auth_methods_supported":            []string{"private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"RS384", "ES384"},
		"grant_types_supported":                            []string{"client_credentials"},
		"scopes_supported":                                 slices.Concat([]string{"system/*.rs"}, smartScopes()),
		"capabilities":                                     []string{"client-confidential-asymmetric", "permission-v1", "permission-v2"},
	})
	return nil
}

func smartScopes() (all []string) {
	for _, resource := range []string{"DiagnosticReport", "Observation", "Patient", "ImagingStudy", "Device", "Provenance"} {
		all = append(all, "system/"+resource+".rs")
	}
	return all
}
