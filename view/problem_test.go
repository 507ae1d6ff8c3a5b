package view

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/internal/jsonscan"
	"github.com/duplexhq/duplex/topic"
)

// The form that PROTOCOL.md §9.1 shows.
func TestProblemWrite(t *testing.T) {
	w := httptest.NewRecorder()
	problemOf(topic.ErrEnded).write(w, httptest.NewRequest("POST", "/topics/a", nil))
	if want := `{"type":"urn:duplex:problem:topic-ended","title":"The topic has ended","status":409}`; w.Body.String() != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
	for name, want := range map[string]string{
		"Content-Type":           "application/problem+json",
		"Content-Length":         strconv.Itoa(w.Body.Len()),
		"Cache-Control":          "no-store",
		"Vary":                   "Accept, Prefer, Last-Event-ID, Origin",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if w.Code != http.StatusConflict {
		t.Errorf("status %d", w.Code)
	}
}

// RFC 9110 §9.3.2: to HEAD, "the server MUST NOT send content".
func TestProblemOfHead(t *testing.T) {
	w := httptest.NewRecorder()
	newProblem("not-found", "").write(w, httptest.NewRequest("HEAD", "/", nil))
	if w.Code != 404 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("status %d, %d bytes, Content-Length %s", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

func TestProblemMembers(t *testing.T) {
	w := httptest.NewRecorder()
	p := refusal()
	p.write(w, httptest.NewRequest("GET", "/", nil))
	if want := `{"type":"urn:duplex:problem:not-acceptable","title":"` + p.Title + `","status":406,"detail":"a \"b\" & <c>","offered":["text/html"]}`; w.Body.String() != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
	if got, want := p.Error(), `not-acceptable: a "b" & <c>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := newProblem("internal", "").Error(), "internal"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(p.appendMembers(nil)), `"status":406,"type":"urn:duplex:problem:not-acceptable","title":"`+p.Title+`","detail":"a \"b\" & <c>"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func refusal() *Problem {
	p := newProblem("not-acceptable", `a "b" & <c>`)
	p.Offered = []string{"text/html"}
	return p
}

func TestProblemOf(t *testing.T) {
	nameError := func(name string) error { return topic.CheckName(name) }
	patternError := func(text string) error {
		_, err := topic.ParsePattern(text)
		return err
	}
	var syntaxError error
	for _, err := range jsonscan.Members([]byte(`{"a"}`)) {
		syntaxError = err
	}
	tests := []struct {
		err    error
		status int
		name   string
		detail string
	}{
		{nameError("$a"), 403, "system-topic", `name "$a" has a segment that begins with "$", which only the system's own may`},
		{nameError(""), 400, "bad-topic", `name "" is empty`},
		{nameError("a//b"), 400, "bad-topic", `name "a//b" has an empty segment`},
		{nameError("a/*"), 400, "bad-topic", `name "a/*" holds "*", which only patterns may`},
		{nameError("**"), 400, "bad-topic", `name "**" holds "*", which only patterns may`},
		// PROTOCOL.md §2.2: also where one topic is needed, because "one name
		// always gives the same answer" (§2.4).
		{nameError("a*b"), 400, "bad-pattern", `name "a*b" holds "*", which only patterns may`},
		{patternError("a*b"), 400, "bad-pattern", `name "a*b" has a "*" that is not a whole segment`},
		{patternError("**/a"), 400, "bad-pattern", `name "**/a" has "**" before its last segment`},
		// "All rules of §2.1 are checked before those of §2.2"
		{patternError("a*b//c"), 400, "bad-topic", `name "a*b//c" has an empty segment`},
		{patternError("a*b/."), 400, "bad-topic", `name "a*b/." has a segment "." or ".."`},
		{topic.CheckType("$x"), 400, "bad-event-type", `event type "$x" begins with "$", which only the system's own may`},
		{topic.ErrNotJSON, 400, "bad-json", "the data is not one JSON value in UTF-8"},
		{syntaxError, 400, "bad-json", `byte 4: want ":"`},
		{topic.ErrEnded, 409, "topic-ended", ""},
		{topic.ErrKeyReused, 422, "key-reused", ""},
		{topic.ErrKeyInProgress, 409, "key-in-progress", ""},
		{topic.ErrTooManyTopics, 503, "limit-reached", "there are as many topics as --max-topics allows"},
		{topic.ErrTooManyKeys, 503, "limit-reached", "as many idempotency keys are remembered as --max-keys allows"},
		{topic.ErrClosed, 503, "shutting-down", ""},
		{&http.MaxBytesError{Limit: 7}, 413, "too-big", "more than 7 bytes"},
		{context.Canceled, 503, "unavailable", ""},
		{context.DeadlineExceeded, 503, "unavailable", ""},
		{newProblem("bad-handshake", "x"), 400, "bad-handshake", "x"},
		{errors.New("disk /dev/sda1 is full"), 500, "internal", ""},
	}
	for _, test := range tests {
		for _, err := range []error{test.err, fmt.Errorf("publish: %w", test.err)} {
			p := problemOf(err)
			if p.Status != test.status || p.Type != test.name || p.Detail != test.detail {
				t.Errorf("%v: got %d %s %q, want %d %s %q", err, p.Status, p.Type, p.Detail, test.status, test.name, test.detail)
			}
			// PROTOCOL.md §9.2: what may go away by itself has Retry-After.
			if again := p.Status == 503 || p.Type == "key-in-progress"; again != (p.Header.Get("Retry-After") != "") {
				t.Errorf("%s: Retry-After %q", p.Type, p.Header.Get("Retry-After"))
			}
		}
	}
}

// The types and their status are those of PROTOCOL.md §9.2, but for what is
// answered before there is a request to speak of, and for §10.3, which the
// server judges.
func TestProblemsAreThoseOfTheProtocol(t *testing.T) {
	text, err := os.ReadFile("../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### §9.2 ")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(section, -1)
	known := 0
	for _, row := range rows {
		if row[2] == "misdirected-host" {
			continue
		}
		known++
		if p := newProblem(row[2], ""); strconv.Itoa(p.Status) != row[1] || p.Title == "" {
			t.Errorf("%s: status %d, title %q, want status %s and a title", row[2], p.Status, p.Title, row[1])
		}
	}
	if known != len(problems) {
		t.Errorf("the protocol has %d types, problems has %d", known, len(problems))
	}
}

// A type that problems does not have would have no status.
func TestProblemsHasAllTypesInUse(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	uses := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range regexp.MustCompile(`newProblem\("([^"]*)"`).FindAllSubmatch(text, -1) {
			uses++
			if _, ok := problems[string(use[1])]; !ok {
				t.Errorf("%s: no such type: %s", file, use[1])
			}
		}
	}
	if uses == 0 {
		t.Error("no uses found")
	}
}

// RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426
// response"; RFC 9113 §8.2.2 forbids it in HTTP/2.
func TestUpgradeRequired(t *testing.T) {
	r := httptest.NewRequest("GET", "/topics/a", nil)
	header := upgradeRequired(r).Header
	if header.Get("Upgrade") != "websocket" || header.Get("Connection") != "Upgrade" || header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("HTTP/1.1: %v", header)
	}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	header = upgradeRequired(r).Header
	if header.Get("Upgrade") != "" || header.Get("Connection") != "" || header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("HTTP/2: %v", header)
	}
}
