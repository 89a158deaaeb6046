// Package fhirschema checks FHIR resources of tests against the JSON schema of R4 4.0.1 that HL7 publishes with the specification
// (derive.py says where it is from). With NOCTUA_FHIR_DUMP it also keeps what it checks in that folder, for HAPI's validator
// (make test-fhir).
package fhirschema

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed r4.schema.json.gz
var packed []byte

// dumpVariable names the folder that keeps what is checked.
const dumpVariable = "NOCTUA_FHIR_DUMP"

const location = "http://hl7.org/fhir/json-schema/4.0"

// schemas are the compiled schemas by kind of resource, each made when it is first asked for.
type schemas struct {
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	of       map[string]*jsonschema.Schema
}

var load = sync.OnceValues(func() (*schemas, error) {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(reader)
	if err != nil {
		return nil, err
	}
	// The schema finds out what a resource inside another is by trying every kind there is, and then says of every kind why it is not that.
	// Each is checked by itself instead, as the kind that it says it is.
	document.(map[string]any)["definitions"].(map[string]any)["ResourceList"] = map[string]any{"type": "object", "required": []any{"resourceType"}}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft6)
	return &schemas{compiler: compiler, of: map[string]*jsonschema.Schema{}}, compiler.AddResource(location, document)
})

func (s *schemas) find(kind string) (*jsonschema.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.of[kind]; found != nil {
		return found, nil
	}
	found, err := s.compiler.Compile(location + "#/definitions/" + kind)
	if err == nil {
		s.of[kind] = found
	}
	return found, err
}

// Validate says what is wrong with a resource and with those inside it.
func Validate(raw []byte) error {
	s, err := load()
	if err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return s.validate("", tree)
}

func (s *schemas) validate(at string, tree any) error {
	resource, _ := tree.(map[string]any)
	kind, _ := resource["resourceType"].(string)
	if kind == "" || strings.Contains(kind, "/") {
		return fmt.Errorf("%s: no resource", at)
	}
	at += kind
	schema, err := s.find(kind)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if err := schema.Validate(tree); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if contained, ok := resource["contained"].([]any); ok {
		for n, inner := range contained {
			if err := s.validate(fmt.Sprintf("%s.contained[%d].", at, n), inner); err != nil {
				return err
			}
		}
	}
	entries, _ := resource["entry"].([]any)
	for n, e := range entries {
		entry, _ := e.(map[string]any)
		if inner := entry["resource"]; inner != nil && kind == "Bundle" {
			if err := s.validate(fmt.Sprintf("%s.entry[%d].", at, n), inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// Check fails a test whose resource is not valid.
func Check(t testing.TB, where string, raw []byte) {
	t.Helper()
	if err := Validate(raw); err != nil {
		t.Errorf("%s is no valid FHIR R4: %v\n%s", where, err, raw)
	}
	dir := os.Getenv(dumpVariable)
	if dir == "" {
		return
	}
	sum := sha256.Sum256(raw)
	var kind struct{ ResourceType string }
	if err := json.Unmarshal(raw, &kind); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, kind.ResourceType+"-"+hex.EncodeToString(sum[:8])+".json")
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// CheckValue is Check for what is to be encoded still.
func CheckValue(t testing.TB, where string, resource any) {
	t.Helper()
	raw, err := json.Marshal(resource)
	if err != nil {
		t.Fatal(err)
	}
	Check(t, where, raw)
}
