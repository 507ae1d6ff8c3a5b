package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFlag names the file. Kong loads it before it resolves the other flags.
type configFlag = kong.ConfigFlag

// A configFile gives flags the values of a YAML file: one mapping, from the
// names of flags, of whatever command, to values or lists of values. A rule may
// be a mapping, too.
type configFile struct{ values map[string]any }

func readConfig(r io.Reader) (kong.Resolver, error) {
	var raw map[string]any
	if err := yaml.NewDecoder(r).Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	f := configFile{make(map[string]any)}
	for name, value := range raw {
		switch value := value.(type) {
		case nil:
		case []any:
			list := make([]any, len(value))
			for i, element := range value {
				text, err := scalarOrRule(name, element)
				if err != nil {
					return nil, err
				}
				list[i] = text
			}
			f.values[name] = list
		default:
			text, err := scalar(name, value)
			if err != nil {
				return nil, err
			}
			f.values[name] = text
		}
	}
	return f, nil
}

// scalarOrRule is an element of a list as it would stand on the command line.
func scalarOrRule(name string, value any) (string, error) {
	if mapping, ok := value.(map[string]any); ok && name == "rule" {
		return ruleText(mapping)
	}
	return scalar(name, value)
}

// scalar is a value as it would stand on the command line.
func scalar(name string, value any) (string, error) {
	switch value.(type) {
	case string, int, int64, uint64, float64, bool:
		return fmt.Sprint(value), nil
	}
	return "", fmt.Errorf("configuration: %s: want a value or a list of values", name)
}

// Validate refuses names that no flag has: a typing error must not leave a
// default in place.
func (f configFile) Validate(app *kong.Application) error {
	known := make(map[string]bool)
	err := kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			known[flag.Name] = true
		}
		return next(nil)
	})
	if err != nil {
		return err
	}
	delete(known, "config")
	delete(known, "help")
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		if !known[name] {
			return fmt.Errorf("configuration: no flag is called %q", name)
		}
	}
	return nil
}

// Resolve gives way to the environment.
func (f configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return nil, nil
		}
	}
	return f.values[flag.Name], nil
}
