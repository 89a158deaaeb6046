package dicom_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// childVariable makes the test binary judge files instead of running tests.
const childVariable = "NOCTUA_DICOM_TEST_CHILD"

// childMemory is how much address space the child may take beyond what its runtime holds at the start. Go and glibc reserve
// about 1 GiB before main, so an absolute limit would say nothing about the reader.
const childMemory = 512 << 20

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		judgeAll(os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// judgement is what became of a file: the code of the first refusal or "accepted" or "not-analysed", and separately what
// decoding its pixels gave (a hash, or a code), whether or not the file would have come so far.
type judgement struct{ outcome, pixels string }

func judgeAll(paths []string) {
	limit := addressSpace() + childMemory
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		fmt.Println("setrlimit:", err)
		os.Exit(3)
	}
	debug.SetGCPercent(50)
	for _, path := range paths {
		j := judgeFile(path)
		fmt.Printf("%s\t%s\t%s\n", path, j.outcome, j.pixels)
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		fmt.Printf("peak\t%d\tMB\n", usage.Maxrss>>10)
	}
}

func addressSpace() uint64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(raw))[0], 10, 64)
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	return pages * uint64(os.Getpagesize())
}

func judgeFile(path string) judgement {
	file, err := os.Open(path)
	if err != nil {
		return judgement{outcome: err.Error()}
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return judgement{outcome: err.Error()}
	}
	f, err := dicom.Open(file, info.Size(), dicom.Limits{})
	if err != nil {
		return judgement{outcome: fault.CodeOf(err), pixels: "-"}
	}
	var j judgement
	instance, err := f.Describe()
	switch {
	case err != nil:
		j.outcome = fault.CodeOf(err)
	case !instance.Analyse:
		j.outcome = "not-analysed"
	default:
		j.outcome = "accepted"
	}
	picture, _, err := f.Decode()
	if err != nil {
		j.pixels = fault.CodeOf(err)
		if j.outcome == "accepted" {
			j.outcome = j.pixels
		}
		return j
	}
	digest := sha256.Sum256(picture.Pix)
	j.pixels = hex.EncodeToString(digest[:])
	return j
}

// judge runs files through a child process with bounded memory and a deadline.
func judge(t *testing.T, paths []string) map[string]judgement {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, paths...)
	// One arena: glibc would reserve 64 MB of address space a thread.
	command.Env = append(os.Environ(), childVariable+"=1", "MALLOC_ARENA_MAX=1")
	started := time.Now()
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("the child died: %v\n%.4000s", err, out)
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("%d files took %v", len(paths), took)
	}
	results := map[string]judgement{}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 {
			t.Fatalf("the child said %q", lines.Text())
		}
		if fields[0] == "peak" {
			t.Logf("%d files: peak resident memory %s MB, %v", len(paths), fields[1], time.Since(started).Round(time.Millisecond))
			continue
		}
		results[filepath.Base(fields[0])] = judgement{fields[1], fields[2]}
	}
	if len(results) != len(paths) {
		t.Fatalf("%d files gave %d outcomes", len(paths), len(results))
	}
	return results
}

// files lists a folder's files.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
