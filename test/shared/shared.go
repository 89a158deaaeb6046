// Package shared finds the folder of real inputs (data sets, clinic DICOMs, hostile files) that tests read.
// Users of Noctua do not have it: tests then skip loudly. Under CI=true a missing folder is a failure.
package shared

import (
	"os"
	"path/filepath"
	"testing"
)

// Root returns the repository's root: the folder of go.mod above the working directory.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = parent
	}
}

// Dir returns the folder with the real inputs, NOCTUA_SHARED or ../shared beside the checkout, joined with elem.
func Dir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := os.Getenv("NOCTUA_SHARED")
	if dir == "" {
		dir = filepath.Join(Root(t), "..", "shared")
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("real inputs are missing under CI: %v", err)
		}
		t.Skipf("SKIPPED, NOT RUN: real inputs are missing (set NOCTUA_SHARED): %v", err)
	}
	return path
}
