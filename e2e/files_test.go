//go:build e2e

package e2e

import (
	"io"
	"strings"
	"testing"
)

// Whoever opens all connections that a process may have leaves the log its files.
func TestLimitOfOpenFiles(t *testing.T) {
	sh := tool(t, "sh", "dash")
	s := serveBy(t, command(sh, "-c", `ulimit -n 128 && exec "$0" "$@"`, program, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir()))
	publisher := dialRaw(t, s.addr)
	publish := func() {
		t.Helper()
		publisher.send("POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
		if response, body := publisher.answer(); response.StatusCode != 201 {
			t.Fatalf("%s %s", response.Status, body)
		}
	}
	publish()
	var answers []string
	var crowd []*rawConn
	for range 200 {
		c := dialRaw(t, s.addr)
		crowd = append(crowd, c)
		_, _ = io.WriteString(c, "GET /topics/a?as=sse HTTP/1.1\r\nHost: localhost\r\n\r\n") // it may be cut
		line, _ := c.in.ReadString('\n')                                                     // nothing, if it is
		answers = append(answers, line)
	}
	publish()
	all := strings.Join(answers, "")
	if served, refused := strings.Count(all, " 200 "), strings.Count(all, " 503 "); served < 20 || served > 100 || refused == 0 {
		t.Errorf("%d are served, %d are told", served, refused)
	}
	for _, c := range crowd {
		c.Close()
	}
	publish()
	until(t, "room for others", func() bool {
		c := dialRaw(t, s.addr)
		defer c.Close()
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") // it may be cut
		line, _ := c.in.ReadString('\n')                                             // nothing, if it is
		return strings.Contains(line, " 200 ")
	})
}
