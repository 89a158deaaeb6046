package quarantine_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// TestBrokenHistory changes, removes and adds documents: nothing of such a history is believed.
func TestBrokenHistory(t *testing.T) {
	t.Parallel()
	key := "north/2026-11-23/" + strings.Repeat("a", 64)
	encode := func(v any) []byte {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	documents := map[string][]byte{key + ".json": encode(record.Quarantine{Schema: record.QuarantineSchema, Clinic: "north", Code: "laterality-missing"})}
	for _, action := range []record.DecisionAction{record.ActionDiscard, record.ActionRelease} {
		h, err := quarantine.Parse(key, documents)
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := h.Decide(record.Decision{Action: action, By: "A", Reason: "r", DecidedAt: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		documents[key+".decision-"+string('0'+rune(d.Number))+".json"] = encode(d)
	}
	if h, err := quarantine.Parse(key, documents); err != nil || h.State() != quarantine.Releasing || len(h.Steps) != 2 {
		t.Fatalf("a sound history: %v, %v", h.State(), err)
	}
	for name, change := range map[string]func(map[string][]byte){
		"reason changed":   func(d map[string][]byte) { d[key+".json"] = append(d[key+".json"], ' ') },
		"decision changed": func(d map[string][]byte) { d[key+".decision-1.json"] = append(d[key+".decision-1.json"], ' ') },
		"decision removed": func(d map[string][]byte) { delete(d, key+".decision-1.json") },
		"release made up": func(d map[string][]byte) {
			d[key+".release-1.json"] = encode(record.Release{Schema: record.ReleaseSchema, Number: 1, QuarantineKey: key})
		},
	} {
		changed := map[string][]byte{}
		for k, v := range documents {
			changed[k] = append([]byte{}, v...)
		}
		change(changed)
		if _, err := quarantine.Parse(key, changed); fault.CodeOf(err) != "history-broken" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClinicOfAFile: only what came without a clinic can be assigned one, and only one that can be a clinic's name.
func TestClinicOfAFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ of, name, code string }{
		{quarantine.Unassigned, "north", ""},
		{quarantine.Unassigned, "North_2-b", ""},
		{quarantine.Unassigned, strings.Repeat("a", 64), ""},
		{quarantine.Unassigned, strings.Repeat("a", 65), quarantine.CodeDecision},
		{quarantine.Unassigned, "unassigned", quarantine.CodeDecision},
		{quarantine.Unassigned, "north west", quarantine.CodeDecision},
		{quarantine.Unassigned, "../north", quarantine.CodeDecision},
		{quarantine.Unassigned, "-north", quarantine.CodeDecision},
		{quarantine.Unassigned, "nörd", quarantine.CodeDecision},
		{quarantine.Unassigned, "north\n", quarantine.CodeDecision},
		{quarantine.Unassigned, "north.>", quarantine.CodeDecision},
		{"south", "north", "correction-not-wanted"},
	} {
		h := quarantine.History{Key: test.of + "/2026-11-23/" + strings.Repeat("a", 64), Document: record.Quarantine{Clinic: test.of, Code: "clinic-missing"}, Last: strings.Repeat("b", 64)}
		d, _, err := h.Decide(record.Decision{Action: record.ActionRelease, Correction: &record.Correction{Clinic: test.name}, By: "A", Reason: "r", DecidedAt: time.Unix(0, 0)})
		if fault.CodeOf(err) != test.code {
			t.Errorf("%q for a file of %s: %v", test.name, test.of, err)
		}
		if err == nil && (d.Clinic != quarantine.Unassigned || d.Correction.Clinic != test.name) {
			t.Errorf("the decision is %+v", d)
		}
	}
}

// FuzzProblems: what Problems lets through, the schema takes, and the other way round.
func FuzzProblems(f *testing.F) {
	f.Add("Anna", "Seen.", "R", "P1", "NORTH", "north")
	f.Add("", "", "B", "P\\1", "é", "north west")
	f.Add(strings.Repeat("é", 100), strings.Repeat("r", 1001), "", " P1", "P1 ", "-")
	f.Fuzz(func(t *testing.T, by, reason, laterality, patient, issuer, clinic string) {
		for _, s := range []string{by, reason, patient, issuer, clinic} {
			if !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
				t.Skip("JSON replaces it")
			}
		}
		c := record.Correction{Laterality: record.Laterality(laterality), PatientID: patient, Issuer: issuer, Clinic: clinic}
		d := record.Decision{Schema: record.DecisionSchema, Clinic: "north", QuarantineKey: "k", Number: 1, Action: record.ActionRelease, By: by, Reason: reason, DecidedAt: time.Unix(0, 0).UTC(), PreviousSha256: strings.Repeat("a", 64)}
		if c != (record.Correction{}) {
			d.Correction = &c
		}
		_, err := record.Encode(record.DecisionSchema, d)
		problems := quarantine.Problems(d)
		if (err == nil) != (len(problems) == 0) && clinic != quarantine.Unassigned {
			t.Errorf("problems %v, the schema: %v", problems, err)
		}
	})
}
