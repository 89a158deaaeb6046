package quarantine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// MaxDecisions bounds the history of a file, as the schema does.
	MaxDecisions = 1000
	// maxDocumentBytes bounds a document that is read; Noctua's own are a few KB.
	maxDocumentBytes = 1 << 20
)

// CodeDecision is the code of decisions that lack something or hold what they must not: Problems says what.
const CodeDecision = "decision-invalid"

// State of a file in quarantine.
type State string

// States. All but Released and Releasing wait for a decision, or allow one.
const (
	Open      State = "open"      // needs a person
	Releasing State = "releasing" // a release is under way
	Released  State = "released"  // it has left quarantine
	Discarded State = "discarded" // a person has decided that nobody needs it
)

// ValidState tells whether s is one of the states.
func ValidState(s State) bool {
	return slices.Contains([]State{Open, Releasing, Released, Discarded}, s)
}

// Step is a decision and, for a release that has come to its end, what became of it.
type Step struct {
	Decision record.Decision
	Release  *record.Release
}

// History is what happened to a file in quarantine.
type History struct {
	Key      string // of the bytes in the quarantine bucket
	Document record.Quarantine
	Steps    []Step // in order; step i has the number i+1
	// Last is the SHA-256 of the newest document; the next one names it.
	Last string
}

// bucket is what Load uses of the object store.
type bucket interface {
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
}

// Load reads the documents about the bytes at key. Faults: NotFound where there is no such file in quarantine; Invalid
// history-broken where a document is missing or does not name the one before it; those of the store.
func Load(ctx context.Context, from bucket, name, key string) (History, error) {
	documents := map[string][]byte{}
	for info, err := range from.List(ctx, name, key+".") {
		if err != nil {
			return History{}, fmt.Errorf("listing the history of a file in quarantine: %w", err)
		}
		if d, ok := blob.ParseQuarantineDocument(info.Key); !ok || d.Key != key || d.Number > MaxDecisions {
			continue
		}
		raw, err := from.GetBytes(ctx, name, info.Key, maxDocumentBytes)
		if err != nil {
			return History{}, fmt.Errorf("reading the history of a file in quarantine: %w", err)
		}
		documents[info.Key] = raw
	}
	return Parse(key, documents)
}

// Parse makes a history of the documents about the bytes at key, by the documents' keys. Faults as of Load.
func Parse(key string, documents map[string][]byte) (History, error) {
	raw := documents[blob.QuarantineDocument{Key: key, Kind: blob.QuarantineReason}.DocumentKey()]
	if raw == nil {
		return History{}, fault.New(fault.NotFound, "quarantine-missing", "there is no such file in quarantine")
	}
	first, err := record.Decode[record.Quarantine](record.QuarantineSchema, raw)
	if err != nil {
		return History{}, err
	}
	h := History{Key: key, Document: *first, Last: hashOf(raw)}
	found := 1
	for number := 1; ; number++ {
		raw := documents[blob.QuarantineDocument{Key: key, Kind: blob.QuarantineDecision, Number: number}.DocumentKey()]
		if raw == nil {
			break
		}
		decision, err := record.Decode[record.Decision](record.DecisionSchema, raw)
		if err != nil {
			return History{}, err
		}
		if decision.PreviousSha256 != h.Last || decision.Number != number || decision.QuarantineKey != key {
			return History{}, broken("decision", number)
		}
		step := Step{Decision: *decision}
		h.Last = hashOf(raw)
		found++
		if raw := documents[blob.QuarantineDocument{Key: key, Kind: blob.QuarantineRelease, Number: number}.DocumentKey()]; raw != nil {
			if step.Release, err = record.Decode[record.Release](record.ReleaseSchema, raw); err != nil {
				return History{}, err
			}
			if step.Release.PreviousSha256 != h.Last || step.Release.Number != number || step.Release.QuarantineKey != key {
				return History{}, broken("release", number)
			}
			h.Last = hashOf(raw)
			found++
		}
		h.Steps = append(h.Steps, step)
	}
	if found != len(documents) {
		return History{}, broken("decision", len(h.Steps)+1)
	}
	return h, nil
}

func broken(kind string, number int) error {
	return fault.New(fault.Invalid, "history-broken",
		"the history of this file was changed by somebody other than Noctua at %s %d; nothing more is done with it until an engineer has looked at the quarantine bucket", kind, number)
}

func hashOf(raw []byte) string {
	digest := sha256.Sum256(raw)
	return hex.EncodeToString(digest[:])
}

// State follows from the last step.
func (h History) State() State {
	if len(h.Steps) == 0 {
		return Open
	}
	last := h.Steps[len(h.Steps)-1]
	switch {
	case last.Decision.Action == record.ActionDiscard:
		return Discarded
	case last.Release == nil:
		return Releasing
	case last.Release.Result == record.ReleaseRefused:
		return Open
	}
	return Released
}

// Finding is what is wrong with the file, by the last attempt to let it in.
type Finding struct{ Code, Reason, Action string }

// Finding returns it.
func (h History) Finding() Finding {
	for _, step := range slices.Backward(h.Steps) {
		if r := step.Release; r != nil && r.Result == record.ReleaseRefused {
			return Finding{Code: r.Code, Reason: r.Reason, Action: r.Advice}
		}
	}
	return Finding{Code: h.Document.Code, Reason: h.Document.Reason, Action: h.Document.Action}
}

// Correction is what all releases so far correct together: a later one adds to the earlier ones, or replaces what they said.
func (h History) Correction() record.Correction {
	var all record.Correction
	for _, step := range h.Steps {
		if c := step.Decision.Correction; c != nil {
			all = merge(all, *c)
		}
	}
	return all
}

func merge(a, b record.Correction) record.Correction {
	if b.Laterality != "" {
		a.Laterality = b.Laterality
	}
	if b.PatientID != "" {
		a.PatientID = b.PatientID
	}
	if b.Issuer != "" {
		a.Issuer = b.Issuer
	}
	if b.Clinic != "" {
		a.Clinic = b.Clinic
	}
	return a
}

// Unassigned is the clinic, in keys and documents, of what came without a usable one. No clinic can have the name.
const Unassigned = "unassigned"

// Correctable says what a person may assign.
type Correctable struct{ Laterality, Patient, Clinic bool }

// Correctable is only what the file itself does not say with certainty, by its finding, and what a person assigned before.
func (h History) Correctable() Correctable {
	earlier := h.Correction()
	may := Correctable{Laterality: earlier.Laterality != "", Patient: earlier.PatientID != "" || earlier.Issuer != "", Clinic: h.Document.Clinic == Unassigned}
	switch h.Finding().Code {
	case dicom.CodeLateralityMissing, dicom.CodeLateralityConflict:
		may.Laterality = true
	case dicom.CodePatientID, dicom.CodePatientIDInvalid:
		may.Patient = true
	}
	return may
}

// Field of a decision.
type Field string

// Fields that a person enters.
const (
	FieldBy         Field = "by"
	FieldReason     Field = "reason"
	FieldLaterality Field = "laterality"
	FieldPatientID  Field = "patient_id"
	FieldIssuer     Field = "issuer"
	FieldClinic     Field = "clinic"
)

// Problem is what is wrong with a field, in a sentence that says what is expected.
type Problem struct {
	Field    Field
	Sentence string
}

const (
	maxByCharacters     = 100
	maxReasonCharacters = 1000
	maxIDCharacters     = 64
)

// identifier is what a patient's ID or its issuer may be made of, as the schema has it.
var identifier = regexp.MustCompile(`^[!-\[\]-}]([ -\[\]-}]*[!-\[\]-}])?$`)

// Problems says what is wrong with what a person entered, whatever the file.
func Problems(d record.Decision) []Problem {
	var all []Problem
	wrong := func(f Field, sentence string) { all = append(all, Problem{f, sentence}) }
	if n := utf8.RuneCountInString(d.By); n < 1 || n > maxByCharacters {
		wrong(FieldBy, fmt.Sprintf("say who decides, in at most %d characters", maxByCharacters))
	}
	if n := utf8.RuneCountInString(d.Reason); n < 1 || n > maxReasonCharacters {
		wrong(FieldReason, fmt.Sprintf("say why, in at most %d characters", maxReasonCharacters))
	}
	if d.Correction == nil {
		return all
	}
	c := *d.Correction
	if c.Laterality != "" && c.Laterality != record.RightEye && c.Laterality != record.LeftEye {
		wrong(FieldLaterality, "the eye is R (right) or L (left)")
	}
	for field, value := range map[Field]string{FieldPatientID: c.PatientID, FieldIssuer: c.Issuer} {
		if value != "" && (len(value) > maxIDCharacters || !identifier.MatchString(value)) {
			wrong(field, fmt.Sprintf("a patient's ID or its issuer has 1 to %d letters, digits and other characters of plain English text, without \\ and ~", maxIDCharacters))
		}
	}
	if c.Clinic != "" && (!event.ValidClinic(c.Clinic) || c.Clinic == Unassigned) {
		wrong(FieldClinic, fmt.Sprintf("a clinic's name has 1 to 64 letters, digits, - and _, starts with a letter or digit, and is not the word %s", Unassigned))
	}
	slices.SortFunc(all, func(a, b Problem) int { return cmp.Compare(a.Field, b.Field) })
	return all
}

// Decide completes a decision (action, correction, by, reason, time) with what follows from the history. done is true where the
// history ends with the same decision already, so that nothing is to be written: asking twice is asking once.
//
// Faults: Conflict already-released or release-under-way; Invalid correction-not-wanted, too-many-decisions, or decision-invalid
// with what is wrong.
func (h History) Decide(d record.Decision) (complete record.Decision, done bool, err error) {
	if d.Correction != nil && *d.Correction == (record.Correction{}) {
		d.Correction = nil
	}
	state := h.State()
	if len(h.Steps) > 0 && (state == Discarded || state == Releasing || state == Released) {
		last := h.Steps[len(h.Steps)-1].Decision
		if last.Action == d.Action && same(last.Correction, d.Correction) {
			return last, true, nil
		}
	}
	switch {
	case state == Released:
		return d, false, fault.New(fault.Conflict, "already-released", "the file was released already and is not in quarantine any more")
	case state == Releasing:
		return d, false, fault.New(fault.Conflict, "release-under-way", "the file is being released; wait until that is done")
	case len(h.Steps) >= MaxDecisions:
		return d, false, fault.New(fault.Invalid, "too-many-decisions", "there were %d decisions about this file already; tell the support of Noctua", MaxDecisions)
	case d.Correction != nil && d.Action != record.ActionRelease:
		return d, false, fault.New(fault.Invalid, "correction-not-wanted", "a file that is discarded cannot be corrected; leave the clinic, the eye and the patient's ID out")
	}
	if c := d.Correction; c != nil {
		may := h.Correctable()
		if c.Laterality != "" && !may.Laterality || (c.PatientID != "" || c.Issuer != "") && !may.Patient || c.Clinic != "" && !may.Clinic {
			return d, false, fault.New(fault.Invalid, "correction-not-wanted",
				"only what the file does not say with certainty can be assigned, and this file is here because of %s; leave the other corrections out", h.Finding().Code)
		}
	}
	d.Schema, d.Clinic, d.QuarantineKey = record.DecisionSchema, h.Document.Clinic, h.Key
	d.Number, d.PreviousSha256, d.DecidedAt = len(h.Steps)+1, h.Last, d.DecidedAt.UTC()
	if problems := Problems(d); len(problems) > 0 {
		sentences := make([]string, 0, len(problems))
		for _, p := range problems {
			sentences = append(sentences, p.Sentence)
		}
		return d, false, fault.New(fault.Invalid, CodeDecision, "%s", strings.Join(slices.Compact(sentences), "; "))
	}
	if _, err := record.Encode(record.DecisionSchema, d); err != nil {
		return d, false, fault.Wrap(fault.Invalid, CodeDecision, err, "the decision holds characters that cannot be kept; write it in plain text")
	}
	return d, false, nil
}

func same(a, b *record.Correction) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}
