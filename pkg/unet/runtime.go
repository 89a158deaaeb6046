package unet

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// LibraryVariable is the environment variable that names a library of the user's own, e.g. a build for GPUs.
const LibraryVariable = "NOCTUA_ONNXRUNTIME"

// RuntimeVersion is the version of ONNX Runtime that `make deps` fetches and that Noctua is tested with.
const RuntimeVersion = "1.27.0"

// library is the state of the C library, of which there can be only one in a process: it is the one thing in this package
// that cannot belong to a value.
var library struct {
	sync.Mutex
	path string // of the library that is loaded, "" before
}

// Runtime is the loaded ONNX Runtime library. It stays loaded until the process ends: sessions and their threads may use it
// until then, and the library does not promise that it can be unloaded and loaded again.
type Runtime struct {
	Path    string // of the shared library
	Version string // that the library reports
}

// LocateLibrary returns the path of ONNX Runtime's shared library: configured if not empty, else what the environment
// variable NOCTUA_ONNXRUNTIME names, else the copy that `make deps` keeps in the user's cache. getenv is os.Getenv outside
// tests. A path that is not there is a fault of kind NotFound, "onnxruntime-missing".
func LocateLibrary(configured string, getenv func(string) string) (string, error) {
	path, origin := configured, "the configuration"
	if path == "" {
		path, origin = getenv(LibraryVariable), LibraryVariable
	}
	if path == "" {
		cached, err := cachedLibrary(getenv)
		if err != nil {
			return "", err
		}
		path, origin = cached, "the cache"
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		if origin == "the cache" {
			return "", fault.New(fault.NotFound, "onnxruntime-missing", "ONNX Runtime %s is not installed (looked for %s): run `make deps`, or name a library with %s", RuntimeVersion, path, LibraryVariable)
		}
		return "", fault.New(fault.NotFound, "onnxruntime-missing", "%s names %s as the library of ONNX Runtime, but there is no such file: correct it, or leave it out to use the one of `make deps`", origin, path)
	}
	return path, nil
}

// cachedLibrary is where `make deps` puts the library: $XDG_CACHE_HOME or ~/.cache, then noctua/onnxruntime/….
func cachedLibrary(getenv func(string) string) (string, error) {
	cache := getenv("XDG_CACHE_HOME")
	if cache == "" {
		home := getenv("HOME")
		if home == "" {
			return "", fault.New(fault.NotFound, "onnxruntime-missing", "neither XDG_CACHE_HOME nor HOME is set, so the library of ONNX Runtime cannot be found: name it with %s", LibraryVariable)
		}
		cache = filepath.Join(home, ".cache")
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if arch == "" || runtime.GOOS != "linux" {
		return "", fault.New(fault.Unsupported, "onnxruntime-platform", "there is no ready library of ONNX Runtime for %s/%s: name one of your own with %s", runtime.GOOS, runtime.GOARCH, LibraryVariable)
	}
	return filepath.Join(cache, "noctua", "onnxruntime", RuntimeVersion, "linux-"+arch, "libonnxruntime.so"), nil
}

// OpenRuntime loads the library at path (see LocateLibrary), once a process; opening the same path again gives the same
// library, another one is a fault of kind Conflict.
func OpenRuntime(path string) (*Runtime, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", path, err)
	}
	library.Lock()
	defer library.Unlock()
	if library.path != "" && library.path != absolute {
		return nil, fault.New(fault.Conflict, "onnxruntime-loaded", "this process has loaded %s already and cannot load %s as well", library.path, absolute)
	}
	if library.path == "" {
		ort.SetSharedLibraryPath(absolute)
		// Errors come back as values; the library would print them as well, and warn about every node that a provider leaves to the CPU.
		if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
			return nil, fault.Wrap(fault.Invalid, "onnxruntime-unusable", err, "%s cannot be used as ONNX Runtime %s: run `make deps`, or name a matching library with %s", absolute, RuntimeVersion, LibraryVariable)
		}
		library.path = absolute
	}
	return &Runtime{Path: absolute, Version: ort.GetVersion()}, nil
}
