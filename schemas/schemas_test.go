package schemas_test

import (
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/schemas"
)

// TestExamples checks that every schema has examples on both sides, and that they fall on the side where they lie.
func TestExamples(t *testing.T) {
	t.Parallel()
	validator, err := schemas.Default()
	if err != nil {
		t.Fatal(err)
	}
	names, err := schemas.Names()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 16 {
		t.Fatalf("only %d schemas are embedded", len(names))
	}
	for _, side := range []string{"valid", "invalid"} {
		seen := map[string]int{}
		files, err := fs.Glob(schemas.Files, "examples/"+side+"/*.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			raw, err := schemas.Files.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := schemaOf(names, path.Base(file))
			seen[name]++
			err = validator.Validate(name, raw)
			if side == "valid" && err != nil {
				t.Errorf("%s should be valid: %v", file, err)
			}
			if side == "invalid" && err == nil {
				t.Errorf("%s should be invalid", file)
			}
		}
		for _, name := range names {
			if seen[name] == 0 {
				t.Errorf("schema %s has no %s example", name, side)
			}
		}
	}
}

// schemaOf returns the schema that an example's file name starts with.
func schemaOf(names []string, file string) string {
	for _, name := range names {
		if strings.HasPrefix(file, name+".") {
			return name
		}
	}
	return ""
}

func TestUnknownSchemaAndBrokenJSON(t *testing.T) {
	t.Parallel()
	validator, err := schemas.Default()
	if err != nil {
		t.Fatal(err)
	}
	if err := validator.Validate("nothing.v1", []byte(`{}`)); err == nil {
		t.Error("an unknown schema should be an error")
	}
	if err := validator.Validate("status.v1", []byte(`{"received":`)); err == nil {
		t.Error("broken JSON should be an error")
	}
}
