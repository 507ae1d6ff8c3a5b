package view

import (
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// PROTOCOL.md §2.4. want is the pattern, "" for the topics, or the problem.
func TestTarget(t *testing.T) {
	tests := []struct{ path, want string }{
		{"/topics", ""},
		{"/topics?topic=a", ""},
		{"/topics/a", "a"},
		{"/topics/orders/eu/42", "orders/eu/42"},
		{"/topics/a%20b", "a b"},
		{"/topics/%61", "a"},
		{"/topics/caf%C3%A9", "café"},
		{"/topics/%2561", "%61"}, // decoded once
		{"/topics/$sys/a", "$sys/a"},
		{"/topics/topics", "topics"},
		// "; and + in the path stand for themselves. * may be written as it is
		// or as %2A."
		{"/topics/a;b+c", "a;b+c"},
		{"/topics/*/42", "*/42"},
		{"/topics/%2A/42", "*/42"},
		{"/topics/a/**", "a/**"},
		{"/topics/a/%2a%2A", "a/**"},

		{"/", "not-found"},
		{"/topic", "not-found"},
		{"/topicsa", "not-found"},
		{"/Topics/a", "not-found"},
		{"//topics/a", "not-found"},
		{"/x/topics/a", "not-found"},
		{"/x/../topics/a", "not-found"},
		{"/topics%2Fa", "not-found"},

		// "The result must be UTF-8 and obey §2.1 and §2.2."
		{"/topics/", "bad-topic"},
		{"/topics//a", "bad-topic"},
		{"/topics/a/", "bad-topic"},
		{"/topics/a//b", "bad-topic"},
		{"/topics/%FF", "bad-topic"},
		{"/topics/a%00", "bad-topic"},
		{"/topics/a%0Ab", "bad-topic"},
		{"/topics/" + strings.Repeat("a", 255), strings.Repeat("a", 255)},
		{"/topics/" + strings.Repeat("a", 256), "bad-topic"},
		// "An encoded slash is 400 bad-topic"
		{"/topics/a%2Fb", "bad-topic"},
		{"/topics/a%2fb", "bad-topic"},
		{"/topics/a%2F*b", "bad-topic"},
		{"/topics/\xc3\xa9/a%2Fb", "bad-topic"}, // even if all must be escaped anew
		{`/topics/"/a%2Fb`, "bad-topic"},
		{"/topics/\xc3\xa9", "é"},
		// "The segments . and .., encoded or not, are 400 bad-topic."
		{"/topics/.", "bad-topic"},
		{"/topics/..", "bad-topic"},
		{"/topics/../topics/a", "bad-topic"},
		{"/topics/a/%2E%2e", "bad-topic"},
		{"/topics/a/./b", "bad-topic"},
		{"/topics/...", "..."},
		// §2.2
		{"/topics/a*", "bad-pattern"},
		{"/topics/**/a", "bad-pattern"},
		{"/topics/***", "bad-pattern"},
	}
	h := openHandler(t, nil, nil)
	for _, test := range tests {
		u, err := url.ParseRequestURI(test.path)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = u
		target, problem := h.target(r)
		got := target.pattern.String()
		if problem != nil {
			got = problem.Type
		}
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.path, got, test.want)
		}
		if isTopic := problem == nil && test.want != ""; isTopic != target.isTopic() {
			t.Errorf("%q: isTopic is %v", test.path, target.isTopic())
		}
	}
}

// A middleware that changes URL.Path alone has the last word.
func TestTargetOfChangedPath(t *testing.T) {
	h := openHandler(t, nil, nil)
	r := httptest.NewRequest("GET", "/a%2Fb", nil)
	r.URL.Path = "/topics/c"
	if target, problem := h.target(r); problem != nil || target.pattern.String() != "c" {
		t.Errorf("got %v, %v", target, problem)
	}
}

func TestPrefix(t *testing.T) {
	h := openHandler(t, &Options{Prefix: "/api/v1"}, nil)
	for path, want := range map[string]string{"/api/v1": "OK", "/api/v1?limit=x": "bad-parameter", "/topics": "not-found", "/api/v1/a//b": "bad-topic"} {
		if got := outcome(t, ask(h, "GET", path, "")); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// read parses a GET and fails if that is a problem.
func read(t *testing.T, h *Handler, url string, fields ...string) *reading {
	t.Helper()
	rd, problem := tryRead(t, h, "GET", url, nil, fields...)
	if problem != nil {
		t.Fatalf("%s: %v", url, problem)
	}
	return rd
}

func tryRead(t *testing.T, h *Handler, method, url string, body url.Values, fields ...string) (*reading, *Problem) {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	setFields(r, fields)
	target, problem := h.target(r)
	if problem != nil {
		t.Fatalf("%s: %v", url, problem)
	}
	return h.parseReading(r, target, body)
}

func TestReading(t *testing.T) {
	h := openHandler(t, nil, nil)
	rd := read(t, h, "/topics/a/*")
	if rd.transport != asPoll || rd.limit != 100 || rd.wait != 0 || rd.envelope || !rd.topicPath || rd.after != "" || rd.lastEventID != "" {
		t.Errorf("defaults: %+v", rd)
	}
	if got := names(rd); got != "a/*" || rd.oneTopic() {
		t.Errorf("a pattern: %s, one topic is %v", got, rd.oneTopic())
	}

	rd = read(t, h, "/topics/a/b?after=x-1&limit=7&wait=3&envelope", "Last-Event-ID: y-2", "Accept: application/json")
	if rd.transport != asLongpoll || rd.limit != 7 || rd.wait != 3*time.Second || !rd.envelope || rd.after != "x-1" || rd.lastEventID != "y-2" || !rd.oneTopic() {
		t.Errorf("all: %+v", rd)
	}

	// PROTOCOL.md §2.5: "The same one twice counts once."
	rd = read(t, h, "/topics?topic=a/b&topic=c/**&topic=a%2Fb&as=sse")
	if got := names(rd); got != "a/b c/**" || rd.topicPath || rd.oneTopic() || rd.transport != asSSE {
		t.Errorf("several topics: %s, %+v", got, rd)
	}
	if rd := read(t, h, "/topics?topic=$sys/a"); !rd.oneTopic() {
		t.Error("one topic in the query is not one topic")
	}
	if rd := read(t, h, "/topics?from=a/b&limit=5"); len(rd.patterns) != 0 || rd.from != "a/b" || rd.limit != 5 || rd.oneTopic() {
		t.Errorf("list: %+v", rd)
	}

	// §1.4: "Unknown parameters are ignored. Of a repeated one, the first
	// counts".
	if rd := read(t, h, "/topics/a?limit=3&limit=x&after=b-1&after=c-2&color=red"); rd.limit != 3 || rd.after != "b-1" {
		t.Errorf("repeated: %+v", rd)
	}

	sel := rd.selection(topic.Start{Asked: "x"})
	if len(sel.Patterns) != 2 || sel.Start.Asked != "x" {
		t.Errorf("selection: %+v", sel)
	}
}

func names(rd *reading) string {
	var list []string
	for _, p := range rd.patterns {
		list = append(list, p.String())
	}
	return strings.Join(list, " ")
}

// PROTOCOL.md §5.3: "limit=N [...]: an integer, default 100, clamped to
// 1-1,000."
func TestLimit(t *testing.T) {
	h := openHandler(t, nil, nil)
	for text, want := range map[string]int{
		"1": 1, "100": 100, "1000": 1000, "007": 7,
		"0": 1, "-0": 1, "-5": 1, "-99999999999999999999": 1, "1001": 1000, "99999999999999999999": 1000,
	} {
		if rd := read(t, h, "/topics/a?limit="+text); rd.limit != want {
			t.Errorf("limit=%s: got %d, want %d", text, rd.limit, want)
		}
	}
	for _, text := range []string{"", "x", "1.5", "1e2", "0x10", "1_000", "%2B5", "+5", "5+", "٣", "--5", "-"} {
		if _, problem := tryRead(t, h, "GET", "/topics/a?limit="+text, nil); problem == nil || problem.Type != "bad-parameter" {
			t.Errorf("limit=%s: got %v", text, problem)
		}
	}
}

// PROTOCOL.md §1.4: "Flags count when they are there with no value, 1 or true.
// Any other value is 400."
func TestFlag(t *testing.T) {
	for text, want := range map[string]string{
		"": "false", "flag": "true", "flag=": "true", "flag=1": "true", "flag=true": "true", "flag=1&flag=0": "true",
		"flag=0": "bad-parameter", "flag=false": "bad-parameter", "flag=TRUE": "bad-parameter", "flag=yes": "bad-parameter",
	} {
		query, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		on, problem := flag(query, "flag")
		got := strconv.FormatBool(on)
		if problem != nil {
			got = problem.Type
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestReadingProblems(t *testing.T) {
	h := openHandler(t, &Options{MaxSubscriptions: 2}, nil)
	tests := []struct{ url, want string }{
		{"/topics?topic=", "bad-topic"},
		{"/topics?topic", "bad-topic"},
		{"/topics?topic=a&topic=b//c", "bad-topic"},
		{"/topics?topic=a*b", "bad-pattern"},
		{"/topics?topic=a&topic=b&topic=a&topic=b", ""},
		{"/topics?topic=a&topic=b&topic=c", "too-many-subscriptions"},
		{"/topics/a?topic=b", "bad-parameter"},
		{"/topics/a?topic=a", "bad-parameter"},
		{"/topics/a?envelope=no", "bad-parameter"},
		{"/topics/a?as=tv", "bad-parameter"},
		{"/topics/a?wait=x", "bad-parameter"},
		{"/topics/a?after=x;limit=5", "bad-parameter"}, // "A query that cannot be decoded"
		{"/topics/a?after=%zz", "bad-parameter"},
	}
	for _, test := range tests {
		got := ""
		_, problem := tryRead(t, h, "GET", test.url, nil)
		if problem != nil {
			got = problem.Type
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.url, got, test.want)
		}
	}
}

// PROTOCOL.md §5.14: HEAD is "answered as a poll without body, whatever Accept
// says". Parameters count as ever.
func TestReadingOfHead(t *testing.T) {
	h := openHandler(t, nil, nil)
	for _, url := range []string{"/topics/a", "/topics/a?as=sse", "/topics/a?as=websocket", "/topics", "/topics?as=sse"} {
		if _, problem := tryRead(t, h, "HEAD", url, nil, "Accept: image/png"); problem != nil {
			t.Errorf("%s: %v", url, problem)
		}
	}
	for _, url := range []string{"/topics/a?limit=x", "/topics/a?as=x", "/topics/a?topic=b"} {
		if _, problem := tryRead(t, h, "HEAD", url, nil); problem == nil || problem.Type != "bad-parameter" {
			t.Errorf("%s: %v", url, problem)
		}
	}
}

// "A handshake on GET wins over as." and "Upgrade to anything else, or on
// other methods, is ignored."
func TestReadingOfHandshake(t *testing.T) {
	h := openHandler(t, nil, nil)
	tests := []struct {
		method, url, upgrade string
		want                 transport
	}{
		{"GET", "/topics/a", "websocket", asWebSocket},
		{"GET", "/topics", "websocket", asWebSocket},
		{"GET", "/topics/a?as=sse", "websocket", asWebSocket},
		{"GET", "/topics/a?as=tv", "websocket", asWebSocket},
		{"GET", "/topics/a?as=sse", "h2c", asSSE},
		{"GET", "/topics/a", "h2c", asPoll},
		{"GET", "/topics", "h2c", asPoll},
		{"QUERY", "/topics/a?as=sse", "websocket", asSSE},
	}
	for _, test := range tests {
		rd, problem := tryRead(t, h, test.method, test.url, nil, "Upgrade: "+test.upgrade)
		if problem != nil || rd.transport != test.want {
			t.Errorf("%s %s Upgrade: %s: got %+v, %v", test.method, test.url, test.upgrade, rd, problem)
		}
	}
}

// PROTOCOL.md §5.13: "Query parameters count too: topics add up, of the others
// the body's wins. No topic at all is 400 bad-parameter."
func TestReadingWithBody(t *testing.T) {
	h := openHandler(t, nil, nil)
	body := url.Values{"topic": {"b", "c/**"}, "after": {"x-1"}, "wait": {"9"}, "limit": {"8"}, "as": {"html"}, "envelope": {"no"}}
	rd, problem := tryRead(t, h, "POST", "/topics?topic=a&topic=b&after=y-2&wait=5&limit=x", body)
	if problem != nil || names(rd) != "a b c/**" || rd.after != "x-1" || rd.wait != 9*time.Second || rd.limit != 8 || rd.transport != asLongpoll {
		t.Errorf("got %+v, %v", rd, problem)
	}
	rd, problem = tryRead(t, h, "POST", "/topics?topic=a&after=y-2&limit=5&as=sse", url.Values{})
	if problem != nil || names(rd) != "a" || rd.after != "y-2" || rd.limit != 5 || rd.transport != asSSE {
		t.Errorf("got %+v, %v", rd, problem)
	}
	if _, problem = tryRead(t, h, "POST", "/topics", url.Values{"after": {"x-1"}}); problem == nil || problem.Type != "bad-parameter" {
		t.Errorf("without a topic: %v", problem)
	}
}
