package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/token"
)

// TestTokenLife: a token is shown once, works at once, and no longer when it is revoked; the file never holds it.
func TestTokenLife(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	out, errs := want(t, exitOK, "token", "create", "pacs-north", "--scope", "upload:north", "--data", data)
	north := strings.TrimSpace(out)
	contains(t, errs, "pacs-north", "upload:north")
	if len(north) != 40 || strings.Contains(errs, north) {
		t.Errorf("the token is %q, and beside it %q", north, errs)
	}
	out, _ = want(t, exitOK, "token", "create", "archive", "--scope", "upload", "--data", data)
	every := strings.TrimSpace(out)
	path := filepath.Join(data, tokensFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || strings.Contains(string(raw), north) || strings.Contains(string(raw), every) {
		t.Errorf("the file has mode %v, %v, and holds %s", info.Mode(), err, raw)
	}
	authorize := newAuthority("the operator's token", token.OpenFile(path, false), nil).Who
	check := func(shown, name, clinics string) {
		t.Helper()
		got, ok, err := authorize(t.Context(), shown)
		if err != nil || ok != (name != "") || got.Name != name || got.Clinics(access.Upload, access.AllResources).String() != clinics {
			t.Errorf("%+v, %v, %v; want %s for %s", got, ok, err, name, clinics)
		}
	}
	check(north, "pacs-north", "north")
	check(every, "archive", "all clinics")
	check("the operator's token", "operator", "all clinics")
	check("another", "", "no clinic")
	check("", "", "no clinic")
	out, _ = want(t, exitOK, "token", "list", "--file", path)
	contains(t, out, "pacs-north", "upload:north", "archive", "revoked")
	out, errs = want(t, exitOK, "token", "create", "ehr", "--scope", "report.read:north", "--scope", "upload:south", "--expires", "90d", "--data", data)
	contains(t, errs, "report.read:north upload:south", "until 20")
	ehr, _, err := authorize(t.Context(), strings.TrimSpace(out))
	if err != nil || ehr.Clinics(access.Read, access.AllResources).String() != "north" || ehr.Clinics(access.Upload, access.AllResources).String() != "south" {
		t.Errorf("two scopes: %+v, %v", ehr, err)
	}
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"the same name":  {[]string{"create", "archive", "--scope", "upload:south"}, exitInput, "[token-exists]"},
		"another scope":  {[]string{"create", "x", "--scope", "everything"}, exitInput, "[token-scope-invalid]"},
		"a bad time":     {[]string{"create", "x", "--scope", "upload", "--expires", "soon"}, exitUsage, "--expires"},
		"bad days":       {[]string{"create", "x", "--scope", "upload", "--expires", "xd"}, exitUsage, "90d"},
		"no time":        {[]string{"create", "x", "--scope", "upload", "--expires", "1ms"}, exitInput, "[token-life-invalid]"},
		"no scope":       {[]string{"create", "x"}, exitUsage, "--scope"},
		"a bad name":     {[]string{"create", "a/b", "--scope", "upload"}, exitInput, "[token-name-invalid]"},
		"an unknown one": {[]string{"revoke", "x"}, exitInput, "[token-unknown]"},
	} {
		_, errs := want(t, c.exit, append([]string{"token"}, append(c.args, "--data", data)...)...)
		if !strings.Contains(errs, c.says) {
			t.Errorf("%s: %s", name, errs)
		}
	}
	want(t, exitOK, "token", "revoke", "pacs-north", "--data", data)
	check(north, "", "no clinic")
	check(every, "archive", "all clinics")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check(every, "", "no clinic")
	check("the operator's token", "operator", "all clinics")
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := authorize(t.Context(), every); err == nil || ok {
		t.Errorf("by a damaged file: %v, %v", ok, err)
	}
}

// TestStowFlags: what is wrong with the door is said before anything is started, and in one sentence.
func TestStowFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tokens, junk := filepath.Join(dir, "tokens.json"), filepath.Join(dir, "junk.json")
	want(t, exitOK, "token", "create", "pacs", "--scope", "upload:north", "--file", tokens)
	if err := os.WriteFile(junk, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"ingest", "--nats-url", "nats://127.0.0.1:1", "--s3-endpoint", "http://127.0.0.1:1", "--s3-access-key", "a", "--s3-secret-key", "b", "--site-secret", strings.Repeat("5e", 32)}
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"no tokens":           {[]string{"--stow-listen", "127.0.0.1:0"}, exitUsage, "--stow-tokens"},
		"no door":             {[]string{"--stow-tokens", tokens}, exitUsage, "--stow-listen"},
		"tokens not there":    {[]string{"--stow-listen", "127.0.0.1:0", "--stow-tokens", tokens + "x"}, exitInput, "[tokens-missing]"},
		"junk for tokens":     {[]string{"--stow-listen", "127.0.0.1:0", "--stow-tokens", junk}, exitInput, "[tokens-damaged]"},
		"a certificate alone": {[]string{"--stow-listen", "127.0.0.1:0", "--stow-tokens", tokens, "--stow-tls-cert", junk}, exitUsage, "--stow-tls-key"},
		"junk for one":        {[]string{"--stow-listen", "127.0.0.1:0", "--stow-tokens", tokens, "--stow-tls-cert", junk, "--stow-tls-key", junk}, exitInput, "[certificate-unusable]"},
		"beyond this machine": {[]string{"--stow-listen", "0.0.0.0:0", "--stow-tokens", tokens}, exitUsage, "--stow-insecure"},
		"no address":          {[]string{"--stow-listen", "here", "--stow-tokens", tokens}, exitUsage, "--stow-listen"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := want(t, c.exit, append(append([]string{}, base...), c.args...)...)
			contains(t, errs, c.says)
		})
	}
	flags := stowFlags{StowListen: "127.0.0.1:0"}
	door, err := flags.openStow(t.Context(), slog.New(slog.DiscardHandler), newAuthority("", token.OpenFile(tokens+"-later", false), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer door.close()
	if strings.HasSuffix(flags.StowListen, ":0") || flags.StowListen != door.listener.Addr().String() {
		t.Errorf("the address is %s", flags.StowListen)
	}
	contains(t, flags.stowAnnouncement("http://WEB", "DATA"), "http://WEB/dicom-web/studies and http://"+flags.StowListen+"/dicom-web/studies", "--data DATA")
	if _, err := (&stowFlags{StowListen: flags.StowListen, StowTokens: tokens}).openStow(t.Context(), slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), "--stow-listen") {
		t.Errorf("an address that is taken: %v", err)
	}
}
