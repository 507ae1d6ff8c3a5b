package sse

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// feed gives the chunks to p and returns what comes out, as "type|id|data", and
// comments as "#text".
func feed(p *Parser, chunks ...string) (out []string, err error) {
	p.Comment = func(text []byte) { out = append(out, "#"+string(text)) }
	return feedPlain(p, &out, chunks...)
}

// feedPlain is feed without comments.
func feedPlain(p *Parser, out *[]string, chunks ...string) ([]string, error) {
	for _, chunk := range chunks {
		for event, err := range p.Feed([]byte(chunk)) {
			if err != nil {
				return *out, err
			}
			*out = append(*out, fmt.Sprintf("%s|%s|%s", event.Type, event.ID, event.Data))
		}
	}
	return *out, nil
}

// bytewise cuts s into single bytes.
func bytewise(s string) []string {
	chunks := make([]string, len(s))
	for i := range len(s) {
		chunks[i] = s[i : i+1]
	}
	return chunks
}

var parserTests = []struct {
	name  string
	input string
	want  []string
}{
	// §9.2.6 gives these four streams and says what comes of them.
	{
		"standard: three lines of data",
		"data: YHOO\ndata: +2\ndata: 10\n\n",
		[]string{"message||YHOO\n+2\n10"},
	},
	{
		"standard: a comment, an id, an id that is reset, an unfinished block",
		": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
		[]string{"#test stream", "message|1|first event", "message||second event"},
	},
	{
		"standard: and finished, with the second of two spaces",
		": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
		[]string{"#test stream", "message|1|first event", "message||second event", "message|| third event"},
	},
	{
		"standard: empty data, one newline, an unfinished block",
		"data\n\ndata\ndata\n\ndata:",
		[]string{"message||", "message||\n"},
	},
	{
		"standard: the space after the colon is optional",
		"data:test\n\ndata: test\n\n",
		[]string{"message||test", "message||test"},
	},
	// §9.2.1 has these two.
	{
		"standard: messages",
		"data: This is the first message.\n\ndata: This is the second message, it\ndata: has two lines.\n\ndata: This is the third message.\n\n",
		[]string{"message||This is the first message.", "message||This is the second message, it\nhas two lines.", "message||This is the third message."},
	},
	{
		"standard: types",
		"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
		[]string{"add||73857293", "remove||2153", "add||113411"},
	},

	// "a U+000D CARRIAGE RETURN U+000A LINE FEED (CRLF) character pair, a single
	// U+000A LINE FEED (LF) [...], and a single U+000D CARRIAGE RETURN (CR)"
	{"CRLF", "data: a\r\ndata: b\r\n\r\n", []string{"message||a\nb"}},
	{"CR", "data: a\rdata: b\r\r", []string{"message||a\nb"}},
	{"mixed ends", "data: a\rdata: b\ndata: c\r\n\rdata: d\n\r", []string{"message||a\nb\nc", "message||d"}},
	{"CR CR LF is two ends", "data: a\r\r\ndata: b\n\n", []string{"message||a", "message||b"}},
	{"LF CR is two ends", "data: a\n\rdata: b\n\n", []string{"message||a", "message||b"}},

	// "strips one leading UTF-8 Byte Order Mark (BOM), if any"
	{"byte order mark", "\uFEFFdata: a\n\n", []string{"message||a"}},
	{"second byte order mark is part of a name", "\uFEFF\uFEFFdata: a\n\ndata: b\n\n", []string{"message||b"}},
	{"byte order mark later", "data: a\n\n\uFEFFdata: b\n\ndata: \uFEFFc\n\n", []string{"message||a", "message||\uFEFFc"}},
	{"broken byte order mark is part of a name", "\xEF\xBBdata: a\n\ndata: b\n\n", []string{"message||b"}},
	{"only a byte order mark", "\uFEFF", nil},

	// "If the line starts with a U+003A COLON character (:), ignore the line."
	{"comments", ":\n: a\n:b\n::c\ndata: x\n: y\n\n", []string{"#", "#a", "#b", "#:c", "#y", "message||x"}},
	{"heartbeats only", ":\n\n:\n\n", []string{"#", "#"}},

	// "The field is ignored."
	{"unknown names", "foo: bar\ndatabase: x\ndat: x\nData: x\n data: x\ndata : x\neventual: x\ndata: ok\n\n", []string{"message||ok"}},
	{"unknown names without colon", "foo\ndatadata\ndata\n\n", []string{"message||"}},

	// "If value starts with a U+0020 SPACE character, remove it from value."
	{"spaces", "data:a\ndata: a\ndata:  a\ndata:\ta\ndata:a \n\n", []string{"message||a\na\n a\n\ta\na "}},
	{"colons in the value", "data:a:b\ndata: :\ndata::\n\n", []string{"message||a:b\n:\n:"}},

	// "event": "Set the event type buffer to field value."
	{"last type counts", "event: a\nevent: b\ndata: x\n\n", []string{"b||x"}},
	{"type is for one event", "event: a\ndata: x\n\ndata: y\n\n", []string{"a||x", "message||y"}},
	{"empty type is the default", "event: a\nevent:\ndata: x\n\n", []string{"message||x"}},
	// "If the data buffer is an empty string, set the data buffer and the event
	// type buffer to the empty string and return."
	{"no data, no event, and no type for the next", "event: a\n\ndata: x\n\n", []string{"message||x"}},
	{"type after data", "data: x\nevent: a\n\n", []string{"a||x"}},

	// "id": "If the field value does not contain U+0000 NULL, then set the last
	// event ID buffer to the field value. Otherwise, ignore the field."
	{"id persists", "id: 1\ndata: x\n\ndata: y\n\n", []string{"message|1|x", "message|1|y"}},
	{"id with NUL", "id: 1\ndata: x\n\nid: 2\x00\ndata: y\n\nid: \x00\ndata: z\n\n", []string{"message|1|x", "message|1|y", "message|1|z"}},
	{"id with NUL does not undo the one before", "id: 2\nid: 3\x00\ndata: y\n\n", []string{"message|2|y"}},
	{"empty id resets", "id: 1\ndata: x\n\nid:\ndata: y\n\nid: 1\ndata: x\n\nid\ndata: y\n\n", []string{"message|1|x", "message||y", "message|1|x", "message||y"}},
	{"id of a block without data", "id: 1\n\ndata: y\n\n", []string{"message|1|y"}},
	{"id after data", "data: x\nid: 1\n\n", []string{"message|1|x"}},
	{"only one space off an id", "id:  1 \ndata: x\n\n", []string{"message| 1 |x"}},

	// "Once the end of the file is reached, any pending data must be discarded."
	{"unfinished line", "data: a\n\ndata: b", []string{"message||a"}},
	{"unfinished block", "data: a\n\ndata: b\n", []string{"message||a"}},

	{"NUL in data, type and comment", "event: a\x00b\ndata: x\x00y\n:\x00\n\n", []string{"#\x00", "a\x00b||x\x00y"}},
	{"not UTF-8", "event: \xFF\nid: \xC3\ndata: a\xE2\x82b\xF0\x9F\x98\ndata: \x80\x80\n:\xE2\x82\n\n",
		[]string{"#\uFFFD", "\uFFFD|\uFFFD|a\uFFFDb\uFFFD\n\uFFFD\uFFFD"}},
	{"UTF-8", "event: é\nid: ü\ndata: 漢字 😀\n\n", []string{"é|ü|漢字 😀"}},
	{"empty stream", "", nil},
	{"blank lines", "\n\n\r\n\r\r", nil},
}

// The same events come out however the stream is cut.
func TestParserAnySplit(t *testing.T) {
	for _, test := range parserTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			check := func(how string, chunks ...string) {
				t.Helper()
				got, err := feed(new(Parser), chunks...)
				if err != nil || !slices.Equal(got, test.want) {
					t.Errorf("%s: got %q, %v; want %q", how, got, err, test.want)
				}
			}
			in := test.input
			check("whole", in)
			check("bytes", bytewise(in)...)
			for i := range len(in) {
				check(fmt.Sprint("cut at ", i), in[:i], in[i:])
				for j := i; j < len(in) && len(in) < 64; j++ {
					check(fmt.Sprint("cut at ", i, " and ", j), in[:i], in[i:j], "", in[j:])
				}
			}
			var plain []string
			if _, err := feedPlain(new(Parser), &plain, in); err != nil {
				t.Error(err)
			}
			events := slices.DeleteFunc(slices.Clone(test.want), func(s string) bool { return s[0] == '#' })
			if !slices.Equal(plain, events) {
				t.Errorf("without comments: got %q, want %q", plain, events)
			}
		})
	}
}

// "If the field value consists of only ASCII digits, then interpret the field
// value as an integer in base ten, and set the event stream's reconnection time
// to that integer. Otherwise, ignore the field."
func TestParserRetry(t *testing.T) {
	const before = 3 * time.Second
	for value, want := range map[string]time.Duration{
		"retry: 200":                         200 * time.Millisecond,
		"retry:5000":                         5 * time.Second,
		"retry: 0":                           0,
		"retry: 00010":                       10 * time.Millisecond,
		"retry: ":                            before,
		"retry":                              before,
		"retry: -1":                          before,
		"retry: +1":                          before,
		"retry: 1.5":                         before,
		"retry: 1e3":                         before,
		"retry: 1000 ":                       before,
		"retry:  1000":                       before,
		"retry: 1_000":                       before,
		"retry: \u0661":                      before, // a digit, but not an ASCII one
		"Retry: 1000":                        before,
		"retry: 1000ms":                      before,
		"retry: 1\x00":                       before,
		"retry: 0x10":                        before,
		"retry: " + strings.Repeat("9", 400): math.MaxInt64 / time.Millisecond * time.Millisecond,
	} {
		for _, chunks := range [][]string{{value + "\n"}, bytewise(value + "\r\n")} {
			p := &Parser{Retry: before}
			if out, err := feed(p, chunks...); err != nil || out != nil || p.Retry != want {
				t.Errorf("%q: retry %v (%v, %v), want %v", value, p.Retry, out, err, want)
			}
		}
	}
}

// The last event ID string is set when a block ends, by "dispatch the event",
// step 1, and so before and whether or not there is data.
func TestParserLastEventID(t *testing.T) {
	p := &Parser{LastEventID: "0"}
	for _, step := range []struct{ chunk, out, id string }{
		{"data: x\n\n", "message|0|x", "0"},
		{":\n\n", "", "0"},
		{"id: 1\n", "", "0"},
		{"data: x\n", "", "0"},
		{"\n", "message|1|x", "1"},
		{"id: 2\n\n", "", "2"},
		{"id: 3\x00\n\n", "", "2"},
		{"id\n\n", "", ""},
		{"id: 4\ndata: cut off", "", ""},
	} {
		var out []string
		if _, err := feedPlain(p, &out, step.chunk); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(out, ","); got != step.out || p.LastEventID != step.id {
			t.Errorf("%q: got %q and id %q, want %q and %q", step.chunk, got, p.LastEventID, step.out, step.id)
		}
	}
}

func TestParserLimit(t *testing.T) {
	const limit = 20
	fill := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name, input string
		tooBig      bool
	}{
		{"data at the limit", "data: " + fill(20) + "\n\n", false},
		{"data above it", "data: " + fill(21) + "\n\n", true},
		{"data above it without an end", "data: " + fill(21), true},
		{"lines at it, newlines included", "data: " + fill(10) + "\ndata: " + fill(9) + "\n\n", false},
		{"lines above it", "data: " + fill(10) + "\ndata: " + fill(10) + "\n\n", true},
		{"newlines at it", strings.Repeat("data\n", 21) + "\n", false},
		{"newlines above it", strings.Repeat("data\n", 22) + "\n", true},
		{"data, type and id at it", "id: " + fill(5) + "\nevent: " + fill(5) + "\ndata: " + fill(10) + "\n\n", false},
		{"data, type and id above it", "id: " + fill(5) + "\nevent: " + fill(5) + "\ndata: " + fill(11) + "\n\n", true},
		{"type above it", "event: " + fill(21), true},
		{"id above it", "id: " + fill(21), true},
		{"retry above it", "retry: " + strings.Repeat("0", 21), true},
		{"each event has its own", strings.Repeat("event: "+fill(8)+"\ndata: "+fill(12)+"\n\n", 3), false},
		{"blocks without data, too", strings.Repeat("event: "+fill(20)+"\n\nid: "+fill(20)+"\n\n", 3), false},
		{"comments do not count", ":" + fill(1000) + "\ndata: " + fill(20) + "\n\n", false},
		{"unknown fields do not count", fill(1000) + "\nfoo: " + fill(1000) + "\ndata: " + fill(20) + "\n\n", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, chunks := range [][]string{{test.input}, bytewise(test.input)} {
				p := &Parser{MaxEventBytes: limit}
				var out []string
				_, err := feedPlain(p, &out, chunks...)
				e, tooBig := errors.AsType[*TooBigError](err)
				if tooBig != test.tooBig {
					t.Fatalf("got %q, %v", out, err)
				}
				if !tooBig {
					continue
				}
				if e.Limit != limit || out != nil {
					t.Errorf("got %q, %v", out, e)
				}
				// Nothing that follows may pass for an event.
				if _, err := feedPlain(p, &out, "\n\ndata: y\n\n"); err != e || out != nil {
					t.Errorf("afterwards: got %q, %v", out, err)
				}
			}
		})
	}

	if out, err := feed(&Parser{MaxEventBytes: limit}, ":"+fill(10), fill(11)+"\n"); err == nil || out != nil {
		t.Errorf("comment above the limit, to be kept: got %q, %v", out, err)
	} else if want := "sse: event is larger than 20 bytes"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if _, err := feed(&Parser{MaxEventBytes: -1}, "data: "+fill(DefaultMaxEventBytes+1)); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	if _, err := feed(new(Parser), "data: "+fill(DefaultMaxEventBytes)); err != nil {
		t.Errorf("at the default limit: %v", err)
	}
	if _, err := feed(new(Parser), "data: "+fill(DefaultMaxEventBytes+1)); err == nil {
		t.Error("above the default limit: no error")
	}
}

// A 5 MiB image as one line of base64, in the chunks of a network.
func TestParserBigEvent(t *testing.T) {
	data := bytes.Repeat([]byte("iVBORw0KGgoA"), 5<<20/12)
	stream, err := Append(nil, "1", "", append([]byte("data:image/png;base64,"), data...))
	if err != nil {
		t.Fatal(err)
	}
	for limit, fits := range map[int]bool{8 << 20: true, 4 << 20: false} {
		p := &Parser{MaxEventBytes: limit}
		var got []byte
		var gotErr error
		for chunk := range slices.Chunk(stream, 1500) {
			for event, err := range p.Feed(chunk) {
				got, gotErr = bytes.Clone(event.Data), err
			}
			if gotErr != nil {
				break
			}
		}
		switch _, tooBig := errors.AsType[*TooBigError](gotErr); {
		case fits && !bytes.Equal(got, append([]byte("data:image/png;base64,"), data...)):
			t.Errorf("limit %d: %d bytes of data, %v", limit, len(got), gotErr)
		case !fits && (!tooBig || got != nil):
			t.Errorf("limit %d: %d bytes of data, %v", limit, len(got), gotErr)
		}
		if most := 2 * limit; cap(p.data) > most || fits && cap(p.data) > keptBytes {
			t.Errorf("limit %d: %d bytes held afterwards", limit, cap(p.data))
		}
	}
}

// Leaving the loop leaves the parser at an event's end.
func TestParserLeftLoop(t *testing.T) {
	p := new(Parser)
	for event, err := range p.Feed([]byte("event: a\nid: 1\ndata: x\n\ndata: lost\n\n")) {
		if err != nil || string(event.Data) != "x" {
			t.Fatal(event, err)
		}
		break
	}
	got, err := feed(p, "data: y\n\n")
	if want := []string{"message|1|y"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestParserDoesNotAllocate(t *testing.T) {
	p := new(Parser)
	block := []byte("event: order\ndata: {\"n\":1}\n\n: ping\n\n")
	if n := testing.AllocsPerRun(100, func() {
		for _, err := range p.Feed(block) {
			if err != nil {
				t.Error(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for an event of a known type without a new id", n)
	}
}

func BenchmarkParser(b *testing.B) {
	for name, data := range map[string]string{
		"128B":     strings.Repeat("x", 128),
		"16KiB":    strings.Repeat("x", 16<<10),
		"50 lines": strings.Repeat(strings.Repeat("x", 36)+"\n", 50),
	} {
		b.Run(name, func(b *testing.B) {
			stream, err := Append(nil, "0123456789-42", "order", data)
			if err != nil {
				b.Fatal(err)
			}
			p := new(Parser)
			b.ReportAllocs()
			b.SetBytes(int64(len(stream)))
			for b.Loop() {
				for _, err := range p.Feed(stream) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
