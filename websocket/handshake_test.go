package websocket

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// opening is the example of RFC 6455 §1.2, with lines replaced, left out or added: a
// change begins with the name of the line it is for.
func opening(changes ...string) string {
	lines := []string{
		"GET /chat HTTP/1.1",
		"Host: server.example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Origin: http://server.example.com",
		"Sec-WebSocket-Protocol: chat, superchat",
		"Sec-WebSocket-Version: 13",
	}
	for _, change := range changes {
		name, rest, _ := strings.Cut(change, ":")
		replaced := false
		for i, line := range lines {
			if strings.HasPrefix(line, name) && !strings.HasPrefix(name, "+") {
				replaced = true
				lines[i] = change
				if rest == "" && name != "GET" {
					lines[i] = "X-Left-Out: "
				}
			}
		}
		if !replaced {
			lines = append(lines, strings.TrimPrefix(change, "+"))
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func parseRequest(t *testing.T, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheckHandshake(t *testing.T) {
	t.Parallel()
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	lower := strings.NewReplacer("get /chat http/1.1", "GET /chat HTTP/1.1", strings.ToLower(key), key).Replace(strings.ToLower(opening()))
	for _, test := range []struct {
		name   string
		text   string
		status int // 0 if it is good
		field  string
	}{
		{"the example", opening(), 0, ""},
		{"values in other case", opening("Upgrade: WebSocket", "Connection: upgrade"), 0, ""},
		{"names in other case", lower, 0, ""},
		{"a list, as Firefox sends it", opening("Connection: keep-alive, Upgrade"), 0, ""},
		{"lists over several lines", opening("Connection: keep-alive", "+Connection: Upgrade", "Upgrade: h2c", "+Upgrade: websocket"), 0, ""},
		{"absolute form", strings.Replace(opening(), "GET /chat", "GET http://server.example.com/chat", 1), 0, ""},
		{"no origin", opening("Origin:"), 0, ""},

		{"POST", strings.Replace(opening(), "GET", "POST", 1), 405, "method"},
		{"HTTP/1.0", strings.Replace(opening(), "HTTP/1.1", "HTTP/1.0", 1), 400, "version"},
		{"no Host", opening("Host:"), 400, "Host"},
		{"no Upgrade", opening("Upgrade:"), 400, "Upgrade"},
		{"Upgrade: h2c", opening("Upgrade: h2c"), 400, "Upgrade"},
		{"no Connection", opening("Connection:"), 400, "Connection"},
		{"Connection: close", opening("Connection: close"), 400, "Connection"},
		{"no Key", opening("Sec-WebSocket-Key:"), 400, "Sec-WebSocket-Key"},
		{"empty Key", opening("Sec-WebSocket-Key: "), 400, "Sec-WebSocket-Key"},
		{"two Keys", opening("+Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA=="), 400, "Sec-WebSocket-Key"},
		{"Key of 15 bytes", opening("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4P"), 400, "Sec-WebSocket-Key"},
		{"Key not base64", opening("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2!jZQ=="), 400, "Sec-WebSocket-Key"},
		{"no Version", opening("Sec-WebSocket-Version:"), 400, "Sec-WebSocket-Version"},
		{"no Key and no Version", opening("Sec-WebSocket-Version:", "Sec-WebSocket-Key:"), 400, "Sec-WebSocket-Version"},
		{"Version 8", opening("Sec-WebSocket-Version: 8"), 426, "Sec-WebSocket-Version"},
		{"Version 14", opening("Sec-WebSocket-Version: 14"), 426, "Sec-WebSocket-Version"},
		{"two Versions", opening("+Sec-WebSocket-Version: 13"), 426, "Sec-WebSocket-Version"},
		{"bad subprotocols", opening("Sec-WebSocket-Protocol: a b"), 400, "Sec-WebSocket-Protocol"},
		{"a body", opening("+Content-Length: 5"), 400, "Content-Length"},
		{"a chunked body", opening("+Transfer-Encoding: chunked"), 400, "Content-Length"},
		{"foreign origin", opening("Origin: http://evil.example"), 403, "Origin"},
	} {
		handshake, refusal := CheckHandshake(parseRequest(t, test.text), nil)
		if (handshake == nil) == (refusal == nil) {
			t.Errorf("%s: %v and %v", test.name, handshake, refusal)
		}
		if test.status == 0 {
			if refusal != nil {
				t.Errorf("%s: %v", test.name, refusal)
			}
			continue
		}
		if refusal == nil || refusal.Status != test.status || refusal.Field != test.field {
			t.Errorf("%s: got %v, want %d %s", test.name, refusal, test.status, test.field)
		}
	}
}

func TestSubprotocolIsTheServersChoice(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text      string
		supported []string
		want      string
	}{
		{opening(), []string{"chat"}, "chat"},
		{opening(), []string{"superchat", "chat"}, "superchat"},
		{opening("Sec-WebSocket-Protocol: a", "+Sec-WebSocket-Protocol: b"), []string{"b"}, "b"},
		{opening(), []string{"Chat"}, ""},
		{opening("Sec-WebSocket-Protocol:"), []string{"chat"}, ""},
		{opening(), nil, ""},
	} {
		handshake, refusal := CheckHandshake(parseRequest(t, test.text), &AcceptOptions{Subprotocols: test.supported})
		if refusal != nil || handshake.Subprotocol != test.want || handshake.Accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("%q: got %+v, %v; want %q", test.supported, handshake, refusal, test.want)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		host, origin string
		tls          bool
		allow        string
		want         bool
	}{
		{"example.com", "http://example.com", false, "", true},
		{"example.com", "http://example.com:80", false, "", true},
		{"example.com:80", "http://example.com", false, "", true},
		{"example.com", "https://example.com:443", true, "", true},
		{"Example.com", "http://example.COM", false, "", true},
		{"[::1]:8080", "http://[::1]:8080", false, "", true},
		{"[::1]", "http://[0:0::1]", false, "", true},

		{"example.com", "https://example.com", false, "", false},
		{"example.com", "http://example.com", true, "", false},
		{"example.com", "http://example.com:8080", false, "", false},
		{"example.com:8080", "http://example.com", false, "", false},
		{"example.com", "http://example.com.evil", false, "", false},
		{"example.com", "http://evilexample.com", false, "", false},
		{"example.com", "http://sub.example.com", false, "", false},
		{"example.com", "http://example.com/", false, "", false},
		{"example.com", "http://example.com#", false, "", false},
		{"example.com", "http://example.com?", false, "", false},
		{"example.com", "http://user@example.com", false, "", false},
		{"example.com", "http://evil.example, http://example.com", false, "", false},
		{"example.com", "example.com", false, "", false},
		{"example.com", "file://", false, "", false},
		{"example.com", "null", false, "", false},
		{"example.com", "", false, "", false}, // the field is there, and empty

		{"example.com", "https://app.example", false, "https://app.example", true},
		{"example.com", "https://app.example:443", false, "https://other.example https://app.example", true},
		{"example.com", "http://example.com", false, "https://app.example", true},
		{"example.com", "https://app.example.evil", false, "https://app.example", false},
		{"example.com", "http://app.example", false, "https://app.example", false},
		{"example.com", "https://app.example", false, "app.example *.example", false},
		{"example.com", "null", false, "https://app.example", false},
		{"example.com", "null", false, "null", true},
		{"example.com", "null", false, "*", true},
		{"example.com", "http://evil.example", false, "*", true},
	} {
		r := parseRequest(t, opening("Host: "+test.host))
		r.Header["Origin"] = []string{test.origin}
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		_, refusal := CheckHandshake(r, &AcceptOptions{AllowOrigins: strings.Fields(test.allow)})
		if got := refusal == nil; got != test.want {
			t.Errorf("%+v: %v", test, refusal)
		}
		if refusal != nil && refusal.Status != http.StatusForbidden {
			t.Errorf("%+v: status %d", test, refusal.Status)
		}
	}
	r := parseRequest(t, opening("+Origin: http://server.example.com"))
	if _, refusal := CheckHandshake(r, nil); refusal == nil {
		t.Error("two origins are accepted")
	}
}

// rawServer runs a server in a bubble and gives a function that opens raw connections to it.
func rawServer(t *testing.T, server *http.Server) func() net.Conn {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	go server.Serve(l)
	t.Cleanup(func() {
		server.Close()
		synctest.Wait()
	})
	return func() net.Conn {
		a, b := net.Pipe()
		l.conns <- a
		t.Cleanup(func() { b.Close() })
		return b
	}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func echoHandler(opts *AcceptOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Connection", "close")
		if c, err := Accept(w, r, opts); err == nil {
			defer c.CloseNow()
			echo(c)
		}
	})
}

// The handshake and the first frames in one segment, and nothing of HTTP after it.
func TestAcceptOverRawConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := rawServer(t, &http.Server{Handler: echoHandler(&AcceptOptions{Subprotocols: []string{"superchat"}})})
		conn := open()
		p := &peer{t: t, conn: conn, r: bufio.NewReader(conn), role: wire.Client}
		go p.write(append([]byte(opening()), append(p.frame(wire.Text, false, "glued "), p.frame(wire.Continuation, true, "on")...)...))
		response, err := http.ReadResponse(p.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := http.Header{
			"Upgrade":                {"websocket"},
			"Connection":             {"Upgrade"},
			"Sec-Websocket-Accept":   {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
			"Sec-Websocket-Protocol": {"superchat"},
			"Set-Cookie":             {"session=1"},
		}
		if response.StatusCode != 101 || fmt.Sprint(response.Header) != fmt.Sprint(want) {
			t.Errorf("got %d %v, want %v", response.StatusCode, response.Header, want)
		}
		p.want(wire.Text, true, "glued on")
		p.send(wire.Close, true, "")
		p.want(wire.Close, true, "")
		p.wantEnd()
	})
}

// No deadline of http.Server outlives the handshake.
func TestDeadlinesOfTheServerEndWithTheHandshake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := rawServer(t, &http.Server{
			Handler:      echoHandler(nil),
			ReadTimeout:  time.Second,
			WriteTimeout: time.Second,
			IdleTimeout:  time.Second,
		})
		conn := open()
		p := &peer{t: t, conn: conn, r: bufio.NewReader(conn), role: wire.Client}
		go p.write([]byte(opening()))
		if _, err := http.ReadResponse(p.r, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		go p.send(wire.Text, true, "still here")
		p.want(wire.Text, true, "still here")
	})
}

func TestRefusalsOverRawConnections(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		request string
		status  int
		header  http.Header
		body    string
	}{
		"426": {opening("Sec-WebSocket-Version: 25"), 426, http.Header{"Sec-Websocket-Version": {"13"}, "Upgrade": {"websocket"}}, "Sec-WebSocket-Version"},
		"405": {strings.Replace(opening(), "GET", "PUT", 1), 405, http.Header{"Allow": {"GET"}}, "method"},
		"403": {opening("Origin: https://server.example.com"), 403, nil, "Origin"},
		"400": {opening("Sec-WebSocket-Key:"), 400, nil, "Sec-WebSocket-Key"},
	} {
		synctest.Test(t, func(t *testing.T) {
			open := rawServer(t, &http.Server{Handler: echoHandler(nil)})
			conn := open()
			go io.WriteString(conn, test.request)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status {
				t.Errorf("%s: status %d", name, response.StatusCode)
			}
			for field := range test.header {
				if response.Header.Get(field) != test.header.Get(field) {
					t.Errorf("%s: %s is %q", name, field, response.Header.Get(field))
				}
			}
			body, _ := io.ReadAll(response.Body)
			if !strings.Contains(string(body), test.body) || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("%s: body %q", name, body)
			}
		})
	}
}

func TestRefuseHook(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	c, err := Accept(recorder, parseRequest(t, opening("Sec-WebSocket-Version: 8")), &AcceptOptions{
		Refuse: func(w http.ResponseWriter, r *http.Request, e *HandshakeError) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(e.Status)
			fmt.Fprintf(w, `{"field":%q}`, e.Field)
		},
	})
	refusal, ok := errors.AsType[*HandshakeError](err)
	if c != nil || !ok || refusal.Status != 426 {
		t.Errorf("got %v, %v", c, err)
	}
	if recorder.Code != 426 || recorder.Header().Get("Sec-Websocket-Version") != "13" || recorder.Body.String() != `{"field":"Sec-WebSocket-Version"}` {
		t.Errorf("answered %d %v %s", recorder.Code, recorder.Header(), recorder.Body)
	}
}

func TestConnectionThatCannotBeTakenOver(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	_, err := Accept(recorder, parseRequest(t, opening()), nil)
	if refusal, ok := errors.AsType[*HandshakeError](err); !ok || refusal.Status != 500 || recorder.Code != 500 {
		t.Errorf("got %v, answered %d", err, recorder.Code)
	}
}

// A client that is gone or silent after any byte of the handshake leaves nothing behind.
func TestHandshakeCutAtEveryByte(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := rawServer(t, &http.Server{Handler: echoHandler(nil), ReadHeaderTimeout: 5 * time.Second})
		request := opening()
		for cut := range len(request) + 1 {
			gone := open()
			io.WriteString(gone, request[:cut])
			gone.Close()

			silent := open()
			io.WriteString(silent, request[:cut])
			if cut == len(request) {
				silent.Close() // it has become a WebSocket, which may be silent
			}
			defer func() { io.ReadAll(silent) }() // returns only if the server ends the connection
		}
	})
}

func TestHandshakeResetAtEveryByte(t *testing.T) {
	t.Parallel()
	target := serve(t, nil, echo)
	request := opening("Origin:")
	for cut := range len(request) + 1 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(target, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, request[:cut])
		conn.(*net.TCPConn).SetLinger(0) // so that Close resets
		conn.Close()
	}
	wantEcho(t, dial(t, target, nil))
}

func TestHandshakeOfHugeHeaders(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		extra  string
		status int
	}{
		"5,000 fields":         {strings.Repeat("X-Filler: x\r\n", 5000), 101},
		"2 MB in one field":    {"X-Filler: " + strings.Repeat("x", 2<<20) + "\r\n", 431},
		"900 KB of protocols":  {"Sec-WebSocket-Protocol: " + strings.Repeat("a,", 450<<10) + "a\r\n", 101},
		"900 KB of connection": {"Connection: " + strings.Repeat(" ,", 450<<10) + "\r\n", 101},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := rawServer(t, &http.Server{Handler: echoHandler(nil)})()
			go io.WriteString(conn, strings.TrimSuffix(opening(), "\r\n")+test.extra+"\r\n")
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != test.status {
				t.Errorf("%s: got %v, %v", name, response, err)
			}
			conn.Close()
			time.Sleep(time.Second) // http.Server lingers for half of it after a 431
		})
	}
}

func FuzzCheckHandshake(f *testing.F) {
	f.Add("websocket", "keep-alive, Upgrade", "dGhlIHNhbXBsZSBub25jZQ==", "13", "chat", "http://server.example.com", "server.example.com")
	f.Add("h2c", "constructor", "", "8, 13", ",;", "null", "[::1]:80")
	f.Fuzz(func(t *testing.T, upgrade, connection, key, version, protocol, origin, host string) {
		r := parseRequest(t, opening())
		r.Host = host
		r.Header = http.Header{
			"Upgrade":                {upgrade},
			"Connection":             {connection},
			"Sec-Websocket-Key":      {key},
			"Sec-Websocket-Version":  {version},
			"Sec-Websocket-Protocol": {protocol},
			"Origin":                 {origin},
		}
		handshake, refusal := CheckHandshake(r, &AcceptOptions{Subprotocols: []string{"chat"}})
		switch {
		case (handshake == nil) == (refusal == nil):
			t.Fatalf("%v and %v", handshake, refusal)
		case refusal != nil:
			if refusal.Status < 400 || refusal.Status > 499 || refusal.Field == "" {
				t.Fatalf("refused with %+v", refusal)
			}
		default:
			if !strings.HasPrefix(strings.ToLower(origin), "http://") {
				t.Fatalf("origin %q accepted for host %q", origin, host)
			}
		}
	})
}
