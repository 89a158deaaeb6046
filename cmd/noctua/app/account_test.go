package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/account"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// TestAccountLife: an account is made with a password that is printed once, works, is disabled, gets another password, and goes.
func TestAccountLife(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	path := filepath.Join(data, accountsFile)
	out, errs := want(t, exitOK, "account", "create", "anna", "--scope", "operate:north", "--scope", "audit.read", "--data", data)
	first := strings.TrimSpace(out)
	contains(t, errs, "anna", "operate:north audit.read", "once")
	raw, err := os.ReadFile(path)
	if err != nil || len(first) != 24 || strings.Contains(errs, first) || strings.Contains(string(raw), first) {
		t.Errorf("the password is %q, beside it %q, %v", first, errs, err)
	}
	accounts := account.Open(account.Config{Path: path})
	check := func(password string, ok, mustChange bool) {
		t.Helper()
		if e, right, err := accounts.Check(t.Context(), "anna", password); err != nil || right != ok || ok && e.MustChange != mustChange {
			t.Errorf("%q: %+v, %v, %v", password, e, right, err)
		}
	}
	check(first, true, true)
	out, _ = want(t, exitOK, "account", "list", "--file", path)
	contains(t, out, "anna", "operate:north audit.read", "must choose a password")
	if strings.Contains(out, "argon2") {
		t.Errorf("the list shows hashes: %s", out)
	}
	want(t, exitOK, "account", "disable", "anna", "--data", data)
	check(first, false, false)
	want(t, exitOK, "account", "enable", "anna", "--data", data)
	check(first, true, true)
	out, _ = want(t, exitOK, "account", "password", "anna", "--data", data)
	check(first, false, false)
	check(strings.TrimSpace(out), true, true)
	for says, args := range map[string][]string{
		"account-exists":       {"account", "create", "anna", "--scope", "operate", "--data", data},
		"account-name-invalid": {"account", "create", "Anna B", "--scope", "operate", "--data", data},
		"token-scope-invalid":  {"account", "create", "bert", "--scope", "everything", "--data", data},
		"account-unknown":      {"account", "disable", "bert", "--data", data},
	} {
		_, errs := want(t, exitInput, args...)
		contains(t, errs, says)
	}
	_, errs = want(t, exitUsage, "account", "create", "bert", "--scope", "operate", "--password", "secret", "--data", data)
	contains(t, errs, "--password")
	want(t, exitOK, "account", "remove", "anna", "--data", data)
	check(first, false, false)
}

// TestPasswordFromAPipe: a password comes from standard input, and not from the command line.
func TestPasswordFromAPipe(t *testing.T) {
	t.Parallel()
	read := func(text string) (string, bool, error) {
		t.Helper()
		in, out, err := os.Pipe()
		if err == nil {
			_, err = out.WriteString(text)
		}
		if err = errors.Join(err, out.Close()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close() }()
		return passwordFlags{PasswordStdin: true}.password(in, nil)
	}
	for text, want := range map[string]string{"three tall owls\n": "three tall owls", "with spaces \r\nand more": "with spaces ", "no end": "no end", "": ""} {
		if got, made, err := read(text); got != want || made || err != nil {
			t.Errorf("%q is %q, %v, %v", text, got, made, err)
		}
	}
	if got, made, err := (passwordFlags{}).password(nil, nil); len(got) != 24 || !made || err != nil {
		t.Errorf("%q, %v, %v", got, made, err)
	}
}

// TestFirstStart: the operator's account is made once, its password printed once and kept until it is changed.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), accountsFile)
	accounts, password, err := openAccounts(t.Context(), path)
	if err != nil || password == "" {
		t.Fatalf("%q, %v", password, err)
	}
	contains(t, signInAnnouncement(accounts, password), "operator", password)
	accounts, again, err := openAccounts(t.Context(), path)
	if err != nil || again != "" {
		t.Fatalf("the second start: %q, %v", again, err)
	}
	if text := signInAnnouncement(accounts, ""); !strings.Contains(text, account.FirstSignInFile) || strings.Contains(text, password) {
		t.Errorf("the second start says %q", text)
	}
	want(t, exitOK, "account", "password", "operator", "--file", path)
	if _, err := os.Stat(accounts.FirstSignIn()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first password is kept: %v", err)
	}
	contains(t, signInAnnouncement(accounts, ""), "with your account")
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openAccounts(t.Context(), path); fault.CodeOf(err) != "accounts-damaged" {
		t.Errorf("a damaged file: %v", err)
	}
}
