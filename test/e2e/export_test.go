package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/servers"
	"github.com/noctua-screening/noctua/test/shared"
)

// storescp is dcmtk's archive.
type storescp struct {
	t         *testing.T
	port, dir string
	cmd       *exec.Cmd
}

func newStorescp(t *testing.T) *storescp {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return &storescp{t: t, port: port, dir: t.TempDir()}
}

// start starts it; options are those of storescp.
func (s *storescp) start(options ...string) {
	s.t.Helper()
	cmd := exec.Command(shared.Program(s.t, "storescp", "dcmtk"), append(options, "+B", "+xa", "-aet", "PACS", "-od", s.dir, s.port)...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	s.t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
}

func (s *storescp) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait() // killed
}

// received are the data sets that arrived whole, by instance.
func (s *storescp) received() map[string][]byte {
	s.t.Helper()
	found := map[string][]byte{}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(s.dir, f.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
		if e, err := dicom.TakeApart(raw); err == nil {
			found[e.Instance] = bytes.Clone(e.Dataset)
		}
	}
	return found
}

// leaveResult puts a result into the buckets of a Noctua as the segment service does; seg is its SEG.
func leaveResult(t *testing.T, store *blob.Store, n int, seg []byte) {
	t.Helper()
	var model struct {
		SHA256 string `json:"sha256"`
	}
	manifests, err := filepath.Glob(filepath.Join(shared.Root(t), "models", "*", "manifest.json"))
	if err != nil || len(manifests) != 1 {
		t.Fatalf("%v, %v", manifests, err)
	}
	readJSON(t, manifests[0], &model)
	sha, sop := fmt.Sprintf("%064x", n), fmt.Sprintf("1.2.826.1.%d", n)
	prefix, err := blob.ResultPrefix(sop, sha, model.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	document, err := record.Encode(record.ResultSchema, record.Result{Schema: record.ResultSchema, Clinic: "north", Columns: 640, Rows: 480, Sha256: sha, SOPUID: sop,
		StudyUID: "1.2.826.1", Status: record.Measured, Warnings: []record.Note{}, Measures: []record.Measure{}, Files: record.ResultFiles{Seg: "seg.dcm"},
		Provenance: record.Provenance{CanvasFOVDiameterPx: 768, CanvasHeightPx: 800, CanvasWidthPx: 800, ChannelMean: []float64{1, 2, 3}, ChannelStd: []float64{1, 2, 3},
			CodeVersion: "test", Decoder: "test", ExecutionProvider: "cpu", FinishedAt: time.Now(), StartedAt: time.Now(), InputSha256: sha,
			Model: record.ModelReference{Name: "m", Version: "1", Sha256: model.SHA256}, Normalisation: "mean-std", OnnxruntimeVersion: "1", Resampling: "triangle", Threshold: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"seg.dcm": seg, "result.json": document} {
		if err := store.PutBytes(t.Context(), store.Buckets().Results, prefix+name, raw, blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// minimalSEG is a DICOM file of the class of segmentations, with a number.
func minimalSEG(i int) []byte {
	const class = "1.2.840.10008.5.1.4.1.1.66.4"
	instance := fmt.Sprintf("2.25.77%d", i)
	e := dicomtest.Elements{0x00080016: dicomtest.Text("UI", class), 0x00080018: dicomtest.Text("UI", instance),
		0x00100010: dicomtest.Text("PN", "Secret^Patient"), 0x0020000D: dicomtest.Text("UI", "1.2.826.1")}
	return append(dicom.FileHeader(class, instance, dicom.ExplicitLittleEndian), e.Dataset(false)...)
}

// buckets opens the buckets of a Noctua.
func (n *noctua) buckets() *blob.Store {
	n.t.Helper()
	var e struct {
		S3URL string `json:"s3_url"`
	}
	var s struct {
		AccessKey string `json:"s3_access_key"`
		SecretKey string `json:"s3_secret_key"`
	}
	readJSON(n.t, filepath.Join(n.data, "endpoint.json"), &e)
	readJSON(n.t, filepath.Join(n.data, "secrets.json"), &s)
	store, err := blob.New(blob.Config{Endpoint: e.S3URL, AccessKey: s.AccessKey, SecretKey: s.SecretKey})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(store.Close)
	return store
}

// exported waits until an archive has what it should have.
func (n *noctua) exported(archive string, sent, pending, failed int) record.ExportStatus {
	n.t.Helper()
	var found record.ExportStatus
	eventually(n.t, time.Minute, fmt.Sprintf("%s has %d sent, %d pending, %d failed", archive, sent, pending, failed), func() error {
		all := n.status().Exports
		i := slices.IndexFunc(all, func(e record.ExportStatus) bool { return e.Archive == archive })
		if i < 0 {
			return fmt.Errorf("no such archive in %+v", all)
		}
		if found = all[i]; found.Sent != sent || found.Pending != pending || found.Failed != failed {
			return fmt.Errorf("%+v", found)
		}
		return nil
	})
	return found
}

// TestResultsGoBack sends results of a night before exports were configured to dcmtk's storescp and to the STOW-RS door of another Noctua.
// Sender and archive are killed; in the end both have everything, byte by byte.
func TestResultsGoBack(t *testing.T) {
	t.Parallel()
	clinic, err := filepath.Glob(filepath.Join(clinicFolder(t), "*.dcm"))
	if err != nil || len(clinic) < 3 {
		t.Fatalf("%d pictures, %v", len(clinic), err)
	}
	pacs := newStorescp(t)
	receiver := startAllInOne(t, t.TempDir())
	token := strings.TrimSpace(mustCommand(t, "token", "create", "noctua", "--scope", "upload:north", "--data", receiver.data))
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	data := t.TempDir()
	flags := []string{"--export-dicom", "pacs=dicom://PACS@127.0.0.1:" + pacs.port, "--export-dicom", "door=" + receiver.web + "/dicom-web", "--export-token-file", "door=" + tokenFile}
	n := startAllInOne(t, data, flags...)
	want := map[string][]byte{}
	store := n.buckets()
	// The door of a Noctua takes photographs only: three of them, and two SEGs that it refuses.
	for i := range 5 {
		file := minimalSEG(i)
		if i < 3 {
			if file, err = os.ReadFile(clinic[i]); err != nil {
				t.Fatal(err)
			}
		}
		e, err := dicom.TakeApart(file)
		if err != nil {
			t.Fatal(err)
		}
		want[e.Instance] = e.Dataset
		leaveResult(t, store, i+1, file)
	}
	n.exported("pacs", 0, 0, 0) // of a night before
	if out := mustCommand(t, "export", "--since", "2020-01-01", "--data", data); !strings.Contains(out, "pacs: 5 results") || !strings.Contains(out, "door: 5 results") {
		t.Errorf("asked: %s", out)
	}
	// One archive is not there, which holds up the other one in nothing.
	n.exported("door", 3, 0, 2)
	if e := n.exported("pacs", 0, 5, 0); e.Code != "archive-unreachable" || !strings.Contains(e.Reason, "refused") {
		t.Errorf("away: %+v", e)
	}
	eventually(t, time.Minute, "the other Noctua has the photographs", func() error {
		if s := receiver.status(); s.Received != 3 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if out := mustCommand(t, "status", "--data", data); !strings.Contains(out, "door: 3 sent, 0 pending, 2 failed") || !strings.Contains(out, "pacs: 0 sent, 5 pending, 0 failed; away since") {
		t.Errorf("status: %s", out)
	}
	code, page := get(t, n.web, n.token, "/")
	if code != 200 || !bytes.Contains(page, []byte("not taken by the archive door")) || !bytes.Contains(page, []byte("for the archive pacs, which takes nothing")) {
		t.Errorf("the page: %d %s", code, page)
	}

	// Both die, in the middle; what arrived then is whole, and afterwards everything is there.
	n.kill()
	pacs.start("--sleep-during", "1")
	n = startAllInOne(t, data, flags...)
	eventually(t, time.Minute, "something arrives", func() error {
		files, err := os.ReadDir(pacs.dir)
		if err == nil && len(files) == 0 {
			err = errors.New("nothing yet")
		}
		return err
	})
	pacs.kill()
	n.kill()
	pacs.start()
	n = startAllInOne(t, data, flags...)
	n.exported("pacs", 5, 0, 0)
	n.exported("door", 3, 0, 2)
	got := pacs.received()
	for instance, dataset := range want {
		if !bytes.Equal(got[instance], dataset) {
			t.Errorf("%s has %d bytes at the archive, want %d", instance, len(got[instance]), len(dataset))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d instances arrived, want %d", len(got), len(want))
	}
	if strings.Contains(n.log.String(), "Secret") || strings.Contains(n.log.String(), token) {
		t.Error("the log holds a patient's name or the token")
	}
	n.stop()
	receiver.stop()
}

// TestResultsGoBackFromTheReportService: the service alone, set up by a configuration file, with the broker killed while results wait.
func TestResultsGoBackFromTheReportService(t *testing.T) {
	t.Parallel()
	pacs := newStorescp(t)
	c := &cluster{t: t, nats: servers.StartNATS(t), s3: servers.StartS3(t), dir: t.TempDir()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c.web = "http://" + address
	config := filepath.Join(c.dir, "noctua.yaml")
	text := fmt.Sprintf("export-dicom:\n  pacs: dicom://PACS@127.0.0.1:%s\nexport_clinics:\n  pacs: north,east\n", pacs.port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = []string{"NOCTUA_S3_ENDPOINT=http://" + c.s3.Endpoint, "NOCTUA_S3_ACCESS_KEY=" + c.s3.AccessKey, "NOCTUA_S3_SECRET_KEY=" + c.s3.SecretKey, "NOCTUA_NATS_URL=" + c.nats.URL}
	c.report = c.start("report", "--config", config, "--token", clusterToken, "--listen", address, "--database", filepath.Join(c.dir, "index.sqlite"))
	if c.blobs, err = blob.New(blob.Config{Endpoint: "http://" + c.s3.Endpoint, AccessKey: c.s3.AccessKey, SecretKey: c.s3.SecretKey}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.blobs.Close)
	for i := range 3 {
		leaveResult(t, c.blobs, i+1, minimalSEG(i))
	}
	wait := func(sent, pending int) {
		t.Helper()
		eventually(t, time.Minute, fmt.Sprintf("%d sent, %d pending", sent, pending), func() error {
			if e := c.status().Exports; len(e) != 1 || e[0].Sent != sent || e[0].Pending != pending || e[0].Failed != 0 {
				return fmt.Errorf("%+v", e)
			}
			return nil
		})
	}
	eventually(t, time.Minute, "the index is ready", func() error {
		code, raw := get(t, c.web, clusterToken, "/readyz")
		if code != 200 {
			return fmt.Errorf("%d %s", code, raw)
		}
		return nil
	})
	mustCommand(t, "export", "--since", "2020-01-01", "--url", c.web, "--token", clusterToken)
	wait(0, 3)
	c.nats.Kill()
	c.nats.Restart()
	pacs.start()
	wait(3, 0)
	if got := pacs.received(); len(got) != 3 {
		t.Errorf("%d instances arrived", len(got))
	}
	c.report.stop()
}
