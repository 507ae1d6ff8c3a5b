package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/duplexhq/duplex/websocket"
)

// fuzzer is a small stand-in for a fuzzing server.
type fuzzer struct {
	mu      sync.Mutex // guards results
	results []string
}

func (f *fuzzer) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.results = append(f.results, fmt.Sprintf(format, args...))
}

func (f *fuzzer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("case") == "2" {
		http.Error(w, "no", http.StatusForbidden)
		f.note("2 %s refused", query.Get("agent"))
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Options: websocket.Options{ReadLimit: 4 << 20}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx := context.Background()
	switch r.URL.Path {
	case "/getCaseCount":
		_ = c.Write(ctx, websocket.Text, []byte("3")) // its loss would be seen
	case "/runCase":
		for _, want := range []websocket.MessageType{websocket.Text, websocket.Binary} {
			sent := strings.Repeat("x", 2<<20) // more than the default limit
			if err := c.Write(ctx, want, []byte(sent)); err != nil {
				f.note("%v", err)
				return
			}
			got, message, err := c.Read(ctx)
			f.note("%s %s %v %v %v", query.Get("case"), query.Get("agent"), got == want, string(message) == sent, err)
		}
		if query.Get("case") == "3" {
			return // without a close
		}
	case "/updateReports":
		f.note("report %s", query.Get("agent"))
	}
	if err := c.Close(websocket.CloseNormal, ""); err != nil {
		f.note("%s: %v", r.URL, err)
	}
}

func TestCases(t *testing.T) {
	var f fuzzer
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.ServeHTTP(w, r) })
	server := httptest.NewServer(accept)
	defer server.Close()
	var progress strings.Builder
	url := strings.Replace(server.URL, "http", "ws", 1)
	if err := run(t.Context(), []string{"-url", url + "/", "-agent", "a b"}, &progress); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	want := []string{
		"1 a b true true <nil>", "1 a b true true <nil>",
		"2 a b refused",
		"3 a b true true <nil>", "3 a b true true <nil>",
		"report a b",
	}
	if !slices.Equal(f.results, want) {
		t.Errorf("the server saw\n%s", strings.Join(f.results, "\n"))
	}
	lines := strings.Split(strings.TrimSpace(progress.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "case 1 of 3: 2 messages") || !strings.Contains(lines[1], "403") {
		t.Errorf("progress:\n%s", progress.String())
	}
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, args := range [][]string{{"-url", server.URL}, {"more"}} {
		if err := run(t.Context(), args, &strings.Builder{}); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
