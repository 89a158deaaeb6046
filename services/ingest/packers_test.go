package ingest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/test/shared"
)

// TestInfoZIP packs real pictures with the program that most clinics' scripts call.
func TestInfoZIP(t *testing.T) {
	t.Parallel()
	zipProgram := shared.Program(t, "zip", "zip")
	clinic := shared.Dir(t, "dicom", "clinic")
	work := t.TempDir()
	for name, from := range map[string]string{"a.dcm": "chase_01L.dcm", "b.dcm": "chase_01R.dcm"} {
		data, err := os.ReadFile(filepath.Join(clinic, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pack := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(zipProgram, append([]string{"-q"}, args...)...)
		cmd.Dir = work
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("zip %q: %v", args, err)
		}
		return out
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(work, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	file := func(name string, args ...string) []byte {
		t.Helper()
		pack(append([]string{name}, args...)...)
		return read(name)
	}
	streamed := pack("-", "a.dcm", "b.dcm")
	deflated := file("deflated.zip", "a.dcm", "b.dcm")
	file("one.zip", "a.dcm")
	split := file("split.zip", "-s", "64k", "a.dcm", "b.dcm") // of the last part
	for _, test := range []struct {
		name   string
		data   []byte
		images int
		codes  []string
	}{
		{"deflated", deflated, 2, nil},
		{"stored", file("stored.zip", "-0", "a.dcm", "b.dcm"), 2, nil},
		{"streamed", streamed, 2, nil},
		{"streamed, without directory", cutBefore(streamed, directorySignature, 0), 2, []string{CodeArchiveIncomplete}},
		{"streamed, cut", streamed[:len(streamed)*3/4], 1, []string{CodeArchiveIncomplete}},
		{"of 64 bits", file("wide.zip", "-fz", "a.dcm", "b.dcm"), 2, nil},
		{"a password on one", file("one.zip", "-P", "secret", "b.dcm"), 1, []string{CodeMemberEncrypted}},
		{"a password on all", file("all.zip", "-P", "secret", "a.dcm", "b.dcm"), 0, []string{CodeArchiveEncrypted}},
		{"bzip2", file("bzip2.zip", "-Z", "bzip2", "a.dcm"), 0, []string{CodeMemberMethod}},
		{"first of two parts", read("split.z01"), 0, []string{CodeArchiveSplit}},
		{"last of two parts", split, 0, []string{CodeArchiveSplit}},
		{"self-extracting", slices.Concat([]byte("MZ"), make([]byte, 4000), deflated), 2, nil},
		{"self-extracting, cut", slices.Concat([]byte("MZ"), make([]byte, 4000), deflated[:len(deflated)-100]), 0, []string{dicom.CodeNotDICOM}},
		{"behind a picture", slices.Concat(read("a.dcm"), deflated), 0, []string{dicom.CodeMalformed}},
		{"with a comment", append(bytes.Clone(deflated[:len(deflated)-2]), []byte("\x05\x00night")...), 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/night.zip", test.data)
			drain(t, w)
			w.check(t, test.name, test.images, len(test.codes), 0)
			if got := w.reasons(t); !slices.Equal(got, test.codes) {
				t.Errorf("codes %v, want %v", got, test.codes)
			}
		})
	}
}
