//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Clients that do not know the length of what they publish send it in chunks, and
// go on using their connection (PROTOCOL.md §5.16).
func TestChunksKeepTheConnection(t *testing.T) {
	publishers := map[string]func(t *testing.T, topic string){
		"curl": func(t *testing.T, topic string) {
			args := []string{"-sS", "-X", "POST", "-T", "-", topic} // of what comes
			for i := 1; i < 5; i++ {
				args = append(args, "--next", "-sS", "-H", "Transfer-Encoding: chunked", "-d", fmt.Sprint("part ", i), topic)
			}
			cmd := command(tool(t, "curl", "curl"), args...)
			cmd.Stdin = strings.NewReader("part 0")
			if out := run(t, cmd); strings.Count(out, `{"id":`) != 5 {
				t.Error(out)
			}
		},
		"Node": func(t *testing.T, topic string) {
			if out := run(t, command(tool(t, "node", "nodejs"), "testdata/chunks.mjs", topic)); out != "done\n" {
				t.Error(out)
			}
		},
		"aiohttp": func(t *testing.T, topic string) {
			needs(t, "aiohttp")
			python(t, "chunks.py", topic)
		},
	}
	for name, publish := range publishers {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			counting := newCutter(t, s.addr)
			publish(t, counting.url+"/topics/parts")
			s.wantParts(t, counting)
		})
	}
	// nginx that passes a body on as it comes, and keeps its connections.
	t.Run("nginx", func(t *testing.T) {
		s := serve(t)
		counting := newCutter(t, s.addr)
		p := proxyKinds[0].behind(t, &server{addr: counting.addr},
			"map $http_upgrade", "upstream duplex {\n\tserver 127.0.0.1:8080;\n\tkeepalive 4;\n}\nmap $http_upgrade", "''      close;", "''      '';",
			"proxy_pass http://127.0.0.1:8080;", "proxy_pass http://duplex;\nproxy_request_buffering off;")
		for i := range 5 {
			body := struct{ io.Reader }{bytes.NewReader(fmt.Append(nil, "part ", i))} // no length is known
			response, err := direct.Post(p.url+"/topics/parts", "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			if answer, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusCreated {
				t.Fatal(response.Status, string(answer), err)
			}
			response.Body.Close()
		}
		s.wantParts(t, counting)
	})
}

// wantParts wants five events, by one connection.
func (s *server) wantParts(t *testing.T, counting *cutter) {
	t.Helper()
	events := s.page(t, "parts", "").Events
	for i, e := range events {
		if e.text() != fmt.Sprint("part ", i) {
			t.Errorf("event %d: %s", i, e.Data)
		}
	}
	if n := counting.connections(); n != 1 || len(events) != 5 {
		t.Errorf("%d events by %d connections", len(events), n)
	}
}
