//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A rawConn is a connection on which a test writes what it wants.
type rawConn struct {
	t testing.TB
	*net.TCPConn
	in *bufio.Reader
}

func dialRaw(t testing.TB, addr string) *rawConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{t, conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// send writes all in one segment, if it is not too long for one.
func (c *rawConn) send(text string) {
	c.t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer to GET.
func (c *rawConn) answer() (*http.Response, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return response, ""
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response, string(body)
}

// "Requests that are pipelined on one HTTP/1.1 connection are answered in
// order. What follows a held longpoll waits for it" (PROTOCOL.md §5.16).
func TestPipelining(t *testing.T) {
	s := serve(t)
	first := s.publish(t, "line", "", "text/plain", "first")
	c := dialRaw(t, s.addr)
	c.send("GET /topics/line HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n" +
		"GET /topics/line?after=" + first + " HTTP/1.1\r\nHost: " + s.addr + "\r\nPrefer: wait=50\r\n\r\n" +
		"POST /topics/line HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nthird")

	var p page
	response, body := c.answer()
	decode(t, body, &p)
	if response.StatusCode != http.StatusOK || len(p.Events) != 1 || p.Events[0].text() != "first" {
		t.Errorf("first: %s %s", response.Status, body)
	}
	until(t, "the held poll", func() bool { return s.subscribers(t, "line") == 1 })
	if got := s.page(t, "line", "?after="+first); len(got.Events) > 0 {
		t.Errorf("the third request was answered before the second: %v", got)
	}
	second := s.publish(t, "line", "", "text/plain", "second")
	response, body = c.answer()
	decode(t, body, &p)
	if response.StatusCode != http.StatusOK || len(p.Events) != 1 || p.Events[0].text() != "second" || p.Cursor != second {
		t.Errorf("second: %s %s", response.Status, body)
	}
	response, body = c.answer()
	if response.StatusCode != http.StatusCreated {
		t.Errorf("third: %s %s", response.Status, body)
	}
	if got := s.page(t, "line", "?after="+second); len(got.Events) != 1 || got.Events[0].text() != "third" {
		t.Errorf("after the third: %v", got)
	}
}

// Absolute-form is the same resource (RFC 9112 §3.2.2: "a server MUST accept
// the absolute-form in requests").
func TestAbsoluteForm(t *testing.T) {
	s := serve(t, "--allow-host", "websocket.example.com")
	s.publish(t, "room", "", "text/plain", "hello")
	c := dialRaw(t, s.addr)
	c.send("GET http://" + s.addr + "/topics/room HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n")
	if response, body := c.answer(); response.StatusCode != http.StatusOK || !strings.Contains(body, "hello") {
		t.Errorf("%s %s", response.Status, body)
	}
	c = dialRaw(t, s.addr)
	c.send("GET ws://websocket.example.com/topics/room HTTP/1.1\r\nHost: websocket.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Origin: http://websocket.example.com\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if response, body := c.answer(); response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("%s %s", response.Status, body)
	}
}

// Requests that are none are refused with a 4xx, or their connection is
// closed; nothing of them is published, and the server goes on.
func TestMalformedRequests(t *testing.T) {
	s := serve(t)
	host := "Host: " + s.addr + "\r\n"
	post := "POST /topics/victim HTTP/1.1\r\n" + host + "Content-Type: text/plain\r\n"
	for name, test := range map[string]struct {
		request string
		status  int // 0: any 4xx, 501 or 505, or none
	}{
		"no HTTP":                        {"HELO example.com\r\n\r\n", 400},
		"TLS":                            {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		"request line without version":   {"GET /topics/victim\r\n\r\n", 400},
		"request line with a space more": {"GET /topics/victim  HTTP/1.1\r\n" + host + "\r\n", 400},
		"version of another world":       {"GET /topics/victim HTTP/9.9\r\n" + host + "\r\n", 0},
		"method that is no token":        {"G@T /topics/victim HTTP/1.1\r\n" + host + "\r\n", 400},
		"no Host":                        {"POST /topics/victim HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", 400},
		"two Hosts":                      {"GET /topics/victim HTTP/1.1\r\n" + host + host + "\r\n", 400},
		"Host that is none":              {"GET /topics/victim HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
		"header line without colon":      {"GET /topics/victim HTTP/1.1\r\n" + host + "nonsense\r\n\r\n", 400},
		"space before the colon":         {post + "Content-Length : 2\r\n\r\nhi", 400},
		"NUL in a header":                {"GET /topics/victim HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n", 400},
		"header of 200 KiB":              {"GET /topics/victim HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", 431},
		"100,000 header lines":           {"GET /topics/victim HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 100_000) + "\r\n", 431},
		"target of 200 KiB":              {"GET /topics/" + strings.Repeat("x", 200<<10) + " HTTP/1.1\r\n" + host + "\r\n", 0},
		"bad escape in the target":       {"GET /topics/%zz HTTP/1.1\r\n" + host + "\r\n", 400},
		"chunk size that is none":        {post + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n", 0},
		"chunk size that overflows":      {post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi\r\n0\r\n\r\n", 0},
		"chunk without line end":         {post + "Transfer-Encoding: chunked\r\n\r\n2\r\nhiXX0\r\n\r\n", 0},
		"unknown Transfer-Encoding":      {post + "Transfer-Encoding: gzip\r\n\r\n", 0},
		"two lengths":                    {post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", 400},
		"negative length":                {post + "Content-Length: -1\r\n\r\n", 400},
		"length with a sign":             {post + "Content-Length: +2\r\n\r\nhi", 400},
		"length that overflows":          {post + "Content-Length: 99999999999999999999\r\n\r\nhi", 400},
		"body that stops short":          {post + "Content-Length: 200\r\n\r\nhi", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, s.addr)
			_, err := c.Write([]byte(test.request)) // the server may refuse to read all of it
			if err == nil {
				err = c.CloseWrite()
			}
			if err != nil && !isReset(err) {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(c.in, nil)
			switch {
			case err != nil && test.status != 0 && test.status != http.StatusRequestHeaderFieldsTooLarge:
				t.Errorf("no answer: %v", err)
			case err != nil && !isReset(err) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("neither answered nor closed: %v", err)
			case err == nil && test.status != 0 && response.StatusCode != test.status:
				t.Errorf("answered %s, not %d", response.Status, test.status)
			case err == nil && (response.StatusCode < 400 || response.StatusCode >= 500) && response.StatusCode != 501 && response.StatusCode != 505:
				t.Errorf("answered %s", response.Status)
			}
			if response, _ := do(t, "GET", s.url+"/healthz", ""); response.StatusCode != http.StatusOK {
				t.Errorf("the server is not well: %s", response.Status)
			}
			if p := s.page(t, "victim", ""); len(p.Events) > 0 {
				t.Errorf("published: %v", p.Events)
			}
		})
	}
}

// A message with Content-Length and Transfer-Encoding "might indicate an
// attempt to perform request smuggling": if it is not refused, "the server MUST
// close the connection after responding" (RFC 9112 §6.1).
func TestLengthAndChunks(t *testing.T) {
	s := serve(t)
	c := dialRaw(t, s.addr)
	c.send("POST /topics/victim HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
		"POST /topics/smuggled HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Length: 2\r\n\r\nhi")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, body := c.answer()
	t.Logf("%s %s", response.Status, body)
	if second, err := http.ReadResponse(c.in, nil); err == nil {
		t.Errorf("the connection goes on: %s", second.Status)
	}
	if p := s.page(t, "smuggled", ""); len(p.Events) > 0 {
		t.Errorf("published: %v", p.Events)
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOTCONN)
}

// On a loopback address only hosts that mean it are served (PROTOCOL.md
// §10.3).
func TestHostRule(t *testing.T) {
	s := serve(t, "--allow-host", "duplex.test", "--allow-origin", "https://app.example.com")
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		s.addr:                 200,
		"localhost":            200,
		"LOCALHOST:" + port:    200,
		"a.localhost":          200,
		"[::1]:" + port:        200,
		"127.1.2.3":            200,
		"duplex.test:" + port:  200,
		"app.example.com":      200,
		"evil.example.com":     421,
		"127.0.0.1.evil.com":   421,
		"localhost.evil.com":   421,
		"duplex.test.evil.com": 421,
		"192.168.0.1:" + port:  421,
		"notduplex.test":       421,
	} {
		for _, transport := range []string{"", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"} {
			c := dialRaw(t, s.addr)
			c.send(fmt.Sprintf("GET /topics/a HTTP/1.1\r\nHost: %s\r\n%s\r\n", host, transport))
			response, body := c.answer()
			wanted := want
			if transport != "" && want == 200 {
				wanted = 101
			}
			if response.StatusCode != wanted {
				t.Errorf("Host %s: %s %s, not %d", host, response.Status, body, wanted)
			}
			if want == 421 && (!strings.Contains(body, "urn:duplex:problem:misdirected-host") || !strings.Contains(body, "--allow-host")) {
				t.Errorf("Host %s: %s", host, body)
			}
			c.Close()
		}
	}
}
