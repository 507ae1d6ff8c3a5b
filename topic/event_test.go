package topic

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// PROTOCOL.md §3.2: those that begin with "$", or hold CR, LF or NUL,
// are refused.
func TestCheckType(t *testing.T) {
	for _, typ := range []string{"", "message", "paid", "a$", "order paid", "ü", "a:b", "\t", strings.Repeat("x", MaxTypeBytes)} {
		if err := CheckType(typ); err != nil {
			t.Errorf("%q: %v", typ, err)
		}
	}
	const (
		ofSystem = `begins with "$", which only the system's own may`
		ofStream = "holds CR, LF or NUL"
	)
	for typ, reason := range map[string]string{
		"$":                                 ofSystem,
		TypePing:                            ofSystem,
		"$x\n":                              ofSystem,
		"a\rb":                              ofStream,
		"a\n":                               ofStream,
		"\x00":                              ofStream,
		"\xff":                              "is not valid UTF-8",
		strings.Repeat("x", MaxTypeBytes+1): "is longer than 255 bytes",
	} {
		e, ok := errors.AsType[*TypeError](CheckType(typ))
		if !ok || e.Type != typ || e.Reason != reason {
			t.Errorf("%q: got %v, want %q", typ, e, reason)
		}
	}
	if got, want := CheckType("a\n").Error(), `topic: event type "a\n" holds CR, LF or NUL`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// PROTOCOL.md §3.3: text/*, JSON, XML, forms and no type
// are text if they are valid UTF-8; all else is binary.
func TestNewDraft(t *testing.T) {
	const text, object, latin = "ü", ` {"a":1} `, "\xfc"
	for _, test := range []struct {
		media, data string
		kind        Kind
	}{
		{"text/plain", text, Text},
		{"text/plain; charset=utf-8", text, Text},
		{"TEXT/html", text, Text},
		{"text/plain; charset=latin1", latin, Binary},
		{"text/plain", "", Text},
		{"text/event-stream", "data: x\n\n", Text},

		{"application/json", object, JSON},
		{"Application/JSON; charset=utf-8", object, JSON},
		{"application/json ; x", "1", JSON}, // a malformed parameter changes nothing
		{"application/json", "null", JSON},
		{"application/json", `"\ud800"`, JSON},
		{"application/ld+json", object, JSON},
		{"application/problem+json; a=b", object, JSON},
		{"application/ld+json", "x", Text}, // only application/json is refused
		{"application/ld+json", latin, Binary},

		{"application/xml", text, Text},
		{"image/svg+xml", "<svg/>", Text},
		{"application/xml", latin, Binary},
		{"application/x-www-form-urlencoded", "a=b", Text},
		{"application/x-www-form-urlencoded", latin, Binary},
		{"multipart/form-data; boundary=x", "--x--", Text},
		{"multipart/form-data; boundary=x", "--x\r\n\r\n\xff\r\n--x--", Binary},

		// Binary-ness belongs to the event, not to its bytes.
		{"application/octet-stream", "a", Binary},
		{"image/png", "a", Binary},
		{"image/png", "", Binary},
		{"application/jsonx", "1", Binary},
		{"multipart/mixed", "a", Binary},
		{"nonsense", "a", Binary},
		{";", "a", Binary},
	} {
		data := []byte(test.data)
		d, err := NewDraft("paid", test.media, data)
		if err != nil || d.Kind != test.kind || d.Type != "paid" || d.Media != test.media || !bytes.Equal(d.Data, data) {
			t.Errorf("%s %q: got %+v, %v; want kind %d", test.media, test.data, d, err, test.kind)
		}
	}
}

func TestNewDraftWithoutMedia(t *testing.T) {
	for data, want := range map[string]Draft{
		"":              {Media: "text/plain", Kind: Text},
		"{}":            {Media: "text/plain", Kind: Text}, // a body is not guessed at
		"a\x00b":        {Media: "text/plain", Kind: Text},
		"\xff":          {Media: "application/octet-stream", Kind: Binary},
		"a\xed\xa0\x80": {Media: "application/octet-stream", Kind: Binary},
	} {
		if d, err := NewDraft("", "", []byte(data)); d.Media != want.Media || d.Kind != want.Kind || string(d.Data) != data || err != nil {
			t.Errorf("%q: got %+v, %v", data, d, err)
		}
	}
}

// PROTOCOL.md §7.2: application/json that does not parse is refused.
func TestNewDraftRefuses(t *testing.T) {
	for _, data := range []string{
		"", " ", "x", "{", "{}{}", "1 2", "'a'", "NaN", "[1,]", "\ufeff{}", "\"\xff\"", "{\"\xff\":1}", "\"\n\"",
		strings.Repeat("[", 1<<20), strings.Repeat("[", 513) + strings.Repeat("]", 513),
	} {
		for _, media := range []string{"application/json", "application/json; charset=utf-8"} {
			if _, err := NewDraft("", media, []byte(data)); err != ErrNotJSON {
				t.Errorf("%s %.20q: %v", media, data, err)
			}
		}
	}
}

// The type "message" is what an event without a type is.
func TestNewDraftOfMessage(t *testing.T) {
	for _, typ := range []string{"", "message"} {
		if d, err := NewDraft(typ, "text/plain", nil); d.Type != "" || err != nil {
			t.Errorf("%q: got type %q, %v", typ, d.Type, err)
		}
	}
}

func TestNewEvent(t *testing.T) {
	at := time.Date(2026, 8, 1, 14, 0, 0, 123456789, time.FixedZone("", 2*60*60))
	d := Draft{Type: "paid", Media: "text/html", Data: []byte("x"), Kind: Text}
	e := NewEvent(exampleID, "a/b", d, at)
	got := Draft{Type: e.Type, Media: e.Media, Kind: e.Kind}
	if e.ID != exampleID || e.Topic != "a/b" || got.Type != d.Type || got.Media != d.Media || got.Kind != d.Kind || &e.Data[0] != &d.Data[0] {
		t.Errorf("got %+v", e)
	}
	if !e.Time().Equal(at) || e.Time().Location() != time.UTC {
		t.Errorf("got %v, want %v", e.Time(), at.UTC())
	}
	if e.IsEnd() {
		t.Error("an event is an end")
	}
	if end := EndDraft(); !end.IsEnd() || d.IsEnd() {
		t.Errorf("ends: %v, %v", end.IsEnd(), d.IsEnd())
	}
	if end := NewEvent(exampleID, "a/b", EndDraft(), at); !end.IsEnd() {
		t.Error("an end is none")
	}
}
