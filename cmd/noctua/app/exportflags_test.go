package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/services/report/export"
)

// TestExportFlags: what is wrong with archives is said before anything is started, in one sentence that holds no secret.
func TestExportFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token, junk := file("token", "hidden\n"), file("junk", "hidden")
	base := []string{"report", "--nats-url", "nats://127.0.0.1:1", "--s3-endpoint", "http://127.0.0.1:1", "--s3-access-key", "a", "--s3-secret-key", "b", "--token", strings.Repeat("t", 32)}
	pacs := []string{"--export-dicom", "pacs=dicom://PACS@127.0.0.1:104"}
	web := []string{"--export-dicom", "web=https://vna.example.org/dicom-web"}
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"no name":                     {[]string{"--export-dicom", "dicom://PACS@127.0.0.1:104"}, exitUsage, "<key>=<value>"},
		"a bad name":                  {[]string{"--export-dicom", "My PACS=dicom://PACS@127.0.0.1:104"}, exitUsage, "small letters"},
		"no title":                    {[]string{"--export-dicom", "pacs=dicom://127.0.0.1:104"}, exitUsage, "dicom://TITLE@host"},
		"a password in it":            {[]string{"--export-dicom", "web=https://u:hidden@host/"}, exitUsage, "without password"},
		"in the clear":                {[]string{"--export-dicom", "pacs=dicom://PACS@10.1.2.3:104"}, exitUsage, "--export-insecure"},
		"in the clear, by HTTP":       {[]string{"--export-dicom", "web=http://pacs/dicom-web"}, exitUsage, "--export-insecure"},
		"our title":                   {append(pacs, "--export-title", "A TITLE THAT IS TOO LONG"), exitUsage, "AE title"},
		"clinics of nobody":           {append(pacs, "--export-clinics", "vna=north"), exitUsage, "no --export-dicom does"},
		"a clinic":                    {append(pacs, "--export-clinics", "pacs=north,no/rth"), exitUsage, "no/rth"},
		"a token for C-STORE":         {append(pacs, "--export-token-file", "pacs="+token), exitUsage, "no tokens"},
		"no token file":               {append(web, "--export-token-file", "web="+token+"x"), exitInput, "[secret-missing]"},
		"a password without user":     {append(web, "--export-password-file", "web="+junk), exitInput, "USER:PASSWORD"},
		"junk for an authority":       {append(web, "--export-ca-file", junk), exitInput, "[certificate-unusable]"},
		"no authority":                {append(web, "--export-ca-file", junk+"x"), exitInput, "[certificate-unusable]"},
		"a token of an archive alone": {[]string{"--export-token-file", "web=" + token}, exitUsage, "no --export-dicom does"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := want(t, c.exit, append(append([]string{}, base...), c.args...)...)
			if !strings.Contains(errs, c.says) || strings.Contains(errs, "hidden") {
				t.Errorf("says %q, want %q", errs, c.says)
			}
		})
	}
	f := exportFlags{ExportTitle: "NOCTUA", ExportDICOM: map[string]string{"web": "https://host/dicom-web", "pacs": "dicom://PACS@10.1.2.3:104"}, ExportInsecure: true,
		ExportClinics: map[string]string{"pacs": "north, south"}, ExportPasswordFile: map[string]string{"web": file("pair", "noctua:pass:word\n")}}
	cfg, err := f.exports("sha")
	if err != nil {
		t.Fatal(err)
	}
	if a := cfg.Archives; len(a) != 2 || a[0].Name != "pacs" || strings.Join(a[0].Clinics, " ") != "north south" || a[1].User != "noctua" || a[1].Password != "pass:word" || cfg.ModelSHA256 != "sha" {
		t.Errorf("%+v", cfg)
	}
	if got := f.announcement(); !strings.Contains(got, "pacs, web") {
		t.Errorf("announced as %q", got)
	}
	if cfg, err := (exportFlags{}).exports("sha"); err != nil || len(cfg.Archives) != 0 || len(cfg.Consumers()) != 0 {
		t.Errorf("none: %+v, %v", cfg, err)
	}
	if specs := (export.Config{Archives: cfg.Archives}).Consumers(); len(specs) != 2 || specs[0].Name != "export-pacs" || len(specs[0].Subjects) != 3 {
		t.Errorf("consumers %+v", specs)
	}
	for _, args := range [][]string{{"export", "--again"}, {"export", "--until", "2026-11-23"}} {
		if _, errs := want(t, exitUsage, args...); !strings.Contains(errs, "--since") {
			t.Errorf("%v: %s", args, errs)
		}
	}
}
