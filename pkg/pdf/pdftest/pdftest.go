// Package pdftest reads PDF documents with poppler's programs, which are none of ours. It is for tests alone.
package pdftest

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// run gives a document to one of poppler's programs by its standard input, or skips the test.
func run(t *testing.T, raw []byte, program string, args ...string) string {
	t.Helper()
	name, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing under CI: %v", program, err)
		}
		t.Skipf("SKIPPED, NOT RUN: there is no %s; apt-get install poppler-utils", program)
	}
	command := exec.CommandContext(t.Context(), name, args...) //nolint:gosec // the programs are named in this file
	command.Stdin = bytes.NewReader(raw)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		t.Fatalf("%s %v: %v %s", program, args, err, complaints.String())
	}
	if complaints.Len() > 0 {
		t.Errorf("%s complains: %s", program, complaints.String())
	}
	return out.String()
}

// Text is what the document says, in logical order, line by line.
func Text(t *testing.T, raw []byte) string {
	t.Helper()
	return run(t, raw, "pdftotext", "-enc", "UTF-8", "-layout", "-", "-")
}

// Info is what pdfinfo tells, by its names.
func Info(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	facts := map[string]string{}
	for line := range strings.SplitSeq(run(t, raw, "pdfinfo", "-enc", "UTF-8", "-"), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			facts[name] = strings.TrimSpace(value)
		}
	}
	return facts
}

// Fonts are the lines of pdffonts, without its heading: name, type, encoding, embedded, subset, with Unicode, object.
func Fonts(t *testing.T, raw []byte) [][]string {
	t.Helper()
	var all [][]string
	for n, line := range strings.Split(strings.TrimSpace(run(t, raw, "pdffonts", "-")), "\n") {
		if n > 1 {
			all = append(all, strings.Fields(line))
		}
	}
	return all
}

// PNG is the document as a picture, 96 dots an inch.
func PNG(t *testing.T, raw []byte) []byte {
	t.Helper()
	return []byte(run(t, raw, "pdftoppm", "-png", "-r", "96", "-"))
}

// Word is a word and where it stands, in points from the left upper corner.
type Word struct {
	Text string  `xml:",chardata"`
	Left float64 `xml:"xMin,attr"`
	Top  float64 `xml:"yMin,attr"`
	XMax float64 `xml:"xMax,attr"`
	YMax float64 `xml:"yMax,attr"`
}

// Words are all words of the document.
func Words(t *testing.T, raw []byte) []Word {
	t.Helper()
	var doc struct {
		Words []Word `xml:"body>doc>page>word"`
	}
	if err := xml.Unmarshal([]byte(run(t, raw, "pdftotext", "-bbox", "-", "-")), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Words
}
