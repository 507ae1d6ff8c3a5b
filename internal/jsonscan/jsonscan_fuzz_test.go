package jsonscan

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzMembers holds Members to encoding/json: what both may read they read
// alike, and where they differ it is by a rule of this package.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` {"a":1 , "b":[true,null,{"c":"\ud834\udd1e"}]}`, `{"a":1,"a":2}`, `{"a":-0.1E+5}`, `{"\u0061":"\ud800"}`,
		`{"a":1}}`, `[]`, `{"a":01}`, "{\"\xff\":0}", `{"a":"\u12`, `{"k":"` + strings.Repeat("x", 100) + `"}`,
		strings.Repeat(`{"a":`, 600) + "0" + strings.Repeat(`}`, 600),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, want := Valid(data), json.Valid(data) && utf8.Valid(data) && depth(data) <= MaxDepth; got != want {
			t.Fatalf("Valid is %v, want %v", got, want)
		}

		var got []Member
		var fault *SyntaxError
		for m, err := range Members(data) {
			if fault != nil {
				t.Fatal("a step after the error")
			}
			if err != nil {
				fault = err.(*SyntaxError)
				if fault.Offset < 0 || fault.Offset > len(data) || fault.Reason == "" {
					t.Fatalf("bad error %+v", fault)
				}
				continue
			}
			if !json.Valid(m.Value) || len(bytes.Trim(m.Value, " \t\r\n")) != len(m.Value) || !utf8.Valid(m.Key) {
				t.Fatalf("bad member %q: %q", m.Key, m.Value)
			}
			got = append(got, m)
		}

		want, ok := members(data)
		if ok != (fault == nil) {
			t.Fatalf("want ok %v, got fault %+v", ok, fault)
		}
		if !ok {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%d members, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i].Key, want[i].Key) || !bytes.Equal(got[i].Value, want[i].Value) {
				t.Fatalf("member %d is %q: %q, want %q: %q", i, got[i].Key, got[i].Value, want[i].Key, want[i].Value)
			}
		}
	})
}

// members is Members made of encoding/json. Not ok is what Members refuses.
func members(data []byte) (members []Member, ok bool) {
	// The bound of depth is for each value, so one more for all.
	if !json.Valid(data) || !utf8.Valid(data) || depth(data) > MaxDepth+1 {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	seen := make(map[string]bool)
	for d.More() {
		start := d.InputOffset()
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		// The decoder puts U+FFFD for half a pair; so is the key what it says?
		raw := bytes.Trim(data[start:d.InputOffset()], " \t\r\n,")
		if halfPair(raw) {
			return nil, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		name := key.(string)
		if seen[name] || len(seen) == MaxMembers {
			return nil, false
		}
		seen[name] = true
		members = append(members, Member{Key: []byte(name), Value: value})
	}
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	_, err := d.Token()
	return members, err == io.EOF
}

// halfPair reports whether decoding the valid string raw loses something,
// which encoding/json only does to half a surrogate pair.
func halfPair(raw []byte) bool {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		panic(err)
	}
	lower := strings.ToLower(string(raw))
	honest := strings.Count(lower, "\ufffd") + strings.Count(strings.ReplaceAll(lower, `\\`, ""), `\ufffd`)
	return strings.Count(s, "\ufffd") != honest
}

// depth is how deep valid JSON is nested.
func depth(data []byte) (most int) {
	d := json.NewDecoder(bytes.NewReader(data))
	now := 0
	for {
		token, err := d.Token()
		if err != nil {
			return most
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			now++
			most = max(most, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

// FuzzString holds AppendString to encoding/json in the same way.
func FuzzString(f *testing.F) {
	for _, seed := range []string{
		`""`, `"a\n\u00e9\ud834\udd1e"`, `"\ud834"`, `"\udd1e\ud834"`, "\"\xff\"", `"\\ufffd\ufffd"`, `"a" `, `"\ud834\ud834\udd1e"`, `"\uD8`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := String(raw)
		if err != nil {
			if got != "" {
				t.Fatalf("%q with an error", got)
			}
		} else if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		isString := len(raw) > 0 && raw[0] == '"' && raw[len(raw)-1] == '"' && json.Valid(raw) && utf8.Valid(raw)
		if want := isString && !halfPair(raw); want != (err == nil) {
			t.Fatalf("want ok %v, got error %v", want, err)
		}
		if err == nil {
			var want string
			if err := json.Unmarshal(raw, &want); err != nil || got != want {
				t.Fatalf("got %q, want %q (%v)", got, want, err)
			}
		}
	})
}
