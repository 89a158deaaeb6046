// Package schemas holds the JSON Schemas (2020-12) of every event and document of Noctua and checks values against them.
// The Go types in pkg/event and pkg/record are generated from the same files by `make generate`.
package schemas

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Files are the schema files, by name (`result.v1.schema.json`), and the examples below examples/{valid,invalid}.
//
//go:embed *.schema.json examples
var Files embed.FS

const (
	suffix  = ".schema.json"
	baseURL = "https://noctua-screening.org/schemas/"
)

// Validator checks JSON documents by schema name. It is safe for concurrent use.
type Validator struct {
	byName map[string]*jsonschema.Schema
}

// Default returns the validator over the embedded schemas, compiled once.
var Default = sync.OnceValues(compile)

// Names lists the schemas without their suffix, e.g. `image.accepted.v1`.
func Names() ([]string, error) {
	files, err := fs.Glob(Files, "*"+suffix)
	if err != nil {
		return nil, fmt.Errorf("listing the embedded schemas: %w", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, suffix)
	}
	return files, nil
}

func compile() (*Validator, error) {
	names, err := Names()
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for _, name := range names {
		raw, err := Files.ReadFile(name + suffix)
		if err != nil {
			return nil, fmt.Errorf("reading schema %s: %w", name, err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("parsing schema %s: %w", name, err)
		}
		if err := compiler.AddResource(baseURL+name+suffix, doc); err != nil {
			return nil, fmt.Errorf("adding schema %s: %w", name, err)
		}
	}
	v := &Validator{byName: make(map[string]*jsonschema.Schema, len(names))}
	for _, name := range names {
		s, err := compiler.Compile(baseURL + name + suffix)
		if err != nil {
			return nil, fmt.Errorf("compiling schema %s: %w", name, err)
		}
		v.byName[name] = s
	}
	return v, nil
}

// Validate checks raw JSON against the schema called name. The error names every place that does not fit.
func (v *Validator) Validate(name string, raw []byte) error {
	s, ok := v.byName[name]
	if !ok {
		return fmt.Errorf("there is no schema called %q", name)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("document for schema %s is not JSON: %w", name, err)
	}
	if err := s.Validate(doc); err != nil {
		return fmt.Errorf("document does not fit schema %s: %w", name, err)
	}
	return nil
}

// Marshal encodes value and checks the result against the schema called name; what leaves Noctua goes through here.
func Marshal(name string, value any) ([]byte, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", name, err)
	}
	v, err := Default()
	if err != nil {
		return nil, err
	}
	if err := v.Validate(name, raw); err != nil {
		return nil, err
	}
	return raw, nil
}
