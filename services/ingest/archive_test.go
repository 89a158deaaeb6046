package ingest

import (
	"archive/zip"
	"bytes"
	"fmt"
	"testing"
	"time"
)

// encrypted sets the encryption flag of every member.
func encrypted(archive []byte) []byte {
	out := bytes.Clone(archive)
	for i := range out {
		if bytes.HasPrefix(out[i:], []byte("PK\x03\x04")) {
			out[i+6] |= 1
		}
		if bytes.HasPrefix(out[i:], []byte("PK\x01\x02")) {
			out[i+8] |= 1
		}
	}
	return out
}

func TestArchiveMembers(t *testing.T) {
	t.Parallel()
	a, b := instance(t, "P1"), instance(t, "P2")
	damaged := archiveOf(t, "a.dcm", a, "b.dcm", b, "c.dcm", instance(t, "P3"))
	// A byte in the middle of the second member's compressed data.
	r, err := zip.NewReader(bytes.NewReader(damaged), int64(len(damaged)))
	if err != nil {
		t.Fatal(err)
	}
	at, err := r.File[1].DataOffset()
	if err != nil {
		t.Fatal(err)
	}
	damaged[at+int64(r.File[1].CompressedSize64)/2] ^= 0x55
	tests := []struct {
		name                            string
		data                            []byte
		images, quarantined, duplicates int
	}{
		{"two good, litter, one bad", archiveOf(t, "x/a.dcm", a, "x/.DS_Store", []byte("x"), "x/b.dcm", b, "readme.txt", []byte("hello"), "x/", []byte{}), 2, 1, 0},
		{"one member damaged", damaged, 2, 1, 0},
		{"same picture twice", archiveOf(t, "a.dcm", a, "b.dcm", a), 1, 0, 1},
		{"same name twice", archiveOf(t, "a.dcm", a, "a.dcm", b, "a.dcm", a), 2, 0, 1},
		{"names that climb", archiveOf(t, "../../a.dcm", a, "/etc/b.dcm", b, `..\..\c.dcm`, []byte("x")), 2, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.drop("north/night.zip", test.data)
			drain(t, w)
			w.check(t, test.name, test.images, test.quarantined, test.duplicates)
			w.advance(time.Second)
			w.drop("north/night.zip", test.data) // the same night again
			drain(t, w)
			w.check(t, test.name+" again", test.images, test.quarantined, test.duplicates+test.images+test.quarantined+test.duplicates)
		})
	}
}

func TestArchiveLimits(t *testing.T) {
	t.Parallel()
	var many []any
	for i := range 30 {
		many = append(many, fmt.Sprint("f", i), []byte("x"))
	}
	for name, change := range map[string]func(*Config){
		"members": func(c *Config) { c.MaxArchiveMembers = 29 },
		"total":   func(c *Config) { c.MaxArchiveBytes = 29 },
	} {
		w := newWorld()
		w.drop("north/night.zip", archiveOf(t, many...))
		s, _ := newService(t, w, func(_ *Deps, c *Config) { change(c) })
		run(t, s, func() bool { return len(w.keys(w.Buckets().Inbox)) == 0 })
		if got := w.reasons(t); len(got) != 1 || got[0] != CodeArchiveTooLarge {
			t.Errorf("%s: codes %v", name, got)
		}
	}
}
