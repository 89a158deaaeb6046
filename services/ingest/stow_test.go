package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/test/shared"
)

// Tokens of the tests' senders.
const (
	northToken  = "token-of-a-sender-in-the-north"
	anyToken    = "token-of-an-archive"
	brokenToken = "token-that-cannot-be-checked"
	readerToken = "token-of-a-reader"
)

func authorizeTest(_ context.Context, shown string) (access.Principal, bool, error) {
	switch shown {
	case northToken:
		return access.Principal{Name: "pacs", Grants: []access.Grant{{Scope: access.Upload, Clinic: "north"}}}, true, nil
	case anyToken:
		return access.Principal{Name: "archive", Grants: []access.Grant{{Scope: access.Upload}}}, true, nil
	case readerToken:
		return access.Principal{Name: "ehr", Grants: []access.Grant{{Scope: access.Read}}}, true, nil
	case brokenToken:
		return access.Principal{}, false, fault.New(fault.Transient, "tokens-unreadable", "broken on purpose")
	}
	return access.Principal{}, false, nil
}

// stowing is a STOW-RS door that runs.
type stowing struct {
	*logs
	t       *testing.T
	address string
	spool   string
	client  *http.Client
	stop    func() // and wait
}

func stow(t *testing.T, s store, change func(*StowDeps, *StowConfig)) *stowing {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &logs{}
	deps := StowDeps{Blob: s, Listener: listener, Authorize: authorizeTest, Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: time.Now}
	config := StowConfig{SpoolDir: t.TempDir()}
	if change != nil {
		change(&deps, &config)
	}
	door, err := NewStow(deps, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- door.Run(ctx) }()
	transport := &http.Transport{}
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-finished:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run did not stop")
		}
		transport.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return &stowing{l, t, listener.Addr().String(), config.SpoolDir, &http.Client{Transport: transport}, stop}
}

// told is an answer of the door.
type told struct {
	status                    int
	header                    http.Header
	referenced, failed, other []string // instances, instances and reasons, reasons
	code                      string   // of an error
}

// read takes an answer apart and checks its form.
func (s *stowing) read(answer *http.Response) told {
	s.t.Helper()
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return readTold(s.t, answer.StatusCode, answer.Header, raw)
}

func readTold(t testing.TB, status int, header http.Header, raw []byte) told {
	t.Helper()
	got := told{status: status, header: header}
	if header.Get("Content-Type") == "application/json" {
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(raw, &e); err != nil || e.Error.Code == "" || e.Error.Message == "" {
			t.Fatalf("%d: %v, %s", status, err, raw)
		}
		got.code = e.Error.Code
		return got
	}
	if got := header.Get("Content-Type"); got != "application/dicom+json" {
		t.Fatalf("%d: the answer is %q: %s", status, got, raw)
	}
	var d map[string]struct {
		VR    string
		Value []map[string]struct {
			VR    string
			Value []any
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	for tag, list := range map[string]*[]string{"00081199": &got.referenced, "00081198": &got.failed, "0008119A": &got.other} {
		for _, item := range d[tag].Value {
			var words []string
			for _, inner := range []string{"00081155", "00081197"} {
				if e, ok := item[inner]; ok && e.VR == "US" {
					words = append(words, fmt.Sprintf("%04X", int(e.Value[0].(float64))))
				} else if ok {
					words = append(words, e.Value[0].(string))
				}
			}
			*list = append(*list, strings.Join(words, " "))
		}
		delete(d, tag)
	}
	if len(d) > 0 {
		t.Errorf("the answer holds more: %s", raw)
	}
	return got
}

const related = `multipart/related; type="application/dicom"; boundary=bb`

// post sends a body to the studies as northToken; headers change the request, "" removes one.
func (s *stowing) post(path string, body io.Reader, headers ...string) told {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.address+"/dicom-web/studies"+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+northToken)
	r.Header.Set("Content-Type", related)
	for n := 0; n+1 < len(headers); n += 2 {
		if headers[n+1] == "" {
			r.Header.Del(headers[n])
		} else {
			r.Header.Set(headers[n], headers[n+1])
		}
	}
	answer, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(answer)
}

// partsOf makes a body of parts.
func partsOf(parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteString("--bb\r\nContent-Type: application/dicom\r\n\r\n")
		b.Write(p)
		b.WriteString("\r\n")
	}
	b.WriteString("--bb--")
	return b.Bytes()
}

// object is a sound small file.
func object(instance string) []byte {
	return dicomtest.Native().With(dicomtest.Elements{0x00080018: dicomtest.Text("UI", instance)}).Encode(false)
}

func TestStowStores(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, nil)
	first, second := instance(t, "P1"), instance(t, "P2")
	for _, path := range []string{"", "?accept=application/dicom%2Bjson"} {
		got := s.post(path, bytes.NewReader(partsOf(first, second)))
		if got.status != http.StatusOK || len(got.referenced) != 2 || len(got.failed)+len(got.other) > 0 {
			t.Errorf("%+v", got)
		}
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/0001.dcm", "north/…/0001.dcm", "north/…/0002.dcm", "north/…/0002.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	for _, key := range w.keys(w.Buckets().Inbox) {
		want := map[bool][]byte{true: first, false: second}[strings.HasSuffix(key, "0001.dcm")]
		if got, err := w.GetBytes(t.Context(), w.Buckets().Inbox, key, 1<<20); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s holds %d bytes, %v", key, len(got), err)
		}
	}
	drain(t, w)
	w.check(t, "sent twice", 2, 0, 2)
	s.stop()
	noPatients(t, w, s.logs)
	if strings.Contains(s.String(), northToken) {
		t.Error("the log holds a token")
	}
	if entries, err := os.ReadDir(s.spool); err != nil || len(entries) > 0 {
		t.Errorf("the spool folder holds %v, %v", entries, err)
	}
}

// TestStowAddresses: what is not the door does not exist, and without a token nothing is told of it.
func TestStowAddresses(t *testing.T) {
	t.Parallel()
	s := stow(t, newWorld(), nil)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/healthz", 200}, {"GET", "/dicom-web/studies", 405}, {"DELETE", "/dicom-web/studies/1.2", 405}, {"GET", "/", 404},
		{"POST", "/", 404}, {"POST", "/api/uploads", 404}, {"GET", "/api/reports", 404}, {"POST", "/dicom-web/studies/1.2/series", 404}, {"POST", "/dicom-web/studies", 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+s.address+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != c.status || (c.status == 405) != (answer.Header.Get("Allow") == "POST") || (c.status == 401) != (answer.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s %s: %d, want %d; %v", c.method, c.path, answer.StatusCode, c.status, answer.Header)
		}
	}
}

// TestStowRefuses: what is wrong before the first part leaves nothing behind and has a code of its own.
func TestStowRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, func(_ *StowDeps, c *StowConfig) { c.MaxRequestBytes = 100_000 })
	sound := partsOf(object("1.2.3.4"))
	for name, c := range map[string]struct {
		path    string
		body    []byte
		headers []string
		status  int
		code    string
	}{
		"no token":                     {"", sound, []string{"Authorization", ""}, 401, "token-missing"},
		"another scheme":               {"", sound, []string{"Authorization", "Basic " + northToken}, 401, "token-missing"},
		"an empty token":               {"", sound, []string{"Authorization", "Bearer  "}, 401, "token-missing"},
		"an unknown token":             {"", sound, []string{"Authorization", "Bearer " + northToken + "0"}, 401, "token-missing"},
		"tokens that cannot be read":   {"", sound, []string{"Authorization", "Bearer " + brokenToken}, 503, "tokens-unavailable"},
		"another clinic":               {"", sound, []string{ClinicHeader, "south"}, 403, "clinic-forbidden"},
		"a token for reading":          {"", sound, []string{"Authorization", "Bearer " + readerToken}, 403, "upload-forbidden"},
		"no clinic":                    {"", sound, []string{"Authorization", "Bearer " + anyToken}, 400, "clinic-missing"},
		"a clinic that is none":        {"", sound, []string{"Authorization", "Bearer " + anyToken, ClinicHeader, "../north"}, 400, "clinic-invalid"},
		"its clinic spelt wrongly":     {"", sound, []string{ClinicHeader, "nor/th"}, 400, "clinic-invalid"},
		"a study that is no UID":       {"/1..2", sound, nil, 400, "uid-invalid"},
		"an answer in XML":             {"", sound, []string{"Accept", "application/dicom+xml"}, 406, "answer-not-acceptable"},
		"an answer in XML, by address": {"?accept=application/dicom%2Bxml", sound, nil, 406, "answer-not-acceptable"},
		"no media type":                {"", sound, []string{"Content-Type", ""}, 415, "media-type-unsupported"},
		"a file alone":                 {"", object("1.2"), []string{"Content-Type", "application/dicom"}, 415, "media-type-unsupported"},
		"metadata apart":               {"", sound, []string{"Content-Type", `multipart/related; type="application/dicom+json"; boundary=bb`}, 415, "media-type-unsupported"},
		"a form":                       {"", sound, []string{"Content-Type", `multipart/form-data; boundary=bb`}, 415, "media-type-unsupported"},
		"no boundary":                  {"", sound, []string{"Content-Type", `multipart/related; type="application/dicom"`}, 400, "multipart-malformed"},
		"a boundary that is too long":  {"", sound, []string{"Content-Type", "multipart/related; boundary=" + strings.Repeat("b", 71)}, 400, "multipart-malformed"},
		"an open quote":                {"", sound, []string{"Content-Type", `multipart/related; type="application/dicom; boundary=bb`}, 400, "multipart-malformed"},
		"nothing":                      {"", nil, nil, 400, "multipart-malformed"},
		"no multipart":                 {"", []byte("north"), nil, 400, "multipart-malformed"},
		"no part":                      {"", []byte("--bb--\r\n"), nil, 400, "multipart-malformed"},
		"another boundary":             {"", bytes.ReplaceAll(sound, []byte("--bb"), []byte("--cc")), nil, 400, "multipart-malformed"},
		"a request that is too large":  {"", make([]byte, 100_001), nil, 413, "request-too-large"},
		"a huge header of a part":      {"", []byte("--bb\r\nContent-Type: application/dicom\r\nX: " + strings.Repeat("x", 80_000) + "\r\n\r\n" + string(sound)), nil, 400, "multipart-malformed"},
		"many headers of a part":       {"", []byte("--bb\r\n" + strings.Repeat("X: y\r\n", 16_000) + "\r\n" + string(sound)), nil, 400, "multipart-malformed"},
		"a huge preamble":              {"", []byte(strings.Repeat("no boundary\r\n", 7_500) + string(sound)), nil, 400, "multipart-malformed"},
		"a long line before":           {"", []byte(strings.Repeat("-", 80_000) + "\r\n" + string(sound)), nil, 400, "multipart-malformed"},
		"a header without end":         {"", []byte("--bb\r\nContent-Type: application/dicom\r\n"), nil, 400, "multipart-malformed"},
		"a part without end":           {"", sound[:len(sound)-8], nil, 400, "multipart-malformed"},
		"a boundary that is cut":       {"", sound[:len(sound)-1], nil, 400, "multipart-malformed"},
	} {
		got := s.post(c.path, bytes.NewReader(c.body), c.headers...)
		if got.status != c.status || got.code != c.code || (c.status == 503) != (got.header.Get("Retry-After") != "") {
			t.Errorf("%s: %d %s, want %d %s", name, got.status, got.code, c.status, c.code)
		}
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 {
		t.Errorf("inbox %v", got)
	}
}

// TestStowClinics: the clinic comes from the token, or from the sender where its token allows any.
func TestStowClinics(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, nil)
	for _, headers := range [][]string{{}, {ClinicHeader, "north"}, {"Authorization", "bearer " + anyToken, ClinicHeader, "south"}} {
		if got := s.post("", bytes.NewReader(partsOf(object("1.2.3.4"))), headers...); got.status != http.StatusOK {
			t.Errorf("%v: %+v", headers, got)
		}
	}
	if got, want := w.inboxWithoutBatches(t), []string{"north/…/0001.dcm", "north/…/0001.dcm", "south/…/0001.dcm"}; !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
}

// TestStowParts: each part has its own fate, and the status says whether all, some or none of them are stored.
func TestStowParts(t *testing.T) {
	t.Parallel()
	const limit = 5000
	large := append(object("1.2.3.8"), make([]byte, limit)...)
	ct := dicomtest.Native().With(dicomtest.Elements{0x00080016: dicomtest.Text("UI", "1.2.840.10008.5.1.4.1.1.2"), 0x00080018: dicomtest.Text("UI", "1.2.3.7")}).Encode(false)
	garbage := bytes.Repeat([]byte{0xA5}, 300)
	sound := object("1.2.3.4")
	nested := partsOf(sound)
	for name, c := range map[string]struct {
		path                      string
		body                      []byte
		status, stored            int
		referenced, failed, other []string
	}{
		"sound":                     {"", partsOf(sound), 200, 1, []string{"1.2.3.4"}, nil, nil},
		"its study":                 {"/1.2.3", partsOf(sound), 200, 1, []string{"1.2.3.4"}, nil, nil},
		"another study":             {"/1.2.33", partsOf(sound), 409, 0, nil, []string{"1.2.3.4 A900"}, nil},
		"one of another study":      {"/1.2.3", partsOf(sound, dicomtest.Native().With(dicomtest.Elements{0x0020000D: dicomtest.Text("UI", "6.6")}).Encode(true)), 202, 1, []string{"1.2.3.4"}, []string{"1.2.3.4 A900"}, nil},
		"no study":                  {"/1.2.3", partsOf(dicomtest.Native().With(dicomtest.Elements{0x0020000D: {}}).Encode(false)), 200, 1, []string{"1.2.3.4"}, nil, nil},
		"another class":             {"", partsOf(ct), 409, 0, nil, []string{"1.2.3.7 0122"}, nil},
		"one of another class":      {"", partsOf(ct, sound), 202, 1, []string{"1.2.3.4"}, []string{"1.2.3.7 0122"}, nil},
		"too large":                 {"", partsOf(large), 413, 0, nil, []string{"1.2.3.8 C000"}, nil},
		"as large as may be":        {"", partsOf(large[:limit]), 200, 1, []string{"1.2.3.8"}, nil, nil},
		"one byte more":             {"", partsOf(large[:limit+1]), 413, 0, nil, []string{"1.2.3.8 C000"}, nil},
		"one too large":             {"", partsOf(large, sound), 202, 1, []string{"1.2.3.4"}, []string{"1.2.3.8 C000"}, nil},
		"too large, and garbage":    {"", partsOf(large, nil), 409, 0, nil, []string{"1.2.3.8 C000"}, []string{"C000"}},
		"unreadable":                {"", partsOf(garbage), 202, 1, nil, nil, []string{"C000"}},
		"unreadable, to a study":    {"/1.2.3", partsOf(garbage, sound), 202, 2, []string{"1.2.3.4"}, nil, []string{"C000"}},
		"an unreadable syntax":      {"", partsOf(append(dicomtest.Header("1.2.840.10008.1.2.4.110", "1.2.3.4"), dicomtest.Native().Dataset(false)...)), 200, 1, []string{"1.2.3.4"}, nil, nil},
		"empty":                     {"", partsOf(nil), 409, 0, nil, nil, []string{"C000"}},
		"one empty":                 {"", partsOf(sound, nil), 202, 1, []string{"1.2.3.4"}, nil, []string{"C000"}},
		"nested":                    {"", []byte("--bb\r\nContent-Type: multipart/related; boundary=cc\r\n\r\n" + strings.ReplaceAll(string(nested), "--bb", "--cc") + "\r\n--bb--"), 409, 0, nil, nil, []string{"C000"}},
		"a picture":                 {"", []byte("--bb\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--bb--"), 409, 0, nil, nil, []string{"C000"}},
		"parts without headers":     {"", bytes.ReplaceAll(partsOf(sound), []byte("Content-Type: application/dicom\r\n"), nil), 200, 1, []string{"1.2.3.4"}, nil, nil},
		"a syntax in the header":    {"", bytes.ReplaceAll(partsOf(sound), []byte("/dicom\r\n"), []byte("/DICOM; transfer-syntax=1.2.840.10008.1.2.1\r\nContent-Transfer-Encoding: quoted-printable\r\n")), 200, 1, []string{"1.2.3.4"}, nil, nil},
		"preamble and epilogue":     {"", append(append([]byte("for people\r\n"), partsOf(sound)...), "\r\nmore for people"...), 200, 1, []string{"1.2.3.4"}, nil, nil},
		"a second without end":      {"", append(partsOf(sound)[:len(partsOf(sound))-2], "\r\nContent-Type: application/dicom\r\n\r\nhalf"...), 202, 1, []string{"1.2.3.4"}, nil, []string{"C000"}},
		"a boundary inside":         {"", partsOf(append(bytes.Clone(garbage), "\r\n--bbb\r\n--b"...)), 202, 1, nil, nil, []string{"C000"}},
		"more parts than allowed":   {"", partsOf(sound, sound, sound, sound, sound), 202, 4, []string{"1.2.3.4", "1.2.3.4", "1.2.3.4", "1.2.3.4"}, nil, []string{"C000"}},
		"too many parts, all empty": {"", partsOf(make([][]byte, 10_000)...), 413, 0, nil, nil, []string{"C000", "C000", "C000", "C000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			s := stow(t, w, func(_ *StowDeps, c *StowConfig) { c.MaxObjectBytes, c.MaxParts = limit, 4 })
			for _, body := range []io.Reader{bytes.NewReader(c.body), io.MultiReader(bytes.NewReader(c.body))} { // with its length, and in chunks
				got := s.post(c.path, body)
				if got.status != c.status || !slices.Equal(got.referenced, c.referenced) || !slices.Equal(got.failed, c.failed) || !slices.Equal(got.other, c.other) {
					t.Errorf("%d, referenced %v, failed %v, other %v (%s)", got.status, got.referenced, got.failed, got.other, got.code)
				}
			}
			if got := w.keys(w.Buckets().Inbox); len(got) != 2*c.stored {
				t.Errorf("%d objects in the inbox, want %d", len(got), 2*c.stored)
			}
		})
	}
}

// TestStowKeepsWhatCannotBeRead: it ends in quarantine with a reason, where a nurse sees it.
func TestStowKeepsWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, nil)
	s.post("", bytes.NewReader(partsOf(bytes.Repeat([]byte{0xA5}, 300), append(dicomtest.Header("1.2.840.10008.1.2.4.110", "1.2.3.4"), dicomtest.Native().Dataset(false)...))))
	drain(t, w)
	w.check(t, "unreadable", 0, 2, 0)
	if got := w.reasons(t); !slices.Equal(got, []string{dicom.CodeNotDICOM, dicom.CodeTransferSyntax}) {
		t.Errorf("codes %v", got)
	}
}

// TestStowTenThousandEmptyParts: they cost little and store nothing.
func TestStowTenThousandEmptyParts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, func(_ *StowDeps, c *StowConfig) { c.MaxParts = 20_000 })
	if got := s.post("", bytes.NewReader(partsOf(make([][]byte, 10_000)...))); got.status != http.StatusConflict || len(got.other) != 10_000 {
		t.Errorf("%d, %d failures", got.status, len(got.other))
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 0 {
		t.Errorf("%d objects in the inbox", len(got))
	}
}

// TestStowWithoutStorage: while inbox or disk fail, the sender is told to come again, and what to send.
func TestStowWithoutStorage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failAt                    int // put; 0: the disk fails
		status                    int
		referenced, failed, other []string
	}{
		"no disk":           {0, 503, nil, []string{"1.2.3.1 A700", "1.2.3.2 A700", "1.2.3.3 A700"}, []string{"A700"}},
		"no inbox":          {1, 503, nil, []string{"1.2.3.1 A700", "1.2.3.2 A700", "1.2.3.3 A700"}, []string{"A700"}},
		"no inbox any more": {2, 202, []string{"1.2.3.1"}, []string{"1.2.3.2 A700", "1.2.3.3 A700"}, []string{"A700"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			puts := 0
			s := stow(t, failingFrom{w, c.failAt, &puts}, func(_ *StowDeps, config *StowConfig) {
				if c.failAt == 0 {
					config.SpoolDir += "/missing"
				}
			})
			got := s.post("", bytes.NewReader(partsOf(object("1.2.3.1"), object("1.2.3.2"), object("1.2.3.3"), bytes.Repeat([]byte{0xA5}, 300))))
			if got.status != c.status || !slices.Equal(got.referenced, c.referenced) || !slices.Equal(got.failed, c.failed) || !slices.Equal(got.other, c.other) {
				t.Errorf("%d, referenced %v, failed %v, other %v", got.status, got.referenced, got.failed, got.other)
			}
			if puts != c.failAt {
				t.Errorf("%d puts; after the first that fails, none should be tried", puts)
			}
			if (c.status == 503) != (got.header.Get("Retry-After") == "30") {
				t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
			if got := w.keys(w.Buckets().Inbox); len(got) != len(c.referenced) {
				t.Errorf("inbox %v", got)
			}
		})
	}
}

// failingFrom is a store that takes nothing from the nth put on.
type failingFrom struct {
	*world
	n    int
	puts *int // by one sender
}

func (f failingFrom) Put(ctx context.Context, bucket, key string, r io.Reader, size int64, opts blob.PutOptions) error {
	if *f.puts++; *f.puts >= f.n {
		return fault.New(fault.Transient, "storage-unavailable", "away on purpose")
	}
	return f.world.Put(ctx, bucket, key, r, size, opts)
}

// raw is a connection on which a test says what no client would.
type raw struct {
	net.Conn
	s      *stowing
	reader *bufio.Reader
}

// dial begins a request with a Content-Length of its own.
func (s *stowing) dial(length int, body []byte) *raw {
	s.t.Helper()
	r := s.connect()
	r.say([]byte("POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + northToken + "\r\nContent-Type: " + related + "\r\nContent-Length: " + strconv.Itoa(length) + "\r\n\r\n"))
	r.say(body)
	return r
}

func (s *stowing) connect() *raw {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return &raw{conn, s, bufio.NewReader(conn)}
}

func (r *raw) say(b []byte) {
	r.s.t.Helper()
	if _, err := r.Write(b); err != nil {
		r.s.t.Fatal(err)
	}
}

func (r *raw) hear() told {
	r.s.t.Helper()
	answer, err := http.ReadResponse(r.reader, nil)
	if err != nil {
		r.s.t.Fatal(err)
	}
	return r.s.read(answer)
}

// TestStowCutOff: of a sender that dies in a part, the part leaves nothing, and the ones before stay.
func TestStowCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, nil)
	whole := partsOf(object("1.2.3.1"), instance(t, "P1"))
	r := s.dial(len(whole), whole[:len(whole)-500])
	waitFor(t, func() bool { return len(w.keys(w.Buckets().Inbox)) == 1 })
	_ = r.Close()
	waitFor(t, func() bool { return strings.Contains(s.String(), "an upload ended early") })
	if log := s.String(); !strings.Contains(log, "code=request-broken") || !strings.Contains(log, "stored=1") {
		t.Errorf("log %s", log)
	}
	s.stop()
	if got := w.inboxWithoutBatches(t); !slices.Equal(got, []string{"north/…/0001.dcm"}) {
		t.Errorf("inbox %v", got)
	}
	if entries, err := os.ReadDir(s.spool); err != nil || len(entries) > 0 {
		t.Errorf("the spool folder holds %v, %v", entries, err)
	}
}

// TestStowEveryCut: wherever a request ends early, and whatever its framing says, it is never answered as complete, and half a part is
// never stored.
func TestStowEveryCut(t *testing.T) {
	t.Parallel()
	first, second := object("1.2.3.1"), object("1.2.3.2")
	whole := partsOf(first, second)
	spool := t.TempDir()
	for n := range len(whole) {
		got, objects, _ := askDoor(t, related, whole[:n], spool)
		if got.status != http.StatusBadRequest && got.status != http.StatusAccepted {
			t.Errorf("cut at %d of %d: %d", n, len(whole), got.status)
		}
		for _, o := range objects {
			if !bytes.Equal(o, first) && !bytes.Equal(o, second) {
				t.Errorf("cut at %d of %d: an object of %d bytes", n, len(whole), len(o))
			}
		}
	}
	if got, objects, _ := askDoor(t, related, whole, spool); got.status != http.StatusOK || len(objects) != 2 {
		t.Errorf("%+v, %d objects", got, len(objects))
	}
}

// TestStowRequestLimit: a request that does not say its length is stopped where it is too long.
func TestStowRequestLimit(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, func(_ *StowDeps, c *StowConfig) { c.MaxRequestBytes = 50_000 })
	first, large := object("1.2.3.1"), append(object("1.2.3.2"), make([]byte, 60_000)...)
	if got := s.post("", io.MultiReader(bytes.NewReader(partsOf(large)))); got.status != http.StatusRequestEntityTooLarge || got.code != "request-too-large" {
		t.Errorf("%+v", got)
	}
	if got := s.post("", io.MultiReader(bytes.NewReader(partsOf(first, large)))); got.status != http.StatusAccepted || !slices.Equal(got.referenced, []string{"1.2.3.1"}) || !slices.Equal(got.other, []string{"C000"}) {
		t.Errorf("%+v", got)
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 1 {
		t.Errorf("inbox %v", got)
	}
}

// TestStowAnswersAtOnce: a request that is over before its end is answered without waiting for the rest.
func TestStowAnswersAtOnce(t *testing.T) {
	t.Parallel()
	s := stow(t, newWorld(), func(_ *StowDeps, c *StowConfig) { c.MaxParts = 1 })
	whole := partsOf(object("1.2.3.1"), object("1.2.3.2"))
	r := s.dial(len(whole)+1000, whole)
	if got := r.hear(); got.status != http.StatusAccepted || !slices.Equal(got.other, []string{"C000"}) {
		t.Errorf("%+v", got)
	}
}

// TestStowExpect: a sender that asks first is told before it has sent a picture for nothing.
func TestStowExpect(t *testing.T) {
	t.Parallel()
	s := stow(t, newWorld(), nil)
	whole := partsOf(object("1.2.3.1"))
	for shown, first := range map[string]string{northToken: "HTTP/1.1 100 ", "another": "HTTP/1.1 401 "} {
		r := s.connect()
		r.say([]byte("POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nAuthorization: Bearer " + shown + "\r\nContent-Type: " + related + "\r\nContent-Length: " + strconv.Itoa(len(whole)) + "\r\n\r\n"))
		if line, err := r.reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, first) {
			t.Errorf("%q, %v; want %q", line, err, first)
			continue
		}
		if shown != northToken {
			continue
		}
		if line, err := r.reader.ReadString('\n'); err != nil || line != "\r\n" {
			t.Errorf("%q, %v", line, err)
		}
		r.say(whole)
		if got := r.hear(); got.status != http.StatusOK {
			t.Errorf("%+v", got)
		}
	}
}

// TestStowLyingLength: a request ends where its length says, whatever it holds.
func TestStowLyingLength(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, nil)
	whole := partsOf(object("1.2.3.1"), object("1.2.3.2"))
	// Shorter than it is: the second part is half, and what follows is no request.
	r := s.dial(len(whole)-300, whole)
	if got := r.hear(); got.status != http.StatusAccepted || !slices.Equal(got.referenced, []string{"1.2.3.1"}) || !slices.Equal(got.other, []string{"C000"}) {
		t.Errorf("a length that is too small: %+v", got)
	}
	if answer, err := http.ReadResponse(r.reader, nil); err == nil && answer.StatusCode != http.StatusBadRequest {
		t.Errorf("the rest is answered with %d", answer.StatusCode)
	}
	// Longer than it is: the sender says no more.
	r = s.dial(len(whole)+300, whole[:len(whole)-300])
	if err := r.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := r.hear(); got.status != http.StatusAccepted || !slices.Equal(got.referenced, []string{"1.2.3.1"}) || !slices.Equal(got.other, []string{"0110"}) {
		t.Errorf("a length that is too large: %+v", got)
	}
	if got := w.keys(w.Buckets().Inbox); len(got) != 2 {
		t.Errorf("inbox %v", got)
	}
}

// TestStowStalls: a sender that falls silent is told so and loses its place, wherever it does.
func TestStowStalls(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, func(_ *StowDeps, c *StowConfig) { c.IdleTimeout, c.MaxUploads = 100*time.Millisecond, 1 })
	whole := partsOf(object("1.2.3.1"), object("1.2.3.2"))
	for name, c := range map[string]struct {
		length, status int
		stored         []string
	}{
		"before the first part": {0, 408, nil},
		"in a header":           {10, 408, nil},
		"in the first part":     {200, 408, nil},
		"in the second part":    {len(whole) - 20, 202, []string{"1.2.3.1"}},
	} {
		r := s.dial(len(whole), whole[:c.length])
		got := r.hear()
		if got.status != c.status || !slices.Equal(got.referenced, c.stored) || c.stored != nil && !slices.Equal(got.other, []string{"0110"}) || c.stored == nil && got.code != "sender-silent" {
			t.Errorf("%s: %+v", name, got)
		}
		if _, err := r.reader.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection goes on: %v", name, err)
		}
	}
	// A sender without token is not waited for, either.
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || !bytes.Contains(rest, []byte("HTTP/1.1 401 ")) {
		t.Errorf("without token: %v, %s", err, rest)
	}
}

// TestStowSlowSender: who goes on sending may take longer than any single timeout.
func TestStowSlowSender(t *testing.T) {
	t.Parallel()
	const idle, pieces = 2 * time.Second, 8
	w := newWorld()
	s := stow(t, w, func(_ *StowDeps, c *StowConfig) { c.IdleTimeout = idle })
	whole := partsOf(object("1.2.3.1"))
	r := s.dial(len(whole), nil)
	tick := time.NewTicker(idle / 4)
	defer tick.Stop()
	for n := range pieces {
		<-tick.C
		r.say(whole[n*len(whole)/pieces : (n+1)*len(whole)/pieces])
	}
	if got := r.hear(); got.status != http.StatusOK || len(got.referenced) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestStowSlowStorage: storing the last part may take longer than a sender may be silent.
func TestStowSlowStorage(t *testing.T) {
	t.Parallel()
	const idle = 100 * time.Millisecond
	g := gate{newWorld(), make(chan struct{}, 1), make(chan struct{})}
	s := stow(t, g, func(_ *StowDeps, c *StowConfig) { c.IdleTimeout = idle })
	whole := partsOf(object("1.2.3.1"))
	r := s.dial(len(whole), whole)
	<-g.reached
	<-time.After(5 * idle) // nothing may happen meanwhile
	close(g.open)
	if got := r.hear(); got.status != http.StatusOK || len(got.referenced) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestStowLimits(t *testing.T) {
	t.Parallel()
	g := gate{newWorld(), make(chan struct{}, 3), make(chan struct{})}
	s := stow(t, g, func(_ *StowDeps, c *StowConfig) { c.MaxUploads, c.MaxClinicUploads = 3, 2 })
	whole := partsOf(object("1.2.3.1"))
	busy := func(what string, headers ...string) {
		t.Helper()
		if got := s.post("", bytes.NewReader(whole), headers...); got.status != http.StatusServiceUnavailable || got.code != "uploads-too-many" || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", what, got)
		}
	}
	first, second := s.dial(len(whole), whole), s.dial(len(whole), whole)
	<-g.reached
	<-g.reached
	busy("a third of the clinic")
	var third sync.WaitGroup
	third.Go(func() {
		if got := s.post("", bytes.NewReader(whole), "Authorization", "Bearer "+anyToken, ClinicHeader, "south"); got.status != http.StatusOK {
			t.Errorf("%+v", got)
		}
	})
	<-g.reached
	busy("a fourth of all", "Authorization", "Bearer "+anyToken, ClinicHeader, "west")
	close(g.open)
	for _, r := range []*raw{first, second} {
		if got := r.hear(); got.status != http.StatusOK {
			t.Errorf("%+v", got)
		}
	}
	third.Wait()
	for range 10 { // more than there are places
		waitFor(t, func() bool { return s.post("", bytes.NewReader(whole)).status == http.StatusOK })
		<-g.reached
	}
}

// TestStowStops: a part under way becomes durable and is answered, the rest is not taken, and nothing outlives the grace.
func TestStowStops(t *testing.T) {
	t.Parallel()
	whole := partsOf(object("1.2.3.1"), object("1.2.3.2"))
	for name, grace := range map[string]time.Duration{"in time": 10 * time.Second, "cut off": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate{newWorld(), make(chan struct{}, 2), make(chan struct{})}
			s := stow(t, g, func(_ *StowDeps, c *StowConfig) { c.StopGrace = grace })
			busy := s.dial(len(whole)+1000, whole) // it has not said all
			<-g.reached
			stopped := make(chan struct{})
			go func() { defer close(stopped); s.stop() }()
			waitFor(t, func() bool { // the door is closing
				conn, err := net.DialTimeout("tcp", s.address, time.Second)
				if err == nil {
					_ = conn.Close()
				}
				return err != nil
			})
			if name == "in time" {
				close(g.open)
				if got := busy.hear(); got.status != http.StatusAccepted || !slices.Equal(got.referenced, []string{"1.2.3.1"}) || !slices.Equal(got.other, []string{"A700"}) {
					t.Errorf("%+v", got)
				}
			} else if answer, err := http.ReadResponse(busy.reader, nil); err == nil && answer.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%d after the grace", answer.StatusCode)
			}
			<-stopped
			if got := len(g.keys(g.Buckets().Inbox)); (got == 1) != (name == "in time") {
				t.Errorf("%d objects in the inbox", got)
			}
		})
	}
}

// TestStowStopsReading: a part that does not arrive in time is given up, but the parts before are answered.
func TestStowStopsReading(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := stow(t, w, func(_ *StowDeps, c *StowConfig) { c.StopGrace = 4 * time.Second })
	whole := partsOf(object("1.2.3.1"), object("1.2.3.2"))
	r := s.dial(len(whole), whole[:len(whole)-100])
	waitFor(t, func() bool { return len(w.keys(w.Buckets().Inbox)) == 1 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	if got := r.hear(); got.status != http.StatusAccepted || !slices.Equal(got.referenced, []string{"1.2.3.1"}) || !slices.Equal(got.other, []string{"A700"}) {
		t.Errorf("%+v", got)
	}
	<-stopped
	if log := s.String(); !strings.Contains(log, "code=stopping") {
		t.Errorf("log %s", log)
	}
}

// TestStowOutlivesPanics: one connection ends, and its place is free again.
func TestStowOutlivesPanics(t *testing.T) {
	t.Parallel()
	s := stow(t, faulty{newWorld()}, func(_ *StowDeps, c *StowConfig) { c.MaxUploads = 1 })
	whole := partsOf(object("1.2.3.1"))
	for n := range 3 {
		r := s.dial(len(whole), whole)
		if answer, err := http.ReadResponse(r.reader, nil); err == nil {
			t.Errorf("answer %d", answer.StatusCode)
		}
		waitFor(t, func() bool { return strings.Count(s.String(), "panic serving") == n+1 })
	}
}

// swallowing is a store that keeps nothing.
type swallowing struct{ *world }

func (swallowing) Put(_ context.Context, _, _ string, r io.Reader, _ int64, _ blob.PutOptions) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// TestStowHoldsNoPicture: a part of 64 MB takes little memory. It is not parallel, since it counts what the process allocates.
func TestStowHoldsNoPicture(t *testing.T) {
	const most = 4 << 20
	s := stow(t, swallowing{newWorld()}, nil)
	head, tail := partsOf(object("1.2.3.1")), "\r\n--bb--"
	body := io.MultiReader(bytes.NewReader(head[:len(head)-len(tail)]), io.LimitReader(zeros{}, 64<<20), strings.NewReader(tail))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := s.post("", body)
	runtime.ReadMemStats(&after)
	if got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > most {
		t.Errorf("a part of 64 MB took %d bytes", taken)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestStowConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []StowConfig{{MaxObjectBytes: -1}, {MaxRequestBytes: -1}, {MaxParts: -1}, {MaxUploads: -1}, {MaxClinicUploads: -1}, {IdleTimeout: -1}, {StopGrace: -1}} {
		if _, err := NewStow(StowDeps{}, c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := NewStow(StowDeps{}, StowConfig{}); !fault.Is(err, fault.Internal) {
		t.Errorf("without dependencies: %v", err)
	}
}

// TestStowFailsWithoutListener: a listener that somebody else closed ends the service, so that its supervisor sees it.
func TestStowFailsWithoutListener(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door, err := NewStow(StowDeps{Blob: newWorld(), Listener: listener, Authorize: authorizeTest, Logger: slog.New(slog.DiscardHandler), Clock: time.Now}, StowConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if err := door.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`multipart/related; type="application/dicom"; boundary=bb`:                                   "bb",
		`multipart/related; type=application/dicom; boundary=bb`:                                     "bb",
		`Multipart/Related;TYPE="Application/DICOM";Boundary="b b"`:                                  "b b",
		`multipart/related ; boundary = bb ; type = application/dicom ;`:                             "bb",
		`multipart/related; boundary="b\"b;c=d"; type="application/dicom"; start="<1>"`:              `b"b;c=d`,
		`multipart/related; boundary=bb`:                                                             "bb",
		`multipart/related; type="application/dicom; transfer-syntax=1.2.840.10008.1.2"; boundary=b`: "b",
		`multipart/related; type="application/dicom"; boundary=----=_Part_0_1=`:                      "----=_Part_0_1=",
	} {
		if got, refused := boundaryOf(text); refused != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, refused)
		}
	}
	for text, status := range map[string]int{
		"": 415, "application/dicom": 415, "multipart/mixed; boundary=bb": 415, `multipart/related; type="application/json"; boundary=bb`: 415, `multipart/related; type=""; boundary=bb`: 415,
		"multipart/related": 400, `multipart/related; boundary=""`: 400, `multipart/related; boundary="bb `: 400, `multipart/related; boundary="b" b`: 400, "multipart/related; boundary=b b": 400,
		"multipart/related; boundary=b; boundary=c": 400, "multipart/related; boundary": 400, `multipart/related; boundary="bb "`: 400, "multipart/related; boundary=b\x00b": 400, "multipart/related; =bb": 400, ";": 400,
		`multipart/related; boundary="b\`: 400,
	} {
		if got, refused := boundaryOf(text); refused == nil || refused.status != status {
			t.Errorf("%q: %q, %v; want %d", text, got, refused, status)
		}
	}
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "*/*": true, "application/*": true, "application/dicom+json": true, "application/json": true, "Application/DICOM+JSON": true,
		"application/dicom+xml": false, "text/html": false, "application/dicom+xml, application/dicom+json;q=0.5": true, "application/dicom+xml, */*;q=0.1": true,
		"application/dicom+json;q=0": false, "*/*, application/dicom+json;q=0": false, "application/dicom+json;q=0, */*": false, "*/*;q=0": false, "*/*;q=x": false,
		`multipart/related; type="application/dicom+json, x"`: false, `"`: false, ",,": false, "application/json;q=0, application/*": false,
	} {
		if got := acceptsJSON([]string{text}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if !acceptsJSON(nil) || !acceptsJSON([]string{"text/html", "application/json"}) {
		t.Error("several headers, or none")
	}
}

// TestAnswerIsDICOMJSON compares the answers with what dcm2json makes of the same data set.
func TestAnswerIsDICOMJSON(t *testing.T) {
	t.Parallel()
	dcm2json := shared.Program(t, "dcm2json", "dcmtk")
	id := func(n int) dicom.FileIdentity {
		return dicom.FileIdentity{Class: dicom.ClassOphthalmic8Bit, Instance: "1.2.3." + strconv.Itoa(n)}
	}
	item := func(id dicom.FileIdentity, reason uint16) dicomtest.Elements {
		e := dicomtest.Elements{}
		if id.Class != "" {
			e = dicomtest.Elements{0x00081150: dicomtest.Text("UI", id.Class), 0x00081155: dicomtest.Text("UI", id.Instance)}
		}
		if reason != 0 {
			e[0x00081197] = dicomtest.Number(reason)
		}
		return e
	}
	all := stowAnswer{}
	all.store(id(1))
	all.store(id(22))
	all.store(dicom.FileIdentity{})
	all.fail(id(3), reasonSOPClass)
	all.fail(id(4), reasonOutOfResources)
	one := stowAnswer{}
	one.store(id(1))
	none := stowAnswer{}
	none.fail(id(1), reasonDataSetMismatch)
	for name, c := range map[string]struct {
		answer stowAnswer
		early  *stowError
		same   dicomtest.Elements
	}{
		"all kinds": {all, malformed(nil, "cut"), dicomtest.Elements{
			0x00081198: dicomtest.Sequence(item(id(3), 0x0122), item(id(4), 0xA700)),
			0x00081199: dicomtest.Sequence(item(id(1), 0), item(id(22), 0)),
			0x0008119A: dicomtest.Sequence(item(dicom.FileIdentity{}, 0xC000), item(dicom.FileIdentity{}, 0xC000)),
		}},
		"one stored": {one, nil, dicomtest.Elements{0x00081199: dicomtest.Sequence(item(id(1), 0))}},
		"one failed": {none, malformed(nil, "cut"), dicomtest.Elements{0x00081198: dicomtest.Sequence(item(id(1), 0xA900))}},
	} {
		path := filepath.Join(t.TempDir(), "answer.dcm")
		file := append(dicomtest.Header(dicom.ExplicitLittleEndian, "1.2.3"), c.same.Dataset(false)...)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(dcm2json, path).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var want, got any
		if err := json.Unmarshal(out, &want); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		raw, err := json.Marshal(c.answer.dataset(c.early))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if len(want.(map[string]any)) != len(c.same) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the answer is\n%s\nbut dcm2json says\n%s", name, raw, out)
		}
	}
}

// askDoor lets a door of small limits answer a request without a connection. It returns the answer, what is in the inbox, and how many
// places are still taken.
func askDoor(t testing.TB, contentType string, body []byte, spool string) (got told, objects [][]byte, open int) {
	t.Helper()
	w := newWorld()
	door := &Stow{deps: StowDeps{Blob: w, Authorize: authorizeTest, Logger: slog.New(slog.DiscardHandler), Clock: time.Now},
		config: StowConfig{MaxObjectBytes: 2000, MaxRequestBytes: 1 << 20, MaxParts: 10, MaxUploads: 1, MaxClinicUploads: 1, IdleTimeout: time.Minute, SpoolDir: spool}, open: map[string]int{}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/dicom-web/studies", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+northToken)
	request.Header["Content-Type"] = []string{contentType}
	answer := &recorded{header: http.Header{}}
	door.handler(t.Context(), t.Context()).ServeHTTP(answer, request)
	for _, o := range w.objects[w.Buckets().Inbox] {
		objects = append(objects, o.data)
	}
	return readTold(t, answer.status, answer.header, answer.body.Bytes()), objects, len(door.open)
}

// FuzzStow feeds the door with anything: it must not crash, must store only what was sent, and must answer what is true.
func FuzzStow(f *testing.F) {
	sound := partsOf(object("1.2.3.1"), object("1.2.3.2"))
	f.Add(related, sound)
	f.Add(`multipart/related; type=application/dicom; boundary="b b"`, bytes.ReplaceAll(sound, []byte("--bb"), []byte("--b b")))
	f.Add(related, sound[:len(sound)-100])
	f.Add(related, bytes.ReplaceAll(sound, []byte("\r\n"), []byte("\n")))
	f.Add(related, partsOf(nil, []byte("x"), bytes.Repeat([]byte("y"), 3000)))
	f.Add(related, []byte("--bb\r\nContent-Type: multipart/related; boundary=cc\r\n\r\n--cc\r\n\r\n--cc--\r\n--bb--"))
	f.Add(related, []byte("--bb\r\nContent-Type: app"))
	f.Add("multipart/related", []byte("--bb--"))
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		got, objects, open := askDoor(t, contentType, body, spool)
		for _, o := range objects {
			if len(o) == 0 || len(o) > 2000 || !bytes.Contains(body, o) {
				t.Errorf("an object of %d bytes that was not sent so", len(o))
			}
		}
		failures := len(got.failed) + len(got.other)
		switch boundary, refused := boundaryOf(contentType); got.status {
		case http.StatusOK:
			if failures > 0 || len(objects) == 0 || len(objects) != len(got.referenced) || refused != nil || !bytes.Contains(body, []byte("--"+boundary+"--")) {
				t.Errorf("success with %d failures, %d references and %d objects", failures, len(got.referenced), len(objects))
			}
		case http.StatusAccepted:
			if failures == 0 || len(objects) < len(got.referenced) || len(objects) > len(got.referenced)+len(got.other) || len(objects) == 0 {
				t.Errorf("%d failures, %d references and %d objects", failures, len(got.referenced), len(objects))
			}
		case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
			if len(objects) > 0 || len(got.referenced) > 0 {
				t.Errorf("status %d, but %d objects", got.status, len(objects))
			}
		default:
			t.Errorf("status %d", got.status)
		}
		if open > 0 {
			t.Error("a place is not given back")
		}
	})
}

// recorded is an answer in memory.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(status int)      { r.status = status }
func (r *recorded) Write(p []byte) (int, error) { return r.body.Write(p) }
