package e2e

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/test/servers"
	"github.com/noctua-screening/noctua/test/shared"
)

// stowAddress reads off a log where the STOW-RS door is.
func (p *process) stowAddress() string {
	p.t.Helper()
	found := regexp.MustCompile(`msg="listening for STOW-RS" service=stow address=(\S+)`).FindStringSubmatch(p.log.String())
	if found == nil {
		p.t.Fatal("the log does not say where STOW-RS is")
	}
	return "http://" + found[1] + "/dicom-web/studies"
}

// uploadFile sends a file by STOW-RS and returns status and answer.
func uploadFile(t *testing.T, address, token, path string) (int, string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := parts.Close(); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, address, &body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", `multipart/related; type="application/dicom"; boundary=`+parts.Boundary())
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(said)
}

// TestArchiveUploads: what a sender was told is stored outlives a power cut, and ends in a report; its token opens nothing else.
func TestArchiveUploads(t *testing.T) {
	t.Parallel()
	picture := filepath.Join(clinicFolder(t), "chase_01L.dcm")
	data := t.TempDir()
	n := startAllInOne(t, data, "--stow-listen", "127.0.0.1:0")
	token := strings.TrimSpace(mustCommand(t, "token", "create", "pacs", "--scope", "upload:north", "--data", data))
	if status, said := uploadFile(t, n.stowAddress(), token, picture); status != http.StatusOK || !strings.Contains(said, "00081199") {
		t.Fatalf("%d %s", status, said)
	}
	n.kill()
	n = startAllInOne(t, data) // now at the web page's address alone
	if s := n.status("--wait"); s.Done != 1 || s.Received != 1 || s.Quarantined+s.Failed+s.Duplicate != 0 {
		t.Errorf("after the power cut: %+v", s)
	}
	refusedEverywhere(t, n, token)
	if status, said := uploadFile(t, n.web+"/dicom-web/studies", token, picture); status != http.StatusOK {
		t.Errorf("again: %d %s", status, said)
	}
	if status, said := uploadFile(t, n.web+"/dicom-web/studies", "another", picture); status != http.StatusUnauthorized {
		t.Errorf("with no token of ours: %d %s", status, said)
	}
	eventually(t, nightTimeout, "the duplicate is noted", func() error {
		if s := n.status(); s.Duplicate != 1 || s.Done != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	// More than a page may be sent.
	if status, said := uploadFile(t, n.web+"/dicom-web/studies", token, filepath.Join(clinicFolder(t), "hrf_08_dr.dcm")); status != http.StatusOK {
		t.Errorf("2 MB: %d %s", status, said)
	}
	mustCommand(t, "token", "revoke", "pacs", "--data", data)
	if status, said := uploadFile(t, n.web+"/dicom-web/studies", token, picture); status != http.StatusUnauthorized {
		t.Errorf("with a revoked token: %d %s", status, said)
	}
	n.stop()
	if strings.Contains(n.log.String(), token) {
		t.Error("the log holds the token")
	}
}

// refusedEverywhere asks every address of the report service that is not for uploading, as its source and its CapabilityStatement list them.
func refusedEverywhere(t *testing.T, n *noctua, token string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(shared.Root(t), "services", "report", "http.go"))
	if err != nil {
		t.Fatal(err)
	}
	var addresses [][2]string
	for _, r := range regexp.MustCompile(`\{"(GET|POST) (/[^"]*)", ([a-zA-Z.]+|""), `).FindAllStringSubmatch(string(source), -1) {
		if r[3] != `""` && r[3] != "anyone" && r[3] != "access.Upload" {
			addresses = append(addresses, [2]string{r[1], regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(strings.Replace(r[2], "{$}", "", 1), "1")})
		}
	}
	own := len(addresses)
	var statement struct {
		Rest []struct {
			Resource []struct {
				Type string `json:"type"`
			} `json:"resource"`
		} `json:"rest"`
	}
	getJSON(t, n.web, n.token, "/fhir/metadata", &statement)
	for _, r := range statement.Rest[0].Resource {
		addresses = append(addresses, [2]string{http.MethodGet, "/fhir/" + r.Type}, [2]string{http.MethodGet, "/fhir/" + r.Type + "/1"}, [2]string{http.MethodPost, "/fhir/" + r.Type + "/_search"})
	}
	if own < 20 || len(addresses) < own+20 {
		t.Fatalf("only %d and %d addresses", own, len(addresses)-own)
	}
	for _, a := range addresses {
		request, err := http.NewRequest(a[0], n.web+a[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s is answered with %d", a[0], a[1], answer.StatusCode)
		}
	}
}

// TestArchiveUploadsToIngest is the same door where ingest is a process of its own.
func TestArchiveUploadsToIngest(t *testing.T) {
	t.Parallel()
	picture := filepath.Join(clinicFolder(t), "chase_01L.dcm")
	c := &cluster{t: t, nats: servers.StartNATS(t), s3: servers.StartS3(t), dir: t.TempDir()}
	c.env = []string{"NOCTUA_S3_ENDPOINT=http://" + c.s3.Endpoint, "NOCTUA_S3_ACCESS_KEY=" + c.s3.AccessKey, "NOCTUA_S3_SECRET_KEY=" + c.s3.SecretKey}
	tokens := filepath.Join(c.dir, "tokens.json")
	token := strings.TrimSpace(mustCommand(t, "token", "create", "pacs", "--scope", "upload:north", "--file", tokens))
	ingest := c.start("ingest", "--nats-url", c.nats.URL, "--site-secret", strings.Repeat("5e", 32), "--list-every", "1s", "--stow-listen", "127.0.0.1:0", "--stow-tokens", tokens)
	address := ""
	eventually(t, readyTimeout, "the door is open", func() error {
		if !strings.Contains(ingest.log.String(), "listening for STOW-RS") {
			return fmt.Errorf("the log does not say so")
		}
		address = ingest.stowAddress()
		return nil
	})
	if status, said := uploadFile(t, address, token, picture); status != http.StatusOK {
		t.Fatalf("%d %s", status, said)
	}
	store, err := blob.New(blob.Config{Endpoint: "http://" + c.s3.Endpoint, AccessKey: c.s3.AccessKey, SecretKey: c.s3.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, nightTimeout, "the picture is in the archive", func() error {
		for info, err := range store.List(t.Context(), store.Buckets().Archive, "images/") {
			if err != nil {
				return err
			}
			if strings.HasSuffix(info.Key, ".dcm") {
				return nil
			}
		}
		return fmt.Errorf("it is not there")
	})
	ingest.stop()
}
