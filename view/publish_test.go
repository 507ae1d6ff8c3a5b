package view

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// PROTOCOL.md §7.1
func TestPublish(t *testing.T) {
	h := openHandler(t, nil, nil)
	w := ask(h, "POST", "/topics/orders/eu/42?event=paid", `{"total":12}`, "Content-Type: application/json")
	events := published(t, h, "orders/eu/42")
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	e := events[0]
	if w.Code != http.StatusCreated || w.Body.String() != `{"id":"`+e.ID.String()+`"}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if e.Type != "paid" || e.Media != "application/json" || string(e.Data) != `{"total":12}` || e.Kind != topic.JSON {
		t.Errorf("got event %+v", &e.Event)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Vary": "Accept, Prefer, Last-Event-ID, Origin",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// PROTOCOL.md §3.2, §7.2
func TestPublishContent(t *testing.T) {
	h := openHandler(t, nil, nil)
	tests := []struct {
		media, body string
		wantMedia   string
		kind        topic.Kind
	}{
		// "None: text/plain if the body is valid UTF-8, else
		// application/octet-stream. An empty body is an event with empty data."
		{"", "hi", "text/plain", topic.Text},
		{"", "", "text/plain", topic.Text},
		{"", "\xff", "application/octet-stream", topic.Binary},
		// "Content-Type is kept with the event."
		{"text/plain; charset=utf-8", "hi", "text/plain; charset=utf-8", topic.Text},
		{"image/png", "hi", "image/png", topic.Binary},
		{"application/json", ` [1] `, "application/json", topic.JSON},
		{"Application/JSON", `1`, "Application/JSON", topic.JSON},
	}
	for i, test := range tests {
		name := fmt.Sprintf("content/%d", i)
		var fields []string
		if test.media != "" {
			fields = append(fields, "Content-Type: "+test.media)
		}
		if w := ask(h, "POST", "/topics/"+name, test.body, fields...); w.Code != 201 {
			t.Errorf("%s %q: %d %s", test.media, test.body, w.Code, w.Body)
			continue
		}
		e := published(t, h, name)[0]
		if e.Media != test.wantMedia || e.Kind != test.kind || string(e.Data) != test.body {
			t.Errorf("%s %q: got %+v", test.media, test.body, &e.Event)
		}
	}
	// "The empty type is message."
	for _, query := range []string{"", "?event=", "?event=message"} {
		ask(h, "POST", "/topics/typeless"+query, "hi")
	}
	for _, e := range published(t, h, "typeless") {
		if e.Type != "" {
			t.Errorf("got type %q", e.Type)
		}
	}
}

func TestPublishProblems(t *testing.T) {
	h := openHandler(t, &Options{MaxEventBytes: 10}, nil)
	ask(h, "DELETE", "/topics/ended", "")
	tests := []struct {
		url, body string
		fields    []string
		want      string
	}{
		{url: "/topics/a/*", want: "bad-topic"},
		{url: "/topics/**", want: "bad-topic"},
		{url: "/topics/a*b", want: "bad-pattern"},
		{url: "/topics/$a", want: "system-topic"},
		{url: "/topics/a/$b", want: "system-topic"},
		{url: "/topics/a%2Fb", want: "bad-topic"},
		{url: "/topics/ended", body: "hi", want: "topic-ended"},
		{url: "/topics/a?topic=a", want: "bad-parameter"},
		{url: "/topics/a?event=%zz", want: "bad-parameter"},
		{url: "/topics/a?event=$ping", want: "bad-event-type"},
		{url: "/topics/a?event=a%0Ab", want: "bad-event-type"},
		{url: "/topics/a?event=" + strings.Repeat("x", 256), want: "bad-event-type"},
		{url: "/topics/a?end=0", want: "bad-parameter"},
		{url: "/topics/a?batch=no", want: "bad-parameter"},
		{url: "/topics/a?batch&end", body: `{"data":1}`, want: "bad-parameter"},
		{url: "/topics/a", body: "{", fields: []string{"Content-Type: application/json"}, want: "bad-json"},
		{url: "/topics/a", body: "", fields: []string{"Content-Type: application/json"}, want: "bad-json"},
		{url: "/topics/a", body: "1 2", fields: []string{"Content-Type: application/json"}, want: "bad-json"},
		{url: "/topics/a", body: "\"\xff\"", fields: []string{"Content-Type: application/json; charset=utf-8"}, want: "bad-json"},
		// "One that is no media type is 400 bad-parameter."
		{url: "/topics/a", fields: []string{"Content-Type: text"}, want: "bad-parameter"},
		{url: "/topics/a", fields: []string{"Content-Type: text/"}, want: "bad-parameter"},
		{url: "/topics/a", fields: []string{"Content-Type: text/plain; charset"}, want: "bad-parameter"},
		{url: "/topics/a", fields: []string{"Content-Type: text/plain, text/html"}, want: "bad-parameter"},
		{url: "/topics/a", fields: []string{"Content-Type: text/plain;x=" + strings.Repeat("x", 250)}, want: "bad-parameter"},
		// "A body with a Content-Encoding is 415."
		{url: "/topics/a", fields: []string{"Content-Encoding: gzip"}, want: "unsupported-media-type"},
		{url: "/topics/a", fields: []string{"Content-Encoding: identity, br"}, want: "unsupported-media-type"},
		// "Data above --max-event-bytes is 413 too-big."
		{url: "/topics/a", body: "12345678901", want: "too-big"},
	}
	for _, test := range tests {
		w := ask(h, "POST", test.url, test.body, test.fields...)
		if got := outcome(t, w); got != test.want {
			t.Errorf("POST %s %q %q: got %s, want %s", test.url, test.body, test.fields, got, test.want)
		}
	}
	if events := published(t, h, "**"); len(events) > 1 { // the end of "ended"
		t.Errorf("refused, but %d events", len(events)-1)
	}
	for _, body := range []string{"1234567890", ""} {
		if w := ask(h, "POST", "/topics/a", body, "Content-Encoding: identity"); w.Code != 201 {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	}
	w := ask(h, "POST", "/topics/a", "", "Content-Encoding: gzip")
	if got := w.Header().Get("Accept-Encoding"); got != "identity" { // RFC 9110 §12.5.3
		t.Errorf("Accept-Encoding: %q", got)
	}
}

func TestPublishLimitsOfLog(t *testing.T) {
	h := openHandler(t, nil, &memlog.Options{MaxTopics: 1, MaxKeys: 1})
	tests := []struct{ method, url, key, want string }{
		{"POST", "/topics/a", "1", "Created"},
		{"POST", "/topics/b", "", "limit-reached"},
		{"DELETE", "/topics/b", "", "limit-reached"},
		{"POST", "/topics/a", "2", "limit-reached"},
		{"POST", "/topics/a", "1", "Created"},
	}
	for _, test := range tests {
		var fields []string
		if test.key != "" {
			fields = append(fields, "Idempotency-Key: "+test.key)
		}
		w := ask(h, test.method, test.url, "hi", fields...)
		if got := outcome(t, w); got != test.want || (w.Code == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s %s: got %s, Retry-After %q, want %s", test.method, test.url, got, w.Header().Get("Retry-After"), test.want)
		}
	}
}

// PROTOCOL.md §7.5
func TestEnd(t *testing.T) {
	h := openHandler(t, nil, nil)
	tests := []struct{ method, url, want string }{
		{"DELETE", "/topics/unknown", "No Content"}, // "makes an ended one"
		{"DELETE", "/topics/unknown", "No Content"}, // "of an ended one, 204 again"
		{"POST", "/topics/unknown", "topic-ended"},
		{"DELETE", "/topics/a/*", "bad-topic"},
		{"DELETE", "/topics/$a", "system-topic"},
		{"DELETE", "/topics/a?topic=a", "bad-parameter"},
		{"DELETE", "/topics/a?%zz", "bad-parameter"},
		{"POST", "/topics/a", "Created"},
		{"DELETE", "/topics/a", "No Content"},
		{"POST", "/topics/a", "topic-ended"},
		// "POST /topics/{topic}?end publishes its last event and ends it"
		{"POST", "/topics/b?end&event=done", "Created"},
		{"POST", "/topics/b?end", "topic-ended"},
		{"POST", "/topics/c?end=true", "Created"},
	}
	for _, test := range tests {
		w := ask(h, test.method, test.url, "bye")
		if got := outcome(t, w); got != test.want {
			t.Errorf("%s %s: got %s, want %s", test.method, test.url, got, test.want)
		}
	}
	list := published(t, h, "b")
	if len(list) != 2 || list[0].Type != "done" || string(list[0].Data) != "bye" || !list[1].IsEnd() || list[1].ID.Seq != list[0].ID.Seq+1 {
		t.Errorf("got %d entries", len(list))
	}
}

// PROTOCOL.md §7.4
func TestIdempotency(t *testing.T) {
	h := openHandler(t, nil, nil)
	publish := func(url, body string, fields ...string) string {
		w := ask(h, "POST", url, body, fields...)
		if w.Code == 201 {
			return w.Body.String()
		}
		return outcome(t, w)
	}
	const bare, quoted = "Idempotency-Key: k 1", `Idempotency-Key: "k 1"`
	first := publish("/topics/a?event=x", "hi", bare)
	for _, key := range []string{bare, quoted} { // "are the same key"
		if got := publish("/topics/a?event=x", "hi", key); got != first {
			t.Errorf("retry with %s: got %s, want %s", key, got, first)
		}
	}
	// "With another body, content type, event type, or another use of batch or
	// end, it is 422 key-reused."
	tests := []struct {
		url, body string
		fields    []string
	}{
		{"/topics/a?event=x", "ho", []string{bare}},
		{"/topics/a?event=x", "hi", []string{bare, "Content-Type: text/html"}},
		{"/topics/a?event=y", "hi", []string{bare}},
		{"/topics/a", "hi", []string{bare}},
		{"/topics/a?event=x&end", "hi", []string{bare}},
		{"/topics/a?batch", `{"event":"x","data":"hi"}`, []string{bare}},
	}
	for _, test := range tests {
		if got := publish(test.url, test.body, test.fields...); got != "key-reused" {
			t.Errorf("%s %q %q: got %s", test.url, test.body, test.fields, got)
		}
	}
	// "A key belongs to its topic."
	if got := publish("/topics/b?event=x", "hi", bare); got == first || got == "key-reused" {
		t.Errorf("on another topic: got %s", got)
	}
	if n := len(published(t, h, "a")); n != 1 {
		t.Errorf("%d events", n)
	}
	// "is answered 201 with the first id [...], also when the topic has ended
	// since"
	ask(h, "DELETE", "/topics/a", "")
	if got := publish("/topics/a?event=x", "hi", quoted); got != first {
		t.Errorf("after the end: got %s, want %s", got, first)
	}
	ended := publish("/topics/c?end", "hi", bare)
	if again := publish("/topics/c?end", "hi", bare); again != ended {
		t.Errorf("end: first %s, then %s", ended, again)
	}
	ids := publish("/topics/d?batch", "{\"data\":1}\n{\"data\":2}", bare)
	if again := publish("/topics/d?batch", "{\"data\":1}\n{\"data\":2}", bare); again != ids || !strings.HasPrefix(ids, `{"ids":["`) {
		t.Errorf("batch: first %s, then %s", ids, again)
	}
}

// "it waits for its outcome [...], then it is 409 key-in-progress with
// Retry-After."
func TestKeyInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &stuckLog{Log: memlog.Open(nil), free: make(chan struct{})}
		h := openOn(t, log, nil)
		first := make(chan *httptest.ResponseRecorder)
		go func() { first <- ask(h, "POST", "/topics/a", "hi", "Idempotency-Key: 1") }()
		synctest.Wait()
		w := ask(h, "POST", "/topics/a", "hi", "Idempotency-Key: 1")
		if got := outcome(t, w); got != "key-in-progress" || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %s, Retry-After %q", got, w.Header().Get("Retry-After"))
		}
		close(log.free)
		if w := <-first; w.Code != 201 {
			t.Errorf("the first: %d %s", w.Code, w.Body)
		}
	})
}

// stuckLog does not append before it is told to.
type stuckLog struct {
	topic.Log
	free chan struct{}
}

func (l *stuckLog) Append(ctx context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	<-l.free
	return l.Log.Append(ctx, name, drafts, key)
}

// "1-255 printable ASCII characters, else 400 bad-parameter"
func TestParseKey(t *testing.T) {
	good := []struct{ field, want string }{
		{"k", "k"},
		{`"k"`, "k"},
		{"8e03978e-40d5", "8e03978e-40d5"},
		{`"a b"`, "a b"},
		{`a"b`, `a"b`},
		{`"a\"b\\c"`, `a"b\c`},
		{`a\b`, `a\b`},
		{strings.Repeat("k", 255), strings.Repeat("k", 255)},
		{`"` + strings.Repeat("k", 255) + `"`, strings.Repeat("k", 255)},
	}
	for _, test := range good {
		if got, problem := parseKey([]string{test.field}); problem != nil || got != test.want {
			t.Errorf("%s: got %q, %v", test.field, got, problem)
		}
	}
	for _, fields := range [][]string{
		{""}, {`""`}, {`"`}, {`"a`}, {`"a"b`}, {`"a"b"`}, {`"a\"`}, {`"a\n"`}, {"é"}, {"a\tb"}, {"a\x7f"}, {"\xff"}, {"a", "a"}, {"a", "b"},
		{strings.Repeat("k", 256)}, {`"` + strings.Repeat("k", 256) + `"`}, {`"k";x=1`},
	} {
		if got, problem := parseKey(fields); problem == nil || problem.Type != "bad-parameter" {
			t.Errorf("%q: got %q, %v", fields, got, problem)
		}
	}
	if got, problem := parseKey(nil); problem != nil || got != "" {
		t.Errorf("none: got %q, %v", got, problem)
	}
}

// The path of one small event is the hot one.
func TestPublishAllocations(t *testing.T) {
	h := openHandler(t, nil, &memlog.Options{RetainEvents: 1})
	r := httptest.NewRequest("POST", "/topics/orders/eu/42", nil)
	r.Header.Set("Content-Type", "application/json")
	data := []byte(`{"total":12}`)
	body := bytes.NewReader(data)
	r.Body, r.ContentLength = http.NoBody, int64(len(data))
	w := discard{header: make(http.Header)}
	allocs := testing.AllocsPerRun(200, func() {
		body.Reset(data)
		r.Body = readCloser{body}
		clear(w.header)
		h.ServeHTTP(w, r)
	})
	// The data, the limit of the body, the draft, the entry, the answer; and
	// now and then the log.
	if allocs > 6 {
		t.Errorf("%v allocations", allocs)
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

// SetReadDeadline is that of a connection; without it, there would be an error
// to make.
func (discard) SetReadDeadline(time.Time) error { return nil }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkPublish(b *testing.B) {
	h := openHandler(b, nil, &memlog.Options{RetainEvents: 1})
	r := httptest.NewRequest("POST", "/topics/orders/eu/42", nil)
	r.Header.Set("Content-Type", "application/json")
	data := []byte(`{"total":12}`)
	body := bytes.NewReader(data)
	r.ContentLength = int64(len(data))
	w := discard{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(data)
		r.Body = readCloser{body}
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}
