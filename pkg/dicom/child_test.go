package dicom_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestMain(m *testing.M) {
	isolated.Serve()
	os.Exit(m.Run())
}

// childMemory is how much address space reading a file may take; half of what the services allow.
const childMemory = 512 << 20

// judgement is what became of a file: the code of the first refusal or "accepted" or "not-analysed", and separately what
// decoding its pixels gave (a hash, or a code), whether or not the file would have come so far.
type judgement struct{ outcome, pixels string }

// judge reads files in a child process with bounded memory, as the services do.
func judge(t *testing.T, paths []string) map[string]judgement {
	t.Helper()
	reader := isolated.New(isolated.Config{Children: 1, MemoryBytes: childMemory}, slog.New(slog.DiscardHandler))
	defer reader.Close()
	results := map[string]judgement{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := reader.ReadBytes(t.Context(), data, isolated.Picture)
		var j judgement
		switch {
		case err != nil:
			j = judgement{outcome: fault.CodeOf(err), pixels: "-"}
		case file.Refused != nil:
			j.outcome = fault.CodeOf(file.Refused)
		case !file.Instance.Analyse:
			j.outcome = "not-analysed"
		case file.Undecoded != nil:
			j.outcome = fault.CodeOf(file.Undecoded)
		default:
			j.outcome = "accepted"
		}
		if err == nil {
			j.pixels = file.PixelSHA256
			if file.Undecoded != nil {
				j.pixels = fault.CodeOf(file.Undecoded)
			}
		}
		results[filepath.Base(path)] = j
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
