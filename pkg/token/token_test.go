package token

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
)

var madeAt = time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)

func made(t *testing.T, name, scope string) (string, Entry) {
	t.Helper()
	secret, e, err := New(name, scope, 0, madeAt)
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
	for shown, want := range map[string]Entry{north: n, every: e} {
		if got, ok := Find(read, shown, madeAt.AddDate(100, 0, 0)); !ok || got != want {
			t.Errorf("%+v, %v; want %+v", got, ok, want)
		}
	}
	for _, shown := range []string{"", north + "0", north[1:], strings.ToUpper(north), n.SHA256} {
		if got, ok := Find(read, shown, madeAt); ok {
			t.Errorf("%q is %+v", shown, got)
		}
	}
	left, err := Remove(read, "pacs-north")
	if err != nil || len(left) != 1 {
		t.Fatalf("%v, %v", left, err)
	}
	if _, ok := Find(left, north, madeAt); ok {
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
		if _, _, err := New("a", scope, 0, madeAt); fault.CodeOf(err) != "token-scope-invalid" {
			t.Errorf("scope %q: %v", scope, err)
		}
	}
	for _, name := range []string{"", "-a", "a b", "a/b", strings.Repeat("a", 65)} {
		if _, _, err := New(name, "upload", 0, madeAt); fault.CodeOf(err) != "token-name-invalid" {
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

// TestTokensExpire: a token works until its time is over, and not at that moment.
func TestTokensExpire(t *testing.T) {
	t.Parallel()
	secret, e, err := New("ehr", " report.read:north  upload:north ", 90*time.Minute, madeAt)
	if err != nil || e.Scope != "report.read:north upload:north" || !e.ExpiresAt.Equal(madeAt.Truncate(time.Second).Add(90*time.Minute)) {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, ok := Find([]Entry{e}, secret, e.ExpiresAt.Add(-time.Second)); !ok {
		t.Error("it stops too early")
	}
	if _, ok := Find([]Entry{e}, secret, e.ExpiresAt); ok {
		t.Error("it works when its time is over")
	}
	p := e.Principal()
	if p.Name != "ehr" || !p.May(access.Read, "", "north") || p.May(access.Read, "", "south") || p.May(access.Operate, "", "north") {
		t.Errorf("principal %+v", p)
	}
	for _, life := range []time.Duration{-time.Hour, time.Millisecond} {
		if _, _, err := New("ehr", "upload", life, madeAt); fault.CodeOf(err) != "token-life-invalid" {
			t.Errorf("life %s: %v", life, err)
		}
	}
}

func write(t *testing.T, path string, entries ...Entry) {
	t.Helper()
	raw, err := json.Marshal(Encode(entries))
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFileIsReadAgain: what is written counts at once, also where size and time of the file stay the same.
func TestFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	north, n := made(t, "a", "upload:north")
	south, s := made(t, "b", "upload:south")
	f := OpenFile(path, false)
	has := func(shown string, want bool) {
		t.Helper()
		entries, err := f.Entries()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := Find(entries, shown, madeAt); ok != want {
			t.Errorf("found %v, want %v", ok, want)
		}
	}
	has(north, false)
	write(t, path, n)
	has(north, true)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, s) // of the same length
	if err := os.Chtimes(path, time.Time{}, before.ModTime()); err != nil {
		t.Fatal(err)
	}
	has(north, false)
	has(south, true)
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, time.Time{}, long); err != nil {
		t.Fatal(err)
	}
	has(south, true)
	has(south, true) // from memory
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	has(south, false)
	if _, err := OpenFile(path, true).Entries(); fault.CodeOf(err) != "tokens-missing" {
		t.Errorf("a file that has to be there: %v", err)
	}
	write(t, path, n)
	has(north, true)
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := f.Entries(); fault.CodeOf(err) != "tokens-damaged" {
			t.Errorf("a damaged file: %v", err)
		}
	}
}

// jwts is an issuer of which one token is good, and that cannot be asked about another.
type jwts struct{}

func (jwts) Verify(_ context.Context, raw string) (access.Principal, error) {
	switch raw {
	case "a.good.one":
		return access.Principal{Name: "ehr", Via: access.ViaJWT}, nil
	case "a.late.one":
		return access.Principal{}, fault.New(fault.Invalid, "jwt-refused", "its time is over")
	}
	return access.Principal{}, fault.New(fault.Transient, "jwt-unavailable", "the issuer does not answer")
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	north, n := made(t, "pacs", "upload:north")
	write(t, path, n)
	all := &Authority{Operator: "the operator's token", File: OpenFile(path, true), JWTs: jwts{}, Clock: func() time.Time { return madeAt }}
	for shown, want := range map[string]string{north: "pacs", "the operator's token": OperatorName, "a.good.one": "ehr", "a.late.one": "", "": "", "another": "", n.SHA256: ""} {
		p, ok, err := all.Who(t.Context(), shown)
		if err != nil || ok != (want != "") || p.Name != want {
			t.Errorf("%q is %+v, %v, %v", shown, p, ok, err)
		}
	}
	if _, ok, err := all.Who(t.Context(), "an.unclear.one"); err == nil || ok {
		t.Errorf("where it cannot be told: %v, %v", ok, err)
	}
	if _, ok, err := (&Authority{Clock: time.Now}).Who(t.Context(), ""); ok || err != nil {
		t.Errorf("where there is no operator, an empty token is its: %v, %v", ok, err)
	}
	if _, ok, err := (&Authority{File: OpenFile(path+"x", true), Clock: time.Now}).Who(t.Context(), north); ok || !fault.Is(err, fault.NotFound) {
		t.Errorf("without the file: %v, %v", ok, err)
	}
}

// FuzzDecode: what is read can be written and is the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"tokens":[]}`))
	f.Add([]byte(`{"tokens":[{"name":"a","scope":"upload:north","sha256":"` + Hash("x") + `","created_at":"2026-03-04T05:06:07Z"}]}`))
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
