package view

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// openHandler serves an empty log in memory. Both options may be nil.
func openHandler(t testing.TB, opts *Options, logOpts *memlog.Options) *Handler {
	t.Helper()
	return openOn(t, memlog.Open(logOpts), opts)
}

// openOn serves a log, which it closes.
func openOn(t testing.TB, log topic.Log, opts *Options) *Handler {
	t.Helper()
	hub := topic.NewHub(log, nil)
	t.Cleanup(func() {
		hub.Close()
		log.Close()
	})
	h, err := New(hub, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends a request whose header fields are given as "Name: value".
func ask(h http.Handler, method, url, body string, fields ...string) *httptest.ResponseRecorder {
	return askWith(h, method, url, strings.NewReader(body), fields...)
}

func askWith(h http.Handler, method, url string, body io.Reader, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, body)
	setFields(r, fields)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func setFields(r *http.Request, fields []string) {
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
}

// problemName returns the name of the problem that is the answer, "" if it is
// none.
func problemName(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Header().Get("Content-Type") != "application/problem+json" {
		return ""
	}
	var p struct {
		Type   string
		Title  string
		Status int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	name, ok := strings.CutPrefix(p.Type, "urn:duplex:problem:")
	if !ok || p.Title == "" || p.Status != w.Code {
		t.Errorf("status %d with problem %s", w.Code, w.Body)
	}
	return name
}

// outcome is the problem's name, or else the status.
func outcome(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	if name := problemName(t, w); name != "" {
		return name
	}
	return http.StatusText(w.Code)
}

// published returns the events of a topic, oldest first.
func published(t testing.TB, h *Handler, name string) []*topic.Entry {
	t.Helper()
	pattern, err := topic.ParsePattern(name)
	if err != nil {
		t.Fatal(err)
	}
	patterns := []topic.Pattern{pattern}
	start, err := h.hub.Earliest(t.Context(), patterns)
	if err != nil {
		t.Fatal(err)
	}
	page, err := h.hub.Log().Read(t.Context(), []topic.Interest{{Patterns: patterns, After: start.Cursor}}, topic.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	return page.Entries
}

func mustPattern(t testing.TB, text string) topic.Pattern {
	t.Helper()
	p, err := topic.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
