package ingest_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/services/ingest"
	"github.com/noctua-screening/noctua/test/shared"
)

// receive starts a receiver in front of the site's inbox, for CAMERA of clinic north, and returns host and port.
func (s *site) receive() (host, port string) {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	receiver, err := ingest.NewReceiver(ingest.ReceiverDeps{Blob: s.store, Listener: listener, Logger: slog.New(slog.DiscardHandler), Clock: time.Now},
		ingest.ReceiverConfig{Clinics: map[string]string{"CAMERA": "north"}, SpoolDir: s.t.TempDir()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.background(receiver.Run)
	host, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	return host, port
}

// dcmtk runs a program of dcmtk as AE title CAMERA calling NOCTUA, and returns what it prints.
func dcmtk(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, shared.Program(t, name, "dcmtk"), append([]string{"-v", "-aet", "CAMERA", "-aec", "NOCTUA"}, args...)...).CombinedOutput()
	return string(out), err
}

func mustDCMTK(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := dcmtk(t, name, args...); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// inbox reads the inbox's objects.
func (s *site) inbox() [][]byte {
	s.t.Helper()
	var objects [][]byte
	bucket := s.store.Buckets().Inbox
	for info, err := range s.store.List(s.t.Context(), bucket, "") {
		if err != nil {
			s.t.Fatal(err)
		}
		data, err := s.store.GetBytes(s.t.Context(), bucket, info.Key, 1<<30)
		if err != nil {
			s.t.Fatal(err)
		}
		objects = append(objects, data)
	}
	return objects
}

// emptyInbox removes the inbox's objects.
func (s *site) emptyInbox() {
	s.t.Helper()
	bucket := s.store.Buckets().Inbox
	for info, err := range s.store.List(s.t.Context(), bucket, "") {
		if err != nil {
			s.t.Fatal(err)
		}
		if err := s.store.Remove(s.t.Context(), bucket, info.Key); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	host, port := s.receive()
	mustDCMTK(t, "echoscu", host, port)
	for reason, titles := range map[string][]string{"Calling AE Title Not": {"-aet", "STRANGER"}, "Called AE Title Not": {"-aec", "ELSEWHERE"}} {
		if out, err := dcmtk(t, "echoscu", append(titles, host, port)...); err == nil || !strings.Contains(out, reason) {
			t.Errorf("%v: %v\n%s", titles, err, out)
		}
	}
}

// encoding is a file's transfer syntax and data set.
func encoding(t *testing.T, raw []byte) (syntax string, dataset []byte) {
	t.Helper()
	start := 144 + int(raw[140]) + int(raw[141])<<8
	at := bytes.Index(raw[:start], []byte{2, 0, 0x10, 0, 'U', 'I'})
	if at < 0 {
		t.Fatal("a file without transfer syntax")
	}
	return string(bytes.TrimRight(raw[at+8:at+8+int(raw[at+6])], "\x00")), raw[start:]
}

// fromPixelData cuts off what precedes the pixel data of an Explicit VR Little Endian data set.
func fromPixelData(dataset []byte) []byte {
	return dataset[max(bytes.Index(dataset, []byte{0xE0, 0x7F, 0x10, 0, 'O', 'B'}), 0):]
}

// TestStoreInEverySyntax: storescu and dcmsend deliver each of the 15 encodings as it is, readable or not.
func TestStoreInEverySyntax(t *testing.T) {
	t.Parallel()
	dir := shared.Dir(t, "dicom", "syntaxes")
	s := newSite(t)
	host, port := s.receive()
	check := func(program, name string) {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got := s.inbox()
		if len(got) != 1 {
			t.Fatalf("%s %s: %d objects in the inbox", program, name, len(got))
		}
		syntax, dataset := encoding(t, got[0])
		wantSyntax, wantDataset := encoding(t, raw)
		if syntax != wantSyntax {
			t.Errorf("%s %s: transfer syntax %s, want %s", program, name, syntax, wantSyntax)
		}
		if name == "deflated.dcm" { // dcmtk deflates anew and pads to an even length
			wantDataset = append(wantDataset, make([]byte, len(wantDataset)%2)...)
		}
		if name == "j2k-lossy.dcm" { // dcmtk writes the sequences before the pixels in another way
			dataset, wantDataset = fromPixelData(dataset), fromPixelData(wantDataset)
		}
		if !bytes.Equal(dataset, wantDataset) {
			t.Errorf("%s %s: the data set of %d bytes differs from the file's of %d", program, name, len(dataset), len(wantDataset))
		}
		s.emptyInbox()
	}
	for name, proposal := range map[string]string{
		"implicit-le.dcm": "-xi", "explicit-le.dcm": "-xe", "explicit-be.dcm": "-xb", "deflated.dcm": "-xd", "rle.dcm": "-xr",
		"jpeg-baseline.dcm": "-xy", "jpeg-baseline-fragments.dcm": "-xy", "jpeg-extended.dcm": "-xx", "jpeg-lossless-70.dcm": "-xs",
		"jpegls-lossless.dcm": "-xt", "jpegls-near.dcm": "-xu", "j2k-lossless.dcm": "-xv", "j2k-lossy.dcm": "-xw",
	} {
		mustDCMTK(t, "storescu", "-R", proposal, host, port, filepath.Join(dir, name))
		check("storescu", name)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if slices.Contains([]string{"implicit-le.dcm", "explicit-be.dcm"}, e.Name()) {
			continue // dcmsend makes Explicit VR Little Endian of them
		}
		mustDCMTK(t, "dcmsend", "--decompress-never", host, port, filepath.Join(dir, e.Name()))
		check("dcmsend", e.Name())
	}
}

// TestClinicSends: the 40 files of a clinic's night in one association, and again in ten at once, become 40 images and 40
// duplicates.
func TestClinicSends(t *testing.T) {
	t.Parallel()
	dir := shared.Dir(t, "dicom", "clinic")
	s := newSite(t)
	host, port := s.receive()
	started := time.Now()
	mustDCMTK(t, "dcmsend", "--scan-directories", host, port, dir)
	t.Logf("40 files in one association in %v", time.Since(started).Round(time.Millisecond))
	if got := len(s.inbox()); got != 40 {
		t.Fatalf("%d objects in the inbox", got)
	}
	s.ingest(2)
	s.expect(40, 0, 0)

	paths, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	started = time.Now()
	var senders sync.WaitGroup
	for part := range slices.Chunk(paths, 4) {
		senders.Go(func() {
			if out, err := dcmtk(t, "dcmsend", append([]string{host, port}, part...)...); err != nil {
				t.Errorf("dcmsend: %v\n%s", err, out)
			}
		})
	}
	senders.Wait()
	t.Logf("40 files in ten associations at once in %v", time.Since(started).Round(time.Millisecond))
	s.expect(40, 0, 40)
}

// TestKilledSender kills senders in the middle of the night: what is in the inbox is whole, and sending again completes it.
func TestKilledSender(t *testing.T) {
	t.Parallel()
	dir := shared.Dir(t, "dicom", "clinic")
	s := newSite(t)
	host, port := s.receive()
	whole := map[string]bool{}
	for _, raw := range read(t, "clinic") {
		_, dataset := encoding(t, raw)
		whole[string(dataset)] = true
	}
	for arrived := 1; arrived <= 3; arrived++ {
		cmd := exec.Command(shared.Program(t, "dcmsend", "dcmtk"), "-aet", "CAMERA", "-aec", "NOCTUA", "--scan-directories", host, port, dir)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.wait(func() bool { return s.count(s.store.Buckets().Inbox, "", "") >= arrived })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("dcmsend was done before it was killed")
		}
		for _, object := range s.inbox() {
			if syntax, dataset := encoding(t, object); syntax != dicom.JPEGBaseline || !whole[string(dataset)] {
				t.Errorf("an object of %d bytes is none of the clinic's", len(object))
			}
		}
		s.emptyInbox()
	}
	mustDCMTK(t, "dcmsend", "--scan-directories", host, port, dir)
	s.ingest(2)
	s.wait(func() bool { return s.count(s.store.Buckets().Archive, "images/", ".dcm") == 40 })
}

// wait polls until done.
func (s *site) wait(done func() bool) {
	s.t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatal("not done within 90 s")
		}
	}
}
