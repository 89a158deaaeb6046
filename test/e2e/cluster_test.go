package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/test/postgres"
	"github.com/noctua-screening/noctua/test/servers"
)

const clusterToken = "a-token-for-tests-of-32-characters"

// cluster is three service processes on a NATS server and an S3 server that are processes of their own.
type cluster struct {
	t                       *testing.T
	nats                    *servers.NATS
	s3                      *servers.S3
	env                     []string
	dir                     string
	web                     string
	ingest, segment, report *process
	reportFlags             []string // of every report process, but for where it listens
	blobs                   *blob.Store
}

// startCluster starts the services, with a report index in a file unless the flags say where.
func startCluster(t *testing.T, database ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, nats: servers.StartNATS(t), s3: servers.StartS3(t), dir: t.TempDir()}
	address := freeAddress(t)
	c.web = "http://" + address
	secret := filepath.Join(c.dir, "site-secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("5e", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	// One address by environment, the rest by flag or configuration file: all three ways work.
	config := filepath.Join(c.dir, "noctua.yaml")
	text := fmt.Sprintf("nats_url: %s\nquiet-period: 2s\nwatch:\n  - north=%s\nwatch-settle: 500ms\n", c.nats.URL, c.share())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = []string{"NOCTUA_S3_ENDPOINT=http://" + c.s3.Endpoint, "NOCTUA_S3_ACCESS_KEY=" + c.s3.AccessKey, "NOCTUA_S3_SECRET_KEY=" + c.s3.SecretKey}
	c.ingest = c.start("ingest", "--config", config, "--site-secret-file", secret, "--list-every", "1s")
	c.segment = c.start("segment", "--nats-url", c.nats.URL)
	if database == nil {
		database = []string{"--database", filepath.Join(c.dir, "index.sqlite")}
	}
	c.reportFlags = append([]string{"--config", config, "--token", clusterToken}, database...)
	c.report = c.startReport(address)
	var err error
	if c.blobs, err = blob.New(blob.Config{Endpoint: "http://" + c.s3.Endpoint, AccessKey: c.s3.AccessKey, SecretKey: c.s3.SecretKey}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) startReport(address string) *process {
	c.t.Helper()
	return c.start(append([]string{"report", "--listen", address}, c.reportFlags...)...)
}

// freeAddress is one that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// share is the folder that ingest watches; it is not there at the start.
func (c *cluster) share() string { return filepath.Join(c.dir, "share") }

// start starts a service and waits until it is ready.
func (c *cluster) start(args ...string) *process {
	c.t.Helper()
	p := start(c.t, c.env, args...)
	eventually(c.t, readyTimeout, args[0]+" is not ready", func() error {
		select {
		case err := <-p.done:
			c.t.Fatalf("noctua %s ended: %v\n%s", args[0], err, p.log)
		default:
		}
		if !strings.Contains(p.log.String(), "is ready") {
			return errors.New("it has not said so")
		}
		return nil
	})
	return p
}

func (c *cluster) status(flags ...string) record.Status {
	c.t.Helper()
	var s record.Status
	readStatus(c.t, mustCommand(c.t, append([]string{"status", "--url", c.web, "--token", clusterToken, "--json"}, flags...)...), &s)
	return s
}

// TestNightInThreeProcesses runs the same night as TestNightInOneProcess, with a segment worker and the broker killed in the
// middle, and with two report processes on one PostgreSQL, of which the first is killed. Then the index is made anew.
func TestNightInThreeProcesses(t *testing.T) {
	t.Parallel()
	clinic := clinicFolder(t)
	database := postgres.Start(t).Database()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(postgres.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--database", database, "--database-password-file", password}
	mustCommand(t, append([]string{"migrate"}, flags...)...)
	c := startCluster(t, flags...)
	address := freeAddress(t)
	second := c.startReport(address)
	mustCommand(t, "submit", clinic, "--clinic", "north", "--url", c.web, "--token", clusterToken)
	eventually(t, nightTimeout, "some pictures done", func() error {
		if s := c.status(); s.Done < 5 {
			return fmt.Errorf("only %d", s.Done)
		}
		return nil
	})
	c.segment.kill()
	c.nats.Kill()
	c.nats.Restart()
	c.segment = c.start("segment", "--nats-url", c.nats.URL)
	c.report.kill()
	c.web = "http://" + address

	night := c.status("--wait")
	checkNight(t, c.web, clusterToken, night)
	for info, err := range c.blobs.List(context.Background(), c.blobs.Buckets().Inbox, "") {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("the inbox still holds %s", info.Key)
	}
	rebuild := func() (string, error) {
		return command(t, append([]string{"rebuild", "--s3-endpoint", "http://" + c.s3.Endpoint, "--s3-access-key", c.s3.AccessKey, "--s3-secret-key", c.s3.SecretKey}, flags...)...)
	}
	if _, err := rebuild(); err == nil || !strings.Contains(err.Error(), "index-in-use") {
		t.Errorf("rebuilding under a service says %v", err)
	}
	c.ingest.stop()
	c.segment.stop()
	second.stop()
	out, err := rebuild()
	if err != nil || !strings.Contains(out, "0 could not be indexed") {
		t.Fatalf("rebuilding says %q, %v", out, err)
	}
	if out := mustCommand(t, append([]string{"migrate", "--check"}, flags...)...); !strings.Contains(out, "newest schema") {
		t.Errorf("migrate --check says %q", out)
	}
	address = freeAddress(t)
	c.web = "http://" + address
	c.report = c.startReport(address)
	again := c.status()
	again.RatePerMin, night.RatePerMin, again.EtaSeconds, night.EtaSeconds = nil, nil, nil, nil
	if !reflect.DeepEqual(again, night) {
		t.Errorf("on the rebuilt index the night is %+v, it was %+v", again, night)
	}
	checkNight(t, c.web, clusterToken, again)
	c.report.stop()
	for _, p := range []*process{c.report, second} {
		if strings.Contains(p.log.String(), postgres.Password) {
			t.Error("the log holds the database's password")
		}
	}
}

// TestShareInThreeProcesses: a share that comes after the start is watched by noctua ingest.
func TestShareInThreeProcesses(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	folder := filepath.Join(c.share(), "2026-11-25")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "1.dcm"), dicomtest.Native().Encode(false), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, nightTimeout, "a report", func() error {
		if s := c.status(); s.Done+s.Failed != 1 || s.Received != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("the share still holds %v, %v", left, err)
	}
	c.ingest.stop()
}

// TestServiceWithoutServersSaysSo checks the messages and exit codes of wrong configurations.
func TestServiceWithoutServersSaysSo(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "noctua.yaml")
	if err := os.WriteFile(config, []byte("nats-ulr: nats://127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no addresses":     {[]string{"segment"}, []string{"--nats-url", "exit status 2"}},
		"misspelt key":     {[]string{"--config", config, "version"}, []string{"nats-ulr", "exit status 2"}},
		"unknown provider": {[]string{"predict", "--provider", "abacus", "--out", t.TempDir(), "x.jpg"}, []string{"provider", "exit status 2"}},
		"missing provider": {[]string{"predict", "--provider", "cuda", "--out", t.TempDir(), filepath.Join(t.TempDir())}, []string{"exit status 3"}},
		"no picture":       {[]string{"predict", "--out", t.TempDir(), "no-such-picture.jpg"}, []string{"no-such-picture.jpg", "exit status 3"}},
		"no Noctua":        {[]string{"status", "--data", t.TempDir()}, []string{"noctua run", "exit status 3"}},
		"bad clinic":       {[]string{"submit", "x", "--clinic", "north clinic"}, []string{"letters", "exit status 2"}},
		"open to the network": {[]string{"run", "--data", t.TempDir(), "--listen", "0.0.0.0:0"},
			[]string{"--insecure", "exit status 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := command(t, c.args...)
			if err == nil {
				t.Fatal("there should be an error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}
