package account

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// cheap is a cost for tests.
var cheap = Cost{Passes: 1, MemoryKiB: 8, Lanes: 1}

var madeAt = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const good = "three tall owls at dusk"

func opened(t *testing.T) *Accounts {
	t.Helper()
	return Open(Config{Path: filepath.Join(t.TempDir(), "accounts.json"), Cost: cheap, Clock: func() time.Time { return madeAt }})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	a := opened(t)
	if entries, err := a.Entries(); err != nil || len(entries) != 0 {
		t.Errorf("without a file: %v, %v", entries, err)
	}
	made, err := a.Create(t.Context(), "anna", " operate:north  audit.read ", good, false)
	if err != nil || made.Scope != "operate:north audit.read" || made.MustChange || !made.CreatedAt.Equal(madeAt) {
		t.Fatalf("%+v, %v", made, err)
	}
	raw, err := os.ReadFile(a.cfg.Path)
	must(t, err)
	if info, err := os.Stat(a.cfg.Path); err != nil || info.Mode().Perm() != 0o600 || strings.Contains(string(raw), good) {
		t.Errorf("mode %v, file %s", info.Mode(), raw)
	}
	check := func(name, password string, want bool) {
		t.Helper()
		if e, ok, err := a.Check(t.Context(), name, password); err != nil || ok != want || ok && e.Name != name {
			t.Errorf("%s with %q: %+v, %v, %v", name, password, e, ok, err)
		}
	}
	check("anna", good, true)
	for _, wrong := range []string{"", good + " ", strings.ToUpper(good), made.Password, strings.Repeat("a", 1<<20)} {
		check("anna", wrong, false)
	}
	check("bert", good, false)
	if p := made.Principal(); p.Via != access.ViaSession || !p.May(access.Read, "", "north") || p.May(access.Read, "", "south") || p.Clinics(access.Audit, "").None() {
		t.Errorf("principal %+v", p)
	}
	if _, err := a.SetDisabled("anna", true); err != nil {
		t.Fatal(err)
	}
	check("anna", good, false)
	if _, ok, err := a.ByName("anna"); ok || err != nil {
		t.Errorf("a disabled account is found: %v", err)
	}
	if names, err := a.Names(); err != nil || strings.Join(names, ",") != "anna (operate:north audit.read; disabled)" {
		t.Errorf("%v, %v", names, err)
	}
	_, err = a.SetDisabled("anna", false)
	must(t, err)
	after, err := a.SetPassword(t.Context(), "anna", "another long one", true)
	if err != nil || !after.MustChange || after.Password == made.Password {
		t.Fatalf("%+v, %v", after, err)
	}
	check("anna", good, false)
	check("anna", "another long one", true)
	must(t, a.Remove("anna"))
	check("anna", "another long one", false)
}

// TestComposedPasswords: the same characters are the same password, however a keyboard composes them.
func TestComposedPasswords(t *testing.T) {
	t.Parallel()
	a := opened(t)
	_, err := a.Create(t.Context(), "anh", "report.read", "Nguyễn thị Ánh", false)
	must(t, err)
	if _, ok, err := a.Check(t.Context(), "anh", "Nguyê\u0303n thi\u0323 A\u0301nh"); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	a := opened(t)
	_, err := a.Create(t.Context(), "anna", "operate", good, false)
	must(t, err)
	for code, do := range map[string]func() error{
		"account-exists":       func() error { _, err := a.Create(t.Context(), "anna", "operate", good, false); return err },
		"account-name-invalid": func() error { _, err := a.Create(t.Context(), "Anna B", "operate", good, false); return err },
		"token-scope-invalid":  func() error { _, err := a.Create(t.Context(), "bert", "everything", good, false); return err },
		"account-unknown":      func() error { return a.Remove("bert") },
	} {
		if err := do(); fault.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	for _, weak := range []string{"", "short", "aaaaaaaaaaaaaaaa", "abababababababab", "i am anna okay", "NOCTUA is great", "my Password 99", "x12345678 yz", strings.Repeat("long", 40), "\xff\xfe\xfd broken text"} {
		if err := CheckPassword("anna", weak); fault.CodeOf(err) != CodePasswordWeak || !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", weak, err)
		}
		if _, err := a.SetPassword(t.Context(), "anna", weak, false); err == nil {
			t.Errorf("%q is set", weak)
		}
	}
	if _, err := a.SetPassword(t.Context(), "bert", good, false); fault.CodeOf(err) != "account-unknown" {
		t.Errorf("the password of nobody: %v", err)
	}
}

func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	whole := hash(good, cheap)
	entry := func(name, password, scope string) string {
		raw, err := json.Marshal(Entry{Name: name, Password: password, Scope: scope})
		must(t, err)
		return string(raw)
	}
	for name, text := range map[string]string{
		"empty": "", "more": `{"accounts":[],"x":1}`, "two": `{"accounts":[]}{}`, "large": `{"accounts":[]}` + strings.Repeat(" ", maxFileBytes),
		"scope": `{"accounts":[` + entry("a", whole, "x") + `]}`, "name": `{"accounts":[` + entry("A", whole, "operate") + `]}`, "plain": `{"accounts":[` + entry("a", good, "operate") + `]}`,
		"twice": `{"accounts":[` + entry("a", whole, "operate") + `,` + entry("a", whole, "operate") + `]}`,
		// Hashes that would take the memory, or that other programs made.
		"dear":  `{"accounts":[` + entry("a", strings.Replace(whole, "m=8", "m=99999999", 1), "operate") + `]}`,
		"slow":  `{"accounts":[` + entry("a", strings.Replace(whole, "t=1", "t=1000000", 1), "operate") + `]}`,
		"other": `{"accounts":[` + entry("a", strings.Replace(whole, "argon2id", "argon2i", 1), "operate") + `]}`,
	} {
		if _, err := decode([]byte(text)); fault.CodeOf(err) != "accounts-damaged" {
			t.Errorf("%s: %v", name, err)
		}
		a := opened(t)
		must(t, os.WriteFile(a.cfg.Path, []byte(text), 0o600))
		if _, _, err := a.Check(t.Context(), "a", good); err == nil {
			t.Errorf("%s lets in", name)
		}
		if _, err := a.Create(t.Context(), "b", "operate", good, false); err == nil {
			t.Errorf("%s is written over", name)
		}
	}
}

// TestSeenByOthers: what one process changes counts at once in another.
func TestSeenByOthers(t *testing.T) {
	t.Parallel()
	a := opened(t)
	b := Open(a.cfg)
	_, err := a.Create(t.Context(), "anna", "operate", good, false)
	must(t, err)
	if _, ok, err := b.ByName("anna"); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	_, err = a.SetDisabled("anna", true)
	must(t, err)
	if _, ok, _ := b.ByName("anna"); ok {
		t.Error("a disabled account is still in")
	}
	// Many at once lose none.
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			who := Open(a.cfg)
			_, err := who.Create(context.Background(), "p"+string(rune('a'+n)), "report.read", good, false)
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if entries, err := b.Entries(); err != nil || len(entries) != 21 {
		t.Errorf("%d accounts, %v", len(entries), err)
	}
}

func TestFirstSignIn(t *testing.T) {
	t.Parallel()
	a := opened(t)
	password, err := a.EnsureOperator(t.Context())
	must(t, err)
	if !regexp.MustCompile(`^([a-z]{4}-){4}[a-z]{4}$`).MatchString(password) || CheckPassword(OperatorName, password) != nil {
		t.Errorf("password %q", password)
	}
	note, err := os.ReadFile(a.FirstSignIn())
	if info, statErr := os.Stat(a.FirstSignIn()); err != nil || statErr != nil || info.Mode().Perm() != 0o600 || !strings.Contains(string(note), password) {
		t.Errorf("%s: %v, %v", note, err, statErr)
	}
	e, ok, err := a.Check(t.Context(), OperatorName, password)
	if !ok || err != nil || !e.MustChange || len(e.Principal().Grants) != len(access.Scopes()) {
		t.Errorf("%+v, %v, %v", e, ok, err)
	}
	if again, err := a.EnsureOperator(t.Context()); again != "" || err != nil {
		t.Errorf("the second start: %q, %v", again, err)
	}
	_, err = a.SetPassword(t.Context(), OperatorName, good, false)
	must(t, err)
	if _, err := os.Stat(a.FirstSignIn()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first password is kept: %v", err)
	}
	// Of several that start at once one makes the account, and its password is the one in the file.
	b := opened(t)
	made := make(chan string, 8)
	var all sync.WaitGroup
	for range cap(made) {
		all.Go(func() {
			p, err := Open(b.cfg).EnsureOperator(context.Background())
			if err != nil {
				t.Error(err)
			}
			if p != "" {
				made <- p
			}
		})
	}
	all.Wait()
	if len(made) != 1 {
		t.Fatalf("%d made the account", len(made))
	}
	if _, ok, err := b.Check(t.Context(), OperatorName, <-made); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestHashesAreBounded: more than may wait are told to come again, and none of them costs memory.
func TestHashesAreBounded(t *testing.T) {
	t.Parallel()
	a := opened(t)
	var held []func()
	for range hashesAtOnce {
		done, err := a.turns.take(t.Context())
		must(t, err)
		held = append(held, done)
	}
	ended, end := context.WithCancel(t.Context())
	waiting := make(chan error, hashesWaiting)
	for range hashesWaiting {
		go func() { _, err := a.turns.take(ended); waiting <- err }()
	}
	for len(a.turns.door) < hashesAtOnce+hashesWaiting {
		if t.Context().Err() != nil {
			t.Fatal("they do not wait")
		}
		runtime.Gosched()
	}
	if _, _, err := a.Check(t.Context(), "anna", good); fault.CodeOf(err) != "sign-in-busy" || !fault.Is(err, fault.Transient) {
		t.Errorf("one too many: %v", err)
	}
	end()
	for range hashesWaiting {
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("one that waited: %v", err)
		}
	}
	for _, done := range held {
		done()
	}
	if _, ok, err := a.Check(t.Context(), "anna", good); ok || err != nil {
		t.Errorf("afterwards: %v, %v", ok, err)
	}
}

// FuzzDecode: what is read can be written and is the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"accounts":[]}`))
	f.Add([]byte(`{"accounts":[{"name":"anna","password":"` + hash(good, cheap) + `","scope":"operate:north","created_at":"2026-03-04T05:06:07Z","password_changed_at":"2026-03-04T05:06:07Z","must_change":true}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := decode(raw)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := encode(entries)
		if err != nil {
			t.Skip() // years that JSON cannot hold
		}
		if second, err := decode(again); err != nil || len(second) != len(entries) {
			t.Fatalf("%v, %v from %s", second, err, again)
		}
	})
}
