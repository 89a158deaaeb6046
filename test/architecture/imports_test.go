// Package architecture keeps the import rules of the design.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/test/shared"
)

const module = "github.com/noctua-screening/noctua/"

type listedPackage struct {
	ImportPath string
	Imports    []string
	Doc        string
	Name       string
	CgoFiles   []string
}

// onlyImporter says which packages alone may import what: prefixes of import paths.
var onlyImporter = map[string][]string{
	"github.com/nats-io/nats.go":            {"pkg/stream", "cmd/noctua/app"},
	"github.com/nats-io/nats-server":        {"cmd/noctua/app"},
	"github.com/minio/minio-go":             {"pkg/blob"},
	"github.com/versity/versitygw":          {"cmd/noctua/app"},
	"github.com/yalue/onnxruntime_go":       {"pkg/unet"},
	"github.com/suyashkumar/dicom":          {"pkg/dicom"},
	"modernc.org/sqlite":                    {"cmd/noctua/app"},
	"github.com/jackc/pgx":                  {"cmd/noctua/app"},
	"github.com/parquet-go/parquet-go":      {"pkg/measuretable"},
	"github.com/go-text/typesetting":        {"pkg/pdf"},
	"github.com/santhosh-tekuri/jsonschema": {"schemas"},
	module + "cmd/":                         {"cmd"},
}

// pure packages know no context, network or logger.
var pure = []string{"pkg/fundus", "pkg/vessel", "pkg/fhir", "pkg/hl7", "pkg/phantom", "pkg/raster", "pkg/measuretable", "pkg/pdf", "pkg/reportpdf"}

func TestImportRules(t *testing.T) {
	t.Parallel()
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("only %d packages were listed", len(packages))
	}
	for _, p := range packages {
		path := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(path, "test/") || strings.HasSuffix(p.Name, "test") {
			continue // helpers of tests start real servers
		}
		for _, imported := range p.Imports {
			for _, problem := range problems(path, imported) {
				t.Errorf("%s imports %s: %s", path, strings.TrimPrefix(imported, module), problem)
			}
		}
		if p.Doc == "" && p.Name != "main" {
			t.Errorf("%s has no package comment", path)
		}
	}
}

// problems tells what is wrong with path importing imported.
func problems(path, imported string) []string {
	var found []string
	for guarded, allowed := range onlyImporter {
		if strings.HasPrefix(imported, guarded) && !hasPrefix(path, allowed) {
			found = append(found, "only "+strings.Join(allowed, ", ")+" may")
		}
	}
	if service, ok := serviceOf(path); ok {
		if other, ok := serviceOf(strings.TrimPrefix(imported, module)); ok && other != service {
			found = append(found, "services never import each other")
		}
	}
	if strings.HasPrefix(path, "pkg/") && strings.HasPrefix(imported, module+"services/") {
		found = append(found, "libraries never import services")
	}
	if hasPrefix(path, pure) {
		for _, impure := range []string{"context", "net", "net/http", "log", "log/slog", "os"} {
			if imported == impure {
				found = append(found, "the package is pure")
			}
		}
	}
	return found
}

func serviceOf(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "services/")
	if !ok {
		return "", false
	}
	name, _, _ := strings.Cut(rest, "/")
	return name, true
}

func hasPrefix(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

func TestRulesBite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, imported string }{
		{"services/report", "github.com/nats-io/nats.go/jetstream"},
		{"services/report/web", module + "services/ingest"},
		{"pkg/blob", module + "services/ingest"},
		{"pkg/vessel", "context"},
		{"services/ingest", module + "cmd/noctua/app"},
	} {
		if len(problems(c.path, c.imported)) == 0 {
			t.Errorf("%s may import %s, but should not", c.path, c.imported)
		}
	}
}

func list(t *testing.T) []listedPackage {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Imports,Doc,Name", "./...")
	command.Dir = shared.Root(t)
	out, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []listedPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
