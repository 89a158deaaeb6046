package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// fileResolver gives flags the values of a configuration file: a flat YAML mapping of flag names, with - or _ between words.
type fileResolver struct {
	values map[string]any
}

var _ kong.Resolver = (*fileResolver)(nil)

// loadConfig reads a configuration file for kong.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	raw := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the configuration file is not a YAML mapping of flag names to values: %w", err)
	}
	f := &fileResolver{values: make(map[string]any, len(raw))}
	for key, value := range raw {
		f.values[flagName(key)] = value
	}
	return f, nil
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// Validate refuses keys that are no flag of any command, so that a misspelt key cannot be overlooked.
func (f *fileResolver) Validate(app *kong.Application) error {
	known := map[string]bool{}
	if err := kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			known[flag.Name] = true
		}
		return next(nil)
	}); err != nil {
		return fmt.Errorf("listing the flags: %w", err)
	}
	var unknown []string
	for key := range f.values {
		if !known[key] {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		sort.Strings(unknown)
		return fmt.Errorf("the configuration file has keys that are no flags: %s; see noctua --help", strings.Join(unknown, ", "))
	}
	return nil
}

// Resolve returns the file's value of a flag, or nil if the environment has one, which kong would let the file beat.
func (f *fileResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Tag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	return f.values[flag.Name], nil
}
