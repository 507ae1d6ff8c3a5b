package wstalk

import "testing"

func TestSubset(t *testing.T) {
	for _, test := range []struct{ want, got, path string }{ // path is "" if it is a subset
		{`{}`, `{"a":1}`, ""},
		{`{"a":{"b":1}}`, `{"a":{"b":1,"c":2},"d":3}`, ""},
		{`[]`, `[]`, ""},
		{`1`, `1.0`, ""},
		{`1e3`, `1000`, ""},
		{`null`, `null`, ""},
		{`true`, `true`, ""},
		{`{"a":null}`, `{}`, ".a"},
		{`{"a":{"b":1}}`, `{"a":1}`, ".a"},
		{`{"a":[{"b":1}]}`, `{"a":[{"b":2}]}`, ".a[0].b"},
		{`[1]`, `[1,2]`, "."},
		{`[1]`, `{}`, "."},
		{`{}`, `[]`, "."},
		{`1`, `"1"`, "."},
		{`"1"`, `1`, "."},
		{`true`, `false`, "."},
		{`9007199254740993`, `9007199254740992`, "."},
	} {
		want, err := decodeJSON([]byte(test.want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeJSON([]byte(test.got))
		if err != nil {
			t.Fatal(err)
		}
		if path, ok := subset(want, got); ok != (test.path == "") || !ok && path != test.path {
			t.Errorf("%s in %s: %v, differs at %q, want %q", test.want, test.got, ok, path, test.path)
		}
	}
}
