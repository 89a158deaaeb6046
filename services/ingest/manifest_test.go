package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/record"
)

const testStudy = "1.2.826.7"

// ofStudy puts an instance into the study of the tests.
func ofStudy(n int) func(*dicom.FundusAttributes) {
	return func(a *dicom.FundusAttributes) { a.StudyUID, a.SOPUID = testStudy, fmt.Sprint(testStudy, ".", n) }
}

// manifestOf announces files, numbered from 1 as ofStudy does.
func manifestOf(t testing.TB, files ...[]byte) []byte {
	t.Helper()
	m := record.Manifest{Schema: record.ManifestSchema, StudyUID: testStudy}
	for n, file := range files {
		digest := sha256.Sum256(file)
		m.Instances = append(m.Instances, record.ExpectedInstance{SOPUID: fmt.Sprint(testStudy, ".", n+1), Sha256: hex.EncodeToString(digest[:]), SizeBytes: len(file)})
	}
	raw, err := record.Encode(record.ManifestSchema, m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (w *world) expected() (keys []string) {
	for _, key := range w.keys(w.Buckets().Archive) {
		if strings.HasPrefix(key, "expected/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestManifest: by whatever way a manifest comes, it is written down once and told.
func TestManifest(t *testing.T) {
	t.Parallel()
	a, b := instance(t, "P1", ofStudy(1)), instance(t, "P1", ofStudy(2), func(a *dicom.FundusAttributes) { a.Laterality = record.LeftEye })
	manifest := manifestOf(t, a, b)
	for name, drop := range map[string]func(*world){
		"beside its files": func(w *world) {
			w.drop("north/study/manifest.json", manifest)
			w.drop("north/study/a", a)
			w.drop("north/study/b", b)
		},
		"deep, in capitals": func(w *world) {
			w.drop("north/x/y/Manifest.JSON", manifest)
			w.drop("north/a", a)
			w.drop("north/b", b)
		},
		"in a ZIP with its files": func(w *world) { w.drop("north/n.zip", archiveOf(t, "s/a", a, "s/manifest.json", manifest, `s\b`, b)) },
		"with a byte order mark and news": func(w *world) {
			news := bytes.Replace(manifest, []byte("{"), []byte("\uFEFF{\"camera\": {\"deep\": []},"), 1)
			w.drop("north/manifest.json", news)
			w.drop("north/a", a)
			w.drop("north/b", b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			drop(w)
			l := drain(t, w)
			w.check(t, name, 2, 0, 0)
			doc := readOne[record.Expected](t, w, record.ExpectedSchema, w.Buckets().Archive, "expected/")
			if doc.Clinic != "north" || doc.StudyUID != testStudy || len(doc.Instances) != 2 || !doc.ReceivedAt.Equal(w.now()) {
				t.Errorf("%+v", doc)
			}
			if ids := w.published(event.TypeStudyExpected); len(ids) != 1 {
				t.Errorf("events %v", ids)
			}
			noPatients(t, w, l)
			w.advance(time.Minute)
			drop(w)
			drain(t, w)
			w.check(t, name+" again", 2, 0, 3)
			if got := w.expected(); len(got) != 1 {
				t.Errorf("documents %v", got)
			}
		})
	}
}

// TestManifestOfAnotherName: DICOM is DICOM, whatever it is called.
func TestManifestOfAnotherName(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.drop("north/manifest.json", instance(t, "P1"))
	drain(t, w)
	w.check(t, "a picture called manifest.json", 1, 0, 0)
}

func TestBadManifests(t *testing.T) {
	t.Parallel()
	good := string(manifestOf(t, []byte("a"), []byte("b")))
	many := record.Manifest{Schema: record.ManifestSchema, StudyUID: testStudy}
	for n := range 2001 {
		many.Instances = append(many.Instances, record.ExpectedInstance{SOPUID: fmt.Sprint("1.", n), Sha256: strings.Repeat("a", 64), SizeBytes: 1})
	}
	tooMany, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty":                  "",
		"no JSON":                "expected: two pictures",
		"cut off":                good[:len(good)-5],
		"newer version":          strings.Replace(good, "manifest.v1", "manifest.v2", 1),
		"a list":                 "[" + good + "]",
		"no instances":           `{"schema":"noctua.manifest.v1","study_uid":"1.2","instances":[]}`,
		"UID of dots":            strings.Replace(good, `"study_uid":"`+testStudy, `"study_uid":"..`, 1),
		"path for UID":           strings.Replace(good, `"study_uid":"`+testStudy, `"study_uid":"../../x`, 1),
		"short hash":             `{"schema":"noctua.manifest.v1","study_uid":"1.2","instances":[{"sop_uid":"1","sha256":"ab","size_bytes":1}]}`,
		"same UID twice":         strings.ReplaceAll(good, testStudy+".2", testStudy+".1"),
		"size as text":           strings.Replace(good, `"size_bytes":1`, `"size_bytes":"1"`, 1),
		"absurd size":            strings.Replace(good, `"size_bytes":1`, `"size_bytes":1e300`, 1),
		"too many":               string(tooMany),
		"deep":                   strings.Repeat(`{"a":[`, 50_000),
		"enormous":               good + strings.Repeat(" ", maxDocumentBytes),
		"bytes that are no text": "\xff\xfe{\x00\x1b",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/study/manifest.json", []byte(data))
			l := drain(t, w)
			w.check(t, name, 0, 1, 0)
			if got := w.reasons(t); !slices.Equal(got, []string{CodeManifestInvalid}) {
				t.Errorf("codes %v", got)
			}
			if q := readOne[record.Quarantine](t, w, record.QuarantineSchema, w.Buckets().Quarantine, ""); len(q.Reason) > 2*maxManifestDetail {
				t.Errorf("a reason of %d bytes", len(q.Reason))
			}
			if got := w.expected(); got != nil || len(w.published(event.TypeStudyExpected)) > 0 {
				t.Errorf("documents %v", got)
			}
			noPatients(t, w, l)
		})
	}
}

// TestManifestUnderKills: whatever write the process dies at, the manifest ends once.
func TestManifestUnderKills(t *testing.T) {
	t.Parallel()
	for kill := 1; kill <= 3; kill++ {
		for _, after := range []bool{false, true} {
			w := newWorld()
			w.drop("north/manifest.json", manifestOf(t, []byte("a")))
			w.revive(kill, after)
			s, _ := newService(t, w, nil)
			run(t, s, w.isKilled)
			w.revive(0, false)
			drain(t, w)
			if got := w.expected(); len(got) != 1 || len(w.published(event.TypeStudyExpected)) != 1 {
				t.Errorf("killed at write %d: documents %v, events %v", kill, got, w.published(event.TypeStudyExpected))
			}
			w.check(t, "killed", 0, 0, 0)
		}
	}
}

// TestManifestWithoutStudy: a study of which nothing comes is said in quarantine, once, after the deadline.
func TestManifestWithoutStudy(t *testing.T) {
	t.Parallel()
	a, b := instance(t, "P1", ofStudy(1)), []byte("no picture")
	for name, test := range map[string]struct {
		files map[string][]byte
		unmet int
		codes []string
	}{
		"nothing came":           {nil, 1, []string{CodeManifestUnmet}},
		"a picture came":         {map[string][]byte{"north/a": a}, 0, nil},
		"a bad file came":        {map[string][]byte{"north/b": b}, 0, []string{dicom.CodeNotDICOM}},
		"of another study":       {map[string][]byte{"north/c": instance(t, "P2")}, 1, []string{CodeManifestUnmet}},
		"at another clinic, bad": {map[string][]byte{"south/b": b}, 1, []string{CodeManifestUnmet, dicom.CodeNotDICOM}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/manifest.json", manifestOf(t, a, b))
			for key, data := range test.files {
				w.drop(key, data)
			}
			drain(t, w)
			s, l := newService(t, w, nil)
			check := func(want int) {
				t.Helper()
				if unmet, err := s.reconcileManifests(t.Context()); err != nil || unmet != want {
					t.Errorf("%d manifests are unmet, %v; want %d", unmet, err, want)
				}
			}
			w.advance(59 * time.Minute)
			check(0)
			w.advance(time.Minute)
			check(test.unmet)
			check(0) // remembered
			s, _ = newService(t, w, nil)
			check(test.unmet) // found again by another process, and written once
			if got := w.reasons(t); !slices.Equal(got, test.codes) {
				t.Errorf("codes %v, want %v", got, test.codes)
			}
			noPatients(t, w, l)
		})
	}
}

// TestManifestsAreReleased: a manifest in quarantine is judged as one again, also if it came in a ZIP.
func TestManifestsAreReleased(t *testing.T) {
	t.Parallel()
	good := manifestOf(t, []byte("a"))
	bad := bytes.Replace(good, []byte("manifest.v1"), []byte("manifest.v9"), 1)
	for name, test := range map[string]struct {
		key    string
		data   []byte
		code   string // in quarantine
		result record.ReleaseResult
		again  string // code of the release
	}{
		"bad":           {"north/manifest.json", bad, CodeManifestInvalid, record.ReleaseRefused, CodeManifestInvalid},
		"bad in a ZIP":  {"north/n.zip", archiveOf(t, "s/manifest.json", bad), CodeManifestInvalid, record.ReleaseRefused, CodeManifestInvalid},
		"unmet":         {"north/manifest.json", good, CodeManifestUnmet, record.ReleaseDuplicate, ""},
		"unmet, in ZIP": {"north/n.zip", archiveOf(t, "s/manifest.json", good), CodeManifestUnmet, record.ReleaseDuplicate, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop(test.key, test.data)
			drain(t, w)
			w.advance(2 * time.Hour)
			s, _ := newService(t, w, nil)
			if _, err := s.reconcileManifests(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := w.reasons(t); !slices.Equal(got, []string{test.code}) {
				t.Fatalf("codes %v", got)
			}
			key := w.only(t)
			if err := s.HandleDecision(t.Context(), w.decide(t, key, record.ActionRelease, nil)); err != nil {
				t.Fatal(err)
			}
			steps := w.history(t, key).Steps
			if r := steps[len(steps)-1].Release; r == nil || r.Result != test.result || r.Code != test.again {
				t.Errorf("release %+v", r)
			}
		})
	}
}

// FuzzReadManifest: a manifest that is taken can be written down under a key of its own.
func FuzzReadManifest(f *testing.F) {
	f.Add(manifestOf(f, []byte("a"), []byte("b")))
	f.Add([]byte("\uFEFF" + `{"schema":"noctua.manifest.v1","study_uid":"1.2","instances":[{"sop_uid":"1","sha256":"` + strings.Repeat("0", 64) + `","size_bytes":1}],"more":1}`))
	f.Add([]byte(`{"schema":"noctua.manifest.v1","study_uid":"..","instances":null}`))
	f.Add([]byte(`[{`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := readManifest(raw)
		if err != nil {
			if line := inOneLine(err); len(line) > maxManifestDetail+len("…") || strings.ContainsAny(line, "\n\x00") {
				t.Errorf("detail %q", line)
			}
			return
		}
		if _, err := record.Encode(record.ExpectedSchema, record.Expected{Schema: record.ExpectedSchema, ReceiptID: strings.Repeat("0", 32), Clinic: "north",
			InboxKey: "x", Sha256: strings.Repeat("0", 64), StudyUID: m.StudyUID, Instances: m.Instances}); err != nil {
			t.Error(err)
		}
	})
}
