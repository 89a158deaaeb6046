package token

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

func made(t *testing.T, name, scope string) (string, Entry) {
	t.Helper()
	secret, e, err := New(name, scope, time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return secret, e
}

func TestTokens(t *testing.T) {
	t.Parallel()
	north, n := made(t, "pacs-north", "upload:north")
	every, e := made(t, "archive", "upload")
	if len(north) != 40 || north == every {
		t.Errorf("tokens %q and %q", north, every)
	}
	entries, err := Add([]Entry{n}, e)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(Encode(entries))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), north) || strings.Contains(string(raw), every) {
		t.Error("the file holds a token")
	}
	path := filepath.Join(t.TempDir(), "tokens.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := Read(path)
	if err != nil || len(read) != 2 || read[0] != n || read[1] != e {
		t.Fatalf("read %v, %v", read, err)
	}
	for shown, want := range map[string]Grant{north: {"pacs-north", "north"}, every: {"archive", ""}} {
		if got, ok := Find(read, shown); !ok || got != want {
			t.Errorf("%+v, %v; want %+v", got, ok, want)
		}
	}
	for _, shown := range []string{"", north + "0", north[1:], strings.ToUpper(north), n.SHA256} {
		if got, ok := Find(read, shown); ok {
			t.Errorf("%q is %+v", shown, got)
		}
	}
	left, err := Remove(read, "pacs-north")
	if err != nil || len(left) != 1 {
		t.Fatalf("%v, %v", left, err)
	}
	if _, ok := Find(left, north); ok {
		t.Error("a revoked token still works")
	}
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	_, e := made(t, "a", "upload:north")
	if _, err := Add([]Entry{e}, e); fault.CodeOf(err) != "token-exists" {
		t.Errorf("the same name twice: %v", err)
	}
	if _, err := Add(make([]Entry, maxTokens), e); fault.CodeOf(err) != "tokens-full" {
		t.Errorf("one too many: %v", err)
	}
	if _, err := Remove([]Entry{e}, "b"); fault.CodeOf(err) != "token-unknown" {
		t.Errorf("removing another: %v", err)
	}
	for _, scope := range []string{"", "read", "upload:", "upload:no/rth", "Upload:north", "upload:north:south", "upload north"} {
		if _, _, err := New("a", scope, time.Now()); fault.CodeOf(err) != "token-scope-invalid" {
			t.Errorf("scope %q: %v", scope, err)
		}
	}
	for _, name := range []string{"", "-a", "a b", "a/b", strings.Repeat("a", 65)} {
		if _, _, err := New(name, "upload", time.Now()); fault.CodeOf(err) != "token-name-invalid" {
			t.Errorf("name %q: %v", name, err)
		}
	}
	sound := `{"name":"a","scope":"upload","sha256":"` + e.SHA256 + `"}`
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "north", "another document": `{"tokens":[],"more":1}`, "two documents": `{"tokens":[]}{}`,
		"no hash":         `{"tokens":[{"name":"a","scope":"upload","sha256":"x"}]}`,
		"another scope":   `{"tokens":[` + strings.Replace(sound, "upload", "everything", 1) + `]}`,
		"no name":         `{"tokens":[` + strings.Replace(sound, `"a"`, `""`, 1) + `]}`,
		"one name twice":  `{"tokens":[` + sound + `,` + sound + `]}`,
		"more than it is": `{"tokens":[]}` + strings.Repeat(" ", maxFileBytes),
	} {
		if _, err := decode([]byte(text)); fault.CodeOf(err) != "tokens-damaged" || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := decode([]byte(`{"tokens":[` + sound + `]}`)); err != nil || len(entries) != 1 {
		t.Errorf("sound: %v, %v", entries, err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !fault.Is(err, fault.NotFound) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Read(t.TempDir()); !fault.Is(err, fault.Transient) {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzDecode: what is read can be written and is the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"tokens":[]}`))
	f.Add([]byte(`{"tokens":[{"name":"a","scope":"upload:north","sha256":"` + hash("x") + `","created_at":"2026-03-04T05:06:07Z"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := decode(raw)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(Encode(entries))
		if err != nil {
			t.Skip() // years that JSON cannot hold
		}
		if second, err := decode(again); err != nil || len(second) != len(entries) {
			t.Fatalf("%v, %v from %s", second, err, again)
		}
	})
}
