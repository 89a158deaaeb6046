package blob_test

import (
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	sha   = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	model = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

func ExampleArchiveKey() {
	key, err := blob.ArchiveKey("1.2.840.1", "1.2.840.1.7", sha)
	fmt.Println(key, err)
	// Output: images/1.2.840.1/1.2.840.1.7/0123456789abcdef.dcm <nil>
}

func TestKeys(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 0, 30, 0, 0, time.FixedZone("CET", 3600)) // still February in UTC
	for _, c := range []struct {
		want string
		make func() (string, error)
	}{
		{"images/1.2/1.2.3/0123456789abcdef.dcm", func() (string, error) { return blob.ArchiveKey("1.2", "1.2.3", sha) }},
		{"images/1.2/1.2.3/0123456789abcdef.json", func() (string, error) { return blob.InstanceKey("1.2", "1.2.3", sha) }},
		{"expected/north/1.2/0123456789abcdef.json", func() (string, error) { return blob.ExpectedKey("north", "1.2", sha) }},
		{"sops/1.2.3.json", func() (string, error) { return blob.SOPKey("1.2.3") }},
		{"images/1.2.3/0123456789abcdef/fedcba987654/", func() (string, error) { return blob.ResultPrefix("1.2.3", sha, model) }},
		{"duplicates/north/2026-02-28/r1.json", func() (string, error) { return blob.DuplicateKey("north", at, "r1") }},
		{"north/2026-02-28/" + sha, func() (string, error) { return blob.QuarantineKey("north", at, sha) }},
		{"patients/p1/r1/v2/report.json", func() (string, error) { return blob.ReportKey("p1", "r1", 2) }},
	} {
		if got, err := c.make(); err != nil || got != c.want {
			t.Errorf("expected %s, got %s, %v", c.want, got, err)
		}
	}
}

func TestKeysRefuse(t *testing.T) {
	t.Parallel()
	for _, uid := range []string{"", ".", "..", "...", ".1", "1.", "1..2", "1.2/3", "1.2\\3", "../1", "1.2 ", "1.2\x00", "1.2a", "１.２", strings.Repeat("1", 65), "1.2\n"} {
		for name, make := range map[string]func() (string, error){
			"archive study": func() (string, error) { return blob.ArchiveKey(uid, "1.2.3", sha) },
			"archive sop":   func() (string, error) { return blob.ArchiveKey("1.2", uid, sha) },
			"expected":      func() (string, error) { return blob.ExpectedKey("north", uid, sha) },
			"instance":      func() (string, error) { return blob.InstanceKey("1.2", uid, sha) },
			"sop":           func() (string, error) { return blob.SOPKey(uid) },
			"result":        func() (string, error) { return blob.ResultPrefix(uid, sha, model) },
		} {
			if key, err := make(); fault.CodeOf(err) != "uid-invalid" || !fault.Is(err, fault.Invalid) || key != "" {
				t.Errorf("%s with UID %q: %q, %v", name, uid, key, err)
			}
		}
	}
	for name, make := range map[string]func() (string, error){
		"short sha":   func() (string, error) { return blob.ArchiveKey("1.2", "1.2.3", sha[:16]) },
		"upper sha":   func() (string, error) { return blob.ArchiveKey("1.2", "1.2.3", strings.ToUpper(sha)) },
		"model":       func() (string, error) { return blob.ResultPrefix("1.2", sha, "..") },
		"clinic":      func() (string, error) { return blob.QuarantineKey("..", time.Now(), sha) },
		"expected":    func() (string, error) { return blob.ExpectedKey("..", "1.2", sha) },
		"receipt":     func() (string, error) { return blob.DuplicateKey("north", time.Now(), "../x") },
		"patient key": func() (string, error) { return blob.ReportKey("a/b", "r", 1) },
		"report id":   func() (string, error) { return blob.ReportKey("a", "", 1) },
		"version":     func() (string, error) { return blob.ReportKey("a", "b", 0) },
	} {
		if key, err := make(); err == nil {
			t.Errorf("%s: %q was made", name, key)
		}
	}
}

// FuzzArchiveKey: whatever the UIDs, a key that is made has four clean segments under images/.
func FuzzArchiveKey(f *testing.F) {
	for _, seed := range []string{"1.2.840.10008.5.1.4.1.1.77.1.5.1", "..", "1/2", "", ".", "0.0", "1.2\x00"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, study, sop string) {
		key, err := blob.ArchiveKey(study, sop, sha)
		if err != nil {
			return
		}
		if path.Clean(key) != key || strings.Count(key, "/") != 3 || !strings.HasPrefix(key, "images/") || blob.CheckKey(key) != nil {
			t.Errorf("%q and %q make %q", study, sop, key)
		}
	})
}
