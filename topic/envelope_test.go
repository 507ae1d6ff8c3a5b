package topic

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseEnvelope(t *testing.T) {
	for line, want := range map[string]Envelope{
		`{"data":null}`:                       {Kind: JSON, Data: []byte(`null`)},
		` { "later" : {} , "data" : [ 1 ] } `: {Kind: JSON, Data: []byte(`[ 1 ]`)},
		`{"id":"abc-7","topic":"a/b","event":"paid","data":"\u0041\n","time":"2026-08-01T12:00:00.5Z"}`: {
			ID: "abc-7", Topic: "a/b", Type: "paid", Data: []byte("A\n"), Time: noon.Add(time.Second / 2),
		},
		`{"event":"message","data":"","time":"2026-08-01T14:00:00+02:00"}`:               {Data: []byte{}, Time: noon},
		`{"id":"abc-7","event":"$ping","data":{"interval":25}}`:                          {ID: "abc-7", Type: "$ping", Kind: JSON, Data: []byte(`{"interval":25}`)},
		`{"data":"\u0041","media":"Application/JSON; v=1"}`:                              {Kind: JSON, Media: "Application/JSON; v=1", Data: []byte(`"\u0041"`)},
		`{"data":"x","media":"application/ld+json"}`:                                     {Kind: JSON, Media: "application/ld+json", Data: []byte(`"x"`)},
		`{"data":"x","media":"text/html"}`:                                               {Media: "text/html", Data: []byte(`x`)},
		`{"data":"data:a/b;base64,AA=="}`:                                                {Data: []byte("data:a/b;base64,AA==")},
		`{"data":"data:a/b;base64,AA==","binary":false}`:                                 {Data: []byte("data:a/b;base64,AA==")},
		`{"binary":true,"data":"data:a\/b;base64,\u0041A==","media":"application/json"}`: {Kind: Binary, Media: "application/json", Data: []byte{0}},
		`{"data":"data:a/b;c=%22%2C%22;base64,","binary":true}`:                          {Kind: Binary, Media: `a/b;c=","`},
		`{"data":"data:a%FF;base64,","binary":true}`:                                     {Kind: Binary, Media: "a\ufffd"},
	} {
		if got, err := ParseEnvelope([]byte(line)); !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", line, got, err, want)
		}
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	for line, reason := range map[string]string{
		``:                                    "jsonscan: byte 0: want an object",
		`[]`:                                  "jsonscan: byte 0: want an object",
		`{}`:                                  "no data",
		`{"data":1} x`:                        "jsonscan: byte 11: want the end",
		`{"data":1,"data":2}`:                 "jsonscan: byte 16: the second member with this key",
		"{\"data\":\"\xff\"}":                 "jsonscan: byte 0: not UTF-8",
		`{"data":"\ud800"}`:                   `member "data": jsonscan: not a string of Unicode text`,
		`{"id":7,"data":1}`:                   `member "id": jsonscan: not a string of Unicode text`,
		`{"topic":[],"data":1}`:               `member "topic": jsonscan: not a string of Unicode text`,
		`{"event":{},"data":1}`:               `member "event": jsonscan: not a string of Unicode text`,
		`{"media":null,"data":1}`:             `member "media": jsonscan: not a string of Unicode text`,
		`{"time":1,"data":1}`:                 `member "time": jsonscan: not a string of Unicode text`,
		`{"binary":1,"data":1}`:               `member "binary": neither true nor false`,
		`{"binary":true,"data":1}`:            `member "data": jsonscan: not a string of Unicode text`,
		`{"binary":true,"data":"AA=="}`:       "data is not a base64 data URL",
		`{"binary":true,"data":"data:,AA=="}`: "data is not a base64 data URL",
		`{"binary":true,"data":"data:a/b;base64"}`:       "data is not a base64 data URL",
		`{"binary":true,"data":"data:a/b;base64,A"}`:     "data is not a base64 data URL",
		`{"binary":true,"data":"data:a/b;base64,A-_="}`:  "data is not a base64 data URL",
		`{"binary":true,"data":"data:a%/b;base64,AA=="}`: "data is not a base64 data URL",
	} {
		got, err := ParseEnvelope([]byte(line))
		if !reflect.DeepEqual(got, Envelope{}) || err == nil || err.Error() != "parse envelope: "+reason {
			t.Errorf("%s: got %+v, %v; want %s", line, got, err, reason)
		}
	}
	_, err := ParseEnvelope([]byte(`{"time":"2026-08-01 12:00","data":1}`))
	if _, ok := errors.AsType[*time.ParseError](err); !ok {
		t.Errorf("bad time: %v", err)
	}
}

// carried is the envelope that a reader of the event's JSON has, by the words
// of the protocol.
func carried(e *Event) Envelope {
	want := Envelope{ID: e.ID.String(), Topic: e.Topic, Type: e.Type, Media: writtenMedia(e), Data: e.Data, Time: e.Time(), Kind: e.Kind}
	switch e.Kind {
	case JSON: // as a value, on one line
		want.Data = []byte(strings.NewReplacer("\r", " ", "\n", " ").Replace(strings.Trim(string(e.Data), " \t\r\n")))
	case Binary: // never without a media type
		if e.Media == "" {
			want.Media = "application/octet-stream"
		} else if want.Media == "" {
			want.Media = withoutSpace(e.Media)
		}
	}
	want.Media = string([]rune(want.Media)) // U+FFFD for each byte that is not UTF-8
	return want
}

// withoutSpace leaves out the white space outside of quotes.
func withoutSpace(media string) string {
	var b strings.Builder
	quoted := false
	for i, c := range []byte(media) {
		if c == '"' && (i == 0 || media[i-1] != '\\') {
			quoted = !quoted
		}
		if quoted || c != ' ' && c != '\t' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func checkRoundTrip(t *testing.T, e *Event) {
	t.Helper()
	line := AppendJSON(nil, e)
	if bytes.ContainsAny(line, "\r\n\x00") {
		t.Fatalf("not one line: %.200q", line)
	}
	got, err := ParseEnvelope(line)
	if err != nil {
		t.Fatalf("%v: %.200s", err, line)
	}
	want := carried(e)
	if !bytes.Equal(got.Data, want.Data) {
		t.Fatalf("data of %.200s: got %.200q, want %.200q", line, got.Data, want.Data)
	}
	got.Data, want.Data = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%.200s: got %+v, want %+v", line, got, want)
	}
}

// What is published is what is read, whatever it holds.
func TestEnvelopeRoundTrip(t *testing.T) {
	hostile := []string{
		"", " ", "\r", "\n", "\r\n", "\n\n", "\x00", "a\x00b", "\u2028\u2029", "\u0085", "\x7f", "\ufeff", "\"", `\`, `\u0041`, `"`, `""`, `"\n"`,
		"id: 1\ndata: x\n\n", `","event":"$end","x":"`, `{"event":"$end"}`, "\"\r\nx\"", `"\ud834\udd1e"`, `"\ud800"`, "[\r\n1\r\n,\t2\r\n]", " 1 ", "null",
		"\xff", "\xff\xfe", "a\xc3", "\xed\xa0\x80", "\x00\xff\r\n", "data:text/plain;base64,AA==", "</script><!--", "\U0001f600", "\U0010ffff",
	}
	medias := []string{
		"", "text/plain", "text/plain; charset=utf-8", "TEXT/HTML", "application/json", "application/json; charset=utf-8", "application/ld+json",
		"application/problem+JSON; a=b", "application/x-www-form-urlencoded", "multipart/form-data; boundary=\"a, ;base64,b\"", "application/octet-stream", "image/png",
		"image/svg+xml", "a/b;c=\"\\\" d\"; e", ",", ";base64", "\"", "\r\n", "\xff", "é", " ", ";",
	}
	for _, data := range hostile {
		for _, media := range medias {
			d, err := NewDraft("", media, []byte(data))
			if err != nil {
				continue // application/json that is none
			}
			checkRoundTrip(t, example(d))
		}
		e := NewEvent(exampleID, strings.ToValidUTF8(data, ""), Draft{Type: strings.ToValidUTF8(data, "")}, noon.Add(1))
		checkRoundTrip(t, &e)
	}
}

func TestEnvelopeRoundTripOfMuch(t *testing.T) {
	t.Parallel()
	const size = 5 << 20
	much := func(part string) string { return strings.Repeat(part, size/len(part)) }
	for _, test := range []struct{ media, data string }{
		{"", much("x\r\n\x00\u2028\"\\日本, and so on")},
		{"", much("\xff")},
		{"application/json", "[" + much("1,\r\n") + "1]"},
		{"application/json", strings.Repeat("[", 512) + strings.Repeat("]", 512)}, // as deep as may be published
	} {
		d, err := NewDraft("", test.media, []byte(test.data))
		if err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, example(d))
	}
}

func TestEnvelopeOwnsItsData(t *testing.T) {
	for _, d := range []Draft{
		{Kind: JSON, Data: []byte(`[1,2,3]`)},
		{Kind: Text, Data: []byte(`abc`)},
		{Kind: Binary, Data: []byte{1, 2, 3}},
	} {
		line := AppendJSON(nil, example(d))
		e, err := ParseEnvelope(line)
		clear(line)
		if !bytes.Equal(e.Data, d.Data) || err != nil {
			t.Errorf("got %q, %v; want %q", e.Data, err, d.Data)
		}
	}
}

// PROTOCOL.md §6.1: they have the form of events.
func TestEnvelopeOfSignal(t *testing.T) {
	s := Signal{Type: TypeGap, Cursor: Cursor{ID: exampleID, Told: 9}, Data: []byte(`{"after":"x"}`)}
	want := Envelope{ID: "abc-7-9", Type: TypeGap, Kind: JSON, Data: s.Data}
	if got, err := ParseEnvelope(AppendSignalJSON(nil, s)); !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// PROTOCOL.md §7.3: a JSON string in data is published as text/plain,
// anything else as application/json.
func TestDraftFromJSON(t *testing.T) {
	for value, want := range map[string]Draft{
		`"hello"`:             {Kind: Text, Media: "text/plain", Data: []byte("hello")},
		"\n \"a\\u2028\\n\" ": {Kind: Text, Media: "text/plain", Data: []byte("a\u2028\n")},
		`""`:                  {Kind: Text, Media: "text/plain", Data: []byte{}},
		`"\u0000"`:            {Kind: Text, Media: "text/plain", Data: []byte{0}},
		`"{}"`:                {Kind: Text, Media: "text/plain", Data: []byte("{}")},
		`"\ud834\udd1e"`:      {Kind: Text, Media: "text/plain", Data: []byte("\U0001d11e")},
		`null`:                {Kind: JSON, Media: "application/json", Data: []byte("null")},
		` {"a": "\ud800"} `:   {Kind: JSON, Media: "application/json", Data: []byte(`{"a": "\ud800"}`)},
		`["x"]`:               {Kind: JSON, Media: "application/json", Data: []byte(`["x"]`)},
		`-1.5e3`:              {Kind: JSON, Media: "application/json", Data: []byte(`-1.5e3`)},
	} {
		raw := []byte(value)
		want.Type = "paid"
		got, err := DraftFromJSON("paid", raw)
		clear(raw) // the draft must not share its memory
		if !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%s: got %+v, %v; want %+v", value, got, err, want)
		}
	}
	for _, value := range []string{``, ` `, `x`, `{`, `"`, `"\ud800"`, `"\udd1e\ud834"`, "\"\xff\"", "[\"\xff\"]", `"a" 1`, `"a""b"`, "\"\n\"", `1 2`, "\u00a01"} {
		if got, err := DraftFromJSON("", []byte(value)); err != ErrNotJSON {
			t.Errorf("%q: got %+v, %v", value, got, err)
		}
	}
	if d, err := DraftFromJSON(TypeMessage, []byte(`1`)); d.Type != "" || err != nil {
		t.Errorf("got type %q, %v", d.Type, err)
	}
}
