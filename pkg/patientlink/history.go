package patientlink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// MaxLinks bounds the decisions about a patient, as the schema of their numbers does not have to.
	MaxLinks = 1000
	// maxDocumentBytes bounds a document that is read; Noctua's own are below 2 KB.
	maxDocumentBytes = 1 << 20
	// maxSteps bounds how far decisions are followed from patient to patient.
	maxSteps = 16
	maxBy    = 100
	maxWhy   = 500
)

// What may be decided.
const (
	Merge = "merge"
	Split = "split"
	Undo  = "undo"
)

// History is what was decided about a patient as issued.
type History struct {
	PatientKey string
	Links      []record.PatientLink // in order; link i has the number i+1
	// Last is the SHA-256 of the newest document; the next one names it.
	Last string
}

// bucket is what Load uses of the object store.
type bucket interface {
	GetBytes(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
	List(ctx context.Context, bucket, prefix string) iter.Seq2[blob.Info, error]
}

// Load reads the decisions about a patient.
//
// Faults: Invalid history-broken where a document is missing or does not name the one before; those of the store.
func Load(ctx context.Context, from bucket, name, patientKey string) (History, error) {
	h := History{PatientKey: patientKey}
	prefix, err := blob.PatientLinkPrefix(patientKey)
	if err != nil {
		return h, err
	}
	for info, err := range from.List(ctx, name, prefix) {
		if err != nil {
			return h, fmt.Errorf("listing the decisions about a patient: %w", err)
		}
		raw, err := from.GetBytes(ctx, name, info.Key, maxDocumentBytes)
		if err != nil {
			return h, fmt.Errorf("reading a decision about a patient: %w", err)
		}
		link, err := record.Decode[record.PatientLink](record.PatientLinkSchema, raw)
		if err != nil {
			return h, fmt.Errorf("reading %s: %w", info.Key, err)
		}
		if key, ok := blob.ParsePatientLink(info.Key); !ok || key.Number != len(h.Links)+1 || link.Number != key.Number || link.PatientKey != patientKey || link.PreviousSha256 != h.Last {
			return h, fault.New(fault.Invalid, "history-broken", "the decision %d about a patient does not fit those before it; an engineer should look at the reports bucket", len(h.Links)+1)
		}
		h.Links, h.Last = append(h.Links, *link), hashOf(raw)
	}
	return h, nil
}

func hashOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Counting is the decision that counts for a study: the newest split of it, or else the newest merge, that was not undone. nil: there is none.
func (h History) Counting(studyUID string) *record.PatientLink {
	undone := map[int]bool{}
	var merge *record.PatientLink
	for i := len(h.Links) - 1; i >= 0; i-- {
		l := &h.Links[i]
		switch {
		case l.Action == Undo:
			undone[l.Undoes] = true
		case undone[l.Number] || l.Into == nil:
		case l.Action == Split && l.StudyUID == studyUID:
			return l
		case l.Action == Merge && merge == nil:
			merge = l
		}
	}
	return merge
}

// Follow finds whose a study is that came under a patient's key, and by which decisions, the first one first; nil, nil where it is theirs.
// linksOf gives the decisions about a patient, in their order. A circle, which two decisions of the same moment can make, ends where it
// closes.
func Follow(patientKey, studyUID string, linksOf func(patientKey string) ([]record.PatientLink, error)) (*record.PatientIdentity, []record.PatientLink, error) {
	var whose *record.PatientIdentity
	var by []record.PatientLink
	seen := map[string]bool{patientKey: true}
	for range maxSteps {
		links, err := linksOf(patientKey)
		if err != nil {
			return nil, nil, err
		}
		l := History{PatientKey: patientKey, Links: links}.Counting(studyUID)
		if l == nil || seen[l.Into.Key] {
			break
		}
		whose, patientKey = l.Into, l.Into.Key
		seen[patientKey] = true
		by = append(by, *l)
	}
	return whose, by, nil
}

// Decide completes a decision about the patient of the history: number, names, the hash of the one before. done: it is the newest one
// already, so that there is nothing to write.
//
// Faults: Invalid link-invalid where something is missing or makes no sense; Conflict link-undone where there is nothing to undo.
func (h History) Decide(l record.PatientLink) (complete record.PatientLink, done bool, err error) {
	bad := func(format string, args ...any) (record.PatientLink, bool, error) {
		return record.PatientLink{}, false, fault.New(fault.Invalid, "link-invalid", format, args...)
	}
	l.By, l.Reason = strings.TrimSpace(l.By), strings.TrimSpace(l.Reason)
	switch {
	case l.By == "" || utf8.RuneCountInString(l.By) > maxBy:
		return bad("say who decides, in 1 to %d characters", maxBy)
	case l.Reason == "" || utf8.RuneCountInString(l.Reason) > maxWhy:
		return bad("say why, in 1 to %d characters", maxWhy)
	case l.Action == Undo && (l.Undoes < 1 || l.Undoes > len(h.Links)):
		return record.PatientLink{}, false, fault.New(fault.Conflict, "link-undone", "there is no decision %d about this patient", l.Undoes)
	case l.Action != Undo && l.Into == nil, l.Action == Split && l.StudyUID == "":
		return bad("say which patient, and of a split which study")
	case l.Into != nil && l.Into.Key == h.PatientKey && !(l.Action == Split):
		return bad("a patient cannot be joined to themselves")
	case len(h.Links) >= MaxLinks:
		return bad("there are %d decisions about this patient already, which is the most", MaxLinks)
	}
	if l.Action == Undo {
		target := h.Links[l.Undoes-1]
		if target.Action == Undo {
			return bad("the decision %d is one that undoes another; decide anew instead", l.Undoes)
		}
		for _, other := range h.Links {
			if other.Action == Undo && other.Undoes == l.Undoes {
				return record.PatientLink{}, false, fault.New(fault.Conflict, "link-undone", "the decision %d counts no more already", l.Undoes)
			}
		}
	}
	l.Schema, l.PatientKey, l.Number, l.PreviousSha256, l.DecidedAt = record.PatientLinkSchema, h.PatientKey, len(h.Links)+1, h.Last, l.DecidedAt.UTC()
	if n := len(h.Links); n > 0 && sameDecision(h.Links[n-1], l) {
		return h.Links[n-1], true, nil
	}
	return l, false, nil
}

// sameDecision tells whether two decisions say the same: asking twice is asking once.
func sameDecision(a, b record.PatientLink) bool {
	into := func(l record.PatientLink) string {
		if l.Into == nil {
			return ""
		}
		return l.Into.Key
	}
	return a.Action == b.Action && a.StudyUID == b.StudyUID && a.Undoes == b.Undoes && into(a) == into(b)
}
