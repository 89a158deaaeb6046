package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// TestIntegratorsMissNothing runs the clients of docs/integrate against a night of 40 pictures that comes in two halves, and kills them
// again and again. At the end each has the newest version of every report, by its own files alone.
func TestIntegratorsMissNothing(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("the Python client needs python3")
	}
	guide, err := filepath.Abs(filepath.FromSlash("../../docs/integrate"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	built := filepath.Join(dir, "poll")
	if out, err := exec.Command("go", "build", "-o", built, filepath.Join(guide, "go", "main.go")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pictures, err := filepath.Glob(filepath.Join(clinicFolder(t), "*.dcm"))
	if err != nil || len(pictures) != clinicImages {
		t.Fatalf("%d pictures, %v", len(pictures), err)
	}
	n := startAllInOne(t, t.TempDir())
	token := filepath.Join(dir, "token.txt")
	if err := os.WriteFile(token, []byte(mustCommand(t, "token", "create", "ehr", "--scope", "report.read:north", "--data", n.data)), 0o600); err != nil {
		t.Fatal(err)
	}
	clients := map[string][]string{
		"go":     {built, "-url", n.web, "-token-file", token, "-out", filepath.Join(dir, "go")},
		"python": {python, filepath.Join(guide, "python", "poll.py"), "--url", n.web, "--token-file", token, "--out", filepath.Join(dir, "python")},
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, len(clients))
	for name, args := range clients {
		every := "-every"
		if name == "python" {
			every = "--every"
		}
		pause := map[string]string{"go": "200ms", "python": "0.2"}[name]
		go func() { done <- killedAgainAndAgain(ctx, append(args, every, pause)) }()
	}
	half := len(pictures) / 2
	mustCommand(t, append(append([]string{"submit"}, pictures[:half]...), "--clinic", "north", "--data", n.data)...)
	eventually(t, nightTimeout, "the first reports", func() error {
		if s := n.status(); s.Done < 5 {
			return fmt.Errorf("%d done", s.Done)
		}
		return nil
	})
	mustCommand(t, append(append([]string{"submit"}, pictures[half:]...), "--clinic", "north", "--data", n.data)...)
	if s := n.status("--wait"); s.Done != clinicImages {
		t.Fatalf("%+v", s)
	}
	var reports map[string]record.Report
	eventually(t, time.Minute, "final reports", func() error {
		reports = n.reports()
		for _, r := range reports {
			if r.Status == record.Preliminary {
				return errors.New("a report is preliminary")
			}
		}
		return nil
	})
	stop()
	for range clients {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range clients {
		last := append(args, map[string]string{"go": "-once", "python": "--once"}[name])
		if out, err := exec.Command(last[0], last[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		missing := 0
		for _, r := range reports {
			raw, err := os.ReadFile(filepath.Join(dir, name, fmt.Sprintf("%s-v%d.json", r.ReportID, r.Version)))
			if err != nil || !strings.Contains(string(raw), `"Patient"`) || !strings.Contains(string(raw), `"Observation"`) {
				missing++
			}
		}
		if missing > 0 || len(reports) != clinicPatients {
			t.Errorf("the %s client lacks %d of %d reports", name, missing, len(reports))
		}
		if out, err := exec.Command(last[0], last[1:]...).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "0 new") {
			t.Errorf("the %s client takes something again: %s, %v", name, out, err)
		}
	}
	n.stop()
}

// killedAgainAndAgain runs a client until ctx ends, and kills it at moments that it does not choose. Each time it lives a little longer, so
// that it gets somewhere however slow the machine is.
func killedAgainAndAgain(ctx context.Context, args []string) error {
	life := 300 * time.Millisecond
	for ctx.Err() == nil {
		cmd := exec.Command(args[0], args[1:]...)
		out := &syncBuffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			return fmt.Errorf("a client ended by itself: %w\n%s", err, out)
		case <-ctx.Done():
		case <-time.After(life):
		}
		life += 100 * time.Millisecond
		if err := cmd.Process.Kill(); err != nil {
			return err
		}
		<-ended
	}
	return nil
}
