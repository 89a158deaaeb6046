package report

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/patientlink"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// followLinks gives a report to the patient whose it is by what people decided, and keeps whose it was as it came.
func (s *Service) followLinks(ctx context.Context, study store.Study, r *record.Report) error {
	whose, by, err := patientlink.Follow(study.PatientKey, study.StudyUID, func(key string) ([]record.PatientLink, error) { return s.deps.Store.PatientLinks(ctx, key) })
	if err != nil {
		return fmt.Errorf("finding whose a study is: %w", err)
	}
	if whose == nil {
		return nil
	}
	issued := r.Patient
	r.Patient, r.PatientAsIssued = *whose, &issued
	for _, l := range by {
		key, err := blob.PatientLink{PatientKey: l.PatientKey, Number: l.Number}.Key()
		if err != nil {
			return err
		}
		r.PatientLinks = append(r.PatientLinks, key)
	}
	return nil
}

// patientRef names a patient as people know them. Without an issuer the ID has to be of one alone.
type patientRef struct {
	Clinic string  `json:"clinic"`
	ID     string  `json:"id"`
	Issuer *string `json:"issuer,omitempty"`
}

// linkRequest is what a person wants.
type linkRequest struct {
	Patient patientRef  `json:"patient"`          // of merge and undo: the patient as issued
	Study   string      `json:"study,omitempty"`  // of split: the id of the study's report
	Into    *patientRef `json:"into,omitempty"`   // whose the studies are
	Undoes  int         `json:"undoes,omitempty"` // of undo: number of the decision
	By      string      `json:"by"`
	Reason  string      `json:"reason"`
}

// linkAnswer is a decision as the API shows it.
type linkAnswer struct {
	Number    int                     `json:"number"`
	Clinic    string                  `json:"clinic"`
	Patient   string                  `json:"patient"` // FHIR id of the patient as issued
	Action    string                  `json:"action"`
	StudyUID  string                  `json:"study_uid,omitempty"`
	Into      *record.PatientIdentity `json:"into,omitempty"`
	Undoes    int                     `json:"undoes,omitempty"`
	By        string                  `json:"by"`
	Reason    string                  `json:"reason"`
	DecidedAt time.Time               `json:"decided_at"`
}

func answerOf(l record.PatientLink) linkAnswer {
	return linkAnswer{Number: l.Number, Clinic: l.Clinic, Patient: fhir.PatientID(l.PatientKey), Action: l.Action, StudyUID: l.StudyUID, Into: l.Into, Undoes: l.Undoes,
		By: l.By, Reason: l.Reason, DecidedAt: l.DecidedAt}
}

// findPatient finds the one patient whom a reference names, of those whom the asker may see.
func (s *Service) findPatient(ctx context.Context, ref patientRef) (store.Patient, error) {
	if ref.Clinic == "" || ref.ID == "" {
		return store.Patient{}, fault.New(fault.Invalid, "patient-invalid", `a patient should be {"clinic": "…", "id": "…"}, with the "issuer" of the ID where there are several`)
	}
	found, _, err := s.deps.Store.FindPatients(ctx, store.PatientQuery{Clinics: clinicsOf(ctx), Identifiers: []store.Identifier{{ID: ref.ID, Issuer: ref.Issuer, Clinic: ref.Clinic}}, Limit: 2})
	switch {
	case err != nil:
		return store.Patient{}, err
	case len(found) == 0:
		return store.Patient{}, fault.New(fault.NotFound, "patient-unknown", "there is no patient of that ID at that clinic who has a report")
	case len(found) > 1:
		return store.Patient{}, fault.New(fault.Invalid, "patient-ambiguous", "several patients at that clinic have that ID; name its issuer")
	}
	return found[0], nil
}

// wholePatient is whom a reference names, also one who has not been seen yet where the key of theirs can be made.
func (s *Service) wholePatient(ctx context.Context, ref patientRef) (record.PatientIdentity, error) {
	found, err := s.findPatient(ctx, ref)
	if err == nil || !fault.Is(err, fault.NotFound) {
		return found.PatientIdentity, err
	}
	if s.deps.PatientKey == nil {
		return record.PatientIdentity{}, fault.New(fault.NotFound, "patient-unknown", "there is no patient of that ID at that clinic yet, and this report service does not know the site's secret (--site-secret-file), without which it cannot name one")
	}
	p := record.PatientIdentity{ID: ref.ID}
	if ref.Issuer != nil {
		p.Issuer = *ref.Issuer
	}
	p.Key = s.deps.PatientKey(ref.Clinic, p.Issuer, p.ID)
	return p, nil
}

// proposal is the decision that a request asks for, with the key of the patient, as issued, whom it is about.
func (s *Service) proposal(ctx context.Context, action string, q linkRequest) (record.PatientLink, error) {
	l := record.PatientLink{Action: action, By: q.By, Reason: q.Reason, DecidedAt: s.deps.Clock()}
	if action != patientlink.Undo && q.Into == nil {
		return l, fault.New(fault.Invalid, "patient-invalid", "say into which patient")
	}
	switch action {
	case patientlink.Split:
		v, err := s.visibleReport(ctx, q.Study, 0)
		if err != nil {
			return l, err
		}
		study, err := s.deps.Store.Study(ctx, v.ReportID)
		if err != nil {
			return l, err
		}
		if q.Into.Clinic != study.Clinic {
			return l, fault.New(fault.Invalid, "clinic-differs", "patients are of one clinic, and so are their studies; send the pictures to the other one")
		}
		into, err := s.wholePatient(ctx, *q.Into)
		l.Clinic, l.PatientKey, l.StudyUID, l.Into = study.Clinic, study.PatientKey, study.StudyUID, &into
		return l, err
	case patientlink.Undo:
		return s.undoing(ctx, q, l)
	}
	if q.Into.Clinic != q.Patient.Clinic {
		return l, fault.New(fault.Invalid, "clinic-differs", "patients of two clinics are never joined")
	}
	from, err := s.findPatient(ctx, q.Patient)
	if err != nil {
		return l, err
	}
	into, err := s.findPatient(ctx, *q.Into)
	if err != nil {
		return l, err
	}
	// Who was joined to from by now is meant as well; but a circle would be nobody.
	whose, _, err := patientlink.Follow(into.Key, "", func(key string) ([]record.PatientLink, error) { return s.deps.Store.PatientLinks(ctx, key) })
	if err != nil {
		return l, err
	}
	if whose != nil && whose.Key == from.Key {
		return l, fault.New(fault.Conflict, "link-circle", "it was decided that the second patient is the first one; undo that first")
	}
	l.Clinic, l.PatientKey, l.Into = from.Clinic, from.Key, &into.PatientIdentity
	return l, nil
}

// undoing finds the patient of a decision that is to count no more: as issued, and so perhaps without a report of their own by now.
func (s *Service) undoing(ctx context.Context, q linkRequest, l record.PatientLink) (record.PatientLink, error) {
	if s.deps.PatientKey != nil && q.Patient.Clinic != "" && q.Patient.ID != "" {
		issuer := ""
		if q.Patient.Issuer != nil {
			issuer = *q.Patient.Issuer
		}
		key := s.deps.PatientKey(q.Patient.Clinic, issuer, q.Patient.ID)
		if links, err := s.deps.Store.PatientLinks(ctx, key); err != nil || len(links) > 0 {
			l.Clinic, l.PatientKey, l.Undoes = q.Patient.Clinic, key, q.Undoes
			return l, err
		}
	}
	// The id that the list of decisions shows.
	links, err := s.deps.Store.FindPatientLinks(ctx, clinicsOf(ctx), maxLinks, 0)
	if err != nil {
		return l, err
	}
	for _, known := range links {
		if known.Number == q.Undoes && known.Clinic == q.Patient.Clinic && fhir.PatientID(known.PatientKey) == q.Patient.ID {
			l.Clinic, l.PatientKey, l.Undoes = known.Clinic, known.PatientKey, q.Undoes
			return l, nil
		}
	}
	return l, fault.New(fault.NotFound, "link-unknown", "there is no such decision; noctua patient links shows them")
}

// maxLinks are shown, and looked through, at a time.
const maxLinks = 1000

// apiPatientLink answers POST /api/patients/{merge,split,undo}: decision document and index, in this order. Asking twice is asking once.
func (s *Service) apiPatientLink(action string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var q linkRequest
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&q); err != nil {
			return fault.Wrap(fault.Invalid, "body-invalid", err, `the body should be {"patient": {"clinic": "…", "id": "…"}, "into": {…}, "by": "…", "reason": "…"}; a split names a "study", an undo the number that it "undoes"`)
		}
		l, err := s.proposal(r.Context(), action, q)
		if err != nil {
			return err
		}
		if !askerOf(r.Context()).clinics.Has(l.Clinic) {
			return fault.New(fault.NotFound, "patient-unknown", "there is no patient of that ID at that clinic who has a report")
		}
		name := s.deps.Blob.Buckets().Reports
		history, err := patientlink.Load(r.Context(), s.deps.Blob, name, l.PatientKey)
		if err != nil {
			return err
		}
		l, done, err := history.Decide(l)
		if err != nil {
			return err
		}
		if err := s.auditedAs(r, record.AuditUpdate, record.AuditEntity{Kind: record.EntityDecision, PatientKey: l.PatientKey, Clinic: l.Clinic, Code: action}); err != nil {
			return err
		}
		key, err := blob.PatientLink{PatientKey: l.PatientKey, Number: l.Number}.Key()
		if err != nil {
			return err
		}
		if !done {
			raw, err := record.Encode(record.PatientLinkSchema, l)
			if err != nil {
				return err
			}
			err = s.deps.Blob.PutBytes(r.Context(), name, key, raw, blob.PutOptions{ContentType: "application/json", IfNoneMatch: true})
			if fault.Is(err, fault.Conflict) {
				return fault.New(fault.Conflict, "decided-meanwhile", "somebody else decided about this patient at the same moment; look again")
			}
			if err != nil {
				return fmt.Errorf("writing a decision about a patient: %w", err)
			}
		}
		if err := s.index(r.Context(), store.KindLink, key, false); err != nil {
			return err
		}
		s.poke()
		s.deps.Logger.Info("a person decided who a patient is", "action", action, "number", l.Number)
		s.writeJSON(w, http.StatusOK, "application/json", answerOf(l))
		return nil
	}
}

// apiPatientLinks answers GET /api/patients/links[?count=&offset=]: what was decided, the newest first.
func (s *Service) apiPatientLinks(w http.ResponseWriter, r *http.Request) error {
	limit, err := intParam(r.URL.Query(), "count", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	offset, err := intParam(r.URL.Query(), "offset", 0, 0, 1<<30)
	if err != nil {
		return err
	}
	links, err := s.deps.Store.FindPatientLinks(r.Context(), clinicsOf(r.Context()), limit, offset)
	if err != nil {
		return err
	}
	out := struct {
		Links []linkAnswer `json:"links"`
	}{[]linkAnswer{}}
	for _, l := range links {
		out.Links = append(out.Links, answerOf(l))
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityPatientList, Files: len(links)}); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, "application/json", out)
	return nil
}

// replacedPatient answers the read of a patient who has no report of their own any more, because they are another one. unknown is what is
// answered where nobody decided so.
func (s *Service) replacedPatient(w http.ResponseWriter, r *http.Request, unknown error) error {
	id := r.PathValue("id")
	if len(id) != len(fhir.PatientID(strings.Repeat("0", 64))) {
		return unknown
	}
	l, err := s.deps.Store.LinkedPatient(r.Context(), id)
	if fault.Is(err, fault.NotFound) || err == nil && !askerOf(r.Context()).clinics.Has(l.Clinic) {
		return unknown
	}
	if err != nil {
		return err
	}
	if err := s.audited(r, record.AuditEntity{Kind: record.EntityResource, Resource: "Patient/" + id, PatientKey: l.PatientKey, Clinic: l.Clinic}); err != nil {
		return err
	}
	active := false
	s.writeJSON(w, http.StatusOK, fhirMedia, fhir.Patient{ResourceType: "Patient", ID: id, Meta: fhir.Meta{LastUpdated: fhir.Instant(l.DecidedAt)}, Active: &active,
		Link: []fhir.PatientLink{{Other: fhir.Reference{Reference: "Patient/" + fhir.PatientID(l.Into.Key)}, Type: "replaced-by"}}})
	return nil
}
