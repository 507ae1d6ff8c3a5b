package view

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParseOp: whatever a client says, the op is one of encoding/json's
// opinion too, and its ref can be repeated as it is.
func FuzzParseOp(f *testing.F) {
	for _, seed := range []string{
		`{"op":"subscribe","topic":"a/*","after":"k-1","ref":1}`, `{"op":"publish","topic":"a","event":"x","data":{"a":[1]},"key":"k","ref":"\ud83d\ude00"}`,
		`{"op":"ping","ref":-0.5e+1}`, `{"ref":null}`, `{"key":""}`, `{"data":null,"ref":5,"op":5}`, `[]`, `{"ref":1`, "{\"op\":\"\xff\"}", `{"ref":1,"ref":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, problem := parseOp(data)
		if problem != nil && problem.Type != "bad-json" && problem.Type != "bad-parameter" {
			t.Fatalf("problem %v", problem)
		}
		if o.ref != nil && (!json.Valid(o.ref) || !strings.Contains(`"-0123456789`, string(o.ref[:1]))) {
			t.Fatalf("ref %q", o.ref)
		}
		if o.data != nil && !json.Valid(o.data) {
			t.Fatalf("data %q", o.data)
		}
		if problem != nil {
			if problem.Type == "bad-json" && o.ref != nil {
				t.Fatalf("bad-json with ref %q", o.ref)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil || !utf8.Valid(data) {
			t.Fatalf("%q is no op: %v", data, err)
		}
		for name, got := range map[string]string{"op": o.name, "topic": o.topic, "after": o.after, "event": o.event, "key": o.key} {
			want := ""
			if raw, ok := members[name]; ok {
				if err := json.Unmarshal(raw, &want); err != nil {
					t.Fatalf("%q: %q is no string: %v", data, name, err)
				}
			}
			if got != want {
				t.Fatalf("%q: %q is %q, want %q", data, name, got, want)
			}
		}
		if !bytes.Equal(o.ref, members["ref"]) || !bytes.Equal(o.data, members["data"]) {
			t.Fatalf("%q: ref %q, data %q", data, o.ref, o.data)
		}
	})
}
