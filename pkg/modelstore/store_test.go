package modelstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/modelstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tiny = "../unet/testdata/tiny"

// source copies the tiny model into a folder of the test's, with edits of its manifest: old and new, in pairs.
func source(t *testing.T, edits ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "manifest.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the manifest does not hold %s", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func approve(context.Context, string) error { return nil }

// tree lists the files below dir with the hashes of what they hold, without the lock.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.Name() == ".lock" || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || e.IsDir() {
			out = append(out, filepath.ToSlash(rel)+"/")
			return err
		}
		raw, err := os.ReadFile(path)
		out = append(out, fmt.Sprintf("%s %x", filepath.ToSlash(rel), sha256.Sum256(raw)))
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

func install(t *testing.T, s modelstore.Store, dir string) modelstore.Entry {
	t.Helper()
	e, added, err := s.Install(t.Context(), dir, approve)
	if err != nil || !added {
		t.Fatalf("installing: added %v, %v", added, err)
	}
	return e
}

func TestInstall(t *testing.T) {
	t.Parallel()
	s := modelstore.Store{Dir: filepath.Join(t.TempDir(), "deep", "models")}
	dir := source(t)
	for name, data := range map[string]string{"README.md": "a model", "secret.key": "not for the copy"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var verified string
	e, added, err := s.Install(t.Context(), dir, func(_ context.Context, at string) error { verified = at; return nil })
	if err != nil || !added || e.String() != "tiny@1" || e.Dir != filepath.Join(s.Dir, "tiny", "1") {
		t.Fatalf("%v, added %v, %v", e, added, err)
	}
	if filepath.Dir(verified) != s.Dir {
		t.Errorf("verified %s, want the copy inside %s", verified, s.Dir)
	}
	var names []string
	for _, line := range tree(t, e.Dir) {
		names = append(names, strings.Fields(line)[0])
	}
	if want := []string{"README.md", "golden_input.f32", "golden_output.f32", "manifest.json", "model.onnx"}; !slices.Equal(names, want) {
		t.Errorf("installed %q, want %q", names, want)
	}
	before := tree(t, s.Dir)
	if again, added, err := s.Install(t.Context(), dir, approve); err != nil || added || again != e {
		t.Errorf("the same once more: %v, added %v, %v", again, added, err)
	}
	// The same name and version, but the vessels begin at another probability.
	if _, _, err := s.Install(t.Context(), source(t, `"threshold": 0.5`, `"threshold": 0.4`), approve); fault.CodeOf(err) != modelstore.CodeExists || fault.KindOf(err) != fault.Conflict {
		t.Errorf("another model of the same name and version: %v", err)
	}
	if after := tree(t, s.Dir); !slices.Equal(before, after) {
		t.Errorf("the installed model was touched:\n%q\nnow\n%q", before, after)
	}
	install(t, s, source(t, `"version": "1"`, `"version": "1.1"`, `"threshold": 0.5`, `"threshold": 0.4`))
	if entries, err := s.List(); err != nil || len(entries) != 2 || entries[1].String() != "tiny@1.1" {
		t.Errorf("listed %v (%v)", entries, err)
	}
}

// TestInstallRefuses: whatever is wrong with a folder, nothing of it stays.
func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	replace := func(name, with string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(with), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := func(name, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, "moved")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "moved"), filepath.Join(filepath.Dir(dir), "outside")); to != "moved" && err != nil {
				t.Fatal(err)
			}
			if to == "moved" { // inside
				if err := os.Rename(filepath.Join(filepath.Dir(dir), "outside"), filepath.Join(dir, "moved")); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name  string
		edits []string
		spoil func(*testing.T, string)
		code  string
	}{
		{"no JSON", nil, replace("manifest.json", "{"), "model-manifest"},
		{"a key that nobody knows", []string{`"licence"`, `"license"`}, nil, "model-manifest"},
		{"no vessel class", []string{`"vessel"`, `"disc"`}, nil, "model-manifest"},
		{"altered network", nil, replace("model.onnx", "altered"), "model-altered"},
		{"no network", []string{`"file": "model.onnx"`, `"file": "other.onnx"`}, nil, "model-missing"},
		{"the network lies elsewhere", []string{`"file": "model.onnx"`, `"file": "../model.onnx"`}, nil, "model-manifest"},
		{"the network is absolute", []string{`"file": "model.onnx"`, `"file": "/etc/hostname"`}, nil, "model-manifest"},
		{"the network is the folder above", []string{`"file": "model.onnx"`, `"file": ".."`}, nil, "model-missing"},
		{"the golden input is the folder above", []string{`"input": "golden_input.f32"`, `"input": ".."`}, nil, "model-missing"},
		{"the golden input is the folder", []string{`"input": "golden_input.f32"`, `"input": "."`}, nil, "model-manifest"},
		{"the golden output is missing", []string{`"output": "golden_output.f32"`, `"output": "gone.f32"`}, nil, "model-missing"},
		{"a version that leaves the folder", []string{`"version": "1"`, `"version": "../../evil"`}, nil, "model-manifest"},
		{"a version that hides", []string{`"version": "1"`, `"version": ".1"`}, nil, "model-manifest"},
		{"a name that leaves the folder", []string{`"name": "tiny"`, `"name": "../tiny"`}, nil, "model-manifest"},
		{"the shipped model's name", []string{`"name": "tiny"`, `"name": "shipped"`}, nil, "model-manifest"},
		{"the network is a link to the outside", nil, link("model.onnx", "../outside"), "model-missing"},
		{"the manifest is a link to the outside", nil, link("manifest.json", "../outside"), "model-missing"},
		{"the golden output is a link to the outside", nil, link("golden_output.f32", "../outside"), "model-manifest"},
		{"the golden output is a link to the inside", nil, link("golden_output.f32", "moved"), "model-manifest"},
		{"a paper that is a link", nil, func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Symlink("/etc/hostname", filepath.Join(dir, "README.md")); err != nil {
				t.Fatal(err)
			}
		}, "model-manifest"},
		{"an endless paper", nil, replace("LICENSE", strings.Repeat("x", 2<<20)), "model-manifest"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := source(t, tc.edits...)
			if tc.spoil != nil {
				tc.spoil(t, dir)
			}
			s := modelstore.Store{Dir: filepath.Join(t.TempDir(), "models")}
			_, _, err := s.Install(t.Context(), dir, approve)
			if fault.CodeOf(err) != tc.code {
				t.Errorf("error %v (%q), want %q", err, fault.CodeOf(err), tc.code)
			}
			if left := tree(t, s.Dir); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
	s := modelstore.Store{Dir: filepath.Join(t.TempDir(), "models")}
	if _, _, err := s.Install(t.Context(), filepath.Join(t.TempDir(), "nowhere"), approve); fault.CodeOf(err) != "model-missing" {
		t.Errorf("no folder: %v", err)
	}
	wrong := fault.New(fault.Invalid, "model-golden", "computes something else")
	if _, _, err := s.Install(t.Context(), source(t), func(context.Context, string) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("a model that computes something else: %v", err)
	}
	if left := tree(t, s.Dir); len(left) != 0 {
		t.Errorf("a model that computes something else left %q behind", left)
	}
}

// TestInterruptedInstallation stops in the middle, and finds what a killed process would have left.
func TestInterruptedInstallation(t *testing.T) {
	t.Parallel()
	s := modelstore.Store{Dir: filepath.Join(t.TempDir(), "models")}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Install(ctx, source(t), approve); !fault.Interrupted(err) {
		t.Errorf("cancelled: %v", err)
	}
	if left := tree(t, s.Dir); len(left) != 0 {
		t.Errorf("cancelled, but left %q", left)
	}
	// Killed while copying: half a model in the folder that was being filled.
	half := filepath.Join(s.Dir, ".install-123")
	if err := os.CopyFS(half, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(half, "model.onnx"), 10); err != nil {
		t.Fatal(err)
	}
	if entries, err := s.List(); err != nil || len(entries) != 0 {
		t.Errorf("half a model is listed: %v (%v)", entries, err)
	}
	e := install(t, s, source(t))
	if left := tree(t, s.Dir); len(left) != 6 || !slices.Contains(left, "tiny/1/") {
		t.Errorf("after the next installation of %v: %q", e, left)
	}
}

// TestInstallAtOnce: of several processes that install one model one is first, and all have it.
func TestInstallAtOnce(t *testing.T) {
	t.Parallel()
	s := modelstore.Store{Dir: filepath.Join(t.TempDir(), "models")}
	dir := source(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	first := 0
	for range 8 {
		wg.Go(func() {
			_, added, err := s.Install(t.Context(), dir, approve)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if added {
				first++
			}
		})
	}
	wg.Wait()
	if first != 1 {
		t.Errorf("%d were first", first)
	}
}

func TestDefaultAndRemoval(t *testing.T) {
	t.Parallel()
	s := modelstore.Store{Dir: filepath.Join(t.TempDir(), "models [1]*")} // nothing in a path is a pattern
	if _, ok, err := s.Default(); ok || err != nil {
		t.Errorf("a default in an empty store: %v, %v", ok, err)
	}
	if _, err := s.Find("tiny"); fault.CodeOf(err) != modelstore.CodeUnknown || fault.KindOf(err) != fault.NotFound {
		t.Errorf("found in an empty store: %v", err)
	}
	one := install(t, s, source(t))
	if e, err := s.Find("tiny"); err != nil || e != one {
		t.Errorf("found %v (%v)", e, err)
	}
	install(t, s, source(t, `"version": "1"`, `"version": "2"`))
	if _, err := s.Find("tiny"); fault.CodeOf(err) != modelstore.CodeAmbiguous || !strings.Contains(err.Error(), "tiny@1, tiny@2") {
		t.Errorf("two versions: %v", err)
	}
	if err := s.Use("tiny@3"); fault.CodeOf(err) != modelstore.CodeUnknown {
		t.Errorf("a version that is not there: %v", err)
	}
	if err := s.Use("tiny@2"); err != nil {
		t.Fatal(err)
	}
	if e, ok, err := s.Default(); !ok || err != nil || e.Version != "2" || !e.Default {
		t.Errorf("default %v, %v, %v", e, ok, err)
	}
	if err := s.Remove("tiny@2"); fault.CodeOf(err) != modelstore.CodeInUse {
		t.Errorf("removing the default: %v", err)
	}
	if err := s.Remove("tiny@1"); err != nil {
		t.Fatal(err)
	}
	if entries, err := s.List(); err != nil || len(entries) != 1 || !entries[0].Default {
		t.Errorf("after removal: %v (%v)", entries, err)
	}
	// Somebody deletes the default's folder: no other model steps in unasked.
	if err := os.RemoveAll(filepath.Join(s.Dir, "tiny")); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Default(); ok || fault.CodeOf(err) != modelstore.CodeUnknown {
		t.Errorf("the default is gone: %v, %v", ok, err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "default"), bytes.Repeat([]byte("../"), 5), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Default(); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a damaged choice: %v", err)
	}
	if err := s.Use(modelstore.Shipped); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Default(); ok || err != nil {
		t.Errorf("back to the shipped model: %v, %v", ok, err)
	}
	if err := s.Use(modelstore.Shipped); err != nil {
		t.Errorf("once more: %v", err)
	}
}
