package app

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/modelstore"
	"github.com/noctua-screening/noctua/pkg/unet"
	"github.com/noctua-screening/noctua/test/shared"
)

// program runs the command line and returns its exit code and what it wrote.
func program(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), args, Streams{Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// want runs the command line and checks the exit code.
func want(t *testing.T, code int, args ...string) (out, errs string) {
	t.Helper()
	got, out, errs := program(t, args...)
	if got != code {
		t.Fatalf("noctua %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	return out, errs
}

// needRuntime skips loudly where there is no ONNX Runtime.
func needRuntime(t *testing.T) {
	t.Helper()
	if _, err := unet.LocateLibrary("", os.Getenv); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, NOT RUN: %v", err)
	}
}

// tinyModel copies the tiny model of unet's tests, with edits of its manifest: old and new, in pairs.
func tinyModel(t *testing.T, edits ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny-model")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(shared.Root(t), "pkg", "unet", "testdata", "tiny"))); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, unet.ManifestFile), edits...)
	return dir
}

func edit(t *testing.T, path string, edits ...string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		if !bytes.Contains(raw, []byte(edits[i])) {
			t.Fatalf("%s does not hold %s", path, edits[i])
		}
		raw = bytes.Replace(raw, []byte(edits[i]), []byte(edits[i+1]), 1)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func contains(t *testing.T, where string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(where, p) {
			t.Errorf("no %q in\n%s", p, where)
		}
	}
}

func TestModelLife(t *testing.T) {
	t.Parallel()
	needRuntime(t)
	data := filepath.Join(t.TempDir(), "data")
	out, _ := want(t, exitOK, "model", "list", "--data", data)
	contains(t, out, "*  shipped")
	out, _ = want(t, exitOK, "model", "install", tinyModel(t), "--data", data)
	contains(t, out, "Installed tiny@1 in ", "160 × 160", "golden tensors", "--model tiny@1")
	out, _ = want(t, exitOK, "model", "install", tinyModel(t), "--data", data)
	contains(t, out, "Already installed tiny@1")
	_, errs := want(t, exitInput, "model", "install", tinyModel(t, `"threshold": 0.5`, `"threshold": 0.3`), "--data", data)
	contains(t, errs, "[model-exists]")
	out, _ = want(t, exitOK, "model", "list", "--data", data)
	contains(t, out, "*  shipped", "tiny@1")
	out, _ = want(t, exitOK, "model", "show", "--data", data)
	contains(t, out, "noctua-vessel-2", "CHASE_DB1 test, 8 pictures: dice 0.8165, auc 0.9862, ")
	out, _ = want(t, exitOK, "model", "use", "tiny", "--data", data)
	contains(t, out, "next start")
	out, _ = want(t, exitOK, "model", "show", "--data", data)
	contains(t, out, "tiny 1,")
	_, errs = want(t, exitInput, "model", "remove", "tiny", "--data", data)
	contains(t, errs, "[model-in-use]")
	want(t, exitOK, "model", "use", "shipped", "--data", data)
	want(t, exitOK, "model", "remove", "tiny", "--data", data)
	out, _ = want(t, exitOK, "model", "list", "--data", data)
	if strings.Contains(out, "tiny") {
		t.Errorf("tiny is still there:\n%s", out)
	}
	_, errs = want(t, exitInput, "model", "use", "tiny", "--data", data)
	contains(t, errs, "[model-unknown]")
	out, _ = want(t, exitOK, "model", "install", tinyModel(t), "--data", data, "--use")
	contains(t, out, "It is the default")
}

// TestModelInstallRefuses: models that lie are found out before they are in the data folder.
func TestModelInstallRefuses(t *testing.T) {
	t.Parallel()
	needRuntime(t)
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, dir string)
		code  string
	}{
		"broken manifest": {func(t *testing.T, dir string) { edit(t, filepath.Join(dir, unet.ManifestFile), `{`, `[`) }, "[model-manifest]"},
		"altered network": {func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)/2] ^= 1
			if err := os.WriteFile(filepath.Join(dir, "model.onnx"), raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "[model-altered]"},
		"no network, but the right hash": {func(t *testing.T, dir string) {
			junk := []byte("this is no ONNX file")
			raw, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "model.onnx"), junk, 0o644); err != nil {
				t.Fatal(err)
			}
			edit(t, filepath.Join(dir, unet.ManifestFile), fmt.Sprintf("%x", sha256.Sum256(raw)), fmt.Sprintf("%x", sha256.Sum256(junk)))
		}, "[model-unusable]"},
		"another input name": {func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, unet.ManifestFile), `"name": "image"`, `"name": "picture"`)
		}, "[model-unusable]"},
		"wrong golden output": {func(t *testing.T, dir string) {
			path := filepath.Join(dir, "golden_output.f32")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(raw[4000:], []byte{0, 0, 0, 0}) // one probability of 4096
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "[model-golden]"},
		"golden output cut off": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "golden_output.f32"), 100); err != nil {
				t.Fatal(err)
			}
		}, "[model-golden]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, data := tinyModel(t), filepath.Join(t.TempDir(), "data")
			tc.spoil(t, dir)
			_, errs := want(t, exitInput, "model", "install", dir, "--data", data)
			contains(t, errs, tc.code)
			if entries, err := storeOf(data).List(); err != nil || len(entries) != 0 {
				t.Errorf("installed all the same: %v (%v)", entries, err)
			}
		})
	}
	_, errs := want(t, exitInput, "model", "install", filepath.Join(t.TempDir(), "nowhere"), "--data", t.TempDir())
	contains(t, errs, "[model-missing]")
}

func TestChooseModel(t *testing.T) {
	// Not parallel: it changes the working directory.
	needRuntime(t)
	data := filepath.Join(t.TempDir(), "data")
	dir := tinyModel(t)
	want(t, exitOK, "model", "install", dir, "--data", data)
	t.Chdir(t.TempDir())
	for _, name := range []string{"tiny", "folder"} {
		if err := os.CopyFS(name, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(data, "models", "tiny", "1")
	for reference, wantDir := range map[string]string{
		"": "", "shipped": "", dir: dir, "tiny": installed, "tiny@1": installed, // an installed model comes before a folder of its name
		"./tiny": filepath.Join(here, "tiny"), "folder": filepath.Join(here, "folder"), ".": here,
	} {
		if m, err := chooseModel(data, reference); err != nil || m.dir != wantDir || m.byDefault {
			t.Errorf("--model %q is %+v (%v), want %q", reference, m, err, wantDir)
		}
	}
	if _, err := chooseModel(data, "nothing"); err == nil {
		t.Error("a model that is nowhere was found")
	}
	want(t, exitOK, "model", "use", "tiny", "--data", data)
	if m, err := chooseModel(data, ""); err != nil || m.dir != installed || !m.byDefault {
		t.Errorf("the default is %+v (%v)", m, err)
	}
	if m, err := chooseModel(data, modelstore.Shipped); err != nil || m.dir != "" {
		t.Errorf("shipped is %+v (%v)", m, err)
	}
}
