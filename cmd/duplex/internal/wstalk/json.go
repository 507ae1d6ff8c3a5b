package wstalk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// decodeJSON keeps numbers as they are written.
func decodeJSON(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("JSON: more than one value")
	}
	return value, nil
}

// subset reports whether got has all that want has: objects may have more
// members. If not, path says where they differ, as .a.b[0].
func subset(want, got any) (path string, ok bool) {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return ".", false
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			value, ok := object[name]
			if !ok {
				return "." + name, false
			}
			if path, ok := subset(want[name], value); !ok {
				return join("."+name, path), false
			}
		}
		return "", true
	case []any:
		array, ok := got.([]any)
		if !ok || len(array) != len(want) {
			return ".", false
		}
		for i := range want {
			if path, ok := subset(want[i], array[i]); !ok {
				return join("["+strconv.Itoa(i)+"]", path), false
			}
		}
		return "", true
	case json.Number:
		number, ok := got.(json.Number)
		return ".", ok && sameNumber(want, number)
	}
	return ".", want == got
}

func join(path, rest string) string {
	if rest == "." {
		return path
	}
	return path + rest
}

// sameNumber compares values, as 1.0 is 1. Whole numbers are exact.
func sameNumber(a, b json.Number) bool {
	m, errM := a.Int64()
	n, errN := b.Int64()
	if errM == nil && errN == nil {
		return m == n
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return a == b || errX == nil && errY == nil && x == y
}
