package sse

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Golden bytes: features of the format as a receiver sees them on the wire.
func TestAppend(t *testing.T) {
	tests := []struct {
		name          string
		id, typ, data string
		want          string
	}{
		{"data only", "", "", "hello", "data: hello\n\n"},
		{"all fields", "7-42", "order", "x", "event: order\nid: 7-42\ndata: x\n\n"},
		// §9.2.6: an event without a type has the type "message".
		{"default type is left out", "1", "message", "x", "id: 1\ndata: x\n\n"},
		{"other case is another type", "", "Message", "x", "event: Message\ndata: x\n\n"},
		// §9.2.6: "If the data buffer is an empty string" nothing is dispatched,
		// so even no data needs its line.
		{"empty data", "1", "", "", "id: 1\ndata: \n\n"},
		{"four lines", "", "", "{\n\"msg\": \"hello\",\n\"id\": 1\n}",
			"data: {\ndata: \"msg\": \"hello\",\ndata: \"id\": 1\ndata: }\n\n"},
		// §9.2.5: end-of-line = ( cr lf / cr / lf )
		{"LF, CR and CRLF end a line", "", "", "a\nb\rc\r\nd", "data: a\ndata: b\ndata: c\ndata: d\n\n"},
		{"LF CR are two ends", "", "", "a\n\rb", "data: a\ndata: \ndata: b\n\n"},
		{"ends at the end", "", "", "a\r\n\n", "data: a\ndata: \ndata: \n\n"},
		{"only CR", "", "", "\r", "data: \ndata: \n\n"},
		{"a field in data stays data", "", "", "x\n\nevent: evil\nid: 9", "data: x\ndata: \ndata: event: evil\ndata: id: 9\n\n"},
		{"leading space survives", "", "", " x", "data:  x\n\n"},
		{"NUL in data", "", "", "a\x00b", "data: a\x00b\n\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const before = "before"
			got, err := Append([]byte(before), test.id, test.typ, test.data)
			if err != nil || string(got) != before+test.want {
				t.Errorf("strings: got %q, %v; want %q", got, err, before+test.want)
			}
			got, err = Append([]byte(before), []byte(test.id), []byte(test.typ), []byte(test.data))
			if err != nil || string(got) != before+test.want {
				t.Errorf("bytes: got %q, %v; want %q", got, err, before+test.want)
			}
			got, err = AppendEvent([]byte(before), &Event{ID: test.id, Type: test.typ, Data: []byte(test.data)})
			if err != nil || string(got) != before+test.want {
				t.Errorf("event: got %q, %v; want %q", got, err, before+test.want)
			}
		})
	}
}

// An id or type that could begin another field, or that receivers ignore, is
// refused before anything is appended.
func TestAppendRefuses(t *testing.T) {
	for _, bad := range []string{"\n", "\r", "\r\n", "\x00", "1\ndata: evil", "1\revent: evil", "ok\x00"} {
		for _, field := range []string{"id", "event"} {
			id, typ := bad, "type"
			if field == "event" {
				id, typ = "id", bad
			}
			got, err := Append([]byte("before"), id, typ, "data")
			if string(got) != "before" {
				t.Errorf("%s %q: appended %q", field, bad, got)
			}
			e, ok := errors.AsType[*FieldError](err)
			if !ok || *e != (FieldError{Field: field, Value: bad}) {
				t.Errorf("%s %q: error %#v", field, bad, err)
			} else if strings.ContainsAny(e.Error(), "\r\n\x00") {
				t.Errorf("%s %q: error text %q breaks lines too", field, bad, e)
			}
		}
	}
}

func TestAppendComment(t *testing.T) {
	for comment, want := range map[string]string{
		"":                     ":\n\n",
		"ping":                 ": ping\n\n",
		"a\nb\rc\r\nd":         ": a\n: b\n: c\n: d\n\n",
		"x\n\ndata: evil\n\n":  ": x\n: \n: data: evil\n: \n: \n\n",
		"x\r\rid: evil\revent": ": x\n: \n: id: evil\n: event\n\n",
	} {
		if got := string(AppendComment(nil, comment)); got != want {
			t.Errorf("%q: got %q, want %q", comment, got, want)
		}
	}
}

func TestAppendRetry(t *testing.T) {
	for retry, want := range map[time.Duration]string{
		3 * time.Second:         "retry: 3000\n\n",
		0:                       "retry: 0\n\n",
		-time.Second:            "retry: 0\n\n",
		1999 * time.Microsecond: "retry: 1\n\n",
	} {
		if got := string(AppendRetry(nil, retry)); got != want {
			t.Errorf("%v: got %q, want %q", retry, got, want)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	type id string // such as another package's own
	dst := make([]byte, 0, 1<<10)
	data := []byte(`{"n":1}`)
	event := &Event{ID: "7-42", Type: "order", Data: data}
	for name, encode := range map[string]func(){
		"bytes":   func() { dst, _ = Append(dst[:0], id("7-42"), "order", data) },
		"strings": func() { dst, _ = Append(dst[:0], "7-42", "message", "one\r\ntwo") },
		"id":      func() { dst, _ = Append(dst[:0], data, "order", `{"n":1}`) },
		"event":   func() { dst, _ = AppendEvent(dst[:0], event) },
		"comment": func() { dst = AppendComment(dst[:0], "ping") },
		"retry":   func() { dst = AppendRetry(dst[:0], time.Second) },
	} {
		if n := testing.AllocsPerRun(100, encode); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, data := range map[string]string{
		"128B":     strings.Repeat("x", 128),
		"16KiB":    strings.Repeat("x", 16<<10),
		"50 lines": strings.Repeat(strings.Repeat("x", 36)+"\n", 50),
	} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 32<<10)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				dst, _ = Append(dst[:0], "0123456789-42", "order", data)
			}
		})
	}
}
