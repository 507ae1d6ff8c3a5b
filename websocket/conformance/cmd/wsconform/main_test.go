package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/conformance"
)

// echoServer gives the URL of a server that sends back what it receives, up to a limit.
func echoServer(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // Accept has answered
		}
		defer c.CloseNow()
		for {
			messageType, message, err := c.Read(t.Context())
			if err != nil || c.Write(t.Context(), messageType, message) != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func TestServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	var out bytes.Buffer
	failed, err := run(t.Context(), []string{
		"-server", echoServer(t), "-run", `^control/ping/|^limits/one-byte-more/`, "-json", file, "-timeout", "1m",
	}, &out, io.Discard)
	if failed || err != nil {
		t.Fatalf("failed: %t, %v\n%s", failed, err, &out)
	}
	if want := "9 cases: 7 passed, 0 failed (0 must, 0 should, 0 care), 2 skipped"; !strings.Contains(out.String(), want) {
		t.Errorf("got:\n%s\nwant: %s", &out, want)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results []conformance.Result
	if err := json.Unmarshal(data, &results); err != nil || len(results) != 9 || results[0].Case != "control/ping/0" {
		t.Errorf("%v, %v", results, err)
	}
}

func TestFailure(t *testing.T) {
	var out bytes.Buffer
	failed, err := run(t.Context(), []string{
		// The server's limit is 1 MiB.
		"-server", echoServer(t), "-run", `^limits/one-byte-more/one-frame$`, "-limit", "300000", "-timeout", "1m",
	}, &out, io.Discard)
	if !failed || err != nil {
		t.Errorf("failed: %t, %v", failed, err)
	}
	if want := "expected close frame with 1009, then the end of TCP; got binary 300001 bytes"; !strings.Contains(out.String(), want) {
		t.Errorf("got:\n%s\nwant: %s", &out, want)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-server", "ws://127.0.0.1:1", "-client", "127.0.0.1:0"},
		{"-server", "ws://127.0.0.1:1", "more"},
		{"-server", "ws://127.0.0.1:1", "-run", "("},
		{"-server", "ws://192.0.2.1:1"},
		{"-client", "127.0.0.1"},
		{"-client", ":0"},
		{"-client", "0.0.0.0:0"},
		{"-unknown"},
	} {
		if _, err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
