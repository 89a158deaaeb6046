package unet_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/unet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tiny = "testdata/tiny"

// open loads the library. Without one the test says so; under CI that is a failure.
func open(t testing.TB) *unet.Runtime {
	t.Helper()
	path, err := unet.LocateLibrary("", os.Getenv)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, NOT RUN: %v", err)
	}
	rt, err := unet.OpenRuntime(path)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func newSession(t testing.TB, dir string, config unet.Config) *unet.Session {
	t.Helper()
	rt := open(t)
	model, err := unet.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unet.NewSession(rt, model, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func randomInput(seed uint64, width, height int) unet.Input {
	random := rand.New(rand.NewPCG(seed, 1))
	in := unet.Input{Width: width, Height: height, Data: make([]float32, 3*width*height)}
	for i := range in.Data {
		in.Data[i] = float32(random.NormFloat64())
	}
	return in
}

func TestGoldenTiny(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]unet.Config{"single": {}, "batched": {Batch: 4, BatchWait: time.Millisecond}, "auto": {Provider: unet.Auto}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := newSession(t, tiny, config).VerifyGolden(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("largest difference %.2g of %d values (tolerance %.0e)", g.MaxDifference, g.Values, g.Tolerance)
			if g.Values != 2*32*64 {
				t.Errorf("compared %d values", g.Values)
			}
		})
	}
}

// TestGoldenShipped checks every model that the repository ships.
func TestGoldenShipped(t *testing.T) {
	t.Parallel()
	manifests, err := filepath.Glob("../../models/*/" + unet.ManifestFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(manifests) == 0 {
		t.Fatal("models/ holds no model")
	}
	for _, m := range manifests {
		dir := filepath.Dir(m)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			g, err := newSession(t, dir, unet.Config{}).VerifyGolden(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("largest difference %.2g of %d values (tolerance %.0e)", g.MaxDifference, g.Values, g.Tolerance)
		})
	}
}

func TestSegmentGivesASoftmax(t *testing.T) {
	t.Parallel()
	s := newSession(t, tiny, unet.Config{})
	out, err := s.Segment(t.Context(), randomInput(3, 96, 64))
	if err != nil {
		t.Fatal(err)
	}
	vessel, ok := out.Class("vessel")
	if !ok || vessel.Width != 96 || vessel.Height != 64 {
		t.Fatalf("vessel plane: %v %v", ok, vessel)
	}
	background, _ := out.Class("background")
	for i, v := range vessel.Pix {
		if sum := v + background.Pix[i]; v < 0 || v > 1 || math.Abs(float64(sum)-1) > 1e-5 {
			t.Fatalf("value %d: vessel %g, sum %g", i, v, sum)
		}
	}
	if _, ok := out.Class("artery"); ok {
		t.Error("a class that the model does not have was found")
	}
	if out.Inference <= 0 {
		t.Error("no inference time")
	}
}

// TestBatchesGiveWhatSinglesGive sends inputs of two sizes at once through several configurations.
func TestBatchesGiveWhatSinglesGive(t *testing.T) {
	t.Parallel()
	single := newSession(t, tiny, unet.Config{ConcurrentRuns: 1})
	const inputs = 24
	var in [inputs]unet.Input
	var want [inputs]unet.Output
	for i := range inputs {
		in[i] = randomInput(uint64(i), 32*(1+i%2), 64)
		out, err := single.Segment(t.Context(), in[i])
		if err != nil {
			t.Fatal(err)
		}
		want[i] = out
	}
	for name, config := range map[string]unet.Config{
		"concurrent":   {ConcurrentRuns: 4},
		"batches":      {Batch: 5, BatchWait: 5 * time.Millisecond, ConcurrentRuns: 2},
		"wide threads": {ConcurrentRuns: 1, IntraOpThreads: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t, tiny, config)
			var wg sync.WaitGroup
			for i := range inputs {
				wg.Go(func() {
					out, err := s.Segment(t.Context(), in[i])
					if err != nil {
						t.Error(err)
						return
					}
					for j, v := range out.Data {
						if math.Abs(float64(v-want[i].Data[j])) > 1e-6 {
							t.Errorf("input %d, value %d: %g, alone %g", i, j, v, want[i].Data[j])
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestBadItemDoesNotFailItsNeighbours puts an input that gives no numbers, one of the wrong size and one whose caller has
// gone into the same batch as good ones.
func TestBadItemDoesNotFailItsNeighbours(t *testing.T) {
	t.Parallel()
	s := newSession(t, tiny, unet.Config{Batch: 8, BatchWait: 200 * time.Millisecond, ConcurrentRuns: 1})
	nan := randomInput(1, 64, 64)
	nan.Data[100] = float32(math.NaN())
	short := randomInput(1, 64, 64)
	short.Data = short.Data[1:]
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	cases := []struct {
		ctx  context.Context
		in   unet.Input
		code string
		is   error
	}{
		{t.Context(), randomInput(1, 64, 64), "", nil},
		{t.Context(), nan, "probabilities-not-finite", nil},
		{t.Context(), short, "network-input", nil},
		{gone, randomInput(2, 64, 64), "", context.Canceled},
		{t.Context(), randomInput(3, 64, 64), "", nil},
	}
	var wg sync.WaitGroup
	for i, c := range cases {
		wg.Go(func() {
			_, err := s.Segment(c.ctx, c.in)
			switch {
			case c.is != nil:
				if !errors.Is(err, c.is) {
					t.Errorf("case %d: %v, expected %v", i, err, c.is)
				}
			case fault.CodeOf(err) != c.code || (err == nil) != (c.code == ""):
				t.Errorf("case %d: %v, expected code %q", i, err, c.code)
			}
		})
	}
	wg.Wait()
}

func TestCancelledCallReturns(t *testing.T) {
	t.Parallel()
	s := newSession(t, tiny, unet.Config{ConcurrentRuns: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for i := range 8 {
		wg.Go(func() {
			_, err := s.Segment(ctx, randomInput(uint64(i), 1024, 1024))
			errs <- err
		})
	}
	cancel()
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled call failed otherwise: %v", err)
		}
	}
}

func TestClosedSessionRefuses(t *testing.T) {
	t.Parallel()
	s := newSession(t, tiny, unet.Config{Batch: 2})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Segment(t.Context(), randomInput(1, 64, 64)); fault.CodeOf(err) != "session-closed" {
		t.Errorf("got %v", err)
	}
}

// TestMissingProviders holds on any build of ONNX Runtime that lacks the provider; the library of `make deps` has the CPU only.
func TestMissingProviders(t *testing.T) {
	t.Parallel()
	rt := open(t)
	model, err := unet.LoadModel(tiny)
	if err != nil {
		t.Fatal(err)
	}
	missing := 0
	for _, p := range []unet.Provider{unet.CUDA, unet.TensorRT, unet.OpenVINO} {
		s, err := unet.NewSession(rt, model, unet.Config{Provider: p})
		if err == nil {
			_ = s.Close()
			continue
		}
		missing++
		if fault.CodeOf(err) != "execution-provider-missing" || !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), string(p)) {
			t.Errorf("%s: %v", p, err)
		}
		t.Log(err)
	}
	s := newSession(t, tiny, unet.Config{Provider: unet.Auto})
	info := s.Info()
	if missing == 3 && (info.Provider != unet.CPU || info.Note == "") {
		t.Errorf("auto without any accelerator: %+v", info)
	}
	if info.RuntimeVersion == "" || info.Requested != unet.Auto {
		t.Errorf("info is incomplete: %+v", info)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := []unet.Config{{}, {Provider: unet.OpenVINO, Batch: 64, ConcurrentRuns: 64, IntraOpThreads: 8, BatchWait: time.Second}}
	bad := []unet.Config{{Provider: "gpu"}, {Batch: -1}, {Batch: 65}, {ConcurrentRuns: -2}, {ConcurrentRuns: 65}, {IntraOpThreads: -1}, {BatchWait: time.Hour}, {DeviceID: -1}}
	for _, c := range good {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if d := c.WithDefaults(); d.Batch < 1 || d.ConcurrentRuns < 1 || d.IntraOpThreads < 1 || d.Provider == "" {
			t.Errorf("defaults of %+v: %+v", c, d)
		}
	}
	for _, c := range bad {
		if err := c.Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestLoadModelRefusals(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile(filepath.Join(tiny, unet.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	onnx, err := os.ReadFile(filepath.Join(tiny, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		manifest, onnx string
		code           string
	}{
		"altered network":   {string(manifest), string(onnx) + "x", "model-altered"},
		"no network":        {string(manifest), "", "model-missing"},
		"no manifest":       {"", string(onnx), "model-missing"},
		"not JSON":          {"{", string(onnx), "model-manifest"},
		"unknown property":  {strings.Replace(string(manifest), `"version"`, `"colour": 1, "version"`, 1), string(onnx), "model-manifest"},
		"other file":        {strings.Replace(string(manifest), `"model.onnx"`, `"../model.onnx"`, 1), string(onnx), "model-manifest"},
		"no vessel class":   {strings.Replace(string(manifest), `"vessel"`, `"disc"`, 1), string(onnx), "model-manifest"},
		"odd canvas":        {strings.Replace(string(manifest), `160`, `161`, 1), string(onnx), "model-manifest"},
		"another document":  {strings.Replace(string(manifest), `noctua.model.v1`, `noctua.result.v1`, 1), string(onnx), "model-manifest"},
		"unknown algorithm": {strings.Replace(string(manifest), `triangle-antialias`, `nearest`, 1), string(onnx), "model-manifest"},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, content := range map[string]string{unet.ManifestFile: c.manifest, "model.onnx": c.onnx} {
				if content == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := unet.LoadModel(dir); fault.CodeOf(err) != c.code {
				t.Errorf("got %v, expected code %s", err, c.code)
			}
		})
	}
}

// TestNetworkMustFitManifest changes names and classes of the manifest: the start must fail, not the first picture.
func TestNetworkMustFitManifest(t *testing.T) {
	t.Parallel()
	rt := open(t)
	for name, change := range map[string][2]string{
		"input name":  {`"name": "image"`, `"name": "picture"`},
		"output name": {`"name": "probabilities"`, `"name": "logits"`},
		"classes":     {`"background",`, `"background", "artery",`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, unet.ManifestFile)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(raw), change[0], change[1], 1)
			if changed == string(raw) {
				t.Fatalf("nothing to change: %q", change[0])
			}
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			model, err := unet.LoadModel(dir)
			if err != nil {
				t.Fatal(err)
			}
			if s, err := unet.NewSession(rt, model, unet.Config{}); fault.CodeOf(err) != "model-unusable" {
				if err == nil {
					_ = s.Close()
				}
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestGoldenDifferenceIsAFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "golden_output.f32")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[4*1000+2] ^= 0x20 // a bit of one value's mantissa
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if g, err := newSession(t, dir, unet.Config{}).VerifyGolden(t.Context()); fault.CodeOf(err) != "model-golden" || g.MaxDifference < g.Tolerance {
		t.Errorf("got %+v, %v", g, err)
	}
}

func TestLocateLibrary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := filepath.Join(dir, "own.so")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	if got, err := unet.LocateLibrary(own, env(unet.LibraryVariable, "/elsewhere")); err != nil || got != own {
		t.Errorf("configured: %s, %v", got, err)
	}
	if got, err := unet.LocateLibrary("", env(unet.LibraryVariable, own)); err != nil || got != own {
		t.Errorf("environment: %s, %v", got, err)
	}
	if _, err := unet.LocateLibrary("", env("HOME", dir)); fault.CodeOf(err) != "onnxruntime-missing" || !strings.Contains(err.Error(), "make deps") {
		t.Errorf("nothing installed: %v", err)
	}
	if _, err := unet.LocateLibrary("", env(unet.LibraryVariable, filepath.Join(dir, "none.so"))); fault.CodeOf(err) != "onnxruntime-missing" || !strings.Contains(err.Error(), unet.LibraryVariable) {
		t.Errorf("environment names nothing: %v", err)
	}
	cached := filepath.Join(dir, "cache", "noctua", "onnxruntime", unet.RuntimeVersion)
	for _, arch := range []string{"linux-x64", "linux-arm64"} {
		if err := os.MkdirAll(filepath.Join(cached, arch), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cached, arch, "libonnxruntime.so"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := unet.LocateLibrary("", env("XDG_CACHE_HOME", filepath.Join(dir, "cache"))); err != nil || !strings.HasPrefix(got, cached) {
		t.Errorf("cache: %s, %v", got, err)
	}
}

func TestModelCard(t *testing.T) {
	t.Parallel()
	card := func(text string) (string, error) {
		t.Helper()
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, unet.CardFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.RemoveAll(filepath.Join(dir, unet.CardFile)); err != nil {
			t.Fatal(err)
		}
		m, err := unet.LoadModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		return m.Card()
	}
	for _, text := range []string{"", "# A model\n"} {
		if got, err := card(text); err != nil || got != text {
			t.Errorf("%q, %v; want %q", got, err, text)
		}
	}
	for _, text := range []string{"\xff\xfe", strings.Repeat("a", 1<<19)} {
		if _, err := card(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
	}
}
