package view

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzSplitArray holds splitArray to encoding/json.
func FuzzSplitArray(f *testing.F) {
	for _, seed := range []string{`[]`, ` [1 , {"a":[2]}] `, `[1,]`, `[1]2`, `[1`, `{}`, ``, `[1 2]`, `[[],"]"]`, `[nul]`, `[1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got [][]byte
		var problem *Problem
		for element, p := range splitArray(body) {
			if problem != nil {
				t.Fatal("a step after the problem")
			}
			if problem = p; p == nil {
				got = append(got, element)
			}
		}
		var want []json.RawMessage
		isArray := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
		if err := json.Unmarshal(body, &want); (err == nil && isArray) != (problem == nil) {
			t.Fatalf("%q: got %v, want %v", body, problem, err)
		}
		if problem != nil {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%q: got %q, want %q", body, got, want)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("%q: got %q, want %q", body, got, want)
			}
		}
	})
}
