package reread

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFileIsReadWhenItChanges: once while it stays, again when it is another, and each time while it has just changed, is missing or damaged.
func TestFileIsReadWhenItChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	f, reads := New[string](path), 0
	damaged := errors.New("damaged")
	get := func(want string, wantReads int) {
		t.Helper()
		got, err := f.Get(func() (string, error) {
			reads++
			raw, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				return "none", nil
			}
			if string(raw) == "bad" {
				return "", damaged
			}
			return string(raw), err
		})
		if got != want || reads != wantReads || (want == "") != errors.Is(err, damaged) {
			t.Fatalf("%q after %d reads, %v; want %q after %d", got, reads, err, want, wantReads)
		}
	}
	write := func(text string, age time.Duration) {
		t.Helper()
		at := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	get("none", 1)
	get("none", 2)
	write("a", time.Hour)
	get("a", 3)
	get("a", 3)
	f.Forget()
	get("a", 4)
	write("b", 2*time.Hour) // as long, and older
	get("b", 5)
	write("bad", time.Hour)
	get("", 6)
	get("", 7)
	write("c", 0) // a second change may have the same time
	get("c", 8)
	get("c", 9)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	get("none", 10)
}
