package topic

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzEnvelope: parse(encode(x)) is x, on one line, for all that can be
// published.
func FuzzEnvelope(f *testing.F) {
	f.Add("a/b", "paid", "text/plain", []byte("x\r\n\u2028\x00"), int64(0))
	f.Add("a", "", "", []byte{0xff, 0}, int64(-1))
	f.Add("a", "", "application/json", []byte("{\r\n\"a\": \"\\ud800\"}"), int64(1e18))
	f.Add("a", "", "application/ld+json; a=\"b, c\"", []byte(`"x"`), int64(123))
	f.Add("a", "", "multipart/form-data; boundary=\"a, \\\"b\"", []byte("\xfe"), int64(123))
	f.Add("a", "\"\\\x01", "Image/\xff+xml", []byte("\xfe"), int64(123))
	f.Add("a", "", "\x89\xd6", []byte("0"), int64(0))
	f.Fuzz(func(t *testing.T, name, typ, media string, data []byte, nanos int64) {
		if CheckName(name) != nil || CheckType(typ) != nil {
			return
		}
		d, err := NewDraft(typ, media, data)
		if err != nil {
			return
		}
		e := NewEvent(exampleID, name, d, time.Unix(0, nanos))
		checkRoundTrip(t, &e)
	})
}

// FuzzParseEnvelope: what is read is valid JSON, and by encoding/json it reads
// the same.
func FuzzParseEnvelope(f *testing.F) {
	for _, seed := range []string{
		`{"id":"abc-7","topic":"a/b","event":"paid","data":"x","time":"2026-08-01T12:00:00Z"}`,
		`{"id":"abc-7","event":"$ping","data":{"interval":25}}`,
		`{"data":"data:a/b;base64,AA==","binary":true}`,
		`{"media":"application/json","data":"\ud834\udd1e","binary":false,"x":[]}`,
		`{"data":1,"data":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseEnvelope(line)
		if err != nil {
			if !reflect.DeepEqual(e, Envelope{}) {
				t.Fatalf("%+v with an error", e)
			}
			return
		}
		members := make(map[string]json.RawMessage)
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatal(err)
		}
		for key, got := range map[string]string{"id": e.ID, "topic": e.Topic} {
			var want string
			if raw, ok := members[key]; ok && json.Unmarshal(raw, &want) != nil || got != want {
				t.Fatalf("%s: got %q, want %q", key, got, want)
			}
			if !utf8.ValidString(got) {
				t.Fatalf("%s is not UTF-8: %q", key, got)
			}
		}
		switch e.Kind {
		case JSON:
			if !bytes.Equal(e.Data, bytes.Trim(members["data"], " \t\r\n")) {
				t.Fatalf("got %s, want %s", e.Data, members["data"])
			}
		case Text:
			var want string
			if json.Unmarshal(members["data"], &want) != nil || string(e.Data) != want || !utf8.Valid(e.Data) {
				t.Fatalf("got %q, want %q", e.Data, want)
			}
		case Binary:
			var want string
			if json.Unmarshal(members["data"], &want) != nil || !strings.HasPrefix(want, "data:") || string(members["binary"]) != "true" {
				t.Fatalf("got binary of %s", line)
			}
		}
	})
}

// FuzzDraftFromJSON: text is always UTF-8, JSON always JSON, and there is a
// draft exactly for what encoding/json can read without putting U+FFFD.
func FuzzDraftFromJSON(f *testing.F) {
	for _, seed := range []string{`"a\n"`, ` {"a":1} `, `"\ud800"`, "\"\xff\"", `null`, `1 2`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		// For a string, encoding/json puts U+FFFD where it is not Unicode.
		var text *string
		isText := json.Unmarshal(value, &text) == nil && text != nil
		good := json.Valid(value) && utf8.Valid(value)

		d, err := DraftFromJSON("", value)
		switch {
		case err != nil:
			if err != ErrNotJSON || good && isText && !strings.Contains(*text, "\ufffd") {
				t.Fatalf("refused: %v", err)
			}
		case !good:
			t.Fatalf("accepted as %+v", d)
		case isText:
			if d.Kind != Text || string(d.Data) != *text {
				t.Fatalf("got %+v, want %q", d, *text)
			}
		default:
			if d.Kind != JSON || !bytes.Equal(d.Data, bytes.Trim(value, " \t\r\n")) {
				t.Fatalf("got %+v", d)
			}
		}
	})
}
