package view

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PROTOCOL.md §5.20.
func TestIframe(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		a := s.get("/topics/a?as=iframe&callback=app.receive")
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
		} {
			if got := a.Header.Get(name); a.StatusCode != 200 || got != want {
				t.Errorf("%d, %s: %q, want %q", a.StatusCode, name, got, want)
			}
		}
		if got := a.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || !strings.Contains(got, "frame-ancestors 'self'") {
			t.Error(got)
		}
		head := a.take()
		first := "<script>e('" + s.withIDs(`{"id":"0","event":"$ping","data":{"interval":25}}`) + "')</script>\n"
		if !strings.Contains(head, "parent.app.receive(event)") || strings.Contains(head, "CALLBACK") || strings.Contains(head, "RETRY") || !strings.HasSuffix(head, first) {
			t.Errorf("begins with\n%s", head)
		}
		if len(head)-len(first) < iframePadding {
			t.Errorf("a browser waits for more than %d bytes", len(head))
		}
		s.publish("a", `'</script><script>alert("1")</script><!--`)
		s.end("a")
		want := s.withIDs(`<script>e('{"id":"1","topic":"a","data":"\x27\x3c/script\x3e\x3cscript\x3ealert(\\"1\\")\x3c/script\x3e\x3c!--","time":"2000-01-01T00:00:00Z"}')</script>
<script>z('{"id":"2","event":"$end","data":{"topic":"a"}}')</script>
`)
		if got := a.all(); got != want || a.err != nil {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if again := s.get("/topics/a?as=iframe"); again.StatusCode != 204 {
			t.Errorf("after the end: %d", again.StatusCode)
		}
		for _, other := range []string{"?topic=a&topic=b", "/b/*"} {
			a := s.get("/topics" + strings.Replace(other+"&as=iframe", "*&", "*?", 1))
			s.end("b/" + strconv.Itoa(len(other)))
			time.Sleep(time.Second)
			if got := a.take(); strings.Contains(got, "\n<script>z(") || !strings.Contains(got, "parent.duplex(event)") {
				t.Errorf("%s: %s", other, got)
			}
			a.leave()
		}
	})
}

// The name of a function can be nothing else.
func TestIframeCallback(t *testing.T) {
	h := openHandler(t, nil, nil)
	for _, callback := range []string{
		"", ".", "a.", ".a", "a..b", "1a", "a(b)", "a;b", "a b", "a-b", "a[0]", "a'", `a"`, "a<b", "a/*", "a\n", "ä", "a\u2028", "a,b", "a=b", "a`b`", strings.Repeat("a", maxCallback+1),
	} {
		w := ask(h, "GET", "/topics/a?as=iframe&callback="+strings.NewReplacer(" ", "%20", "\n", "%0A", ";", "%3B", "\"", "%22", "<", "%3C", "`", "%60").Replace(callback), "")
		if got := problemName(t, w); got != "bad-parameter" {
			t.Errorf("%q: %d %s", callback, w.Code, w.Body)
		}
	}
	for _, callback := range []string{"a", "$", "_a.b$1.C", strings.Repeat("a", maxCallback)} {
		if !isFunction(callback) {
			t.Errorf("%q is refused", callback)
		}
	}
}

// FuzzCall: whatever the data, it is one string in a script.
func FuzzCall(f *testing.F) {
	for _, text := range []string{"", `\`, `'`, "</script>", "<!--<script>", "]]>", "\u2028\u2029", "&lt;", `\u003c`, "ä🦫"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		call := string(appendCall(nil, "e", encoded))
		inner, ok := strings.CutPrefix(call, "<script>e('")
		inner, ok2 := strings.CutSuffix(inner, "')</script>\n")
		if !ok || !ok2 || strings.ContainsAny(inner, "<>&'\n\r\u2028\u2029") {
			t.Fatalf("%q", call)
		}
		// As JavaScript reads it.
		var plain strings.Builder
		for i := 0; i < len(inner); i++ {
			if inner[i] != '\\' {
				plain.WriteByte(inner[i])
				continue
			}
			i++
			switch inner[i] {
			case '\\':
				plain.WriteByte('\\')
			case 'x', 'u':
				n := map[byte]int{'x': 2, 'u': 4}[inner[i]]
				code, err := strconv.ParseUint(inner[i+1:i+1+n], 16, 32)
				if err != nil {
					t.Fatalf("%q: %v", call, err)
				}
				plain.WriteRune(rune(code))
				i += n
			default:
				t.Fatalf("%q: \\%c", call, inner[i])
			}
		}
		if plain.String() != string(encoded) {
			t.Fatalf("%q is %q, want %q", call, plain.String(), encoded)
		}
	})
}
