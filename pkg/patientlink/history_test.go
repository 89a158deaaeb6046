package patientlink_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/blob/blobtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/patientlink"
	"github.com/noctua-screening/noctua/pkg/record"
)

var at = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func keyOf(n int) string { return fmt.Sprintf("%064x", n) }

func person(n int) *record.PatientIdentity {
	return &record.PatientIdentity{Key: keyOf(n), ID: fmt.Sprintf("P%d", n)}
}

func merge(into int) record.PatientLink {
	return record.PatientLink{Clinic: "north", Action: patientlink.Merge, Into: person(into), By: "Nurse", Reason: "The same person.", DecidedAt: at}
}

func split(study string, into int) record.PatientLink {
	l := merge(into)
	l.Action, l.StudyUID = patientlink.Split, study
	return l
}

func undo(number int) record.PatientLink {
	l := merge(0)
	l.Action, l.Into, l.Undoes = patientlink.Undo, nil, number
	return l
}

// decided are decisions about patients.
type decided map[string]patientlink.History

func (d decided) add(t *testing.T, patient int, links ...record.PatientLink) {
	t.Helper()
	for _, l := range links {
		h := d[keyOf(patient)]
		h.PatientKey = keyOf(patient)
		complete, done, err := h.Decide(l)
		if err != nil || done {
			t.Fatalf("%+v: %v, %v", l, done, err)
		}
		h.Links = append(h.Links, complete)
		d[keyOf(patient)] = h
	}
}

func (d decided) whose(t *testing.T, patient int, study string) string {
	t.Helper()
	p, by, err := patientlink.Follow(keyOf(patient), study, func(key string) ([]record.PatientLink, error) { return d[key].Links, nil })
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		if len(by) != 0 {
			t.Errorf("nobody by %v", by)
		}
		return ""
	}
	if by[len(by)-1].Into.Key != p.Key {
		t.Errorf("%s by %v", p.ID, by)
	}
	return p.ID
}

func TestFollow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		make func(decided)
		want map[string]string // study → whose
	}{
		"nothing decided":             {func(decided) {}, map[string]string{"1.2": ""}},
		"merged":                      {func(d decided) { d.add(t, 1, merge(2)) }, map[string]string{"1.2": "P2", "1.3": "P2"}},
		"merged again":                {func(d decided) { d.add(t, 1, merge(2), merge(3)) }, map[string]string{"1.2": "P3"}},
		"a chain":                     {func(d decided) { d.add(t, 1, merge(2)); d.add(t, 2, merge(3)) }, map[string]string{"1.2": "P3"}},
		"undone":                      {func(d decided) { d.add(t, 1, merge(2), undo(1)) }, map[string]string{"1.2": ""}},
		"the one before counts again": {func(d decided) { d.add(t, 1, merge(2), merge(3), undo(2)) }, map[string]string{"1.2": "P2"}},
		"one study":                   {func(d decided) { d.add(t, 1, split("1.2", 2)) }, map[string]string{"1.2": "P2", "1.3": ""}},
		"a split before a merge":      {func(d decided) { d.add(t, 1, split("1.2", 2), merge(3)) }, map[string]string{"1.2": "P2", "1.3": "P3"}},
		"out of a merged patient":     {func(d decided) { d.add(t, 1, merge(2)); d.add(t, 2, split("1.2", 3)) }, map[string]string{"1.2": "P3", "1.3": "P2"}},
		"kept from a merge":           {func(d decided) { d.add(t, 1, merge(2), split("1.2", 1)) }, map[string]string{"1.2": "", "1.3": "P2"}},
		"a circle":                    {func(d decided) { d.add(t, 1, merge(2)); d.add(t, 2, merge(1)) }, map[string]string{"1.2": "P2"}},
	} {
		d := decided{}
		test.make(d)
		for study, want := range test.want {
			if got := d.whose(t, 1, study); got != want {
				t.Errorf("%s: study %s is of %q, want %q", name, study, got, want)
			}
		}
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	d := decided{}
	d.add(t, 1, merge(2))
	h := d[keyOf(1)]
	if _, done, err := h.Decide(merge(2)); err != nil || !done {
		t.Errorf("the same again: %v, %v", done, err)
	}
	long := merge(3)
	long.Reason = strings.Repeat("x", 501)
	nobody := merge(3)
	nobody.By = " "
	for name, test := range map[string]struct {
		link record.PatientLink
		code string
	}{
		"by nobody": {nobody, "link-invalid"}, "a long reason": {long, "link-invalid"}, "into itself": {merge(1), "link-invalid"},
		"a split of no study": {split("", 2), "link-invalid"}, "undoing what is not there": {undo(2), "link-undone"}, "undoing nothing": {undo(0), "link-undone"},
	} {
		if _, _, err := h.Decide(test.link); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.add(t, 1, undo(1))
	for name, test := range map[string]struct {
		link record.PatientLink
		code string
	}{"undoing twice": {undo(1), ""}, "undoing an undo": {undo(2), "link-invalid"}} {
		_, done, err := d[keyOf(1)].Decide(test.link)
		if test.code == "" && fault.CodeOf(err) != "link-undone" && !done || test.code != "" && fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
}

// TestLoad writes decisions to a bucket and reads them back; what does not fit is found.
func TestLoad(t *testing.T) {
	t.Parallel()
	store := blobtest.Start(t)
	bucket := store.Buckets().Reports
	var h patientlink.History
	write := func(l record.PatientLink) {
		t.Helper()
		raw, err := record.Encode(record.PatientLinkSchema, l)
		if err != nil {
			t.Fatal(err)
		}
		key, err := blob.PatientLink{PatientKey: l.PatientKey, Number: l.Number}.Key()
		if err != nil {
			t.Fatal(err)
		}
		if err := store.PutBytes(t.Context(), bucket, key, raw, blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (err error) {
		h, err = patientlink.Load(t.Context(), store, bucket, keyOf(1))
		return err
	}
	for n, l := range []record.PatientLink{merge(2), split("1.2", 3), undo(1)} {
		if err := load(); err != nil || len(h.Links) != n {
			t.Fatalf("%d decisions, %v", len(h.Links), err)
		}
		complete, _, err := h.Decide(l)
		if err != nil {
			t.Fatal(err)
		}
		write(complete)
	}
	if err := load(); err != nil || len(h.Links) != 3 || h.Counting("1.3") != nil || h.Counting("1.2") == nil {
		t.Fatalf("%+v, %v", h, err)
	}
	other := h.Links[1]
	other.Reason = "changed"
	write(other)
	if err := load(); fault.CodeOf(err) != "history-broken" {
		t.Errorf("a changed decision: %v", err)
	}
}

// TestFollowEnds: whatever was decided, also at the same moment by two people, a study is somebody's.
func TestFollowEnds(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		links := map[string][]record.PatientLink{}
		for range random.IntN(30) {
			key := keyOf(1 + random.IntN(6))
			l := merge(1 + random.IntN(6))
			switch random.IntN(3) {
			case 0:
				l = split("1.2", 1+random.IntN(6))
			case 1:
				l = undo(1 + random.IntN(4))
			}
			l.Number = len(links[key]) + 1
			links[key] = append(links[key], l)
		}
		asked := 0
		_, by, err := patientlink.Follow(keyOf(1), "1.2", func(key string) ([]record.PatientLink, error) { asked++; return links[key], nil })
		if err != nil || asked > 7 || len(by) > 6 {
			t.Fatalf("%d questions, %v", asked, by)
		}
	}
}
