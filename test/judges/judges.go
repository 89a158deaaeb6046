package judges

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/test/shared"
)

// Conforms asks dciodvfy whether an object is what its class of objects must be; class is as that program names it. Warnings are
// allowed: a private coding scheme is one.
func Conforms(t testing.TB, path, class string) {
	t.Helper()
	out, err := exec.Command(shared.Program(t, "dciodvfy", "dicom3tools"), path).CombinedOutput() //nolint:gosec // a test's own file
	if text := string(out); err != nil || strings.Contains(text, "Error") || !strings.Contains(text, class) {
		t.Errorf("dciodvfy on %s: %v\n%s", path, err, text)
	}
}

// Dump asks dcmdump for what is in an object, long values included.
func Dump(t testing.TB, path string) string {
	t.Helper()
	return clean(t, exec.Command(shared.Program(t, "dcmdump", "dcmtk"), "+L", path)) //nolint:gosec // a test's own file
}

// ReportDump asks dsrdump for a structured report, which must hold nothing that it has to complain of.
func ReportDump(t testing.TB, path string) string {
	t.Helper()
	return clean(t, exec.Command(shared.Program(t, "dsrdump", "dcmtk"), "+Pl", "+Pu", path)) //nolint:gosec // a test's own file
}

// notChecked is what dcmtk says of every report in UTF-8: that it does not check the characters, not that one is wrong.
const notChecked = "W: The VR checker does not support this Specific Character Set: ISO_IR 192\n"

// clean runs a program that must succeed and not complain, and returns what it prints.
func clean(t testing.TB, c *exec.Cmd) string {
	t.Helper()
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	err := c.Run()
	if complaint := strings.ReplaceAll(complaints.String(), notChecked, ""); err != nil || complaint != "" {
		t.Errorf("%v: %v\n%s", c.Args, err, complaint)
	}
	return out.String()
}

// Segment is what a reader finds in a segmentation.
type Segment struct {
	Number int    `json:"number"`
	Label  string `json:"label"`
	Pixels int    `json:"pixels"`
	SHA256 string `json:"sha256"` // of the mask, a byte a pixel, 0 or 1
}

// SegmentOf is what a reader must find of a mask.
func SegmentOf(number int, label string, m *raster.Mask) Segment {
	bits := make([]byte, len(m.Pix))
	for i, v := range m.Pix {
		if v != 0 {
			bits[i] = 1
		}
	}
	sum := sha256.Sum256(bits)
	return Segment{number, label, m.Count(), hex.EncodeToString(sum[:])}
}

//go:embed read.py
var pydicomScript string

// Object is what pydicom reads of an object: attributes by keyword as text, and the segments of a SEG.
type Object struct {
	Attributes map[string]string `json:"attributes"`
	Segments   []Segment         `json:"segments"`
}

// Pydicom asks pydicom what is in an object.
func Pydicom(t testing.TB, path string) Object {
	t.Helper()
	var o Object
	interpreter := python()
	if interpreter == "" {
		missing(t, "pydicom is missing; install python3-pydicom and python3-numpy")
	}
	decode(t, exec.Command(interpreter, "-c", pydicomScript, path), &o) //nolint:gosec // a test's own file
	return o
}

// python finds an interpreter that has pydicom, "" if none has; Debian's is not always the first on the path. It looks once, since
// that takes as long as reading a file.
var python = sync.OnceValue(func() string {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import pydicom, numpy").Run() == nil { //nolint:gosec // one of two
			return name
		}
	}
	return ""
})

// OHIF loads a SEG over its source picture with the loader of the viewer OHIF.
func OHIF(t testing.TB, seg, source string) []Segment {
	t.Helper()
	dir := filepath.Join(shared.Root(t), "test", "ohif")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@cornerstonejs", "adapters")); err != nil {
		missing(t, "OHIF's loader is missing; make test-deps installs it in test/ohif")
	}
	var segments []Segment
	decode(t, exec.Command(shared.Program(t, "node", "nodejs"), filepath.Join(dir, "load.mjs"), seg, source), &segments) //nolint:gosec // a test's own files
	return segments
}

// decode runs a program that prints JSON.
func decode(t testing.TB, c *exec.Cmd, into any) {
	t.Helper()
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s\n%s", c.Args[len(c.Args)-1], err, out, complaints.String())
	}
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("under CI: %s", what)
	}
	t.Skipf("SKIPPED, NOT RUN: %s", what)
}
