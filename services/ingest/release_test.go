package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/quarantine"
	"github.com/noctua-screening/noctua/pkg/record"
)

// only returns the key of the only file in quarantine.
func (w *world) only(t testing.TB) string {
	t.Helper()
	for _, key := range w.keys(w.Buckets().Quarantine) {
		if d, ok := blob.ParseQuarantineDocument(key); ok && d.Kind == blob.QuarantineReason {
			return d.Key
		}
	}
	t.Fatal("the quarantine is empty")
	return ""
}

func (w *world) history(t testing.TB, key string) quarantine.History {
	t.Helper()
	h, err := quarantine.Load(t.Context(), w, w.Buckets().Quarantine, key)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// decide writes a decision as the report service does, and returns its event.
func (w *world) decide(t testing.TB, key string, action record.DecisionAction, correction *record.Correction) event.Envelope {
	t.Helper()
	d, done, err := w.history(t, key).Decide(record.Decision{Action: action, Correction: correction, By: "Anna", Reason: "Asked.", DecidedAt: w.now()})
	if err != nil || done {
		t.Fatalf("deciding: %v, %v", done, err)
	}
	raw, err := record.Encode(record.DecisionSchema, d)
	if err != nil {
		t.Fatal(err)
	}
	at := blob.QuarantineDocument{Key: key, Kind: blob.QuarantineDecision, Number: d.Number}.DocumentKey()
	if err := w.PutBytes(t.Context(), w.Buckets().Quarantine, at, raw, blob.PutOptions{IfNoneMatch: true}); err != nil {
		t.Fatal(err)
	}
	e, err := event.New(event.TypeQuarantineDecided, "x", d.Clinic, w.now(), event.QuarantineDecided{QuarantineKey: key, Number: d.Number})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// eyeless is a sound photograph that does not say which eye it shows; different patients have different instances.
func eyeless(n int, change dicomtest.Elements) []byte {
	return dicomtest.Native().With(dicomtest.Elements{0x00200062: {}, 0x00080018: dicomtest.Text("UI", fmt.Sprint("1.2.3.", n))}).With(change).Encode(false)
}

// TestReleaseKilledAnywhere kills the process at every write of a release, before and after the write, and does it again.
func TestReleaseKilledAnywhere(t *testing.T) {
	t.Parallel()
	eye := &record.Correction{Laterality: record.RightEye}
	tests := []struct {
		name               string
		prepare            [][]byte // dropped and dealt with before
		drop               []byte
		correction         *record.Correction
		result             record.ReleaseResult
		code               string
		images, duplicates int
	}{
		{"corrected", nil, eyeless(1, nil), eye, record.ReleaseArchived, "", 1, 0},
		{"corrected, there already", [][]byte{eyeless(1, dicomtest.Elements{0x00200062: dicomtest.Text("CS", "R")})}, eyeless(1, nil), eye, record.ReleaseDuplicate, "", 1, 1},
		{"corrected header, same picture: a revision", [][]byte{eyeless(1, dicomtest.Elements{0x00200062: dicomtest.Text("CS", "L")})}, eyeless(1, nil), eye, record.ReleaseArchived, "", 2, 0},
		{"another picture of that number", [][]byte{eyeless(1, dicomtest.Elements{0x00200062: dicomtest.Text("CS", "L"), 0x7FE00010: {VR: "OB", Value: make([]byte, 36)}})},
			eyeless(1, nil), eye, record.ReleaseRefused, CodeIdentity, 1, 0},
		{"not corrected", nil, eyeless(1, nil), nil, record.ReleaseRefused, dicom.CodeLateralityMissing, 0, 0},
		{"no DICOM", nil, []byte("x"), nil, record.ReleaseRefused, dicom.CodeNotDICOM, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for at, reached := 1, true; reached; at++ {
				reached = false
				for _, after := range []bool{false, true} {
					w := newWorld()
					for i, data := range test.prepare {
						w.drop(fmt.Sprint("north/", i), data)
						drain(t, w)
						w.advance(time.Second)
					}
					w.drop("north/q", test.drop)
					drain(t, w)
					key := w.only(t)
					w.advance(time.Second)
					e := w.decide(t, key, record.ActionRelease, test.correction)
					for again := range 2 {
						w.revive(at+again, after)
						s, _ := newService(t, w, nil)
						err := s.HandleDecision(t.Context(), e)
						if w.isKilled() {
							reached = true
							kills++
						} else if err != nil {
							t.Fatal(err)
						}
						w.advance(time.Hour) // past midnight
					}
					w.revive(0, false)
					s, _ := newService(t, w, nil)
					for range 2 { // and once more than needed
						if err := s.HandleDecision(t.Context(), e); err != nil {
							t.Fatal(err)
						}
					}
					name := fmt.Sprintf("killed at write %d, after %v", at, after)
					h := w.history(t, key)
					if got := h.Steps[0].Release; got.Result != test.result || got.Code != test.code {
						t.Errorf("%s: %+v", name, got)
					}
					o := w.outcomes()
					if o.images != test.images || o.documents != test.images || o.accepted != test.images || o.duplicates != test.duplicates || o.duplicate != test.duplicates || o.rejected != 1 {
						t.Errorf("%s: %+v", name, o)
					}
					if n := len(w.published(event.TypeQuarantineReleased)); n != 1 {
						t.Errorf("%s: %d events of the release", name, n)
					}
					kept, err := w.GetBytes(t.Context(), w.Buckets().Quarantine, key, 1<<20)
					if err != nil || !bytes.Equal(kept, test.drop) {
						t.Errorf("%s: the bytes in quarantine are not those that came: %v", name, err)
					}
				}
			}
			if kills < 4 {
				t.Errorf("only %d kills", kills)
			}
		})
	}
}

// TestReleaseStepByStep corrects a file that has two faults, one after the other, and looks at what is archived.
func TestReleaseStepByStep(t *testing.T) {
	t.Parallel()
	w := newWorld()
	native := eyeless(1, dicomtest.Elements{0x00100020: {}})
	copy(native, "MZ")
	w.drop("north/q", native)
	drain(t, w)
	key := w.only(t)
	s, l := newService(t, w, nil)
	step := func(c record.Correction, state quarantine.State, code string) {
		t.Helper()
		w.advance(time.Second)
		if err := s.HandleDecision(t.Context(), w.decide(t, key, record.ActionRelease, &c)); err != nil {
			t.Fatal(err)
		}
		h := w.history(t, key)
		if h.State() != state || state == quarantine.Open && h.Finding().Code != code {
			t.Fatalf("state %s, finding %+v; want %s, %s", h.State(), h.Finding(), state, code)
		}
	}
	if h := w.history(t, key); h.Finding().Code != dicom.CodePatientID {
		t.Fatalf("finding %+v", h.Finding())
	}
	step(record.Correction{PatientID: "P7"}, quarantine.Open, dicom.CodeLateralityMissing)
	step(record.Correction{Laterality: record.LeftEye}, quarantine.Released, "")
	var archived []byte
	for _, k := range w.keys(w.Buckets().Archive) {
		if strings.HasSuffix(k, ".dcm") {
			archived, _ = w.GetBytes(t.Context(), w.Buckets().Archive, k, 1<<20)
			i, err := s.readInstance(t.Context(), w.Buckets().Archive, strings.TrimSuffix(k, ".dcm")+".json")
			if err != nil || i.Patient.ID != "P7" || i.Patient.Key != record.PatientKey(secret(), "north", "", "P7") || i.Laterality != record.LeftEye {
				t.Errorf("instance %+v, %v", i, err)
			}
			if n := i.Notes[len(i.Notes)-1]; n.Code != codeCorrected || strings.Contains(n.Text, "P7") || strings.Contains(n.Text, "Anna") {
				t.Errorf("note %+v", n)
			}
		}
	}
	want := dicomtest.Native().With(dicomtest.Elements{0x00080018: dicomtest.Text("UI", "1.2.3.1"), 0x00100020: dicomtest.Text("LO", "P7"), 0x00200062: dicomtest.Text("CS", "L")}).Encode(false)
	if !bytes.Equal(archived, want) {
		t.Errorf("archived:\n%q\nwant\n%q", archived, want)
	}
	noPatients(t, w, l)
}

// TestAssignedClinic: what came without a clinic goes on as an upload of the one that a person assigns, its bytes as they came; more may
// be missing, and what comes out of a ZIP belongs to the clinic for good.
func TestAssignedClinic(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s, _ := newService(t, w, nil)
	release := func(key string, c *record.Correction) record.Release {
		t.Helper()
		w.advance(time.Second)
		if err := s.HandleDecision(t.Context(), w.decide(t, key, record.ActionRelease, c)); err != nil {
			t.Fatal(err)
		}
		steps := w.history(t, key).Steps
		return *steps[len(steps)-1].Release
	}
	whole := instance(t, "P1")
	w.drop("top.dcm", whole)
	w.drop("unassigned/eyeless.dcm", eyeless(1, nil))
	w.drop("a b/night.zip", archiveOf(t, "sound", instance(t, "P2"), "eyeless", eyeless(2, nil)))
	drain(t, w)
	keys := map[string]string{} // by name in the inbox
	for _, k := range w.keys(w.Buckets().Quarantine) {
		if d, ok := blob.ParseQuarantineDocument(k); ok {
			keys[w.history(t, d.Key).Document.InboxKey] = d.Key
		}
	}
	if len(keys) != 3 {
		t.Fatalf("in quarantine: %v", keys)
	}
	for name, code := range map[string]string{"top.dcm": CodeClinicMissing, "unassigned/eyeless.dcm": CodeClinicInvalid, "a b/night.zip": CodeClinicInvalid} {
		if d := w.history(t, keys[name]).Document; d.Code != code || d.Clinic != unassignedClinic {
			t.Errorf("%s is in quarantine as %s of %s", name, d.Code, d.Clinic)
		}
	}
	if r := release(keys["top.dcm"], nil); r.Code != CodeClinicMissing || r.Clinic != unassignedClinic {
		t.Errorf("without a clinic: %+v", r)
	}
	north := &record.Correction{Clinic: "north"}
	r := release(keys["top.dcm"], north)
	if r.Result != record.ReleaseArchived || r.Clinic != "north" {
		t.Fatalf("with a clinic: %+v", r)
	}
	archived, err := w.GetBytes(t.Context(), w.Buckets().Archive, r.ArchiveKey, 1<<20)
	if err != nil || !bytes.Equal(archived, whole) {
		t.Errorf("the bytes changed: %v", err)
	}
	i, err := s.readInstance(t.Context(), w.Buckets().Archive, strings.TrimSuffix(r.ArchiveKey, ".dcm")+".json")
	if err != nil || i.Clinic != "north" || i.Patient.Key != record.PatientKey(secret(), "north", i.Patient.Issuer, "P1") {
		t.Errorf("instance %+v, %v", i, err)
	}
	if n := i.Notes[len(i.Notes)-1]; n.Code != codeClinic || !strings.Contains(n.Text, "north") {
		t.Errorf("note %+v", n)
	}
	w.mu.Lock()
	for _, e := range w.events {
		if e.Type == event.TypeImageAccepted && e.Clinic != "north" {
			t.Errorf("the event names %s", e.Clinic)
		}
	}
	w.mu.Unlock()

	if r := release(keys["unassigned/eyeless.dcm"], north); r.Code != dicom.CodeLateralityMissing || r.Clinic != "north" {
		t.Errorf("no eye either: %+v", r)
	}
	if r := release(keys["unassigned/eyeless.dcm"], &record.Correction{Laterality: record.LeftEye}); r.Result != record.ReleaseArchived || r.Clinic != "north" {
		t.Errorf("an eye after the clinic: %+v", r)
	}
	if h := w.history(t, keys["top.dcm"]); h.Document.Clinic != unassignedClinic {
		t.Errorf("the first document changed: %+v", h.Document)
	}

	if r := release(keys["a b/night.zip"], &record.Correction{Clinic: "south"}); r.Result != record.ReleaseUnpacked || r.Clinic != "south" {
		t.Fatalf("a ZIP: %+v", r)
	}
	assigned := map[string]int{} // pictures that say who they were assigned to
	for _, k := range w.keys(w.Buckets().Archive) {
		if strings.HasPrefix(k, "images/") && strings.HasSuffix(k, ".json") {
			i, err := s.readInstance(t.Context(), w.Buckets().Archive, k)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(i.Notes, func(n record.Note) bool { return n.Code == codeClinic && strings.Contains(n.Text, i.Clinic) }) {
				assigned[i.Clinic]++
			}
		}
	}
	if assigned["north"] != 2 || assigned["south"] != 1 {
		t.Errorf("pictures that say which clinic was assigned: %v", assigned)
	}
	for _, k := range w.keys(w.Buckets().Quarantine) {
		if d, ok := blob.ParseQuarantineDocument(k); ok && d.Kind == blob.QuarantineReason && strings.HasPrefix(k, "south/") {
			if r := release(d.Key, &record.Correction{Laterality: record.RightEye}); r.Result != record.ReleaseArchived || r.Clinic != "south" {
				t.Errorf("out of the ZIP: %+v", r)
			}
			return
		}
	}
	t.Error("what the ZIP held is not the clinic's")
}

// TestForgottenRelease loses the event of a decision; a discard waits for nothing.
func TestForgottenRelease(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/q", eyeless(1, nil))
	drain(t, w)
	key := w.only(t)
	w.decide(t, key, record.ActionDiscard, nil)
	s, _ := newService(t, w, nil)
	if n, err := s.reconcileQuarantine(t.Context()); n != 0 || err != nil {
		t.Errorf("a discard: %d, %v", n, err)
	}
	w.decide(t, key, record.ActionRelease, &record.Correction{Laterality: record.RightEye})
	for _, want := range []int{1, 0} {
		if n, err := s.reconcileQuarantine(t.Context()); n != want || err != nil {
			t.Errorf("%d releases, %v; want %d", n, err, want)
		}
	}
	if h := w.history(t, key); h.State() != quarantine.Released || len(h.Steps) != 2 {
		t.Errorf("%s after %d steps", h.State(), len(h.Steps))
	}
}

// TestReleaseOfOthers releases what is no single file of a clinic.
func TestReleaseOfOthers(t *testing.T) {
	t.Parallel()
	release := func(inbox string, data []byte, change func(w *world, key string), configure func(*Deps, *Config)) record.Release {
		t.Helper()
		w := newWorld()
		w.drop(inbox, data)
		s, _ := newService(t, w, configure)
		run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
		key := w.only(t)
		if change != nil {
			change(w, key)
		}
		w.advance(time.Second)
		later, _ := newService(t, w, nil)
		if err := later.HandleDecision(t.Context(), w.decide(t, key, record.ActionRelease, nil)); err != nil {
			t.Fatal(err)
		}
		return *w.history(t, key).Steps[0].Release
	}
	few := func(_ *Deps, c *Config) { c.MaxArchiveMembers = 1 }
	if r := release("north/z", archiveOf(t, "a", instance(t, "P1"), "b", []byte("x")), nil, few); r.Result != record.ReleaseUnpacked {
		t.Errorf("a ZIP that was too large before: %+v", r)
	}
	if r := release("top.dcm", instance(t, "P1"), nil, nil); r.Code != CodeClinicMissing {
		t.Errorf("a picture of no clinic: %+v", r)
	}
	gone := func(w *world, key string) { delete(w.objects[w.Buckets().Quarantine], key) }
	if r := release("north/q", []byte("x"), gone, nil); r.Code != CodeBytesMissing {
		t.Errorf("bytes that are gone: %+v", r)
	}
	other := func(w *world, key string) {
		w.objects[w.Buckets().Quarantine][key] = stored{instance(t, "P1")[:1], w.clock}
	}
	if r := release("north/q", []byte("x"), other, nil); r.Code != CodeBytesMissing {
		t.Errorf("other bytes: %+v", r)
	}
}
