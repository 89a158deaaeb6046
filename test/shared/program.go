package shared

import (
	"os"
	"os/exec"
	"testing"
)

// Program finds a program of a Debian package that tests need. Without it tests skip loudly; under CI=true that is a failure.
func Program(t testing.TB, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing under CI: install %s", name, debianPackage)
		}
		t.Skipf("SKIPPED, NOT RUN: %s is missing; install %s", name, debianPackage)
	}
	return path
}
