package ingest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEveryCodeHasASentence reads the Code… constants out of the sources: a new one without reason and action fails.
func TestEveryCodeHasASentence(t *testing.T) {
	t.Parallel()
	found := 0
	for _, dir := range []string{".", "../../pkg/dicom", "../../pkg/dicom/pixel", "../../pkg/dicom/isolated"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, entry.Name()), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
					return true
				}
				literal, ok := spec.Values[0].(*ast.BasicLit)
				name := spec.Names[0].Name
				// Notes are no refusals; a file that Noctua's own disk failed on is tried again.
				if !ok || literal.Kind != token.STRING || strings.HasPrefix(name, "CodeNote") || name == "CodeUnreadable" {
					return true
				}
				code, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				found++
				if r, known := reasonOf(code); !known || r.sentence == "" || r.action == "" {
					t.Errorf("%s (%s of %s) has no sentence or nothing to do", code, name, dir)
				}
				return true
			})
		}
	}
	if found < 35 {
		t.Errorf("only %d codes were found", found)
	}
}
