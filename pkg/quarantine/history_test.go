package quarantine_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

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
