package topic

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// exampleID is in base 36: "abc-7".
var exampleID = ID{Epoch: 10*36*36 + 11*36 + 12, Seq: 7}

func example(d Draft) *Event {
	e := NewEvent(exampleID, "a/b", d, noon)
	return &e
}

// PROTOCOL.md §3.4.
func TestAppendJSON(t *testing.T) {
	tests := []struct {
		name  string
		draft Draft
		want  string // what stands between the topic and the time
	}{
		{"text", Draft{Data: []byte("hello"), Media: "text/plain"}, `"data":"hello"`},
		{"no media", Draft{Data: []byte("hello")}, `"data":"hello"`},
		{"nothing", Draft{Media: "text/plain"}, `"data":""`},
		{"type", Draft{Type: "paid", Data: []byte("x")}, `"event":"paid","data":"x"`},
		{"hostile type", Draft{Type: "a\"\\\t\u2028", Data: []byte("x")}, `"event":"a\"\\\t\u2028","data":"x"`},

		{"parameters", Draft{Media: "Text/Plain; charset=utf-8", Data: []byte("x")}, `"data":"x"`},
		{"form", Draft{Media: "application/x-www-form-urlencoded", Data: []byte("a=b")}, `"data":"a=b"`},
		{"multipart", Draft{Media: "multipart/form-data; boundary=x", Data: []byte("--x--")}, `"data":"--x--"`},
		{"other text", Draft{Media: "text/html; charset=utf-8", Data: []byte("<p>")}, `"media":"text/html; charset=utf-8","data":"<p>"`},
		{"xml", Draft{Media: "image/svg+xml", Data: []byte("<svg/>")}, `"media":"image/svg+xml","data":"<svg/>"`},
		{"hostile media", Draft{Media: "text/\"\r\n\xff", Data: []byte("x")}, `"media":"text/\"\r\n\ufffd","data":"x"`},

		{"escapes", Draft{Data: []byte("\"\\/\b\f\n\r\t\x00\x1f\x7f")}, `"data":"\"\\/\u0008\u000c\n\r\t\u0000\u001f\u007f"`},
		{"line ends", Draft{Data: []byte("\u0080\u0085\u009f\u00a0\u2027\u2028\u2029\u202a")}, `"data":"\u0080\u0085\u009f` + "\u00a0\u2027" + `\u2028\u2029` + "\u202a" + `"`},
		{"unicode", Draft{Data: []byte("aü日\U0001f600\ufffd\uffff")}, `"data":"` + "aü日\U0001f600\ufffd\uffff" + `"`},
		{"not UTF-8", Draft{Data: []byte("a\xffb\xed\xa0\x80\xc3")}, `"data":"a\ufffdb\ufffd\ufffd\ufffd\ufffd"`},
		{"script", Draft{Data: []byte("</script>")}, `"data":"</script>"`},

		{"json", Draft{Kind: JSON, Media: "application/json", Data: []byte(`{"a":[1,"x"]}`)}, `"data":{"a":[1,"x"]}`},
		{"json on lines", Draft{Kind: JSON, Media: "application/json; charset=utf-8", Data: []byte("\r\n{\r\n\t\"a\":\n1}\n")}, "\"data\":  {  \t\"a\": 1} "},
		{"json null", Draft{Kind: JSON, Media: "application/json", Data: []byte(`null`)}, `"data":null`},
		{"json string", Draft{Kind: JSON, Media: "application/json", Data: []byte(`"x"`)}, `"media":"application/json","data":"x"`},
		{"json string after space", Draft{Kind: JSON, Media: "application/json;v=1", Data: []byte("\n\"\\u0041\"")}, `"media":"application/json;v=1","data": "\u0041"`},
		{"json string of no media", Draft{Kind: JSON, Data: []byte(`"x"`)}, `"media":"application/json","data":"x"`},
		{"other json", Draft{Kind: JSON, Media: "application/ld+json", Data: []byte(`{}`)}, `"media":"application/ld+json","data":{}`},
		{"other json string", Draft{Kind: JSON, Media: "application/ld+json", Data: []byte(`"x"`)}, `"media":"application/ld+json","data":"x"`},
		{"text that says json", Draft{Media: "application/ld+json", Data: []byte(`x`)}, `"data":"x"`},

		{"binary", Draft{Kind: Binary, Media: "image/png", Data: []byte{0, 1, 0xff}}, `"media":"image/png","data":"data:image/png;base64,AAH/","binary":true`},
		{"binary of no media", Draft{Kind: Binary, Data: []byte{0xff}}, `"data":"data:application/octet-stream;base64,/w==","binary":true`},
		{"binary text", Draft{Kind: Binary, Media: "text/plain; charset=latin1", Data: []byte{0xff}}, `"data":"data:text/plain;charset=latin1;base64,/w==","binary":true`},
		{"binary nothing", Draft{Kind: Binary, Media: "image/png"}, `"media":"image/png","data":"data:image/png;base64,","binary":true`},
	}
	for _, test := range tests {
		got := string(AppendJSON([]byte("dst"), example(test.draft)))
		want := `dst{"id":"abc-7","topic":"a/b",` + test.want + `,"time":"2026-08-01T12:00:00Z"}`
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, want)
		}
		if !json.Valid([]byte(got[3:])) {
			t.Errorf("%s: not JSON", test.name)
		}
	}
}

func TestAppendJSONTime(t *testing.T) {
	e := NewEvent(exampleID, "t", Draft{}, time.Date(2026, 8, 1, 14, 0, 0, 123456789, time.FixedZone("", 2*60*60)))
	want := `{"id":"abc-7","topic":"t","data":"","time":"2026-08-01T12:00:00.123456789Z"}`
	if got := string(AppendJSON(nil, &e)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// PROTOCOL.md §6.1: they have the form of events.
func TestAppendSignalJSON(t *testing.T) {
	for _, test := range []struct {
		signal Signal
		want   string
	}{
		{
			Signal{Type: TypePing, Cursor: Cursor{ID: exampleID}, Data: []byte(`{"interval":25}`)},
			`{"id":"abc-7","event":"$ping","data":{"interval":25}}`,
		}, {
			Signal{Type: TypeGap, Cursor: Cursor{ID: exampleID, Told: 9}, Data: []byte(`{"after":""}`)},
			`{"id":"abc-7-9","event":"$gap","data":{"after":""}}`,
		}, {
			Signal{Type: TypePing, Data: []byte("{\n}")},
			`{"event":"$ping","data":{ }}`,
		},
	} {
		if got := string(AppendSignalJSON([]byte("dst"), test.signal)); got != "dst"+test.want {
			t.Errorf("got %s, want dst%s", got, test.want)
		}
	}
}

// RFC 2397 §2: data:[<mediatype>][;base64],<data>
func TestAppendDataURL(t *testing.T) {
	for _, test := range []struct{ media, want string }{
		{"", "application/octet-stream"},
		{"image/png", "image/png"},
		{"image/svg+xml", "image/svg+xml"},
		{"application/vnd.a-b_c!$*~", "application/vnd.a-b_c!$*~"},
		{"text/plain; \tcharset=utf-8 ; a=b", "text/plain;charset=utf-8;a=b"},
		// §3: "parameter values should use the URL Escaped encoding".
		{`multipart/mixed; boundary="a, b" ; c=d`, "multipart/mixed;boundary=%22a%2C%20b%22;c=d"},
		{`a/b; c="\" d"`, "a/b;c=%22%5C%22%20d%22"},
		{`a/b;c="<&'>#%"`, "a/b;c=%22%3C%26%27%3E%23%25%22"},
		{"a/\r\n\x00\xff", "a/%0D%0A%00%FF"},
	} {
		got := string(AppendDataURL([]byte("dst"), test.media, []byte("\xfb\xff")))
		if want := "dstdata:" + test.want + ";base64,+/8="; got != want {
			t.Errorf("%q: got %s, want %s", test.media, got, want)
		}
	}
}

func TestQuoteJSON(t *testing.T) {
	for i := range rune(0x3000) {
		s := "a" + string(i) + "b"
		got := quoteJSON(s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != s {
			t.Fatalf("%q became %s: %q, %v", s, got, back, err)
		}
		if bytes.ContainsAny(got[1:len(got)-1], "\x7f\u0085\u2028\u2029") {
			t.Fatalf("%q became %q", s, got)
		}
	}
}

func TestAppendJSONWithoutAllocation(t *testing.T) {
	dst := make([]byte, 0, 1024)
	for _, d := range []Draft{
		{Type: "paid", Media: "application/json; charset=utf-8", Kind: JSON, Data: []byte("{\n\"a\": [1, 2]}")},
		{Media: "application/json", Kind: JSON, Data: []byte(`"a"`)},
		{Media: "text/html; charset=utf-8", Data: []byte("a\n\"ü\u2028\"")},
		{Media: "image/png", Kind: Binary, Data: []byte("\xff\x00")},
		{Media: `multipart/mixed; boundary="a b"`, Kind: Binary, Data: []byte("\xff\x00")},
	} {
		e := example(d)
		if n := testing.AllocsPerRun(100, func() { dst = AppendJSON(dst[:0], e) }); n != 0 {
			t.Errorf("%s: %v allocations", dst, n)
		}
		// From nothing, dst grows once (which under the race detector are two).
		if n := testing.AllocsPerRun(100, func() { dst = AppendJSON(nil, e) }); n > 2 {
			t.Errorf("%s: %v allocations from nil", dst, n)
		}
		dst = make([]byte, 0, 1024)
	}
	s := Signal{Type: TypePing, Cursor: Cursor{ID: exampleID}, Data: []byte(`{"interval":25}`)}
	if n := testing.AllocsPerRun(100, func() { dst = AppendSignalJSON(dst[:0], s) }); n != 0 {
		t.Errorf("%s: %v allocations", dst, n)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	const object = `{"order":42,"state":"paid","sum":{"amount":12.5,"currency":"EUR"}}`
	const text = "Order 42 was paid: 12.50 EUR, from a customer in Vienna, by card."
	dst := make([]byte, 0, 4096)
	for _, bench := range []struct {
		name  string
		draft Draft
	}{
		{"json", Draft{Type: "paid", Media: mediaJSON, Kind: JSON, Data: []byte(object)}},
		{"text", Draft{Type: "paid", Media: "text/plain", Data: []byte(text)}},
		{"utf8", Draft{Type: "paid", Media: "text/plain", Data: []byte(strings.Repeat("日本", 11))}},
		{"binary", Draft{Type: "paid", Media: "image/png", Kind: Binary, Data: []byte(text)}},
	} {
		e := NewEvent(ID{Epoch: 1 << 40, Seq: 123456}, "orders/eu/42", bench.draft, noon.Add(123456789))
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendJSON(dst[:0], &e)
			}
			b.SetBytes(int64(len(dst)))
		})
	}
}
