package view

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

var (
	tag    = regexp.MustCompile(`<[/!]?[A-Za-z]+`)
	script = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	style  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
)

// PROTOCOL.md §5.11: "It shows events as text and never as markup": whatever is
// published, the page has the elements that it has with harmless events.
func TestPageIsInert(t *testing.T) {
	const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}</pre></textarea><!--`
	get := func(segment, typ, data, media string) *httptest.ResponseRecorder {
		h := openHandler(t, nil, nil)
		path := "/topics/" + url.PathEscape(segment) + "/x"
		w := ask(h, "POST", path+"?event="+url.QueryEscape(typ), data, "Content-Type: "+media)
		if w.Code != 201 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		w = ask(h, "GET", path, "", "Accept: text/html")
		list := ask(h, "GET", "/topics", "", "Accept: text/html")
		w.Body.WriteString(list.Body.String())
		return w
	}
	evilName := strings.ReplaceAll(evil, "/", "|")
	for _, media := range []string{"text/plain", "text/html", "application/octet-stream", `image/png;x="` + `'><script>alert(1)"`} {
		harmless, hostile := get("name", "type", "data", media), get(evilName, evil, evil, media)
		got, want := tag.FindAllString(outside(hostile.Body.String()), -1), tag.FindAllString(outside(harmless.Body.String()), -1)
		if !slices.Equal(got, want) {
			t.Errorf("%s: elements %q, want %q", media, got, want)
		}
		if body := hostile.Body.String(); media == "text/html" && (!strings.Contains(body, html.EscapeString("<img src=x")) || strings.Contains(body, "<img src=x")) {
			t.Errorf("%s: %s", media, body)
		}
	}
}

// outside is a page without its own script and style.
func outside(page string) string {
	return style.ReplaceAllString(script.ReplaceAllString(page, "<script></script>"), "<style></style>")
}

// "its Content-Security-Policy lets it load from this server only": the hashes
// are those of what is sent, and nothing else is inline.
func TestPagePolicy(t *testing.T) {
	h := openHandler(t, nil, nil)
	ask(h, "POST", "/topics/a/b", "x")
	for _, path := range []string{"/topics", "/topics/a/b", "/topics/a/*", "/topics?topic=a&topic=b/c"} {
		w := ask(h, "GET", path, "", "Accept: text/html")
		body, header := w.Body.String(), w.Header()
		if w.Code != 200 || header.Get("Content-Type") != "text/html; charset=utf-8" || header.Get("Content-Length") != strconv.Itoa(len(body)) ||
			header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Vary") == "" {
			t.Errorf("%s: %d %v with %d bytes", path, w.Code, header, len(body))
		}
		policy := make(map[string]string)
		for directive := range strings.SplitSeq(header.Get("Content-Security-Policy"), "; ") {
			name, value, _ := strings.Cut(directive, " ")
			policy[name] = value
		}
		for name, want := range map[string]string{"default-src": "'none'", "connect-src": "'self'", "base-uri": "'none'", "form-action": "'self'", "frame-ancestors": "'none'", "img-src": "data:"} {
			if policy[name] != want {
				t.Errorf("%s: %s %s, want %s", path, name, policy[name], want)
			}
		}
		for name, inline := range map[string][][]string{"script-src": script.FindAllStringSubmatch(body, -1), "style-src": style.FindAllStringSubmatch(body, -1)} {
			for _, match := range inline {
				sum := sha256.Sum256([]byte(match[1]))
				if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; policy[name] != want {
					t.Errorf("%s: %s %s, want %s", path, name, policy[name], want)
				}
			}
			if name == "style-src" && len(inline) != 1 || len(inline) > 1 {
				t.Errorf("%s: %d inline for %s", path, len(inline), name)
			}
		}
		if inline := regexp.MustCompile(`\s(on\w+|style)=`).FindString(outside(body)); inline != "" {
			t.Errorf("%s: has %q, which the policy forbids", path, inline)
		}
	}
}

// The page begins with the newest events, newest first, and goes on live from
// its cursor.
func TestPageOfTopic(t *testing.T) {
	h := openHandler(t, nil, nil)
	for i := range 60 {
		ask(h, "POST", "/topics/a%20b/c?event=e", fmt.Sprint("data ", i))
	}
	ask(h, "POST", "/topics/other", "x")
	w := ask(h, "GET", "/topics/a%20b/c", "", "Accept: text/html")
	body := w.Body.String()
	var shown []string
	for _, match := range regexp.MustCompile(`<pre>(data \d+)</pre>`).FindAllStringSubmatch(body, -1) {
		shown = append(shown, match[1])
	}
	if len(shown) != 50 || shown[0] != "data 59" || shown[49] != "data 10" {
		t.Errorf("shows %q", shown)
	}
	if want := `data-url="/topics/a%20b/c" data-topic="a b/c" data-cursor="` + h.id(60) + `"`; !strings.Contains(body, want) {
		t.Errorf("no %s in %s", want, body)
	}
	for path, want := range map[string]string{
		"/topics/a%20b/*":                          `data-url="/topics/a%20b/*" data-topic="" data-cursor="` + h.id(60) + `"`,
		"/topics?topic=x%26y&topic=**":             `data-url="/topics?topic=x%26y&amp;topic=%2A%2A" data-topic="" data-cursor="` + h.id(61) + `"`,
		"/topics/none":                             `data-url="/topics/none" data-topic="none" data-cursor="` + h.id(61) + `"`,
		"/topics/a%20b/c?limit=1&after=" + h.id(3): `data-cursor="` + h.id(4) + `"`,
	} {
		if body := ask(h, "GET", path, "", "Accept: text/html").Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s: no %s", path, want)
		}
	}
	if body := ask(h, "GET", "/topics/a%20b/*", "", "Accept: text/html").Body.String(); !strings.Contains(body, `<form id="publish" hidden>`) {
		t.Error("a pattern can be published to")
	}
	ask(h, "POST", "/topics/picture", "\x89PNG", "Content-Type: image/png")
	if body := ask(h, "GET", "/topics/picture", "", "Accept: text/html").Body.String(); !strings.Contains(body, `<img alt="" src="data:image/png;base64,iVBORw==">`) {
		t.Errorf("no picture in %s", body)
	}
}

// The commands that the page shows are copied into shells: no name of a topic
// gets out of its quotation marks.
func TestPageCommands(t *testing.T) {
	h := openHandler(t, nil, nil)
	for _, name := range []string{"a&reboot&", "$IFS`x`$(x)", "it's", `"'"`, "a;b|c>d", "x\\'y", "!!"} {
		w := ask(h, "GET", "/topics/"+url.PathEscape(name), "", "Accept: text/html")
		_, footer, _ := strings.Cut(w.Body.String(), "<footer>")
		lines := regexp.MustCompile(`(?m)(curl.*)$`).FindAllString(html.UnescapeString(footer), -1)
		if len(lines) != 3 {
			t.Errorf("%q: %q", name, lines)
		}
		for _, line := range lines {
			if !regexp.MustCompile(`^curl( -N)? 'http://example.com/topics/[^'\\]*'( -d 'hello')?( -H '[^']*')?(</pre>)?$`).MatchString(line) {
				t.Errorf("%q: %s", name, line)
			}
		}
	}
}

// The list for people leaves out what the list for programs does.
func TestPageOfTopics(t *testing.T) {
	h := openHandler(t, nil, nil)
	if body := ask(h, "GET", "/topics", "", "Accept: text/html").Body.String(); !strings.Contains(body, "No topic has events yet") {
		t.Errorf("got %s", body)
	}
	for _, name := range []string{"a%20&", "b", "c%3F%23%2541"} {
		ask(h, "POST", "/topics/"+name, "x")
	}
	ask(h, "DELETE", "/topics/d", "")
	if _, err := h.hub.Log().Append(t.Context(), "$sys", []topic.Draft{{}}, topic.Key{}); err != nil {
		t.Fatal(err)
	}
	list := func(query string) (names []string, next string) {
		body := ask(h, "GET", "/topics"+query, "", "Accept: text/html").Body.String()
		for _, match := range regexp.MustCompile(`<td><a href="(.*?)">(.*?)</a>( <i>ended</i>)?`).FindAllStringSubmatch(body, -1) {
			names = append(names, html.UnescapeString(match[1])+" "+html.UnescapeString(match[2])+match[3])
		}
		if match := regexp.MustCompile(`<a href="(.*?)">more</a>`).FindStringSubmatch(body); match != nil {
			next = strings.TrimPrefix(html.UnescapeString(match[1]), "/topics")
		}
		return names, next
	}
	all := []string{"/topics/a%20& a &", "/topics/b b", "/topics/c%3F%23%2541 c?#%41", "/topics/d d <i>ended</i>"}
	if got, next := list(""); !slices.Equal(got, all) || next != "" {
		t.Errorf("got %q, next %q", got, next)
	}
	var got []string
	next := "?limit=1"
	for range 4 {
		var names []string
		names, next = list(next)
		got = append(got, names...)
	}
	if !slices.Equal(got, all) || next != "" {
		t.Errorf("page by page: %q, next %q", got, next)
	}
}
