package ingest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/record"
)

func TestAcceptedImage(t *testing.T) {
	t.Parallel()
	w := newWorld()
	data := instance(t, "P1")
	w.drop("north/Secretfile 1.dcm", data)
	l := drain(t, w)
	w.check(t, "one image", 1, 0, 0)
	for _, key := range w.keys(w.Buckets().Archive) {
		raw, err := w.GetBytes(t.Context(), w.Buckets().Archive, key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(key, ".dcm"):
			if !bytes.Equal(raw, data) {
				t.Error("the archived bytes differ")
			}
		case strings.HasPrefix(key, "images/"):
			i, err := record.Decode[record.Instance](record.InstanceSchema, raw)
			if err != nil {
				t.Fatal(err)
			}
			if i.Clinic != "north" || i.Patient.ID != "P1" || i.Patient.Key != record.PatientKey(secret(), "north", "HRF", "P1") || len(i.PixelSha256) != 64 || i.SizeBytes != len(data) {
				t.Errorf("%+v", i)
			}
		}
	}
	noPatients(t, w, l)
}

func TestDropAgain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 5 {
		w.drop(fmt.Sprintf("north/a/%d", i), instance(t, fmt.Sprint("P", i)))
	}
	drain(t, w)
	w.check(t, "first", 5, 0, 0)
	w.advance(time.Hour)
	for i := range 5 {
		w.drop(fmt.Sprintf("north/b/%d", i), instance(t, fmt.Sprint("P", i)))
	}
	drain(t, w)
	w.check(t, "again", 5, 0, 5)
}

func TestSameBytesAtOnce(t *testing.T) {
	t.Parallel()
	for round := range 20 {
		w := newWorld()
		for i := range 8 {
			w.drop(fmt.Sprintf("north/%d", i), instance(t, "P1"))
			w.drop(fmt.Sprintf("north/bad%d", i), []byte("no picture"))
		}
		s, _ := newService(t, w, func(_ *Deps, c *Config) { c.Workers = 8 })
		run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
		w.check(t, fmt.Sprint("round ", round), 1, 1, 14)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	sound := instance(t, "P1")
	tests := []struct {
		key    string
		data   []byte
		clinic string
		code   string
	}{
		{"north/x.dcm", sound[:len(sound)-100], "north", dicom.CodeTruncated},
		{"north/x.txt", []byte("hello"), "north", dicom.CodeNotDICOM},
		{"north/empty", nil, "north", dicom.CodeNotDICOM},
		{"x.dcm", sound, unassignedClinic, CodeClinicMissing},
		{"north west/x.dcm", sound, unassignedClinic, CodeClinicInvalid},
		{"north/z.zip", archiveOf(t)[:10], "north", CodeArchiveDamaged},
		{"north/z.zip", archiveOf(t), "north", CodeArchiveEmpty},
		{"north/z.zip", archiveOf(t, "__MACOSX/x", []byte("x"), "a/.DS_Store", []byte("x"), "DICOMDIR", []byte("x")), "north", CodeArchiveEmpty},
		{"north/z.zip", archiveOf(t, "bomb", make([]byte, 2<<20)), "north", CodeArchiveBomb},
		{"north/z.zip", archiveOf(t, "inner.zip", archiveOf(t, "x", sound)), "north", CodeArchiveNested},
		{"north/z.zip", encrypted(archiveOf(t, "x", sound)), "north", CodeArchiveEncrypted},
	}
	for _, test := range tests {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop(test.key, test.data)
			l := drain(t, w)
			w.check(t, test.code, 0, 1, 0)
			if got := w.reasons(t); len(got) != 1 || got[0] != test.code {
				t.Errorf("codes %v", got)
			}
			if key := w.keys(w.Buckets().Quarantine)[0]; !strings.HasPrefix(key, test.clinic+"/2026-11-23/") {
				t.Errorf("key %s", key)
			}
			noPatients(t, w, l)
		})
	}
}

func TestTooLargeIsNotSpooled(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/large", make([]byte, 5000))
	s, _ := newService(t, w, func(_ *Deps, c *Config) {
		c.MaxObjectBytes = 4999
		c.SpoolDir = "/nonexistent" // any spooling would fail
	})
	run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
	w.check(t, "large", 0, 1, 0)
	if got := w.reasons(t); got[0] != CodeObjectTooLarge {
		t.Errorf("codes %v", got)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	same := func(a *dicom.FundusAttributes) { a.SOPUID, a.StudyUID = "1.2.3.4", "1.2.3" }
	first := instance(t, "P1", same)
	t.Run("corrected header", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.drop("north/1", first)
		drain(t, w)
		w.drop("north/2", instance(t, "P1", same, func(a *dicom.FundusAttributes) { a.PatientName = "Corrected" }))
		drain(t, w)
		w.check(t, "a second revision", 2, 0, 0)
	})
	for name, other := range map[string][]byte{
		"other pixels": instance(t, "P2", same),
		"other study":  instance(t, "P1", same, func(a *dicom.FundusAttributes) { a.StudyUID = "1.2.4" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/1", first)
			drain(t, w)
			w.drop("north/2", other)
			drain(t, w)
			w.check(t, name, 1, 1, 0)
			if got := w.reasons(t); got[0] != CodeIdentity {
				t.Errorf("codes %v", got)
			}
		})
	}
}

func TestWakes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	wake := make(chan struct{})
	s, _ := newService(t, w, func(d *Deps, c *Config) {
		d.Wake = wake
		c.ListEvery = time.Hour
	})
	run(t, s, func() bool {
		if len(w.outcomesOf(event.TypeImageAccepted)) == 1 {
			return true
		}
		if len(w.keys(w.Buckets().Inbox)) == 0 {
			w.drop("north/1", instance(t, "P1"))
		}
		select {
		case wake <- struct{}{}:
		default:
		}
		return false
	})
}

func TestEveryCodeHasAReason(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{".", "../../pkg/dicom", "../../pkg/dicom/pixel"} {
		for _, code := range codesIn(t, dir) {
			r, known := reasonOf(code)
			if !known || r.sentence == "" || r.action == "" {
				t.Errorf("%s has no reason or action", code)
			}
		}
	}
}

// codesIn reads the Code… constants off a package's source; CodeNote… are notes, file-unreadable is never a refusal, and those that
// are another package's are read there.
func codesIn(t *testing.T, dir string) (codes []string) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			fields := strings.Fields(line)
			if len(fields) >= 3 && strings.HasPrefix(fields[0], "Code") && !strings.HasPrefix(fields[0], "CodeNote") && fields[1] == "=" && fields[0] != "CodeUnreadable" && fields[2][0] == '"' {
				codes = append(codes, strings.Trim(fields[2], `"`))
			}
		}
	}
	if len(codes) < 3 {
		t.Fatalf("only %d codes in %s", len(codes), dir)
	}
	return codes
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"secret":  {SiteSecret: []byte("short")},
		"workers": {SiteSecret: secret(), Workers: -1},
		"model":   {SiteSecret: secret(), ModelSHA256: "abc"},
		"times":   {SiteSecret: secret(), ListEvery: -1},
	} {
		if _, err := New(Deps{}, c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Deps{}, Config{SiteSecret: secret()}); err == nil {
		t.Error("no error without dependencies")
	}
}

func TestPatientKey(t *testing.T) {
	t.Parallel()
	a := record.PatientKey(secret(), "north", "HRF", "P1")
	if len(a) != 64 || a != record.PatientKey(secret(), "north", "HRF", "P1") {
		t.Errorf("%s", a)
	}
	for _, other := range []string{record.PatientKey(secret(), "south", "HRF", "P1"), record.PatientKey(secret(), "north", "", "HRFP1"), record.PatientKey(secret(), "north", "HR", "FP1"), record.PatientKey([]byte("another secret"), "north", "HRF", "P1")} {
		if other == a {
			t.Error("two patients share a key")
		}
	}
}
