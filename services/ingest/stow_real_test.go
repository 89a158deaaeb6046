package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/services/ingest"
)

const pacsToken = "token-of-a-pacs"

// stow starts a STOW-RS door in front of the site's inbox, for clinic north, and returns its address.
func (s *site) stow() string {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	authorize := func(_ context.Context, shown string) (access.Principal, bool, error) {
		return access.Principal{Name: "pacs", Grants: []access.Grant{{Scope: access.Upload, Clinic: "north"}}}, shown == pacsToken, nil
	}
	door, err := ingest.NewStow(ingest.StowDeps{Blob: s.store, Listener: listener, Authorize: authorize, Logger: slog.New(slog.DiscardHandler), Clock: time.Now},
		ingest.StowConfig{SpoolDir: s.t.TempDir()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.background(door.Run)
	return "http://" + listener.Addr().String() + "/dicom-web/studies"
}

// upload sends files in one request, as a stream, and returns the status and the instances that are said to be stored.
func upload(ctx context.Context, address string, files ...[]byte) (status int, stored []string, err error) {
	reader, writer := io.Pipe()
	parts := multipart.NewWriter(writer)
	go func() {
		for _, file := range files {
			part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
			if err == nil {
				_, err = part.Write(file)
			}
			if err != nil {
				_ = writer.CloseWithError(err)
				return
			}
		}
		_ = writer.CloseWithError(parts.Close())
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, reader)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+pacsToken)
	request.Header.Set("Content-Type", `multipart/related; type="application/dicom"; boundary=`+parts.Boundary())
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	var body map[string]struct {
		Value []map[string]struct{ Value []any }
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return answer.StatusCode, nil, err
	}
	for _, item := range body["00081199"].Value {
		stored = append(stored, fmt.Sprint(item["00081155"].Value...))
	}
	return answer.StatusCode, stored, nil
}

// TestClinicUploads: the 40 files of a clinic's night in one request, and again in ten at once, become 40 images and 40
// duplicates.
func TestClinicUploads(t *testing.T) {
	t.Parallel()
	clinic := read(t, "clinic")
	s := newSite(t)
	address := s.stow()
	var files [][]byte
	var instances []string
	for _, name := range slices.Sorted(maps.Keys(clinic)) {
		files = append(files, clinic[name])
		instances = append(instances, dicom.IdentityOfFile(bytes.NewReader(clinic[name]), int64(len(clinic[name]))).Instance)
	}
	started := time.Now()
	status, stored, err := upload(t.Context(), address, files...)
	t.Logf("40 files in one request in %v", time.Since(started).Round(time.Millisecond))
	if err != nil || status != http.StatusOK || !slices.Equal(stored, instances) {
		t.Fatalf("%d, %v, %v; want %v", status, err, stored, instances)
	}
	whole := map[string]bool{}
	for _, file := range files {
		whole[string(file)] = true
	}
	inbox := s.inbox()
	if len(inbox) != 40 {
		t.Fatalf("%d objects in the inbox", len(inbox))
	}
	for _, object := range inbox {
		if !whole[string(object)] {
			t.Errorf("an object of %d bytes is none of the clinic's", len(object))
		}
	}
	s.ingest(2)
	s.expect(40, 0, 0)

	started = time.Now()
	var senders sync.WaitGroup
	for part := range slices.Chunk(files, 4) {
		senders.Go(func() {
			if status, stored, err := upload(t.Context(), address, part...); err != nil || status != http.StatusOK || len(stored) != len(part) {
				t.Errorf("%d, %v, %v", status, stored, err)
			}
		})
	}
	senders.Wait()
	t.Logf("40 files in ten requests at once in %v", time.Since(started).Round(time.Millisecond))
	s.expect(40, 0, 40)
}

// TestCutUploads cuts senders off in the middle of the night: what is in the inbox is whole, and sending again completes it.
func TestCutUploads(t *testing.T) {
	t.Parallel()
	clinic := read(t, "clinic")
	s := newSite(t)
	address := s.stow()
	var files [][]byte
	whole := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(clinic)) {
		files = append(files, clinic[name])
		whole[string(clinic[name])] = true
	}
	for arrived := 1; arrived <= 3; arrived++ {
		ctx, cancel := context.WithCancel(t.Context())
		cut := make(chan error, 1)
		go func() {
			_, _, err := upload(ctx, address, files...)
			cut <- err
		}()
		s.wait(func() bool { return s.count(s.store.Buckets().Inbox, "", "") >= arrived })
		cancel()
		if err := <-cut; err == nil {
			t.Fatal("the upload was done before it was cut off")
		}
		for _, object := range s.inbox() {
			if !whole[string(object)] {
				t.Errorf("an object of %d bytes is none of the clinic's", len(object))
			}
		}
		s.emptyInbox()
	}
	if status, _, err := upload(t.Context(), address, files...); err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	s.ingest(2)
	s.wait(func() bool { return s.count(s.store.Buckets().Archive, "images/", ".dcm") == 40 })
}

// TestUploadInEverySyntax: each of the 15 encodings is referenced by its instance and arrives as it is.
func TestUploadInEverySyntax(t *testing.T) {
	t.Parallel()
	syntaxes := read(t, "syntaxes")
	s := newSite(t)
	address := s.stow()
	for name, file := range syntaxes {
		status, stored, err := upload(t.Context(), address, file)
		got := s.inbox()
		if err != nil || status != http.StatusOK || len(stored) != 1 || len(got) != 1 || !bytes.Equal(got[0], file) {
			t.Errorf("%s: %d, %v, %v, %d objects", name, status, err, stored, len(got))
		}
		s.emptyInbox()
	}
}

// TestHostileUploads: whatever is sent is taken or refused, but what is taken is in the inbox, and ends in quarantine.
func TestHostileUploads(t *testing.T) {
	t.Parallel()
	hostile := read(t, "hostile")
	s := newSite(t)
	address := s.stow()
	kept := map[string]bool{}
	for name, file := range hostile {
		status, stored, err := upload(t.Context(), address, file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch {
		case status == http.StatusOK && len(stored) == 1, status == http.StatusAccepted && len(stored) == 0:
			kept[string(file)] = true
		case status == http.StatusConflict && len(stored) == 0:
		default:
			t.Errorf("%s: %d, %v", name, status, stored)
		}
	}
	t.Logf("%d of %d files are kept", len(kept), len(hostile))
	if len(kept) < len(hostile)/2 {
		t.Errorf("only %d of %d files are kept", len(kept), len(hostile))
	}
	for _, object := range s.inbox() {
		if !kept[string(object)] {
			t.Errorf("an object of %d bytes is there although it was refused", len(object))
		}
	}
	s.ingest(2)
	s.wait(func() bool {
		return s.count(s.store.Buckets().Inbox, "", "") == 0 && s.count(s.store.Buckets().Quarantine, "", ".json") == len(kept)
	})
	if got := s.count(s.store.Buckets().Archive, "images/", ".dcm"); got != 0 {
		t.Errorf("%d hostile files are archived", got)
	}
}
